//! What a broadcast costs: an encoding for each version of the wire, and no turn of any channel's task.

use std::collections::BTreeSet;
use std::future::pending;
use std::thread;
use std::time::Duration;

use matryoshka_channel::broadcast;
use matryoshka_channel::transport::memory::{Client as Wire, MemoryService};
use matryoshka_channel::transport::{ConnectInfo, Frame, Params};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::lab::Lab;

/// Clients of each version.
const EACH: usize = 20;
const ALL: usize = 2 * EACH;

const VERSIONS: [(&str, &str); 2] = [
    (
        "user=anna",
        r#"{"topic":"lab:a","event":"phx_join","payload":{},"ref":"1","join_ref":"1"}"#,
    ),
    ("user=anna&vsn=2.0.0", r#"["1","1","lab:a","phx_join",{}]"#),
];

/// Those of one version stand together.
async fn joined(lab: &Lab) -> Vec<Wire> {
    let service = MemoryService::new(lab.sockets());
    let mut clients = Vec::new();
    for (query, join) in VERSIONS {
        for _ in 0..EACH {
            let info = ConnectInfo::new("memory", Params::parse(query).unwrap()).unwrap();
            let mut client = service.connect(info).await.unwrap();
            client.send_text(join).await.unwrap();
            client.recv_frame().await.unwrap();
            clients.push(client);
        }
    }
    clients
}

/// All tasks have come to rest.
async fn rest() {
    let _ = timeout(Duration::from_millis(1), pending::<()>()).await;
}

/// How many tasks these broadcasts have woken. They come from another thread while this one, which runs all tasks, waits for it: so
/// each task that is woken stands in the runtime's queue until it is counted.
async fn woken_by(lab: &Lab, events: &'static [&'static str]) -> usize {
    rest().await;
    let pubsub = lab.pubsub.clone();
    let sending = thread::spawn(move || {
        for event in events {
            let sent = broadcast(&pubsub, "lab:a", *event, &json!({ "n": 1 })).unwrap();
            assert_eq!(sent.local, ALL);
        }
    });
    sending.join().unwrap();
    Handle::current().metrics().global_queue_depth()
}

async fn received(clients: &mut [Wire]) -> Vec<Frame> {
    let mut frames = Vec::new();
    for client in clients {
        frames.push(client.recv_frame().await.unwrap());
    }
    frames
}

/// Where each frame's text lies: frames that share it were encoded once.
fn texts(frames: &[Frame]) -> BTreeSet<*const u8> {
    let text = |frame: &Frame| frame.as_text().unwrap().as_ptr();
    frames.iter().map(text).collect()
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_wakes_no_channel_and_is_encoded_once_for_each_version() {
    let lab = Lab::new();
    let mut clients = joined(&lab).await;
    let woken = woken_by(&lab, &["said"]).await;
    assert_eq!(woken, ALL, "connections, which have to write");
    // All of them are kept, or one's memory could be another's.
    let frames = received(&mut clients).await;
    let (v1, v2) = frames.split_at(EACH);
    assert_eq!((texts(v1).len(), texts(v2).len()), (1, 1));
    assert_eq!(texts(&frames).len(), 2);
    let woken = woken_by(&lab, &["said", "secret"]).await;
    assert_eq!(woken, 2 * ALL, "and channels where one is intercepted");
}

#[tokio::test(start_paused = true)]
async fn the_next_broadcasts_to_woken_connections_wake_nobody() {
    let lab = Lab::new();
    let _clients = joined(&lab).await;
    let woken = woken_by(&lab, &["said", "said", "said"]).await;
    assert_eq!(woken, ALL);
}
