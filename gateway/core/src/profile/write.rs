//! What a point says about being written: whether, within which limits, how often, and under which condition.
//!
//! Nothing is writable unless it says so. The check names every problem; the rules are applied by [`crate::guard`].

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PointProfile;
use crate::{
    id::{LeafId, PointName},
    problem::Problems,
    quantity::Span,
    reading::Value,
};

/// How old the value that an interlock looks at may be: three polls at the usual interval.
pub const DEFAULT_INTERLOCK_AGE: Duration = Duration::from_secs(30);

/// What every point may say about being written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RawWrite {
    /// Whether commands may write this point. Default false: nothing is written that was not declared so.
    pub writable: Option<bool>,
    /// Smallest value that may be written, in the unit. Default: `min`.
    pub write_min: Option<f64>,
    /// Largest value that may be written, in the unit. Default: `max`.
    pub write_max: Option<f64>,
    /// Only multiples of this may be written, counted from the smallest value that may be (or from 0), in the unit.
    pub write_step: Option<f64>,
    /// At most one write in this time; an earlier one is rejected. Spares the flash memory of devices that keep set-points in it.
    pub write_interval: Option<Span>,
    /// Written only while another point is as this says: { point = "pump", is = false }.
    pub interlock: Option<RawInterlock>,
    /// Whether the same write may be made twice without harm, as for a set-point, and unlike a pulse or a counter. A
    /// write that a power cut interrupted is then made again. Default false.
    pub repeatable: Option<bool>,
}

/// A condition on another point. One of `is`, `is_not`, or `min` and `max`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawInterlock {
    /// The leaf that the other point is on. Default: the same.
    pub leaf: Option<String>,
    /// The other point.
    pub point: String,
    /// The value it must have, as its readings show it: true, 3, or "auto".
    pub is: Option<RawState>,
    /// The value it must not have.
    pub is_not: Option<RawState>,
    /// It must be at least this, in its unit.
    pub min: Option<f64>,
    /// It must be at most this, in its unit.
    pub max: Option<f64>,
    /// How old its reading may be; an older one permits nothing. Default "30s".
    pub max_age: Option<Span>,
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawState {
    /// On or off.
    Bool(bool),
    /// A number, in the unit.
    Number(f64),
    /// Text or a label.
    Text(String),
}

/// How a point may be written.
#[derive(Debug, Clone, PartialEq)]
pub struct WriteProfile {
    /// What raw values the leaf takes.
    pub takes: Takes,
    /// Smallest value, in the unit.
    pub min: Option<f64>,
    /// Largest value, in the unit.
    pub max: Option<f64>,
    /// Only whole multiples of this from `min` (or 0); above zero.
    pub step: Option<f64>,
    /// Least time between two writes.
    pub interval: Duration,
    /// Under which condition.
    pub interlock: Option<Interlock>,
    /// Whether doing it twice is as good as once.
    pub repeatable: bool,
}

/// A condition on another point.
#[derive(Debug, Clone, PartialEq)]
pub struct Interlock {
    /// On which leaf; `None` for the leaf that is written.
    pub leaf: Option<LeafId>,
    /// Which point.
    pub point: PointName,
    /// What it must be.
    pub needs: Needs,
    /// How old its reading may be.
    pub max_age: Duration,
}

/// What an interlock needs, compared with values as readings show them.
#[derive(Debug, Clone, PartialEq)]
pub enum Needs {
    /// Exactly this.
    Is(Value),
    /// Anything but this.
    IsNot(Value),
    /// A number from the first to the second.
    Between(Option<f64>, Option<f64>),
}

/// What raw values a point's place in the leaf takes: said by the adapter, which knows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Takes {
    /// None, for this reason: "no input register can be written".
    Nothing(&'static str),
    /// `true` or `false`.
    Bit,
    /// Whole numbers in this range.
    Whole {
        /// The smallest.
        least: i64,
        /// The largest.
        most: u64,
    },
    /// Numbers with a fraction, of this size.
    Real(Real),
    /// Text of so many bytes in UTF-8 at most, without NUL.
    Text {
        /// How many.
        most_bytes: usize,
    },
    /// So many bytes, no fewer and no more.
    Bytes {
        /// How many.
        count: usize,
    },
    /// Any number, bit or text: the leaf takes text that we make of it.
    Any,
}

/// Sizes of IEEE 754 numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Real {
    /// 16 bits.
    Half,
    /// 32 bits.
    Single,
    /// 64 bits.
    Double,
}

impl RawWrite {
    /// Checks what the point says about writing; `profile` is the point so far. `None` when it is not writable, or not as told.
    pub(super) fn check(&self, profile: &PointProfile, takes: Takes, problems: &mut Problems) -> Option<WriteProfile> {
        if self.writable != Some(true) {
            for (key, _) in self.given().into_iter().filter(|(_, given)| *given) {
                problems.key(key).error("has no effect without writable = true", "add writable = true, or leave it out");
            }
            return None;
        }
        if let Takes::Nothing(why) = takes {
            problems.key("writable").error(why, "leave it out");
            return None;
        }
        self.check_kind(profile, takes, problems);
        let (min, max) = self.limits(profile, problems);
        let step = self.write_step.filter(|step| *step > 0.0 && step.is_finite());
        if self.write_step.is_some() && step.is_none() {
            problems.key("write_step").error("is not a step", "write a number above 0, such as 0.5");
        }
        let interlock = self.interlock.as_ref().and_then(|raw| raw.check(&mut problems.key("interlock")));
        let interval = self.write_interval.map_or(Duration::ZERO, |span| span.0);
        Some(WriteProfile { takes, min, max, step, interval, interlock, repeatable: self.repeatable == Some(true) })
    }

    fn given(&self) -> [(&'static str, bool); 6] {
        [
            ("write_min", self.write_min.is_some()),
            ("write_max", self.write_max.is_some()),
            ("write_step", self.write_step.is_some()),
            ("write_interval", self.write_interval.is_some()),
            ("interlock", self.interlock.is_some()),
            ("repeatable", self.repeatable.is_some()),
        ]
    }

    /// Limits and steps are for numbers; labels must say one number each.
    fn check_kind(&self, profile: &PointProfile, takes: Takes, problems: &mut Problems) {
        let numbers =
            [("write_min", self.write_min.is_some()), ("write_max", self.write_max.is_some()), ("write_step", self.write_step.is_some())];
        let why = match takes {
            Takes::Text { .. } | Takes::Bytes { .. } => Some("is for numbers, and this point takes none"),
            _ if !profile.labels.is_empty() => Some("cannot be combined with labels: only they may be written"),
            _ => None,
        };
        if let Some(why) = why {
            for (key, _) in numbers.iter().filter(|(_, given)| *given) {
                problems.key(key).error(why, "leave it out");
            }
        }
        let mut seen = std::collections::BTreeMap::new();
        for (number, label) in &profile.labels {
            if let Some(other) = seen.insert(label, number) {
                problems.key("labels").error(
                    format!("'{label}' means {other} and {number}, so writing it would be a guess"),
                    "give each number a label of its own",
                );
            }
        }
    }

    fn limits(&self, profile: &PointProfile, problems: &mut Problems) -> (Option<f64>, Option<f64>) {
        let (min, max) = (self.write_min.or(profile.min), self.write_max.or(profile.max));
        for (key, limit) in [("write_min", self.write_min), ("write_max", self.write_max)] {
            if limit.is_some_and(|limit| !limit.is_finite()) {
                problems.key(key).error("is not a number", "write a finite number, or leave it out");
            }
        }
        if let (Some(least), Some(most)) = (min, max)
            && least > most
            && (self.write_min.is_some() || self.write_max.is_some())
        {
            let key = if self.write_min.is_some() { "write_min" } else { "write_max" };
            problems.key(key).error(format!("leaves nothing to write: from {least} to {most}"), "exchange the two, or widen them");
        }
        (min, max)
    }
}

impl RawInterlock {
    fn check(&self, problems: &mut Problems) -> Option<Interlock> {
        let point = PointName::new(&self.point)
            .map_err(|error| problems.key("point").error(format!("'{}' is not a point name", error.text), error.rule))
            .ok();
        let leaf = self.leaf.as_ref().map(LeafId::new).transpose();
        let leaf =
            leaf.map_err(|error| problems.key("leaf").error(format!("'{}' is not a leaf id", error.text), error.rule)).unwrap_or_default();
        let max_age = self.max_age.map_or(DEFAULT_INTERLOCK_AGE, |span| span.0);
        if max_age.is_zero() {
            problems.key("max_age").error("permits nothing: every reading is older", "write a time such as \"30s\"");
        }
        let needs = match (&self.is, &self.is_not, self.min.or(self.max)) {
            (Some(state), None, None) => Some(Needs::Is(state.value())),
            (None, Some(state), None) => Some(Needs::IsNot(state.value())),
            (None, None, Some(_)) => self.range(problems),
            (None, None, None) => {
                problems.error("says no condition", "add is, is_not, or min and max: { point = \"pump\", is = false }");
                None
            }
            _ => {
                problems.error("says more than one condition", "write one of is, is_not, or min and max");
                None
            }
        };
        Some(Interlock { leaf, point: point?, needs: needs?, max_age })
    }

    fn range(&self, problems: &mut Problems) -> Option<Needs> {
        let finite = [self.min, self.max].into_iter().flatten().all(f64::is_finite);
        let ordered = self.min.zip(self.max).is_none_or(|(min, max)| min <= max);
        if !finite || !ordered {
            problems.key("min").error("and max are no range", "write two finite numbers, the smaller one as min");
            return None;
        }
        Some(Needs::Between(self.min, self.max))
    }
}

impl RawState {
    fn value(&self) -> Value {
        match self {
            RawState::Bool(bit) => Value::Bool(*bit),
            RawState::Number(number) => Value::Float(*number),
            RawState::Text(text) => Value::Text(text.clone()),
        }
    }
}
