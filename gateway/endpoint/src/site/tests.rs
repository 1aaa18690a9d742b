//! The bus gives each message to those whose filters take it, once, and holds nothing for those who have gone.

use super::*;

#[derive(Debug)]
struct NoRules;

impl SiteRules for NoRules {
    fn messages(&self, _: &Identity, _: &str, _: &Bytes, _: Stamp) -> Result<Vec<Message>, String> {
        Ok(Vec::new())
    }
}

fn who(id: &str) -> Identity {
    Identity::from_client_id(id).expect("valid")
}

fn bus() -> Arc<SiteBus> {
    Arc::new(SiteBus::new(Vec::new(), Arc::new(NoRules)))
}

fn heard(seat: &mut Seat) -> Vec<(String, u8, bool)> {
    std::iter::from_fn(|| seat.next()).map(|delivery| (delivery.topic.to_string(), delivery.qos, delivery.retained)).collect()
}

fn text(topic: &str, qos: u8) -> (String, u8, bool) {
    (topic.to_owned(), qos, false)
}

#[test]
fn each_listener_gets_what_its_filters_take_once_and_at_the_lower_qos() {
    let bus = bus();
    let (mut one, mut two) = (bus.join(&who("one")), bus.join(&who("two")));
    assert!(one.subscribe("a/+", 0) && one.subscribe("a/#", 1) && two.subscribe("a/b", 1) && two.subscribe("+/c", 0));
    let payload = Bytes::from_static(b"x");
    assert_eq!(["a/b", "a", "b/c", "x"].map(|topic| bus.publish(topic, &payload, 1, None)), [2, 1, 1, 0]);
    assert_eq!(bus.publish("a/b", &payload, 0, None), 2);
    assert_eq!(heard(&mut one), [text("a/b", 1), text("a", 1), text("a/b", 0)]);
    assert_eq!(heard(&mut two), [text("a/b", 1), text("b/c", 0), text("a/b", 0)]);
    one.unsubscribe("a/#");
    one.unsubscribe("never");
    assert_eq!(bus.publish("a/b/c", &payload, 1, None), 0);
    assert!(bus.is_heard("a/x", &who("one")) && bus.is_heard("+/b", &who("two")) && !bus.is_heard("x/y", &who("one")));
    assert!(!bus.is_heard("a/x", &who("two")));
    assert_eq!(bus.publish("a/b", &payload, 1, Some(&who("two"))), 1);
    drop((one, two));
    assert!(!bus.is_heard("#", &who("one")) && bus.inner().tree.takers("a/b").is_empty());
}

/// The tree finds what comparing with every filter finds.
#[test]
fn the_tree_agrees_with_the_filters() {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize % below
    };
    let some = |levels: &[&str], random: &mut dyn FnMut(usize) -> usize| {
        (0..=random(3)).map(|_| levels[random(levels.len())]).collect::<Vec<_>>().join("/")
    };
    let mut tree = Tree::default();
    let mut filters: Vec<(String, u64)> = Vec::new();
    for round in 0..3_000_u64 {
        let filter = some(&["a", "b", "+", "#", ""], &mut random);
        if filter::is_filter(&filter) {
            tree.add(&filter, round, 1);
            filters.push((filter, round));
        }
        if filters.len() > 30 {
            let (filter, listener) = filters.swap_remove(random(filters.len()));
            tree.remove(&filter, listener);
        }
        let topic = some(&["a", "b", "c", ""], &mut random);
        let mut expected: Vec<u64> = filters.iter().filter(|(filter, _)| matches(filter, &topic)).map(|(_, listener)| *listener).collect();
        expected.sort_unstable();
        assert_eq!(tree.takers(&topic).into_keys().collect::<Vec<_>>(), expected, "{topic}");
    }
    filters.into_iter().for_each(|(filter, listener)| tree.remove(&filter, listener));
    assert_eq!(format!("{tree:?}"), format!("{:?}", Tree::default()), "nothing is left behind");
}

#[test]
fn what_is_retained_comes_to_those_who_come_later_and_has_a_limit() {
    let bus = bus();
    let payload = Bytes::from_static(b"on");
    bus.retain("a/b", &payload, 1).expect("room");
    bus.retain("a/c", &payload, 0).expect("room");
    bus.retain("a/c", &Bytes::new(), 0).expect("taken away");
    bus.retain("never", &Bytes::new(), 0).expect("nothing to take away");
    let mut seat = bus.join(&who("x"));
    assert!(seat.subscribe("a/#", 1));
    assert_eq!(heard(&mut seat), [("a/b".to_owned(), 1, true)]);
    let large = Bytes::from(vec![0; 1 << 20]);
    let kept = (0..20).filter(|n| bus.retain(&format!("large/{n}"), &large, 0).is_ok()).count();
    assert_eq!((kept, bus.retain("a/b", &large, 0)), (15, Err(NoRoom)));
    assert_eq!(bus.inner().retained.get("a/b").map(|(payload, _)| payload.len()), Some(2), "the one before stays");
    (0..20).for_each(|n| bus.retain(&format!("large/{n}"), &Bytes::new(), 0).expect("taken away"));
    assert_eq!(bus.inner().retained_bytes, 5);
}

#[tokio::test]
async fn a_listener_that_takes_nothing_is_told_that_it_is_behind_and_holds_no_more_than_its_share() {
    let bus = bus();
    let mut seat = bus.join(&who("x"));
    assert!(seat.subscribe("#", 0));
    let payload = Bytes::from_static(b"x");
    let given: usize = (0..SITE_BACKLOG + 100).map(|_| bus.publish("a", &payload, 0, None)).sum();
    assert_eq!(given, SITE_BACKLOG);
    seat.behind.notified().await;
    assert!((0..100).map(|n| seat.subscribe(&format!("f/{n}"), 0)).filter(|done| *done).count() == MAX_SITE_FILTERS - 1);
}
