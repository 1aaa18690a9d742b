//! Answers what BlueZ asks while a device is being paired: passkeys, and whether it may.
//!
//! Only for devices that we are pairing ourselves; everything else is refused, so nobody pairs with this gateway from outside.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use dbus::{
    Message,
    channel::{MatchingReceiver, Sender, default_reply},
    message::MatchRule,
    nonblock::SyncConnection,
};
use tokio::sync::{mpsc, oneshot};

use super::host::{Host, Trouble};
use super::radio::CALL;

const PATH: &str = "/tidegate/agent";
const AGENT: &str = "org.bluez.Agent1";
const MANAGER: &str = "org.bluez.AgentManager1";

/// What a device that is being paired wants of a person.
#[derive(Debug)]
pub(super) enum Question {
    /// The digits that it shows, or that stand on it.
    Passkey(oneshot::Sender<String>),
    /// Type these digits on it.
    Show(String),
    /// Does it show these digits?
    Same(String, oneshot::Sender<String>),
}

/// Who answers for a device.
#[derive(Debug, Clone)]
pub(super) enum Answers {
    /// This passkey, or none is known.
    Fixed(Option<String>),
    /// A person.
    Person(mpsc::Sender<Question>),
}

type Known = Arc<Mutex<HashMap<String, Answers>>>;

/// The agent of one connection.
#[derive(Debug, Clone)]
pub(super) struct Agent(Known);

fn lock(known: &Known) -> MutexGuard<'_, HashMap<String, Answers>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Agent {
    /// Tells BlueZ of it. What this connection pairs is asked here.
    pub(super) async fn register(host: &Host) -> Result<Self, Trouble> {
        let known = Known::default();
        let (answers, connection) = (known.clone(), Arc::downgrade(&host.connection));
        let bluez = host.owner(CALL).await?;
        let rule = MatchRule::new_method_call().with_path(PATH);
        host.connection.start_receive(
            rule,
            Box::new(move |message, on| {
                // Passkeys are for bluetoothd alone, whatever the bus lets others say.
                let reply = match message.sender().as_deref() == Some(bluez.as_str()) {
                    true => answer(&message, &answers, &connection),
                    false => default_reply(&message),
                };
                if let Some(reply) = reply {
                    on.send(reply).ok();
                }
                true
            }),
        );
        let path = dbus::Path::new(PATH).map_err(|why| Trouble { name: "path".to_owned(), text: why })?;
        host.call::<(), _>("/org/bluez", MANAGER, "RegisterAgent", (path, "KeyboardDisplay"), CALL).await?;
        Ok(Self(known))
    }

    /// Who answers for the device at this path.
    pub(super) fn answer_for(&self, device: String, answers: Answers) {
        lock(&self.0).insert(device, answers);
    }
}

/// The reply, if there is one now; a person's comes later.
fn answer(message: &Message, known: &Known, connection: &Weak<SyncConnection>) -> Option<Message> {
    if message.interface().as_deref() != Some(AGENT) {
        return default_reply(message);
    }
    let member = message.member()?.to_string();
    if matches!(member.as_str(), "Release" | "Cancel") {
        return Some(message.method_return());
    }
    let device = message.read1::<dbus::Path<'_>>().ok()?.to_string();
    let Some(answers) = lock(known).get(&device).cloned() else { return Some(refused(message, c"nobody here pairs with it")) };
    let digits = || message.read2::<dbus::Path<'_>, u32>().map(|(_, digits)| format!("{digits:06}")).unwrap_or_default();
    match (member.as_str(), answers) {
        ("RequestPasskey" | "RequestPinCode", Answers::Fixed(Some(passkey))) => Some(with_passkey(message, &passkey)),
        ("RequestPasskey" | "RequestPinCode", Answers::Fixed(None)) => {
            Some(refused(message, c"it wants a passkey, and none is configured"))
        }
        ("RequestPasskey" | "RequestPinCode", Answers::Person(ask)) => {
            let (reply, said) = oneshot::channel();
            later(message, &ask, Question::Passkey(reply), said, connection)
        }
        ("RequestConfirmation", Answers::Fixed(_)) | ("RequestAuthorization" | "AuthorizeService", _) => Some(message.method_return()),
        ("RequestConfirmation", Answers::Person(ask)) => {
            let (reply, said) = oneshot::channel();
            later(message, &ask, Question::Same(digits(), reply), said, connection)
        }
        ("DisplayPasskey", Answers::Person(ask)) => {
            ask.try_send(Question::Show(digits())).ok();
            Some(message.method_return())
        }
        ("DisplayPinCode", Answers::Person(ask)) => {
            let pin = message.read2::<dbus::Path<'_>, String>().map(|(_, pin)| pin).unwrap_or_default();
            ask.try_send(Question::Show(pin)).ok();
            Some(message.method_return())
        }
        ("DisplayPasskey" | "DisplayPinCode", Answers::Fixed(_)) => Some(message.method_return()),
        _ => default_reply(message),
    }
}

fn refused(message: &Message, why: &std::ffi::CStr) -> Message {
    message.error(&"org.bluez.Error.Rejected".into(), why)
}

fn with_passkey(message: &Message, passkey: &str) -> Message {
    match (message.member().as_deref(), passkey.trim().parse::<u32>()) {
        (Some("RequestPinCode"), _) => message.method_return().append1(passkey.trim()),
        (_, Ok(digits)) if digits <= 999_999 => message.method_return().append1(digits),
        _ => refused(message, c"a passkey is six digits"),
    }
}

/// Asks a person, and replies when they have said something; when they say nothing, BlueZ gives up by itself.
fn later(
    message: &Message,
    ask: &mpsc::Sender<Question>,
    question: Question,
    said: oneshot::Receiver<String>,
    connection: &Weak<SyncConnection>,
) -> Option<Message> {
    if ask.try_send(question).is_err() {
        return Some(refused(message, c"nobody answers"));
    }
    // A copy has no serial, which its reply names.
    let (Ok(mut question), Some(serial)) = (message.duplicate(), message.get_serial()) else { return Some(refused(message, c"no memory")) };
    question.set_serial(serial);
    let connection = connection.clone();
    tokio::spawn(async move {
        let reply = match said.await {
            Ok(_) if question.member().as_deref() == Some("RequestConfirmation") => question.method_return(),
            Ok(passkey) => with_passkey(&question, &passkey),
            Err(_) => refused(&question, c"a person said no"),
        };
        if let Some(connection) = connection.upgrade() {
            connection.send(reply).ok();
        }
    });
    None
}
