//! What advertises around here: each sender with what it says, decoded where we know the format.
//!
//! Listens as the adapter does, connects to nothing, and may run beside adapters that listen on the same radio. Each sender is
//! told when it is heard first and again at most once in [`AGAIN`]; beyond [`MOST_SENDERS`] new ones are passed over: phones change their
//! address all the time.

use std::{collections::HashMap, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;
use tidegate_core::{
    adapter::AdapterError,
    quantity::Span,
    scan::{Finding, ScanError, ScanNews, Scanning},
};
use tokio::{
    sync::mpsc::Sender,
    time::{Instant, timeout_at},
};

use super::{
    advert::{Address, Advert},
    check::{is_bus, is_radio},
    decode::{Counter, Field, Refusal, decode, format_of, unit_of},
    radio::{BlueZ, Feed, Radio},
};

const LISTEN: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(600);
/// A value that is shown need not be newer than this.
const AGAIN: Duration = Duration::from_secs(1);
/// Senders that are told of.
const MOST_SENDERS: usize = 512;
/// Fields that become points of the section.
const MOST_POINTS: usize = 32;

/// How Bluetooth LE is searched.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The Bluetooth adapter, as `bluetoothctl list` names it, or the path of a receiver's socket. Default "hci0".
    radio: Option<String>,
    /// D-Bus address of the bus that BlueZ is on. Default: the system bus.
    bus: Option<String>,
    /// How long to listen. Default "30s"; sensors that save their battery may speak only every few minutes.
    listen: Option<Span>,
    /// Also show senders in formats that are not known, with their bytes. Default false.
    all: Option<bool>,
}

pub(super) fn options() -> Json {
    schemars::schema_for!(Options).into()
}

pub(super) fn longest(options: &Json) -> Result<Duration, ScanError> {
    Options::read(options)?.wait()
}

impl Options {
    fn read(options: &Json) -> Result<Self, ScanError> {
        let wrong = |option: &str, why: String| ScanError::Option { option: option.to_owned(), why };
        let read = Self::deserialize(options).map_err(|error| wrong("given", format!("{error} (radio, bus, listen, all)")))?;
        if read.radio.as_ref().is_some_and(|radio| !is_radio(radio)) {
            return Err(wrong("radio", "write \"hci0\" (see `bluetoothctl list`) or the path of a socket".to_owned()));
        }
        if read.bus.as_ref().is_some_and(|bus| !is_bus(bus)) {
            return Err(wrong("bus", "write \"unix:path=/run/dbus/system_bus_socket\", or leave it out".to_owned()));
        }
        Ok(read)
    }

    fn wait(&self) -> Result<Duration, ScanError> {
        let wait = self.listen.map_or(LISTEN, |span| span.0);
        if wait.is_zero() || wait > LONGEST {
            return Err(ScanError::Option { option: "listen".to_owned(), why: "write a time from 1ms to 600s".to_owned() });
        }
        Ok(wait)
    }
}

pub(super) fn run(options: Json, news: Sender<ScanNews>) -> Scanning {
    Box::pin(async move {
        let options = Options::read(&options)?;
        let wait = options.wait()?;
        let name = options.radio.clone().unwrap_or_else(|| "hci0".to_owned());
        let mut radio: Box<dyn Radio> = match name.starts_with('/') {
            true => Box::new(Feed::new(name.clone().into())),
            false => Box::new(BlueZ::new(name.clone(), options.bus.clone(), None)),
        };
        radio.open().await.map_err(|error| unable(&error))?;
        let heard = tokio::select! {
            heard = listen(&mut *radio, &name, wait, options.all == Some(true), &news) => heard,
            () = news.closed() => Ok(()),
        };
        radio.close().await;
        heard.map_err(|error| unable(&error))
    })
}

pub(super) fn unable(error: &AdapterError) -> ScanError {
    ScanError::Unable {
        why: error.to_string(),
        next: "see that the radio is there (`bluetoothctl list`), that bluetoothd runs, and that this user may use it".to_owned(),
    }
}

/// A sender.
struct Known {
    counter: Counter,
    told: Instant,
    /// What it said last: formats with several kinds of packets take turns.
    fields: Vec<Field>,
}

async fn listen(radio: &mut dyn Radio, name: &str, wait: Duration, all: bool, news: &Sender<ScanNews>) -> Result<(), AdapterError> {
    let (start, mut known) = (Instant::now(), HashMap::<Address, Known>::new());
    let mut second = 0;
    loop {
        let progress =
            ScanNews::Progress { done: second, total: wait.as_secs().max(1) as u32, what: format!("{} senders heard", known.len()) };
        if news.send(progress).await.is_err() {
            return Ok(());
        }
        second += 1;
        let until = (start + Duration::from_secs(second.into())).min(start + wait);
        while let Ok(heard) = timeout_at(until, radio.hear()).await {
            let advert = heard?;
            if !all && format_of(&advert).is_none() {
                continue;
            }
            if let Some(finding) = meet(name, &advert, &mut known)
                && news.send(ScanNews::Found(finding)).await.is_err()
            {
                return Ok(());
            }
        }
        if start.elapsed() >= wait {
            return Ok(());
        }
    }
}

fn meet(radio: &str, advert: &Advert, known: &mut HashMap<Address, Known>) -> Option<Finding> {
    let now = Instant::now();
    if known.len() == MOST_SENDERS && !known.contains_key(&advert.address) {
        return None;
    }
    let is_new = !known.contains_key(&advert.address);
    let sender = known.entry(advert.address).or_insert_with(|| Known { counter: Counter::default(), told: now, fields: Vec::new() });
    let decoded = decode(advert, None, &mut sender.counter);
    if let Ok(fields) = &decoded {
        for field in fields {
            match sender.fields.iter_mut().find(|one| one.name == field.name) {
                Some(one) => one.value = field.value.clone(),
                None => sender.fields.push(field.clone()),
            }
        }
    }
    if !is_new && now - sender.told < AGAIN {
        return None;
    }
    sender.told = now;
    Some(finding(radio, advert, decoded.err(), &sender.fields))
}

fn finding(radio: &str, advert: &Advert, refusal: Option<Refusal>, fields: &[Field]) -> Finding {
    let mut facts: Vec<(String, Json)> = Vec::new();
    let format = format_of(advert);
    facts.push(("format".to_owned(), format.unwrap_or("not known").into()));
    if let Some(rssi) = advert.rssi {
        facts.push(("signal".to_owned(), format!("{rssi} dBm").into()));
    }
    let encrypted = matches!(refusal, Some(Refusal::KeyMissing));
    if encrypted {
        facts.push(("key".to_owned(), "it encrypts what it says: it needs its key (bindkey)".into()));
    }
    for field in fields {
        let unit = unit_of(&field.name).map_or_else(String::new, |unit| format!(" {unit}"));
        facts.push((field.name.clone(), format!("{}{unit}", field.value).into()));
    }
    if format.is_none() {
        facts.push(("bytes".to_owned(), advert.raw().into()));
    }
    let [.., a, b, c] = advert.address.0;
    let mut section = format!(
        "[[adapter]]\nname = \"radio\"\nkind = \"ble\"\nradio = {}\n\n[[adapter.device]]\nid = \"sensor-{a:02x}{b:02x}{c:02x}\"\naddress = \"{}\"",
        Json::from(radio),
        advert.address
    );
    if encrypted {
        section.push_str("\nkey_file = \"/etc/tidegate/secrets/key\"");
    }
    for field in fields.iter().filter(|field| field.name != "packet_id").take(MOST_POINTS) {
        section.push_str(&format!("\n\n[[adapter.device.point]]\nname = \"{}\"", field.name));
    }
    if fields.is_empty() {
        section.push_str("\n\n[[adapter.device.point]]\nname = \"signal\"\nfield = \"rssi\"");
    }
    let section = format.is_some().then_some(section);
    Finding { id: advert.address.to_string(), facts, section }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advert(address: &str, service: u16, data: &[u8]) -> Advert {
        let mut advert = Advert::new(address.parse().expect("an address"));
        advert.rssi = Some(-61);
        advert.service.push((service, data.to_vec()));
        advert
    }

    #[test]
    fn a_sender_is_told_with_what_it_says_and_a_section_that_would_read_it() {
        let mut known = HashMap::new();
        let thermometer = advert("A4:C1:38:8D:18:B2", 0xfcd2, &[0x40, 0x02, 0xca, 0x09]);
        let found = meet("hci0", &thermometer, &mut known).expect("told at once");
        assert_eq!(found.id, "A4:C1:38:8D:18:B2");
        assert!(found.facts.contains(&("temperature".to_owned(), "25.06 °C".into())), "{found:?}");
        let section = found.section.expect("known");
        assert!(section.contains("id = \"sensor-8d18b2\"") && section.ends_with("name = \"temperature\""), "{section}");
        assert_eq!(meet("hci0", &thermometer, &mut known), None, "not again within a second");
    }

    #[test]
    fn one_that_encrypts_asks_for_its_key_and_one_nobody_knows_shows_its_bytes() {
        let mut known = HashMap::new();
        let locked = advert(
            "54:48:E6:8F:80:A5",
            0xfcd2,
            &[0x41, 0xa4, 0x72, 0x66, 0xc9, 0x5f, 0x73, 0x00, 0x11, 0x22, 0x33, 0x78, 0x23, 0x72, 0x14],
        );
        let found = meet("hci0", &locked, &mut known).expect("told");
        assert!(
            found.facts.iter().any(|(name, _)| name == "key") && found.section.expect("known").contains("key_file"),
            "{:?}",
            found.facts
        );
        let stranger = meet("hci0", &advert("54:48:E6:8F:80:A6", 0x1234, &[1, 2]), &mut known).expect("told");
        assert_eq!((stranger.section, &stranger.facts.last().expect("some").1), (None, &"service 1234: 01 02".into()));
    }

    #[test]
    fn a_bus_is_a_socket_and_never_a_program_to_run() {
        let bus = |address: &str| longest(&serde_json::json!({ "bus": address }));
        assert!(bus("unix:path=/run/dbus/system_bus_socket").is_ok());
        for bad in [
            "unixexec:path=/bin/sh,argv1=-c",
            "tcp:host=192.0.2.1,port=1",
            "unix:path=/x;unixexec:path=/bin/sh",
            "autolaunch:",
            "unix:runtime=yes",
            "",
        ] {
            assert!(matches!(bus(bad), Err(ScanError::Option { option, .. }) if option == "bus"), "{bad}");
        }
    }

    #[test]
    fn a_street_full_of_phones_fills_no_memory() {
        let mut known = HashMap::new();
        for n in 0..2 * MOST_SENDERS as u32 {
            let [a, b, c, d] = n.to_be_bytes();
            meet("hci0", &Advert::new(Address([2, 0, a, b, c, d])), &mut known);
        }
        assert_eq!(known.len(), MOST_SENDERS);
    }
}
