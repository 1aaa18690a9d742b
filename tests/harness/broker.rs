//! Debian's mosquitto as the hub above, and its client as the one who counts what arrived.

use std::{
    fs,
    net::TcpStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{Delivery, Lines, Process, SOON, Site, Tally, process::command, until_true};

/// A mosquitto of our own. Keeps sessions and queued messages over a stop and a start.
#[derive(Debug)]
pub(crate) struct Broker {
    /// `address:port`.
    pub(crate) address: String,
    config: PathBuf,
    process: Option<Process>,
    /// What it logs, over all its runs.
    pub(crate) log: Lines,
}

impl Broker {
    /// Lets everybody in.
    pub(crate) fn start(site: &Site) -> Self {
        Self::with(site, "allow_anonymous true\n")
    }

    /// With these lines about who may come in.
    pub(crate) fn with(site: &Site, access: &str) -> Self {
        let host = site.address();
        let folder = site.path(&format!("broker-{host}"));
        fs::create_dir_all(&folder).expect("a new folder");
        let config = folder.join("mosquitto.conf");
        let folder = folder.display();
        // As root mosquitto would become the user mosquitto, who may not write here.
        // No queue limit: the tests count every message.
        let text = format!(
            "listener 1883 {host}\nuser root\npersistence true\npersistence_location {folder}/\nautosave_interval 0\n\
             max_queued_messages 0\nset_tcp_nodelay true\nlog_dest stderr\n\
             log_type error\nlog_type warning\nlog_type notice\nlog_type information\nlog_type subscribe\n{access}"
        );
        fs::write(&config, text).expect("a new file");
        let mut broker = Self { address: format!("{host}:1883"), config, process: None, log: Lines::default() };
        broker.start_again();
        broker
    }

    /// After [`Broker::stop`].
    pub(crate) fn start_again(&mut self) {
        let mut start = command("mosquitto");
        start.arg("-c").arg(&self.config);
        self.process = Some(Process::start(start, Lines::default(), self.log.clone()));
        until_true("mosquitto listens", SOON, || TcpStream::connect(&self.address).is_ok());
    }

    /// In good order: it keeps what its sessions have not had yet.
    pub(crate) fn stop(&mut self) {
        let mut process = self.process.take().expect("running");
        process.signal(Signal::TERM);
        process.end("mosquitto ends", SOON);
    }

    /// It holds its connections and does nothing any more.
    pub(crate) fn pause(&self) {
        self.process.as_ref().expect("running").signal(Signal::STOP);
    }

    /// After [`Broker::pause`].
    pub(crate) fn resume(&self) {
        self.process.as_ref().expect("running").signal(Signal::CONT);
    }

    /// When a client of this id first got in after the `from`th line of the log.
    pub(crate) fn connected(&self, from: usize, client: &str) -> Option<Instant> {
        let word = format!(" as {client} ");
        let lines = self.log.since(from);
        lines.into_iter().find(|(_, line)| line.contains("New client connected") && line.contains(&word)).map(|(at, _)| at)
    }
}

/// `mosquitto_sub` with a session that lasts: an independent witness of what the broker has acknowledged.
#[derive(Debug)]
pub(crate) struct Subscriber(Process);

impl Subscriber {
    /// Subscribed to `t/#` when this returns.
    pub(crate) fn start(broker: &Broker) -> Self {
        Self::with(broker, &[])
    }

    /// With more arguments, such as a user name.
    pub(crate) fn with(broker: &Broker, arguments: &[&str]) -> Self {
        Self::to(broker, "t/#", arguments)
    }

    /// To other topics, which [`Subscriber::lines`] shows as they are.
    pub(crate) fn to(broker: &Broker, topics: &str, arguments: &[&str]) -> Self {
        let (host, port) = broker.address.split_once(':').expect("host:port");
        let from = broker.log.len();
        let mut start = command("mosquitto_sub");
        start.args(["-h", host, "-p", port, "-i", "witness", "-c", "-q", "1", "-t", topics, "-F", "%t %p"]).args(arguments);
        let process = Process::start(start, Lines::default(), Lines::default());
        until_true("mosquitto_sub has subscribed", SOON, || broker.log.find(from, &format!("witness 1 {topics}")).is_some());
        Self(process)
    }

    /// Topic and payload of all that came so far, with a space between.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.out.since(0).into_iter().map(|(_, line)| line).collect()
    }

    /// All that came so far.
    pub(crate) fn tally(&self) -> Tally {
        Tally::new(self.0.out.since(0).iter().map(|(at, line)| Delivery::parse(*at, line)).collect())
    }

    /// How many came so far: cheaper than a tally.
    pub(crate) fn count(&self) -> usize {
        self.0.out.len()
    }

    /// Returns once nothing more has come for a while: the only way to see that something does *not* happen.
    pub(crate) fn settle(&self, quiet: Duration) -> Tally {
        let mut last = (self.count(), Instant::now());
        until_true("nothing more arrives", SOON * 3, || {
            if self.count() != last.0 {
                last = (self.count(), Instant::now());
            }
            last.1.elapsed() >= quiet
        });
        self.tally()
    }
}
