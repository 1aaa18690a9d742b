//! MQTT packets on a connection that has been accepted: what is put is gathered, written together and told when it has left.
//!
//! The client crate has the codec and the carriers; its own loop flushes after every packet, which costs a system call and a wake of
//! the broker for each message. Here a hundred messages that are ready together leave in one write.
//!
//! - [`Packets::put`] never waits: it is called only while [`Packets::has_room`], and then it cannot fail for want of room.
//! - [`Packets::poll`] may be dropped between two calls: whatever is half written or half read stays in the buffers of the connection.
//! - Nothing here knows what a packet means, except a ping and its answer. Errors are in words already.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::FutureExt;
use rumqttc::{EventLoop, MqttOptions, MqttState, Packet, PubAck, Publish, StateError, Subscribe};
use tokio::time::{Instant, Sleep, sleep_until};

use super::words;

/// Bytes that may be gathered before they must be written: the codec's own mark, beyond which it would make us wait. About sixty
/// messages of ten values.
const GATHERED: usize = 8 * 1024;
/// Bytes of a packet beside topic and payload, at most (MQTT 3.1.1 §2.2, §3.3).
const OVERHEAD: usize = 16;
/// The connection was never there.
const GONE: &str = "the connection is gone";
/// Nothing of what is gathered has left for a whole keep-alive.
const STUCK: &str = "the connection takes no more data";

/// See the module.
pub(super) struct Packets {
    /// Only its connection is used.
    event_loop: EventLoop,
    /// Upper bound of what is gathered and has not left.
    gathered: usize,
    last_id: u16,
    keep_alive: Duration,
    ping: Pin<Box<Sleep>>,
    /// A ping that has not been answered.
    pinged: bool,
}

/// What [`Packets::poll`] saw.
#[derive(Debug)]
pub(super) enum Came {
    /// All that was put has been written.
    Written,
    /// From the broker.
    Packet(Packet),
}

impl Packets {
    /// Over a connection that was accepted. Lets go of everything that only connecting needed, the password among it.
    pub(super) fn over(mut event_loop: EventLoop) -> Self {
        let keep_alive = event_loop.mqtt_options.keep_alive();
        event_loop.mqtt_options = MqttOptions::new("", "", 0);
        event_loop.state = MqttState::new(0, true);
        let ping = Box::pin(sleep_until(Instant::now() + keep_alive));
        Self { event_loop, gathered: 0, last_id: 0, keep_alive, ping, pinged: false }
    }

    /// Whether something can be put without waiting.
    pub(super) fn has_room(&self) -> bool {
        self.gathered < GATHERED
    }

    /// Whether all that was put has left.
    pub(super) fn is_written(&self) -> bool {
        self.gathered == 0
    }

    /// A packet id that no packet in flight has: windows are far smaller than the ids that there are.
    fn next_id(&mut self) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }

    /// A publish; with QoS 0 its id is 0.
    pub(super) fn publish(&mut self, mut publish: Publish) -> Result<u16, String> {
        publish.pkid = if publish.qos == rumqttc::QoS::AtMostOnce { 0 } else { self.next_id() };
        let id = publish.pkid;
        self.put(publish.topic.len() + publish.payload.len(), Packet::Publish(publish))?;
        Ok(id)
    }

    pub(super) fn subscribe(&mut self, mut subscribe: Subscribe) -> Result<(), String> {
        subscribe.pkid = self.next_id();
        let size = subscribe.filters.iter().map(|filter| filter.path.len() + 3).sum();
        self.put(size, Packet::Subscribe(subscribe))
    }

    pub(super) fn acknowledge(&mut self, id: u16) -> Result<(), String> {
        self.put(0, Packet::PubAck(PubAck::new(id)))
    }

    pub(super) fn disconnect(&mut self) -> Result<(), String> {
        self.put(0, Packet::Disconnect)
    }

    fn put(&mut self, size: usize, packet: Packet) -> Result<(), String> {
        self.gathered += size + OVERHEAD;
        let network = self.event_loop.network.as_mut().ok_or(GONE)?;
        // Ready at once as long as less is gathered than the codec's mark.
        network.write(packet).now_or_never().ok_or(STUCK)?.map_err(words::state)
    }

    /// Writes what is gathered, and reads if asked to.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, read: bool) -> Poll<Result<Came, String>> {
        let Some(network) = self.event_loop.network.as_mut() else { return Poll::Ready(Err(GONE.into())) };
        if self.gathered > 0
            && let Poll::Ready(written) = pin!(network.flush()).poll(cx)
        {
            self.gathered = 0;
            return Poll::Ready(written.map(|()| Came::Written).map_err(words::state));
        }
        if !read {
            return Poll::Pending;
        }
        let Poll::Ready(packet) = pin!(network.read()).poll(cx) else { return Poll::Pending };
        if matches!(packet, Ok(Packet::PingResp)) {
            self.pinged = false;
        }
        Poll::Ready(packet.map(Came::Packet).map_err(words::state))
    }

    /// Ready when it is time for [`Packets::ping`].
    pub(super) fn poll_ping(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.ping.as_mut().poll(cx)
    }

    /// Pings; an error when the last one was not answered, or the connection takes nothing. While we do not read, an answer
    /// cannot be seen and none is missed.
    pub(super) fn ping(&mut self, reading: bool) -> Result<(), String> {
        if !self.has_room() {
            return Err(STUCK.into());
        }
        if reading && self.pinged {
            return Err(words::state(StateError::AwaitPingResp));
        }
        self.pinged = true;
        self.ping.as_mut().reset(Instant::now() + self.keep_alive);
        self.put(0, Packet::PingReq)
    }
}
