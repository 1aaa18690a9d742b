//! The box as a whole: its configuration in one file, what helps to help, and a fresh start.

use async_trait::async_trait;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use tidegate_core::clock::Timestamp;
use tidegate_webui::{
    Problem, StatusCode,
    shape::{BackupView, CertificateView, NetworkView},
    site::{Archive, System, Views},
};
use tokio::{sync::oneshot, task::spawn_blocking};

use super::Service;
use crate::{
    bundle::{self, Page, Secrets, backup::Backup},
    control::{Ask, Request},
    examine::{Network, Scene, certificate_in},
};

/// Gaps that are told.
const GAPS: usize = 1000;

impl Service {
    fn scene(&self) -> Scene {
        Scene::of(&self.ends.config_path, &self.ends.kinds, self.now())
    }

    /// What only a gateway that runs can tell.
    async fn running(&self) -> Vec<Page> {
        let mut pages = Vec::new();
        let mut put = |name: &str, told: Result<Json, Problem>| {
            pages.push(match told {
                Ok(json) => Page::json(name, &json),
                Err(problem) => Page::new(name, format!("{problem:?}\n")),
            });
        };
        let json = |told: Result<_, Problem>| told.map(|told| serde_json::to_value(told).unwrap_or_default());
        put("status.json", json(self.overview().await));
        put("log.json", self.log().await.map(|told| serde_json::to_value(told).unwrap_or_default()));
        put("gaps.json", self.gaps(GAPS).await.map(|told| serde_json::to_value(told).unwrap_or_default()));
        let devices: Vec<_> = self
            .devices(None, usize::MAX)
            .into_iter()
            .map(|one| json!({ "id": one.id, "adapter": one.adapter, "state": one.state }))
            .collect();
        put("devices.json", Ok(Json::from(devices)));
        pages.push(bundle::events(&self.events.all()));
        pages
    }
}

fn broken(error: impl std::fmt::Display) -> Problem {
    Problem::internal("packing", error.to_string())
}

#[async_trait]
impl System for Service {
    fn network(&self) -> NetworkView {
        let network = Network::here();
        NetworkView {
            host: network.host,
            addresses: network.addresses,
            interfaces: network.interfaces,
            routed: network.routed.0 || network.routed.1,
            name_servers: network.name_servers,
        }
    }

    fn certificate(&self) -> Result<Option<CertificateView>, Problem> {
        let scene = self.scene();
        let Some(web) = scene.config().map(|config| &config.web).filter(|web| web.tls) else { return Ok(None) };
        let file =
            web.certificate.as_ref().map_or_else(|| self.facts().state_dir.join("web/page.pem"), |(certificate, _)| certificate.clone());
        let text = std::fs::read_to_string(&file).map_err(|error| Problem::internal("reading the certificate", error))?;
        let Some(seen) = certificate_in(&text).into_iter().next() else { return Ok(None) };
        let print: Vec<String> = Sha256::digest(&seen.der).iter().map(|byte| format!("{byte:02X}")).collect();
        Ok(Some(CertificateView {
            own: web.certificate.is_none(),
            file: file.display().to_string(),
            subject: seen.subject,
            names: seen.names,
            fingerprint: print.join(":"),
            until: Timestamp(seen.valid.1.saturating_mul(1000)).to_string(),
        }))
    }

    async fn backup(&self) -> Result<Json, Problem> {
        let backup = Backup::make(&self.scene(), &self.ends.config_path, self.now());
        serde_json::to_value(backup).map_err(broken)
    }

    async fn read_backup(&self, text: &str) -> Result<BackupView, Problem> {
        let path = &self.ends.config_path;
        let backup = Backup::read(text, path).map_err(|why| {
            Problem::invalid("the file cannot be restored").field("text", why, "choose a file that was downloaded as a backup")
        })?;
        let (files, missing) = (backup.drafts(path), backup.missing(path));
        Ok(BackupView { gateway: backup.gateway, made: backup.made, files, missing })
    }

    async fn support_bundle(&self) -> Result<Vec<u8>, Problem> {
        let running = self.running().await;
        let (scene, path, now) = (self.scene(), self.ends.config_path.clone(), self.now());
        let _turn = self.checking.lock().await;
        let packed = spawn_blocking(move || {
            let mut pages = bundle::standing(&scene, &path);
            pages.extend(running);
            bundle::pack(&pages, &Secrets::of(&scene, &path), now)
        });
        packed.await.map_err(broken)?.map_err(broken)
    }

    async fn restart(&self, who: &str) -> Result<(), Problem> {
        // systemd names each run of a unit so.
        if std::env::var_os("INVOCATION_ID").is_none() {
            return Err(Problem::new(StatusCode::CONFLICT, "no-supervisor", "Nobody would start it again")
                .detail("it was not started by systemd")
                .next("end it and start it by hand"));
        }
        let (answer, answered) = oneshot::channel();
        let request = Request { ask: Ask::Restart, who: who.to_owned(), answer };
        self.ends.requests.send(request).await.map_err(|_| Problem::stopping())?;
        answered.await.map(drop).map_err(|_| Problem::stopping())
    }
}
