//! Which packet is which parcel, until the broker has acknowledged it.
//!
//! The broker acknowledges in the order in which it received (MQTT 3.1.1 §4.6). Whatever does not fit is an error, never a guess: a
//! wrong pair would tell a message as delivered that is not.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// A parcel's ticket; `None` for the session's own first and last words, whose fate interests nobody.
pub(super) type Ticket = Option<u64>;

/// What is on its way.
#[derive(Debug)]
pub(super) struct Window {
    /// Not yet acknowledged; with QoS 0, where the id is 0, not yet written.
    out: VecDeque<(u16, Ticket)>,
    /// When the oldest began to wait, or the last acknowledgement came.
    waiting_since: Instant,
}

impl Window {
    pub(super) fn new(most: usize) -> Self {
        Self { out: VecDeque::with_capacity(most), waiting_since: Instant::now() }
    }

    /// How many are on their way.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// How long an acknowledgement has been due; nothing when none is.
    pub(super) fn waited(&self) -> Duration {
        if self.len() == 0 { Duration::ZERO } else { self.waiting_since.elapsed() }
    }

    /// It was not the broker who made us wait.
    pub(super) fn wait_anew(&mut self) {
        self.waiting_since = Instant::now();
    }

    /// To be written, with this id.
    pub(super) fn posted(&mut self, packet: u16, ticket: Ticket) {
        if self.len() == 0 {
            self.waiting_since = Instant::now();
        }
        self.out.push_back((packet, ticket));
    }

    /// All that was posted is written: the next one that needs no acknowledgement.
    pub(super) fn written(&mut self) -> Option<Ticket> {
        self.out.front().filter(|(packet, _)| *packet == 0)?;
        self.out.pop_front().map(|(_, ticket)| ticket)
    }

    /// Acknowledged by the broker: whose packet it was.
    pub(super) fn acknowledged(&mut self, packet: u16) -> Result<Ticket, String> {
        match self.out.pop_front() {
            Some((first, ticket)) if first == packet && packet != 0 => {
                self.waiting_since = Instant::now();
                Ok(ticket)
            }
            Some((first, _)) if self.out.iter().any(|(other, _)| *other == packet && packet != 0) => {
                Err(format!("it acknowledged packet {packet} out of order: {first} was first"))
            }
            _ => Err(format!("it acknowledged packet {packet}, which is not in flight")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_posted_is_the_nth_acknowledged() {
        let mut window = Window::new(4);
        for packet in 1..=3 {
            window.posted(packet, Some(9 + u64::from(packet)));
        }
        assert_eq!((window.len(), window.written()), (3, None));
        assert_eq!([1, 2, 3].map(|packet| window.acknowledged(packet)), [Ok(Some(10)), Ok(Some(11)), Ok(Some(12))]);
        assert_eq!((window.len(), window.waited()), (0, Duration::ZERO));
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_never_a_guess() {
        let mut window = Window::new(4);
        assert!(window.acknowledged(1).is_err());
        window.posted(1, Some(10));
        assert!(window.acknowledged(3).expect_err("another id").contains("not in flight"));
        window.posted(1, Some(10));
        window.posted(2, Some(11));
        assert!(window.acknowledged(2).expect_err("not its turn").contains("out of order"));
        let mut window = Window::new(4);
        window.posted(0, Some(11));
        assert!(window.acknowledged(0).expect_err("QoS 0 is never acknowledged").contains("not in flight"));
    }

    #[test]
    fn with_qos_0_written_is_all_there_is() {
        let mut window = Window::new(4);
        window.posted(0, Some(10));
        window.posted(0, None);
        assert_eq!([window.written(), window.written(), window.written()], [Some(Some(10)), Some(None), None]);
        assert_eq!(window.len(), 0);
    }
}
