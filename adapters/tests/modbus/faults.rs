//! Units that are silent, garbled, refusing; a bus that goes and comes back.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tidegate_adapters::modbus::{plan::Table, simulator::Behaviour, transport::Framing};
use tidegate_core::{
    adapter::AdapterError,
    command::{Action, Command, Outcome},
    id::{LeafId, PointName},
    reading::{Reason, Value},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::site::{LIMIT, WAYS, Way, adapter, assert_true, device, serve, serve_at, turn, turns_until, units, values};

#[tokio::test]
async fn values_come_over_every_kind_of_wire() {
    for way in WAYS {
        let simulator = units([1, 2]);
        let served = serve(&simulator, way).await;
        let mut adapter = adapter(&format!("{}{}{}", served.place, device(1, "", [0, 1, 5]), device(2, "", [7])));
        adapter.connect().await.expect("open");
        assert_eq!(assert_true(&turn(&mut adapter).await), 3, "{way:?}");
        assert_eq!(assert_true(&turn(&mut adapter).await), 1, "{way:?}");
    }
}

#[tokio::test]
async fn a_silent_unit_is_bad_and_put_aside_and_the_others_keep_their_rhythm() {
    join_all(WAYS.map(one_of_five_is_silent)).await;
}

async fn one_of_five_is_silent(way: Way) {
    let simulator = units(1..=5);
    simulator.behave(3, Behaviour::Silent);
    let served = serve(&simulator, way).await;
    let devices: String = (1..=5).map(|unit| device(unit, "interval = \"100ms\"", [0, 10])).collect();
    let mut adapter = adapter(&format!("{}timeout = \"{}ms\"\n{devices}", served.place, LIMIT.as_millis()));
    adapter.connect().await.expect("open");
    let miss = turns_until("it is put aside", &mut adapter, |harvest| {
        assert_true(harvest);
        assert!(harvest.misses.iter().all(|miss| miss.leaf.as_str() == "u3"));
        harvest.misses.iter().any(|miss| miss.reason == Reason::PutAside)
    });
    let miss = miss.await.misses.remove(0);
    assert_eq!(miss.points.len(), 2, "all its points are bad");
    assert_eq!(miss.detail, "no answer from unit 3 within 120 ms; put aside, asked again now and then");
    // Aside, it is asked about once a second or less; the others ten times a second.
    let (silent, other) = (simulator.count(3), simulator.count(4));
    let begun = Instant::now();
    turns_until("the others are read thirty times", &mut adapter, |harvest| {
        assert_true(harvest);
        simulator.count(4) >= other + 60
    })
    .await;
    let probes = simulator.count(3) - silent;
    assert!(probes <= 2 + begun.elapsed().as_secs() * 2, "{way:?}: {probes} probes in {:?}", begun.elapsed());
    simulator.behave(3, Behaviour::Answer);
    turns_until("it is back", &mut adapter, |harvest| assert_true(harvest) == 2 && harvest.readings[0].leaf.as_str() == "u3").await;
}

#[tokio::test]
async fn nonsense_is_a_miss_in_words_and_bytes_and_the_neighbour_is_fine() {
    let cases = [
        (Behaviour::Garbage, Reason::Garbled, "55 aa"),
        (Behaviour::Truncated, Reason::Garbled, "got "),
        (Behaviour::WrongUnit, Reason::Garbled, "an answer from another unit or to another question"),
        (Behaviour::Exception(4), Reason::Refused(4), "unit 1 refused holding register 0: device failure (exception 4)"),
        (Behaviour::Exception(11), Reason::Refused(11), "the gateway got no answer from it (exception 11)"),
        (Behaviour::Exception(77), Reason::Refused(77), "a code the specification does not have (exception 77)"),
        (Behaviour::Silent, Reason::Timeout, "no answer from unit 1 within 120 ms"),
    ];
    for way in WAYS {
        join_all(cases.iter().map(|(behaviour, reason, words)| nonsense(way, *behaviour, reason, words))).await;
    }
}

async fn nonsense(way: Way, behaviour: Behaviour, reason: &Reason, words: &str) {
    let simulator = units([1, 2]);
    simulator.behave(1, behaviour);
    let served = serve(&simulator, way).await;
    let (one, two) = (device(1, "interval = \"1s\"", [0]), device(2, "interval = \"1s\"", [0]));
    let mut adapter = adapter(&format!("{}timeout = \"{}ms\"\n{one}{two}", served.place, LIMIT.as_millis()));
    adapter.connect().await.expect("open");
    let harvest = turn(&mut adapter).await;
    assert_eq!(harvest.readings, [], "{way:?} {behaviour:?}");
    assert_eq!(harvest.misses[0].reason, *reason, "{way:?} {behaviour:?}: {}", harvest.misses[0].detail);
    assert!(harvest.misses[0].detail.contains(words), "{way:?}: {}", harvest.misses[0].detail);
    let harvest = turn(&mut adapter).await;
    assert_eq!((assert_true(&harvest), harvest.misses.len()), (1, 0), "{way:?} {behaviour:?}: the neighbour");
}

#[tokio::test]
async fn a_busy_unit_is_asked_again() {
    let simulator = units([1]);
    simulator.behave(1, Behaviour::Exception(6));
    let served = serve(&simulator, Way::Tcp).await;
    let mut adapter = adapter(&format!("{}retries = 3\n{}", served.place, device(1, "", [0])));
    adapter.connect().await.expect("open");
    let free = tokio::spawn({
        let simulator = simulator.clone();
        async move {
            while simulator.count(1) < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            simulator.behave(1, Behaviour::Answer);
        }
    });
    assert_eq!(assert_true(&turn(&mut adapter).await), 1);
    free.await.expect("no panic");
}

#[tokio::test]
async fn a_cell_that_does_not_exist_does_not_take_its_neighbours_along() {
    let simulator = units([1]);
    // 400 is the first that the unit does not have.
    let served = serve(&simulator, Way::Tcp).await;
    let points = [390, 395, 398, 399, 400];
    let section = format!("{}{}", served.place, device(1, "interval = \"20ms\"", points).replace("max_gap = 0", "max_gap = 8"));
    let mut adapter = adapter(&section);
    adapter.connect().await.expect("open");
    let harvest = turn(&mut adapter).await;
    assert_eq!(assert_true(&harvest), 4);
    assert_eq!((harvest.misses[0].points.len(), &harvest.misses[0].reason), (1, &Reason::Refused(2)));
    let learning = simulator.count(1);
    turn(&mut adapter).await;
    assert!(simulator.count(1) - learning < learning, "it is remembered: {learning} requests at first, then fewer");
    simulator.set(1, Table::Holding, 400, &[1400]);
    adapter.connect().await.expect("open again");
    let before = simulator.count(1);
    assert_eq!(assert_true(&turn(&mut adapter).await), 5);
    assert_eq!(simulator.count(1) - before, 1, "after connecting, all in one again");
}

#[tokio::test]
async fn all_that_is_due_of_a_unit_is_one_harvest() {
    let simulator = units([1]);
    simulator.set(1, Table::Coil, 5, &[1]);
    let served = serve(&simulator, Way::Tcp).await;
    let section = format!(
        "{}{}interval = \"1h\"\n[[device.point]]\nname = \"relay\"\nregister = \"coil\"\naddress = 5\ninterval = \"100ms\"\n",
        served.place,
        device(1, "", [0, 200])
    );
    let mut adapter = adapter(&section);
    adapter.connect().await.expect("open");
    let first = values(&turn(&mut adapter).await);
    assert_eq!(first.len(), 3);
    assert_eq!(first["u1.relay"], Some(Value::Bool(true)));
    assert_eq!(values(&turn(&mut adapter).await).into_keys().collect::<Vec<_>>(), ["u1.relay"], "each at its own interval");
}

#[tokio::test]
async fn a_bus_that_is_gone_is_an_error_and_comes_back() {
    let simulator = units([1]);
    let served = serve(&simulator, Way::Tcp).await;
    let address = served.address.expect("tcp").to_string();
    let mut adapter = adapter(&format!("{}{}", served.place, device(1, "interval = \"20ms\"", [0])));
    adapter.connect().await.expect("open");
    assert_eq!(assert_true(&turn(&mut adapter).await), 1);
    drop(served);
    let error = loop {
        adapter.ready().await;
        match adapter.read().await {
            Ok(harvest) => assert_true(&harvest),
            Err(error) => break error,
        };
    };
    assert!(matches!(&error, AdapterError::Open { what, .. } if *what == address), "{error}");
    assert!(adapter.connect().await.is_err(), "nobody is there yet");
    let _served = serve_at(&simulator, Framing::Mbap, &address).await;
    adapter.connect().await.expect("open again");
    assert_eq!(assert_true(&turn(&mut adapter).await), 1);
}

#[tokio::test]
async fn a_pulled_plug_ends_a_line() {
    let simulator = units([1]);
    let served = serve(&simulator, Way::Pty).await;
    let mut adapter = adapter(&format!("{}{}", served.place, device(1, "interval = \"20ms\"", [0])));
    adapter.connect().await.expect("open");
    assert_eq!(assert_true(&turn(&mut adapter).await), 1);
    drop(served);
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        adapter.ready().await;
        match adapter.read().await {
            Err(AdapterError::Lost { .. }) => break,
            Err(other) => panic!("{other}"),
            Ok(_) => assert!(Instant::now() < end, "the end was not noticed"),
        }
    }
    assert!(matches!(adapter.connect().await, Err(AdapterError::Open { .. })));
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_opened_again_without_a_miss() {
    let simulator = units([1]);
    let served = serve(&simulator, Way::Tcp).await;
    let address = served.address.expect("tcp").to_string();
    let mut adapter = adapter(&format!("{}{}", served.place, device(1, "interval = \"50ms\"", [0])));
    adapter.connect().await.expect("open");
    turn(&mut adapter).await;
    drop(served);
    let _served = serve_at(&simulator, Framing::Mbap, &address).await;
    let harvest = turn(&mut adapter).await;
    assert_eq!((assert_true(&harvest), harvest.misses.len()), (1, 0));
}

#[tokio::test]
async fn what_was_read_before_the_bus_was_lost_is_handed_over_first() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let peer = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut question = [0; 12];
        stream.read_exact(&mut question).await.expect("a question");
        stream.write_all(&[question[0], question[1], 0, 0, 0, 5, 1, 3, 2, 0x03, 0xe8]).await.expect("an answer");
        // The next question is the last thing it hears; listener and connection go together.
        stream.read_exact(&mut question).await.expect("another question");
    });
    let mut adapter = adapter(&format!("transport = \"tcp\"\naddress = \"{address}\"\n{}", device(1, "", [0, 50])));
    adapter.connect().await.expect("open");
    let harvest = turn(&mut adapter).await;
    assert_eq!(assert_true(&harvest), 1);
    assert_eq!((harvest.misses[0].points.len(), &harvest.misses[0].reason), (1, &Reason::BusDown));
    adapter.ready().await;
    assert!(adapter.read().await.is_err(), "and then the loss is told, at once");
    peer.await.expect("no panic");
}

#[tokio::test]
async fn a_connection_can_be_closed_after_each_poll() {
    let simulator = units([1]);
    let served = serve(&simulator, Way::Tcp).await;
    let mut adapter = adapter(&format!("{}close_after_poll = true\n{}", served.place, device(1, "interval = \"20ms\"", [0])));
    adapter.connect().await.expect("open");
    for _ in 0..4 {
        assert_eq!(assert_true(&turn(&mut adapter).await), 1);
    }
    assert_eq!(simulator.connections(), 4);
}

fn command(leaf: &str, action: Action) -> Command {
    Command { id: "c".to_owned(), leaf: LeafId::new(leaf).expect("valid"), action }
}

#[tokio::test]
async fn a_read_command_reads_now_and_what_cannot_be_done_is_refused_with_nothing_on_the_bus() {
    let simulator = units([1]);
    let served = serve(&simulator, Way::Tcp).await;
    let mut adapter = adapter(&format!("{}{}", served.place, device(1, "interval = \"1h\"", [0, 50])));
    adapter.connect().await.expect("open");
    let name = |text| PointName::new(text).expect("valid");
    let read = command("u1", Action::Read(vec![name("h50")]));
    assert_eq!(adapter.execute(&read).await.expect("open"), Outcome::Done(vec![(name("h50"), Value::Int(1050))]));
    let all = adapter.execute(&command("u1", Action::Read(vec![]))).await.expect("open");
    assert!(matches!(all, Outcome::Done(values) if values.len() == 2));
    let asked = simulator.count(1);
    for refused in [
        command("u1", Action::Write(vec![(name("h0"), Value::Int(1))])),
        command("u1", Action::Raw(vec![1].into())),
        command("u9", Action::Read(vec![])),
        command("u1", Action::Read(vec![name("h7")])),
    ] {
        assert!(matches!(adapter.execute(&refused).await.expect("open"), Outcome::Rejected(_)), "{refused:?}");
    }
    assert_eq!(simulator.count(1), asked);
    simulator.behave(1, Behaviour::Exception(4));
    assert!(matches!(adapter.execute(&read).await.expect("open"), Outcome::Failed(why) if why.contains("device failure")));
}
