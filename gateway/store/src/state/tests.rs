//! The state's promise: what returned is there after the next opening, damage costs what it hits, and neighbours in one commit do not
//! disturb each other.

use std::fs;

use bytes::Bytes;
use serde_json::json;
use tempfile::TempDir;
use tidegate_core::{
    c2d::{Ack, Enqueued, NewC2d, Settled, Settlement},
    clock::Timestamp,
    device::{Device, NewDevice, Proof, Thumbprint, Written},
    dialect::{identity::Identity, key::Key},
    twin::{Change, Changed},
};

use super::*;

fn key(n: u8) -> Key {
    Key::from_bytes(vec![n; 32]).expect("32 bytes")
}

fn identity(client_id: &str) -> Identity {
    Identity::from_client_id(client_id).expect("valid")
}

fn new(client_id: &str) -> NewDevice {
    NewDevice {
        identity: identity(client_id),
        proof: Proof::Keys { primary: key(1), secondary: key(2) },
        enabled: true,
        reason: None,
        generation: "1".into(),
        now: Timestamp(1_000),
    }
}

fn open(dir: &TempDir) -> State {
    let (state, opening) = State::open(dir.path()).expect("opens");
    assert_eq!(opening.salvaged, None);
    state
}

async fn done(written: Result<Written, StateError>) -> Device {
    match written.expect("kept") {
        Written::Done(device) => device,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_device_survives_the_next_opening_and_only_its_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a folder");
    let state = open(&dir);
    done(state.create_device(new("leaf-01")).await).await;
    done(state.create_device(new("leaf-01/camera")).await).await;
    let print = Thumbprint::new(&"AB".repeat(32)).expect("64 digits");
    let proof = Proof::Thumbprints { primary: print.clone(), secondary: None };
    let change = NewDevice { proof, enabled: false, reason: Some("stolen".into()), now: Timestamp(2_000), ..new("leaf-01") };
    done(state.change_device(change, Some(1)).await).await;
    // Not closed: as after a kill.
    drop(state);
    let state = open(&dir);
    let device = state.device(identity("leaf-01")).await.expect("readable").expect("there");
    assert_eq!((device.etag, device.enabled, device.reason.as_deref()), (2, false, Some("stolen")));
    assert!(matches!(device.proof, Proof::Thumbprints { primary, secondary: None } if primary == print));
    assert_eq!((device.created, device.changed), (Timestamp(1_000), Timestamp(2_000)));
    assert_eq!(state.count_devices().await.expect("counted"), 2);
    for file in ["state.db", "state.db-wal"] {
        let mode = fs::metadata(dir.path().join(file)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn names_are_unique_and_modules_need_their_device() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = open(&dir);
    assert!(matches!(state.create_device(new("a/m")).await, Ok(Written::Missing)));
    done(state.create_device(new("a")).await).await;
    done(state.create_device(new("a/m")).await).await;
    done(state.create_device(new("A")).await).await;
    assert!(matches!(state.create_device(new("a")).await, Ok(Written::Exists)));
    assert!(matches!(state.delete_device(identity("a"), Some(7)).await, Ok(Written::Changed)));
    done(state.delete_device(identity("a"), Some(1)).await).await;
    assert!(matches!(state.delete_device(identity("a/m"), None).await, Ok(Written::Missing)), "its modules went with it");
    let left = state.devices(None, 10).await.expect("listed");
    assert_eq!(left.iter().map(|device| device.identity.to_string()).collect::<Vec<_>>(), ["A"]);
}

#[tokio::test]
async fn a_list_is_read_in_pages() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = open(&dir);
    for n in 0..25 {
        done(state.create_device(new(&format!("d{n:02}"))).await).await;
    }
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = state.devices(after.clone(), 10).await.expect("listed");
        let Some(last) = page.last() else { break };
        after = Some(last.identity.clone());
        seen.extend(page.iter().map(|device| device.identity.to_string()));
    }
    assert_eq!(seen, (0..25).map(|n| format!("d{n:02}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_operation_that_errs_leaves_nothing_and_its_neighbours_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = open(&dir);
    let add = |name: &'static str, then: Result<(), StateError>| {
        state.run(move |connection| {
            connection.execute("INSERT INTO device VALUES (NULL, ?, '', '1', 1, 1, NULL, 'certificateAuthority', '', '', 0, 0)", [name])?;
            then
        })
    };
    let refused = Err(StateError::Row("a test".into()));
    let (a, b, c) = tokio::join!(add("a", Ok(())), add("b", refused), add("c", Ok(())));
    assert!(a.is_ok() && c.is_ok() && matches!(b, Err(StateError::Row(_))));
    let twice = add("a", Ok(())).await;
    assert!(matches!(twice, Err(StateError::Refused(_))), "{twice:?}");
    assert_eq!(state.count_devices().await.expect("counted"), 2);
}

#[tokio::test]
async fn a_full_disk_refuses_and_keeps_what_was_there() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = open(&dir);
    done(state.create_device(new("kept")).await).await;
    state
        .run(|connection| Ok(connection.query_row("PRAGMA max_page_count=1", [], |row| row.get::<_, i64>(0))?))
        .await
        .expect("set as low as it can be");
    let mut refused = 0;
    for n in 0..200 {
        let mut device = new(&format!("d{n}"));
        device.reason = Some("x".repeat(2_000));
        let both = tokio::join!(state.create_device(device), state.device(identity("kept")));
        refused += u32::from(matches!(both.0, Err(StateError::Full(_))));
    }
    assert!(refused > 100, "{refused}");
    drop(state);
    let state = open(&dir);
    assert!(state.device(identity("kept")).await.expect("readable").is_some());
}

#[tokio::test]
async fn a_damaged_file_is_kept_and_what_is_readable_is_carried_over() {
    const DEVICES: u64 = 400;
    let (mut met, mut carried) = (0, 0);
    for turn in 0..10_usize {
        let dir = tempfile::tempdir().expect("a folder");
        let state = open(&dir);
        // All at once, so that they share commits.
        let mut creating = tokio::task::JoinSet::new();
        for n in 0..DEVICES {
            let state = state.clone();
            creating.spawn(async move { state.create_device(new(&format!("device-{n}"))).await.expect("kept") });
        }
        creating.join_all().await;
        state.close().await;
        let path = dir.path().join("state.db");
        let mut bytes = fs::read(&path).expect("readable");
        let at = bytes.len() * (2 * turn + 1) / 20;
        let end = (at + 3_000).min(bytes.len());
        bytes[at..end].fill(0xA5);
        fs::write(&path, &bytes).expect("writable");
        let (state, opening) = State::open(dir.path()).expect("opens whatever is there");
        let there = state.count_devices().await.expect("counted");
        if let Some(salvage) = opening.salvaged {
            met += 1;
            assert_eq!(fs::read(&salvage.kept_as).expect("kept").len(), bytes.len());
            assert!(salvage.to_string().contains("rows of device"));
        } else {
            assert_eq!(there, DEVICES, "turn {turn}: damage that nobody noticed");
        }
        carried += there;
        done(state.create_device(new("fresh")).await).await;
    }
    assert!(met > 3 && carried > DEVICES * 7, "noticed {met} times, {carried} rows carried over");
}

#[tokio::test]
async fn a_file_that_is_no_database_gives_way_to_a_fresh_one() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("state.db"), vec![7; 10_000]).expect("written");
    let (state, opening) = State::open(dir.path()).expect("opens");
    let salvage = opening.salvaged.expect("said so");
    assert_eq!(fs::metadata(&salvage.kept_as).expect("kept").len(), 10_000);
    done(state.create_device(new("a")).await).await;
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_left_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = open(&dir);
    state.run(|connection| Ok(connection.pragma_update(None, "user_version", 999)?)).await.expect("set");
    state.close().await;
    assert!(matches!(State::open(dir.path()), Err(StateError::Newer { found: 999, .. })));
}

fn c2d(message_id: &str, ack: Ack) -> NewC2d {
    let properties = vec![("site".to_owned(), "hall 3".to_owned())];
    NewC2d { message_id: Some(message_id.to_owned()), ack, properties, body: Bytes::from_static(b"hello") }
}

#[tokio::test]
async fn a_queue_keeps_its_order_and_its_limit_and_every_message_ends_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = open(&dir);
    done(state.create_device(new("a")).await).await;
    let (now, later) = (Timestamp(1_000), Timestamp(9_000));
    assert_eq!(state.enqueue_c2d(identity("b"), c2d("m", Ack::Full), later, now).await.expect("answered"), Enqueued::Missing);
    for n in 0..50 {
        let kept = state.enqueue_c2d(identity("a"), c2d(&format!("m{n}"), Ack::Full), later, now).await.expect("answered");
        assert!(matches!(kept, Enqueued::Accepted(_)));
    }
    assert_eq!(state.enqueue_c2d(identity("a"), c2d("m50", Ack::Full), later, now).await.expect("answered"), Enqueued::Full);
    drop(state);
    let state = open(&dir);
    let waiting = state.c2d_after(identity("a"), 0, 100).await.expect("listed");
    let names: Vec<_> = waiting.iter().filter_map(|message| message.message_id.clone()).collect();
    assert_eq!(names, (0..50).map(|n| format!("m{n}")).collect::<Vec<_>>());
    assert_eq!((&waiting[0].body[..], waiting[0].properties[0].1.as_str()), (&b"hello"[..], "hall 3"));
    let settle = async |ids: &[i64], what| state.settle_c2d(identity("a"), ids.to_vec(), what, 2, now).await.expect("settled");
    let ids: Vec<i64> = waiting.iter().map(|message| message.id).collect();
    assert_eq!(settle(&ids[..2], Settlement::Complete).await, [Settled::Completed, Settled::Completed]);
    assert_eq!(settle(&ids[..1], Settlement::Complete).await, [Settled::Gone], "not twice");
    assert_eq!(settle(&ids[2..3], Settlement::Reject).await, [Settled::DeadLettered { deliveries: 0 }]);
    assert_eq!(settle(&ids[3..4], Settlement::Abandon).await, [Settled::Enqueued { deliveries: 1 }]);
    assert_eq!(settle(&ids[3..4], Settlement::Abandon).await, [Settled::DeadLettered { deliveries: 2 }]);
    assert_eq!(state.expire_c2d(Timestamp(8_999), Timestamp(0)).await.expect("done"), (0, Some(later)));
    assert_eq!(state.expire_c2d(later, Timestamp(0)).await.expect("done"), (46, None));
    let codes: Vec<&str> = state.feedback(100).await.expect("listed").iter().map(|record| record.code.word()).collect();
    assert_eq!(codes[..5], ["Success", "Success", "Rejected", "DeliveryCountExceeded", "Expired"]);
    assert_eq!(codes.len(), 50);
    let first = state.feedback(1).await.expect("listed")[0].clone();
    assert_eq!((first.device.as_str(), first.message_id.as_str(), first.enqueued), ("a", "m0", now));
    assert_eq!(state.take_feedback(first.id).await.expect("taken"), 1);
    assert_eq!(state.enqueue_c2d(identity("a"), c2d("p", Ack::None), later, now).await.expect("kept"), Enqueued::Accepted(51));
    assert_eq!(state.purge_c2d(identity("a"), now).await.expect("done"), Some(1));
    assert_eq!(state.feedback(100).await.expect("listed").len(), 49, "nobody wanted to know of the last one");
    done(state.delete_device(identity("a"), None).await).await;
    assert!(state.feedback(100).await.expect("listed").is_empty(), "it went with its device");
}

#[tokio::test]
async fn twins_change_whole_or_not_at_all_and_survive() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = open(&dir);
    done(state.create_device(new("a")).await).await;
    let object = |value: serde_json::Value| value.as_object().cloned();
    let change = Change { tags: object(json!({ "hall": 3 })), desired: object(json!({ "freq": "5m" })), ..Change::default() };
    let changed = state.change_twin(identity("a"), change, Timestamp(5)).await.expect("kept");
    assert!(matches!(changed, Changed::Done { desired: Some(patch), .. } if patch.len() == 1));
    let bad = Change { tags: object(json!({ "hall": 4 })), desired: object(json!({ "a.b": 1 })), ..Change::default() };
    assert!(matches!(state.change_twin(identity("a"), bad, Timestamp(6)).await.expect("answered"), Changed::Refused(_)));
    let stale = Change { reported: object(json!({ "x": 1 })), if_reported: Some(7), ..Change::default() };
    assert!(matches!(state.change_twin(identity("a"), stale, Timestamp(7)).await.expect("answered"), Changed::Stale));
    drop(state);
    let state = open(&dir);
    let twin = state.twin(identity("a")).await.expect("readable").expect("there");
    assert_eq!((twin.version, twin.desired.version, twin.reported.version), (3, 2, 1));
    assert_eq!((twin.tags["hall"].clone(), twin.desired.values["freq"].clone()), (json!(3), json!("5m")));
    assert!(state.twin(identity("b")).await.expect("answered").is_none());
}

#[tokio::test]
async fn a_session_is_kept_with_its_subscription_until_a_clean_one_comes() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = open(&dir);
    done(state.create_device(new("a")).await).await;
    let opened = async |state: &State, keep| state.open_session(identity("a"), keep).await.expect("opened");
    assert_eq!(opened(&state, true).await, (false, None));
    assert_eq!(opened(&state, true).await, (true, None));
    state.subscribe_session(identity("a"), Some(1)).await.expect("noted");
    drop(state);
    let state = open(&dir);
    assert_eq!(opened(&state, true).await, (true, Some(1)));
    assert_eq!(opened(&state, false).await, (false, None));
    assert_eq!(opened(&state, true).await, (false, None), "the clean one left nothing");
}

#[tokio::test]
async fn how_far_groups_have_come_is_kept_and_there_is_a_limit_of_groups() {
    let dir = tempfile::tempdir().expect("a folder");
    let (state, _) = State::open(dir.path()).expect("opens");
    let at = |partition: usize, seq: u64, number: Option<u64>| Progress { partition, seq, number, changed: Timestamp(1) };
    let of = |name: &str, progress: Progress| (name.to_owned(), progress);
    assert!(state.keep_progress(vec![of("a", at(0, 5, None)), of("b", at(1, 9, Some(3)))]).await.expect("kept"));
    assert!(state.keep_progress(vec![of("a", at(0, 7, Some(2))), of("a", at(3, 1, None))]).await.expect("kept"));
    state.close().await;
    let (state, _) = State::open(dir.path()).expect("opens");
    let expected = vec![("a".to_owned(), vec![at(0, 7, Some(2)), at(3, 1, None)]), ("b".to_owned(), vec![at(1, 9, Some(3))])];
    assert_eq!(state.groups().await.expect("readable"), expected);
    let many = |from: usize, to: usize| (from..to).map(|n| of(&format!("g{n}"), at(0, 1, None))).collect::<Vec<_>>();
    assert!(!state.keep_progress(many(0, MAX_GROUPS)).await.expect("asked"), "one at a time or all at once");
    assert_eq!(state.groups().await.expect("readable").len(), 2);
    assert!(state.keep_progress(many(2, MAX_GROUPS)).await.expect("kept"));
    assert!(!state.keep_progress(many(20, 21)).await.expect("asked"));
    assert!(state.forget_group("a".to_owned()).await.expect("asked") && !state.forget_group("a".to_owned()).await.expect("asked"));
    assert!(state.keep_progress(many(20, 21)).await.expect("kept"));
}
