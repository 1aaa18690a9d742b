//! For people who are wiring: what each device says, asked or listened to.

use std::time::Duration;

use tidegate_core::{
    adapter::{AdapterError, Look, LookLine},
    id::LeafId,
    reading::{Quality, Reason},
};
use tokio::time::{Instant, timeout_at};

use super::{
    Serial,
    device::{Device, Message},
    frame::{Bad, Cause, Event, Frame},
    parse::{Got, NO_FIELD},
    tally::hex,
};

/// How long devices that speak by themselves are listened to: twice as long as most of them take between two frames.
const LISTEN: Duration = Duration::from_secs(15);
/// Bytes of a frame that are shown.
const MOST_SHOWN: usize = 64;

impl Serial {
    pub(super) async fn look_at(&mut self, leaf: Option<&LeafId>) -> Result<Vec<Look>, AdapterError> {
        let devices: Vec<_> = self.checked.devices.iter().filter(|device| leaf.is_none_or(|leaf| device.id == *leaf)).cloned().collect();
        let mut looks: Vec<Look> =
            devices.iter().map(|device| Look { leaf: device.id.clone(), identity: Vec::new(), lines: Vec::new() }).collect();
        for (look, device) in looks.iter_mut().zip(&devices) {
            for (message, asked) in device.asked() {
                let begun = Instant::now();
                let request = format!("asked with '{}'", asked.shown);
                match self.ask(device, message, asked).await? {
                    Ok(answer) => add(look, message, answer.got, &answer.frame, &request, begun.elapsed()),
                    Err(fault) => missing(look, message, &fault.reason(), &fault.to_string(), &request, begun.elapsed()),
                }
            }
        }
        if devices.iter().any(|device| device.speaks()) {
            let devices: Vec<&Device> = devices.iter().map(|device| &**device).collect();
            self.listen_for(&devices, &mut looks).await?;
        }
        let bad = self.ear.tally.words();
        for look in looks.iter_mut().filter(|_| !bad.is_empty()) {
            look.identity.push(("bad frames on the line".to_owned(), bad.clone()));
        }
        Ok(looks)
    }

    /// Until each of their points has been seen, or the time is over.
    async fn listen_for(&mut self, devices: &[&Device], looks: &mut [Look]) -> Result<(), AdapterError> {
        let begun = Instant::now();
        let spoken = |device: &&Device| spoken(device).flat_map(Message::points).collect::<Vec<_>>();
        let wanted: Vec<_> = devices.iter().map(spoken).collect();
        let all_seen = |looks: &[Look]| {
            looks.iter().zip(&wanted).all(|(look, wanted)| wanted.iter().all(|name| look.lines.iter().any(|line| line.point == *name)))
        };
        while !all_seen(looks) {
            let Ok(event) = timeout_at(begun + LISTEN, self.line.next()).await else { break };
            match event? {
                Event::Bad(bad) => self.ear.bad(bad),
                Event::Frame(frame) => {
                    let mut known = false;
                    for (look, device) in looks.iter_mut().zip(devices) {
                        if let Some((message, got)) =
                            self::spoken(device).find_map(|message| Some((message, message.pattern.read(&frame)?)))
                        {
                            known = true;
                            add(look, message, got, &frame, "heard", begun.elapsed());
                        }
                    }
                    if !known {
                        self.ear.bad(Bad::new(Cause::Unknown, &frame.whole));
                    }
                }
            }
        }
        for (look, device) in looks.iter_mut().zip(devices) {
            for message in self::spoken(device) {
                let detail = format!("nothing heard within {} ms", begun.elapsed().as_millis());
                missing(look, message, &Reason::Timeout, &detail, "listened", begun.elapsed());
            }
        }
        Ok(())
    }
}

fn spoken(device: &Device) -> impl Iterator<Item = &Message> {
    device.messages.iter().filter(|message| message.asked.is_none() && message.has_readings())
}

/// The newest counts.
fn add(look: &mut Look, message: &Message, got: Vec<(usize, Got)>, frame: &Frame, request: &str, took: Duration) {
    for (at, got) in got {
        let Some(field) = message.pattern.fields.get(at) else { continue };
        let (value, quality, detail) = match got {
            Ok(value) => (Some(value), Quality::Good, String::new()),
            Err(reason) => {
                let detail = if reason == NO_FIELD { "not in this frame".to_owned() } else { String::new() };
                (None, Quality::Bad(reason), detail)
            }
        };
        let raw = hex(frame.whole.get(..MOST_SHOWN).unwrap_or(&frame.whole));
        look.lines.retain(|line| line.point != field.name);
        look.lines.push(LookLine { point: field.name.clone(), value, quality, request: request.to_owned(), raw, detail, took });
    }
}

/// Only points of which nothing is known yet.
fn missing(look: &mut Look, message: &Message, reason: &Reason, detail: &str, request: &str, took: Duration) {
    for point in message.points() {
        if !look.lines.iter().any(|line| line.point == point) {
            look.lines.push(LookLine {
                point,
                value: None,
                quality: Quality::Bad(reason.clone()),
                request: request.to_owned(),
                raw: String::new(),
                detail: detail.to_owned(),
                took,
            });
        }
    }
}
