//! Real threads, and a client that joins, leaves and crashes its channels without waiting for anything.

use std::collections::HashMap;
use std::time::Duration;

use matryoshka_channel::broadcast;
use matryoshka_channel::transport::{Frame, Outgoing};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::client::{Client, Vsn};
use crate::lab::Lab;

/// What the client has heard of one join.
#[derive(Debug, Default)]
struct Heard {
    answers: usize,
    is_accepted: bool,
    ends: usize,
}

/// A step of a xorshift generator.
fn step(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Sends a random message; a join is noted.
async fn send_one(client: &mut Client, random: u64, n: usize, joins: &mut HashMap<String, Heard>) {
    let topic = ["lab:a", "lab:b"][(random >> 8) as usize % 2];
    let (event, payload) = match random % 8 {
        0 => ("phx_join", json!({})),
        1 => ("phx_join", json!({ "deny": "no" })),
        2 => ("phx_join", json!({ "do": "panic" })),
        3 => ("phx_join", json!({ "after": "hi" })),
        4 => ("phx_leave", json!({})),
        5 => ("crash", json!({})),
        6 => ("stop", json!({})),
        _ => ("bare", json!({})),
    };
    let join_ref = match event {
        "phx_join" => {
            joins.insert(n.to_string(), Heard::default());
            json!(n.to_string())
        }
        _ => Value::Null,
    };
    let frame = json!([join_ref, n.to_string(), topic, event, payload]);
    client.send(&frame.to_string()).await;
}

fn hear(frame: &Value, joins: &mut HashMap<String, Heard>) {
    let (join_ref, reference) = (frame[0].as_str(), frame[1].as_str());
    let Some((name, heard)) = join_ref.and_then(|name| Some((name, joins.get_mut(name)?))) else {
        return;
    };
    match frame[3].as_str().unwrap() {
        "phx_reply" if reference == Some(name) => {
            heard.answers += 1;
            heard.is_accepted = frame[4]["status"] == "ok";
        }
        "phx_close" | "phx_error" => heard.ends += 1,
        event => assert!(
            heard.is_accepted && heard.ends == 0,
            "{event} out of place: {frame}"
        ),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_join_is_answered_once_and_each_accepted_one_ends_once() {
    let lab = Lab::new();
    let sockets = lab.sockets();
    for seed in 1..=20u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut client = Client::connect(&sockets, Vsn::V2).await;
        let mut joins = HashMap::new();
        for n in 0..100 {
            send_one(&mut client, step(&mut random), n, &mut joins).await;
            if random.is_multiple_of(5) {
                broadcast(&lab.pubsub, "lab:a", "news", &json!({})).unwrap();
            }
        }
        // A last leave of each topic, and a heartbeat when both are answered.
        for (topic, last) in [("lab:a", "x"), ("lab:b", "y")] {
            let leave = json!([null, last, topic, "phx_leave", {}]);
            client.send(&leave.to_string()).await;
        }
        let is_settled = |joins: &HashMap<String, Heard>| {
            joins
                .values()
                .all(|heard| heard.answers == 1 && heard.ends == usize::from(heard.is_accepted))
        };
        while !is_settled(&joins) {
            let Some(Outgoing::Frame(Frame::Text(text))) = client.recv().await else {
                panic!("closed, seed {seed}: {joins:?}")
            };
            hear(&serde_json::from_str(&text).unwrap(), &mut joins);
        }
        // Nothing comes twice.
        client
            .send(r#"[null,"last","phoenix","heartbeat",{}]"#)
            .await;
        loop {
            let Some(Outgoing::Frame(Frame::Text(text))) = client.recv().await else {
                panic!("closed, seed {seed}")
            };
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame[1] == "last" {
                break;
            }
            hear(&frame, &mut joins);
        }
        assert!(is_settled(&joins), "seed {seed}: {joins:?}");
        client.close().await;
    }
    let is_over = || {
        let subscriptions = ["lab:a", "lab:b"].map(|topic| lab.pubsub.subscriptions(topic));
        let stats = sockets.stats();
        subscriptions == [0, 0] && stats.joined == stats.ended
    };
    let all_gone = async {
        while !is_over() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), all_gone).await.unwrap();
}
