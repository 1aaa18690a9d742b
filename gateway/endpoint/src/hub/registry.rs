//! The registry: who may connect, and how they prove it.

use secrecy::{ExposeSecret, SecretString};
use tidegate_core::{
    device::{Device, NewDevice, PasswordHash, Proof, Thumbprint, Written},
    dialect::{identity::Identity, key::Key},
    id::{LeafId, MessageId},
};

use super::Hub;
use crate::{
    error::HubError,
    event::{Event, EventKind},
    live::Dismissal,
    password,
};

/// Entries in one page of a list.
const MOST: usize = 1_000;
/// A generated key has as many bytes as IoT Hub's.
const KEY: usize = 32;

/// How a device is to prove who it is.
#[derive(Debug, Clone)]
pub enum NewProof {
    /// By tokens. A key that is not given is made.
    Keys {
        /// The one shown in connection strings.
        primary: Option<Key>,
        /// The other one.
        secondary: Option<Key>,
    },
    /// By one of these certificates.
    Thumbprints {
        /// Tried first.
        primary: Thumbprint,
        /// Tried second.
        secondary: Option<Thumbprint>,
    },
    /// By a certificate of an authority that the endpoint trusts.
    Authority,
    /// By a password.
    Password(SecretString),
}

impl Hub {
    /// Makes an entry.
    pub async fn create(&self, identity: &Identity, proof: NewProof, enabled: bool, reason: Option<String>) -> Result<Device, HubError> {
        for id in [Some(&identity.device), identity.module.as_ref()].into_iter().flatten() {
            LeafId::new(id.as_str()).map_err(|error| HubError::Bad(error.to_string()))?;
        }
        let new = NewDevice {
            identity: identity.clone(),
            proof: self.settle_proof(proof).await?,
            enabled,
            reason,
            // Unique without asking anybody, and later ones sort later.
            generation: MessageId::fresh().to_string().replace('-', ""),
            now: self.now(),
        };
        let device = self.written(identity, self.0.records.create_device(new).await?)?;
        self.tell(Event::about(EventKind::CreateDeviceIdentity, identity, format!("proves itself by {}", device.proof.word())));
        Ok(device)
    }

    /// One entry.
    pub async fn device(&self, identity: &Identity) -> Result<Device, HubError> {
        self.0.records.device(identity).await?.ok_or_else(|| HubError::NotFound(identity.to_string()))
    }

    /// Entries after this one, by id; at most 1,000 at once.
    pub async fn devices(&self, after: Option<&Identity>, most: usize) -> Result<Vec<Device>, HubError> {
        Ok(self.0.records.devices(after, most.min(MOST)).await?)
    }

    /// Changes an entry; what is not given stays. A session that rests on what was taken away ends.
    pub async fn change(
        &self,
        identity: &Identity,
        etag: Option<u64>,
        proof: Option<NewProof>,
        enabled: Option<bool>,
        reason: Option<String>,
    ) -> Result<Device, HubError> {
        let old = self.device(identity).await?;
        let replaces = proof.is_some();
        let new = NewDevice {
            identity: identity.clone(),
            proof: match proof {
                Some(proof) => self.settle_proof(proof).await?,
                None => old.proof,
            },
            enabled: enabled.unwrap_or(old.enabled),
            reason: reason.or(old.reason),
            generation: old.generation,
            now: self.now(),
        };
        // Read and written in two steps, so the etag read is the one that must still be there.
        let etag = Some(etag.unwrap_or(old.etag));
        let device = self.written(identity, self.0.records.change_device(new, etag).await?)?;
        match (device.enabled, replaces) {
            (false, _) => self.0.live.dismiss(identity, Dismissal::Disabled),
            (true, true) => self.0.live.dismiss(identity, Dismissal::ProofChanged),
            (true, false) => {}
        }
        let detail = if device.enabled { "enabled" } else { "disabled" };
        self.tell(Event::about(EventKind::UpdateDeviceIdentity, identity, detail));
        Ok(device)
    }

    /// Takes an entry away, with its modules, twin, queue and feedback. Its session ends.
    pub async fn delete(&self, identity: &Identity, etag: Option<u64>) -> Result<Device, HubError> {
        let device = self.written(identity, self.0.records.delete_device(identity, etag).await?)?;
        self.0.live.dismiss(identity, Dismissal::Deleted);
        self.tell(Event::about(EventKind::DeleteDeviceIdentity, identity, "deleted"));
        Ok(device)
    }

    fn written(&self, identity: &Identity, written: Written) -> Result<Device, HubError> {
        let name = identity.to_string();
        match written {
            Written::Done(device) => Ok(device),
            Written::Exists => Err(HubError::Exists(name)),
            Written::Missing => Err(HubError::NotFound(name)),
            Written::Changed => Err(HubError::Changed(name)),
        }
    }

    async fn settle_proof(&self, proof: NewProof) -> Result<Proof, HubError> {
        Ok(match proof {
            NewProof::Keys { primary, secondary } => Proof::Keys { primary: key_or_new(primary)?, secondary: key_or_new(secondary)? },
            NewProof::Thumbprints { primary, secondary } => Proof::Thumbprints { primary, secondary },
            NewProof::Authority => Proof::Authority,
            NewProof::Password(password) => {
                if !password::LENGTH.contains(&password.expose_secret().len()) {
                    return Err(HubError::Bad("a device's password has 8 to 128 bytes".to_owned()));
                }
                Proof::Password(PasswordHash(password::hash(password, self.0.hashing.clone()).await.map_err(HubError::Bad)?))
            }
        })
    }
}

fn key_or_new(key: Option<Key>) -> Result<Key, HubError> {
    if let Some(key) = key {
        return Ok(key);
    }
    let mut bytes = vec![0; KEY];
    password::random(&mut bytes).map_err(HubError::Bad)?;
    Key::from_bytes(bytes).map_err(|error| HubError::Bad(error.to_string()))
}

/// What a device with keys or a certificate needs to connect, ready to paste. `host` is the name it reaches us by.
/// `None` for a device with a password, which takes its id as user name.
pub fn connection_string(device: &Device, host: &str) -> Option<SecretString> {
    let module = device.identity.module.as_ref().map_or_else(String::new, |module| format!(";ModuleId={module}"));
    let head = format!("HostName={host};DeviceId={}{module}", device.identity.device);
    match &device.proof {
        Proof::Keys { primary, .. } => Some(format!("{head};SharedAccessKey={}", primary.to_base64().expose_secret()).into()),
        Proof::Thumbprints { .. } | Proof::Authority => Some(format!("{head};x509=true").into()),
        Proof::Password(_) => None,
    }
}
