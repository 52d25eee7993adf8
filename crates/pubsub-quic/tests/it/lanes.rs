//! Lanes do not wait for each other.

use std::sync::Arc;

use matryoshka_pubsub_quic::pubsub::{Payload, TrafficClass};
use tokio::time::timeout;

use crate::cluster::{DEADLINE, chain, until};
use crate::overload::{Gate, Held, on_lane};

/// A message as large as there is, and more behind it, on a lane that nobody reads on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_large_or_stuck_holds_up_its_own_lane_only() {
    let nodes = chain(2).await;
    let held = Arc::new(Gate::default());
    let opened = Held::new(&held);
    let _held = nodes[1]
        .pubsub
        .subscribe_sink("held", held.clone())
        .unwrap();
    let mut free = nodes[1].pubsub.subscribe("free").unwrap();
    let stuck = on_lane(&nodes[0].pubsub, 0);
    stuck
        .broadcast("held", 0_u32.to_be_bytes().to_vec())
        .unwrap();
    until("its first message is being delivered", || {
        held.entered() == 1
    })
    .await;
    let mut large = vec![0; Payload::MAX_BYTES];
    large[..4].copy_from_slice(&1_u32.to_be_bytes());
    let sent = stuck.broadcast("held", large).unwrap();
    assert!(sent.dropped.is_empty());
    for lane in 1..8 {
        let other = on_lane(&nodes[0].pubsub, lane);
        other.broadcast("free", vec![lane as u8]).unwrap();
        let message = timeout(DEADLINE, free.next()).await.unwrap();
        assert_eq!(message.unwrap().unwrap().payload(), &vec![lane as u8]);
    }
    for class in [
        TrafficClass::Tracker,
        TrafficClass::Control,
        TrafficClass::Bulk,
    ] {
        let payload = Payload::from("still free").with_class(class);
        nodes[0].pubsub.broadcast("free", payload).unwrap();
        let message = timeout(DEADLINE, free.next()).await.unwrap();
        assert_eq!(message.unwrap().unwrap().payload(), "still free");
    }
    assert_eq!((held.entered(), held.seen()), (1, Vec::new()));
    drop(opened);
    until("what was stuck comes in order", || held.seen() == [0, 1]).await;
}
