//! What the files may say, key by key. The comments here are the documentation that forms, editors and `tidegate.toml` show.
//!
//! Nothing here is believed: [`super::own`] and [`super::section`] make the checked [`super::Config`] of it.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tidegate_core::{
    message::Class,
    quantity::{ByteSize, Span},
};

/// The configuration of a Tidegate.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it is there for its schema: each section is read on its own")]
pub(super) struct Raw {
    /// The version of these keys that the files are written for. Newer programs read older versions, never the other way round.
    #[schemars(range(min = 1), extend("examples" = [1]))]
    config_version: i64,
    gateway: RawGateway,
    #[serde(default)]
    log: RawLog,
    #[serde(default)]
    body: RawBody,
    #[serde(default)]
    clock: RawClock,
    #[serde(default)]
    metrics: RawMetrics,
    #[serde(default)]
    web: RawWeb,
    #[serde(default)]
    diagnostics: RawDiagnostics,
    #[serde(default)]
    commands: RawCommands,
    #[serde(default)]
    endpoint: RawEndpoint,
    #[serde(default)]
    twin: RawTwin,
    /// What stands below: one section for each bus, line, radio or listener. Here and in devices.d/*.toml.
    #[serde(default)]
    adapter: Vec<Json>,
    /// What stands above: one section for each hub or broker. Here and in upstreams.d/*.toml.
    #[serde(default)]
    upstream: Vec<Json>,
}

/// Who this gateway is.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct RawGateway {
    /// Its name at hubs and in messages: 1 to 128 letters, digits, '.', '_' or '-'.
    #[schemars(extend("examples" = ["gw-01"]))]
    pub(super) id: String,
    /// The folder for the log and everything else that must survive a power cut. A path from the root.
    #[serde(default = "state_dir")]
    pub(super) state_dir: String,
}

fn state_dir() -> String {
    "/var/lib/tidegate".to_owned()
}

/// The log, in which messages wait until every upstream has them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RawLog {
    /// Most bytes that messages may take, at least 1MiB. Left out: a tenth of the file system, at least 64MiB. When it is
    /// reached, delivered messages go first, then the oldest of the least important; each loss is recorded as a gap.
    pub(super) max_size: Option<ByteSize>,
    /// How long a reading may wait for the disk, 10ms to 60s: what a power cut can take at most. Longer saves flash.
    pub(super) commit_interval: Span,
    /// How long messages are kept after every upstream has them.
    pub(super) keep_delivered: Span,
}

impl Default for RawLog {
    fn default() -> Self {
        Self { max_size: None, commit_interval: Span::from_millis(500), keep_delivered: Span::from_millis(3_600_000) }
    }
}

/// What a message tells beside the values.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RawBody {
    /// Which points' qualities are listed.
    pub(super) quality: RawQuality,
    /// Whether units are listed.
    pub(super) units: bool,
    /// Whether each point's own time is listed.
    pub(super) times: bool,
}

#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawQuality {
    /// Of all points.
    Always,
    /// Of points that are not good.
    #[default]
    WhenNotGood,
    /// Of none: a bad value is then only a null.
    Never,
}

/// How far the clock is trusted.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RawClock {
    /// How long messages wait in the log for the clock to be set. After that they leave, marked time_quality = unsynced.
    pub(super) wait: Span,
}

impl Default for RawClock {
    fn default() -> Self {
        Self { wait: Span::from_millis(5 * 60 * 1000) }
    }
}

/// Figures for Prometheus.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RawMetrics {
    /// Address and port to serve /metrics on. Left out: not served.
    #[schemars(extend("examples" = ["127.0.0.1:9464"]))]
    pub(super) listen: Option<String>,
}

/// What hubs, the page and the command line may have done here.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RawCommands {
    /// How long a command is worth carrying out when its sender does not say, 1s to 30d.
    pub(super) ttl: Span,
    /// How often a command may be begun where every point of it is marked repeatable. Others are begun once.
    #[schemars(range(min = 1, max = 100))]
    pub(super) max_deliveries: u32,
    /// The direct methods that a hub may call.
    pub(super) methods: Vec<super::Method>,
    /// How long a method may take, 1s to 290s. Shorter than the hub waits for it, which is 30 s when its caller does not say.
    pub(super) method_timeout: Span,
}

impl Default for RawCommands {
    fn default() -> Self {
        use super::Method::{Ping, Points, Read, Refresh, Status, Write};
        Self {
            ttl: Span::from_millis(3_600_000),
            max_deliveries: 10,
            methods: vec![Read, Write, Points, Refresh, Ping, Status],
            method_timeout: Span::from_millis(25_000),
        }
    }
}

/// What a hub may set here by its twin's desired properties.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RawTwin {
    /// The upstream whose desired properties are obeyed. Left out: the first of kind iothub.
    #[schemars(extend("examples" = ["cloud"]))]
    pub(super) upstream: Option<String>,
    /// What they may set: intervals, report policies, values of writable points, the level of the program's own log.
    pub(super) allow: Vec<super::Setting>,
    /// How long settings are on trial, 1s to 1d: if something is worse after it than before, they are rolled back.
    pub(super) trial: Span,
}

impl Default for RawTwin {
    fn default() -> Self {
        use super::Setting::{Interval, LogLevel, Report, Set};
        Self { upstream: None, allow: vec![Interval, Report, Set, LogLevel], trial: Span::from_millis(60_000) }
    }
}

/// The local page and its API.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RawWeb {
    /// Whether the page is served.
    pub(super) enabled: bool,
    /// Address and port to serve it on.
    #[schemars(extend("examples" = ["0.0.0.0:8443", "127.0.0.1:8080"]))]
    pub(super) listen: String,
    /// HTTPS. Switched off only on loopback: passwords would travel in the clear.
    pub(super) tls: bool,
    /// A certificate chain in PEM, with its key in `key`. Left out: the page makes its own at first start and shows its fingerprint.
    #[schemars(extend("examples" = ["/etc/tidegate/secrets/page.crt"]))]
    pub(super) certificate: Option<String>,
    /// The private key of `certificate`, in PEM.
    #[schemars(extend("examples" = ["/etc/tidegate/secrets/page.key"]))]
    pub(super) key: Option<String>,
    /// Address and port on which plain HTTP is sent on to HTTPS, beside the page's own port, which does so anyway.
    #[schemars(extend("examples" = ["0.0.0.0:80"]))]
    pub(super) redirect: Option<String>,
}

impl Default for RawWeb {
    fn default() -> Self {
        Self { enabled: true, listen: "0.0.0.0:8443".to_owned(), tls: true, certificate: None, key: None, redirect: None }
    }
}

/// What the program says about itself on standard error, which the journal keeps.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RawDiagnostics {
    /// The least important lines that are still written.
    pub(super) level: super::LogLevel,
    /// Text for people, or one JSON object in each line.
    pub(super) format: super::LogFormat,
}

/// The hub for devices that speak MQTT as they would to Azure IoT Hub. It runs when it has an address to listen on.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RawEndpoint {
    /// Address and port for MQTT over TLS. Left out: not offered.
    #[schemars(extend("examples" = ["[::]:8883"]))]
    pub(super) tls: Option<String>,
    /// Address and port for MQTT without TLS. Left out: not offered. What is not on loopback can be listened to by everybody.
    #[schemars(extend("examples" = ["127.0.0.1:1883"]))]
    pub(super) plain: Option<String>,
    /// Address and port for MQTT over WebSocket over TLS, at the path /$iothub/websocket. Left out: not offered.
    #[schemars(extend("examples" = ["[::]:443"]))]
    pub(super) websocket: Option<String>,
    /// Host names that devices may give in user names and tokens: this gateway's own, and the hub's whose name they keep. Empty: any.
    #[schemars(extend("examples" = [["gw-01.local", "contoso.azure-devices.net"]]))]
    pub(super) host_names: Vec<String>,
    /// Names and addresses for the gateway's own certificate. Empty: the machine's name, with and without .local, and loopback.
    #[schemars(extend("examples" = [["gw-01.local", "192.0.2.10"]]))]
    pub(super) certificate_names: Vec<String>,
    /// A certificate chain of your own, in PEM. Left out: the gateway makes its own, below an authority that it keeps in its state folder.
    #[schemars(extend("examples" = ["/etc/tidegate/endpoint.pem"]))]
    pub(super) certificate_file: Option<String>,
    /// The key of that certificate, in PEM without a password.
    #[schemars(extend("examples" = ["/etc/tidegate/secrets/endpoint.key"]))]
    pub(super) key_file: Option<String>,
    /// Authorities, in PEM, whose certificates devices may show that are registered as signed by one.
    #[schemars(extend("examples" = ["/etc/tidegate/devices-ca.pem"]))]
    pub(super) client_ca_file: Option<String>,
    /// Most devices connected at once.
    #[schemars(range(min = 1, max = 100_000))]
    pub(super) max_sessions: usize,
    /// How long a message to a device waits for it when its sender does not say, 1min to 2d.
    pub(super) c2d_ttl: Span,
    /// How often a message may be given back by a device before it is given up.
    #[schemars(range(min = 1, max = 100))]
    pub(super) max_delivery_count: u32,
    /// How long feedback about messages waits to be read, 1min to 2d.
    pub(super) feedback_ttl: Span,
    /// Devices of an enrolment group may register themselves, as they would at a Device Provisioning Service.
    pub(super) provisioning: Option<RawProvisioning>,
    /// Topics beside the hub's, for devices and programs of the site.
    pub(super) site_bus: Option<RawSiteBus>,
}

/// Topics beside the hub's, for devices and programs of the site: what they publish is given to those who listen, and rules make messages
/// of leaves of it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct RawSiteBus {
    /// Who may use which topics. Nobody may use any that is not named here.
    #[serde(default)]
    pub(super) access: Vec<RawAccess>,
    /// Which topics carry messages of leaves, and where their commands go. The first that takes a topic counts.
    #[serde(default)]
    pub(super) rule: Vec<RawSiteRule>,
    /// The topic on which the readings of all adapters are published, with {leaf} for the leaf's id. Left out: they are not.
    #[serde(default)]
    #[schemars(extend("examples" = ["tidegate/{leaf}"]))]
    pub(super) mirror: Option<String>,
}

/// Topics that a device may use.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct RawAccess {
    /// The id of a registered device, or "*" for each of them.
    #[schemars(extend("examples" = ["*", "node-red"]))]
    pub(super) device: String,
    /// Filters of topics that it may publish to, with {device} for its id.
    #[serde(default)]
    #[schemars(extend("examples" = [["tele/{device}/#", "stat/{device}/#"]]))]
    pub(super) publish: Vec<String>,
    /// Filters that it may subscribe to, or to narrower ones.
    #[serde(default)]
    #[schemars(extend("examples" = [["cmnd/{device}/#"]]))]
    pub(super) subscribe: Vec<String>,
}

/// Which topics carry messages of leaves.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RawSiteRule {
    /// A rule that is there already: tasmota, zigbee2mqtt, shelly (the first generation) or shelly-plus. Instead of the other keys.
    #[serde(rename = "use")]
    pub(super) ready_made: Option<super::ReadyMade>,
    /// Its name; leaves that it has found are kept under it.
    #[schemars(extend("examples" = ["meters"]))]
    pub(super) name: Option<String>,
    /// The topics, with {leaf} for a level that is the leaf's id, {point} for one that names a point, + for one that does not matter.
    #[schemars(extend("examples" = ["meters/{leaf}/values"]))]
    pub(super) topic: Option<String>,
    /// Where commands go: with {point}, each value by itself; without, one object of all of them. Left out: it takes none.
    #[schemars(extend("examples" = ["meters/{leaf}/set", "cmnd/{leaf}/{point}"]))]
    pub(super) command: Option<String>,
    /// How important the messages are; telemetry when left out.
    pub(super) class: Option<Class>,
    /// What stands in topics for _ in a point's name: one character. With /, {point} takes the rest of the topic.
    #[schemars(extend("examples" = ["/"]))]
    pub(super) separator: Option<String>,
    /// What is sent for true.
    #[schemars(extend("examples" = ["ON"]))]
    pub(super) on: Option<String>,
    /// What is sent for false.
    #[schemars(extend("examples" = ["OFF"]))]
    pub(super) off: Option<String>,
}

/// How devices may register themselves: with a token by the key that is derived from the group's, or, with endpoint.client_ca_file, with
/// a certificate whose common name is the registration id.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct RawProvisioning {
    /// The id scope that devices name.
    #[schemars(extend("examples" = ["0neHall3"]))]
    pub(super) id_scope: String,
    /// The file with the enrolment group's key, in base64.
    #[schemars(extend("examples" = ["/etc/tidegate/secrets/group"]))]
    pub(super) group_key_file: Option<String>,
    /// The host name that devices are told to connect to. Left out: the first name of the certificate.
    pub(super) hub: Option<String>,
}

impl Default for RawEndpoint {
    fn default() -> Self {
        Self {
            tls: None,
            plain: None,
            websocket: None,
            host_names: Vec::new(),
            certificate_names: Vec::new(),
            certificate_file: None,
            key_file: None,
            client_ca_file: None,
            max_sessions: tidegate_endpoint::limits::MAX_SESSIONS,
            c2d_ttl: Span::from_millis(3_600_000),
            max_delivery_count: 10,
            feedback_ttl: Span::from_millis(3_600_000),
            provisioning: None,
            site_bus: None,
        }
    }
}

/// The keys that every `[[adapter]]` has. [`super::section`] has looked at them before it reads this.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct RawAdapter {
    /// How it is called in logs and commands.
    #[schemars(extend("examples" = ["boiler-bus"]))]
    #[serde(rename = "name")]
    pub(super) _name: String,
    /// What it speaks.
    #[serde(rename = "kind")]
    pub(super) _kind: String,
    /// Switched off, it is checked and not run, and its devices' ids are free for others.
    #[serde(default = "yes", rename = "enabled")]
    pub(super) _enabled: bool,
}

/// The keys that every `[[upstream]]` has.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct RawUpstream {
    /// How it is called in logs and commands. It is also the name of its place in the log: under another name it begins anew.
    #[schemars(extend("examples" = ["cloud"]))]
    #[serde(rename = "name")]
    pub(super) _name: String,
    /// What it speaks.
    #[serde(rename = "kind")]
    pub(super) _kind: String,
    /// Switched off, it is checked and not run, and its messages wait in the log.
    #[serde(default = "yes", rename = "enabled")]
    pub(super) _enabled: bool,
    /// Most messages on their way and not yet settled: what can be sent twice after a power cut.
    #[serde(default = "window")]
    #[schemars(range(min = 16, max = 8192))]
    pub(super) window: usize,
    /// What goes first after an outage.
    #[serde(default)]
    pub(super) replay: RawReplay,
    /// With replay = "live-first": how much of what is sent may be old, in percent. 50 when left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 99))]
    pub(super) backfill_percent: Option<u8>,
    /// How long messages are worth sending here. Left out: as long as there is room for them.
    #[serde(default)]
    #[schemars(extend("examples" = ["7d"]))]
    pub(super) ttl: Option<Span>,
    /// When a command from it is acknowledged: "stored" as soon as it is on disk here, "leaf" when it has its outcome. Until then the
    /// sender keeps it too, and a leaf that is away holds up the commands behind.
    #[serde(default)]
    pub(super) ack: RawAck,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawAck {
    /// As soon as the command is on disk here.
    #[default]
    Stored,
    /// When the command has its outcome.
    Leaf,
}

fn yes() -> bool {
    true
}

fn window() -> usize {
    512
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawReplay {
    /// The oldest, so that everything arrives in order.
    #[default]
    InOrder,
    /// What is new; what has waited follows beside it.
    LiveFirst,
}

/// The schema of one of these, with nothing to refer to.
pub(super) fn schema_of<T: JsonSchema>() -> Json {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = SchemaGenerator::new(settings).into_root_schema_for::<T>().to_value();
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("$schema");
        schema.remove("title");
    }
    schema
}
