//! What every adapter must do.

use matryoshka_pubsub_quic::pubsub::testing::contract;

use crate::cluster::{DEADLINE, chain};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_adapter_keeps_the_contract() {
    let suite = contract::all(async |count| {
        let nodes = chain(count).await;
        nodes.into_iter().map(|node| node.pubsub).collect()
    });
    tokio::time::timeout(DEADLINE, suite).await.unwrap();
}
