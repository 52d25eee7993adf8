//! Every way a channel ends that is no result of its own callbacks.

use std::time::Duration;

use matryoshka_channel::transport::{Close, CloseCode, Limits, Outgoing, memory::MemoryService};
use matryoshka_channel::{PushError, SendError, Sockets, broadcast, disconnect};
use serde_json::json;
use tokio::time::{Instant, advance};

use crate::client::{Client, Vsn};
use crate::lab::{Lab, Room};
use crate::log::Lines;

const JOIN: &str = r#"
    > ["1","1","lab:a","phx_join",{"last_words":true}]
    < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
    "#;

#[tokio::test(start_paused = true)]
async fn s3_s6_x8_a_disconnect_closes_every_socket_of_the_id_with_1001() {
    let lab = Lab::new();
    let sockets = lab.sockets();
    let mut anna = Client::connect(&sockets, Vsn::V2).await;
    let mut anna_too = Client::connect(&sockets, Vsn::V1).await;
    let mut ben = Client::connect_as(&sockets, Vsn::V2, "ben").await;
    anna.play(JOIN).await;
    anna.play(&JOIN.replace("lab:a", "lab:b")).await;
    anna_too.play(JOIN).await;
    ben.play(JOIN).await;
    lab.notes();
    let sent = disconnect(&lab.pubsub, "user_socket:anna").unwrap();
    assert_eq!(sent.local, 2);
    anna.play("< close 1001").await;
    anna_too.play("< close 1001").await;
    ben.play(
        r#"
        .
        > ["1","2","lab:a","bare",{}]
        < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
        "#,
    )
    .await;
    let notes = lab.notes();
    assert_eq!(
        notes
            .iter()
            .filter(|note| *note == "terminate Disconnected")
            .count(),
        3
    );
    assert_eq!(lab.pubsub.subscriptions("user_socket:anna"), 0);
    assert_eq!(lab.pubsub.subscriptions("lab:b"), 0);
}

#[tokio::test(start_paused = true)]
async fn s3_a_channel_knows_its_sockets_id_and_assigns() {
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","2","lab:a","id",{}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{"id":"user_socket:anna"}}]
            > ["1","3","lab:a","user",{}]
            < ["1","3","lab:a","phx_reply",{"status":"ok","response":{"user":"anna"}}]
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn s4_a_socket_without_an_id_cannot_be_addressed() {
    let lab = Lab::new();
    let sockets = Sockets::new(&lab.pubsub, lab.clone()).channel::<Room>("lab:*");
    let mut client = Client::connect(&sockets, Vsn::V2).await;
    client
        .play(&JOIN.replace("{\"last_words\":true}", "{}"))
        .await;
    for id in ["user_socket:anna", "null", "none", ""] {
        let reached = disconnect(&lab.pubsub, id).map_or(0, |sent| sent.local);
        assert_eq!(reached, 0, "{id:?}");
    }
    client
        .play(
            r#"
            .
            > ["1","2","lab:a","id",{}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{"id":null}}]
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn s1_assigns_come_from_the_connection_then_the_route_then_the_channel() {
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["2","2","fixed:a","phx_join",{}]
            < ["2","2","fixed:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","3","lab:a","colour",{}]
            < ["1","3","lab:a","phx_reply",{"status":"ok","response":{"colour":"red"}}]
            > ["2","4","fixed:a","colour",{}]
            < ["2","4","fixed:a","phx_reply",{"status":"ok","response":{"colour":"green"}}]
            > ["1","5","lab:a","paint",{}]
            > ["1","6","lab:a","colour",{}]
            < ["1","6","lab:a","phx_reply",{"status":"ok","response":{"colour":"blue"}}]
            > ["7","7","lab:b","phx_join",{}]
            < ["7","7","lab:b","phx_reply",{"status":"ok","response":{}}]
            > ["7","8","lab:b","colour",{}]
            < ["7","8","lab:b","phx_reply",{"status":"ok","response":{"colour":"red"}}]
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn s7_other_events_on_the_id_are_ignored() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client.play(JOIN).await;
    broadcast(&lab.pubsub, "user_socket:anna", "hello", &()).unwrap();
    lab.pubsub
        .broadcast("user_socket:anna", "disconnect")
        .unwrap();
    client
        .play(
            r#"
            .
            > ["1","2","lab:a","bare",{}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn s8_x8_when_the_client_goes_its_channels_are_told() {
    for says_goodbye in [true, false] {
        let lab = Lab::new();
        let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
        client.play(JOIN).await;
        match says_goodbye {
            true => client.close().await,
            false => drop(client),
        }
        lab.noted("terminate Closed").await;
        assert_eq!(lab.notes().len(), 2);
        assert_eq!(lab.pubsub.subscriptions("lab:a"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_when_the_client_goes_is_handled_first() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client.play(JOIN).await;
    client.play(r#"> ["1","2","lab:a","slow",{"ms":10}]"#).await;
    client.play(r#"> ["1","3","lab:a","bare",{}]"#).await;
    client.close().await;
    lab.noted("terminate Closed").await;
    assert_eq!(lab.notes()[1..], ["in slow", "in bare", "terminate Closed"]);
}

/// Else a client that comes again and again could leave any number of them behind.
#[tokio::test(start_paused = true)]
async fn what_is_at_work_when_the_client_goes_has_its_time_and_is_cut_off_then() {
    const HOUR: u64 = 3_600_000;
    let slow = format!(r#"> ["1","2","lab:a","slow",{{"ms":{HOUR}}}]"#);
    let in_turn = r#"
        > ["1","2","lab:a","slow",{"ms":3000}]
        > ["1","3","lab:a","slow",{"ms":3000}]
        > ["1","4","lab:a","bare",{}]
        "#;
    let cut = &["dropped in the middle"][..];
    for (then, notes) in [
        (&*slow, [&["in slow"], cut].concat()),
        (in_turn, [&["in slow", "in slow"], cut].concat()),
    ] {
        let (lab, lines) = (Lab::new(), Lines::collect());
        let sockets = lab.sockets();
        let mut client = Client::connect(&sockets, Vsn::V2).await;
        client.play(JOIN).await;
        client.play(then).await;
        let start = Instant::now();
        client.close().await;
        lab.noted("terminate Closed").await;
        assert_eq!(start.elapsed().as_secs(), 5);
        let notes = [&notes[..], &["terminate Closed"]].concat();
        assert_eq!(lab.notes()[1..], notes);
        let stats = sockets.stats();
        let still = (stats.joined - stats.ended, stats.inbox_waiting);
        assert_eq!(still, (0, 0));
        let lines = lines.take();
        let [line] = &lines[..] else {
            panic!("{lines:?}")
        };
        let words = r#"topic="lab:a" callback="handle_in" limit="SocketsConfig::terminate"#;
        assert!(line.contains(words), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn s9_x8_an_idle_client_is_closed_and_its_channels_are_told() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client.play(JOIN).await;
    advance(Duration::from_secs(59)).await;
    client.play(r#"> ["1","2","lab:a","bare",{}]"#).await;
    client
        .play(r#"< ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]"#)
        .await;
    advance(Duration::from_secs(59)).await;
    client.play("< close 1001").await;
    assert_eq!(lab.notes()[2..], ["terminate Idle"]);
}

#[tokio::test(start_paused = true)]
async fn x9_g2_g3_g4_a_drain_closes_all_with_1012_and_takes_nobody_in() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.sockets()).with_limits(Limits::default());
    let params = matryoshka_channel::transport::Params::parse("user=anna&vsn=2.0.0").unwrap();
    let info = matryoshka_channel::transport::ConnectInfo::new("memory", params).unwrap();
    let mut client = service.connect(info.clone()).await.unwrap();
    let mut without_channels = service.connect(info.clone()).await.unwrap();
    client
        .send_text(r#"["1","1","lab:a","phx_join",{}]"#)
        .await
        .unwrap();
    client.recv_frame().await.unwrap();
    let close = Close::new(CloseCode::RESTART);
    service.connections().close_all(close.clone());
    for client in [&mut client, &mut without_channels] {
        assert_eq!(client.recv().await, Some(Outgoing::Close(close.clone())));
    }
    assert_eq!(
        service.connect(info).await.unwrap_err().status.as_u16(),
        503
    );
    drop((client, without_channels));
    service.connections().closed().await;
    lab.noted("terminate Draining").await;
    assert_eq!(lab.notes().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn s12_x4_a_crash_ends_one_channel_only() {
    for vsn in [Vsn::V1, Vsn::V2] {
        let lab = Lab::new();
        let mut client = Client::connect(&lab.sockets(), vsn).await;
        client
            .play(
                r#"
                > ["1","1","lab:a","phx_join",{}]
                < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
                > ["2","2","lab:b","phx_join",{}]
                < ["2","2","lab:b","phx_reply",{"status":"ok","response":{}}]
                > ["1","3","lab:a","crash",{}]
                < ["1","1","lab:a","phx_error",{"reason":"channel_crash"}]
                > ["2","4","lab:b","bare",{}]
                < ["2","4","lab:b","phx_reply",{"status":"ok","response":{}}]
                > ["5","5","lab:a","phx_join",{}]
                < ["5","5","lab:a","phx_reply",{"status":"ok","response":{}}]
                .
                "#,
            )
            .await;
        assert_eq!(lab.pubsub.subscriptions("lab:a"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_terminate_changes_nothing_for_the_client() {
    for (event, end) in [
        (
            "phx_leave",
            r#"< ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]"#,
        ),
        ("stop", ""),
    ] {
        let lab = Lab::new();
        let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
        client
            .play(
                r#"
                > ["1","1","lab:a","phx_join",{"terminate_panic":true}]
                < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
                "#,
            )
            .await;
        client
            .play(&format!(r#"> ["1","2","lab:a","{event}",{{}}]"#))
            .await;
        client.play(end).await;
        client.play(r#"< ["1","1","lab:a","phx_close",{}]"#).await;
        client.play(".").await;
        assert_eq!(lab.pubsub.subscriptions("lab:a"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_channel_subscribed_ends_with_it() {
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
    assert_eq!(lab.pubsub.subscriptions("news"), 1);
    client.play(r#"> ["1","2","lab:a","crash",{}]"#).await;
    client
        .play(r#"< ["1","1","lab:a","phx_error",{"reason":"channel_crash"}]"#)
        .await;
    assert_eq!(
        lab.pubsub.subscriptions("news"),
        0,
        "gone before the client hears of it"
    );
    assert_eq!(
        broadcast(&lab.pubsub, "lab:a", "x", &json!({}))
            .unwrap()
            .local,
        0
    );
}

/// Else the client of a crashed channel would never come back.
#[tokio::test(start_paused = true)]
async fn a_terminate_that_hangs_is_cut_off_and_the_client_is_told() {
    for (event, end) in [
        ("crash", "phx_error"),
        ("give_up", "phx_error"),
        ("stop", "phx_close"),
    ] {
        let (lab, lines) = (Lab::new(), Lines::collect());
        let sockets = lab.sockets();
        let mut client = Client::connect(&sockets, Vsn::V2).await;
        let join = r#"
            > ["1","1","lab:a","phx_join",{"terminate_sleep":3600000,"leave_hooks":["left"]}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            "#;
        client.play(join).await;
        let start = Instant::now();
        client
            .play(&format!(r#"> ["1","2","lab:a","{event}",{{}}]"#))
            .await;
        let payload = match end {
            "phx_error" => r#"{"reason":"channel_crash"}"#,
            _ => "{}",
        };
        client
            .play(&format!(r#"< ["1","1","lab:a","{end}",{payload}]"#))
            .await;
        let waited = start.elapsed();
        match end {
            "phx_error" => assert_eq!(waited.as_secs(), 5),
            _ => {
                assert_eq!(waited.as_secs(), 0, "it is told before");
                lab.noted("hook left of lab:a").await;
            }
        }
        assert!(!lab.notes().contains(&"terminated".to_owned()));
        assert_eq!(lab.pubsub.subscriptions("lab:a"), 0);
        let told = lines.take();
        assert!(
            told.iter()
                .any(|line| line.contains("terminate_timeout") && line.contains("lab:a")),
            "{told:?}"
        );
    }
}

/// Nobody will work it off.
#[tokio::test(start_paused = true)]
async fn a_channel_that_terminates_keeps_nothing_in_its_inbox() {
    let lab = Lab::new();
    let sockets = lab.sockets();
    let mut client = Client::connect(&sockets, Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{"terminate_sleep":1000}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","2","lab:a","crash",{}]
            > ["1","3","lab:a","echo",{}]
            .
            > ["1","4","lab:a","echo",{}]
            .
            "#,
        )
        .await;
    assert_eq!(sockets.stats().inbox_waiting, 0);
    let sent = lab.mailbox("lab:a").send(json!({}));
    assert_eq!(sent, Err(SendError::Ended));
    client
        .play(r#"< ["1","1","lab:a","phx_error",{"reason":"channel_crash"}]"#)
        .await;
}

#[tokio::test(start_paused = true)]
async fn o5_a_pusher_pushes_nothing_once_the_client_is_told_of_the_end() {
    for (event, told_before) in [("stop", true), ("phx_leave", true), ("crash", false)] {
        let lab = Lab::new();
        let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
        client
            .play(
                r#"
                > ["1","1","lab:a","phx_join",{"terminate_sleep":1000}]
                < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
                > ["1","2","lab:a","keep_pusher",{}]
                < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
                "#,
            )
            .await;
        let pusher = lab.pushers().remove(0);
        client
            .play(&format!(r#"> ["1","3","lab:a","{event}",{{}}]"#))
            .await;
        if event == "phx_leave" {
            client
                .play(r#"< ["1","3","lab:a","phx_reply",{"status":"ok","response":{}}]"#)
                .await;
        }
        if told_before {
            client.play(r#"< ["1","1","lab:a","phx_close",{}]"#).await;
        } else {
            client.play(".").await;
            pusher.push("last", &()).unwrap();
            client
                .play(
                    r#"
                    < ["1",null,"lab:a","last",{}]
                    < ["1","1","lab:a","phx_error",{"reason":"channel_crash"}]
                    "#,
                )
                .await;
        }
        assert!(matches!(pusher.push("late", &()), Err(PushError::Ended)));
        client.play(".").await;
    }
}

/// Nobody named it: presence graces, for one, go on.
#[tokio::test(start_paused = true)]
async fn who_closes_all_with_the_code_of_a_disconnect_disconnects_nobody_by_its_id() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.sockets());
    let params = matryoshka_channel::transport::Params::parse("user=anna&vsn=2.0.0").unwrap();
    let info = matryoshka_channel::transport::ConnectInfo::new("memory", params).unwrap();
    let mut client = service.connect(info).await.unwrap();
    let join = r#"["1","1","lab:a","phx_join",{}]"#;
    client.send_text(join).await.unwrap();
    client.recv_frame().await.unwrap();
    let close = Close::new(CloseCode::GOING_AWAY);
    service.connections().close_all(close.clone());
    assert_eq!(client.recv().await, Some(Outgoing::Close(close)));
    lab.noted("terminate Draining").await;
}
