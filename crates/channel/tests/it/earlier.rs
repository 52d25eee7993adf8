//! What a join is told of the one before it on its topic.

use std::time::Duration;

use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::transport::{ConnectInfo, Frame};
use matryoshka_channel::{
    Channel, Connected, RawEvent, Refused, Reply, Socket, Sockets, SocketsConfig, Terminated,
    close_channel,
};
use serde::Deserialize;
use serde_json::json;
// tidy: sleep because it is the channel that is slow, as its client asks it to be
use tokio::time::{advance, sleep};

use crate::client::{Client, Vsn};

/// Answers its join with how long ago an earlier one ended, in milliseconds.
struct Witness {
    ends_slowly: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Orders {
    refuse: bool,
    ends_slowly: bool,
    join_ms: u64,
}

impl Channel<()> for Witness {
    type Params = Orders;
    type Event = RawEvent;

    async fn join(_: &(), socket: &mut Socket, orders: Orders) -> Result<Self, Refused> {
        sleep(Duration::from_millis(orders.join_ms)).await;
        if orders.refuse {
            return Err(Refused::because("told to"));
        }
        let ended = socket.earlier_join_ended();
        let ago = ended.map(|at| at.elapsed().as_millis() as u64);
        socket.set_join_reply(&json!({ "ago": ago }));
        Ok(Self {
            ends_slowly: orders.ends_slowly,
        })
    }

    async fn handle_in(&mut self, socket: &mut Socket, event: RawEvent) -> Reply {
        match &*event.name {
            "ago" => {
                let ended = socket.earlier_join_ended();
                Reply::ok(&json!({ "ago": ended.map(|at| at.elapsed().as_millis() as u64) }))
            }
            "stop" => Reply::stop(),
            _ => panic!("told to"),
        }
    }

    async fn terminate(&mut self, _: &mut Socket, _: Terminated) {
        if self.ends_slowly {
            sleep(Duration::from_secs(2)).await;
        }
    }
}

async fn client(max_channels: usize) -> (Client, PubSub) {
    let pubsub = PubSub::local();
    let mut config = SocketsConfig::default();
    config.max_channels = max_channels;
    let sockets = Sockets::new(&pubsub, ())
        .channel::<Witness>("room:*")
        .config(config)
        .on_connect(async |(), info: ConnectInfo| {
            let user = info.params.get("user").unwrap_or_default();
            Ok(Connected::new().id(user))
        });
    (Client::connect_as(&sockets, Vsn::V2, "anna").await, pubsub)
}

/// Joins with this ref, and expects what it is told.
async fn join(client: &mut Client, reference: u32, topic: &str, ago: &str) {
    let script = r#"
        > ["R","R","T","phx_join",{}]
        < ["R","R","T","phx_reply",{"status":"ok","response":{"ago":AGO}}]
        "#;
    let script = script.replace('R', &reference.to_string());
    let script = script.replace("\"T\"", &format!("{topic:?}"));
    client.play(&script.replace("AGO", ago)).await;
}

async fn pass(ms: u64) {
    advance(Duration::from_millis(ms)).await;
}

const LEAVE: &str = r#"
    > ["1","2","room:a","phx_leave",{}]
    < ["1","2","room:a","phx_reply",{"status":"ok","response":{}}]
    < ["1","1","room:a","phx_close",{}]
    "#;

#[tokio::test(start_paused = true)]
async fn a_join_after_a_leave_knows_when_that_was_read() {
    let (mut client, _) = client(9).await;
    join(&mut client, 1, "room:a", "null").await;
    pass(500).await;
    client.play(LEAVE).await;
    pass(700).await;
    join(&mut client, 3, "room:b", "null").await;
    join(&mut client, 4, "room:a", "700").await;
    pass(100).await;
    let later = r#"
        > ["4","5","room:a","ago",{}]
        < ["4","5","room:a","phx_reply",{"status":"ok","response":{"ago":800}}]
        "#;
    client.play(later).await;
}

/// The channel works for a while on what came before the leave.
#[tokio::test(start_paused = true)]
async fn a_leave_that_waits_counts_from_when_it_was_read() {
    let (mut client, _) = client(9).await;
    let script = r#"
        > ["1","1","room:a","phx_join",{"join_ms":300}]
        > ["1","2","room:a","phx_leave",{}]
        < ["1","1","room:a","phx_reply",{"status":"ok","response":{"ago":null}}]
        < ["1","2","room:a","phx_reply",{"status":"ok","response":{}}]
        < ["1","1","room:a","phx_close",{}]
        "#;
    client.play(script).await;
    join(&mut client, 3, "room:a", "300").await;
}

#[tokio::test(start_paused = true)]
async fn a_join_that_replaces_another_knows_when_it_took_its_place() {
    let (mut client, _) = client(9).await;
    join(&mut client, 1, "room:a", "null").await;
    pass(500).await;
    let script = r#"
        > ["2","2","room:a","phx_join",{"join_ms":300}]
        < ["2","2","room:a","phx_reply",{"status":"ok","response":{"ago":300}}]
        < ["1","1","room:a","phx_close",{}]
        "#;
    client.play(script).await;
}

/// Its end is that of its work, not that of its last words.
#[tokio::test(start_paused = true)]
async fn a_join_after_a_crash_knows_when_the_work_ended() {
    let (mut client, _) = client(9).await;
    let script = r#"
        > ["1","1","room:a","phx_join",{"ends_slowly":true}]
        < ["1","1","room:a","phx_reply",{"status":"ok","response":{"ago":null}}]
        > ["1","2","room:a","crash",{}]
        < ["1","1","room:a","phx_error",{"reason":"channel_crash"}]
        "#;
    client.play(script).await;
    join(&mut client, 3, "room:a", "2000").await;
}

/// Even where the word of it has not been read yet.
#[tokio::test(start_paused = true)]
async fn a_join_in_the_place_of_one_that_crashes_knows_when_the_work_ended() {
    let (mut client, _) = client(9).await;
    let script = r#"
        > ["1","1","room:a","phx_join",{"ends_slowly":true}]
        < ["1","1","room:a","phx_reply",{"status":"ok","response":{"ago":null}}]
        > ["1","2","room:a","crash",{}]
        .
        "#;
    client.play(script).await;
    pass(999).await;
    join(&mut client, 3, "room:a", "1000").await;
}

#[tokio::test(start_paused = true)]
async fn a_join_after_an_end_on_the_servers_side_knows_when_that_was() {
    let (mut client, pubsub) = client(9).await;
    join(&mut client, 1, "room:a", "null").await;
    close_channel(&pubsub, "anna", "room:a").unwrap();
    client.play(r#"< ["1","1","room:a","phx_close",{}]"#).await;
    pass(400).await;
    join(&mut client, 2, "room:a", "400").await;
    client.play(r#"> ["2","3","room:a","stop",{}]"#).await;
    client.play(r#"< ["2","2","room:a","phx_close",{}]"#).await;
    pass(100).await;
    // What was sent to the first may still be on its way.
    join(&mut client, 4, "room:a", "500").await;
}

#[tokio::test(start_paused = true)]
async fn a_join_that_was_refused_is_no_earlier_one() {
    let (mut client, _) = client(9).await;
    let script = r#"
        > ["1","1","room:a","phx_join",{"refuse":true}]
        < ["1","1","room:a","phx_reply",{"status":"error","response":{"reason":"told to"}}]
        "#;
    client.play(script).await;
    join(&mut client, 2, "room:a", "null").await;
}

#[tokio::test(start_paused = true)]
async fn after_a_minute_it_is_forgotten_and_of_many_topics_the_oldest() {
    let (mut client, pubsub) = client(2).await;
    join(&mut client, 1, "room:a", "null").await;
    client.play(LEAVE).await;
    pass(60_000).await;
    join(&mut client, 1, "room:a", "60000").await;
    client.play(LEAVE).await;
    pass(60_001).await;
    for (reference, topic) in [(1, "room:a"), (4, "room:b"), (5, "room:c")] {
        join(&mut client, reference, topic, "null").await;
        close_channel(&pubsub, "anna", topic).unwrap();
        let Some(frame) = client.recv().await.and_then(text) else {
            panic!("no phx_close");
        };
        assert!(frame.contains("phx_close"), "{frame}");
    }
    join(&mut client, 6, "room:b", "0").await;
    join(&mut client, 7, "room:a", "null").await;
}

fn text(outgoing: matryoshka_channel::transport::Outgoing) -> Option<String> {
    match outgoing {
        matryoshka_channel::transport::Outgoing::Frame(Frame::Text(text)) => Some(text.to_string()),
        _ => None,
    }
}
