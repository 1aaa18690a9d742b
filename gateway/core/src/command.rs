//! The way back: what makes a leaf do something, and what became of it.

use bytes::Bytes;

use crate::{
    id::{LeafId, PointName},
    reading::Value,
};

/// Anything that makes a leaf do something, whoever asked: the hub, the page, the command line.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// As the sender named it; outcomes carry it as their correlation id. At most 128 characters.
    pub id: String,
    /// Who is to act.
    pub leaf: LeafId,
    /// What is to be done.
    pub action: Action,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Set points, in this order.
    Write(Vec<(PointName, Value)>),
    /// Read points now; empty for all.
    Read(Vec<PointName>),
    /// Bytes for a leaf that takes them as they are.
    Raw(Bytes),
    /// A message as the hub sent it, for a leaf that is a device with a program of its own.
    Message {
        /// System properties by their wire names, then the sender's own.
        properties: Vec<(String, String)>,
        /// What it says.
        body: Bytes,
    },
}

/// What became of a command. Exactly one for each.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Observed: the value was read back, or the leaf confirmed it in a way that cannot lie. With the values seen.
    Done(Vec<(PointName, Value)>),
    /// It left us, and this leaf cannot confirm.
    Sent,
    /// Not begun, and never will be: the reason in words.
    Rejected(String),
    /// Not begun in time.
    Expired,
    /// Begun, and observed not to have happened: the reason in words.
    Failed(String),
    /// Begun, and nobody knows: the reason in words.
    Uncertain(String),
}

impl Outcome {
    /// The word that the hub receives.
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Done(_) => "done",
            Outcome::Sent => "sent",
            Outcome::Rejected(_) => "rejected",
            Outcome::Expired => "expired",
            Outcome::Failed(_) => "failed",
            Outcome::Uncertain(_) => "uncertain",
        }
    }
}
