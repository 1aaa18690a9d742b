//! Which packet is which parcel, from the client's channel to the broker's acknowledgement.
//!
//! The client chooses packet ids itself and tells them as it writes: the n-th publish posted is the n-th written. The broker
//! acknowledges in the order in which it received (MQTT 3.1.1 §4.6). Whatever does not fit is an error, never a guess: a wrong pair
//! would tell a message as delivered that is not.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// A parcel's ticket; `None` for the session's own first and last words, whose fate interests nobody.
pub(super) type Ticket = Option<u64>;

/// What is on its way.
#[derive(Debug)]
pub(super) struct Window {
    /// Handed to the client, not yet written.
    posted: VecDeque<Ticket>,
    /// Written, not yet acknowledged.
    written: VecDeque<(u16, Ticket)>,
    /// When the oldest began to wait, or the last acknowledgement came.
    waiting_since: Instant,
}

impl Window {
    pub(super) fn new(most: usize) -> Self {
        Self { posted: VecDeque::with_capacity(most), written: VecDeque::with_capacity(most), waiting_since: Instant::now() }
    }

    /// How many are on their way.
    pub(super) fn len(&self) -> usize {
        self.posted.len() + self.written.len()
    }

    /// How long an acknowledgement has been due; nothing when none is.
    pub(super) fn waited(&self) -> Duration {
        if self.len() == 0 { Duration::ZERO } else { self.waiting_since.elapsed() }
    }

    /// It was not the broker who made us wait.
    pub(super) fn wait_anew(&mut self) {
        self.waiting_since = Instant::now();
    }

    /// Handed to the client.
    pub(super) fn posted(&mut self, ticket: Ticket) {
        if self.len() == 0 {
            self.waiting_since = Instant::now();
        }
        self.posted.push_back(ticket);
    }

    /// Written with this id. With QoS 0 the id is 0 and this was all: the ticket comes back.
    pub(super) fn written(&mut self, packet: u16) -> Result<Option<Ticket>, String> {
        let ticket = self.posted.pop_front().ok_or_else(|| format!("the client sent a packet {packet} that nobody posted"))?;
        if packet == 0 {
            return Ok(Some(ticket));
        }
        self.written.push_back((packet, ticket));
        Ok(None)
    }

    /// Acknowledged by the broker: whose packet it was.
    pub(super) fn acknowledged(&mut self, packet: u16) -> Result<Ticket, String> {
        match self.written.pop_front() {
            Some((first, ticket)) if first == packet => {
                self.waiting_since = Instant::now();
                Ok(ticket)
            }
            Some((first, _)) => Err(format!("it acknowledged packet {packet} out of order: {first} was first")),
            None => Err(format!("it acknowledged packet {packet}, which is not in flight")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_posted_is_the_nth_written_is_the_nth_acknowledged() {
        let mut window = Window::new(4);
        for ticket in 10..13 {
            window.posted(Some(ticket));
        }
        for packet in 1..=3 {
            assert_eq!(window.written(packet), Ok(None));
        }
        assert_eq!(window.len(), 3);
        assert_eq!([1, 2, 3].map(|packet| window.acknowledged(packet)), [Ok(Some(10)), Ok(Some(11)), Ok(Some(12))]);
        assert_eq!((window.len(), window.waited()), (0, Duration::ZERO));
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_never_a_guess() {
        let mut window = Window::new(4);
        assert!(window.written(1).is_err() && window.acknowledged(1).is_err());
        window.posted(Some(10));
        // Not written yet, so it cannot have been acknowledged.
        assert!(window.acknowledged(1).is_err());
        assert_eq!(window.written(1), Ok(None));
        assert!(window.acknowledged(2).expect_err("another id").contains("out of order"));
    }

    #[test]
    fn with_qos_0_written_is_all_there_is() {
        let mut window = Window::new(4);
        window.posted(Some(10));
        window.posted(None);
        assert_eq!((window.written(0), window.written(0)), (Ok(Some(Some(10))), Ok(Some(None))));
        assert_eq!(window.len(), 0);
    }
}
