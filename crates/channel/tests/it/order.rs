//! What comes in which order.

use matryoshka_channel::pubsub::{PubSub, memory::MemoryMesh};
use matryoshka_channel::transport::{Frame, Outgoing};
use matryoshka_channel::{Broadcast, broadcast};
use serde_json::json;

use crate::client::{Client, Vsn};
use crate::lab::Lab;

const JOIN: &str = r#"
    > ["1","1","lab:a","phx_join",{}]
    < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
    "#;

#[tokio::test(start_paused = true)]
async fn o1_messages_of_one_topic_are_handled_and_answered_in_order() {
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            > ["1","2","lab:a","slow",{"ms":50}]
            > ["1","3","lab:a","count",{}]
            > ["1","4","lab:a","slow",{"ms":10}]
            > ["1","5","lab:a","count",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{"ms":50}}]
            < ["1","3","lab:a","phx_reply",{"status":"ok","response":{"count":1}}]
            < ["1","4","lab:a","phx_reply",{"status":"ok","response":{"ms":10}}]
            < ["1","5","lab:a","phx_reply",{"status":"ok","response":{"count":2}}]
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn o2_what_one_broadcaster_sends_arrives_in_order() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            "#,
        )
        .await;
    for n in 0..200 {
        broadcast(&lab.pubsub, "lab:a", "n", &json!({ "n": n })).unwrap();
    }
    for n in 0..200 {
        client
            .play(&format!(r#"< [null,null,"lab:a","n",{{"n":{n}}}]"#))
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn o3_the_joins_answer_comes_first() {
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{"after":"hi"}]
            > ["1","2","lab:a","shout",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1",null,"lab:a","hi",{}]
            < [null,null,"lab:a","shout",{}]
            "#,
        )
        .await;
}

/// The same with threads that broadcast while clients join: whoever hears a broadcast has been answered before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o3_the_joins_answer_comes_first_in_the_middle_of_broadcasts() {
    let lab = Lab::new();
    let sockets = lab.sockets();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let pubsub = lab.pubsub.clone();
    let flood = std::thread::spawn(move || {
        let mut sent = 0u64;
        while stopped.try_recv().is_err() {
            broadcast(&pubsub, "lab:a", "n", &json!({ "n": sent })).unwrap();
            sent += 1;
            if sent.is_multiple_of(50) {
                std::thread::yield_now();
            }
        }
    });
    for _ in 0..50 {
        let mut client = Client::connect(&sockets, Vsn::V2).await;
        client.send(r#"["1","1","lab:a","phx_join",{}]"#).await;
        let Some(Outgoing::Frame(Frame::Text(first))) = client.recv().await else {
            panic!("closed")
        };
        assert!(first.contains("phx_reply"), "{first}");
        let mut last = None;
        for _ in 0..5 {
            let Some(Outgoing::Frame(Frame::Text(next))) = client.recv().await else {
                break;
            };
            let next: serde_json::Value = serde_json::from_str(&next).unwrap();
            let n = next[4]["n"].as_u64().unwrap();
            assert!(last.is_none_or(|last| n == last + 1), "{last:?} then {n}");
            last = Some(n);
        }
    }
    stop.send(()).unwrap();
    flood.join().unwrap();
}

#[tokio::test(start_paused = true)]
async fn o4_n3_what_a_handler_sends_comes_before_its_reply_and_interception_is_a_detour() {
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","2","lab:a","sequence",{}]
            < ["1",null,"lab:a","p1",{}]
            < [null,null,"lab:a","b1",{}]
            < ["1",null,"lab:a","p2",{}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1",null,"lab:a","secret",{"seen_by":"anna"}]
            .
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn o5_after_the_close_nothing_of_that_join_comes() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","2","lab:a","slow",{"ms":10}]
            > ["1","3","lab:a","stop",{}]
            > ["1","4","lab:a","push_me",{}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{"ms":10}}]
            < ["1","1","lab:a","phx_close",{}]
            .
            "#,
        )
        .await;
    broadcast(&lab.pubsub, "lab:a", "late", &()).unwrap();
    client.play(".").await;
}

#[tokio::test(start_paused = true)]
async fn o6_what_one_channel_broadcasts_arrives_on_every_node_in_its_order() {
    let mesh = MemoryMesh::new();
    let labs = ["n1", "n2"].map(|name| Lab::on(PubSub::with(mesh.node(name))));
    let join = r#"
        > ["1","1","lab:a","phx_join",{}]
        < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
        "#;
    let mut here = Client::connect(&labs[0].sockets(), Vsn::V2).await;
    let mut there = Client::connect(&labs[1].sockets(), Vsn::V2).await;
    here.play(join).await;
    there.play(join).await;
    for n in 0..50 {
        here.send(&format!(r#"["1","2","lab:a","shout",{{"n":{n}}}]"#))
            .await;
    }
    for n in 0..50 {
        let shout = format!(r#"< [null,null,"lab:a","shout",{{"n":{n}}}]"#);
        here.play(&shout).await;
        there.play(&shout).await;
    }
}

/// Two topics of one connection do not wait for each other, and heartbeats wait for neither.
#[tokio::test(start_paused = true)]
async fn n1_replies_of_two_channels_interleave_and_heartbeats_overtake() {
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            > ["2","2","lab:b","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["2","2","lab:b","phx_reply",{"status":"ok","response":{}}]
            > ["1","3","lab:a","slow",{"ms":50}]
            > ["2","4","lab:b","slow",{"ms":10}]
            > [null,"5","phoenix","heartbeat",{}]
            < [null,"5","phoenix","phx_reply",{"status":"ok","response":{}}]
            < ["2","4","lab:b","phx_reply",{"status":"ok","response":{"ms":10}}]
            < ["1","3","lab:a","phx_reply",{"status":"ok","response":{"ms":50}}]
            "#,
        )
        .await;
}

/// How many each broadcaster sends.
const EACH: u64 = 100;

/// Takes what two broadcasters send, whatever comes first of the two: each has an order of its own.
async fn check_two(client: &mut Client) {
    let mut next = [0u64; 2];
    while next != [EACH; 2] {
        let Some(Outgoing::Frame(Frame::Text(frame))) = client.recv().await else {
            panic!("closed")
        };
        let frame: serde_json::Value = serde_json::from_str(&frame).unwrap();
        let who = match frame[3].as_str() {
            Some("x") => 0,
            Some("y") => 1,
            _ => continue,
        };
        assert_eq!(frame[4]["n"], next[who]);
        next[who] += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o2_n2_two_publishers_have_each_their_own_order() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client.play(JOIN).await;
    let threads = ["x", "y"].map(|event| {
        let publisher = lab.pubsub.publisher();
        std::thread::spawn(move || {
            for n in 0..EACH {
                let broadcast = Broadcast::new("lab:a", event, &json!({ "n": n })).unwrap();
                broadcast.send_from(&publisher).unwrap();
            }
        })
    });
    check_two(&mut client).await;
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Two channels at work in two threads, and their clients and another on two nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o2_o6_n2_two_channels_have_each_their_own_order_on_every_node() {
    let mesh = MemoryMesh::new();
    let labs = ["n1", "n2"].map(|name| Lab::on(PubSub::with(mesh.node(name))));
    let mut clients = Vec::new();
    for lab in [&labs[0], &labs[1], &labs[1]] {
        let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
        client.play(JOIN).await;
        clients.push(client);
    }
    for n in 0..EACH {
        for (client, event) in clients.iter_mut().zip(["x", "y"]) {
            let shout = json!({ "event": event, "n": n });
            let shout = json!(["1", null, "lab:a", "intercepted", shout]);
            client.send(&shout.to_string()).await;
        }
    }
    for client in &mut clients {
        check_two(client).await;
    }
}

/// Either may come first, whichever was asked for first: neither waits for the other.
#[tokio::test(start_paused = true)]
async fn n4_a_broadcast_and_the_reply_of_another_channel_do_not_wait_for_each_other() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["2","2","lab:b","phx_join",{}]
            < ["2","2","lab:b","phx_reply",{"status":"ok","response":{}}]
            > ["1","3","lab:a","slow",{"ms":50}]
            > ["2","4","lab:b","shout",{"n":1}]
            < [null,null,"lab:b","shout",{"n":1}]
            < ["1","3","lab:a","phx_reply",{"status":"ok","response":{"ms":50}}]
            > ["2","5","lab:b","slow",{"ms":50}]
            > ["2","6","lab:b","shout",{"n":2}]
            > ["1","7","lab:a","bare",{}]
            < ["1","7","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["2","5","lab:b","phx_reply",{"status":"ok","response":{"ms":50}}]
            < [null,null,"lab:b","shout",{"n":2}]
            .
            "#,
        )
        .await;
}

/// Nothing is stored or repeated for a client that is away.
#[tokio::test(start_paused = true)]
async fn n5_what_is_broadcast_while_a_client_is_away_is_lost_to_it() {
    let lab = Lab::new();
    let sockets = lab.sockets();
    let join = r#"
        > ["1","1","lab:a","phx_join",{}]
        < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
        "#;
    let mut client = Client::connect(&sockets, Vsn::V2).await;
    client.play(join).await;
    client.close().await;
    broadcast(&lab.pubsub, "lab:a", "missed", &()).unwrap();
    let mut client = Client::connect(&sockets, Vsn::V2).await;
    client.play(join).await;
    client.play(".").await;
    broadcast(&lab.pubsub, "lab:a", "heard", &()).unwrap();
    client.play(r#"< [null,null,"lab:a","heard",{}]"#).await;
}
