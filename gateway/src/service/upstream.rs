//! Trying things out that are only proposed: an adapter's or an upstream's section, with the connection step by step.

use std::{sync::Arc, time::Duration};

use tidegate_core::{
    catalogue::AdapterPlan,
    clock::Clock,
    upstream::{Upstream, UpstreamError},
};
use tidegate_webui::{
    Problem, StatusCode,
    shape::{StepView, UpstreamTestRequest, UpstreamTestView},
    site::Views,
};
use tokio::time::{Instant, timeout};

use super::Service;
use crate::config::{self, AdapterSection, Config, UpstreamSection};

/// How long a connection may take: IoT Hub delays its CONNACK up to a minute when it is busy.
const CONNECT: Duration = Duration::from_secs(65);
/// Largest section that is tried.
const MAX_SECTION: usize = 256 << 10;

/// Around a section that is tried alone: what a whole configuration needs beside it.
const AROUND: &str = "config_version = 1\n[gateway]\nid = \"trial\"\n";

impl Service {
    /// Checks a configuration of one section; every problem is named.
    fn alone(&self, list: &str, section: &str) -> Result<Config, Problem> {
        if section.len() > MAX_SECTION {
            return Err(Problem::invalid("").field("section", "is larger than 256 KiB", "try a part of it"));
        }
        let header = format!("[[{list}]]");
        let text = if section.contains(&header) { section.to_owned() } else { format!("{header}\n{section}") };
        let lines = AROUND.lines().count();
        let loaded = config::check_text(&format!("{AROUND}{text}"), &self.ends.kinds);
        loaded.config.ok_or_else(|| {
            let wrong = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "config-problems", "The section cannot be used");
            let mut problems: Vec<_> = loaded.problems.iter().map(|problem| self.problem(problem)).collect();
            // Lines count from the section's own first.
            problems.iter_mut().for_each(|problem| {
                problem.file = None;
                problem.line = problem.line.and_then(|line| line.checked_sub(lines)).filter(|line| *line > 0);
            });
            wrong.problems(problems)
        })
    }

    /// The plan of a proposed `[[adapter]]`.
    pub(super) fn proposed_adapter(&self, section: &str) -> Result<AdapterPlan, Problem> {
        let mut config = self.alone("adapter", section)?;
        let one = |sections: &mut Vec<AdapterSection>| if sections.len() == 1 { sections.pop() } else { None };
        one(&mut config.adapters).map(|section| section.plan).ok_or_else(|| only_one("adapter"))
    }

    /// Connects to a proposed upstream and parts again, or tells how a configured one is.
    pub(super) async fn try_upstream(&self, request: UpstreamTestRequest) -> Result<UpstreamTestView, Problem> {
        match (request.section, request.name) {
            (Some(section), None) => {
                let mut config = self.alone("upstream", &section)?;
                let one = |sections: &mut Vec<UpstreamSection>| if sections.len() == 1 { sections.pop() } else { None };
                let section = one(&mut config.upstreams).ok_or_else(|| only_one("upstream"))?;
                Ok(connect((section.plan.build)(self.ends.parts.clock.clone() as Arc<dyn Clock>)).await)
            }
            (None, Some(name)) => self.running_upstream(&name),
            _ => Err(Problem::invalid("give a section or the name of an upstream that is configured")),
        }
    }

    /// How one is that runs: a second connection with its identity would only throw the first one out.
    fn running_upstream(&self, name: &str) -> Result<UpstreamTestView, Problem> {
        let facts = self.facts();
        let upstream = facts.upstreams.iter().find(|upstream| upstream.name.as_str() == name);
        let upstream = upstream.ok_or_else(|| Problem::not_found(format!("there is no upstream {name}")))?;
        let row = self.ends.parts.board.upstream(&upstream.name);
        let connected = row.connected.load(std::sync::atomic::Ordering::Relaxed);
        let wrong = self.health().into_iter().find(|entry| entry.subject == name);
        let detail = match (connected, wrong) {
            (true, _) => format!("connected to {}", row.target()),
            (false, Some(entry)) => format!("{}: {}", entry.title, entry.detail),
            (false, None) if !upstream.enabled => "it is switched off".to_owned(),
            (false, None) => "it is connecting".to_owned(),
        };
        let steps = vec![step("check", true, "it is configured", Instant::now()), step("connect", connected, &detail, Instant::now())];
        Ok(UpstreamTestView { ok: connected, steps })
    }
}

fn only_one(list: &str) -> Problem {
    Problem::invalid("").field("section", format!("is not one [[{list}]] that is switched on"), "give exactly one")
}

fn step(name: &str, ok: bool, detail: &str, begun: Instant) -> StepView {
    let took_ms = (begun.elapsed().as_secs_f64() * 10_000.0).round() / 10.0;
    StepView { step: name.to_owned(), ok, detail: detail.to_owned(), took_ms }
}

async fn connect(mut upstream: Box<dyn Upstream>) -> UpstreamTestView {
    let mut steps = vec![step("check", true, "the section is right", Instant::now())];
    let begun = Instant::now();
    let connected = timeout(CONNECT, upstream.connect()).await;
    let (ok, name, detail) = match connected {
        Ok(Ok(session)) => {
            // Dropping its end tells it to part in good order.
            drop(session);
            (true, "connect", format!("{} let us in", upstream.target()))
        }
        Ok(Err(error)) => (false, failed_at(&error), error.to_string()),
        Err(_) => (false, "connect", format!("{} did not answer within a minute", upstream.target())),
    };
    let reached = ["check", "read", "reach", "connect"];
    // The steps before the one that failed went well.
    for passed in reached.into_iter().skip(1).take_while(|step| *step != name) {
        steps.push(step(passed, true, "", begun));
    }
    steps.push(step(name, ok, &detail, begun));
    UpstreamTestView { ok, steps }
}

/// The step at which it failed: reading keys and certificates, reaching the host, being let in.
fn failed_at(error: &UpstreamError) -> &'static str {
    match error {
        UpstreamError::Unusable { .. } => "read",
        UpstreamError::Unreachable { .. } => "reach",
        _ => "connect",
    }
}
