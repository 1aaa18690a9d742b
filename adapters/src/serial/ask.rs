//! One question on the line, and the frame that answers it.
//!
//! Promises: bounded in time whatever the line does; an answer is a frame that is like the message that was asked for, and
//! came after the question; after a failure the line is listened to until it has been silent for the device's time limit before
//! anybody is asked again, so a late answer finds nobody who could take it for his own.

use std::{fmt, time::Duration};

use futures_util::FutureExt;
use tidegate_core::{adapter::AdapterError, reading::Reason};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Serial,
    device::{Asked, Device, Message},
    frame::{Bad, Cause, Event, Frame},
    parse::Got,
    tally::hex,
};

/// Events taken from a line before a question without waiting: more is a flood, and does not keep us from asking.
const MOST_BEFORE: usize = 64;
/// A line that is still not silent after so many time limits never will be.
const PATIENCE: u32 = 4;
/// Longest answer to an exchange before a request: an identification has 21 bytes.
const MOST_PRELUDE: usize = 256;
/// A device that is silent is asked at least this often.
const LONGEST_ASIDE: Duration = Duration::from_secs(60);

/// What a device answered.
pub(super) struct Answer {
    pub(super) got: Vec<(usize, Got)>,
    pub(super) frame: Frame,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// Nothing came.
    Silence(Duration),
    /// Something came and was no answer: why, and its bytes.
    Wrong(Option<Cause>, Vec<u8>),
    /// It could not be asked.
    Unaskable(String),
}

impl Fault {
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Fault::Silence(_))
    }

    pub(super) fn reason(&self) -> Reason {
        match self {
            Fault::Silence(_) => Reason::Timeout,
            Fault::Wrong(..) => Reason::Garbled,
            Fault::Unaskable(_) => Reason::Other("not-asked"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Silence(wait) => write!(f, "no answer within {} ms", wait.as_millis()),
            Fault::Wrong(Some(cause), bytes) => write!(f, "an answer {cause}: {}", hex(bytes)),
            Fault::Wrong(None, bytes) => write!(f, "an answer like no configured message: {}", hex(bytes)),
            Fault::Unaskable(why) => f.write_str(why),
        }
    }
}

/// How long a device that was silent so often is left alone.
pub(super) fn aside(silent: u32, device: &Device) -> Duration {
    let shortest = device.intervals().into_iter().min().unwrap_or(LONGEST_ASIDE);
    let pause = shortest.saturating_mul(1 << silent.saturating_sub(super::ASIDE_AFTER).min(10));
    pause.min(LONGEST_ASIDE.max(shortest))
}

impl Serial {
    /// Asks, again as often as is configured. The outer error is the line's.
    pub(super) async fn ask(&mut self, device: &Device, message: &Message, asked: &Asked) -> Result<Result<Answer, Fault>, AdapterError> {
        let mut fault = Fault::Silence(device.timeout);
        for _ in 0..=self.checked.retries {
            self.make_silent(device).await?;
            match self.ask_once(device, message, asked).await? {
                Ok(answer) => return Ok(Ok(answer)),
                Err(why @ Fault::Unaskable(_)) => return Ok(Err(why)),
                Err(why) => {
                    self.owes = true;
                    fault = why;
                }
            }
        }
        Ok(Err(fault))
    }

    async fn ask_once(&mut self, device: &Device, message: &Message, asked: &Asked) -> Result<Result<Answer, Fault>, AdapterError> {
        for (send, until) in &asked.prelude {
            let Ok(bytes) = send.render(&device.address, None, self.checked.request_checksum.as_ref()) else {
                return Ok(Err(Fault::Unaskable("a prelude that cannot be sent".to_owned())));
            };
            self.send(&bytes).await?;
            if !self.line.skip_until(until, device.timeout, MOST_PRELUDE).await? {
                return Ok(Err(Fault::Silence(device.timeout)));
            }
        }
        match asked.request.render(&device.address, None, self.checked.request_checksum.as_ref()) {
            Ok(bytes) => self.send(&bytes).await?,
            Err(why) => return Ok(Err(Fault::Unaskable(why))),
        }
        let answer = self.listen(device.timeout, |frame| message.pattern.read(frame)).await?;
        Ok(answer.map(|(frame, got)| Answer { got, frame }))
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), AdapterError> {
        let on_line = self.checked.port.time_for(bytes.len());
        self.line.send(bytes, on_line).await
    }

    /// The first frame that `is_it` takes, until the line has been silent for `wait` or has said more than the longest frame takes.
    /// Frames that nobody asked for are heard like any other.
    pub(super) async fn listen<T>(
        &mut self,
        wait: Duration,
        is_it: impl Fn(&Frame) -> Option<T>,
    ) -> Result<Result<(Frame, T), Fault>, AdapterError> {
        let begun = Instant::now();
        let end = begun + wait + 2 * self.checked.port.time_for(self.checked.spec.most);
        let mut fault = Fault::Silence(wait);
        let mut deadline = begun + wait;
        loop {
            match timeout_at(deadline, self.line.next()).await {
                Ok(event) => match event? {
                    Event::Bad(bad) => {
                        fault = Fault::Wrong(Some(bad.cause), bad.sample.clone());
                        self.ear.bad(bad);
                    }
                    Event::Frame(frame) => {
                        if let Some(found) = is_it(&frame) {
                            return Ok(Ok((frame, found)));
                        }
                        if !self.ear.understand(&frame) {
                            let bad = Bad::new(Cause::Unknown, &frame.whole);
                            fault = Fault::Wrong(None, bad.sample.clone());
                            self.ear.bad(bad);
                        }
                    }
                },
                Err(_) => {
                    // A slow line may be in the middle of the answer.
                    let silent = self.line.heard.max(begun) + wait;
                    if silent <= Instant::now() || deadline >= end {
                        return Ok(Err(fault));
                    }
                    deadline = silent.min(end);
                }
            }
        }
    }

    /// Before a question: what has come is heard, what may still come is waited for.
    pub(super) async fn make_silent(&mut self, device: &Device) -> Result<(), AdapterError> {
        if self.owes {
            let begun = Instant::now();
            let until = begun + device.timeout * PATIENCE;
            // Of a frame that is still coming nothing is told before its end, but it is no silence.
            while Instant::now() < until.min(self.line.heard.max(begun) + device.timeout) {
                let silent = self.line.heard.max(begun) + device.timeout;
                if let Ok(event) = timeout_at(silent.min(until), self.line.next()).await {
                    self.ear.hear(event?);
                }
            }
            self.line.forget();
            self.owes = false;
        }
        for _ in 0..MOST_BEFORE {
            match self.line.next().now_or_never() {
                Some(event) => self.ear.hear(event?),
                None => break,
            }
        }
        sleep(self.checked.pause).await;
        Ok(())
    }
}
