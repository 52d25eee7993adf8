//! What the rest of the program may do to clients: push to a user's sockets, close one of their channels.

use matryoshka_channel::pubsub::{PubSub, memory::MemoryMesh};
use matryoshka_channel::transport::bytes::Bytes;
use matryoshka_channel::transport::memory::{Client as Wire, MemoryService};
use matryoshka_channel::transport::{ConnectInfo, Limits, Outgoing, Params};
use matryoshka_channel::{
    Broadcast, PushError, SocketsConfig, broadcast, close_channel, disconnect,
};
use serde_json::{Value, json};

use crate::client::{Client, Vsn};
use crate::lab::Lab;

const ANNA: &str = "user_socket:anna";

/// Joins `lab:a` and `lab:b`.
const JOIN: &str = r#"
    > ["1","1","lab:a","phx_join",{}]
    < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
    > ["2","2","lab:b","phx_join",{}]
    < ["2","2","lab:b","phx_reply",{"status":"ok","response":{}}]
    "#;

async fn joined(lab: &Lab, vsn: Vsn, user: &str) -> Client {
    let mut client = Client::connect_as(&lab.sockets(), vsn, user).await;
    client.play(JOIN).await;
    client
}

fn two_nodes() -> [Lab; 2] {
    let mesh = MemoryMesh::new();
    ["n1", "n2"].map(|name| Lab::on(PubSub::with(mesh.node(name))))
}

fn news(topic: &str) -> Broadcast {
    Broadcast::new(topic, "news", &json!({ "n": 1 })).unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_channel_of_a_user_is_closed_on_every_node() {
    let labs = two_nodes();
    let mut here = joined(&labs[0], Vsn::V2, "anna").await;
    let mut there = joined(&labs[1], Vsn::V2, "anna").await;
    let mut ben = joined(&labs[1], Vsn::V2, "ben").await;
    labs.iter().for_each(|lab| drop(lab.notes()));
    let sent = close_channel(&labs[0].pubsub, ANNA, "lab:a").unwrap();
    assert_eq!((sent.local, sent.peers), (1, 1));
    for client in [&mut here, &mut there] {
        client
            .play(
                r#"
                < ["1","1","lab:a","phx_close",{}]
                > ["1","3","lab:a","count",{}]
                < [null,"3","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
                > ["2","4","lab:b","count",{}]
                < ["2","4","lab:b","phx_reply",{"status":"ok","response":{"count":1}}]
                > ["5","5","lab:a","phx_join",{}]
                < ["5","5","lab:a","phx_reply",{"status":"ok","response":{}}]
                "#,
            )
            .await;
    }
    for lab in &labs {
        assert_eq!(lab.notes()[0], "terminate Kicked");
    }
    ben.play(".").await;
}

#[tokio::test(start_paused = true)]
async fn closing_what_is_not_joined_or_not_there_does_nothing() {
    let lab = Lab::new();
    let mut anna = joined(&lab, Vsn::V1, "anna").await;
    assert_eq!(close_channel(&lab.pubsub, ANNA, "lab:c").unwrap().local, 1);
    assert_eq!(
        close_channel(&lab.pubsub, "user_socket:ben", "lab:a")
            .unwrap()
            .local,
        0
    );
    let too_long = "x".repeat(70_000);
    assert!(close_channel(&lab.pubsub, ANNA, too_long).is_err());
    anna.play(".").await;
}

#[tokio::test(start_paused = true)]
async fn a_close_comes_after_the_callback_in_progress_and_before_what_waits() {
    let lab = Lab::new();
    let config = SocketsConfig::default();
    let mut anna = Client::connect(&lab.sockets_with(config), Vsn::V2).await;
    anna.play(JOIN).await;
    anna.play(
        r#"
        > ["1","3","lab:a","slow",{"ms":1000}]
        > ["1","4","lab:a","echo",{}]
        .
        "#,
    )
    .await;
    close_channel(&lab.pubsub, ANNA, "lab:a").unwrap();
    anna.play(
        r#"
        < ["1","3","lab:a","phx_reply",{"status":"ok","response":{"ms":1000}}]
        < ["1","1","lab:a","phx_close",{}]
        .
        "#,
    )
    .await;
}

/// A client that takes hardly a frame, as anna, with `lab:a` joined.
async fn joined_in_memory(lab: &Lab, limits: Limits) -> Wire {
    let service = MemoryService::new(lab.sockets())
        .with_limits(limits)
        .with_capacity(1);
    let info = ConnectInfo::new("memory", Params::parse("user=anna&vsn=2.0.0").unwrap()).unwrap();
    let mut wire = service.connect(info).await.unwrap();
    wire.send_text(r#"["1","1","lab:a","phx_join",{}]"#)
        .await
        .unwrap();
    wire.recv_frame().await.unwrap();
    wire
}

/// The event of the next frame.
async fn next_event(wire: &mut Wire) -> String {
    let frame = wire.recv_frame().await.expect("a frame");
    let frame: Value = serde_json::from_str(frame.as_text().unwrap()).unwrap();
    frame[3].as_str().unwrap().to_owned()
}

/// It would stay, and act, for as long as it likes.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_cannot_put_off_a_close() {
    let lab = Lab::new();
    let mut wire = joined_in_memory(&lab, Limits::default()).await;
    for _ in 0..10 {
        broadcast(&lab.pubsub, "lab:a", "said", &()).unwrap();
    }
    let act = r#"["1","2","lab:a","quiet",{}]"#;
    wire.send_text(act).await.unwrap();
    lab.noted("in quiet").await;
    news("lab:a").send_to(&lab.pubsub, ANNA).unwrap();
    close_channel(&lab.pubsub, ANNA, "lab:a").unwrap();
    lab.noted("terminate Kicked").await;
    lab.notes();
    for _ in 0..10 {
        wire.send_text(act).await.unwrap();
    }
    for _ in 0..10 {
        assert_eq!(next_event(&mut wire).await, "said");
    }
    assert_eq!(next_event(&mut wire).await, "news", "sent before the close");
    assert_eq!(next_event(&mut wire).await, "phx_close");
    assert_eq!(lab.notes(), [""; 0], "it has acted on");
}

/// There is no room for the word that there is something to read, and none is needed.
#[tokio::test(start_paused = true)]
async fn a_full_inbox_does_not_keep_a_close_away() {
    let lab = Lab::new();
    let mut config = SocketsConfig::default();
    config.inbox_messages = 1;
    let mut anna = Client::connect(&lab.sockets_with(config), Vsn::V2).await;
    anna.play(JOIN).await;
    anna.send(r#"["1","3","lab:a","slow",{"ms":1000}]"#).await;
    anna.play(".").await;
    anna.send(r#"["1","4","lab:a","echo",{}]"#).await;
    anna.send(r#"["1","5","lab:a","echo",{}]"#).await;
    anna.play(".").await;
    close_channel(&lab.pubsub, ANNA, "lab:a").unwrap();
    anna.play(
        r#"
        < ["1","3","lab:a","phx_reply",{"status":"ok","response":{"ms":1000}}]
        < ["1","1","lab:a","phx_close",{}]
        > ["2","6","lab:b","count",{}]
        < ["2","6","lab:b","phx_reply",{"status":"ok","response":{"count":1}}]
        "#,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_channel_closed_while_it_joins_is_answered_and_then_closed() {
    let lab = Lab::new();
    let mut anna = Client::connect(&lab.sockets(), Vsn::V2).await;
    anna.play(
        r#"
        > ["1","1","lab:a","phx_join",{"sleep":1000,"after":"hello"}]
        .
        "#,
    )
    .await;
    close_channel(&lab.pubsub, ANNA, "lab:a").unwrap();
    anna.play(
        r#"
        < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
        < ["1","1","lab:a","phx_close",{}]
        .
        "#,
    )
    .await;
    lab.noted("terminate Kicked").await;
}

#[tokio::test(start_paused = true)]
async fn a_users_sockets_get_a_push_where_they_have_joined_and_nobody_else_does() {
    let labs = two_nodes();
    let mut here = joined(&labs[0], Vsn::V2, "anna").await;
    let mut there = joined(&labs[1], Vsn::V1, "anna").await;
    let mut elsewhere = Client::connect(&labs[1].sockets(), Vsn::V2).await;
    let mut ben = joined(&labs[0], Vsn::V2, "ben").await;
    let sent = news("lab:b").send_to(&labs[0].pubsub, ANNA).unwrap();
    assert_eq!((sent.local, sent.peers), (1, 1));
    here.play("< [\"2\",null,\"lab:b\",\"news\",{\"n\":1}]\n.")
        .await;
    there
        .play("< [\"2\",null,\"lab:b\",\"news\",{\"n\":1}]\n.")
        .await;
    elsewhere.play(".").await;
    ben.play(".").await;
}

#[tokio::test(start_paused = true)]
async fn a_push_that_a_version_cannot_carry_passes_over_its_client_and_is_counted() {
    let lab = Lab::new();
    let sockets = lab.sockets();
    let mut old = Client::connect(&sockets, Vsn::V1).await;
    let mut new = Client::connect(&sockets, Vsn::V2).await;
    old.play(JOIN).await;
    new.play(JOIN).await;
    let bytes = Broadcast::with_payload("lab:a", "bin", Bytes::from_static(&[7])).unwrap();
    bytes.send_to(&lab.pubsub, ANNA).unwrap();
    new.play(r#"< 00 01 05 03 "1" "lab:a" "bin" 07"#).await;
    old.play(".").await;
    assert_eq!(sockets.stats().unencodable, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_to_a_socket_stays_in_order() {
    let lab = Lab::new();
    let mut anna = joined(&lab, Vsn::V2, "anna").await;
    news("lab:a").send_to(&lab.pubsub, ANNA).unwrap();
    close_channel(&lab.pubsub, ANNA, "lab:a").unwrap();
    news("lab:b").send_to(&lab.pubsub, ANNA).unwrap();
    disconnect(&lab.pubsub, ANNA).unwrap();
    anna.play(
        r#"
        < ["1",null,"lab:a","news",{"n":1}]
        < ["2",null,"lab:b","news",{"n":1}]
        < close 1001
        "#,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn pushes_to_a_socket_that_does_not_read_count_against_its_bound() {
    let lab = Lab::new();
    let limits = Limits::default()
        .with_outbox_bytes(64 * 1024)
        .with_outbox_items(1_000);
    let mut wire = joined_in_memory(&lab, limits).await;
    let large = json!({ "text": "x".repeat(10 * 1024) });
    let large = Broadcast::new("lab:a", "large", &large).unwrap();
    for _ in 0..100 {
        large.send_to(&lab.pubsub, ANNA).unwrap();
    }
    let mut frames = 0;
    let close = loop {
        match wire.recv().await.unwrap() {
            Outgoing::Frame(_) => frames += 1,
            Outgoing::Close(close) => break close,
        }
    };
    assert_eq!(close.code.0, 1008);
    assert!(frames <= 8, "{frames} frames");
}

#[tokio::test(start_paused = true)]
async fn other_tasks_push_to_a_channels_client_as_long_as_it_lives() {
    let lab = Lab::new();
    let mut anna = joined(&lab, Vsn::V2, "anna").await;
    anna.play(
        r#"
        > ["1","3","lab:a","keep_pusher",{}]
        < ["1","3","lab:a","phx_reply",{"status":"ok","response":{}}]
        "#,
    )
    .await;
    let pusher = lab.pushers().pop().unwrap();
    let task = tokio::spawn(async move {
        pusher.push("news", &json!({ "n": 1 })).unwrap();
        assert!(matches!(
            pusher.push("news", "text"),
            Err(PushError::Payload(_))
        ));
        pusher
            .push_payload("bin", Bytes::from_static(&[7]))
            .unwrap();
        pusher
    });
    let pusher = task.await.unwrap();
    anna.play(
        r#"
        < ["1",null,"lab:a","news",{"n":1}]
        < 00 01 05 03 "1" "lab:a" "bin" 07
        > ["1","4","lab:a","phx_leave",{}]
        < ["1","4","lab:a","phx_reply",{"status":"ok","response":{}}]
        < ["1","1","lab:a","phx_close",{}]
        "#,
    )
    .await;
    assert!(matches!(pusher.push("late", &()), Err(PushError::Ended)));
    anna.play(
        r#"
        > ["5","5","lab:a","phx_join",{"do":"pusher"}]
        < ["5","5","lab:a","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]
        .
        "#,
    )
    .await;
}
