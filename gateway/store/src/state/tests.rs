//! The state's promise: what returned is there after the next opening, damage costs what it hits, and neighbours in one commit do not
//! disturb each other.

use std::fs;

use tempfile::TempDir;
use tidegate_core::{
    clock::Timestamp,
    device::{Device, Proof, Thumbprint},
    dialect::{identity::Identity, key::Key},
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
    done(state.change_device(identity("leaf-01"), Some(1), proof, false, Some("stolen".into()), Timestamp(2_000)).await).await;
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
        for n in 0..DEVICES {
            done(state.create_device(new(&format!("device-{n}"))).await).await;
        }
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
