//! Writing points by template, and finding out what came of it.
//!
//! | what the device can | outcome |
//! |---|---|
//! | the point is in a message with a request (and `read_back` is not false) | it is asked: `done` when it says the new value, `failed` when another |
//! | `confirm` has a group `value` | `done` when that is the new value, `failed` when another |
//! | `confirm` without a value | `sent`: it was acknowledged, and nobody has seen the value |
//! | none of these | `sent` |
//!
//! A frame that matches `refuse` is `failed`. No confirmation where one is declared is `uncertain`, unless the value is then read back.
//! Points of one command are written in their order, up to the first that is not done or sent; what was written before is said.

use tidegate_core::{
    adapter::AdapterError,
    command::Outcome,
    id::{LeafId, PointName},
    reading::Value,
};

use super::{
    Serial,
    device::{Device, Message, Write},
    frame::Frame,
    parse::{Scalar, Type},
    tally::hex,
};

/// Relative difference that is the writing of a number and not another number: templates write decimal places.
const SAME: f64 = 1e-6;

enum Answer {
    /// It says this value.
    Says(Value),
    /// It says yes.
    Yes,
    /// It says no: the frame.
    No(Vec<u8>),
    /// It says something else, or nothing: why.
    Nothing(String),
}

impl Serial {
    pub(super) async fn write_points(&mut self, leaf: &LeafId, wanted: &[(PointName, Value)]) -> Result<Outcome, AdapterError> {
        let Some(at) = self.device_of(leaf) else { return Ok(Outcome::Rejected(format!("no device '{leaf}' on this line"))) };
        let device = self.checked.devices[at].clone();
        // Everything that can be known before is, so that a command passes whole or not at all.
        let mut steps = Vec::with_capacity(wanted.len());
        for (name, value) in wanted {
            let Some((message, field)) = device.find(name) else { return Ok(Outcome::Rejected(format!("'{leaf}' has no point '{name}'"))) };
            let Some(write) = message.writes.get(field).and_then(Option::as_ref) else {
                return Ok(Outcome::Rejected(format!("'{name}' is not writable")));
            };
            match write.template.render(&device.address, Some(value), self.checked.request_checksum.as_ref()) {
                Ok(bytes) => steps.push((message, field, write, value, bytes)),
                Err(why) => return Ok(Outcome::Rejected(format!("{name}: {why}"))),
            }
        }
        let (mut seen, mut all_seen) = (Vec::new(), true);
        for (message, field, write, value, bytes) in steps {
            let name = message.pattern.fields[field].name.clone();
            match self.write_one(&device, message, field, write, value, &bytes).await? {
                Outcome::Done(_) => seen.push((name, value.clone())),
                Outcome::Sent => all_seen = false,
                other => return Ok(before(other, &name, seen.len())),
            }
        }
        Ok(if all_seen { Outcome::Done(seen) } else { Outcome::Sent })
    }

    async fn write_one(
        &mut self,
        device: &Device,
        message: &Message,
        field: usize,
        write: &Write,
        value: &Value,
        bytes: &[u8],
    ) -> Result<Outcome, AdapterError> {
        self.make_silent(device).await?;
        self.send(bytes).await?;
        let said = match write.confirm.is_some() || write.refuse.is_some() {
            false => Answer::Nothing(String::new()),
            true => match self.listen(device.timeout, |frame| judge(write, message, field, frame)).await? {
                Ok((_, answer)) => answer,
                Err(fault) => {
                    self.owes = true;
                    Answer::Nothing(fault.to_string())
                }
            },
        };
        match said {
            Answer::No(frame) => Ok(Outcome::Failed(format!("the device refused: {}", hex(&frame)))),
            Answer::Says(seen) if is_same(&seen, value) => Ok(Outcome::Done(Vec::new())),
            Answer::Says(seen) => Ok(Outcome::Failed(format!("wrote {value}, the device confirmed {seen}"))),
            Answer::Yes | Answer::Nothing(_) if write.read_back && message.asked.is_some() => {
                self.read_back(device, message, field, value).await
            }
            Answer::Yes => Ok(Outcome::Sent),
            Answer::Nothing(why) if write.confirm.is_some() => Ok(Outcome::Uncertain(format!("no confirmation: {why}"))),
            Answer::Nothing(_) => Ok(Outcome::Sent),
        }
    }

    async fn read_back(&mut self, device: &Device, message: &Message, field: usize, value: &Value) -> Result<Outcome, AdapterError> {
        let Some(asked) = &message.asked else { return Ok(Outcome::Sent) };
        Ok(match self.ask(device, message, asked).await? {
            Ok(answer) => match answer.got.into_iter().find(|(at, _)| *at == field) {
                Some((_, Ok(seen))) if is_same(&seen, value) => Outcome::Done(Vec::new()),
                Some((_, Ok(seen))) => Outcome::Failed(format!("wrote {value}, read back {seen}")),
                Some((_, Err(reason))) => Outcome::Uncertain(format!("written, and not read back: {reason}")),
                None => Outcome::Uncertain("written, and not in what was read back".to_owned()),
            },
            Err(fault) => Outcome::Uncertain(format!("written, and not read back: {fault}")),
        })
    }

    /// Bytes as they are, to a device that takes them.
    pub(super) async fn write_raw(&mut self, leaf: &LeafId, bytes: &[u8]) -> Result<Outcome, AdapterError> {
        let Some(at) = self.device_of(leaf) else { return Ok(Outcome::Rejected(format!("no device '{leaf}' on this line"))) };
        let device = self.checked.devices[at].clone();
        if !device.raw {
            return Ok(Outcome::Rejected(format!("'{leaf}' takes no raw bytes: raw = true at the device allows it")));
        }
        if bytes.len() > self.checked.spec.most {
            return Ok(Outcome::Rejected(format!("{} bytes are more than max_length", bytes.len())));
        }
        self.make_silent(&device).await?;
        self.send(bytes).await?;
        Ok(Outcome::Sent)
    }
}

/// What a frame says about a write; `None` when nothing.
fn judge(write: &Write, message: &Message, field: usize, frame: &Frame) -> Option<Answer> {
    let body = frame.body();
    if write.refuse.as_ref().is_some_and(|refuse| refuse.is_match(body)) {
        return Some(Answer::No(body.to_vec()));
    }
    let groups = write.confirm.as_ref()?.captures(body)?;
    let Some(value) = groups.name("value") else { return Some(Answer::Yes) };
    let scalar = message.pattern.fields.get(field).map_or_else(Scalar::default, |field| field.scalar);
    // What JSON would say by itself is in a group a number like any other.
    let kind = if scalar.kind == Type::Json { Type::Number } else { scalar.kind };
    Some(Scalar { kind, ..scalar }.read(value.as_bytes()).map_or_else(|_| Answer::No(body.to_vec()), Answer::Says))
}

fn is_same(seen: &Value, wanted: &Value) -> bool {
    match (seen.as_f64(), wanted.as_f64()) {
        (Some(seen), Some(wanted)) => (seen - wanted).abs() <= SAME * wanted.abs().max(1.0),
        _ => seen == wanted,
    }
}

/// What is said when some points were written and this one was not.
fn before(outcome: Outcome, name: &PointName, done: usize) -> Outcome {
    let told = |why: String| if done == 0 { format!("{name}: {why}") } else { format!("{name}: {why} ({done} written before it)") };
    match outcome {
        Outcome::Failed(why) if done > 0 => Outcome::Uncertain(told(why)),
        Outcome::Failed(why) => Outcome::Failed(told(why)),
        Outcome::Uncertain(why) => Outcome::Uncertain(told(why)),
        other => other,
    }
}
