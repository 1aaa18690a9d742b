//! Those who have connected and not yet proved who they are: a bounded number, and none of them may block the door.
//!
//! A device needs milliseconds to prove itself. When all places are taken, a newcomer gets the place of the one who has been at it
//! the longest, of the machine that holds the most; but nobody is put out within [`GRACE`], so a site whose thousand devices come
//! back at once is let in one after the other, and only those who dawdle lose.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::limits::MAX_STRANGERS;

/// Longer than TLS and a CONNECT take on a slow board over a slow radio.
const GRACE: Duration = Duration::from_secs(3);

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    guests: Mutex<(u64, HashMap<u64, Seat>)>,
    freed: Notify,
}

#[derive(Debug)]
struct Seat {
    ip: IpAddr,
    since: Instant,
    out: CancellationToken,
}

/// One of them; its place is free when it is dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    house: Arc<Strangers>,
    number: u64,
    /// Cancelled when the place is wanted by somebody else.
    pub(crate) out: CancellationToken,
}

impl Strangers {
    fn guests(&self) -> MutexGuard<'_, (u64, HashMap<u64, Seat>)> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is a place. May be dropped.
    pub(crate) async fn room(&self) {
        loop {
            let freed = self.freed.notified();
            let Some(next) = self.make_room() else { return };
            drop(tokio::time::timeout_at(next, freed).await);
        }
    }

    /// `None` when there is room; otherwise when to look again.
    fn make_room(&self) -> Option<Instant> {
        let mut guests = self.guests();
        if guests.1.len() < MAX_STRANGERS {
            return None;
        }
        let mut machines: HashMap<IpAddr, usize> = HashMap::new();
        guests.1.values().for_each(|seat| *machines.entry(seat.ip).or_default() += 1);
        let crowd = machines.into_iter().max_by_key(|(_, count)| *count)?.0;
        let (number, since) = guests
            .1
            .iter()
            .filter(|(_, seat)| seat.ip == crowd)
            .map(|(number, seat)| (*number, seat.since))
            .min_by_key(|(_, since)| *since)?;
        if since.elapsed() < GRACE {
            return Some(since + GRACE);
        }
        if let Some(seat) = guests.1.remove(&number) {
            seat.out.cancel();
        }
        None
    }

    /// Takes a place, after [`Strangers::room`].
    pub(crate) fn arrive(self: &Arc<Self>, ip: IpAddr) -> Guest {
        let mut guests = self.guests();
        guests.0 += 1;
        let (number, out) = (guests.0, CancellationToken::new());
        guests.1.insert(number, Seat { ip, since: Instant::now(), out: out.clone() });
        Guest { house: self.clone(), number, out }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.house.guests().1.remove(&self.number);
        self.house.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_dawdles_makes_room_and_nobody_does_within_the_grace() {
        let strangers = Arc::new(Strangers::default());
        let modest = strangers.arrive(ip(2));
        tokio::time::advance(Duration::from_secs(1)).await;
        let crowd: Vec<Guest> = (1..MAX_STRANGERS).map(|_| strangers.arrive(ip(1))).collect();
        let begun = Instant::now();
        strangers.room().await;
        assert_eq!(begun.elapsed(), GRACE, "the first of the crowd has had its time");
        assert_eq!(crowd.iter().filter(|guest| guest.out.is_cancelled()).count(), 1);
        assert!(!modest.out.is_cancelled(), "the older one, of another machine, stays");
        let _newcomer = strangers.arrive(ip(3));
        drop(crowd);
        strangers.room().await;
        assert_eq!(strangers.guests().1.len(), 2);
    }
}
