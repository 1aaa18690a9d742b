//! How often one source may ask, and how often it may be wrong.
//!
//! A source is an address (of IPv6 the first 64 bits, which one household has). Both tables are bounded: when they are full, the
//! source that was quiet longest is forgotten.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Sources remembered.
const SOURCES: usize = 1024;
/// Requests that a source may make at once: a page that opens asks for a dozen things.
const BURST: f64 = 200.0;
/// Requests a second in the long run.
const RATE: f64 = 50.0;
/// Wrong log-ins before a source must wait.
const FREE_TRIES: u32 = 5;
/// The first wait; it doubles with each further wrong try.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// After so long without a try everything is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// What is remembered of sources.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<HashMap<IpAddr, Source>>);

#[derive(Debug)]
struct Source {
    seen: Instant,
    budget: f64,
    wrong: u32,
    blocked_until: Option<Instant>,
}

fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

impl Throttle {
    fn with<T>(&self, address: IpAddr, now: Instant, work: impl FnOnce(&mut Source) -> T) -> T {
        // A panic elsewhere while the lock was held leaves a table that is still a table.
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = source_of(address);
        if !sources.contains_key(&address) && sources.len() >= SOURCES {
            let quiet = sources.iter().min_by_key(|(_, source)| source.seen).map(|(address, _)| *address);
            quiet.map(|quiet| sources.remove(&quiet));
        }
        let fresh = || Source { seen: now, budget: BURST, wrong: 0, blocked_until: None };
        let source = sources.entry(address).or_insert_with(fresh);
        let quiet = now.saturating_duration_since(source.seen);
        source.budget = (source.budget + quiet.as_secs_f64() * RATE).min(BURST);
        if quiet > FORGOTTEN {
            source.wrong = 0;
        }
        source.seen = now;
        work(source)
    }

    /// One more request. `Err`: too many, with the seconds to wait.
    pub(crate) fn request(&self, address: IpAddr, now: Instant) -> Result<(), u64> {
        self.with(address, now, |source| {
            if source.budget < 1.0 {
                return Err(1);
            }
            source.budget -= 1.0;
            Ok(())
        })
    }

    /// Before a password or code is looked at, and counted as wrong until [`Throttle::right`]: tries that run side by side count too.
    pub(crate) fn try_secret(&self, address: IpAddr, now: Instant) -> Result<(), u64> {
        self.with(address, now, |source| {
            if let Some(until) = source.blocked_until
                && until > now
            {
                return Err((until - now).as_secs() + 1);
            }
            source.wrong += 1;
            if source.wrong >= FREE_TRIES {
                let wait = FIRST_WAIT.saturating_mul(1 << (source.wrong - FREE_TRIES).min(16)).min(LONGEST_WAIT);
                source.blocked_until = Some(now + wait);
            }
            Ok(())
        })
    }

    /// It was right.
    pub(crate) fn right(&self, address: IpAddr, now: Instant) {
        self.with(address, now, |source| (source.wrong, source.blocked_until) = (0, None));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u128) -> IpAddr {
        IpAddr::V6((n << 64).into())
    }

    #[test]
    fn a_guesser_waits_longer_and_longer_and_the_one_who_knows_does_not() {
        let (throttle, mut now, mut tries) = (Throttle::default(), Instant::now(), 0);
        let begun = now;
        while now < begun + Duration::from_secs(3600) {
            match throttle.try_secret(address(1), now) {
                Ok(()) => tries += 1,
                Err(wait) => now += Duration::from_secs(wait),
            }
        }
        assert!(tries < 30, "{tries} tries in an hour");
        for _ in 0..100 {
            assert!(throttle.try_secret(address(2), now).is_ok());
            throttle.right(address(2), now);
        }
    }

    #[test]
    fn a_thousand_sources_do_not_grow_the_table_and_one_household_is_one_source() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..5_000 {
            assert!(throttle.request(address(n), now).is_ok());
        }
        assert_eq!(throttle.0.lock().expect("not poisoned").len(), SOURCES);
        let v4: IpAddr = "192.0.2.1".parse().expect("an address");
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().expect("an address");
        assert_eq!(source_of(v4), source_of(mapped));
        let refused = (0..300).filter(|n| throttle.request(IpAddr::V6((0xabc_u128 << 100 | n).into()), now).is_err()).count();
        assert_eq!(refused, 100);
    }
}
