//! What is going on now.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed, time::Duration};

use async_trait::async_trait;
use tidegate_core::{
    clock::{Clock, TimeQuality, Timestamp},
    health::{Condition, Entry, Level},
    profile::PointProfile,
    reading::Quality,
};
use tidegate_store::{ReaderStatus, Status};
use tidegate_webui::{
    Problem,
    shape::{
        AdapterView, CheckSeen, ClassView, ClockView, ConditionView, DeviceBrief, DeviceCounts, DeviceState, DeviceView, GatewayView,
        GivenUp, HealthView, LogBrief, Overview, PointView, SectionPlace, StorageView, UpstreamView, WritableView,
    },
    site::{About, Values, Views, Watch},
};
use tokio::{sync::watch, time::Instant};

use super::{Link, Service, gauge::Rates, no_log, value};
use crate::{
    closeup,
    examine::{Scene, Seen, Verdict, examine, flash_used},
    live::{LiveLeaf, Seen as LastSeen},
};

/// How long an overview is good for everybody who asks.
const FRESH: Duration = Duration::from_millis(900);
/// Points of a device that a list shows.
const SHOWN_IN_LIST: usize = 32;

fn level(level: Level) -> &'static str {
    match level {
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}

fn health(entry: Entry) -> HealthView {
    HealthView {
        code: entry.code.to_owned(),
        level: level(entry.level).to_owned(),
        subject: entry.subject,
        title: entry.title.to_owned(),
        detail: entry.detail,
        cause: entry.cause.to_owned(),
        next: entry.next.to_owned(),
        since: entry.since.to_string(),
    }
}

pub(super) fn classes(status: &Status) -> Vec<ClassView> {
    let class =
        |class: &tidegate_store::ClassStatus| ClassView { class: class.class.word().to_owned(), depth: class.depth, bytes: class.bytes };
    status.classes.iter().map(class).collect()
}

fn state(points: &[Option<LastSeen>]) -> DeviceState {
    let seen: Vec<&LastSeen> = points.iter().flatten().collect();
    let bad = seen.iter().filter(|seen| matches!(seen.shown.quality, Quality::Bad(_))).count();
    if seen.is_empty() {
        DeviceState::Unknown
    } else if bad == seen.len() {
        DeviceState::Silent
    } else if bad > 0 {
        DeviceState::Bad
    } else if seen.iter().any(|seen| !seen.shown.quality.is_good()) {
        DeviceState::Uncertain
    } else {
        DeviceState::Good
    }
}

fn last_at(points: &[Option<LastSeen>]) -> Option<String> {
    points.iter().flatten().map(|seen| seen.at).max().map(|at| at.to_string())
}

fn brief(leaf: &LiveLeaf) -> DeviceBrief {
    let points = leaf.points();
    let shown = leaf.profile.points.iter().zip(&points).take(SHOWN_IN_LIST);
    let values = shown.filter_map(|(point, seen)| Some((point.name.to_string(), value::latest(seen.as_ref()?, point.unit.as_deref()))));
    DeviceBrief {
        id: leaf.profile.id.to_string(),
        adapter: leaf.adapter.to_string(),
        kind: leaf.kind.to_owned(),
        state: state(&points),
        points: points.len(),
        last_at: last_at(&points),
        class: leaf.profile.class.word().to_owned(),
        values: values.collect(),
    }
}

fn labels(point: &PointProfile) -> BTreeMap<String, String> {
    point.labels.iter().map(|(number, label)| (number.to_string(), label.clone())).collect()
}

fn writable(point: &PointProfile) -> Option<WritableView> {
    use tidegate_core::profile::Takes;
    let write = point.write.as_ref()?;
    let kind = match write.takes {
        Takes::Nothing(_) => return None,
        _ if !point.labels.is_empty() => "label",
        Takes::Bit => "boolean",
        Takes::Whole { .. } | Takes::Real(_) => "number",
        _ => "text",
    };
    Some(WritableView { kind: kind.to_owned(), min: write.min, max: write.max, step: write.step, labels: labels(point) })
}

fn point((profile, seen): (&PointProfile, &Option<LastSeen>)) -> PointView {
    PointView {
        name: profile.name.to_string(),
        unit: profile.unit.clone(),
        labels: labels(profile),
        min: profile.min,
        max: profile.max,
        precision: profile.precision,
        report: if profile.report.on_change.is_some() { "change" } else { "always" }.to_owned(),
        writable: writable(profile),
        latest: seen.as_ref().map(|seen| value::latest(seen, None)),
    }
}

/// Bytes that this process has had written to a disk, as the kernel counts them.
fn written_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()
}

impl Service {
    fn storage(&self) -> StorageView {
        let facts = self.facts();
        let disk = rustix::fs::statvfs(&facts.state_dir).ok();
        let counters = self.ends.parts.log.counters();
        StorageView {
            path: facts.state_dir.display().to_string(),
            free_bytes: disk.as_ref().map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
            total_bytes: disk.as_ref().map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize)),
            written_bytes: written_bytes(),
            flushes: counters.commits,
            appended: counters.appended,
            appended_bytes: counters.appended_bytes,
            flash_used: flash_used(),
        }
    }

    fn upstreams(&self, status: &Status, rates: &Rates) -> Vec<UpstreamView> {
        let view = |facts: &super::UpstreamFacts| {
            let row = self.ends.parts.board.upstream(&facts.name);
            let reader: Option<&ReaderStatus> = status.readers.iter().find(|reader| reader.name == facts.name);
            let outstanding = reader.map_or(0, |reader| reader.outstanding);
            let rate_out = rates.delivered.get(&facts.name).copied().unwrap_or(0.0);
            let falls = rate_out - rates.appended;
            let last = row.last_delivered.load(Relaxed);
            UpstreamView {
                name: facts.name.to_string(),
                kind: facts.kind.to_owned(),
                target: row.target(),
                connected: row.connected.load(Relaxed),
                sessions: row.sessions.load(Relaxed),
                delivered: row.delivered.load(Relaxed),
                rejected: row.rejected.load(Relaxed),
                in_flight: row.in_flight.load(Relaxed),
                outstanding,
                oldest_at: reader.and_then(|reader| reader.oldest).map(|(_, at)| at.to_string()),
                rate_out,
                drain_s: (outstanding > 0 && falls > 0.0).then(|| (outstanding as f64 / falls).ceil() as u64),
                last_delivered: (last > 0).then(|| Timestamp(i64::try_from(last).unwrap_or(i64::MAX)).to_string()),
                proof_until: row.proof().map(|proof| proof.until.to_string()),
                proof_renews: row.proof().is_some_and(|proof| proof.renews),
                enabled: facts.enabled,
            }
        };
        self.facts().upstreams.iter().map(view).collect()
    }

    fn adapters(&self) -> Vec<AdapterView> {
        let view = |facts: &super::AdapterFacts| {
            let row = self.ends.parts.board.adapter(&facts.name);
            AdapterView {
                name: facts.name.to_string(),
                kind: facts.kind.to_owned(),
                connected: row.connected.load(Relaxed),
                connects: row.connects.load(Relaxed),
                reads: row.reads.load(Relaxed),
                readings: row.readings.load(Relaxed),
                misses: row.misses.load(Relaxed),
                messages: row.messages.load(Relaxed),
                rejected: row.rejected.load(Relaxed),
                silent_devices: row.silent.load(Relaxed),
                recoveries: row.recoveries.load(Relaxed),
                devices: facts.leaves,
            }
        };
        self.facts().adapters.iter().map(view).collect()
    }

    fn counts(&self) -> DeviceCounts {
        let mut counts = DeviceCounts::default();
        for leaf in self.ends.parts.live.leaves(None, usize::MAX) {
            counts.total += 1;
            *match state(&leaf.points()) {
                DeviceState::Good => &mut counts.good,
                DeviceState::Uncertain => &mut counts.uncertain,
                DeviceState::Bad => &mut counts.bad,
                DeviceState::Silent => &mut counts.silent,
                DeviceState::Unknown => &mut counts.unknown,
            } += 1;
        }
        counts
    }

    async fn make_overview(&self) -> Result<Overview, Problem> {
        let parts = &self.ends.parts;
        let status = parts.log.status().await.map_err(no_log)?;
        let (now, rates) = (parts.clock.now(), self.gauge.rates());
        Ok(Overview {
            gateway: GatewayView {
                id: self.facts().gateway.to_string(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started: self.started.to_string(),
                uptime_s: now.wall.since(self.started).as_secs(),
                demo: self.ends.link.is_some(),
            },
            clock: ClockView { now: now.wall.to_string(), trusted: now.quality == TimeQuality::Synced },
            log: LogBrief {
                depth: status.depth,
                bytes: status.bytes,
                max_bytes: status.max_size,
                file_bytes: status.file_bytes,
                next_seq: status.next_seq,
                oldest_at: status.oldest.map(|(_, at)| at.to_string()),
                rate_in: rates.appended,
                given_up: GivenUp { gaps: status.gaps, messages: status.gap_messages },
                classes: classes(&status),
            },
            upstreams: self.upstreams(&status, &rates),
            adapters: self.adapters(),
            devices: self.counts(),
            storage: self.storage(),
            health: self.health(),
            link_switch: self.ends.link.as_ref().map(|link| link.now().up),
        })
    }
}

#[async_trait]
impl Views for Service {
    fn about(&self) -> About {
        About { gateway: self.facts().gateway.to_string(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }

    async fn overview(&self) -> Result<Overview, Problem> {
        // Held while it is made: whoever asks meanwhile gets the same.
        let mut kept = self.overview.lock().await;
        if let Some((at, overview)) = &*kept
            && at.elapsed() < FRESH
        {
            return Ok(overview.clone());
        }
        let overview = self.make_overview().await?;
        *kept = Some((Instant::now(), overview.clone()));
        Ok(overview)
    }

    fn health(&self) -> Vec<HealthView> {
        self.ends.parts.health.list().into_iter().map(health).collect()
    }

    fn health_changes(&self) -> watch::Receiver<u64> {
        self.ends.parts.health.changes()
    }

    async fn checks(&self) -> Result<Vec<CheckSeen>, Problem> {
        // One at a time: it reads some hundred files.
        let _turn = self.checking.lock().await;
        let (path, kinds, now) = (self.ends.config_path.clone(), self.ends.kinds, self.now());
        let seen = tokio::task::spawn_blocking(move || examine(&Scene::of(&path, &kinds, now))).await;
        let seen = seen.map_err(|error| Problem::internal("looking the machine over", error))?;
        let word = |verdict| match verdict {
            Verdict::Fine => "fine",
            Verdict::Skipped => "skipped",
            Verdict::Note => "note",
            Verdict::Warning => "warning",
            Verdict::Error => "error",
        };
        let view = |one: Seen| CheckSeen {
            code: one.check.code().to_owned(),
            verdict: word(one.verdict).to_owned(),
            subject: one.subject,
            seen: one.seen,
            title: one.check.title().to_owned(),
            cause: one.check.cause().to_owned(),
            next: one.check.next_step().to_owned(),
        };
        Ok(seen.into_iter().map(view).collect())
    }

    fn conditions(&self) -> Vec<ConditionView> {
        let view = |condition: &Condition| ConditionView {
            code: condition.code().to_owned(),
            level: level(condition.level()).to_owned(),
            title: condition.title().to_owned(),
            cause: condition.cause().to_owned(),
            next: condition.next_step().to_owned(),
        };
        Condition::ALL.iter().map(view).collect()
    }

    fn devices(&self, after: Option<&str>, most: usize) -> Vec<DeviceBrief> {
        self.ends.parts.live.leaves(after, most).iter().map(|leaf| brief(leaf)).collect()
    }

    fn device(&self, id: &str) -> Option<DeviceView> {
        let leaf = self.ends.parts.live.leaf(id)?;
        let points = leaf.points();
        let concerns = |entry: &HealthView| entry.subject == id || entry.subject == leaf.adapter.as_str();
        Some(DeviceView {
            id: id.to_owned(),
            adapter: leaf.adapter.to_string(),
            kind: leaf.kind.to_owned(),
            state: state(&points),
            last_at: last_at(&points),
            class: leaf.profile.class.word().to_owned(),
            ttl_s: leaf.profile.ttl.map(|ttl| ttl.as_secs()),
            points: leaf.profile.points.iter().zip(&points).map(point).collect(),
            health: self.health().into_iter().filter(concerns).collect(),
            section: SectionPlace { file: self.file_of_adapter(leaf.adapter.as_str()), adapter: leaf.adapter.to_string() },
            watched_s: self.ends.parts.closeups.left(&leaf.profile.id).map(|left| left.as_secs()),
        })
    }

    fn watch(&self, id: &str, closely: bool) -> Result<Option<DeviceView>, Problem> {
        let Some(leaf) = self.ends.parts.live.leaf(id) else { return Ok(None) };
        let closeups = &self.ends.parts.closeups;
        if !closely {
            closeups.end(&leaf.profile.id);
        } else if !closeups.begin(leaf.profile.id.clone(), closeup::LONGEST) {
            return Err(Problem::busy(format!("{} devices are looked at closely already", closeup::MOST))
                .next("end one of these looks, or wait ten minutes"));
        }
        Ok(self.device(id))
    }

    fn version(&self) -> u64 {
        self.ends.parts.live.version()
    }

    fn values(&self, watch: &Watch, newer_than: u64) -> Values {
        let live = &self.ends.parts.live;
        let leaves = if watch.all { live.leaves(None, usize::MAX) } else { watch.devices.iter().filter_map(|id| live.leaf(id)).collect() };
        let mut values = Values::new();
        for leaf in leaves {
            let newer = leaf.newer(newer_than);
            if !newer.is_empty() {
                let named = newer.iter().map(|(at, seen)| (leaf.profile.points[*at].name.to_string(), value::latest(seen, None)));
                values.insert(leaf.profile.id.to_string(), named.collect());
            }
        }
        values
    }

    fn switch_link(&self, up: bool) -> bool {
        let Some(link) = &self.ends.link else { return false };
        link.set(Link { up, by_hand: true });
        true
    }
}
