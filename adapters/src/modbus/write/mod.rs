//! Carries out a command that writes.
//!
//! Promises: what is `done` was read back from the unit after the request, and is what was asked for; a unit that
//! acknowledges and does not change is `failed`, with both values; a request that was not acknowledged is never sent
//! again, and what became of it is settled by reading, or else `uncertain`; after the first step that is not done no
//! other is begun, and the outcome says what was done before it and what was not begun. A unit that was silent when it
//! was last polled must answer a question first, so that nothing is sent to nobody.
//!
//! The guard has been applied by whoever made the command: values here are raw. Bits and bytes of a register are set
//! by function 22 where the device has it; else the register is read, changed and written, and what somebody else
//! changes in it between the two is lost. A power cut between request and outcome leaves the command begun in the
//! inbox, whose reader decides what follows.

mod plan;

use tidegate_core::{adapter::AdapterError, command::Outcome, id::PointName, reading::Value};
use tokio::time::sleep;

pub(super) use plan::MOST_REGISTERS;
use plan::{Piece, Step, Work, plan, registers};

use super::{
    change::Change,
    fault::Fault,
    link::{Answer, Link, Unmade},
    unit::{BUSY_PAUSE, Device, Unit, ask},
};

/// What became of one step.
enum Made {
    /// Read back as asked for.
    Seen(Vec<(PointName, Value)>),
    /// Acknowledged, and cannot be read back.
    Sent,
    /// Neither: how that ends, and why.
    Not(fn(String) -> Outcome, String),
}

/// Carries it out. The error is the loss of the bus, beside an outcome that says how far things got.
pub(super) async fn write(unit: &Unit, link: &mut Link, wanted: &[(PointName, Value)]) -> (Outcome, Option<AdapterError>) {
    let device = &*unit.device;
    let steps = match plan(device, wanted) {
        Ok(steps) if steps.is_empty() => return (Outcome::Rejected("names no point to write".to_owned()), None),
        Ok(steps) => steps,
        Err(why) => return (Outcome::Rejected(why), None),
    };
    let mut writer = Writer { device, link, lost: None };
    if let (Some(first), false) = (steps.first(), unit.is_present())
        && let Err(why) = writer.knock(first).await
    {
        return (Outcome::Failed(format!("{why}; nothing was written")), writer.lost);
    }
    let outcome = writer.all(&steps).await;
    (outcome, writer.lost)
}

struct Writer<'a> {
    device: &'a Device,
    link: &'a mut Link,
    lost: Option<AdapterError>,
}

impl Writer<'_> {
    /// Whether anybody is there. A refusal is an answer.
    async fn knock(&mut self, step: &Step) -> Result<(), String> {
        match self.link.ask(&self.device.asked, step.spot()).await {
            Err(fault) if !fault.shows_life() => Err(self.words(fault, step)),
            _ => Ok(()),
        }
    }

    async fn all(&mut self, steps: &[Step]) -> Outcome {
        let (mut seen, mut all_seen) = (Vec::new(), true);
        for (at, step) in steps.iter().enumerate() {
            match self.make(step).await {
                Made::Seen(values) => seen.extend(values),
                Made::Sent => all_seen = false,
                Made::Not(ending, why) => return ending(self.story(&steps[..at], (step, &why), &steps[at + 1..])),
            }
        }
        if all_seen { Outcome::Done(seen) } else { Outcome::Sent }
    }

    /// One step, to its end.
    async fn make(&mut self, step: &Step) -> Made {
        let change = match step.change(self.device) {
            Some(change) => change,
            None => match self.read_first(step).await {
                Ok(change) => change,
                Err(why) => return Made::Not(Outcome::Failed, format!("{why}; it was to be read before it is written")),
            },
        };
        let mut left = self.device.retries;
        loop {
            let fault = match self.link.change(&self.device.asked, &change).await {
                Ok(()) => return self.verify(step, None).await,
                Err(Unmade::After(fault)) => fault,
                Err(Unmade::Before(fault)) => return Made::Not(Outcome::Failed, format!("{}; nothing was sent", self.words(fault, step))),
            };
            match fault {
                // Acknowledged, and takes its time.
                Fault::Refused(5) => return self.verify(step, None).await,
                Fault::Refused(6) if left > 0 => {
                    left -= 1;
                    sleep(BUSY_PAUSE).await;
                }
                Fault::Refused(_) => return Made::Not(Outcome::Failed, self.words(fault, step)),
                fault => {
                    let why = self.words(fault, step);
                    return self.verify(step, Some(why)).await;
                }
            }
        }
    }

    /// A register with some of its bits as asked for.
    async fn read_first(&mut self, step: &Step) -> Result<Change, String> {
        let Work::Part { address, keep, put } = step.work else { return Err("not a part of a register".to_owned()) };
        match self.read(step).await? {
            Answer::Words(words) if words.len() == 1 => Ok(registers(self.device, address, vec![words[0] & keep | put])),
            _ => Err("not one register".to_owned()),
        }
    }

    async fn read(&mut self, step: &Step) -> Result<Answer, String> {
        ask(self.device, self.link, self.device.retries, step.spot()).await.map_err(|fault| self.words(fault, step))
    }

    /// Looks at what the unit holds now. `trouble`: why the request was not acknowledged.
    async fn verify(&mut self, step: &Step, trouble: Option<String>) -> Made {
        let unknown = |why: String| Made::Not(Outcome::Uncertain, why);
        if self.lost.is_some() || !step.reads_back(self.device) {
            return trouble.map_or(Made::Sent, unknown);
        }
        if !self.device.write_settle.is_zero() {
            sleep(self.device.write_settle).await;
        }
        for again in [true, false] {
            let answer = match (self.read(step).await, &trouble) {
                (Ok(answer), _) => answer,
                (Err(why), None) => return unknown(format!("acknowledged, and could not be read back: {why}")),
                (Err(why), Some(trouble)) => return unknown(format!("{trouble}, and then {why}")),
            };
            let held: Vec<_> = step.points.iter().map(|piece| (piece, piece.seen(self.device, &answer))).collect();
            if held.iter().all(|(piece, seen)| seen.as_ref() == Some(&piece.value)) {
                let name = |piece: &Piece| Some(self.device.points.get(piece.point)?.name.clone());
                return Made::Seen(held.into_iter().filter_map(|(piece, seen)| Some((name(piece)?, seen?))).collect());
            }
            if again {
                // Some devices take a moment to show it.
                sleep(BUSY_PAUSE).await;
                continue;
            }
            let held: Vec<_> = held.iter().map(|(piece, seen)| self.difference(piece, seen.as_ref())).collect();
            let held = held.join(", ");
            return match trouble {
                None => Made::Not(Outcome::Failed, format!("acknowledged and not changed: {held}")),
                Some(why) if self.link.answers_in_order() => Made::Not(Outcome::Failed, format!("{why}, and did not happen: {held}")),
                // What the closed connection carried may still be on its way.
                Some(why) => unknown(format!("{why}, and has not happened so far: {held}")),
            };
        }
        unknown("not looked at".to_owned())
    }

    fn difference(&self, piece: &Piece, seen: Option<&Value>) -> String {
        let name = self.device.points.get(piece.point).map_or("", |point| point.name.as_str());
        match seen {
            Some(seen) => format!("{name} was set to raw {} and holds raw {seen}", piece.value),
            None => format!("{name} was set to raw {} and holds no such value", piece.value),
        }
    }

    /// What a fault means, in words; a lost bus is remembered.
    fn words(&mut self, fault: Fault, step: &Step) -> String {
        let words = fault.words(&self.device.asked, step.spot());
        if let Fault::Lost(error) = fault {
            self.lost = Some(error);
        }
        words
    }

    /// `limit: unit 7 refused …; done before: mode; not begun: pump`.
    fn story(&self, before: &[Step], (step, why): (&Step, &str), after: &[Step]) -> String {
        let mut story = format!("{}: {why}", self.names(std::slice::from_ref(step)));
        for (word, steps) in [("done before", before), ("not begun", after)] {
            if !steps.is_empty() {
                story += &format!("; {word}: {}", self.names(steps));
            }
        }
        story
    }

    fn names(&self, steps: &[Step]) -> String {
        let points = steps.iter().flat_map(|step| &step.points).filter_map(|piece| self.device.points.get(piece.point));
        points.map(|point| point.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}
