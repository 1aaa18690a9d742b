//! What is to be made of a leaf's raw values before they leave: scale, offset, precision, labels,
//! range, and when a value is worth reporting; and what may be written to it ([`WriteProfile`]).
//!
//! An adapter's configuration carries one [`RawPoint`] in each of its points (flattened into the
//! adapter's own keys, such as a register's address) and checks it into a [`PointProfile`].
//! The adapter itself never looks at it again: it hands over raw values, and `normalise` applies the profile; it is
//! given raw values to write, and [`crate::guard`] has applied it.

mod write;

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    id::{LeafId, PointName},
    message::{Class, Properties},
    problem::Problems,
    quantity::Span,
};

pub use write::{DEFAULT_INTERLOCK_AGE, Interlock, Needs, RawInterlock, RawState, RawWrite, Real, Takes, WriteProfile};

/// What every point of every adapter may say about itself in the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RawPoint {
    /// Unit of the value after scale and offset, as people write it: "°C", "kWh", "%".
    pub unit: Option<String>,
    /// Factor from the raw number to the unit. Default 1.
    pub scale: Option<f64>,
    /// Added after the scale. Default 0.
    pub offset: Option<f64>,
    /// Decimal places kept, 0 to 9. Default: as many as the value has.
    #[schemars(range(min = 0, max = 9))]
    pub precision: Option<u8>,
    /// Names for whole numbers: { "0" = "off", "1" = "on" }. A number without a name leaves as the number, quality uncertain.
    pub labels: Option<BTreeMap<String, String>>,
    /// Smallest value that can be true, in the unit. Below it the reading is "uncertain: out-of-range".
    pub min: Option<f64>,
    /// Largest value that can be true, in the unit.
    pub max: Option<f64>,
    /// "always" (each poll) or "change" (only when the value differs from the last one sent). Default "always".
    pub report: Option<RawReport>,
    /// With report = "change": how far the value must move from the last one sent, as a number in the unit (0.5) or in percent of the last one sent ("2%").
    pub deadband: Option<RawDeadband>,
    /// Send at most once in this time; the latest change waits and is sent when the time is over.
    pub min_interval: Option<Span>,
    /// Send after this time even if nothing changed.
    pub heartbeat: Option<Span>,
    /// Whether and how it may be written.
    #[serde(flatten)]
    pub write: RawWrite,
}

/// When to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawReport {
    /// Each poll.
    Always,
    /// When it differs from the last value sent.
    Change,
}

/// A deadband as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawDeadband {
    /// In the point's unit.
    Absolute(f64),
    /// "2%" of the last value sent.
    Percent(String),
}

/// What becomes of a point's raw values.
#[derive(Debug, Clone, PartialEq)]
pub struct PointProfile {
    /// The point.
    pub name: PointName,
    /// Unit after scaling, for people and for the body when units are asked for.
    pub unit: Option<String>,
    /// Never zero, always finite.
    pub scale: f64,
    /// Always finite.
    pub offset: f64,
    /// Decimal places kept.
    pub precision: Option<u8>,
    /// Names for whole numbers; empty when there are none.
    pub labels: BTreeMap<i64, String>,
    /// Values below are uncertain.
    pub min: Option<f64>,
    /// Values above are uncertain.
    pub max: Option<f64>,
    /// When to report.
    pub report: ReportPolicy,
    /// How commands may write it; `None`: not at all.
    pub write: Option<WriteProfile>,
}

/// When a value is worth sending, judged against the last value *sent*, so that a slow drift is not missed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReportPolicy {
    /// `None`: each poll. `Some`: only a change that leaves the deadband.
    pub on_change: Option<Deadband>,
    /// At most one in this time. The last change inside it is kept and sent when it is over.
    pub min_interval: Duration,
    /// At least one in this time; `None` for no heartbeat.
    pub heartbeat: Option<Duration>,
}

/// How far a value must move to count as changed. A change of quality always counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Deadband {
    /// Any difference.
    None,
    /// By more than this, in the unit.
    Absolute(f64),
    /// By more than this share of the last value sent: 0.02 for "2%".
    Relative(f64),
}

/// A leaf and its points.
#[derive(Debug, Clone, PartialEq)]
pub struct LeafProfile {
    /// The leaf.
    pub id: LeafId,
    /// Its points, in the order in which the body lists them.
    pub points: Vec<PointProfile>,
    /// What gives way last when room is short.
    pub class: Class,
    /// How long its messages are worth sending; `None` for ever.
    pub ttl: Option<Duration>,
    /// Application properties that each of its messages carries.
    pub properties: Properties,
}

impl RawPoint {
    /// Checks what the point says about itself, where adapters of this kind write no points. `problems` stands at the
    /// point; every problem is recorded there.
    pub fn check(&self, name: PointName, problems: &mut Problems) -> PointProfile {
        self.check_with(name, Takes::Nothing("points of this kind of adapter cannot be written"), problems)
    }

    /// As [`RawPoint::check`], for a place in the leaf that takes such raw values.
    pub fn check_with(&self, name: PointName, takes: Takes, problems: &mut Problems) -> PointProfile {
        let scale = self.scale.unwrap_or(1.0);
        if scale == 0.0 || !scale.is_finite() {
            problems
                .key("scale")
                .error(format!("{scale} would erase the value"), "write the factor from the raw number to the unit, such as 0.1");
        }
        let offset = self.offset.unwrap_or(0.0);
        if !offset.is_finite() {
            problems.key("offset").error("is not a number", "write a finite number, or leave it out");
        }
        if let (Some(min), Some(max)) = (self.min, self.max)
            && min > max
        {
            problems.key("min").error(format!("{min} is above max {max}"), "exchange the two");
        }
        let mut labels = BTreeMap::new();
        for (number, label) in self.labels.iter().flatten() {
            match number.parse::<i64>() {
                Ok(n) => drop(labels.insert(n, label.clone())),
                Err(_) => {
                    problems.key("labels").key(number).error("is not a whole number", "write the raw number as the key: \"1\" = \"on\"");
                }
            }
        }
        if !labels.is_empty() && (self.scale.is_some() || self.offset.is_some()) {
            problems.key("labels").error("cannot be combined with scale or offset", "labels name raw numbers: leave scale and offset out");
        }
        let mut profile = PointProfile {
            name,
            unit: self.unit.clone(),
            scale,
            offset,
            precision: self.precision,
            labels,
            min: self.min,
            max: self.max,
            report: self.report_policy(problems),
            write: None,
        };
        profile.write = self.write.check(&profile, takes, problems);
        profile
    }

    fn report_policy(&self, problems: &mut Problems) -> ReportPolicy {
        let on_change = match (self.report, &self.deadband) {
            (Some(RawReport::Change), None) => Some(Deadband::None),
            (Some(RawReport::Change), Some(deadband)) => deadband.check().or_else(|| {
                problems
                    .key("deadband")
                    .error("is not a deadband", "write a number from 0 up in the unit (0.5), or percent as text (\"2%\")");
                None
            }),
            (_, None) => None,
            (_, Some(_)) => {
                problems
                    .key("deadband")
                    .error("has no effect without report = \"change\"", "add report = \"change\", or leave the deadband out");
                None
            }
        };
        let min_interval = self.min_interval.map_or(Duration::ZERO, |s| s.0);
        let heartbeat = self.heartbeat.map(|s| s.0);
        if heartbeat.is_some_and(|h| h < min_interval) {
            problems.key("heartbeat").error("is shorter than min_interval", "make the heartbeat at least as long as min_interval");
        }
        ReportPolicy { on_change, min_interval, heartbeat }
    }
}

impl RawDeadband {
    fn check(&self) -> Option<Deadband> {
        match self {
            RawDeadband::Absolute(by) if by.is_finite() && *by >= 0.0 => Some(Deadband::Absolute(*by)),
            RawDeadband::Absolute(_) => None,
            RawDeadband::Percent(text) => {
                let percent: f64 = text.strip_suffix('%')?.trim().parse().ok()?;
                (percent.is_finite() && percent >= 0.0).then_some(Deadband::Relative(percent / 100.0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: RawPoint) -> (PointProfile, Vec<String>) {
        let mut problems = Problems::default();
        let profile = raw.check(PointName::new("p").expect("valid"), &mut problems);
        let texts = problems.list().iter().map(|p| format!("{}: {}", p.path, p.what)).collect();
        (profile, texts)
    }

    #[test]
    fn a_scale_of_zero_is_refused() {
        let (_, problems) = check(RawPoint { scale: Some(0.0), ..RawPoint::default() });
        assert_eq!(problems, ["scale: 0 would erase the value"]);
    }

    #[test]
    fn deadbands_are_numbers_or_percent() {
        let change = |deadband| RawPoint { report: Some(RawReport::Change), deadband: Some(deadband), ..RawPoint::default() };
        let (profile, problems) = check(change(RawDeadband::Percent("2%".into())));
        assert_eq!((profile.report.on_change, problems.len()), (Some(Deadband::Relative(0.02)), 0));
        for bad in ["2", "%", "-1%", "x%"] {
            assert_eq!(check(change(RawDeadband::Percent(bad.into()))).1.len(), 1, "{bad}");
        }
    }

    fn writable(write: RawWrite) -> RawPoint {
        RawPoint { write: RawWrite { writable: Some(true), ..write }, ..RawPoint::default() }
    }

    fn check_writing(raw: &RawPoint, takes: Takes) -> (Option<WriteProfile>, Vec<String>) {
        let mut problems = Problems::default();
        let profile = raw.check_with(PointName::new("p").expect("valid"), takes, &mut problems);
        (profile.write, problems.list().iter().map(|p| format!("{}: {}", p.path, p.what)).collect())
    }

    #[test]
    fn nothing_is_writable_that_does_not_say_so() {
        assert_eq!(check_writing(&RawPoint::default(), Takes::Bit), (None, vec![]));
        let (write, problems) = check_writing(&writable(RawWrite::default()), Takes::Nothing("no input register can be written"));
        assert_eq!((write, problems), (None, vec!["writable: no input register can be written".to_owned()]));
        let raw = RawPoint { write: RawWrite { write_max: Some(3.0), ..RawWrite::default() }, ..RawPoint::default() };
        assert_eq!(check_writing(&raw, Takes::Bit).1, ["write_max: has no effect without writable = true"]);
    }

    #[test]
    fn the_limits_of_a_reading_are_those_of_a_write_unless_it_has_its_own() {
        let raw = RawPoint { min: Some(0.0), max: Some(100.0), ..writable(RawWrite { write_max: Some(80.0), ..RawWrite::default() }) };
        let (write, problems) = check_writing(&raw, Takes::Real(Real::Single));
        let write = write.expect("writable");
        assert_eq!((write.min, write.max, problems.len()), (Some(0.0), Some(80.0), 0));
    }

    #[test]
    fn every_problem_of_writing_is_named_at_once() {
        let interlock =
            RawInterlock { leaf: Some("/".into()), point: "ts".into(), is: None, is_not: None, min: None, max: None, max_age: None };
        let raw = RawPoint {
            max: Some(1.0),
            ..writable(RawWrite { write_min: Some(2.0), write_step: Some(0.0), interlock: Some(interlock), ..RawWrite::default() })
        };
        let (_, problems) = check_writing(&raw, Takes::Any);
        assert_eq!(
            problems,
            [
                "write_min: leaves nothing to write: from 2 to 1",
                "write_step: is not a step",
                "interlock.point: 'ts' is not a point name",
                "interlock.leaf: '/' is not a leaf id",
                "interlock: says no condition",
            ]
        );
        let same = [("0", "off"), ("1", "off")].map(|(number, label)| (number.to_owned(), label.to_owned()));
        let raw = RawPoint { labels: Some(same.into()), ..writable(RawWrite { write_step: Some(1.0), ..RawWrite::default() }) };
        assert_eq!(
            check_writing(&raw, Takes::Any).1,
            [
                "write_step: cannot be combined with labels: only they may be written",
                "labels: 'off' means 0 and 1, so writing it would be a guess",
            ]
        );
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let (_, problems) = check(RawPoint {
            scale: Some(f64::NAN),
            min: Some(5.0),
            max: Some(1.0),
            deadband: Some(RawDeadband::Absolute(1.0)),
            labels: Some([("x".to_owned(), "y".to_owned())].into()),
            ..RawPoint::default()
        });
        assert_eq!(problems.len(), 4, "{problems:?}");
    }
}
