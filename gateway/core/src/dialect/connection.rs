//! Connection strings: `HostName=…;DeviceId=…;SharedAccessKey=…`, as a portal hands them out.
//!
//! Errors name the field and never its value, because the value may be the key.

use std::collections::HashMap;

use super::{
    identity::{Identity, is_host},
    key::{Key, KeyError},
};
use crate::id::HubDeviceId;

/// What a connection string says.
#[derive(Debug, Clone)]
pub struct ConnectionString {
    /// The hub.
    pub host: String,
    /// A gateway to connect through; the hub still gives its name to user name and token.
    pub gateway_host: Option<String>,
    /// Who connects.
    pub identity: Identity,
    /// How it proves that.
    pub credential: Credential,
}

/// How a device proves who it is.
#[derive(Debug, Clone)]
pub enum Credential {
    /// By tokens signed with a key.
    Key {
        /// The key.
        key: Key,
        /// Whose key it is, if not the device's own.
        policy: Option<String>,
    },
    /// By a certificate, which the string does not hold.
    X509,
}

const FIELDS: [&str; 7] = ["HostName", "DeviceId", "ModuleId", "SharedAccessKey", "SharedAccessKeyName", "x509", "GatewayHostName"];

impl ConnectionString {
    /// Reads a string, white space around it allowed. Field names without regard to case, each once.
    pub fn parse(text: &str) -> Result<Self, ConnectionStringError> {
        let mut fields = fields(text)?;
        let host = fields.remove("HostName").ok_or(ConnectionStringError::Missing("HostName"))?;
        let gateway_host = fields.remove("GatewayHostName");
        for (field, host) in [("HostName", Some(host)), ("GatewayHostName", gateway_host)] {
            if host.is_some_and(|host| !is_host(host)) {
                return Err(ConnectionStringError::Invalid(field));
            }
        }
        let device = fields.remove("DeviceId").ok_or(ConnectionStringError::Missing("DeviceId"))?;
        let module = fields.remove("ModuleId");
        let identity = Identity {
            device: HubDeviceId::new(device).map_err(|_| ConnectionStringError::Invalid("DeviceId"))?,
            module: module.map(HubDeviceId::new).transpose().map_err(|_| ConnectionStringError::Invalid("ModuleId"))?,
        };
        let credential = credential(&mut fields)?;
        Ok(Self { host: host.to_owned(), gateway_host: gateway_host.map(str::to_owned), identity, credential })
    }
}

fn fields(text: &str) -> Result<HashMap<&'static str, &str>, ConnectionStringError> {
    let mut fields = HashMap::new();
    for part in text.trim().split(';').filter(|part| !part.trim().is_empty()) {
        // A key ends with '=', so only the first one divides.
        let (name, value) = part.split_once('=').ok_or(ConnectionStringError::Form)?;
        let name = FIELDS.iter().find(|field| field.eq_ignore_ascii_case(name.trim())).ok_or(ConnectionStringError::Unknown)?;
        if fields.insert(*name, value.trim()).is_some() {
            return Err(ConnectionStringError::Twice(name));
        }
    }
    Ok(fields)
}

fn credential(fields: &mut HashMap<&'static str, &str>) -> Result<Credential, ConnectionStringError> {
    let x509 = match fields.remove("x509") {
        Some(value) if value.eq_ignore_ascii_case("true") => true,
        Some(value) if value.eq_ignore_ascii_case("false") => false,
        Some(_) => return Err(ConnectionStringError::Invalid("x509")),
        None => false,
    };
    match (fields.remove("SharedAccessKey"), x509) {
        (Some(_), true) => Err(ConnectionStringError::TwoCredentials),
        (None, true) => Ok(Credential::X509),
        (None, false) => Err(ConnectionStringError::Missing("SharedAccessKey")),
        (Some(key), false) => Ok(Credential::Key {
            key: Key::from_base64(key).map_err(ConnectionStringError::Key)?,
            policy: fields.remove("SharedAccessKeyName").map(str::to_owned),
        }),
    }
}

/// Why a text is not a device's connection string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionStringError {
    /// A part without `=`.
    #[error("connection string: not of the form Name=value;Name=value")]
    Form,
    /// A name that no device's connection string has. Which one is not told: it may be a piece of a key.
    #[error(
        "connection string: unknown field; use HostName, DeviceId, ModuleId, SharedAccessKey, SharedAccessKeyName, x509 and GatewayHostName"
    )]
    Unknown,
    /// A field that must be there. Without `DeviceId` it is the hub's string and not a device's.
    #[error("connection string: {0} is missing; copy the device's own connection string")]
    Missing(&'static str),
    /// A field that cannot be what it says.
    #[error("connection string: {0} is not valid")]
    Invalid(&'static str),
    /// A field that comes again.
    #[error("connection string: {0} comes twice")]
    Twice(&'static str),
    /// A key and `x509=true`.
    #[error("connection string: SharedAccessKey and x509=true exclude each other")]
    TwoCredentials,
    /// The key.
    #[error("connection string: SharedAccessKey: {0}")]
    Key(KeyError),
}
