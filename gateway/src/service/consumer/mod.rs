//! The built-in endpoint: programs on the site read the log by partition, alone or as a group.
//!
//! # What is promised
//!
//! - At least once: what is in the log and in nobody's way is given again until a consumer has said that it has dealt with it. What went
//!   before it could be read (time, room) is told by its count.
//! - Messages of a device come in their order; within a group, each partition has one reader at a time.
//! - A reader costs the line nothing: no place of a consumer keeps a message from going. `[log] keep_delivered` and `max_size` say how long
//!   there is something to read.
//!
//! | power is cut … | then |
//! |---|---|
//! | after a consumer was given messages | it is given them again |
//! | after it asked on with `after` | it may be given the last second's again |
//! | after `progress` was answered | it is not given them again |

mod cursor;
mod group;
mod message;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tidegate_core::{
    clock::{Clock, SystemClock},
    id::Name,
};
use tidegate_store::{Feed, History, Log, PARTITIONS, Start, State};
use tidegate_webui::{
    Problem, StatusCode,
    shape::{ConsumeQuery, ConsumedPage, ConsumerView, GroupPlace, GroupView, ProgressRequest},
    site::{Consumer, Consumers},
};
use tokio::{sync::OnceCell, time::Instant};
use tracing::warn;

use self::{
    cursor::{Cursor, Place},
    group::{Groups, LEASE, Refusal, Seat},
};
use super::{Service, archive::time, no_log};

/// The group that is always there.
const DEFAULT_GROUP: &str = "$Default";
/// Places without a message of the reader's are passed over for so long before it is told to ask again.
const SEARCH: Duration = Duration::from_secs(10);
/// Who reads without a name.
const NOBODY: &str = "-";

/// All consumers of a gateway.
#[derive(Debug, Default)]
pub(super) struct Desk {
    groups: Arc<Groups>,
    learnt: OnceCell<()>,
}

impl Desk {
    async fn groups(&self, state: &State) -> Result<&Arc<Groups>, Problem> {
        let learn = async || state.groups().await.map(|known| self.groups.learn(known));
        let learnt = self.learnt.get_or_try_init(learn).await;
        learnt.map_err(|error| Problem::internal("reading how far consumers have come", error))?;
        Ok(&self.groups)
    }

    /// Puts on disk how far groups have come.
    pub(super) async fn flush(&self, state: &State) {
        if let Err(error) = self.try_flush(state).await {
            warn!(%error, "how far consumers have come is not kept yet");
        }
    }

    async fn try_flush(&self, state: &State) -> Result<(), String> {
        let dirty = self.groups.take_dirty();
        if dirty.is_empty() {
            return Ok(());
        }
        let why = match state.keep_progress(dirty.clone()).await {
            Ok(true) => return Ok(()),
            Ok(false) => "there are too many groups".to_owned(),
            Err(error) => error.to_string(),
        };
        self.groups.give_back(dirty);
        Err(why)
    }
}

fn refused(refusal: Refusal, group: &str, consumer: &str) -> Problem {
    let conflict = |code, title| Problem::new(StatusCode::CONFLICT, code, title);
    match refusal {
        Refusal::Busy => conflict("consumer-busy", "Somebody of this name is reading already")
            .detail(format!("consumer {consumer} of group {group}"))
            .next("give each reader of a group its own name with consumer=…, or read in another group"),
        Refusal::Full(names) => conflict("group-full", "Each partition has a reader")
            .detail(format!("group {group} is read by {}", names.join(", ")))
            .next(format!("at most {PARTITIONS} read in a group; one that has not asked for {} s makes room", LEASE.as_secs())),
        Refusal::TooMany => {
            conflict("too-many-groups", "There are as many groups as there may be").next("forget one with DELETE /messages/groups/{group}")
        }
    }
}

fn group_name(text: &str) -> Result<&str, Problem> {
    if text == DEFAULT_GROUP || Name::new(text).is_ok() {
        return Ok(text);
    }
    Err(Problem::invalid("").field("group", "is not a group's name", "use $Default, or 1 to 64 of letters, digits and . _ -"))
}

fn consumer_name(text: Option<&str>) -> Result<String, Problem> {
    match text {
        None => Ok(NOBODY.to_owned()),
        Some(text) if Name::new(text).is_ok() => Ok(text.to_owned()),
        Some(_) => Err(Problem::invalid("").field("consumer", "is not a name", "use 1 to 64 of letters, digits and . _ -")),
    }
}

fn cursor(text: &str) -> Result<Cursor, Problem> {
    let cursor = text.parse();
    cursor.map_err(|()| Problem::invalid("").field("after", "is not the next of a page", "leave it out, or give it as it was"))
}

/// Where those begin who have no place yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Latest,
    Earliest,
    Offset(u64),
    Search(Start),
}

fn from(text: Option<&str>) -> Result<From, Problem> {
    let wrong = || {
        let next = "write latest, earliest, offset:<x-opt-offset>, sequence:<x-opt-sequence-number> or time:<RFC 3339 or milliseconds>";
        Problem::invalid("").field("from", "is no place to begin", next)
    };
    let number = |text: &str| text.parse::<u64>().ok().filter(|number| *number <= i64::MAX as u64 / 8).ok_or_else(wrong);
    match text.unwrap_or("latest") {
        "latest" => Ok(From::Latest),
        "earliest" => Ok(From::Earliest),
        other => match other.split_once(':').ok_or_else(wrong)? {
            ("offset", offset) => Ok(From::Offset(number(offset)?)),
            ("sequence", sequence) => Ok(From::Search(Start::After(number(sequence)?))),
            ("time", at) => Ok(From::Search(Start::Since(time("from", Some(at))?.ok_or_else(wrong)?))),
            _ => Err(wrong()),
        },
    }
}

/// What a reader needs of the gateway.
#[derive(Debug, Clone)]
struct Ends {
    log: Log,
    history: History,
    clock: Arc<SystemClock>,
}

impl Ends {
    async fn begin(&self, partition: usize, from: From) -> Result<Place, Problem> {
        let seq = match from {
            From::Latest => self.log.growth().0,
            From::Earliest => 0,
            From::Offset(offset) => offset + 1,
            From::Search(start) => self.history.find(partition, start).await.map_err(no_log)?,
        };
        let number = if let From::Search(Start::After(number)) = from { Some(number + 1) } else { None };
        Ok(Place { seq, number })
    }
}

/// Somebody who reads for themselves or in a group.
struct Reader {
    ends: Ends,
    from: From,
    most: usize,
    places: BTreeMap<usize, Place>,
    /// In a group.
    member: Option<Membership>,
}

struct Membership {
    groups: Arc<Groups>,
    group: String,
    consumer: String,
    seat: Option<Seat>,
}

impl Membership {
    fn sit(&mut self) -> Result<BTreeSet<usize>, Problem> {
        // Away for a moment, so that it can be seated anew.
        self.seat = None;
        let seat = self.groups.enter(&self.group, &self.consumer).map_err(|refusal| refused(refusal, &self.group, &self.consumer))?;
        let partitions = seat.partitions.clone();
        self.seat = Some(seat);
        Ok(partitions)
    }

    fn is_stale(&self) -> bool {
        self.seat.as_ref().is_none_or(|seat| self.groups.is_stale(seat))
    }
}

impl Reader {
    /// In a group: which partitions are its own now, and where it goes on in those that are new to it.
    async fn take_seat(&mut self) -> Result<(), Problem> {
        let Some(member) = &mut self.member else { return Ok(()) };
        let own = member.sit()?;
        self.places.retain(|partition, _| own.contains(partition));
        for partition in own {
            if self.places.contains_key(&partition) {
                continue;
            }
            let place = match member.groups.place(&member.group, partition) {
                Some(place) => place,
                None => {
                    let place = self.ends.begin(partition, self.from).await?;
                    // Kept at once, so that `latest` stays where it was when the group first asked.
                    let cursor = Cursor(BTreeMap::from([(partition, place)]));
                    let at = self.ends.clock.now().wall;
                    // There is room: it sits in the group.
                    member.groups.dealt_with(&member.group, &cursor, at).ok();
                    place
                }
            };
            self.places.insert(partition, place);
        }
        Ok(())
    }

    /// Reads on in each partition in turn. Whether there may be more.
    async fn read(&mut self, page: &mut ConsumedPage) -> Result<bool, Problem> {
        let hold = self.ends.log.waits_for_time().then(|| self.ends.clock.now().boot);
        let (mut more, mut left) = (false, self.most);
        let mut found = Vec::new();
        // Each gets its share of what may come, so that a busy one leaves something for the others.
        let mut rest = self.places.len();
        for (partition, place) in &mut self.places {
            let most = left.div_ceil(rest.max(1));
            rest -= 1;
            let feed = Feed { partition: *partition, from: place.seq, most, hold };
            let fed = self.ends.history.feed(feed).await.map_err(no_log)?;
            more |= fed.more;
            left -= fed.items.len();
            for item in fed.items {
                if let Some(expected) = place.number.filter(|expected| *expected < item.number) {
                    *page.missed.entry(*partition as u8).or_default() += item.number - expected;
                }
                place.number = Some(item.number + 1);
                found.push((item.seq, message::view(*partition, &item)));
            }
            place.seq = fed.next;
        }
        found.sort_by_key(|(seq, _)| *seq);
        page.items = found.into_iter().map(|(_, message)| message).collect();
        Ok(more)
    }
}

#[async_trait]
impl Consumer for Reader {
    async fn page(&mut self, wait: Duration) -> Result<ConsumedPage, Problem> {
        let until = Instant::now() + wait;
        let (_, mut growth) = self.ends.log.growth();
        let groups = self.member.as_ref().map(|member| member.groups.clone());
        let mut page = ConsumedPage { items: Vec::new(), next: String::new(), partitions: Vec::new(), missed: BTreeMap::new() };
        loop {
            // Both before the look, so that nothing is missed between it and the wait.
            growth.borrow_and_update();
            let change = groups.as_ref().map(|groups| {
                let mut change = Box::pin(groups.changes());
                change.as_mut().enable();
                change
            });
            if self.member.as_ref().is_some_and(Membership::is_stale) {
                self.take_seat().await?;
            }
            let more = self.read(&mut page).await?;
            let now = Instant::now();
            if !page.items.is_empty() || !page.missed.is_empty() || (now >= until && !more) || now >= until + SEARCH {
                break;
            }
            if more {
                continue;
            }
            tokio::select! {
                grown = growth.changed() => grown.map_err(|_| Problem::stopping())?,
                () = async { match change { Some(change) => change.await, None => std::future::pending().await } } => {}
                // A reader that has gone makes room without a word.
                () = tokio::time::sleep_until(until.min(Instant::now() + LEASE / 6)) => {}
            }
        }
        page.partitions = self.places.keys().map(|partition| *partition as u8).collect();
        page.next = Cursor(self.places.clone()).to_string();
        Ok(page)
    }
}

#[async_trait]
impl Consumers for Service {
    async fn consumer(&self, query: ConsumeQuery) -> Result<Box<dyn Consumer>, Problem> {
        let parts = &self.ends.parts;
        let ends = Ends { log: parts.log.clone(), history: self.history.clone(), clock: parts.clock.clone() };
        let from = from(query.from.as_deref().filter(|from| !from.is_empty()))?;
        let after = query.after.as_deref().filter(|after| !after.is_empty()).map(cursor).transpose()?;
        let most = query.limit.unwrap_or(100).clamp(1, 1000);
        let mut reader = Reader { ends, from, most, places: BTreeMap::new(), member: None };
        match query.group.as_deref() {
            None => {
                let wanted = match query.partition.map(usize::from) {
                    None => (0..PARTITIONS).collect(),
                    Some(one) if one < PARTITIONS => vec![one],
                    Some(_) => return Err(Problem::invalid("").field("partition", "is not a partition", "write 0 to 3")),
                };
                let mut after = after.unwrap_or_default();
                for partition in wanted {
                    let place = match after.0.remove(&partition) {
                        Some(place) => place,
                        None => reader.ends.begin(partition, from).await?,
                    };
                    reader.places.insert(partition, place);
                }
            }
            Some(_) if query.partition.is_some() => {
                let next = "leave one of the two out: the partitions of a group are shared among its readers";
                return Err(Problem::invalid("").field("partition", "stands beside group", next));
            }
            Some(group) => {
                let (group, consumer) = (group_name(group)?.to_owned(), consumer_name(query.consumer.as_deref())?);
                let groups = self.consumers.groups(&parts.state).await?.clone();
                if let Some(after) = after {
                    // Before it is seated: what it gives up now, it has dealt with.
                    let dealt = groups.dealt_with(&group, &after, self.now());
                    dealt.map_err(|refusal| refused(refusal, &group, &consumer))?;
                }
                reader.member = Some(Membership { groups, group, consumer, seat: None });
                reader.take_seat().await?;
            }
        }
        Ok(Box::new(reader))
    }

    async fn groups(&self) -> Result<Vec<GroupView>, Problem> {
        let groups = self.consumers.groups(&self.ends.parts.state).await?;
        let small = |partitions: BTreeSet<usize>| partitions.into_iter().map(|partition| partition as u8).collect();
        let view = |(group, consumers, places): (String, Vec<(String, BTreeSet<usize>, bool)>, Vec<_>)| GroupView {
            group,
            consumers: consumers
                .into_iter()
                .map(|(consumer, partitions, waiting)| ConsumerView { consumer, partitions: small(partitions), waiting })
                .collect(),
            partitions: places
                .into_iter()
                .map(|(partition, place, changed): (usize, Place, tidegate_core::clock::Timestamp)| GroupPlace {
                    partition: partition as u8,
                    seq: place.seq,
                    sequence_number: place.number,
                    changed: changed.to_string(),
                })
                .collect(),
        };
        Ok(groups.list().into_iter().map(view).collect())
    }

    async fn progress(&self, group: &str, request: ProgressRequest) -> Result<(), Problem> {
        let group = group_name(group)?;
        let state = &self.ends.parts.state;
        let groups = self.consumers.groups(state).await?;
        let cursor = cursor(&request.after)?;
        groups.dealt_with(group, &cursor, self.now()).map_err(|refusal| refused(refusal, group, NOBODY))?;
        self.consumers.try_flush(state).await.map_err(|why| Problem::internal("keeping how far a consumer has come", why))
    }

    async fn forget_group(&self, group: &str) -> Result<(), Problem> {
        let state = &self.ends.parts.state;
        let name = group_name(group)?;
        let known = self.consumers.groups(state).await?.forget(name);
        if known == Some(false) {
            return Err(Problem::busy(format!("somebody is reading in group {name}")).next("end its readers first"));
        }
        let kept = state.forget_group(name.to_owned()).await.map_err(|error| Problem::internal("forgetting a consumer group", error))?;
        if known.is_none() && !kept {
            return Err(Problem::not_found(format!("there is no group {name}")));
        }
        Ok(())
    }
}
