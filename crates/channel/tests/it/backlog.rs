//! What one client's messages may hold of the server's memory, in all its channels together.

use matryoshka_channel::{MAX_SUPERSEDED_JOINS, SocketsConfig};
use serde_json::json;

use crate::client::{Client, Vsn};
use crate::lab::Lab;
use crate::log::Lines;

/// The lines that name the limit: a busy machine may have others to tell.
fn told(lines: &Lines) -> Vec<String> {
    let mut lines = lines.take();
    lines.retain(|line| line.contains("stall_timeout"));
    lines
}

const LIMIT: usize = 10_000;

fn config() -> SocketsConfig {
    let mut config = SocketsConfig::default();
    config.waiting_bytes = LIMIT;
    config
}

async fn joined(client: &mut Client, topics: &[&str]) {
    for topic in topics {
        let join = r#"
            > ["1","1","TOPIC","phx_join",{}]
            < ["1","1","TOPIC","phx_reply",{"status":"ok","response":{}}]
            "#;
        client.play(&join.replace("TOPIC", topic)).await;
    }
}

/// A message that a channel is busy with for a second, of about so many bytes.
async fn send(client: &mut Client, topic: &str, bytes: usize) {
    let payload = json!({ "ms": 1000, "filling": "x".repeat(bytes) });
    let message = json!([null, "2", topic, "slow", payload]);
    client.send(&message.to_string()).await;
}

const BEAT: &str = r#"> [null,"h","phoenix","heartbeat",{}]"#;
const ANSWER: &str = r#"< [null,"h","phoenix","phx_reply",{"status":"ok","response":{}}]"#;

#[tokio::test(start_paused = true)]
async fn what_waits_in_all_inboxes_of_a_connection_is_bounded() {
    let lab = Lab::new();
    let sockets = lab.sockets_with(config());
    let mut client = Client::connect(&sockets, Vsn::V2).await;
    let topics = ["lab:a", "lab:b", "lab:c"];
    joined(&mut client, &topics).await;
    // Each channel is at work with one, and one waits: far from any channel's own bound.
    for topic in topics {
        send(&mut client, topic, 2_000).await;
    }
    client.play(&format!(".\n{BEAT}\n{ANSWER}")).await;
    for topic in topics {
        send(&mut client, topic, 2_000).await;
    }
    client.play(&format!("{BEAT}\n.")).await;
    let read = sockets.stats().messages_in;
    assert_eq!(
        read,
        3 + 3 + 1 + 2,
        "the third is not read, nor what follows"
    );
    for _ in topics {
        client.recv().await;
    }
    client.play(ANSWER).await;
}

/// Handing it to the channel does not make it small.
#[tokio::test(start_paused = true)]
async fn what_channels_are_at_work_with_counts_until_they_are_done() {
    let lab = Lab::new();
    let sockets = lab.sockets_with(config());
    let mut client = Client::connect(&sockets, Vsn::V2).await;
    joined(&mut client, &["lab:a", "lab:b"]).await;
    send(&mut client, "lab:a", LIMIT - 500).await;
    client.play(&format!("{BEAT}\n{ANSWER}\n.")).await;
    send(&mut client, "lab:b", 1_000).await;
    client.play(&format!("{BEAT}\n.")).await;
    client.recv().await;
    client.play(ANSWER).await;
}

/// The parameters of joins that are still at work, whatever topic they are of and whether or not they are superseded.
#[tokio::test(start_paused = true)]
async fn large_joins_at_work_stop_the_reading_until_they_are_over() {
    let join = |topic: &str, bytes: usize, more: serde_json::Value| {
        let mut params = json!({ "sleep": 1000, "filling": "x".repeat(bytes) });
        params
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!(["1", "1", topic, "phx_join", params]).to_string()
    };
    for (topic, outcome) in [
        ("lab:b", json!({})),
        ("lab:b", json!({ "deny": "no" })),
        ("lab:b", json!({ "do": "panic" })),
        ("lab:a", json!({})),
    ] {
        let lab = Lab::new();
        let sockets = lab.sockets_with(config());
        let mut client = Client::connect(&sockets, Vsn::V2).await;
        client
            .send(&join("lab:a", LIMIT - 100, outcome.clone()))
            .await;
        client.play(&format!("{BEAT}\n{ANSWER}\n.")).await;
        client.send(&join(topic, 1_000, outcome)).await;
        client.play(&format!("{BEAT}\n.")).await;
        // The answer of the first, which is still read no further than that.
        client.recv().await;
        client.play(ANSWER).await;
    }
}

/// A channel that ends gives back what waits for it, however it ends.
#[tokio::test(start_paused = true)]
async fn what_waits_for_a_channel_that_ends_counts_no_more() {
    for end in [
        r#"["1","e","lab:a","stop",{}]"#,
        r#"["1","e","lab:a","crash",{}]"#,
    ] {
        let lab = Lab::new();
        let sockets = lab.sockets_with(config());
        let mut client = Client::connect(&sockets, Vsn::V2).await;
        joined(&mut client, &["lab:a"]).await;
        send(&mut client, "lab:a", 1_000).await;
        client.send(end).await;
        for _ in 0..3 {
            send(&mut client, "lab:a", 4_000).await;
        }
        client.play(&format!("{BEAT}\n.")).await;
        client.recv().await;
        client.recv().await;
        client.play(ANSWER).await;
        assert_eq!(sockets.stats().inbox_waiting, 0);
    }
}

/// A hanging handler or join, and more for it than its inbox holds.
///
/// Its lines are collected wherever there are some, since one that a test without a collector writes first may be off for the others.
async fn stalled(begin: &str) -> (Lab, Client, Lines) {
    let lines = Lines::collect();
    let mut config = SocketsConfig::default();
    config.inbox_messages = 2;
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets_with(config), Vsn::V2).await;
    joined(&mut client, &["lab:b"]).await;
    client.play(begin).await;
    client.play(".").await;
    for n in 3..6 {
        let message = json!(["1", n.to_string(), "lab:a", "echo", {}]);
        client.send(&message.to_string()).await;
    }
    client.play(&format!("{BEAT}\n.")).await;
    (lab, client, lines)
}

/// As many joins as may wait for others of their topic: nothing more is read, but only for so long.
#[tokio::test(start_paused = true)]
async fn a_join_that_hangs_before_those_that_replace_it_ends_alone() {
    let _lines = Lines::collect();
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    joined(&mut client, &["lab:b"]).await;
    for n in 0..=MAX_SUPERSEDED_JOINS {
        let sleep = if n == 0 { 70_000 } else { 0 };
        let reference = format!("j{n}");
        let join = json!([reference, reference, "lab:a", "phx_join", { "sleep": sleep }]);
        client.send(&join.to_string()).await;
    }
    client.play(&format!("{BEAT}\n.")).await;
    let crashed = r#"
        < ["j0","j0","lab:a","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]
        "#;
    client.play(&format!("{crashed}\n{ANSWER}")).await;
    for n in 1..=MAX_SUPERSEDED_JOINS {
        let reply = json!({ "status": "ok", "response": {} });
        let reply = json!([
            format!("j{n}"),
            format!("j{n}"),
            "lab:a",
            "phx_reply",
            reply
        ]);
        client.play(&format!("< {reply}")).await;
        if n > 1 {
            let old = format!("j{}", n - 1);
            let close = json!([old, old, "lab:a", "phx_close", {}]);
            client.play(&format!("< {close}")).await;
        }
    }
    client
        .play(
            r#"
            > ["1","6","lab:b","count",{}]
            < ["1","6","lab:b","phx_reply",{"status":"ok","response":{"count":1}}]
            .
            "#,
        )
        .await;
}

/// And so it is with joins that replace channels, of as many topics.
#[tokio::test(start_paused = true)]
async fn joins_that_hang_before_nothing_but_the_ends_of_others_end_one_by_one() {
    let _lines = Lines::collect();
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    let topics: Vec<_> = (0..MAX_SUPERSEDED_JOINS)
        .map(|n| format!("lab:{n}"))
        .collect();
    let topics: Vec<_> = topics.iter().map(String::as_str).collect();
    joined(&mut client, &topics).await;
    for topic in topics {
        let join = json!(["2", "2", topic, "phx_join", { "sleep": 70_000 }]);
        client.send(&join.to_string()).await;
    }
    client.play(&format!("{BEAT}\n.")).await;
    let crashed = r#"
        < ["2","2","lab:0","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]
        < ["1","1","lab:0","phx_close",{}]
        "#;
    client.play(&format!("{crashed}\n{ANSWER}\n.")).await;
}

const UNMATCHED: &str = r#"
    < [null,"3","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
    < [null,"4","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
    < [null,"5","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
    "#;

/// The connection goes on as if nothing had been, and so may a new join.
const GOES_ON: &str = r#"
    < [null,"h","phoenix","phx_reply",{"status":"ok","response":{}}]
    > ["1","6","lab:b","count",{}]
    < ["1","6","lab:b","phx_reply",{"status":"ok","response":{"count":1}}]
    > ["7","7","lab:a","phx_join",{}]
    < ["7","7","lab:a","phx_reply",{"status":"ok","response":{}}]
    .
    "#;

#[tokio::test(start_paused = true)]
async fn a_join_that_hangs_before_a_full_inbox_ends_alone() {
    let join = r#"> ["1","1","lab:a","phx_join",{"sleep":70000}]"#;
    let (lab, mut client, lines) = stalled(join).await;
    let crashed = r#"
        < ["1","1","lab:a","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]
        "#;
    for script in [crashed, UNMATCHED, GOES_ON] {
        client.play(script).await;
    }
    let lines = told(&lines);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("lab:a") && lines[0].contains("stall_timeout"),
        "{lines:?}"
    );
    assert_eq!(lab.pubsub.subscriptions("lab:a"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_hangs_before_a_full_inbox_ends_alone() {
    let begin = r#"
        > ["1","1","lab:a","phx_join",{}]
        < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
        > ["1","2","lab:a","slow",{"ms":70000}]
        "#;
    let (lab, mut client, _lines) = stalled(begin).await;
    let ended = r#"< ["1","1","lab:a","phx_error",{"reason":"channel_crash"}]"#;
    for script in [UNMATCHED, ended, GOES_ON] {
        client.play(script).await;
    }
    assert!(lab.notes().contains(&"dropped in the middle".to_owned()));
    assert_eq!(lab.pubsub.subscriptions("lab:a"), 1);
}

/// Its client has left, whatever the channel was at.
#[tokio::test(start_paused = true)]
async fn a_channel_that_hangs_before_its_leave_tells_its_hooks() {
    let (lab, _lines) = (Lab::new(), Lines::collect());
    let mut client = Client::connect(&lab.sockets_with(config()), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{"leave_hooks":["a"]}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            "#,
        )
        .await;
    joined(&mut client, &["lab:b"]).await;
    for (topic, bytes) in [("lab:a", 6_000), ("lab:b", 5_000)] {
        let payload = json!({ "ms": 70_000, "filling": "x".repeat(bytes) });
        let message = json!([null, "2", topic, "slow", payload]);
        client.send(&message.to_string()).await;
        if topic == "lab:a" {
            client.send(r#"["1","3","lab:a","phx_leave",{}]"#).await;
        }
        client.play(".").await;
    }
    lab.notes();
    client.play(&format!("{BEAT}\n.")).await;
    let left = r#"
        < ["1","3","lab:a","phx_reply",{"status":"ok","response":{}}]
        < ["1","1","lab:a","phx_close",{}]
        "#;
    client.play(&format!("{left}\n{ANSWER}\n.")).await;
    let ended = ["dropped in the middle", "terminate Left", "hook a of lab:a"];
    assert_eq!(lab.notes(), ended);
}

/// With room in between, a wait begins anew.
#[tokio::test(start_paused = true)]
async fn a_slow_channel_that_works_on_is_left_alone() {
    let mut config = SocketsConfig::default();
    config.inbox_messages = 1;
    let mut client = Client::connect(&Lab::new().sockets_with(config), Vsn::V2).await;
    joined(&mut client, &["lab:a"]).await;
    for n in 0..6 {
        let message = json!(["1", n.to_string(), "lab:a", "slow", { "ms": 15_000 }]);
        client.send(&message.to_string()).await;
    }
    for n in 0..6 {
        let reply = json!({ "status": "ok", "response": { "ms": 15_000 } });
        let reply = json!(["1", n.to_string(), "lab:a", "phx_reply", reply]);
        client.play(&format!("< {reply}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_channels_that_hold_too_much_together_the_one_with_most_ends() {
    let _lines = Lines::collect();
    let mut client = Client::connect(&Lab::new().sockets_with(config()), Vsn::V2).await;
    joined(&mut client, &["lab:a", "lab:b", "lab:c"]).await;
    for (topic, bytes) in [("lab:a", 2_000), ("lab:b", 5_000), ("lab:c", 4_000)] {
        let payload = json!({ "ms": 70_000, "filling": "x".repeat(bytes) });
        let message = json!([null, "2", topic, "slow", payload]);
        client.send(&message.to_string()).await;
        client.play(".").await;
    }
    client.play(&format!("{BEAT}\n.")).await;
    client
        .play(r#"< ["1","1","lab:b","phx_error",{"reason":"channel_crash"}]"#)
        .await;
    client.play(&format!("{ANSWER}\n.")).await;
}
