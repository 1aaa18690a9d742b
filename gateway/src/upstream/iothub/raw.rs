//! What the configuration file may say about an IoT Hub upstream. The comments on the keys are for the person who writes it: they
//! become the schema's descriptions.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::quantity::Span;

/// The API version that the hub's documentation names now.
const API_VERSION: &str = "2021-04-12";

/// An upstream that is an Azure IoT Hub, or speaks like one.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Raw {
    /// File with the device's connection string, as the portal shows it (`HostName=…;DeviceId=…;SharedAccessKey=…`).
    /// Takes the place of `host`, `device_id`, `module_id` and `key_file`.
    pub(super) connection_string_file: Option<String>,
    /// The hub's host name, such as `contoso.azure-devices.net`.
    pub(super) host: Option<String>,
    /// The gateway's device id at the hub, exactly as it is written there: capital letters count.
    pub(super) device_id: Option<String>,
    /// The module id, if the gateway is a module of a device.
    pub(super) module_id: Option<String>,
    /// The id scope of a Device Provisioning Service (`0ne…`), which then says to which hub the gateway belongs. Takes the
    /// place of `connection_string_file`, `host` and `device_id`.
    pub(super) id_scope: Option<String>,
    /// The gateway's registration id there, in lower case; with a certificate, its common name.
    pub(super) registration_id: Option<String>,
    /// The provisioning service's host name. Default: the service for all the world.
    pub(super) dps_host: Option<String>,
    /// File with the key of an enrolment group (base64), from which the gateway's own key is derived. Whoever has it can be
    /// every device of the group: a `key_file` with the derived key is safer.
    pub(super) group_key_file: Option<String>,
    /// File with the device's primary or secondary key (base64).
    pub(super) key_file: Option<String>,
    /// File with the client certificate and its chain (PEM), instead of a key.
    pub(super) client_cert_file: Option<String>,
    /// File with the certificate's private key (PEM, without a password).
    pub(super) client_key_file: Option<String>,
    /// A gateway to connect through; the hub's name stays in user name and token.
    pub(super) gateway_host: Option<String>,
    /// The port; 8883, or 443 with WebSocket.
    #[schemars(range(min = 1))]
    pub(super) port: Option<u16>,
    /// `mqtt`, or `websocket` where only port 443 is open.
    #[serde(default)]
    pub(super) transport: Transport,
    /// `false` sends everything in the clear; for hubs on this machine only.
    #[serde(default = "yes")]
    pub(super) tls: bool,
    /// Certificates of the authorities to believe (PEM), instead of the system's.
    pub(super) ca_file: Option<String>,
    /// How long each token is valid; a fresh one is made at about four fifths of it.
    #[serde(default = "token_life")]
    pub(super) token_life: Span,
    /// After this long without traffic a ping is sent. Above 230 s some networks forget the connection.
    #[serde(default = "keep_alive")]
    pub(super) keep_alive: Span,
    /// How many messages may wait for the hub's acknowledgement.
    #[serde(default = "in_flight")]
    #[schemars(range(min = 1, max = 1024))]
    pub(super) in_flight: u32,
    /// Leaves that are devices of their own at the hub, each with a connection, and with C2D messages and methods that need not
    /// name it. The others travel under the gateway's identity.
    #[serde(default)]
    pub(super) leaf: Vec<RawLeaf>,
    /// Connections of leaves opened in a second, at most: hubs allow a number to all their devices together.
    #[serde(default = "connects_per_second")]
    #[schemars(range(min = 1, max = 100))]
    pub(super) connects_per_second: u32,
    /// The model that the gateway follows (DTMI).
    pub(super) model_id: Option<String>,
    /// The version of the hub's API.
    #[serde(default = "api_version")]
    pub(super) api_version: String,
}

/// A leaf that is a device of its own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLeaf {
    /// The leaf's id, as in its adapter.
    pub(super) id: String,
    /// Its device id at the hub. Default: the leaf's id.
    pub(super) device_id: Option<String>,
    /// With id_scope: its registration id. Default: the leaf's id in lower case.
    pub(super) registration_id: Option<String>,
    /// File with its connection string. Takes the place of the hub's host and of device_id and key_file.
    pub(super) connection_string_file: Option<String>,
    /// File with its key (base64). With id_scope and the gateway's group_key_file it may be left out.
    pub(super) key_file: Option<String>,
    /// File with its certificate and chain (PEM), instead of a key.
    pub(super) client_cert_file: Option<String>,
    /// File with the certificate's private key (PEM, without a password).
    pub(super) client_key_file: Option<String>,
}

/// What carries MQTT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Transport {
    /// TCP on port 8883.
    #[default]
    Mqtt,
    /// WebSocket on port 443.
    WebSocket,
}

fn yes() -> bool {
    true
}

fn token_life() -> Span {
    Span(Duration::from_secs(24 * 3600))
}

fn keep_alive() -> Span {
    Span(Duration::from_secs(230))
}

fn in_flight() -> u32 {
    16
}

fn connects_per_second() -> u32 {
    20
}

fn api_version() -> String {
    API_VERSION.to_owned()
}
