//! Appends as fast as it can and says how far it got: the load for power-cut tests.
//!
//! `append_load DIR SECONDS SYNC`: messages carry their number, from 1 up; after each append that has returned, the highest number
//! is printed and flushed. SYNC is a file that is created when the load is under way.

use std::{io::Write, path::Path, time::Duration};

use tidegate_core::{
    clock::{Clock, SystemClock},
    id::{LeafId, MessageId, Name},
    message::{Body, Class, Message, Properties, SystemProperties},
};
use tidegate_store::{Log, LogOptions, ReaderOptions, Replay, Urgency};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, dir, seconds, sync] = &args[..] else { return Err("append_load DIR SECONDS SYNC".into()) };
    let clock = SystemClock::new("power-cut");
    clock.trust(true);
    let options = LogOptions { max_size: 1 << 30, commit_interval: Duration::from_millis(20), keep_delivered: Duration::ZERO };
    let (log, _) = Log::open(Path::new(dir), options, clock.clone())?;
    // A reader, so that its place is written in the same commits.
    let _reader = log.reader(&Name::new("hub")?, ReaderOptions { window: 64, replay: Replay::InOrder, ttl: None }).await?;
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds.parse()?);
    let mut number = 0_u64;
    while tokio::time::Instant::now() < end {
        let count = fastrand::u64(1..40);
        let message = |n: u64| -> Result<Message, Box<dyn std::error::Error>> {
            Ok(Message {
                id: MessageId::fresh(),
                leaf: LeafId::new("load")?,
                class: Class::Telemetry,
                taken: clock.now(),
                ttl: None,
                system: SystemProperties::json(),
                properties: Properties::default(),
                body: Body::Whole(format!("{n}{}", " ".repeat(fastrand::usize(..400))).into()),
            })
        };
        let batch = (number + 1..=number + count).map(message).collect::<Result<Vec<_>, _>>()?;
        let urgency = if fastrand::u8(..4) == 0 { Urgency::Lazy } else { Urgency::Now };
        log.append(batch, urgency).await?;
        number += count;
        writeln!(std::io::stdout(), "{number}")?;
        std::io::stdout().flush()?;
        std::fs::write(sync, b"")?;
    }
    log.close().await;
    Ok(())
}
