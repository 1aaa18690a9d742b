//! Lines that split, flood, fall silent, make noise, and are unplugged.

use std::time::Duration;

use tidegate_adapters::serial::frame::Cause;
use tidegate_core::{
    adapter::{Adapter, AdapterError},
    command::{Action, Command, Outcome},
    id::LeafId,
    reading::{Quality, Reason},
};
use tokio::time::{Instant, timeout};

use crate::site::{SOON, on_cable, turn, words};

const PAIRS: &str = "port = \"PORT\"\nbaud = 115200\nframe = { type = \"line\", max_length = 100 }\nmax_rate = 50\n\
     [[device]]\nid = \"d\"\nsilent_after = \"300ms\"\n[[device.message]]\nparser = \"pairs\"\npoint = [{ name = \"n\" }]\n";

#[tokio::test]
async fn a_frame_split_at_any_byte_is_one_reading() {
    let (mut serial, mut cable) = on_cable(&PAIRS.replace("300ms", "60s").replace("max_rate = 50", "max_rate = 1000")).await;
    let line = b"n=1234\r\n";
    for cut in 0..=line.len() {
        cable.say(&line[..cut]).await.expect("written");
        // Dropped and begun again, as by commands that come in between.
        for _ in 0..3 {
            timeout(Duration::from_millis(2), serial.ready()).await.ok();
        }
        cable.say(&line[cut..]).await.expect("written");
        assert_eq!(words(&turn(&mut serial).await.expect("open")), ["d.n = 1234"], "cut at {cut}");
    }
    assert_eq!(serial.tally().total(), 0);
}

#[tokio::test]
async fn a_flood_is_cut_and_counted_and_memory_stays() {
    let (mut serial, mut cable) = on_cable(PAIRS).await;
    let flood = tokio::spawn(async move {
        for n in 0..5000 {
            cable.say(format!("n={n}\r\n").as_bytes()).await.expect("written");
        }
        cable.say(&[b'x'; 20_000]).await.expect("written");
        cable
    });
    let (mut readings, begun) = (0, Instant::now());
    while !flood.is_finished() || serial.tally().of(Cause::Oversized) == 0 {
        assert!(begun.elapsed() < SOON, "the flood is read to its end");
        if timeout(Duration::from_millis(50), serial.ready()).await.is_ok() {
            readings += serial.read().await.expect("open").readings.len();
        }
    }
    let seconds = begun.elapsed().as_secs() as usize + 1;
    assert!((50..=50 * (seconds + 1)).contains(&readings), "{readings} readings in {seconds} s");
    assert_eq!(serial.tally().of(Cause::Flood) as usize + readings, 5000, "every frame is either read or counted");
    assert_eq!(serial.tally().of(Cause::Oversized), 1, "one endless line is one thing");
}

#[tokio::test]
async fn a_silent_device_is_bad_and_one_that_only_makes_noise_is_garbled() {
    let (mut serial, mut cable) = on_cable(PAIRS).await;
    let miss = |harvest: &tidegate_core::adapter::Harvest| harvest.misses.first().map(|miss| (miss.reason.clone(), miss.detail.clone()));
    let silent = turn(&mut serial).await.expect("open");
    assert_eq!(miss(&silent), Some((Reason::Timeout, "nothing heard of it for 300 ms".to_owned())));
    cable.say(b"n=0\r\n").await.expect("written");
    assert_eq!(words(&turn(&mut serial).await.expect("open")), ["d.n = 0"]);
    cable.say(b"\xff\xfe\x01garbage\r\n").await.expect("written");
    let (reason, detail) = loop {
        if let Some((reason, detail)) = miss(&turn(&mut serial).await.expect("open"))
            && reason == Reason::Garbled
        {
            break (reason, detail);
        }
    };
    assert!(detail.contains("1 like no configured message (last ff fe 01 67"), "{reason}: {detail}");
}

#[tokio::test]
async fn a_line_unplugged_in_the_middle_of_a_frame_is_lost_and_found_again() {
    let (mut serial, mut cable) = on_cable(PAIRS).await;
    cable.say(b"n=5\r\nn=1").await.expect("written");
    assert_eq!(words(&turn(&mut serial).await.expect("open")), ["d.n = 5"]);
    drop(cable);
    let lost = loop {
        match turn(&mut serial).await {
            Ok(harvest) => assert!(harvest.readings.is_empty(), "half a frame is no reading"),
            Err(error) => break error,
        }
    };
    assert!(matches!(lost, AdapterError::Lost { .. }), "{lost}");
    let gone = timeout(SOON, serial.connect()).await.expect("bounded").expect_err("nothing is there");
    assert!(matches!(gone, AdapterError::Open { .. }), "{gone}");
}

#[tokio::test]
async fn a_port_is_opened_once() {
    let (serial, cable) = on_cable(PAIRS).await;
    let mut second = crate::site::serial(&PAIRS.replace("PORT", &cable.path.display().to_string()));
    let refused = second.connect().await;
    assert!(matches!(refused, Err(AdapterError::Open { .. })), "{refused:?}");
    drop(serial);
}

#[tokio::test]
async fn direction_by_the_kernel_is_refused_where_there_is_none() {
    let cable = tidegate_adapters::serial::simulator::Cable::lay().expect("a pty");
    let section = format!("rs485 = {{ delay_before = \"1ms\" }}\n{}", PAIRS.replace("PORT", &cable.path.display().to_string()));
    let refused = crate::site::serial(&section).connect().await.expect_err("a pty has no transceiver").to_string();
    assert!(refused.contains("no RS-485 direction by the kernel"), "{refused}");
}

const ASKED: &str = "port = \"PORT\"\nbaud = 115200\ntimeout = \"100ms\"\nretries = 0\nframe = { type = \"line\" }\n\
     [[device]]\nid = \"a\"\ninterval = \"10ms\"\nraw = true\n[[device.message]]\nparser = \"regex\"\nrequest = 'A\\r'\npattern = '^(?<n>[0-9]+)$'\npoint = [{ name = \"n\" }]\n\
     [[device]]\nid = \"b\"\ninterval = \"10ms\"\n[[device.message]]\nparser = \"regex\"\nrequest = 'B\\r'\npattern = '^(?<n>[0-9]+)$'\npoint = [{ name = \"n\" }]\n";

/// Nothing in an answer says whose it is, and the device is sometimes later than the time limit.
#[tokio::test]
async fn a_late_answer_is_never_taken_for_the_next_question() {
    let (mut serial, cable) = on_cable(ASKED).await;
    let mut asked = 0;
    let (send, mut late) = tokio::sync::mpsc::unbounded_channel::<()>();
    let device = tokio::spawn(async move {
        let mut cable = cable;
        let mut heard = [0; 2];
        loop {
            let mut had = 0;
            while had < 2 {
                match cable.hear(&mut heard[had..]).await {
                    Ok(count) => had += count,
                    Err(_) => return,
                }
            }
            asked += 1;
            if asked % 3 == 0 {
                tokio::time::sleep(Duration::from_millis(150)).await;
                send.send(()).ok();
            }
            let answer = if heard[0] == b'A' { "1\r\n" } else { "2\r\n" };
            if cable.say(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    });
    let mut good = 0;
    while good < 20 || late.is_empty() {
        for reading in turn(&mut serial).await.expect("open").readings {
            let right = if reading.leaf.as_str() == "a" { 1.0 } else { 2.0 };
            assert_eq!(reading.value.expect("a value").as_f64(), Some(right), "{}", reading.leaf);
            assert_eq!(reading.quality, Quality::Good);
            good += 1;
        }
    }
    late.try_recv().expect("some were late");
    device.abort();
}

#[tokio::test]
async fn a_silent_device_is_put_aside_and_the_other_one_keeps_its_rhythm() {
    let (mut serial, cable) = on_cable(ASKED).await;
    let device = tokio::spawn(cable.answer(b"\r", |asked| asked.starts_with(b"B").then(|| b"7\r\n".to_vec())));
    let (mut silent, mut good) = (0, 0);
    while good < 50 {
        let harvest = turn(&mut serial).await.expect("open");
        silent += harvest.misses.iter().filter(|miss| miss.leaf.as_str() == "a").count();
        good += harvest.readings.len();
    }
    assert!((3..25).contains(&silent), "{silent} times the silent one was asked, the other {good} times");
    device.abort();
}

#[tokio::test]
async fn raw_bytes_go_only_where_they_are_allowed() {
    let (mut serial, mut cable) = on_cable(ASKED).await;
    let raw = |leaf: &str| Command {
        id: "1".to_owned(),
        leaf: LeafId::new(leaf).expect("valid"),
        action: Action::Raw(b"\x00\xffhi\r".to_vec().into()),
    };
    assert!(matches!(serial.execute(&raw("b")).await, Ok(Outcome::Rejected(_))));
    assert!(matches!(serial.execute(&raw("a")).await, Ok(Outcome::Sent)));
    let mut heard = [0; 5];
    let mut had = 0;
    while had < 5 {
        had += cable.hear(&mut heard[had..]).await.expect("open");
    }
    assert_eq!(&heard, b"\x00\xffhi\r");
}

#[tokio::test]
async fn looking_listens_to_who_speaks_and_asks_who_is_asked() {
    let (mut serial, cable) = on_cable(PAIRS).await;
    let device = tokio::spawn(cable.speak(Duration::from_millis(20), || b"noise\r\nn=0\r\n".to_vec()));
    let looks = timeout(SOON, serial.look(None)).await.expect("bounded").expect("open");
    assert_eq!((looks.len(), looks[0].lines.len()), (1, 1));
    assert_eq!(looks[0].lines[0].raw, "6e 3d 30");
    assert!(looks[0].identity[0].1.contains("like no configured message"), "{:?}", looks[0].identity);
    device.abort();
    let (mut serial, cable) = on_cable(ASKED).await;
    let device = tokio::spawn(cable.answer(b"\r", |asked| asked.starts_with(b"B").then(|| b"7\r\n".to_vec())));
    let looks = timeout(SOON, serial.look(None)).await.expect("bounded").expect("open");
    let said: Vec<_> = looks.iter().map(|look| (look.leaf.as_str(), look.lines[0].quality.clone())).collect();
    assert_eq!(said, [("a", Quality::Bad(Reason::Timeout)), ("b", Quality::Good)]);
    device.abort();
}
