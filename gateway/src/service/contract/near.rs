//! What people ask who stand beside the box: a close look at a device, where the machine is, which certificate it shows.

use tidegate_core::{
    adapter::Harvest,
    clock::Clock,
    reading::{Quality, Reading, Value},
};

use super::*;

#[tokio::test]
async fn a_device_is_watched_closely_for_ten_minutes_and_its_reads_are_told() {
    let house = house().await;
    let cookie = house.claim().await;
    assert_eq!(house.page(&cookie, "GET", "/devices/boiler", Json::Null).await.json()["watched_s"], Json::Null);
    let watched = house.page(&cookie, "POST", "/devices/boiler/watch", Json::Null).await;
    let left = watched.json()["watched_s"].as_u64().expect("for a while");
    assert!(watched.status == 200 && (590..=600).contains(&left), "{watched:?}");
    let viewer = house.token(&cookie, "viewer").await;
    assert_eq!(house.program(&viewer, "DELETE", "/devices/boiler/watch", Json::Null).await.status, 403);
    assert_eq!(house.page(&cookie, "POST", "/devices/nobody/watch", Json::Null).await.code(), "not-found");
    let reading = Reading {
        leaf: "boiler".parse().expect("valid"),
        point: "t".parse().expect("valid"),
        value: Some(Value::Int(215)),
        quality: Quality::Good,
        taken: house.service.ends.parts.clock.now(),
    };
    let told = tracing_of(|| house.service.ends.parts.closeups.tell(&Harvest { readings: vec![reading], ..Harvest::default() }));
    assert!(told.contains("t=215") && told.contains("device=boiler"), "{told}");
    let ended = house.page(&cookie, "DELETE", "/devices/boiler/watch", Json::Null).await.json();
    assert_eq!(ended["watched_s"], Json::Null);
}

/// What is logged meanwhile, as text.
fn tracing_of(work: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("whole").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = lines.0.lock().expect("whole").clone();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn where_the_machine_is_and_which_certificate_it_shows_is_told() {
    let house = house().await;
    let cookie = house.claim().await;
    let network = house.page(&cookie, "GET", "/network", Json::Null).await.json();
    assert!(network["addresses"].is_array() && network["routed"].is_boolean(), "{network}");
    assert_eq!(house.page(&cookie, "GET", "/certificate", Json::Null).await.code(), "not-found", "served without TLS");
    assert!(!crate::examine::Network::here().addresses.iter().any(|address| address.starts_with("127.") || address.starts_with("fe80")));
}
