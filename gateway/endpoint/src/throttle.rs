//! Failed attempts to connect, counted per source, so that guessing is slow and costs us little.
//!
//! Two budgets: one for each pair of machine and claimed identity, checked before anything is computed for it; and a wider one for
//! a machine, checked before it may even speak. The table is bounded.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Failures that a machine may have for one identity, and how long it takes to forget one.
const IDENTITY: (f64, Duration) = (10.0, Duration::from_secs(10));
/// Failures that a machine may have in all: many devices may stand behind one address.
const MACHINE: (f64, Duration) = (200.0, Duration::from_millis(200));
/// Sources remembered.
const SOURCES: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Machine(IpAddr),
    /// With the hash of what it claims to be: the text is a stranger's and may be long.
    Identity(IpAddr, u64),
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<HashMap<Source, (f64, Instant)>>);

/// An IPv6 customer has at least a /64, so that is the machine.
fn machine(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => std::net::Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX)).into(),
    }
}

fn identity(ip: IpAddr, claimed: &str) -> Source {
    let mut hasher = DefaultHasher::new();
    claimed.hash(&mut hasher);
    Source::Identity(machine(ip), hasher.finish())
}

fn rule(source: Source) -> (f64, Duration) {
    match source {
        Source::Machine(_) => MACHINE,
        Source::Identity(..) => IDENTITY,
    }
}

impl Throttle {
    /// Whether this machine may connect at all.
    pub(crate) fn lets_in(&self, ip: IpAddr) -> bool {
        self.left(Source::Machine(machine(ip)))
    }

    /// Whether it may try as this identity.
    pub(crate) fn lets_try(&self, ip: IpAddr, claimed: &str) -> bool {
        self.left(identity(ip, claimed))
    }

    fn left(&self, source: Source) -> bool {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.get(&source).is_none_or(|entry| decayed(*entry, source) + 1.0 <= rule(source).0)
    }

    /// It failed.
    pub(crate) fn failed(&self, ip: IpAddr, claimed: &str) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for source in [identity(ip, claimed), Source::Machine(machine(ip))] {
            if table.len() >= SOURCES {
                forget_half(&mut table);
            }
            let entry = table.entry(source).or_insert((0.0, Instant::now()));
            // Capped, so that a source that went on for hours is let in again soon after it stopped.
            *entry = ((decayed(*entry, source) + 1.0).min(2.0 * rule(source).0), Instant::now());
        }
    }

    /// It proved itself: what its own mistakes cost is forgotten.
    pub(crate) fn succeeded(&self, ip: IpAddr, claimed: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&identity(ip, claimed));
    }
}

/// The quieter half goes, so that this is done once in thousands of failures. Machines are asked for most often and stay longest.
fn forget_half(table: &mut HashMap<Source, (f64, Instant)>) {
    let mut all: Vec<_> = table.iter().map(|(source, (_, at))| (matches!(source, Source::Machine(_)), *at, *source)).collect();
    all.sort_unstable_by_key(|(is_machine, at, _)| (*is_machine, *at));
    for (_, _, source) in all.iter().take(SOURCES / 2) {
        table.remove(source);
    }
}

fn decayed((failures, at): (f64, Instant), source: Source) -> f64 {
    (failures - at.elapsed().as_secs_f64() / rule(source).1.as_secs_f64()).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[tokio::test(start_paused = true)]
    async fn guessing_one_identity_stops_and_others_behind_the_same_address_go_on() {
        let throttle = Throttle::default();
        (0..10).for_each(|_| throttle.failed(ONE, "pump"));
        assert!(!throttle.lets_try(ONE, "pump") && throttle.lets_try(ONE, "fan") && throttle.lets_in(ONE));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(throttle.lets_try(ONE, "pump"), "one more after ten seconds");
        throttle.failed(ONE, "pump");
        assert!(!throttle.lets_try(ONE, "pump"));
        throttle.succeeded(ONE, "pump");
        assert!(throttle.lets_try(ONE, "pump"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_tries_every_name_is_shut_out_for_a_while_and_the_table_stays_small() {
        let throttle = Throttle::default();
        (0..20_000).for_each(|n| throttle.failed(ONE, &format!("device-{n}")));
        assert!(!throttle.lets_in(ONE));
        assert!(throttle.0.lock().expect("not poisoned").len() <= SOURCES);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(throttle.lets_in(ONE));
    }
}
