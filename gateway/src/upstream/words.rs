//! The MQTT client's errors in the words of the project: what happened, for people, and what kind of end it is.
//! Never holds anything of a login.

use rumqttc::{ConnectReturnCode, ConnectionError, StateError, mqttbytes};
use tidegate_core::upstream::{Refusal, UpstreamError};

/// Why there is no session.
pub(super) fn not_connected(target: &str, error: &ConnectionError) -> UpstreamError {
    let target = target.to_owned();
    match error {
        ConnectionError::ConnectionRefused(code) => match refusal(*code) {
            Some(refusal) => UpstreamError::Refused { target, refusal },
            None => UpstreamError::Unreachable { target, why: "it accepted and refused at once".to_owned() },
        },
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            UpstreamError::Unreachable { target, why: "it closed the connection without an answer to CONNECT".to_owned() }
        }
        ConnectionError::NotConnAck(_) => UpstreamError::Unreachable { target, why: "its answer to CONNECT is not CONNACK".to_owned() },
        other => UpstreamError::Unreachable { target, why: what_happened(other) },
    }
}

fn refusal(code: ConnectReturnCode) -> Option<Refusal> {
    match code {
        ConnectReturnCode::Success => None,
        ConnectReturnCode::RefusedProtocolVersion => Some(Refusal::ProtocolVersion),
        ConnectReturnCode::BadClientId => Some(Refusal::Identifier),
        ConnectReturnCode::ServiceUnavailable => Some(Refusal::Unavailable),
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => Some(Refusal::Credentials),
    }
}

fn what_happened(error: &ConnectionError) -> String {
    match error {
        ConnectionError::NetworkTimeout => "no answer in time".to_owned(),
        ConnectionError::Io(error) => error.to_string(),
        ConnectionError::MqttState(error) => state_words(error),
        ConnectionError::Tls(error) => tls_words(&error.to_string()),
        other => other.to_string(),
    }
}

/// What happened to a connection that had been accepted.
pub(super) fn state(error: StateError) -> String {
    state_words(&error)
}

fn state_words(error: &StateError) -> String {
    match error {
        StateError::ConnectionAborted => "the other side closed the connection".to_owned(),
        StateError::AwaitPingResp => "no answer to a ping".to_owned(),
        StateError::Unsolicited(id) => format!("it acknowledged packet {id}, which is not in flight"),
        StateError::WrongPacket => "it sent a packet that only clients send".to_owned(),
        StateError::Io(error) => error.to_string(),
        StateError::Deserialization(mqttbytes::Error::Io(error)) => error.to_string(),
        StateError::Deserialization(mqttbytes::Error::PayloadSizeLimitExceeded(size)) => {
            format!("it sent a packet of {size} bytes, more than we take")
        }
        StateError::Deserialization(mqttbytes::Error::InvalidConnectReturnCode(code)) => format!("it answered CONNECT with code {code}"),
        StateError::Deserialization(error) => format!("it sent something that is not MQTT 3.1.1: {error}"),
        other => other.to_string(),
    }
}

/// What people meet most often gets its next step.
fn tls_words(error: &str) -> String {
    if error.contains("UnknownIssuer") {
        return "its certificate is from an authority that we do not know; set ca_file to that authority's certificate".to_owned();
    }
    if error.contains("NotValidForName") {
        return "its certificate is for another host name; connect by a name that is in the certificate".to_owned();
    }
    if error.contains("Expired") || error.contains("NotValidYet") {
        return format!("its certificate is not valid at this time, or the clock here is wrong: {error}");
    }
    error.to_owned()
}
