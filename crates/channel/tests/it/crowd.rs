//! A broadcast on a topic with more subscribers than one part of a fan-out serves.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use matryoshka_channel::Broadcast;
use matryoshka_channel::pubsub::{Delivery, Message, PubSub, Sink, SinkSubscription};
use matryoshka_channel::transport::{Frame, Outgoing};
use serde_json::json;

use crate::client::{Client, Vsn};
use crate::lab::Lab;
use crate::log::Lines;

const JOIN: &str = r#"
    > ["1","1","lab:a","phx_join",{}]
    < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
    "#;

/// Takes what it gets, and makes the topic huge.
struct Extra;

impl Sink for Extra {
    fn deliver(&self, _: &Message) -> Delivery {
        Delivery::Delivered
    }
}

const EXTRAS: usize = 1_000;

/// A client that is served first, one that is served last, and many between them.
struct Crowd {
    first: Client,
    last: Client,
    _between: Vec<SinkSubscription>,
}

impl Crowd {
    async fn on(lab: &Lab, vsn: Vsn) -> Self {
        let sockets = lab.sockets();
        let mut first = Client::connect(&sockets, vsn).await;
        first.play(JOIN).await;
        let between = extras(&lab.pubsub);
        let mut last = Client::connect_as(&sockets, vsn, "ben").await;
        last.play(JOIN).await;
        Self {
            first,
            last,
            _between: between,
        }
    }
}

fn extras(pubsub: &PubSub) -> Vec<SinkSubscription> {
    let subscribe = |_| pubsub.subscribe_sink("lab:a", Arc::new(Extra)).unwrap();
    (0..EXTRAS).map(subscribe).collect()
}

/// Begins to send, and lets go of it when it gives way for the first time.
fn begin_and_drop(broadcast: &Broadcast, pubsub: &PubSub) {
    let mut sending = pin!(broadcast.send_yielding(pubsub));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(sending.as_mut().poll(&mut cx).is_pending());
}

#[tokio::test(start_paused = true)]
async fn it_gives_way_before_the_last_is_served_and_reaches_all() {
    let lab = Lab::new();
    let mut crowd = Crowd::on(&lab, Vsn::V2).await;
    let news = Broadcast::new("lab:a", "news", &json!({ "n": 1 })).unwrap();
    let mut sending = pin!(news.send_yielding(&lab.pubsub));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(sending.as_mut().poll(&mut cx).is_pending());
    let frame = r#"< [null,null,"lab:a","news",{"n":1}]"#;
    crowd.first.play(frame).await;
    crowd.last.play(".").await;
    assert_eq!(sending.await.unwrap().local, EXTRAS + 2);
    crowd.last.play(frame).await;
}

#[tokio::test(start_paused = true)]
async fn once_begun_it_completes_and_what_comes_next_does_not_overtake_it() {
    let lab = Lab::new();
    let mut crowd = Crowd::on(&lab, Vsn::V1).await;
    let event = |name| Broadcast::new("lab:a", name, &()).unwrap();
    for _ in 0..3 {
        begin_and_drop(&event("parts"), &lab.pubsub);
        event("whole").send(&lab.pubsub).unwrap();
    }
    for _ in 0..3 {
        for client in [&mut crowd.first, &mut crowd.last] {
            client.play(r#"< [null,null,"lab:a","parts",{}]"#).await;
            client.play(r#"< [null,null,"lab:a","whole",{}]"#).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_parts_share_one_encoding() {
    let lab = Lab::new();
    let mut crowd = Crowd::on(&lab, Vsn::V2).await;
    let news = Broadcast::new("lab:a", "news", &()).unwrap();
    news.send_yielding(&lab.pubsub).await.unwrap();
    let mut frames = Vec::new();
    for client in [&mut crowd.first, &mut crowd.last] {
        match client.recv().await {
            Some(Outgoing::Frame(Frame::Text(text))) => frames.push(text.into_bytes()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(frames[0].as_ptr(), frames[1].as_ptr());
}

#[tokio::test(start_paused = true)]
async fn a_handler_hears_of_its_broadcast_only_when_all_have_it() {
    let lab = Lab::new();
    let mut crowd = Crowd::on(&lab, Vsn::V2).await;
    crowd
        .last
        .play(
            r#"
            > ["1","2","lab:a","tell_crowd",{"a":1}]
            < [null,null,"lab:a","all",{"a":1}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{"local":[1002,1001]}}]
            .
            "#,
        )
        .await;
    crowd
        .first
        .play(
            r#"
            < [null,null,"lab:a","all",{"a":1}]
            < [null,null,"lab:a","others",{"a":1}]
            .
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn one_line_says_how_many_clients_of_all_parts_were_passed_over() {
    let lab = Lab::new();
    let crowd = Crowd::on(&lab, Vsn::V1).await;
    let lines = Lines::collect();
    let bytes = Broadcast::with_payload("lab:a", "bin", Bytes::from_static(&[7])).unwrap();
    let sent = bytes.send_yielding(&lab.pubsub).await.unwrap();
    assert_eq!(sent.local, EXTRAS);
    let lines = lines.take();
    assert!(
        matches!(&lines[..], [line] if line.contains("clients=2")),
        "{lines:?}"
    );
    drop(crowd);
}
