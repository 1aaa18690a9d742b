//! MQTT 3.1.1 packets: taken out of a buffer of bytes from a stranger, and written into one.
//!
//! The codec is rumqttc's; what it leaves open is closed here: protocol level 5 is told apart before its CONNECT is misread, and flags
//! that must be zero are.

use bytes::{BufMut, BytesMut};
use rumqttc::mqttbytes::{
    Error, QoS,
    v4::{ConnAck, ConnectReturnCode, Packet, PingResp, PubAck, Publish, SubAck, SubscribeReasonCode, UnsubAck},
};

/// Why bytes are no packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// It says that it is larger than it may be.
    #[error("packet of {0} bytes is too large")]
    TooLarge(usize),
    /// A CONNECT of MQTT 5.
    #[error("MQTT 5 is not offered")]
    Version5,
    /// A CONNECT of another version.
    #[error("protocol version is not MQTT 3.1.1")]
    Version,
    /// Anything else.
    #[error("malformed packet: {0}")]
    Other(String),
}

/// The next packet, if it is there whole. How much of a large one must be waited for is bounded by `most`.
pub(crate) fn next(buffer: &mut BytesMut, most: usize) -> Result<Option<Packet>, Malformed> {
    let Some(&first) = buffer.first() else { return Ok(None) };
    if !flags_fit(first) {
        return Err(Malformed::Other("reserved flags are set".to_owned()));
    }
    if let Some(level) = level_of_connect(buffer)
        && level != 4
    {
        return Err(if level == 5 { Malformed::Version5 } else { Malformed::Version });
    }
    match Packet::read(buffer, most) {
        Ok(packet) => Ok(Some(packet)),
        Err(Error::InsufficientBytes(_)) => Ok(None),
        Err(Error::PayloadSizeLimitExceeded(size)) => Err(Malformed::TooLarge(size)),
        Err(Error::InvalidProtocol | Error::InvalidProtocolLevel(_)) => Err(Malformed::Version),
        Err(error) => Err(Malformed::Other(error.to_string())),
    }
}

/// The lower half of the first byte is fixed for every type but PUBLISH (MQTT 3.1.1 §2.2.2).
fn flags_fit(first: u8) -> bool {
    match first >> 4 {
        3 => true,
        6 | 8 | 10 => first & 0x0f == 2,
        _ => first & 0x0f == 0,
    }
}

/// The protocol level of a CONNECT, as soon as it is there.
fn level_of_connect(buffer: &[u8]) -> Option<u8> {
    if buffer.first() != Some(&0x10) {
        return None;
    }
    let length = buffer[1..].iter().take(4).position(|byte| byte & 0x80 == 0)? + 1;
    let rest = buffer.get(1 + length..)?;
    rest.strip_prefix(b"\0\x04MQTT")?.first().copied()
}

/// Answers a CONNECT; level 5 gets what it can read.
pub(crate) fn refuse_version_5(out: &mut BytesMut) {
    // CONNACK, three bytes: no session, 0x84 "unsupported protocol version", no properties.
    out.put_slice(&[0x20, 0x03, 0x00, 0x84, 0x00]);
}

pub(crate) fn connack(out: &mut BytesMut, code: ConnectReturnCode, session_present: bool) {
    put(ConnAck::new(code, session_present).write(out));
}

pub(crate) fn puback(out: &mut BytesMut, packet: u16) {
    put(PubAck::new(packet).write(out));
}

/// One answer for each filter; `None` refuses it.
pub(crate) fn suback(out: &mut BytesMut, packet: u16, granted: Vec<Option<QoS>>) {
    let codes = granted.into_iter().map(|qos| qos.map_or(SubscribeReasonCode::Failure, SubscribeReasonCode::Success));
    put(SubAck::new(packet, codes.collect()).write(out));
}

pub(crate) fn unsuback(out: &mut BytesMut, packet: u16) {
    put(UnsubAck::new(packet).write(out));
}

pub(crate) fn pingresp(out: &mut BytesMut) {
    put(PingResp.write(out));
}

/// `packet` is the packet id of QoS 1, and 0 for QoS 0.
pub(crate) fn publish(out: &mut BytesMut, topic: String, payload: bytes::Bytes, packet: u16) {
    publish_retained(out, topic, payload, packet, false);
}

/// As [`publish`], and whether it was kept for whoever came later.
pub(crate) fn publish_retained(out: &mut BytesMut, topic: String, payload: bytes::Bytes, packet: u16, retained: bool) {
    let qos = if packet == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
    let mut publish = Publish::from_bytes(topic, qos, payload);
    (publish.pkid, publish.retain) = (packet, retained);
    put(publish.write(out));
}

/// Writing fails only for packets beyond 256 MiB, which nothing of ours can reach.
fn put(written: Result<usize, Error>) {
    if let Err(error) = written {
        tracing::error!(%error, "a packet of ours cannot be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Packet>, Malformed> {
        next(&mut BytesMut::from(bytes), 1000)
    }

    #[test]
    fn a_packet_comes_out_only_when_it_is_whole() {
        let ping = [0xc0, 0x00];
        assert_eq!(read(&ping[..1]), Ok(None));
        assert_eq!(read(&ping), Ok(Some(Packet::PingReq)));
        let mut two = BytesMut::from(&[0xc0, 0x00, 0xe0, 0x00][..]);
        assert_eq!(next(&mut two, 10), Ok(Some(Packet::PingReq)));
        assert_eq!(next(&mut two, 10), Ok(Some(Packet::Disconnect)));
        assert_eq!(next(&mut two, 10), Ok(None));
    }

    #[test]
    fn versions_are_told_apart_before_the_rest_is_read() {
        let connect = |level| [&b"\x10\x10\0\x04MQTT"[..], &[level, 2, 0, 60, 0, 4][..], b"leaf"].concat();
        assert!(matches!(read(&connect(4)), Ok(Some(Packet::Connect(_)))));
        assert_eq!(read(&connect(5)), Err(Malformed::Version5));
        assert_eq!(read(&connect(3)), Err(Malformed::Version));
        assert_eq!(read(b"\x10\x0c\0\x06MQIsdp\x03\x02\0\x3c"), Err(Malformed::Version));
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_comes() {
        assert_eq!(read(&[0x30, 0xff, 0xff, 0xff, 0x7f]), Err(Malformed::TooLarge(268_435_455)));
        assert!(matches!(read(&[0x30, 0xff, 0xff, 0xff, 0xff, 0x01]), Err(Malformed::Other(_))));
        assert!(matches!(read(&[0x80, 0x02, 0, 1]), Err(Malformed::Other(_))), "SUBSCRIBE without its flag");
    }
}
