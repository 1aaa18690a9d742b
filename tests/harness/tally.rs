//! Counts what arrived above: nothing missing, in order, how much twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::Instant,
};

use serde_json::Value as Json;

/// One message as the broker handed it on.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) at: Instant,
    pub(crate) leaf: String,
    pub(crate) id: String,
    pub(crate) body: Json,
    /// Null unless the payload template names them.
    pub(crate) properties: Json,
}

impl Delivery {
    /// From a line `topic payload` of the witness.
    pub(super) fn parse(at: Instant, line: &str) -> Self {
        let (topic, payload) = line.split_once(' ').unwrap_or_else(|| panic!("the witness said {line}"));
        let payload: Json = serde_json::from_str(payload).unwrap_or_else(|e| panic!("{e} in {line}"));
        let text = |key: &str| payload[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}")).to_owned();
        let delivery =
            Self { at, leaf: text("leaf"), id: text("id"), body: payload["body"].clone(), properties: payload["properties"].clone() };
        assert_eq!(topic, format!("t/{}", delivery.leaf), "topic and message agree");
        delivery
    }

    /// The counter, if this message carries one.
    pub(crate) fn number(&self) -> Option<u64> {
        self.body["n"].as_u64()
    }
}

/// All that arrived, in the order of arrival.
#[derive(Debug, Clone)]
pub(crate) struct Tally(Vec<Delivery>);

impl Tally {
    pub(super) fn new(deliveries: Vec<Delivery>) -> Self {
        Self(deliveries)
    }

    pub(crate) fn all(&self) -> &[Delivery] {
        &self.0
    }

    pub(crate) fn of<'a>(&'a self, leaf: &'a str) -> impl DoubleEndedIterator<Item = &'a Delivery> {
        self.0.iter().filter(move |d| d.leaf == leaf)
    }

    /// Every leaf that was heard of, with its counter values as they first arrived.
    pub(crate) fn counters(&self) -> BTreeMap<&str, Vec<u64>> {
        let mut seen = BTreeSet::new();
        let mut counters: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for delivery in self.0.iter().filter(|d| seen.insert(&d.id)) {
            counters.entry(delivery.leaf.as_str()).or_default().extend(delivery.number());
        }
        counters
    }

    pub(crate) fn ids(&self) -> BTreeSet<&str> {
        self.0.iter().map(|d| d.id.as_str()).collect()
    }

    /// How many arrived that had arrived before.
    pub(crate) fn duplicates(&self) -> usize {
        self.0.len() - self.ids().len()
    }

    /// The bodies of the gap reports, each once.
    pub(crate) fn gaps(&self) -> Vec<&Json> {
        let mut seen = BTreeSet::new();
        self.0.iter().filter(|d| d.body["gap"].is_object() && seen.insert(&d.id)).map(|d| &d.body["gap"]).collect()
    }

    /// Messages that the gap reports say were given up.
    pub(crate) fn given_up(&self) -> u64 {
        self.gaps().iter().map(|gap| gap["count"].as_u64().unwrap_or_else(|| panic!("a gap without a count: {gap}"))).sum()
    }

    /// First arrivals of each leaf came in the order in which they were read.
    #[track_caller]
    pub(crate) fn assert_in_order(&self) {
        for (leaf, numbers) in self.counters() {
            let at = numbers.windows(2).position(|pair| pair[0] >= pair[1]);
            assert!(at.is_none(), "{leaf}: out of order at {at:?}: {numbers:?}");
        }
    }

    /// No value between a leaf's first and last is missing; returns the two.
    #[track_caller]
    pub(crate) fn assert_unbroken(&self, leaf: &str) -> RangeInclusive<u64> {
        let numbers: BTreeSet<u64> = self.of(leaf).filter_map(Delivery::number).collect();
        let (Some(&first), Some(&last)) = (numbers.first(), numbers.last()) else {
            panic!("{leaf}: nothing arrived");
        };
        let missing: Vec<u64> = (first..=last).filter(|n| !numbers.contains(n)).collect();
        assert!(missing.is_empty(), "{leaf}: of {first}..={last} these are missing: {missing:?}");
        first..=last
    }
}
