//! What the site bus has to do with leaves: rules make messages of what is published, and topics of commands.
//!
//! Promise: what a rule takes is in the log before the publisher is told so (the endpoint sees to it). A command is `sent` when the device that
//! speaks for the leaf (it itself, or a bridge) listens and was given it, which is all that can be known here; while that device is away
//! the command waits in the inbox. A leaf is known from its first
//! message on, across restarts: before that a command for it is refused, as for any name that nobody knows.

pub mod rule;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tidegate_core::{
    clock::Stamp,
    command::{Action, Command, Outcome},
    dialect::identity::Identity,
    id::{LeafId, MessageId},
    message::{Message, Properties, SystemProperties},
    profile::LeafProfile,
    wire,
};
use tidegate_endpoint::{
    Hub,
    site::{Access, SiteBus, SiteRules},
};
use tidegate_store::State;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::rule::Rule;
use crate::{
    leaf::Order,
    passage,
    pulse::Pulse,
    request::{Request, Spoken},
    router::{Router, route::Taker},
    unit::UnitError,
};

/// The group of these leaves among the router's ways, and the unit's name.
pub(crate) const UNIT: &str = "site leaves";
/// Leaves that rules may find: a topic is a stranger's word, and each leaf is kept.
const MOST_LEAVES: usize = 1_000;
/// The unit goes round at least this often.
pub(crate) const ROUND: std::time::Duration = std::time::Duration::from_secs(60);

/// `[endpoint.site_bus]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteSection {
    /// Who may use which topics.
    pub access: Vec<Access>,
    /// In the order in which they are tried.
    pub rules: Vec<Rule>,
    /// Where readings of adapters are published; `{leaf}` is the leaf's id.
    pub mirror: Option<String>,
}

/// The rules at work. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Site(Arc<Inner>);

/// A leaf that a rule has found.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    /// Which rule.
    rule: usize,
    /// The device that speaks for it, and takes its commands.
    speaker: Identity,
    /// Whether this is on disk.
    kept: bool,
}

#[derive(Debug)]
struct Inner {
    rules: Vec<Rule>,
    hub: Hub,
    leaves: Mutex<BTreeMap<LeafId, Known>>,
    found: Notify,
}

impl Site {
    /// Opens the bus on this hub, with the leaves that were found before.
    pub(crate) async fn open(section: &SiteSection, hub: &Hub, state: &State) -> Result<Self, String> {
        let known = state.site_leaves().await.map_err(|error| error.to_string())?;
        let rule_of = |name: &str| section.rules.iter().position(|rule| rule.name == name);
        let leaves = known.into_iter().filter_map(|(leaf, rule, speaker)| {
            let known = Known { rule: rule_of(&rule)?, speaker: Identity::from_client_id(&speaker).ok()?, kept: true };
            Some((LeafId::new(leaf).ok()?, known))
        });
        let site = Self(Arc::new(Inner {
            rules: section.rules.clone(),
            hub: hub.clone(),
            leaves: Mutex::new(leaves.take(MOST_LEAVES).collect()),
            found: Notify::new(),
        }));
        let bus = SiteBus::new(section.access.clone(), Arc::new(site.clone()));
        hub.open_site(bus).await.map_err(|error| error.to_string())?;
        Ok(site)
    }

    fn leaves(&self) -> MutexGuard<'_, BTreeMap<LeafId, Known>> {
        self.0.leaves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a way to each leaf that commands can reach.
    pub(crate) fn attach(&self, router: &Router) {
        let profiles: Vec<LeafProfile> = self
            .leaves()
            .iter()
            .filter(|(_, known)| self.0.rules[known.rule].command.is_some())
            .map(|(id, known)| LeafProfile {
                id: id.clone(),
                points: Vec::new(),
                class: self.0.rules[known.rule].class,
                ttl: None,
                properties: Properties::default(),
            })
            .collect();
        let taker: Arc<dyn Taker> = Arc::new(self.clone());
        // A device of the endpoint that speaks on the site takes its commands there.
        router.routes().attach_behind(UNIT, Some(passage::GROUP), &profiles, &taker);
    }

    /// Keeps leaves that were found, and makes ways to them, until stopped.
    pub(crate) async fn run(self, router: Router, state: State, pulse: Pulse, stop: CancellationToken) -> Result<(), UnitError> {
        loop {
            pulse.beat();
            self.attach(&router);
            let new: Vec<(LeafId, Known)> =
                self.leaves().iter().filter(|(_, known)| !known.kept).map(|(leaf, known)| (leaf.clone(), known.clone())).collect();
            for (leaf, known) in new {
                state.keep_site_leaf(leaf.to_string(), self.0.rules[known.rule].name.clone(), known.speaker.to_string()).await?;
                if let Some(entry) = self.leaves().get_mut(&leaf).filter(|entry| **entry == known) {
                    entry.kept = true;
                }
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.0.found.notified() => {}
                () = tokio::time::sleep(ROUND / 2) => {}
            }
        }
    }

    fn learn(&self, leaf: &LeafId, rule: usize, speaker: &Identity) {
        let mut leaves = self.leaves();
        let known = leaves.get(leaf);
        // Several topics of one rule are as good as one.
        let same = |known: &Known| self.0.rules[known.rule].name == self.0.rules[rule].name && known.speaker == *speaker;
        if known.is_some_and(same) {
            return;
        }
        if known.is_none() && leaves.len() >= MOST_LEAVES {
            warn!(%leaf, "rules of the site bus have found {MOST_LEAVES} leaves: this one gets no commands");
            return;
        }
        leaves.insert(leaf.clone(), Known { rule, speaker: speaker.clone(), kept: false });
        self.0.found.notify_one();
    }

    fn rule_of(&self, leaf: &LeafId) -> Option<(&Rule, Identity)> {
        self.leaves().get(leaf).map(|known| (&self.0.rules[known.rule], known.speaker.clone()))
    }

    fn carry_out(&self, command: &Command) -> Outcome {
        let (Some((rule, speaker)), Some(bus)) = (self.rule_of(&command.leaf), self.0.hub.site()) else {
            return Outcome::Rejected("no rule of the site bus knows it any more".to_owned());
        };
        let Action::Message { body, .. } = &command.action else {
            return Outcome::Rejected(format!("'{}' is on the site bus: points can be set there, and nothing else", command.leaf));
        };
        let points = match Spoken::read(body, None).request {
            Ok(Request::Write(points)) => points,
            Ok(_) => return Outcome::Rejected("only {\"write\":{…}} goes to the site bus".to_owned()),
            Err(why) => return Outcome::Rejected(why),
        };
        let mut unheard = None;
        for (topic, payload) in rule.commands(&command.leaf, &points) {
            if bus.publish(&topic, &payload, 1, Some(&speaker)) == 0 {
                unheard = Some(topic);
            }
        }
        match unheard {
            None => Outcome::Sent,
            // Some may have been given to somebody: that they are given again is what a listener of a command must expect.
            Some(topic) => Outcome::Uncertain(format!("{speaker} does not listen to {topic}")),
        }
    }
}

impl SiteRules for Site {
    fn messages(&self, who: &Identity, topic: &str, payload: &Bytes, taken: Stamp) -> Result<Vec<Message>, String> {
        // An empty message takes a retained one away and says nothing.
        if payload.is_empty() {
            return Ok(Vec::new());
        }
        let Some((at, found)) = self.0.rules.iter().enumerate().find_map(|(at, rule)| Some((at, rule.find(topic)?))) else {
            return Ok(Vec::new());
        };
        let rule = &self.0.rules[at];
        let (body, is_json) = rule.body(&found, payload)?;
        let mut system = SystemProperties::json();
        if !is_json {
            system.content_type = Some("text/plain".into());
        }
        let message = Message {
            id: MessageId::fresh(),
            leaf: found.leaf.clone(),
            class: rule.class,
            taken,
            ttl: None,
            system,
            properties: Properties::default(),
            body,
        };
        message.check().map_err(|error| error.to_string())?;
        self.learn(&found.leaf, at, who);
        Ok(vec![message])
    }
}

impl Taker for Site {
    fn offer(&self, order: Order) -> Result<(), Order> {
        let site = self.clone();
        // One at a time for each leaf: the router sees to it.
        tokio::spawn(async move {
            if let Some(command) = order.begin.await {
                // Whoever waits may have gone.
                order.outcome.send(site.carry_out(&command)).ok();
            }
        });
        Ok(())
    }

    fn away(&self, leaf: &LeafId) -> Option<String> {
        let (rule, speaker) = self.rule_of(leaf)?;
        let filter = rule.command_filter(leaf)?;
        let heard = self.0.hub.site().is_some_and(|bus| bus.is_heard(&filter, &speaker));
        (!heard).then(|| format!("{speaker} does not listen to {filter}"))
    }

    fn takes_messages(&self) -> bool {
        true
    }

    fn takes_any_point(&self) -> bool {
        true
    }
}

/// Publishes what adapters read.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// The endpoint with the bus.
    pub hub: Hub,
    /// The topic, with `{leaf}`.
    pub topic: String,
}

impl Mirror {
    /// Shows a message to those who listen now.
    pub fn show(&self, message: &Message) {
        if let Some(bus) = self.hub.site() {
            bus.publish(&self.topic.replace("{leaf}", message.leaf.as_str()), &wire::body(message), 1, None);
        }
    }
}
