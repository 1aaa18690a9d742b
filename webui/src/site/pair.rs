//! Pairing with devices that want to be known before they talk.

use std::{fmt, time::Duration};

use async_trait::async_trait;

use crate::{
    Problem,
    shape::{PairAnswer, PairRequest, PairView},
};

/// One pairing at a time, in the background: it ends by itself, when somebody ends it, and when nobody asks for it any more.
#[async_trait]
pub trait Pairings: Send + Sync + fmt::Debug + 'static {
    /// Whether it could be begun. Opens nothing.
    fn check_pairing(&self, request: &PairRequest) -> Result<(), Problem>;
    /// Begins one.
    fn start_pairing(&self, request: PairRequest, who: &str) -> Result<PairView, Problem>;
    /// It, once it has a later revision than was seen or the time is over; `None` when there is none of this id.
    async fn pairing(&self, id: &str, seen: Option<u64>, wait: Duration) -> Option<PairView>;
    /// Answers what it asks; `None` when there is none of this id.
    fn answer_pairing(&self, id: &str, answer: PairAnswer) -> Option<Result<(), Problem>>;
    /// Ends it, or forgets one that has ended; whether there is one of this id.
    fn end_pairing(&self, id: &str) -> bool;
}
