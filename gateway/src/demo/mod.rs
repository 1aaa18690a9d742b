//! `tidegate demo`: the whole line on one machine, with nothing outside it.
//!
//! Simulated Modbus units (TCP, and RTU on a pty pair made here), a scale on another pty, the gateway as `tidegate run`
//! would run it, a second Tidegate as its hub, and between the two a link that is cut and restored by itself. At the hub a reader counts what
//! arrived, so that "lost" is measured and not claimed. `--for` ends the demo by itself: the leaves stop, the log drains,
//! and the exit code is 1 if anything was lost.

mod air;
mod hub;
mod link;
mod plant;
mod screen;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tidegate_core::quantity::Span;
use tokio::{sync::mpsc, time::Instant};

use self::{
    hub::{Arrived, DemoHub},
    link::Link,
    screen::{Figures, Screen},
};
use crate::{
    cli::{complain, say},
    config,
    control::Request,
    exit::Exit,
    run,
    service::{self, Ends, LinkSwitch, Opened, Service},
    wiring::Gateway,
};

/// What the demo can be asked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End by itself after this time, such as 30s.
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<Span>,
    /// Print nothing but a JSON summary at the end.
    #[arg(long)]
    json: bool,
    /// Address and port of the page. Left out: 127.0.0.1:8080, or any free port if that is taken.
    #[arg(long, value_name = "ADDRESS")]
    page: Option<SocketAddr>,
}

/// The link is up for this long, then down for that long, over and over.
const TIDE: (Duration, Duration) = (Duration::from_secs(7), Duration::from_secs(5));
/// How often the figures are drawn.
const DRAW: Duration = Duration::from_secs(1);
/// How long the log may take to drain at the end. Longer than the longest pause between attempts to connect.
const DRAIN: Duration = Duration::from_secs(20);

/// Runs the demo.
pub async fn demo(args: Args) -> Exit {
    match run(&args).await {
        Ok(exit) => exit,
        Err(error) => {
            complain(&format!("demo: {error:#}"));
            Exit::Internal
        }
    }
}

async fn run(args: &Args) -> Result<Exit> {
    let folder = scratch()?;
    let ended = play(args, &folder).await;
    std::fs::remove_dir_all(&folder).ok();
    ended
}

async fn play(args: &Args, folder: &Path) -> Result<Exit> {
    let hub = hub::start(folder).await?;
    let link = Link::to(hub.address).await.context("the demo's link")?;
    let plant = plant::start(folder).await?;
    let configuration = configuration(folder, &plant, &hub, &link, page_address(args)?);
    std::fs::write(folder.join("tidegate.toml"), &configuration)?;
    let loaded = config::load(folder, &crate::kinds());
    let Some(config) = loaded.config else { bail!("its own configuration: {}", loaded.problems[0]) };
    let mut gateway = Gateway::start(config).await?;
    let (requests, asked) = mpsc::channel(run::REQUESTS);
    let (switch, page) = open_page(&mut gateway, folder, requests).await?;
    if !args.json {
        introduce(folder, &plant, args.duration.is_none(), &page);
    }
    let (figures, begun, files) = (Figures::default(), Instant::now(), run::Files::plain(folder.to_owned(), crate::kinds()));
    let mut watch = Watch { gateway: &mut gateway, arrived: &hub.arrived, figures, begun, switch, asked, files };
    watch.tide(&link, args.duration.map(|d| d.0), &mut Screen::new(args.json)).await?;
    let drained = watch.drain(&link).await?;
    let figures = watch.figures;
    gateway.stop().await;
    if args.json {
        say(&figures.json(drained).to_string());
    } else {
        say(&format!(
            "{} messages promised, {} delivered, {} duplicates, {} lost",
            figures.on_disk,
            figures.delivered,
            figures.duplicates,
            figures.lost()
        ));
    }
    let kept = drained && figures.lost() == 0 && figures.delivered > 0;
    Ok(if kept { Exit::Fine } else { Exit::Negative })
}

/// Where the page is to be: where people expect it, if it is free there.
fn page_address(args: &Args) -> Result<SocketAddr> {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    match args.page {
        Some(address) => Ok(address),
        None if TcpListener::bind(usual).is_ok() => Ok(usual),
        None => hub::free_port(),
    }
}

/// The page, as `tidegate run` would open it, with a switch for the link.
async fn open_page(gateway: &mut Gateway, folder: &Path, requests: mpsc::Sender<Request>) -> Result<(LinkSwitch, Opened)> {
    let (switch, web) = (LinkSwitch::default(), gateway.config().web.clone());
    let (parts, facts, link) = (gateway.parts().clone(), gateway.facts(), Some(switch.clone()));
    let service = Service::new(Ends {
        parts,
        facts,
        router: gateway.router().clone(),
        requests,
        config_path: folder.to_owned(),
        kinds: crate::kinds(),
        link,
    })?;
    let bound = service::open(&service, &web).await.context("the demo's page")?;
    let opened = Opened::of(&bound);
    gateway.supervise(service.gauge_unit());
    gateway.supervise(service.web_unit(web, Some(bound)));
    Ok((switch, opened))
}

/// Runs the gateway and looks at it.
struct Watch<'a> {
    gateway: &'a mut Gateway,
    arrived: &'a Arrived,
    figures: Figures,
    begun: Instant,
    switch: LinkSwitch,
    asked: mpsc::Receiver<Request>,
    files: run::Files,
}

impl Watch<'_> {
    /// Lets the tide come and go until the time is over or Ctrl-C.
    async fn tide(&mut self, link: &Link, duration: Option<Duration>, screen: &mut Screen) -> Result<()> {
        let mut draw = tokio::time::interval(DRAW);
        let mut turn = Instant::now() + TIDE.0;
        self.figures.link_up = true;
        let mut by_page = self.switch.watch();
        loop {
            let end = duration.map(|d| self.begun + d);
            tokio::select! {
                _ = draw.tick() => {
                    self.look().await?;
                    screen.draw(&self.figures);
                }
                () = tokio::time::sleep_until(turn) => {
                    let now = self.switch.now();
                    if !now.by_hand {
                        self.switch.set(service::Link { up: !now.up, ..now });
                    }
                    turn += if self.switch.now().up { TIDE.0 } else { TIDE.1 };
                }
                Ok(()) = by_page.changed() => {
                    let up = by_page.borrow_and_update().up;
                    self.figures.outages += u64::from(self.figures.link_up && !up);
                    self.figures.link_up = up;
                    link.switch(up);
                }
                Some(request) = self.asked.recv() => drop(run::serve(self.gateway, request, &mut self.files).await),
                () = tokio::time::sleep_until(end.unwrap_or(turn)), if end.is_some() => return Ok(()),
                _ = tokio::signal::ctrl_c() => return Ok(()),
            }
        }
    }

    /// Stops the leaves, restores the link, and waits until nothing waits. `false` when the time is up first.
    async fn drain(&mut self, link: &Link) -> Result<bool> {
        self.figures.link_up = true;
        link.switch(true);
        self.gateway.stop_leaves().await;
        let until = Instant::now() + DRAIN;
        while Instant::now() < until {
            self.look().await?;
            if self.figures.waiting == 0 && self.figures.lost() == 0 {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(false)
    }

    async fn look(&mut self) -> Result<()> {
        let parts = self.gateway.parts();
        let sum = |of: fn(&crate::board::AdapterRow) -> u64| parts.board.adapters().iter().map(|(_, row)| of(row)).sum();
        let status = parts.log.status().await?;
        let figures = &mut self.figures;
        figures.seconds = self.begun.elapsed().as_secs();
        figures.readings = sum(|row| row.readings.load(Relaxed));
        figures.misses = sum(|row| row.misses.load(Relaxed));
        figures.in_flight = parts.board.upstreams().iter().map(|(_, row)| row.in_flight.load(Relaxed)).sum();
        // In this order: what is counted at the hub later can only make the loss smaller, never hide one.
        figures.on_disk = parts.log.counters().appended;
        figures.waiting = status.readers.iter().map(|reader| reader.outstanding).sum();
        figures.most_waiting = figures.most_waiting.max(figures.waiting);
        figures.delivered = self.arrived.unique.load(Relaxed);
        figures.duplicates = self.arrived.again.load(Relaxed);
        Ok(())
    }
}

/// A folder of our own that nobody else can look into.
fn scratch() -> Result<std::path::PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let folder = std::env::temp_dir().join(format!("tidegate-demo-{}-{:08x}", std::process::id(), fastrand::u32(..)));
    std::fs::DirBuilder::new().mode(0o700).create(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

fn introduce(folder: &Path, plant: &plant::Plant, endless: bool, page: &Opened) {
    say("Tidegate demo: simulated devices, the gateway, and a hub, all on this machine.");
    say(&format!(
        "  devices        {} on Modbus TCP {}, {} on Modbus RTU {}, a scale on the serial line {}, {} Bluetooth sensors",
        plant::TCP_UNITS,
        plant.tcp,
        plant::RTU_UNITS,
        plant.rtu.display(),
        plant.scale.display(),
        air::SENSORS
    ));
    let code = page.code.as_ref().map(|code| format!("   claim it with the code {code}")).unwrap_or_default();
    say(&format!("  page           {}{code}", page.url));
    say(&format!("  configuration  {}", folder.join("tidegate.toml").display()));
    say("  the link       up for 7 s, down for 5 s, over and over: watch the log hold the tide");
    if endless {
        say("  end            Ctrl-C");
    }
    say("");
}

/// The configuration that a person would write for this plant.
fn configuration(folder: &Path, plant: &plant::Plant, hub: &DemoHub, link: &Link, page: SocketAddr) -> String {
    let head = format!(
        r#"# Made by `tidegate demo`.
config_version = 1

[gateway]
id = "demo"
state_dir = "{state}"

[log]
max_size = "64MiB"
commit_interval = "200ms"
# The past that the page draws.
keep_delivered = "1h"

[web]
listen = "{page}"
tls = false

[clock]
# A demo does not wait for a clock to be set.
wait = "0s"

[[upstream]]
name = "hub"
kind = "iothub"
host = "{host}"
port = {port}
device_id = "{device}"
key_file = "{key}"
ca_file = "{ca}"
"#,
        state = folder.join("state").display(),
        host = link.address.ip(),
        port = link.address.port(),
        device = hub::DEVICE,
        key = hub.key_file.display(),
        ca = hub.ca_file.display(),
    );
    format!("{head}{}", plant.configuration())
}
