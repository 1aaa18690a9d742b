//! Acknowledgements to the hub, in the order in which its messages came.
//!
//! Brokers may demand that order, so a signature waits for the signatures before it. A receipt that is dropped unsigned stops the
//! acknowledgements of this session for good: whatever came after it may be durable, but acknowledging it could make the broker
//! forget the one that is not. The next session gets them all again; who stores them knows them by their ids.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::FutureExt;
use tidegate_core::adapter::Receipt;
use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    time::Instant,
};

/// Most messages from the hub that wait for our acknowledgement. Hubs keep 16 to 32 in flight; this many is an attack.
const MOST_WAITING: usize = 1024;

/// What waits for a signature.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    waiting: VecDeque<Waiting>,
    stopped: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    packet: u16,
    /// `None` once it is signed, or if nobody needs to sign.
    signature: Option<oneshot::Receiver<()>>,
}

impl Receipts {
    /// A message that must be durable first: the receipt to hand out with it.
    pub(super) fn expect(&mut self, packet: u16) -> Receipt {
        let (receipt, signature) = Receipt::new();
        self.push(packet, Some(signature));
        receipt
    }

    /// A message that may be acknowledged as soon as its turn comes.
    pub(super) fn pass(&mut self, packet: u16) {
        self.push(packet, None);
    }

    fn push(&mut self, packet: u16, signature: Option<oneshot::Receiver<()>>) {
        if self.stopped.is_none() {
            self.waiting.push_back(Waiting { packet, signature });
        }
    }

    /// Whether more wait than any hub would send without our acknowledgement.
    pub(super) fn is_flooded(&self) -> bool {
        self.waiting.len() > MOST_WAITING
    }

    /// For how long no acknowledgement has been possible, because a receipt was dropped.
    pub(super) fn stopped_for(&self) -> Option<Duration> {
        self.stopped.map(|since| since.elapsed())
    }

    /// The packet whose turn it is, if it is signed.
    pub(super) fn next_signed(&mut self) -> Option<u16> {
        let front = self.waiting.front_mut()?;
        match front.signature.as_mut().map(oneshot::Receiver::try_recv) {
            None | Some(Ok(())) => self.waiting.pop_front().map(|front| front.packet),
            Some(Err(TryRecvError::Empty)) => None,
            Some(Err(TryRecvError::Closed)) => {
                self.note(false);
                None
            }
        }
    }

    /// Ready when it is worth calling [`Receipts::next_signed`].
    pub(super) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.waiting.front_mut().map(|front| front.signature.as_mut()) {
            None => Poll::Pending,
            Some(None) => Poll::Ready(()),
            Some(Some(signature)) => {
                // The value that `poll` takes out is gone for `try_recv`, so a signature is noted here.
                let Poll::Ready(answer) = signature.poll_unpin(cx) else { return Poll::Pending };
                self.note(answer.is_ok());
                Poll::Ready(())
            }
        }
    }

    fn note(&mut self, signed: bool) {
        if signed {
            if let Some(front) = self.waiting.front_mut() {
                front.signature = None;
            }
        } else {
            self.waiting.clear();
            self.stopped = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[test]
    fn signatures_take_their_turn() {
        let mut receipts = Receipts::default();
        let (first, second) = (receipts.expect(1), receipts.expect(2));
        receipts.pass(3);
        second.sign();
        assert_eq!(receipts.next_signed(), None);
        first.sign();
        assert_eq!(std::iter::from_fn(|| receipts.next_signed()).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn after_a_dropped_receipt_nothing_is_acknowledged_any_more() {
        let mut receipts = Receipts::default();
        let (first, second) = (receipts.expect(1), receipts.expect(2));
        second.sign();
        drop(first);
        assert_eq!(receipts.next_signed(), None);
        receipts.pass(3);
        assert_eq!(receipts.next_signed(), None);
        assert!(receipts.stopped_for().is_some());
    }

    #[tokio::test]
    async fn a_signature_wakes_whoever_waits_for_its_turn() {
        let mut receipts = Receipts::default();
        let receipt = receipts.expect(7);
        let signer = tokio::spawn(async move { receipt.sign() });
        poll_fn(|cx| receipts.poll_turn(cx)).await;
        assert_eq!(receipts.next_signed(), Some(7));
        signer.await.expect("signed");
        let dropped = receipts.expect(8);
        let dropper = tokio::spawn(async move { drop(dropped) });
        poll_fn(|cx| receipts.poll_turn(cx)).await;
        assert_eq!(receipts.next_signed(), None);
        dropper.await.expect("dropped");
        assert!(receipts.stopped_for().is_some());
    }
}
