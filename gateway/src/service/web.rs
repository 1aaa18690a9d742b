//! The page as a unit of the gateway: opened, announced, served, and opened again when it could not be.

use std::{io, sync::Arc, time::Duration};

use tidegate_core::{clock::Clock, health::Condition};
use tidegate_webui::{
    Bound, Web,
    certificate::Source,
    server::{self, Options},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Service, gauge, vault::StateVault};
use crate::{
    config::WebSection,
    unit::{Stage, Unit, UnitError},
};

/// What a person needs to open the page.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Its address.
    pub url: String,
    /// The code with which it is claimed, as long as nobody has.
    pub code: Option<String>,
    /// Of its certificate.
    pub fingerprint: Option<String>,
}

/// How long until a socket that could not be opened is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// The names by which people may ask for the page: what this machine is called, with and without `.local`.
fn names(gateway: &str) -> Vec<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let mut names = Vec::new();
    for name in [host.as_str(), gateway].into_iter().filter(|name| !name.is_empty()) {
        names.push(format!("{name}.local"));
        names.push(name.to_owned());
    }
    names.dedup();
    names
}

/// Opens the page of this service.
pub async fn open(service: &Arc<Service>, section: &WebSection) -> io::Result<Bound> {
    let facts = service.facts();
    let certificate = section.tls.then(|| match &section.certificate {
        Some((certificate, key)) => Source::Brought { certificate: certificate.clone(), key: key.clone() },
        None => Source::Own { folder: server::folder(&facts.state_dir), names: names(facts.gateway.as_str()) },
    });
    let options = Options { listen: section.listen, certificate, redirect: section.redirect };
    let vault = Arc::new(StateVault(service.ends.parts.state.clone()));
    Web { options, site: service.clone(), vault, clock: service.ends.parts.clock.clone() }.bind().await
}

impl Opened {
    /// Of a page that is open.
    pub fn of(bound: &Bound) -> Self {
        let code = bound.code().map(ToString::to_string);
        Self { url: bound.url(), code, fingerprint: bound.fingerprint().map(str::to_owned) }
    }
}

impl Service {
    /// The page as a unit. It is stopped first: who looks on asks for work. `first` is a page that is open already.
    pub fn web_unit(self: &Arc<Self>, section: WebSection, first: Option<Bound>) -> Unit {
        let service = self.clone();
        let mut first = first;
        let factory = Box::new(move |stop: CancellationToken| -> crate::unit::Run {
            let (service, section, first) = (service.clone(), section.clone(), first.take());
            Box::pin(async move { service.serve(section, first, stop).await })
        });
        Unit { name: "page".into(), stage: Stage::Control, factory }
    }

    /// Once a second: looks at the counters, so that the page can tell rates, and after a change on trial.
    pub fn gauge_unit(self: &Arc<Self>) -> Unit {
        let service = self.clone();
        let factory = Box::new(move |stop: CancellationToken| -> crate::unit::Run {
            let service = service.clone();
            Box::pin(async move {
                while !stop.is_cancelled() {
                    service.gauge.look(&service.ends.parts);
                    service.mind_trial().await;
                    service.consumers.flush(&service.ends.parts.state).await;
                    tokio::select! {
                        () = tokio::time::sleep(gauge::EVERY) => {}
                        () = stop.cancelled() => {}
                    }
                }
                service.consumers.flush(&service.ends.parts.state).await;
                Ok(())
            })
        });
        Unit { name: "gauge".into(), stage: Stage::Control, factory }
    }

    async fn serve(self: Arc<Self>, section: WebSection, first: Option<Bound>, stop: CancellationToken) -> Result<(), UnitError> {
        let (health, clock) = (self.ends.parts.health.clone(), self.ends.parts.clock.clone());
        let bound = match first {
            Some(bound) => bound,
            None => match open(&self, &section).await {
                Ok(bound) => {
                    bound.announce();
                    bound
                }
                Err(error) => {
                    if health.raise(Condition::PageUnreachable, "", error.to_string(), clock.now().wall) {
                        warn!(%error, "the page cannot be opened, trying again");
                    }
                    tokio::select! {
                        () = tokio::time::sleep(AGAIN) => {}
                        () = stop.cancelled() => return Ok(()),
                    }
                    return Err(UnitError { why: error.to_string(), told: true });
                }
            },
        };
        health.clear(Condition::PageUnreachable, "");
        Ok(bound.serve(stop).await?)
    }
}
