//! Who answers: hosts and units over TCP, speeds, parities and units on a line.
//!
//! Asks one harmless question of each, by default for holding register 0, and takes any answer for a sign of life, a refusal
//! as much as a value: nothing is written, and functions that write are never used. A line is opened for ourselves alone, so
//! one that an adapter runs on is reported as taken. A line has one speed: once somebody has answered, only the units that are
//! left are asked, at that speed. All hosts of a search are asked at the same time, up to [`AT_ONCE`]; one that does not take a
//! connection is done with at once.

mod options;

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use serde_json::Value as Json;
use tidegate_core::{
    adapter::AdapterError,
    scan::{Finding, ScanError, ScanNews, Scanning},
};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::Instant,
};
use tokio_serial::Parity;

use super::{
    fault::Fault,
    link::{Answer, Asked, Link},
    plan::Spot,
    transport::{Bus, Framing, Line, Transport},
};
use crate::serial::scan::unable;
use options::{Ground, Search};

/// Hosts that are asked at the same time.
const AT_ONCE: usize = 32;
/// Units that are asked at one speed before the next speed has its turn: most devices have a low number.
const BLOCK: usize = 16;
/// Connecting to a device on the same site takes milliseconds.
const CONNECT: Duration = Duration::from_secs(1);
/// Steps that wait to be counted.
const WAITING: usize = 64;

pub(super) fn options() -> Json {
    schemars::schema_for!(options::Options).into()
}

pub(super) fn longest(options: &Json) -> Result<Duration, ScanError> {
    let search = Search::read(options)?;
    // After a silent unit the line is listened to for as long again, or the connection is made anew.
    let each = search.timeout * 2;
    Ok(match &search.ground {
        Ground::Hosts(hosts, _) => (CONNECT + each * search.units.len() as u32) * hosts.len().div_ceil(AT_ONCE) as u32,
        Ground::Line(lines) => {
            lines.iter().map(|line| (each + line.silence() + line.time_for(LONGEST_EXCHANGE)) * search.units.len() as u32).sum()
        }
    })
}

/// Bytes of a question and the longest answer to it.
const LONGEST_EXCHANGE: usize = 8 + 7;

pub(super) fn run(options: Json, news: Sender<ScanNews>) -> Scanning {
    Box::pin(async move {
        let search = Search::read(&options)?;
        match &search.ground {
            Ground::Hosts(hosts, framing) => {
                let (search, (told, steps)) = (&search, channel(WAITING));
                let asking = async move {
                    let each = |(host, port): &(String, u16)| ask_host(search, host.clone(), *port, *framing, told.clone());
                    stream::iter(hosts).for_each_concurrent(AT_ONCE, each).await;
                };
                tokio::select! {
                    _ = async { tokio::join!(asking, count(steps, search.steps(), &news)) } => {}
                    () = news.closed() => {}
                }
                Ok(())
            }
            Ground::Line(lines) => ask_line(&search, lines, &news).await,
        }
    })
}

/// What became of a step, or of several that were passed over.
enum Step {
    Begun(String),
    Done(u32),
    Found(Finding),
}

async fn count(mut steps: Receiver<Step>, total: u32, news: &Sender<ScanNews>) {
    let mut done = 0;
    while let Some(step) = steps.recv().await {
        let told = match step {
            Step::Begun(what) => ScanNews::Progress { done, total, what },
            Step::Done(count) => {
                done += count;
                continue;
            }
            Step::Found(finding) => ScanNews::Found(finding),
        };
        if news.send(told).await.is_err() {
            return;
        }
    }
    news.send(ScanNews::Progress { done, total, what: String::new() }).await.ok();
}

async fn ask_host(search: &Search, host: String, port: u16, framing: Framing, told: Sender<Step>) {
    let transport = Transport::Tcp { host, port, framing };
    let place = transport.to_string();
    let mut link = link(transport);
    let mut left = search.units.len() as u32;
    // Nobody listens any more: the search is over, and this goes with it.
    told.send(Step::Begun(place.clone())).await.ok();
    if link.connect().await.is_ok() {
        for unit in &search.units {
            told.send(Step::Begun(format!("{place} unit {unit}"))).await.ok();
            let answer = ask(&mut link, search, *unit).await;
            left -= 1;
            told.send(Step::Done(1)).await.ok();
            match answer {
                Ok(Some(facts)) => {
                    let section = search.section(&format!("address = {}", Json::from(place.strip_suffix(":502").unwrap_or(&place))), *unit);
                    told.send(Step::Found(Finding { id: format!("{place} unit {unit}"), facts, section: Some(section) })).await.ok();
                    // A device of its own answers to any number; asked for by number, each counts.
                    if search.first_will_do {
                        break;
                    }
                }
                Ok(None) => {}
                Err(_) => break,
            }
        }
    }
    told.send(Step::Done(left)).await.ok();
}

async fn ask_line(search: &Search, lines: &[Line], news: &Sender<ScanNews>) -> Result<(), ScanError> {
    let all = search.steps();
    let (mut done, mut found_at) = (0, None);
    let total = |found_at: Option<usize>| if found_at.is_some() { search.units.len() as u32 } else { all };
    for block in search.units.chunks(BLOCK) {
        for (at, line) in lines.iter().enumerate() {
            if found_at.is_some_and(|found| found != at) {
                continue;
            }
            let mut link = link(Transport::Serial(line.clone()));
            link.connect().await.map_err(|error| unable(&line.port, &error))?;
            let place = format!("{} baud, {}", line.baud, in_words(line.parity));
            for unit in block {
                let progress = ScanNews::Progress { done, total: total(found_at), what: format!("unit {unit} at {place}") };
                if news.send(progress).await.is_err() {
                    return Ok(());
                }
                let answer = ask(&mut link, search, *unit).await;
                done += 1;
                match answer {
                    Ok(Some(facts)) => {
                        let keys = format!(
                            "port = {}\nbaud = {}\nparity = \"{}\"",
                            Json::from(line.port.as_str()),
                            line.baud,
                            options::word(line.parity)
                        );
                        let id = format!("{} unit {unit} at {place}", line.port);
                        let section = Some(search.section(&keys, *unit));
                        if news.send(ScanNews::Found(Finding { id, facts, section })).await.is_err() {
                            return Ok(());
                        }
                        if found_at.is_none() {
                            found_at = Some(at);
                            // What was asked at other speeds in vain need not be asked there again.
                            done = search.units.iter().position(|one| one == unit).map_or(done, |before| before as u32 + 1);
                        }
                    }
                    Ok(None) => {}
                    Err(error) => return Err(unable(&line.port, &error)),
                }
            }
        }
    }
    // If nobody hears it, the search is over all the same.
    news.send(ScanNews::Progress { done, total: total(found_at), what: String::new() }).await.ok();
    Ok(())
}

/// What is known of who answers; `None` when nobody does.
async fn ask(link: &mut Link, search: &Search, unit: u8) -> Result<Option<Vec<(String, Json)>>, AdapterError> {
    let asked = Asked { unit, timeout: search.timeout, pause: Duration::ZERO };
    let begun = Instant::now();
    let spot = Spot { table: search.table, address: search.at, count: 1 };
    let says = match link.ask(&asked, spot).await {
        Ok(Answer::Words(words)) => format!("{} in {}", words.first().copied().unwrap_or_default(), search.cell()),
        Ok(Answer::Bits(bits)) => format!("{} in {}", u8::from(bits.first() == Some(&true)), search.cell()),
        Err(Fault::Lost(error)) => return Err(error),
        Err(fault) if fault.shows_life() => fault.words(&asked, spot),
        Err(_) => return Ok(None),
    };
    let took = begun.elapsed();
    let mut facts = vec![("unit".to_owned(), Json::from(unit))];
    // Who does not know the function refuses it, or says nothing; both are fine.
    let identity = link.identify(&asked).await.unwrap_or_default();
    facts.extend(identity.into_iter().map(|(name, value)| (name, value.into())));
    facts.push(("says".to_owned(), says.into()));
    facts.push(("answered in".to_owned(), format!("{} ms", took.as_millis().max(1)).into()));
    Ok(Some(facts))
}

fn link(transport: Transport) -> Link {
    Link::new(Arc::new(Bus { transport, connect_timeout: CONNECT, pause_after_connect: Duration::ZERO }))
}

fn in_words(parity: Parity) -> &'static str {
    match parity {
        Parity::None => "no parity",
        Parity::Even => "even parity",
        Parity::Odd => "odd parity",
    }
}
