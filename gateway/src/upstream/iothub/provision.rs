//! Asks the Device Provisioning Service which hub we belong to, and keeps the answer.
//!
//! Promises: bounded in time; asked at the first start, and again only when the hub has refused us or could not be reached
//! [`FAILURES`] times in a row, and then at most once in [`AT_MOST_EVERY`] (reference §9.4); while the service cannot be
//! asked, the hub that is known is tried. What is kept is replaced by renaming, so that a power cut leaves the old answer or the
//! new one; without it the service is asked once more, which does no harm.

use std::{
    fs::{self, File},
    future::poll_fn,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rumqttc::{Packet, PubAck, Publish, QoS, Subscribe};
use serde_json::{Value as Json, json};
use tidegate_core::{
    dialect::dps::{self, Answer, Assignment, Registration},
    id::HubDeviceId,
    upstream::{Refusal, UpstreamError},
};
use tokio::time::{Instant, sleep, timeout};

use crate::upstream::{
    link::Link,
    packets::{Came, Packets},
};

/// Attempts to reach the hub after which it may be another one by now.
const FAILURES: u32 = 10;
/// How often the service is bothered for one device once it has answered.
const AT_MOST_EVERY: Duration = Duration::from_secs(3600);
/// Registration, with all its pauses.
const PATIENCE: Duration = Duration::from_secs(180);
/// One answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The largest file that can be ours.
const MOST_KEPT: u64 = 4096;

/// What is known of our hub, and when to ask again.
#[derive(Debug, Default)]
pub(super) struct Place {
    known: Option<Assignment>,
    file: Option<PathBuf>,
    looked: bool,
    asked: Option<Instant>,
    failures: u32,
    doubtful: bool,
}

impl Place {
    /// Where to keep what the service answers.
    pub(super) fn keep_in(&mut self, folder: &Path, registration: &Registration) {
        // A colon is the only character of a registration id that not every file system takes.
        self.file = Some(folder.join(format!("dps-{}.json", registration.id.replace(':', "+"))));
    }

    /// The hub that is known.
    pub(super) fn known(&mut self, registration: &Registration) -> Option<&Assignment> {
        if self.known.is_none() && !self.looked {
            self.looked = true;
            self.known = self.file.as_deref().and_then(|file| load(file, registration));
        }
        self.known.as_ref()
    }

    /// Whether the service is to be asked before the next attempt.
    pub(super) fn wants_asking(&self) -> bool {
        self.known.is_none() || (self.doubtful && self.asked.is_none_or(|at| at.elapsed() >= AT_MOST_EVERY))
    }

    /// The service was asked: what it said, or that it could not be asked.
    pub(super) fn answered(&mut self, answer: Option<Assignment>, registration: &Registration) {
        (self.asked, self.failures, self.doubtful) = (Some(Instant::now()), 0, false);
        let Some(assignment) = answer else { return };
        if let Some(file) = &self.file
            && let Err(error) = keep(file, registration, &assignment)
        {
            tracing::warn!(file = %file.display(), %error, "the assigned hub cannot be kept; the provisioning service is asked again after a restart");
        }
        self.known = Some(assignment);
    }

    /// What became of an attempt to reach the hub.
    pub(super) fn note(&mut self, failed: Option<&UpstreamError>) {
        match failed {
            None => (self.failures, self.doubtful) = (0, false),
            Some(UpstreamError::Refused { refusal: Refusal::Credentials | Refusal::Identifier, .. }) => self.doubtful = true,
            Some(_) => {
                self.failures = self.failures.saturating_add(1);
                self.doubtful |= self.failures >= FAILURES;
            }
        }
    }
}

fn load(file: &Path, registration: &Registration) -> Option<Assignment> {
    let small = fs::metadata(file).is_ok_and(|about| about.len() <= MOST_KEPT);
    let kept: Json = serde_json::from_slice(&fs::read(file).ok().filter(|_| small)?).ok()?;
    let ours = kept["id_scope"] == registration.id_scope.as_str() && kept["registration_id"] == registration.id.as_str();
    let hub = kept["hub"].as_str().filter(|hub| ours && tidegate_core::dialect::identity::is_host(hub))?;
    Some(Assignment { hub: hub.to_owned(), device: HubDeviceId::new(kept["device_id"].as_str()?).ok()? })
}

fn keep(file: &Path, registration: &Registration, assignment: &Assignment) -> io::Result<()> {
    let text = json!({
        "id_scope": registration.id_scope, "registration_id": registration.id,
        "hub": assignment.hub, "device_id": assignment.device.as_str(),
    });
    let fresh = file.with_extension("new");
    let mut out = File::options().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
    out.write_all(text.to_string().as_bytes())?;
    out.sync_all()?;
    fs::rename(&fresh, file)?;
    file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Registers, and waits until a hub is assigned.
pub(super) async fn register(link: Link, registration: &Registration, payload: Option<Json>) -> Result<Assignment, UpstreamError> {
    let target = link.target.clone();
    let unreachable = |why: String| UpstreamError::Unreachable { target: target.clone(), why };
    let registered = timeout(PATIENCE, async {
        let mut service = Service { packets: link.open().await?.packets, target: target.clone() };
        let answer = service.negotiate(registration, payload).await;
        service.leave().await;
        answer
    });
    registered.await.unwrap_or_else(|_| Err(unreachable(format!("no hub assigned within {} s", PATIENCE.as_secs()))))
}

struct Service {
    packets: Packets,
    target: String,
}

impl Service {
    fn lost(&self, why: String) -> UpstreamError {
        UpstreamError::Unreachable { target: self.target.clone(), why }
    }

    async fn negotiate(&mut self, registration: &Registration, payload: Option<Json>) -> Result<Assignment, UpstreamError> {
        let subscribed = self.packets.subscribe(Subscribe::new(dps::ANSWERS, QoS::AtLeastOnce));
        subscribed.map_err(|why| self.lost(why))?;
        let mut request = 1;
        let (mut topic, mut body) = registration.register(request, payload);
        loop {
            let sent = self.packets.publish(Publish::from_bytes(topic, QoS::AtLeastOnce, body.into()));
            sent.map_err(|why| self.lost(why))?;
            match self.answer(request).await? {
                Answer::Assigned(assignment) => return Ok(assignment),
                Answer::Wait { operation, after } => {
                    self.wait(after).await?;
                    request += 1;
                    (topic, body) = (dps::status(request, &operation), String::new());
                }
                Answer::Busy { why, .. } => return Err(self.lost(why)),
                Answer::Refused { status: 401, why } => {
                    tracing::debug!(service = %self.target, %why, "registration refused");
                    return Err(UpstreamError::Refused { target: self.target.clone(), refusal: Refusal::Credentials });
                }
                Answer::Refused { why, .. } => {
                    let why = format!("the provisioning service refuses '{}': {why}", registration.id);
                    return Err(UpstreamError::Unusable { target: self.target.clone(), why });
                }
                Answer::Nonsense => return Err(self.lost("its answer to a registration makes no sense".to_owned())),
            }
        }
    }

    async fn answer(&mut self, request: u32) -> Result<Answer, UpstreamError> {
        let answered = timeout(ANSWER_WITHIN, async {
            loop {
                let publish = self.next().await?;
                let answer = Answer::read(&publish.topic, &publish.payload, request);
                if publish.qos == QoS::AtLeastOnce {
                    self.packets.acknowledge(publish.pkid).map_err(|why| self.lost(why))?;
                }
                if let Some(answer) = answer {
                    return Ok(answer);
                }
            }
        });
        answered.await.unwrap_or_else(|_| Err(self.lost(format!("no answer to a registration within {} s", ANSWER_WITHIN.as_secs()))))
    }

    /// The next publish that comes.
    async fn next(&mut self) -> Result<Publish, UpstreamError> {
        loop {
            match poll_fn(|cx| self.packets.poll(cx, true)).await.map_err(|why| self.lost(why))? {
                Came::Packet(Packet::Publish(publish)) => return Ok(publish),
                Came::Packet(Packet::PubAck(PubAck { .. }) | Packet::SubAck(_) | Packet::PingResp) | Came::Written => {}
                Came::Packet(_) => return Err(self.lost("it sent a packet that does not belong there".to_owned())),
            }
        }
    }

    /// Keeps the connection moving meanwhile. What comes unasked is passed over.
    async fn wait(&mut self, after: Duration) -> Result<(), UpstreamError> {
        let pause = sleep(after);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return Ok(()),
                came = self.next() => drop(came?),
            }
        }
    }

    /// In good order, if that takes no time.
    async fn leave(&mut self) {
        const LAST_WORDS: Duration = Duration::from_millis(500);
        if self.packets.disconnect().is_ok() {
            let written = async {
                while !self.packets.is_written() {
                    if poll_fn(|cx| self.packets.poll(cx, false)).await.is_err() {
                        return;
                    }
                }
            };
            timeout(LAST_WORDS, written).await.ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration() -> Registration {
        Registration { id_scope: "0ne1".into(), id: "leaf:1".into() }
    }

    fn assignment() -> Assignment {
        Assignment { hub: "contoso.azure-devices.net".into(), device: HubDeviceId::new("leaf-1").expect("valid") }
    }

    #[tokio::test(start_paused = true)]
    async fn the_service_is_asked_at_first_and_after_doubt_but_once_an_hour() {
        let refused = UpstreamError::Refused { target: "hub".into(), refusal: Refusal::Credentials };
        let lost = UpstreamError::Unreachable { target: "hub".into(), why: "gone".into() };
        let mut place = Place::default();
        assert!(place.wants_asking());
        place.answered(Some(assignment()), &registration());
        place.note(Some(&refused));
        assert!(!place.wants_asking(), "asked a moment ago");
        tokio::time::advance(AT_MOST_EVERY).await;
        assert!(place.wants_asking());
        place.answered(None, &registration());
        assert!(place.known(&registration()).is_some() && !place.wants_asking(), "the old hub is tried meanwhile");
        tokio::time::advance(AT_MOST_EVERY).await;
        (1..FAILURES).for_each(|_| place.note(Some(&lost)));
        assert!(!place.wants_asking());
        place.note(Some(&lost));
        assert!(place.wants_asking());
        place.note(None);
        assert!(!place.wants_asking(), "it was there after all");
    }

    #[test]
    fn an_assignment_survives_a_restart_and_belongs_to_one_registration() {
        let folder = tempfile::tempdir().expect("a folder");
        let begin = |registration: &Registration| {
            let mut place = Place::default();
            place.keep_in(folder.path(), registration);
            place
        };
        begin(&registration()).answered(Some(assignment()), &registration());
        assert_eq!(begin(&registration()).known(&registration()), Some(&assignment()));
        let other = Registration { id_scope: "0ne2".into(), ..registration() };
        assert_eq!(begin(&other).known(&other), None, "of another scope");
        let file = fs::read_dir(folder.path()).expect("readable").next().expect("one file").expect("readable").path();
        for damaged in ["", "{}", "{\"hub\":\"a/b\"}", &"x".repeat(10_000)] {
            fs::write(&file, damaged).expect("written");
            assert_eq!(begin(&registration()).known(&registration()), None, "{}", damaged.len());
        }
    }
}
