//! Messages from the client, and the order of what they cause.

use matryoshka_channel::{SocketsConfig, transport::Frame};

use crate::client::{Client, Vsn};
use crate::lab::Lab;
use crate::log::Lines;

#[tokio::test(start_paused = true)]
async fn m1_a_message_with_the_joins_ref_or_none_is_handled() {
    for vsn in [Vsn::V1, Vsn::V2] {
        Client::connect(&Lab::new().sockets(), vsn)
            .await
            .play(
                r#"
                > ["1","1","lab:a","phx_join",{}]
                < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
                > ["1","2","lab:a","echo",{"a":[1,null,"é\n"]}]
                < ["1","2","lab:a","phx_reply",{"status":"ok","response":{"a":[1,null,"é\n"]}}]
                > [null,"3","lab:a","echo",[18446744073709551616]]
                < ["1","3","lab:a","phx_reply",{"status":"ok","response":[18446744073709551616]}]
                > ["1",null,"lab:a","echo","text"]
                < ["1",null,"lab:a","phx_reply",{"status":"ok","response":"text"}]
                > ["1",{"r":4},"lab:a","echo",null]
                < ["1",{"r":4},"lab:a","phx_reply",{"status":"ok","response":null}]
                "#,
            )
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn m2_m7_a_stale_message_is_dropped_without_a_word() {
    let lab = Lab::new();
    let lines = Lines::collect();
    Client::connect(&lab.sockets(), Vsn::V2)
        .await
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["0","2","lab:a","bare",{}]
            > ["","3","lab:a","bare",{}]
            > [1,"4","lab:a","bare",{}]
            .
            > 00 00 01 05 04 "5" "lab:a" "bare" 00
            .
            "#,
        )
        .await;
    assert_eq!(lab.notes(), ["join lab:a {}"]);
    assert_eq!(lines.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn m3_a_message_on_a_topic_not_joined_is_unmatched() {
    for vsn in [Vsn::V1, Vsn::V2] {
        let lab = Lab::new();
        Client::connect(&lab.sockets(), vsn)
            .await
            .play(
                r#"
                > ["7","1","lab:a","bare",{}]
                < [null,"1","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
                > ["7","2","lab:a","bare",{}]
                < [null,"2","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
                "#,
            )
            .await;
        assert_eq!(lab.notes(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn m4_an_event_that_is_no_string_crashes_the_channel() {
    Client::connect(&Lab::new().sockets(), Vsn::V2)
        .await
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","2","lab:a",7,{}]
            < ["1","1","lab:a","phx_error",{"reason":"channel_crash"}]
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn m5_what_follows_a_crash_is_dropped_until_it_is_known() {
    Client::connect(&Lab::new().sockets(), Vsn::V2)
        .await
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","2","lab:a","crash",{}]
            > ["1","3","lab:a","bare",{}]
            < ["1","1","lab:a","phx_error",{"reason":"channel_crash"}]
            .
            > ["1","4","lab:a","bare",{}]
            < [null,"4","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn m6_the_servers_own_events_are_ordinary_ones() {
    for event in ["phx_reply", "phx_close", "phx_error", "phx_drain"] {
        let lab = Lab::new();
        let script = r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","2","lab:a","EVENT",{}]
            < ["1","1","lab:a","phx_error",{"reason":"channel_crash"}]
            "#;
        let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
        client.play(&script.replace("EVENT", event)).await;
        assert_eq!(
            lab.notes()[1],
            format!("in {event}"),
            "it reached the handler"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn s11_a_malformed_frame_closes_the_socket_with_1011_and_one_line() {
    for frame in [
        Frame::text("xyzzy"),
        Frame::text(r#""xyzzy""#),
        Frame::text(r#"["1","1","lab:a","x",{"xyzzy":tru}]"#),
        Frame::text(""),
        Frame::text(r#"{"xyzzy":1}"#),
        Frame::text(r#"["1","1","lab:a","xyzzy"]"#),
        Frame::binary(Vec::new()),
        Frame::binary(vec![0, 9, 9, 9, 9]),
        Frame::binary(vec![1, 0, 0, 0, 0]),
    ] {
        let lab = Lab::new();
        let lines = Lines::collect();
        let sockets = lab.sockets();
        let mut other = Client::connect(&sockets, Vsn::V2).await;
        let mut client = Client::connect(&sockets, Vsn::V2).await;
        let join = r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            "#;
        client.play(join).await;
        other.play(join).await;
        client.send_frame(frame.clone()).await;
        client.play("< close 1011").await;
        other
            .play(
                r#"
                > ["1","2","lab:a","bare",{}]
                < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
                "#,
            )
            .await;
        let lines = lines.take();
        assert_eq!(lines.len(), 1, "{frame:?}: {lines:?}");
        assert!(
            lines[0].starts_with("WARN") && !lines[0].contains("xyzzy"),
            "{lines:?}"
        );
        assert!(lab.notes().contains(&"terminate Faulted".to_owned()));
        assert_eq!(sockets.stats().malformed_frames, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_inbox_holds_the_client_back_and_loses_nothing() {
    let mut config = SocketsConfig::default();
    config.inbox_messages = 4;
    let lab = Lab::new();
    let sockets = lab.sockets_with(config);
    let mut client = Client::connect(&sockets, Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","s","lab:a","slow",{"ms":1000}]
            .
            "#,
        )
        .await;
    for n in 1..=20 {
        client
            .send(&format!(r#"["1","{n}","lab:a","count",{{}}]"#))
            .await;
    }
    client.send(r#"[null,"h","phoenix","heartbeat",{}]"#).await;
    client.play(".").await;
    assert!(sockets.stats().messages_in < 10, "the rest is not read yet");
    client
        .play(r#"< ["1","s","lab:a","phx_reply",{"status":"ok","response":{"ms":1000}}]"#)
        .await;
    let (mut count, mut heartbeats) = (0, 0);
    while count < 20 || heartbeats < 1 {
        let Some(matryoshka_channel::transport::Outgoing::Frame(frame)) = client.recv().await
        else {
            panic!("closed");
        };
        match frame.as_text().unwrap().contains("phoenix") {
            true => heartbeats += 1,
            false => {
                count += 1;
                assert!(
                    frame
                        .as_text()
                        .unwrap()
                        .contains(&format!(r#""count":{count}"#))
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_inbox_drops_messages_of_other_tasks_and_counts_them() {
    let mut config = SocketsConfig::default();
    config.inbox_messages = 2;
    let lab = Lab::new();
    let sockets = lab.sockets_with(config);
    let mut client = Client::connect(&sockets, Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","s","lab:a","slow",{"ms":1000}]
            .
            "#,
        )
        .await;
    let mailbox = lab.mailbox("lab:a");
    let sent: Vec<_> = (0..4)
        .map(|n| mailbox.send(serde_json::json!({ "n": n })).is_ok())
        .collect();
    assert_eq!(sent, [true, true, false, false]);
    assert_eq!(sockets.stats().inbox_dropped, 2);
    client
        .play(
            r#"
            < ["1","s","lab:a","phx_reply",{"status":"ok","response":{"ms":1000}}]
            < ["1",null,"lab:a","info",{"n":0}]
            < ["1",null,"lab:a","info",{"n":1}]
            .
            "#,
        )
        .await;
    client.close().await;
    lab.noted("terminate Closed").await;
    assert_eq!(
        mailbox.send(serde_json::json!({})),
        Err(matryoshka_channel::SendError::Ended)
    );
}

/// Of a message whose type is the program's own nobody knows how much it holds but its sender.
#[tokio::test(start_paused = true)]
async fn a_message_of_another_task_counts_what_its_sender_says() {
    let mut config = SocketsConfig::default();
    config.inbox_bytes = 1_000;
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets_with(config), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","s","lab:a","slow",{"ms":1000}]
            .
            "#,
        )
        .await;
    let mailbox = lab.mailbox("lab:a");
    let message = || serde_json::json!({ "n": 1 });
    mailbox.send(message()).unwrap();
    mailbox.send_sized(message(), usize::MAX).unwrap();
    let full = Err(matryoshka_channel::SendError::Full);
    assert_eq!(mailbox.send(message()), full);
    client
        .play(
            r#"
            < ["1","s","lab:a","phx_reply",{"status":"ok","response":{"ms":1000}}]
            < ["1",null,"lab:a","info",{"n":1}]
            < ["1",null,"lab:a","info",{"n":1}]
            > ["1","s","lab:a","slow",{"ms":1000}]
            .
            "#,
        )
        .await;
    for _ in 0..10 {
        mailbox.send(message()).unwrap();
    }
    mailbox.send_sized(message(), 200).unwrap();
    mailbox.send_sized(message(), 200).unwrap();
    assert_eq!(mailbox.send(message()), full);
}
