//! Any MQTT 3.1.1 broker: topics and payloads by template, a birth message and a will, one topic for commands.
//!
//! With QoS 1 a message is delivered when the broker has acknowledged it. With QoS 0 it counts as delivered when it has been
//! written to the connection: what was under way when the connection broke is lost, and nobody can tell. That is the operator's
//! choice to make and it weakens the gateway's promise for this upstream.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use rumqttc::QoS;
use secrecy::SecretString;
use tidegate_core::{
    catalogue::{UpstreamKind, UpstreamPlan},
    message::{Class, Message, SystemProperties},
    problem::Problems,
    upstream::{ArrivalKind, Proof, Reply, Session, Upstream, UpstreamError},
    wire,
};

use self::config::Config;
use super::{
    letter::{Letter, Speech},
    link::{Carrier, Link},
    secret,
    session::{self, PATIENCE, REDELIVERY, Terms},
    tls,
};

mod config;
pub mod template;

/// The row.
pub const KIND: UpstreamKind = UpstreamKind {
    name: "mqtt",
    summary: "any MQTT 3.1.1 broker, with topics and payloads by template",
    example: include_str!("example.toml"),
    schema: config::schema,
    check,
};

/// Name look-up, TCP, TLS and CONNACK together; a broker that needs longer is as good as gone.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

fn check(section: &serde_json::Value, problems: &mut Problems) -> Option<UpstreamPlan> {
    let config = Arc::new(config::check(section, problems)?);
    Some(UpstreamPlan {
        in_flight: config.in_flight,
        build: Arc::new(move |_clock| Box::new(Mqtt { config: config.clone(), roots: tls::Roots::default() })),
        leaves: Vec::new(),
    })
}

struct Mqtt {
    config: Arc<Config>,
    roots: tls::Roots,
}

#[async_trait]
impl Upstream for Mqtt {
    async fn connect(&mut self) -> Result<Session, UpstreamError> {
        let target = self.address();
        let link = self.link(target.clone()).await.map_err(|why| UpstreamError::Unusable { target: target.clone(), why })?;
        session::begin(link, self.terms(target), Plain(self.config.clone())).await
    }

    fn target(&self) -> String {
        format!("{} as {}", self.address(), self.config.client_id)
    }

    fn proof(&self) -> Option<Proof> {
        self.roots.proof()
    }
}

impl Mqtt {
    fn address(&self) -> String {
        format!("{}:{}", self.config.host, self.config.port)
    }

    async fn link(&mut self, target: String) -> Result<Link, String> {
        let config = &self.config;
        let tls = if config.tls {
            let files = tls::Files { ca: config.ca_file.clone(), client: config.certificate.clone() };
            Some(tls::configuration(&files, &mut self.roots).await?)
        } else {
            None
        };
        let password = match &config.password_file {
            Some(path) => secret::read_text("password_file", path).await?,
            None => SecretString::default(),
        };
        Ok(Link {
            target,
            host: config.host.clone(),
            port: config.port,
            carrier: Carrier::Tcp(tls),
            client_id: config.client_id.clone(),
            login: config.username.clone().map(|name| (name, password)),
            keep_alive: config.keep_alive,
            answer_within: ANSWER_WITHIN,
            will: config.will.clone().map(|will| (will, config.qos)),
            max_packet: config.max_packet,
        })
    }

    fn terms(&self, target: String) -> Terms {
        let config = &self.config;
        Terms {
            target,
            in_flight: config.in_flight,
            qos: config.qos,
            max_packet: config.max_packet,
            subscriptions: config.command_topic.iter().map(|topic| (topic.clone(), QoS::AtLeastOnce)).collect(),
            birth: config.birth.clone(),
            farewell: config.will.clone(),
            renew_after: None,
            patience: PATIENCE,
            redelivery: REDELIVERY,
        }
    }
}

/// Speaks by the configuration's templates.
struct Plain(Arc<Config>);

impl Speech for Plain {
    fn letter(&self, message: &Message) -> Result<Letter, String> {
        let filled =
            |topic: &template::Template| String::from_utf8(topic.fill(message).into()).map_err(|_| "topic is not UTF-8".to_owned());
        match &self.0.reply_topic {
            Some(reply) if message.class == Class::Outcome => {
                Ok(Letter { topic: filled(reply)?, payload: wire::body(message), retain: false })
            }
            _ => Ok(Letter { topic: filled(&self.0.topic)?, payload: self.0.payload.fill(message), retain: self.0.retain }),
        }
    }

    /// Such a broker has neither calls nor twins.
    fn reply(&self, _reply: &Reply) -> Option<Letter> {
        None
    }

    /// A retained command would be carried out again at every connect, so it is not taken as one.
    fn arrival(&self, topic: &str, payload: &Bytes, retained: bool) -> Option<ArrivalKind> {
        if retained {
            tracing::warn!(topic, "a retained message on the command topic is ignored; publish commands without retain");
            return None;
        }
        Some(ArrivalKind::CloudToDevice {
            system: SystemProperties::default(),
            expires: None,
            properties: Vec::new(),
            body: payload.clone(),
        })
    }
}
