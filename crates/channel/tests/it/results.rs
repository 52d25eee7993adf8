//! What each result of a callback means for client and channel.

use std::time::Duration;

use matryoshka_channel::pubsub::{Message, PubSub};
use matryoshka_channel::testing::{TestSockets, json};
use matryoshka_channel::{
    Channel, Flow, HandleInfo, MAX_TIMERS, PayloadError, PushError, RawEvent, Refused, Reply,
    Socket, Sockets, assert_push, assert_reply, broadcast,
};

use crate::client::{Client, Vsn};
use crate::lab::Lab;

/// Joins, plays the script on both versions, and compares what the channel noted after the event.
async fn check(script: &str, notes: &[&str]) {
    for vsn in [Vsn::V1, Vsn::V2] {
        let lab = Lab::new();
        let mut client = Client::connect(&lab.sockets(), vsn).await;
        client
            .play(
                r#"
                > ["1","1","lab:a","phx_join",{"last_words":true}]
                < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
                "#,
            )
            .await;
        client.play(script).await;
        assert_eq!(lab.notes()[2..], *notes);
    }
}

const LIVES: &str = r#"
    > ["1","9","lab:a","bare",{}]
    < ["1","9","lab:a","phx_reply",{"status":"ok","response":{}}]
    "#;

#[tokio::test(start_paused = true)]
async fn no_reply() {
    check(
        &format!("> [\"1\",\"2\",\"lab:a\",\"quiet\",{{}}]\n.\n{LIVES}"),
        &["in bare"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn replies_of_any_status_and_value() {
    let script = r#"
        > ["1","2","lab:a","bare",{}]
        < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
        > ["1","3","lab:a","fail",{"a":1}]
        < ["1","3","lab:a","phx_reply",{"status":"error","response":{"a":1}}]
        > ["1","4","lab:a","maybe",{}]
        < ["1","4","lab:a","phx_reply",{"status":"maybe","response":null}]
        "#;
    check(
        &format!("{script}{LIVES}"),
        &["in fail", "in maybe", "in bare"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn x2_an_orderly_stop() {
    let script = r#"
        > ["1","2","lab:a","stop",{}]
        < ["1","1","lab:a","phx_close",{}]
        < ["1",null,"lab:a","last_words",{}]
        .
        "#;
    check(script, &["terminate Stopped"]).await;
}

#[tokio::test(start_paused = true)]
async fn x2_an_orderly_stop_with_a_reply() {
    let script = r#"
        > ["1","2","lab:a","stop_ok",{}]
        < ["1","2","lab:a","phx_reply",{"status":"ok","response":{"bye":1}}]
        < ["1","1","lab:a","phx_close",{}]
        < ["1",null,"lab:a","last_words",{}]
        .
        "#;
    check(script, &["terminate Stopped"]).await;
}

#[tokio::test(start_paused = true)]
async fn x3_a_failure() {
    let script = r#"
        > ["1","2","lab:a","give_up",{}]
        < ["1",null,"lab:a","last_words",{}]
        < ["1","1","lab:a","phx_error",{"reason":"channel_crash"}]
        .
        "#;
    check(script, &[r#"terminate Failed("told to")"#]).await;
}

#[tokio::test(start_paused = true)]
async fn x3_a_failure_with_a_reply() {
    let script = r#"
        > ["1","2","lab:a","give_up_ok",{}]
        < ["1","2","lab:a","phx_reply",{"status":"ok","response":{"bye":2}}]
        < ["1",null,"lab:a","last_words",{}]
        < ["1","1","lab:a","phx_error",{"reason":"channel_crash"}]
        .
        "#;
    check(script, &[r#"terminate Failed("told to")"#]).await;
}

#[tokio::test(start_paused = true)]
async fn x4_a_panic() {
    let script = r#"
        > ["1","2","lab:a","crash",{}]
        < ["1",null,"lab:a","last_words",{}]
        < ["1","1","lab:a","phx_error",{"reason":"channel_crash"}]
        .
        "#;
    check(script, &["terminate Crashed"]).await;
}

#[tokio::test(start_paused = true)]
async fn x4_a_reply_that_cannot_be_written() {
    let script = r#"
        > ["1","2","lab:a","unwritable",{}]
        < ["1",null,"lab:a","last_words",{}]
        < ["1","1","lab:a","phx_error",{"reason":"channel_crash"}]
        .
        "#;
    check(script, &["terminate Crashed"]).await;
}

#[tokio::test(start_paused = true)]
async fn x2_x4_an_outgoing_event_may_stop_or_crash_the_channel() {
    let stop = r#"
        > ["1","2","lab:a","intercepted",{"event":"end"}]
        < ["1","1","lab:a","phx_close",{}]
        < ["1",null,"lab:a","last_words",{}]
        .
        "#;
    check(stop, &["terminate Stopped"]).await;
    let crash = r#"
        > ["1","2","lab:a","intercepted",{"event":"boom"}]
        < ["1",null,"lab:a","last_words",{}]
        < ["1","1","lab:a","phx_error",{"reason":"channel_crash"}]
        .
        "#;
    check(crash, &["terminate Crashed"]).await;
}

#[tokio::test(start_paused = true)]
async fn x2_x3_x4_an_info_message_may_stop_or_crash_the_channel() {
    let ends = [
        ("stop", "phx_close", "{}", "terminate Stopped"),
        (
            "fail",
            "phx_error",
            r#"{"reason":"channel_crash"}"#,
            r#"terminate Failed("told to")"#,
        ),
        (
            "panic",
            "phx_error",
            r#"{"reason":"channel_crash"}"#,
            "terminate Crashed",
        ),
    ];
    for (order, event, payload, note) in ends {
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
        let mailbox = lab.mailbox("lab:a");
        mailbox.send(serde_json::json!({ "hello": 1 })).unwrap();
        mailbox.send(serde_json::json!({ "do": order })).unwrap();
        client
            .play(r#"< ["1",null,"lab:a","info",{"hello":1}]"#)
            .await;
        client
            .play(&format!(r#"< ["1","1","lab:a","{event}",{payload}]"#))
            .await;
        client.play(".").await;
        assert_eq!(lab.notes()[1..], [note]);
    }
}

/// Fails as it is told, by what a `?` or an `into` makes of the error.
struct Failing;

const TOO_LONG: usize = 300;

impl Channel<()> for Failing {
    type Params = String;
    type Event = RawEvent;

    async fn join(_: &(), socket: &mut Socket, how: String) -> Result<Self, Refused> {
        match &*how {
            "subscription" => socket.subscribe::<Self>("x".repeat(TOO_LONG))?,
            "timers" => {
                for _ in 0..=MAX_TIMERS {
                    socket.send_after::<Self, _>(Duration::from_secs(1), ())?;
                }
            }
            "broadcast" => drop(broadcast(socket.pubsub(), "news", "text", "text")?),
            "push" => Err(PushError::Ended)?,
            "payload" => Err(PayloadError::NotAnObject)?,
            _ => {}
        }
        Ok(Self)
    }

    async fn handle_in(&mut self, socket: &mut Socket, event: RawEvent) -> Reply {
        match &*event.name {
            "subscribe" => socket.subscribe::<Self>("x".repeat(TOO_LONG)).into(),
            _ => socket.send_after::<Self, _>(Duration::ZERO, ()).into(),
        }
    }
}

impl HandleInfo<()> for Failing {
    async fn handle_info(&mut self, socket: &mut Socket, (): ()) -> Flow {
        socket.subscribe::<Self>("x".repeat(TOO_LONG)).into()
    }
}

impl HandleInfo<Message> for Failing {
    async fn handle_info(&mut self, _: &mut Socket, _: Message) -> Flow {
        Flow::Continue
    }
}

#[tokio::test(start_paused = true)]
async fn errors_of_this_crate_are_refusals_replies_and_ends() {
    let sockets = Sockets::new(&PubSub::local(), ()).channel::<Failing>("failing");
    let socket = TestSockets::new(sockets).connect(json!({})).await.unwrap();
    for (how, reason) in [
        ("subscription", "subscription failed"),
        ("timers", "too many timers"),
        ("broadcast", "broadcast failed"),
        ("push", "push failed"),
        ("payload", "unusable payload"),
    ] {
        let refused = socket.join("failing", how).await.unwrap_err();
        assert_eq!(refused.response, json!({ "reason": reason }));
    }
    let failing = socket.join("failing", "").await.unwrap();
    let asked = failing.push("subscribe", json!({})).await;
    assert_reply!(asked, error, { "reason": "subscription failed" });
    failing.push("fail", json!({})).await;
    assert_push!(failing, "phx_error");
}
