//! One session with a broker, from CONNACK to its end: the pump between the uplink's channels and the connection.
//!
//! One task owns it all.
//!
//! - **Fates.** The broker must acknowledge in the order in which we published (MQTT 3.1.1 §4.6). Anything else ends the session:
//!   what has no fate yet is sent again.
//! - **Window.** It is filled up at every acknowledgement, and what is ready together leaves in one write ([`super::packets`]). A parcel is taken only if there is room for its fate as well, so telling
//!   a fate never waits and a slow reader slows the intake, not the connection.
//! - **Arrivals.** Handed on in order; when nobody takes them, the socket is not read. Acknowledged as [`super::receipts`] says.
//! - **Limits.** An acknowledgement that does not come within `patience`, a subscription that is not answered, a goodbye that
//!   takes too long: each ends the session. Nothing waits for ever.
//!
//! No pauses and no second attempts here: the uplink makes them.

use std::{
    future::{pending, poll_fn},
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use rumqttc::{Packet, PubAck, Publish, QoS, SubAck, Subscribe, SubscribeReasonCode};
use tidegate_core::upstream::{Arrival, ArrivalKind, Fate, Parcel, Reply, Session, UpstreamError};
use tokio::{
    sync::{
        mpsc::{self, error::TryRecvError, error::TrySendError},
        oneshot,
    },
    time::{Instant, Sleep},
};

use super::{
    letter::{Letter, Speech},
    link::Link,
    packets::{Came, Packets},
    receipts::Receipts,
    window::{Ticket, Window},
};

/// How long a broker may take to acknowledge: on a slow radio one large message takes most of a minute.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// After a receipt was dropped, a new session makes the hub send again: the time after which IoT Hub itself does (reference §3.2).
pub(super) const REDELIVERY: Duration = Duration::from_secs(60);
/// What is in flight when we are asked to end may still be acknowledged within this.
const DRAIN: Duration = Duration::from_secs(2);
/// For the last words and DISCONNECT to be written, and for the broker to close. It closes and not we, because closing with
/// something unread makes the system discard what the broker has not read yet, DISCONNECT itself perhaps.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Arrivals that wait to be taken: as many as a hub keeps in flight.
const ARRIVALS: usize = 32;
/// Answers and questions that may wait for their acknowledgement beside the window: they are few, and must not wait behind a backlog.
const REPLIES: usize = 16;
/// Ends no session that somebody will see the end of.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What a session keeps to.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// Host and port, for errors.
    pub(super) target: String,
    /// Most publishes that wait for their acknowledgement.
    pub(super) in_flight: usize,
    /// With which the parcels are published. With QoS 0 "delivered" means "written to the socket".
    pub(super) qos: QoS,
    /// The largest packet.
    pub(super) max_packet: usize,
    /// Filters to subscribe to, at every connect.
    pub(super) subscriptions: Vec<(String, QoS)>,
    /// Published first.
    pub(super) birth: Option<Letter>,
    /// Published before DISCONNECT, where a will would not be.
    pub(super) farewell: Option<Letter>,
    /// When to end the session and come back with a fresh token.
    pub(super) renew_after: Option<Duration>,
    /// How long to wait for an acknowledgement.
    pub(super) patience: Duration,
    /// How long after a dropped receipt to connect anew.
    pub(super) redelivery: Duration,
}

/// Connects and starts the pump.
pub(super) async fn begin(link: Link, terms: Terms, speech: impl Speech) -> Result<Session, UpstreamError> {
    let connected = link.open().await?;
    let (publish, parcels) = mpsc::channel(terms.in_flight);
    // Twice the window: one that is in flight and one that the uplink has not looked at.
    let (fates, fates_out) = mpsc::channel(2 * terms.in_flight);
    let (arrivals, arrivals_out) = mpsc::channel(ARRIVALS);
    let (replies_in, replies) = mpsc::channel(REPLIES);
    let (ended, ended_out) = oneshot::channel();
    let pump = Pump {
        packets: connected.packets,
        parcels: Some(parcels),
        fates,
        arrivals,
        replies,
        held: None,
        window: Window::new(terms.in_flight),
        unanswered: 0,
        begun: Instant::now(),
        receipts: Receipts::default(),
        phase: Phase::Open,
        deadline: Box::pin(tokio::time::sleep(terms.renew_after.unwrap_or(NEVER))),
        terms,
        speech,
    };
    tokio::spawn(async move {
        let (why, fates) = pump.run().await;
        // Nobody may want to know any more.
        ended.send(why).ok();
        drop(fates);
    });
    Ok(Session { publish, fates: fates_out, arrivals: arrivals_out, replies: replies_in, ended: ended_out, resumed: connected.resumed })
}

/// Where a session stands. It only goes forward.
#[derive(Debug)]
enum Phase {
    /// Takes parcels.
    Open,
    /// Takes none; waits for what is in flight. With the reason that will be told.
    Draining(UpstreamError),
    /// Writes the last words and DISCONNECT, and waits for the broker to close.
    Leaving(UpstreamError),
}

struct Pump<S> {
    terms: Terms,
    speech: S,
    packets: Packets,
    parcels: Option<mpsc::Receiver<Parcel>>,
    fates: mpsc::Sender<(u64, Fate)>,
    arrivals: mpsc::Sender<Arrival>,
    replies: mpsc::Receiver<Reply>,
    /// Found no room; while it waits, nothing is read.
    held: Option<Arrival>,
    window: Window,
    /// Subscriptions without an answer.
    unanswered: usize,
    begun: Instant,
    receipts: Receipts,
    phase: Phase,
    /// Of the phase.
    deadline: Pin<Box<Sleep>>,
}

/// What happened while the pump waited.
enum Turn {
    Came(Result<Came, String>),
    Ping,
    Parcel(Option<Parcel>),
    Reply(Reply),
    Taken,
    Signed,
    Room,
    Tick,
    Deadline,
}

/// Goes on, or ends the session for this reason.
type Step = ControlFlow<UpstreamError>;

impl<S: Speech> Pump<S> {
    /// Until the end; returns the reason, and the fates' sender, so that the reason is known before the fates end.
    async fn run(mut self) -> (UpstreamError, mpsc::Sender<(u64, Fate)>) {
        let every = self.terms.patience.min(self.terms.redelivery) / 4;
        let mut tick = tokio::time::interval_at(self.begun + every, every);
        let mut step = self.greet();
        loop {
            if step.is_continue() {
                step = self.keep_going();
            }
            if let ControlFlow::Break(why) = step {
                return (why, self.fates);
            }
            let (room, reading, may_reply) = (self.has_room(), self.held.is_none(), self.may_reply());
            // A ping's timer and the connection are one part, so they share one branch.
            let came = |cx: &mut Context<'_>| match self.packets.poll_ping(cx) {
                Poll::Ready(()) => Poll::Ready(Turn::Ping),
                Poll::Pending => self.packets.poll(cx, reading).map(Turn::Came),
            };
            let turn = tokio::select! {
                biased;
                () = self.deadline.as_mut() => Turn::Deadline,
                _ = tick.tick() => Turn::Tick,
                turn = poll_fn(came) => turn,
                Some(reply) = self.replies.recv(), if may_reply => Turn::Reply(reply),
                parcel = next(&mut self.parcels), if room => Turn::Parcel(parcel),
                () = poll_fn(|cx| self.receipts.poll_turn(cx)) => Turn::Signed,
                permit = self.arrivals.reserve(), if !reading => {
                    if let (Ok(permit), Some(arrival)) = (permit, self.held.take()) {
                        permit.send(arrival);
                    }
                    Turn::Taken
                }
                _ = self.fates.reserve(), if self.window.len() == 0 && self.fates.capacity() == 0 => Turn::Room,
            };
            step = self.take(turn);
        }
    }

    fn take(&mut self, turn: Turn) -> Step {
        match turn {
            Turn::Came(Ok(Came::Written)) => self.on_written(),
            Turn::Came(Ok(Came::Packet(packet))) => self.on_packet(packet),
            Turn::Came(Err(error)) => match &mut self.phase {
                Phase::Leaving(why) => ControlFlow::Break(std::mem::replace(why, UpstreamError::Closed { target: String::new() })),
                _ => self.lost(error),
            },
            Turn::Ping => match self.packets.ping(self.held.is_none()) {
                Ok(()) => ControlFlow::Continue(()),
                Err(why) => self.lost(why),
            },
            Turn::Parcel(Some(parcel)) => self.post(parcel),
            Turn::Parcel(None) => self.drain(self.closed()),
            Turn::Reply(reply) => self.reply(&reply),
            Turn::Taken => {
                self.window.wait_anew();
                ControlFlow::Continue(())
            }
            Turn::Signed | Turn::Room => ControlFlow::Continue(()),
            Turn::Tick => self.look_at_the_clock(),
            Turn::Deadline => self.deadline_passed(),
        }
    }

    /// Subscriptions and first words.
    fn greet(&mut self) -> Step {
        for (filter, qos) in self.terms.subscriptions.clone() {
            if let Err(why) = self.packets.subscribe(Subscribe::new(filter, qos)) {
                return self.lost(why);
            }
            self.unanswered += 1;
        }
        match self.terms.birth.take() {
            Some(birth) => self.send(None, birth),
            None => ControlFlow::Continue(()),
        }
    }

    /// What is possible at once: fill the window, acknowledge, leave when everything has been answered.
    fn keep_going(&mut self) -> Step {
        while self.has_room() {
            match self.parcels.as_mut().map(mpsc::Receiver::try_recv) {
                Some(Ok(parcel)) => self.post(parcel)?,
                Some(Err(TryRecvError::Disconnected)) => self.drain(self.closed())?,
                Some(Err(TryRecvError::Empty)) | None => break,
            }
        }
        self.acknowledge()?;
        if matches!(self.phase, Phase::Draining(_)) && self.window.len() == 0 && self.packets.is_written() {
            return self.leave();
        }
        ControlFlow::Continue(())
    }

    fn on_packet(&mut self, packet: Packet) -> Step {
        match packet {
            Packet::PubAck(ack) => self.on_acknowledged(ack),
            Packet::Publish(publish) => self.on_arrival(publish),
            Packet::SubAck(ack) => self.on_subscribed(&ack),
            Packet::PingResp => ControlFlow::Continue(()),
            Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_) => {
                self.lost("it answers with QoS 2, which was never asked for".to_owned())
            }
            _ => self.lost("it sent a packet that only clients send".to_owned()),
        }
    }

    /// With QoS 0 this is all that will ever be known.
    fn on_written(&mut self) -> Step {
        while let Some(ticket) = self.window.written() {
            self.tell(ticket, Fate::Delivered)?;
        }
        ControlFlow::Continue(())
    }

    fn on_acknowledged(&mut self, ack: PubAck) -> Step {
        match self.window.acknowledged(ack.pkid) {
            Ok(ticket) => self.tell(ticket, Fate::Delivered),
            Err(why) => self.lost(why),
        }
    }

    fn on_subscribed(&mut self, ack: &SubAck) -> Step {
        self.unanswered = self.unanswered.saturating_sub(1);
        if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
            tracing::warn!(hub = %self.terms.target, "subscription refused: commands will not arrive; check the broker's access rules");
        }
        ControlFlow::Continue(())
    }

    fn on_arrival(&mut self, publish: Publish) -> Step {
        if publish.qos == QoS::ExactlyOnce {
            return self.lost("it sends with QoS 2, which was never asked for".to_owned());
        }
        let wants_ack = publish.qos == QoS::AtLeastOnce;
        let kind = self.speech.arrival(&publish.topic, &publish.payload, publish.retain);
        let receipt = match &kind {
            Some(ArrivalKind::CloudToDevice { .. }) if wants_ack => Some(self.receipts.expect(publish.pkid)),
            _ => {
                if wants_ack {
                    self.receipts.pass(publish.pkid);
                }
                None
            }
        };
        if self.receipts.is_flooded() {
            return self.lost("it sends on and on without waiting for acknowledgements".to_owned());
        }
        let Some(kind) = kind else {
            tracing::debug!(hub = %self.terms.target, topic = %publish.topic, "not for us");
            return ControlFlow::Continue(());
        };
        // If nobody wants arrivals any more, the session is about to end, and the hub will send it again.
        if let Err(TrySendError::Full(arrival)) = self.arrivals.try_send(Arrival { kind, receipt, again: publish.dup }) {
            self.held = Some(arrival);
        }
        ControlFlow::Continue(())
    }

    fn acknowledge(&mut self) -> Step {
        while self.packets.has_room() {
            let Some(packet) = self.receipts.next_signed() else { break };
            if let Err(why) = self.packets.acknowledge(packet) {
                return self.lost(why);
            }
        }
        ControlFlow::Continue(())
    }

    fn post(&mut self, parcel: Parcel) -> Step {
        match self.speech.letter(&parcel.message).and_then(|letter| letter.fitting(self.terms.max_packet)) {
            Ok(letter) => self.send(Some(parcel.ticket), letter),
            Err(why) => self.tell(Some(parcel.ticket), Fate::Rejected(why)),
        }
    }

    fn reply(&mut self, reply: &Reply) -> Step {
        match self.speech.reply(reply).map(|letter| letter.fitting(self.terms.max_packet)) {
            Some(Ok(letter)) => self.send(None, letter),
            Some(Err(why)) => {
                tracing::warn!(hub = %self.terms.target, %why, "an answer cannot be sent");
                ControlFlow::Continue(())
            }
            None => ControlFlow::Continue(()),
        }
    }

    fn may_reply(&self) -> bool {
        matches!(self.phase, Phase::Open) && self.window.len() < self.terms.in_flight + REPLIES
    }

    fn send(&mut self, ticket: Ticket, letter: Letter) -> Step {
        let mut publish = Publish::from_bytes(letter.topic, self.terms.qos, letter.payload);
        publish.retain = letter.retain;
        match self.packets.publish(publish) {
            Ok(packet) => {
                self.window.posted(packet, ticket);
                ControlFlow::Continue(())
            }
            Err(why) => self.lost(why),
        }
    }

    fn tell(&mut self, ticket: Ticket, fate: Fate) -> Step {
        if let Some(ticket) = ticket {
            // There is room, as `has_room` saw to; if nobody listens, the parcel is sent again by contract.
            self.fates.try_send((ticket, fate)).ok();
        }
        ControlFlow::Continue(())
    }

    /// In the window, among what is to be written and, for the fate, in its channel.
    fn has_room(&self) -> bool {
        self.parcels.is_some() && self.packets.has_room() && self.window.len() < self.terms.in_flight.min(self.fates.capacity())
    }

    fn look_at_the_clock(&mut self) -> Step {
        let patience = self.terms.patience;
        if self.held.is_none() && self.window.waited() > patience {
            return self.lost(format!("no acknowledgement for {} s", patience.as_secs_f32()));
        }
        if self.held.is_none() && self.unanswered > 0 && self.begun.elapsed() > patience {
            return self.lost(format!("no answer to a subscription for {} s", patience.as_secs_f32()));
        }
        if self.receipts.stopped_for().is_some_and(|stopped| stopped > self.terms.redelivery) {
            return self.lost("a message from it could not be stored; connecting anew so that it is sent again".to_owned());
        }
        ControlFlow::Continue(())
    }

    fn deadline_passed(&mut self) -> Step {
        match &mut self.phase {
            Phase::Open => self.drain(UpstreamError::TokenRenewal { target: self.terms.target.clone() }),
            Phase::Draining(_) => self.leave(),
            Phase::Leaving(why) => ControlFlow::Break(std::mem::replace(why, UpstreamError::Closed { target: String::new() })),
        }
    }

    /// Takes no more parcels and gives what is in flight a moment.
    fn drain(&mut self, why: UpstreamError) -> Step {
        self.parcels = None;
        if matches!(self.phase, Phase::Open) {
            self.phase = Phase::Draining(why);
            self.deadline.as_mut().reset(Instant::now() + DRAIN);
        }
        ControlFlow::Continue(())
    }

    /// Last words and DISCONNECT, in this order.
    fn leave(&mut self) -> Step {
        let Phase::Draining(why) = std::mem::replace(&mut self.phase, Phase::Open) else { return ControlFlow::Break(self.closed()) };
        self.phase = Phase::Leaving(why);
        self.deadline.as_mut().reset(Instant::now() + LAST_WORDS);
        if let Some(farewell) = self.terms.farewell.take() {
            self.send(None, farewell)?;
        }
        match self.packets.disconnect() {
            Ok(()) => ControlFlow::Continue(()),
            Err(why) => self.lost(why),
        }
    }

    fn lost(&self, why: String) -> Step {
        ControlFlow::Break(UpstreamError::Lost { target: self.terms.target.clone(), why })
    }

    fn closed(&self) -> UpstreamError {
        UpstreamError::Closed { target: self.terms.target.clone() }
    }
}

/// Waits for ever when there are no more to come.
async fn next(parcels: &mut Option<mpsc::Receiver<Parcel>>) -> Option<Parcel> {
    match parcels {
        Some(parcels) => parcels.recv().await,
        None => pending().await,
    }
}
