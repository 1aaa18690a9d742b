//! Who a device is to a hub: identity, client id and MQTT user name.
//!
//! User names are built exactly and read leniently (reference §1.2): parameters in any order, any api-version,
//! unknown parameters ignored, with or without the `?`. Identities keep their case everywhere.

use std::{borrow::Cow, fmt};

use percent_encoding::percent_decode_str;

use super::encode;
use crate::id::{HubDeviceId, IdError};

/// A device of a hub, or a module of one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The device.
    pub device: HubDeviceId,
    /// Its module, if it is one.
    pub module: Option<HubDeviceId>,
}

impl Identity {
    /// A device itself.
    pub fn device(device: HubDeviceId) -> Self {
        Self { device, module: None }
    }

    /// From a client id: `device` or `device/module`.
    pub fn from_client_id(text: &str) -> Result<Self, IdError> {
        let (device, module) = text.split_once('/').map_or((text, None), |(device, module)| (device, Some(module)));
        Ok(Self { device: HubDeviceId::new(device)?, module: module.map(HubDeviceId::new).transpose()? })
    }

    /// What its tokens are for, unencoded: `host/devices/device[/modules/module]`.
    pub fn resource(&self, host: &str) -> String {
        self.resource_segments(host).join("/")
    }

    pub(super) fn resource_segments<'a>(&'a self, host: &'a str) -> Vec<&'a str> {
        let mut segments = vec![host, "devices", self.device.as_str()];
        if let Some(module) = &self.module {
            segments.extend(["modules", module.as_str()]);
        }
        segments
    }
}

/// The client id: never encoded.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.module {
            Some(module) => write!(f, "{}/{module}", self.device),
            None => self.device.fmt(f),
        }
    }
}

/// Whether the text can be a host name or an address: it stands in user names and resources unencoded.
pub fn is_host(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
}

/// An MQTT user name: `host/device[/module]/?api-version=…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName {
    /// The hub, also where a gateway stands in between.
    pub host: String,
    /// Who connects.
    pub identity: Identity,
    /// Which version of the API; any text.
    pub api_version: String,
    /// The model that the device follows, a DTMI.
    pub model_id: Option<String>,
    /// The client's software.
    pub client_type: Option<String>,
}

impl UserName {
    /// Reads a user name. Whether the client id agrees is [`UserName::belongs_to`]'s question.
    pub fn parse(text: &str) -> Result<Self, UserNameError> {
        let (host, rest) = text.split_once('/').ok_or(UserNameError::Form)?;
        let (device, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let (module, query) = module_and_query(rest);
        let parameter = |name| first_parameter(query, name);
        if !is_host(host) {
            return Err(UserNameError::Form);
        }
        Ok(Self {
            host: host.to_owned(),
            identity: Identity { device: HubDeviceId::new(device)?, module: module.map(HubDeviceId::new).transpose()? },
            api_version: parameter(API_VERSION).ok_or(UserNameError::ApiVersion)?,
            model_id: parameter(MODEL_ID),
            client_type: parameter(CLIENT_TYPE),
        })
    }

    /// Whether the client id is this identity, with case.
    pub fn belongs_to(&self, client_id: &str) -> bool {
        Identity::from_client_id(client_id).is_ok_and(|id| id == self.identity)
    }
}

const API_VERSION: &str = "api-version";
const MODEL_ID: &str = "model-id";
const CLIENT_TYPE: &str = "DeviceClientType";

/// What follows the device: `?query`, `query`, `module/?query` or `module/query`. A query is known by its `?` or its api-version,
/// because a stranger's query may hold a `/` and a module id may hold a `=`.
fn module_and_query(rest: &str) -> (Option<&str>, &str) {
    if let Some(query) = rest.strip_prefix('?') {
        return (None, query);
    }
    match rest.split_once('/') {
        Some((module, query)) if first_parameter(bare(query), API_VERSION).is_some() => (Some(module), bare(query)),
        _ => (None, rest),
    }
}

fn bare(query: &str) -> &str {
    query.strip_prefix('?').unwrap_or(query)
}

/// The first of several equal ones counts.
fn first_parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|part| part.split_once('=').filter(|(key, _)| *key == name))?.1;
    Some(percent_decode_str(value).decode_utf8().unwrap_or(Cow::Borrowed(value)).into_owned())
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/?{API_VERSION}={}", self.host, self.identity, encode(&self.api_version))?;
        for (name, value) in [(MODEL_ID, &self.model_id), (CLIENT_TYPE, &self.client_type)] {
            if let Some(value) = value {
                write!(f, "&{name}={}", encode(value))?;
            }
        }
        Ok(())
    }
}

/// Why a text is not a hub user name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserNameError {
    /// Not of the form at all.
    #[error("user name is not host/device/?api-version=…")]
    Form,
    /// Hubs leave open what they do without it, so we refuse.
    #[error("user name has no api-version")]
    ApiVersion,
    /// The device or module.
    #[error("user name: {0}")]
    Id(#[from] IdError),
}
