//! One connected device: what it sends goes to the log, its twin or a caller, and what is for it goes out.
//!
//! One task per session, and everything in it happens one thing after the other. PUBACKs go out in the order of the publishes, each
//! after the receipt of its message; when [`MAX_WAITING`] publishes wait for the disk nothing more is read, which is how the device
//! learns that we are slow. An idle session wakes up for its keep-alive and for nothing else.

pub(crate) mod c2d;
mod d2c;
mod end;
mod site;
mod subscribe;
mod twin;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::Packet;
use tidegate_core::{
    clock::{Stamp, Timestamp},
    dialect::{allowed_silence, identity::Identity, sas::CLOCK_SKEW},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
    time::{Instant, Sleep},
};

use self::{
    d2c::Batch,
    end::{Cause, End},
    subscribe::Subscriptions,
};
use crate::{
    event::{Event, EventKind},
    gate::Admitted,
    hub::Hub,
    limits::{MAX_BATCH, MAX_PACKET, MAX_WAITING, READ, WRITE_PATIENCE},
    live::{Dismissal, Handed, MethodAnswer, Order, Place},
    packet,
    queue::Queue,
    site::{SITE_WINDOW, Seat},
    stream::Stream,
};

/// Publishes that wait for their receipt, and then for their turn.
#[derive(Debug)]
struct Waiting {
    /// Packet ids to acknowledge.
    acks: Vec<u16>,
    /// `None`: nothing has to become durable.
    receipt: Option<oneshot::Receiver<()>>,
}

/// A session.
pub(crate) struct Session {
    hub: Hub,
    identity: Identity,
    who: Admitted,
    remote: SocketAddr,
    stream: Box<dyn Stream>,
    place: Place,
    input: BytesMut,
    /// How much room the next read gets.
    appetite: usize,
    output: BytesMut,
    waiting: VecDeque<Waiting>,
    /// Packet ids in `waiting`.
    unacknowledged: usize,
    subscriptions: Subscriptions,
    queue: Queue,
    /// C2D messages that the device has not acknowledged, by packet id.
    window: HashMap<u16, i64>,
    /// Those that somebody else keeps and waits for.
    handed: HashMap<u16, oneshot::Sender<Handed>>,
    /// Those that are told as soon as the bytes have left.
    leaving: Vec<oneshot::Sender<Handed>>,
    /// Its end of the site bus, once it listens there.
    site: Option<Box<Seat>>,
    /// What it has not acknowledged of that.
    site_window: HashSet<u16>,
    last_packet: u16,
    /// There may be C2D messages to give out.
    stirred: bool,
    calls: HashMap<String, oneshot::Sender<MethodAnswer>>,
    heard: Instant,
    silence: Duration,
}

impl Session {
    /// Of a device that was let in; its CONNACK is in `output`.
    pub(crate) fn new(
        hub: Hub,
        who: Admitted,
        remote: SocketAddr,
        stream: Box<dyn Stream>,
        place: Place,
        read: (BytesMut, BytesMut),
    ) -> Self {
        let (input, output) = read;
        let identity = who.identity.clone();
        let queue = Queue::new(hub.0.records.clone(), identity.clone(), hub.0.rules.max_deliveries);
        let silence = allowed_silence(Duration::from_secs(u64::from(who.keep_alive)));
        Self {
            hub,
            identity,
            who,
            remote,
            stream,
            place,
            input,
            appetite: READ.0,
            output,
            waiting: VecDeque::new(),
            unacknowledged: 0,
            subscriptions: Subscriptions::default(),
            queue,
            window: HashMap::new(),
            handed: HashMap::new(),
            leaving: Vec::new(),
            site: None,
            site_window: HashSet::new(),
            last_packet: 0,
            stirred: false,
            calls: HashMap::new(),
            heard: Instant::now(),
            silence,
        }
    }

    /// Until it ends. `c2d` is the subscription that the session had before.
    pub(crate) async fn run(mut self, c2d: Option<u8>) {
        self.hub.0.tally.accepted.fetch_add(1, Relaxed);
        let take_overs = self.place.take_overs;
        let detail = match take_overs {
            0 => format!("proved itself by {}", self.who.auth),
            1 | 2 => format!("proved itself by {}, took over from another connection", self.who.auth),
            n => format!("took over from another connection, {n} times within a minute: two clients use this identity, give one its own"),
        };
        self.tell(EventKind::DeviceConnected, detail);
        if c2d.is_some() {
            self.subscriptions.c2d = c2d;
            self.place.messages.store(true, Relaxed);
            self.stirred = true;
        }
        let Err(end) = self.serve().await;
        if end.is_for_cause() {
            self.hub.0.tally.closed_for_cause.fetch_add(1, Relaxed);
        }
        if end.leaves_a_will() {
            self.publish_will().await;
        }
        // The device may be gone already.
        drop(tokio::time::timeout(Duration::from_secs(1), self.stream.shutdown()).await);
        let event = end.event(self.about(EventKind::DeviceDisconnected, String::new()));
        self.hub.tell(event);
    }

    fn about(&self, kind: EventKind, detail: String) -> Event {
        Event { remote: Some(self.remote), ..Event::about(kind, &self.identity, detail) }
    }

    fn tell(&self, kind: EventKind, detail: String) {
        self.hub.tell(self.about(kind, detail));
    }

    fn now(&self) -> Stamp {
        self.hub.0.clock.now()
    }

    async fn serve(&mut self) -> Result<Infallible, End> {
        let mut alarm = Box::pin(tokio::time::sleep_until(self.next_alarm()));
        loop {
            self.take_packets().await?;
            self.deliver().await?;
            while self.deliver_site() {
                self.flush().await?;
            }
            self.flush().await?;
            self.rest();
            if self.next_alarm() < alarm.deadline() {
                alarm.as_mut().reset(self.next_alarm());
            }
            self.wait(&mut alarm).await?;
        }
    }

    /// Waits for whatever comes first, and takes it.
    async fn wait(&mut self, alarm: &mut Pin<Box<Sleep>>) -> Result<(), End> {
        self.input.reserve(self.appetite);
        let has_room = self.unacknowledged < MAX_WAITING;
        let site_has_room = self.site.is_some() && self.site_window.len() < SITE_WINDOW;
        let behind = self.site.as_ref().map(|seat| seat.behind.clone());
        let Self { stream, input, waiting, place, site, .. } = self;
        tokio::select! {
            read = stream.read_buf(input), if has_room => match read {
                Ok(0) => return Err(End::Gone("closed by the device".to_owned())),
                Ok(n) => {
                    self.heard = Instant::now();
                    self.appetite = if n >= self.appetite { (self.appetite * 2).min(READ.1) } else { self.appetite };
                }
                Err(error) => return Err(End::Gone(error.to_string())),
            },
            signed = first(waiting), if !waiting.is_empty() => {
                signed.map_err(|_| End::NotKept("the log has no room for them".to_owned()))?;
                self.acknowledge()?;
            }
            Some(order) = place.orders.recv() => self.obey(order),
            Some(delivery) = site::hear(site), if site_has_room => {
                // It waits only with nothing ahead.
                if let Some(seat) = &mut self.site {
                    seat.ahead.push_back(delivery);
                }
            }
            () = site::falls_behind(behind) => return Err(End::Dismissed(Dismissal::Behind)),
            () = place.bell.notified() => self.stirred = true,
            changed = place.dismissal.changed() => {
                let why = if changed.is_ok() { *self.place.dismissal.borrow() } else { None };
                return Err(why.map_or_else(|| End::Gone("its place is gone".to_owned()), End::Dismissed));
            }
            () = alarm.as_mut() => {
                self.on_alarm()?;
                alarm.as_mut().reset(self.next_alarm());
            }
        }
        Ok(())
    }

    /// A quiet session holds no large buffers.
    fn rest(&mut self) {
        if self.input.is_empty() && self.waiting.is_empty() && self.appetite > READ.0 && self.input.capacity() < self.appetite {
            self.appetite = READ.0;
            self.input = BytesMut::new();
        }
        if self.output.is_empty() && self.output.capacity() > READ.0 {
            self.output = BytesMut::new();
        }
    }

    /// When something is due that nobody sends.
    fn next_alarm(&self) -> Instant {
        let now = self.now();
        let in_ms = |ms: u64| Instant::now() + Duration::from_millis(ms);
        let mut next = self.heard + self.silence;
        if let Some(until) = self.who.until {
            let left = until.plus(CLOCK_SKEW).since(now.wall);
            // A timer cannot be set for ever; a token may be.
            next = next.min(Instant::now() + left.min(Duration::from_secs(86_400)));
        }
        if let Some(release) = self.queue.next_release() {
            next = next.min(in_ms(release.saturating_sub(now.since_boot_ms)));
        }
        next
    }

    fn on_alarm(&mut self) -> Result<(), End> {
        let now = self.now();
        if self.heard.elapsed() >= self.silence {
            return Err(End::Silent);
        }
        if self.who.until.is_some_and(|until: Timestamp| now.wall >= until.plus(CLOCK_SKEW)) {
            return Err(End::TokenExpired);
        }
        for id in self.queue.release(now) {
            self.window.retain(|_, held| *held != id);
            self.stirred = true;
        }
        Ok(())
    }

    /// Everything that has come, as far as there is room for what must wait.
    async fn take_packets(&mut self) -> Result<(), End> {
        let (mut batch, mut settled) = (Batch::default(), Vec::new());
        let taken = self.sort(&mut batch, &mut settled).await;
        // What came before something that ends the session still counts.
        self.append(&mut batch).await?;
        self.settle(settled).await?;
        taken
    }

    async fn sort(&mut self, batch: &mut Batch, settled: &mut Vec<i64>) -> Result<(), End> {
        while self.unacknowledged + batch.acks.len() < MAX_WAITING {
            let Some(packet) = packet::next(&mut self.input, MAX_PACKET)? else { return Ok(()) };
            match packet {
                Packet::Publish(publish) => {
                    if let Some(publish) = self.message(publish, batch)? {
                        // What is no message may be answered at once, but not before what came earlier.
                        self.append(batch).await?;
                        self.answer(publish).await?;
                    }
                    if batch.messages.len() >= MAX_BATCH {
                        self.append(batch).await?;
                    }
                }
                Packet::PubAck(ack) => match self.handed.remove(&ack.pkid) {
                    // Whoever handed it over may have gone.
                    Some(answer) => {
                        answer.send(Handed::Acknowledged).ok();
                    }
                    None if self.site_window.remove(&ack.pkid) => {}
                    None => settled.extend(self.window.remove(&ack.pkid)),
                },
                Packet::Subscribe(subscribe) => self.subscribe(subscribe).await?,
                Packet::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe).await?,
                Packet::PingReq => packet::pingresp(&mut self.output),
                Packet::Disconnect => return Err(End::Disconnect),
                Packet::Connect(_) => return Err(End::Cause(Cause::SecondConnect)),
                other => return Err(End::Cause(Cause::Packet(name(&other)))),
            }
        }
        Ok(())
    }

    /// Writes what there is; a device that does not take it loses its session.
    async fn flush(&mut self) -> Result<(), End> {
        if self.output.is_empty() {
            return Ok(());
        }
        let write = async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        };
        match tokio::time::timeout(WRITE_PATIENCE, write).await {
            Err(_) => Err(End::Slow),
            Ok(Err(error)) => Err(End::Gone(error.to_string())),
            Ok(Ok(())) => {
                self.output.clear();
                for answer in self.leaving.drain(..) {
                    answer.send(Handed::Sent).ok();
                }
                Ok(())
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Method { request, name, body, answer } => self.call(request, &name, body, answer),
            Order::Desired { version, patch } => self.push_desired(version, patch),
            Order::Message { topic, body, answer } => self.hand_over(topic, body, answer),
        }
    }

    /// Acknowledges what is durable, in order.
    fn acknowledge(&mut self) -> Result<(), End> {
        // The first one's receipt has been seen already.
        let mut seen = true;
        while let Some(first) = self.waiting.front_mut() {
            let signed = match &mut first.receipt {
                Some(receipt) if !seen => match receipt.try_recv() {
                    Ok(()) => true,
                    Err(oneshot::error::TryRecvError::Empty) => false,
                    Err(oneshot::error::TryRecvError::Closed) => return Err(End::NotKept("the log has no room for them".to_owned())),
                },
                _ => true,
            };
            if !signed {
                break;
            }
            for ack in std::mem::take(&mut first.acks) {
                packet::puback(&mut self.output, ack);
                self.unacknowledged -= 1;
            }
            self.waiting.pop_front();
            seen = false;
        }
        Ok(())
    }
}

/// The oldest receipt.
async fn first(waiting: &mut VecDeque<Waiting>) -> Result<(), oneshot::error::RecvError> {
    match waiting.front_mut().and_then(|first| first.receipt.as_mut()) {
        Some(receipt) => receipt.await,
        None => Ok(()),
    }
}

fn name(packet: &Packet) -> &'static str {
    match packet {
        Packet::ConnAck(_) => "CONNACK",
        Packet::PubRec(_) => "PUBREC",
        Packet::PubRel(_) => "PUBREL",
        Packet::PubComp(_) => "PUBCOMP",
        Packet::SubAck(_) => "SUBACK",
        Packet::UnsubAck(_) => "UNSUBACK",
        Packet::PingResp => "PINGRESP",
        _ => "a packet",
    }
}
