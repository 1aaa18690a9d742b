//! Pairing with a device while a person watches: it is found, connected to and bonded, and what it wants to know is asked.
//!
//! It uses a connection of its own to the bus, and may run beside adapters on the same radio. The bond is BlueZ's; nothing of it is kept here.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;
use tidegate_core::{
    pair::{PairNews, Pairing},
    scan::ScanError,
};
use tokio::sync::mpsc;

use super::{
    advert::Address,
    agent::{Agent, Answers, Question},
    check::{is_bus, is_radio},
    config::RawAddressType,
    gatt::{AddressType, Peer, Why},
    radio::{BlueZ, Radio},
    scan::unable,
};

/// Questions that wait for the person. BlueZ asks one at a time.
const QUESTIONS: usize = 4;

/// Which device is paired with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Its address: "A4:C1:38:8D:18:B2".
    address: String,
    /// The Bluetooth adapter, as `bluetoothctl list` names it. Default "hci0".
    radio: Option<String>,
    /// The Unix socket of the bus that BlueZ is on. Default: the system bus.
    bus: Option<String>,
    /// "public" or "random", for one that bluetoothd has not heard yet.
    address_type: Option<RawAddressType>,
}

pub(super) fn options() -> Json {
    schemars::schema_for!(Options).into()
}

pub(super) fn check(options: &Json) -> Result<(), ScanError> {
    Options::read(options).map(|_| ())
}

impl Options {
    fn read(options: &Json) -> Result<(Self, Address), ScanError> {
        let wrong = |option: &str, why: String| ScanError::Option { option: option.to_owned(), why };
        let read = Self::deserialize(options).map_err(|error| wrong("given", format!("{error} (address, radio, bus, address_type)")))?;
        if read.radio.as_ref().is_some_and(|radio| !is_radio(radio) || radio.starts_with('/')) {
            return Err(wrong("radio", "write \"hci0\" (see `bluetoothctl list`)".to_owned()));
        }
        if read.bus.as_ref().is_some_and(|bus| !is_bus(bus)) {
            return Err(wrong("bus", "write \"unix:path=/run/dbus/system_bus_socket\", or leave it out".to_owned()));
        }
        match read.address.parse() {
            Ok(address) => Ok((read, address)),
            Err(()) => Err(wrong("address", "write \"A4:C1:38:8D:18:B2\"".to_owned())),
        }
    }
}

pub(super) fn run(options: Json, news: mpsc::Sender<PairNews>) -> Pairing {
    Box::pin(async move {
        let (options, address) = Options::read(&options)?;
        // A scan as well: a device that has just been put into pairing mode has to be heard.
        let mut radio = BlueZ::new(options.radio.unwrap_or_else(|| "hci0".to_owned()), options.bus, None);
        radio.open().await.map_err(|error| unable(&error))?;
        let kind = options.address_type.map(AddressType::from);
        let paired = tokio::select! {
            paired = pair(&radio, address, kind, &news) => paired,
            () = news.closed() => Ok(()),
        };
        radio.close().await;
        paired.map_err(|why| ScanError::Unable {
            why: why.detail,
            next: "put it into pairing mode, and near; if it was paired before, make it forget that".to_owned(),
        })
    })
}

async fn pair(radio: &BlueZ, address: Address, kind: Option<AddressType>, news: &mpsc::Sender<PairNews>) -> Result<(), Why> {
    let gone = || Why { reason: tidegate_core::reading::Reason::BusDown, detail: "the radio is gone".to_owned() };
    let host = radio.host().ok_or_else(gone)?;
    let agent = Agent::register(&host).await.map_err(|trouble| Why { reason: gone().reason, detail: trouble.to_string() })?;
    let (ask, mut questions) = mpsc::channel(QUESTIONS);
    agent.answer_for(host.device(address), Answers::Person(ask));
    news.send(PairNews::Doing(format!("connecting to {address}"))).await.ok();
    let peer = Peer::connect(&host, address, kind).await?;
    news.send(PairNews::Doing("pairing".to_owned())).await.ok();
    let bonding = peer.bond();
    tokio::pin!(bonding);
    let bonded = loop {
        tokio::select! {
            bonded = &mut bonding => break bonded,
            Some(question) = questions.recv() => {
                let question = match question {
                    Question::Passkey(reply) => PairNews::Passkey(reply),
                    Question::Show(digits) => PairNews::Show(digits),
                    Question::Same(digits, reply) => PairNews::Same(digits, reply),
                };
                news.send(question).await.ok();
            }
        }
    };
    peer.leave().await;
    bonded.map(|_| ())
}
