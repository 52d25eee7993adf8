//! Broadcasts that wait until what a join has put off is done.

use std::sync::Arc;

use matryoshka_channel::Broadcast;
use matryoshka_channel::broadcast;
use matryoshka_channel::pubsub::{Delivery, Message, PubSub, Sink};
use matryoshka_channel::transport::{Frame, Outgoing};
use serde_json::{Value, json};

use crate::client::{Client, Vsn};
use crate::lab::Lab;

/// After this join a state is pushed, 100 ms later, and `diff` waits for it.
const HOLDING: &str = r#"
    > ["1","1","lab:a","phx_join",{"hold":["diff"],"after_sleep":100,"after":"state"}]
    < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
    "#;

fn tell(lab: &Lab, event: &'static str, n: usize) {
    broadcast(&lab.pubsub, "lab:a", event, &json!({ "n": n })).unwrap();
}

/// The next frame's event and number.
pub(crate) async fn next(client: &mut Client) -> (String, Option<u64>) {
    let Some(Outgoing::Frame(Frame::Text(frame))) = client.recv().await else {
        panic!("closed")
    };
    let frame: Value = serde_json::from_str(&frame).unwrap();
    (
        frame[3].as_str().unwrap().to_owned(),
        frame[4]["n"].as_u64(),
    )
}

#[tokio::test(start_paused = true)]
async fn what_was_put_off_comes_before_the_events_that_are_held_for_it() {
    for vsn in [Vsn::V1, Vsn::V2] {
        let lab = Lab::new();
        let mut client = Client::connect(&lab.sockets(), vsn).await;
        client.play(HOLDING).await;
        for (n, event) in ["diff", "said", "diff", "said"].into_iter().enumerate() {
            tell(&lab, event, n);
        }
        client
            .play(
                r#"
                < [null,null,"lab:a","said",{"n":1}]
                < [null,null,"lab:a","said",{"n":3}]
                .
                < ["1",null,"lab:a","state",{}]
                < [null,null,"lab:a","diff",{"n":0}]
                < [null,null,"lab:a","diff",{"n":2}]
                .
                "#,
            )
            .await;
        // From now on nothing waits.
        tell(&lab, "diff", 4);
        client.play(r#"< [null,null,"lab:a","diff",{"n":4}]"#).await;
    }
}

#[tokio::test(start_paused = true)]
async fn several_events_are_held_in_one_order_until_all_is_done() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{"hold":["diff","gone"],"after_sleep":100,"after":"state","after_after":"more"}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            "#,
        )
        .await;
    for (n, event) in ["gone", "diff", "gone"].into_iter().enumerate() {
        tell(&lab, event, n);
    }
    client
        .play(
            r#"
            < ["1",null,"lab:a","state",{}]
            < ["1",null,"lab:a","more",{}]
            < [null,null,"lab:a","gone",{"n":0}]
            < [null,null,"lab:a","diff",{"n":1}]
            < [null,null,"lab:a","gone",{"n":2}]
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn without_anything_put_off_nothing_waits() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{"hold":["diff"]}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            .
            "#,
        )
        .await;
    tell(&lab, "diff", 1);
    client.play(r#"< [null,null,"lab:a","diff",{"n":1}]"#).await;
}

#[tokio::test(start_paused = true)]
async fn asked_for_after_the_join_nothing_is_held() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","2","lab:a","hold",{}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","3","lab:a","slow",{"ms":100}]
            .
            "#,
        )
        .await;
    tell(&lab, "diff", 1);
    client.play(r#"< [null,null,"lab:a","diff",{"n":1}]"#).await;
}

/// Its detour leads through the inbox, which is read once all that was put off is done.
#[tokio::test(start_paused = true)]
async fn an_intercepted_event_waits_whether_it_is_held_or_not() {
    for hold in [r#"["secret"]"#, r#"["diff"]"#, "[]"] {
        let lab = Lab::new();
        let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
        let join = format!(
            r#"
            > ["1","1","lab:a","phx_join",{{"hold":{hold},"after_sleep":100,"after":"state"}}]
            < ["1","1","lab:a","phx_reply",{{"status":"ok","response":{{}}}}]
            "#
        );
        client.play(&join).await;
        tell(&lab, "secret", 1);
        tell(&lab, "secret", 2);
        client
            .play(
                r#"
                .
                < ["1",null,"lab:a","state",{}]
                < ["1",null,"lab:a","secret",{"n":1,"seen_by":"anna"}]
                < ["1",null,"lab:a","secret",{"n":2,"seen_by":"anna"}]
                "#,
            )
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_too_many_lets_all_through_in_order_and_nothing_is_lost() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client.play(HOLDING).await;
    for n in 0..1_024 {
        tell(&lab, "diff", n);
    }
    client.play(".").await;
    for n in 1_024..1_100 {
        tell(&lab, "diff", n);
    }
    for n in 0..1_100 {
        assert_eq!(next(&mut client).await, ("diff".to_owned(), Some(n)));
    }
    client.play(r#"< ["1",null,"lab:a","state",{}]"#).await;
}

/// What is held neither: the client would take it for a part of its next join.
#[tokio::test(start_paused = true)]
async fn what_is_put_off_is_not_sent_after_a_leave() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client.play(HOLDING).await;
    tell(&lab, "diff", 1);
    client
        .play(
            r#"
            > ["1","2","lab:a","phx_leave",{}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1","1","lab:a","phx_close",{}]
            .
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_held_ends_with_a_channel_that_fails_before() {
    for end in ["after_fail", "after_panic"] {
        let lab = Lab::new();
        let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
        let join = format!(
            r#"
            > ["1","1","lab:a","phx_join",{{"hold":["diff"],"after_sleep":100,"{end}":true,"last_words":true}}]
            < ["1","1","lab:a","phx_reply",{{"status":"ok","response":{{}}}}]
            "#
        );
        client.play(&join).await;
        tell(&lab, "diff", 1);
        client
            .play(
                r#"
                < ["1",null,"lab:a","last_words",{}]
                < ["1","1","lab:a","phx_error",{"reason":"channel_crash"}]
                .
                "#,
            )
            .await;
        client.play(HOLDING).await;
        client.play(r#"< ["1",null,"lab:a","state",{}]"#).await;
        client.play(".").await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_join_that_is_replaced_meanwhile_nothing_comes() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client.play(HOLDING).await;
    tell(&lab, "diff", 1);
    client
        .play(
            r#"
            > ["2","2","lab:a","phx_join",{"hold":["diff"],"after_sleep":100,"after":"state"}]
            < ["2","2","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1","1","lab:a","phx_close",{}]
            "#,
        )
        .await;
    tell(&lab, "diff", 2);
    client
        .play(
            r#"
            < ["2",null,"lab:a","state",{}]
            < [null,null,"lab:a","diff",{"n":2}]
            .
            "#,
        )
        .await;
}

/// Takes what it gets, and makes the topic huge.
struct Extra;

impl Sink for Extra {
    fn deliver(&self, _: &Message) -> Delivery {
        Delivery::Delivered
    }
}

#[tokio::test(start_paused = true)]
async fn each_of_a_large_crowd_that_is_served_in_parts_gets_its_state_first() {
    const CLIENTS: usize = 300;
    let lab = Lab::new();
    let sockets = lab.sockets();
    let subscribe = |_| lab.pubsub.subscribe_sink("lab:a", Arc::new(Extra)).unwrap();
    let mut extras = Vec::new();
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        extras.extend((0..5).map(subscribe));
        let mut client = Client::connect_as(&sockets, Vsn::V2, &format!("user-{n}")).await;
        client.play(HOLDING).await;
        clients.push(client);
    }
    for n in 0..5 {
        let diff = Broadcast::new("lab:a", "diff", &json!({ "n": n })).unwrap();
        let sent = diff.send_yielding(&lab.pubsub).await.unwrap();
        assert_eq!(sent.local, clients.len() + extras.len());
    }
    for client in &mut clients {
        assert_eq!(next(client).await, ("state".to_owned(), None));
        for n in 0..5 {
            assert_eq!(next(client).await, ("diff".to_owned(), Some(n)));
        }
        client.play(".").await;
    }
}

/// The same with a thread that broadcasts while clients join: from their state on they get each number, and none before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_middle_of_broadcasts_the_state_comes_first_and_no_gap_after_it() {
    let lab = Lab::new();
    let sockets = lab.sockets();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let pubsub: PubSub = lab.pubsub.clone();
    let flood = std::thread::spawn(move || {
        let mut sent = 0u64;
        while stopped.try_recv().is_err() {
            broadcast(&pubsub, "lab:a", "diff", &json!({ "n": sent })).unwrap();
            sent += 1;
            if sent.is_multiple_of(50) {
                std::thread::yield_now();
            }
        }
    });
    for _ in 0..100 {
        let mut client = Client::connect(&sockets, Vsn::V2).await;
        client
            .send(r#"["1","1","lab:a","phx_join",{"hold":["diff"],"after":"state"}]"#)
            .await;
        assert_eq!(next(&mut client).await.0, "phx_reply");
        assert_eq!(next(&mut client).await.0, "state");
        let mut last = None;
        for _ in 0..20 {
            let (event, Some(n)) = next(&mut client).await else {
                panic!("no number")
            };
            assert_eq!(event, "diff");
            assert!(last.is_none_or(|last| n == last + 1), "{last:?} then {n}");
            last = Some(n);
        }
    }
    stop.send(()).unwrap();
    flood.join().unwrap();
}
