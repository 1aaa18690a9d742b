//! What a person sees who reads a device with no hub; and random bytes where an answer should be.

use std::time::Duration;

use proptest::prelude::*;
use tidegate_adapters::modbus::{
    fault::Fault,
    link::{Asked, Link},
    plan::{Spot, Table},
    simulator::Behaviour,
    transport::Framing,
};
use tidegate_core::{
    id::LeafId,
    reading::{Quality, Reason, Value},
};
use tokio::io::AsyncWriteExt;

use crate::site::{LIMIT, WAYS, adapter, device, serve, units};

#[tokio::test]
async fn a_look_shows_who_is_there_and_how_each_point_was_asked() {
    for way in WAYS {
        let simulator = units([1, 2]);
        simulator.identify(1, &[(0, "Contoso"), (1, "TM-1"), (2, "V2.1")]);
        simulator.behave(2, Behaviour::Silent);
        let served = serve(&simulator, way).await;
        let mut adapter =
            adapter(&format!("{}timeout = \"{}ms\"\n{}{}", served.place, LIMIT.as_millis(), device(1, "", [1, 0, 50]), device(2, "", [0])));
        adapter.connect().await.expect("open");
        let looks = adapter.look(None).await.expect("open");
        let (there, silent) = (&looks[0], &looks[1]);
        let identity: Vec<_> = there.identity.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(identity, [("vendor", "Contoso"), ("product code", "TM-1"), ("revision", "V2.1")]);
        let names: Vec<_> = there.lines.iter().map(|line| line.point.as_str()).collect();
        assert_eq!(names, ["h1", "h0", "h50"], "as the configuration has them");
        let line = &there.lines[0];
        assert_eq!((&line.value, line.raw.as_str()), (&Some(Value::Int(1001)), "03e9"));
        assert_eq!((line.request.as_str(), &line.quality), ("function 3, holding registers 0 to 1", &Quality::Good));
        assert_eq!(silent.lines[0].quality, Quality::Bad(Reason::Timeout));
        assert_eq!(silent.lines[0].detail, "no answer from unit 2 within 120 ms");
        assert!(silent.lines[0].took >= LIMIT && silent.identity.is_empty());
        let one = adapter.look(Some(&LeafId::new("u1").expect("valid"))).await.expect("open");
        assert_eq!(one.len(), 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn random_bytes_instead_of_an_answer_end_as_a_fault_in_time(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
        near in any::<bool>(), rtu in any::<bool>(), count in 1_u16..10,
    ) {
        if near && bytes.len() > 9 {
            // The beginning of an answer that would fit, so that more than the first byte is looked at.
            let head: &[u8] = if rtu { &[7, 3] } else { &[0, 0, 0, 0, 0, 6, 7, 3] };
            bytes[..head.len()].copy_from_slice(head);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let answer = runtime.block_on(async {
            let (near, mut far) = tokio::io::duplex(1024);
            far.write_all(&bytes).await.expect("room");
            let mut link = Link::over(Box::new(near), if rtu { Framing::Rtu } else { Framing::Mbap });
            let asked = Asked { unit: 7, timeout: Duration::from_millis(1), pause: Duration::ZERO };
            let answer = link.ask(&asked, Spot { table: Table::Holding, address: 0, count }).await;
            drop(far);
            answer
        });
        // A right checksum or header by chance is possible only in the near miss over TCP.
        prop_assert!(matches!(answer, Err(Fault::Silent | Fault::Garbled(_) | Fault::Closed | Fault::Refused(_))) || (near && !rtu), "{:?}", answer);
    }
}
