//! Pushes, replies, broadcasts, and what is intercepted.

use matryoshka_channel::pubsub::{PubSub, memory::MemoryMesh};
use matryoshka_channel::transport::bytes::Bytes;
use matryoshka_channel::{Broadcast, broadcast, local_broadcast};
use serde_json::json;

use crate::client::{Client, Vsn};
use crate::lab::Lab;
use crate::log::Lines;

const JOIN: &str = r#"
    > ["1","1","lab:a","phx_join",{}]
    < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
    "#;

/// Two clients in one room, the second of which speaks this version.
async fn pair(lab: &Lab, vsn: Vsn) -> (Client, Client) {
    let sockets = lab.sockets();
    let mut anna = Client::connect(&sockets, Vsn::V2).await;
    let mut ben = Client::connect_as(&sockets, vsn, "ben").await;
    anna.play(JOIN).await;
    ben.play(JOIN).await;
    (anna, ben)
}

#[tokio::test(start_paused = true)]
async fn p1_a_push_reaches_this_client_only() {
    for vsn in [Vsn::V1, Vsn::V2] {
        let (mut anna, mut ben) = pair(&Lab::new(), vsn).await;
        ben.play(
            r#"
            > ["1","2","lab:a","push_me",{"a":1}]
            < ["1",null,"lab:a","pushed",{"a":1}]
            .
            "#,
        )
        .await;
        anna.play(".").await;
    }
}

#[tokio::test(start_paused = true)]
async fn p1_bytes_are_pushed_as_bytes() {
    let (mut anna, _ben) = pair(&Lab::new(), Vsn::V2).await;
    anna.play(
        r#"
        > 00 01 01 05 07 "1" "2" "lab:a" "push_me" ff 00
        < 00 01 05 06 "1" "lab:a" "pushed" ff 00
        "#,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_push_that_is_no_object_is_an_error_of_the_push() {
    let (mut anna, _ben) = pair(&Lab::new(), Vsn::V2).await;
    anna.play(
        r#"
        > ["1","2","lab:a","push_text",{}]
        < ["1","2","lab:a","phx_reply",{"status":"error","response":{"reason":"push failed"}}]
        > ["1","3","lab:a","say_text",{}]
        < ["1","3","lab:a","phx_reply",{"status":"error","response":{"reason":"broadcast failed"}}]
        .
        "#,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn p2_a_reply_carries_the_messages_ref() {
    let (mut anna, mut ben) = pair(&Lab::new(), Vsn::V1).await;
    anna.play(
        r#"
        > ["1",99,"lab:a","bare",{}]
        < ["1",99,"lab:a","phx_reply",{"status":"ok","response":{}}]
        > 00 01 02 05 04 "1" "22" "lab:a" "echo" ff 00
        < 01 01 02 05 02 "1" "22" "lab:a" "ok" ff 00
        "#,
    )
    .await;
    ben.play(".").await;
}

#[tokio::test(start_paused = true)]
async fn p3_a_handle_answers_later_from_anywhere_any_number_of_times() {
    let lab = Lab::new();
    let (mut anna, mut ben) = pair(&lab, Vsn::V1).await;
    anna.play("> [\"1\",\"2\",\"lab:a\",\"keep\",{}]\n.").await;
    ben.play("> [\"1\",\"7\",\"lab:a\",\"keep\",{}]\n.").await;
    let handles = lab.handles();
    let task = tokio::spawn(async move {
        handles[0].ok(&json!({ "n": 1 })).unwrap();
        handles[0].error(&json!({ "n": 2 })).unwrap();
        handles[0].payload("ok", Bytes::from_static(&[7])).unwrap();
        handles[1].ok(&json!({ "n": 3 })).unwrap();
        assert!(
            handles[1].payload("ok", Bytes::from_static(&[7])).is_err(),
            "V1 has no bytes"
        );
    });
    task.await.unwrap();
    anna.play(
        r#"
        < ["1","2","lab:a","phx_reply",{"status":"ok","response":{"n":1}}]
        < ["1","2","lab:a","phx_reply",{"status":"error","response":{"n":2}}]
        < 01 01 01 05 02 "1" "2" "lab:a" "ok" 07
        > ["1","3","lab:a","stop",{}]
        < ["1","1","lab:a","phx_close",{}]
        "#,
    )
    .await;
    ben.play(r#"< ["1","7","lab:a","phx_reply",{"status":"ok","response":{"n":3}}]"#)
        .await;
    lab.handles()[0].ok(&()).unwrap();
    anna.play(r#"< ["1","2","lab:a","phx_reply",{"status":"ok","response":null}]"#)
        .await;
    lab.handles()[0].ok_empty().unwrap();
    anna.play(r#"< ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]"#)
        .await;
    lab.handles()[0].status("maybe", &1).unwrap();
    anna.play(r#"< ["1","2","lab:a","phx_reply",{"status":"maybe","response":1}]"#)
        .await;
    anna.close().await;
    lab.handles()[0].ok(&()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn p4_a_handle_outside_a_message_crashes_the_channel() {
    let lab = Lab::new();
    let (mut anna, _ben) = pair(&lab, Vsn::V2).await;
    let mut carl = Client::connect_as(&lab.sockets(), Vsn::V2, "carl").await;
    carl.play(&JOIN.replace("lab:a", "lab:c")).await;
    carl.play("> [\"1\",\"2\",\"lab:c\",\"keep\",{}]\n.").await;
    lab.mailbox("lab:c")
        .send(json!({ "do": "handle" }))
        .unwrap();
    carl.play(r#"< ["1","1","lab:c","phx_error",{"reason":"channel_crash"}]"#)
        .await;
    anna.play(".").await;
}

#[tokio::test(start_paused = true)]
async fn p5_p6_a_broadcast_reaches_all_and_broadcast_from_all_others() {
    for vsn in [Vsn::V1, Vsn::V2] {
        let (mut anna, mut ben) = pair(&Lab::new(), vsn).await;
        ben.play(
            r#"
            > ["1","2","lab:a","say",{"a":1}]
            < [null,null,"lab:a","said",{"a":1}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","3","lab:a","whisper",{"b":2}]
            .
            "#,
        )
        .await;
        anna.play(
            r#"
            < [null,null,"lab:a","said",{"a":1}]
            < [null,null,"lab:a","shout",{"b":2}]
            .
            "#,
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn p5_p6_p7_broadcasts_cross_nodes() {
    let mesh = MemoryMesh::new();
    let labs = ["n1", "n2"].map(|name| Lab::on(PubSub::with(mesh.node(name))));
    let mut anna = Client::connect(&labs[0].sockets(), Vsn::V2).await;
    let mut ben = Client::connect(&labs[1].sockets(), Vsn::V1).await;
    anna.play(JOIN).await;
    ben.play(JOIN).await;
    anna.play("> [\"1\",\"2\",\"lab:a\",\"whisper\",{\"a\":1}]\n.")
        .await;
    ben.play(r#"< [null,null,"lab:a","shout",{"a":1}]"#).await;
    ben.play(r#"> ["1","2","lab:a","shout",{"b":1}]"#).await;
    ben.play(r#"< [null,null,"lab:a","shout",{"b":1}]"#).await;
    anna.play(r#"< [null,null,"lab:a","shout",{"b":1}]"#).await;
    broadcast(&labs[0].pubsub, "lab:a", "all", &json!({})).unwrap();
    local_broadcast(&labs[0].pubsub, "lab:a", "here", &json!({})).unwrap();
    anna.play("< [null,null,\"lab:a\",\"all\",{}]\n< [null,null,\"lab:a\",\"here\",{}]\n.")
        .await;
    ben.play("< [null,null,\"lab:a\",\"all\",{}]\n.").await;
    matryoshka_channel::disconnect(&labs[0].pubsub, "user_socket:anna").unwrap();
    anna.play("< close 1001").await;
    ben.play("< close 1001").await;
}

#[tokio::test(start_paused = true)]
async fn p7_p9_a_broadcast_from_outside_counts_whom_it_reached() {
    let lab = Lab::new();
    let (mut anna, mut ben) = pair(&lab, Vsn::V1).await;
    assert_eq!(
        broadcast(&lab.pubsub, "lab:a", "news", &json!({ "n": 1 }))
            .unwrap()
            .local,
        2
    );
    anna.play(r#"< [null,null,"lab:a","news",{"n":1}]"#).await;
    ben.play(r#"< [null,null,"lab:a","news",{"n":1}]"#).await;
    assert_eq!(
        broadcast(&lab.pubsub, "lab:nobody", "news", &())
            .unwrap()
            .local,
        0
    );
    anna.play(".").await;
}

/// One form gives the error to the caller, the other makes it the answer to the client; either way nothing is sent.
#[tokio::test(start_paused = true)]
async fn p10_a_broadcast_that_fails_is_an_error_for_its_caller_and_reaches_nobody() {
    let lab = Lab::new();
    let lines = Lines::collect();
    let (mut anna, mut ben) = pair(&lab, Vsn::V1).await;
    assert!(broadcast(&lab.pubsub, "lab:a", "news", &1).is_err());
    assert!(broadcast(&lab.pubsub, "x".repeat(300), "news", &()).is_err());
    for _ in 0..3 {
        ben.play(
            r#"
            > ["1","2","lab:a","say_text",{}]
            < ["1","2","lab:a","phx_reply",{"status":"error","response":{"reason":"broadcast failed"}}]
            "#,
        )
        .await;
    }
    ben.play(".").await;
    anna.play(".").await;
    let lines = lines.take();
    assert!(
        matches!(&lines[..], [line] if line.contains("a broadcast failed")),
        "{lines:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn bytes_pass_over_clients_that_cannot_read_them() {
    let lab = Lab::new();
    let log = Lines::collect();
    let sockets = lab.sockets();
    let mut first = Client::connect(&sockets, Vsn::V2).await;
    let mut second = Client::connect(&sockets, Vsn::V1).await;
    let mut third = Client::connect(&sockets, Vsn::V2).await;
    for client in [&mut first, &mut second, &mut third] {
        client.play(JOIN).await;
    }
    let bytes = Bytes::from_static(&[7, 8]);
    let sent = Broadcast::with_payload("lab:a", "bin", bytes)
        .unwrap()
        .send(&lab.pubsub)
        .unwrap();
    assert_eq!(sent.local, 2);
    first.play(r#"< 02 05 03 "lab:a" "bin" 07 08"#).await;
    third.play(r#"< 02 05 03 "lab:a" "bin" 07 08"#).await;
    second.play(".").await;
    assert_eq!(sockets.stats().unencodable, 1);
    let lines = log.take();
    assert_eq!(
        lines.len(),
        1,
        "one line for the whole broadcast: {lines:?}"
    );
    let again = Broadcast::with_payload("lab:a", "bin", Bytes::from_static(&[9])).unwrap();
    again.send(&lab.pubsub).unwrap();
    assert_eq!(log.take(), [""; 0], "one a second");
    second
        .play(
            r#"
            > ["1","2","lab:a","bare",{}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn p11_a_second_topic_comes_to_handle_info() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{"subscribe":"news"}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            "#,
        )
        .await;
    broadcast(&lab.pubsub, "news", "flash", &()).unwrap();
    lab.pubsub.broadcast("news", vec![1u8]).unwrap();
    client
        .play(
            r#"
            < ["1",null,"lab:a","heard",{"topic":"news","event":"flash"}]
            < ["1",null,"lab:a","raw",{"bytes":[1]}]
            > ["1","2","lab:a","unsubscribe",{"topic":"news"}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
            "#,
        )
        .await;
    assert_eq!(
        broadcast(&lab.pubsub, "news", "flash", &()).unwrap().local,
        0
    );
    client.play(".").await;
}

#[tokio::test(start_paused = true)]
async fn p12_the_own_topic_once_more_comes_as_an_outgoing_event_too() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{"subscribe":"lab:a"}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            "#,
        )
        .await;
    broadcast(&lab.pubsub, "lab:a", "twice", &json!({ "n": 1 })).unwrap();
    client
        .play(
            r#"
            < [null,null,"lab:a","twice",{"n":1}]
            < ["1",null,"lab:a","twice",{"n":1,"seen_by":"anna"}]
            .
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn messages_of_other_kinds_on_a_channels_topic_do_not_reach_the_client() {
    let lab = Lab::new();
    let (mut anna, _ben) = pair(&lab, Vsn::V2).await;
    lab.pubsub.broadcast("lab:a", "plain").unwrap();
    anna.play(".").await;
}

#[tokio::test(start_paused = true)]
async fn an_intercepted_event_is_changed_or_swallowed_by_each_channel() {
    for vsn in [Vsn::V1, Vsn::V2] {
        let (mut anna, mut ben) = pair(&Lab::new(), vsn).await;
        anna.play(
            r#"
            > ["1","2","lab:a","intercepted",{"event":"secret","n":1}]
            < ["1",null,"lab:a","secret",{"event":"secret","n":1,"seen_by":"anna"}]
            > ["1","3","lab:a","intercepted",{"event":"hush"}]
            .
            "#,
        )
        .await;
        ben.play(
            r#"
            < ["1",null,"lab:a","secret",{"event":"secret","n":1,"seen_by":"ben"}]
            .
            "#,
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn p6_p7_a_broadcast_of_a_publisher_outside_leaves_its_own_subscriptions_out() {
    let lab = Lab::new();
    let (mut anna, _ben) = pair(&lab, Vsn::V2).await;
    let (own, other) = (lab.pubsub.publisher(), lab.pubsub.publisher());
    let mut own_messages = own.subscribe("lab:a").unwrap();
    let mut other_messages = other.subscribe("lab:a").unwrap();
    let news = Broadcast::new("lab:a", "news", &()).unwrap();
    assert_eq!(news.send_from(&own).unwrap().local, 3);
    anna.play(r#"< [null,null,"lab:a","news",{}]"#).await;
    assert!(own_messages.try_next().is_none());
    let message = other_messages.try_next().unwrap().unwrap();
    assert_eq!(Broadcast::from_message(&message), Some(Ok(news)));
}

#[tokio::test(start_paused = true)]
async fn p6_p7_a_publishers_local_broadcast_stays_on_its_node_and_leaves_its_own_out() {
    let mesh = MemoryMesh::new();
    let labs = ["n1", "n2"].map(|name| Lab::on(PubSub::with(mesh.node(name))));
    let mut anna = Client::connect(&labs[0].sockets(), Vsn::V2).await;
    let mut ben = Client::connect(&labs[1].sockets(), Vsn::V1).await;
    anna.play(JOIN).await;
    ben.play(JOIN).await;
    let own = labs[0].pubsub.publisher();
    let mut own_messages = own.subscribe("lab:a").unwrap();
    let news = Broadcast::new("lab:a", "news", &()).unwrap();
    assert_eq!(news.send_local_from(&own).unwrap().local, 1);
    anna.play("< [null,null,\"lab:a\",\"news\",{}]\n.").await;
    ben.play(".").await;
    assert!(own_messages.try_next().is_none());
}
