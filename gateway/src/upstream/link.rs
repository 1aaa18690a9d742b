//! How to reach a hub: one attempt to connect, from name look-up to CONNACK.
//!
//! CleanSession is always 0, for what the *broker* keeps for us: subscriptions and commands. What we keep for the broker is in
//! the log, so every connection gets a client of its own and nothing of a lost one is used again.

use std::time::Duration;

use rumqttc::{Event, EventLoop, LastWill, MqttOptions, NetworkOptions, Packet, QoS, TlsConfiguration, Transport};
use secrecy::{ExposeSecret, SecretString};
use tidegate_core::upstream::UpstreamError;

use super::{letter::Letter, packets::Packets, words};

/// The largest window. Packet ids go round far outside it, so that an id is never used again while it is in flight.
pub(super) const MOST_IN_FLIGHT: usize = 1024;

/// Everything that one connection needs to come about.
#[derive(Debug)]
pub(super) struct Link {
    /// For people: host and port.
    pub(super) target: String,
    /// The name to connect to, which with TLS must be in the certificate.
    pub(super) host: String,
    /// The port.
    pub(super) port: u16,
    /// What carries MQTT.
    pub(super) carrier: Carrier,
    /// The client id.
    pub(super) client_id: String,
    /// User name and password; the password may be empty.
    pub(super) login: Option<(String, SecretString)>,
    /// After this long without traffic we ping.
    pub(super) keep_alive: Duration,
    /// How long name look-up, TCP, TLS and CONNACK may take together.
    pub(super) answer_within: Duration,
    /// What the broker publishes for us when the connection is lost.
    pub(super) will: Option<(Letter, QoS)>,
    /// The largest packet in both directions.
    pub(super) max_packet: usize,
}

/// What carries MQTT.
#[derive(Debug)]
pub(super) enum Carrier {
    /// TCP, with TLS or in the clear.
    Tcp(Option<TlsConfiguration>),
    /// WebSocket on this path, with TLS or in the clear.
    WebSocket(Option<TlsConfiguration>, &'static str),
}

/// A connection that has been accepted.
pub(super) struct Connected {
    pub(super) packets: Packets,
    /// Whether the broker knew us.
    pub(super) resumed: bool,
}

impl Link {
    /// Connects.
    pub(super) async fn open(self) -> Result<Connected, UpstreamError> {
        let (target, answer_within) = (self.target.clone(), self.answer_within);
        let mut event_loop = EventLoop::new(self.options(), 1);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(answer_within.as_secs().max(1));
        event_loop.set_network_options(network);
        match tokio::time::timeout(answer_within, event_loop.poll()).await {
            Ok(Ok(Event::Incoming(Packet::ConnAck(ack)))) => {
                Ok(Connected { resumed: ack.session_present, packets: Packets::over(event_loop) })
            }
            Ok(Ok(_)) => Err(UpstreamError::Unreachable { target, why: "its answer to CONNECT is not CONNACK".to_owned() }),
            Ok(Err(error)) => Err(words::not_connected(&target, &error)),
            Err(_) => Err(UpstreamError::Unreachable { target, why: format!("no answer within {} s", answer_within.as_secs_f32()) }),
        }
    }

    fn options(self) -> MqttOptions {
        let (address, transport) = match self.carrier {
            Carrier::Tcp(None) => (self.host, Transport::Tcp),
            Carrier::Tcp(Some(tls)) => (self.host, Transport::tls_with_config(tls)),
            // The client takes the whole address of a WebSocket as a URL and ignores the port beside it.
            Carrier::WebSocket(None, path) => (format!("ws://{}:{}{path}", self.host, self.port), Transport::Ws),
            Carrier::WebSocket(Some(tls), path) => (format!("wss://{}:{}{path}", self.host, self.port), Transport::wss_with_config(tls)),
        };
        let mut options = MqttOptions::new(self.client_id, address, self.port);
        options
            .set_transport(transport)
            .set_clean_session(false)
            .set_manual_acks(true)
            .set_keep_alive(self.keep_alive.max(Duration::from_secs(1)))
            .set_inflight(1)
            .set_max_packet_size(self.max_packet, self.max_packet);
        if let Some((name, password)) = self.login {
            options.set_credentials(name, password.expose_secret());
        }
        if let Some((will, qos)) = self.will {
            options.set_last_will(LastWill::new(will.topic, will.payload, qos, will.retain));
        }
        options
    }
}
