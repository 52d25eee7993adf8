//! The helpers for tests: every form of every assertion, what a failure shows, and how long such a test takes.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::testing::{Expected, TestSocket, TestSockets, advance, json};
use matryoshka_channel::transport::{ConnectInfo, Limits, Rejection};
use matryoshka_channel::{
    Channel, Connected, Flow, RawEvent, Refused, Reply, Socket, Sockets, assert_broadcast,
    assert_closed, assert_push, assert_reply, disconnect, refute_broadcast, refute_push,
    refute_reply,
};
use serde::Deserialize;
use serde_json::Value;

struct Room(String);

#[derive(Deserialize)]
struct Login {
    user: String,
}

impl Channel<()> for Room {
    type Params = Login;
    type Event = RawEvent;

    async fn join(_: &(), socket: &mut Socket, login: Login) -> Result<Self, Refused> {
        if login.user.is_empty() {
            return Err(Refused::with(
                &json!({ "reason": "empty", "topic": socket.topic() }),
            ));
        }
        socket.set_join_reply(&json!({ "user": login.user }));
        socket.after_join(|socket| Box::pin(async move { socket.push("welcome", &()).into() }));
        Ok(Self(login.user))
    }

    async fn handle_in(&mut self, socket: &mut Socket, event: RawEvent) -> Reply {
        match &*event.name {
            "say" => {
                let said = crate::lab::parsed(&event.payload);
                let said = json!({ "user": self.0, "body": said["body"] });
                socket.broadcast("said", &said).into()
            }
            "echo" => Reply::payload("ok", event.payload),
            "shout" => match socket.broadcast_payload("shout", event.payload) {
                Ok(_) => Reply::none(),
                Err(error) => error.into(),
            },
            "later" => {
                let handle = socket.reply_later();
                tokio::spawn(async move {
                    // tidy: sleep because it is the handler that is slow
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    handle.error(&()).unwrap();
                });
                Reply::none()
            }
            "burst" => {
                for n in 0..100 {
                    socket.push("n", &json!({ "n": n })).unwrap();
                }
                Reply::status("maybe", &())
            }
            "stop" => Reply::none().then(Flow::Stop),
            _ => panic!("told to"),
        }
    }
}

fn sockets() -> Sockets<()> {
    Sockets::new(&PubSub::local(), ())
        .channel::<Room>("room:*")
        .on_connect(
            async |(), info: ConnectInfo| match info.params.get("deny") {
                Some(_) => Err(Rejection::forbidden()),
                None => {
                    let id = info.params.get("id").unwrap_or("nobody").to_owned();
                    Ok(Connected::new().id(id))
                }
            },
        )
}

async fn connect(test: &TestSockets<()>) -> TestSocket {
    test.connect(json!({})).await.unwrap()
}

/// The helpers in one go, as a user would write it.
async fn everything(vsn: &str) {
    let test = TestSockets::new(sockets());
    let params = json!({ "vsn": vsn });
    let (anna, ben) = (
        test.connect(&params).await.unwrap(),
        test.connect(&params).await.unwrap(),
    );
    let topic = test.subscribe("room:1");
    let user = |user: &str| json!({ "user": user });
    let anna = anna.join("room:1", user("anna")).await.unwrap();
    let ben = ben.join("room:1", user("ben")).await.unwrap();
    assert_eq!(anna.response(), &user("anna"));

    let said = anna.push("say", json!({ "body": "hi" })).await;
    assert_reply!(said, ok, {});
    refute_reply!(said);
    let body = "hi";
    assert_push!(ben, "said", { "user": "anna", "body": body });
    let said = assert_push!(anna, "said");
    assert_eq!(said["body"], "hi");
    // Of what came before and after, nothing is lost.
    assert_push!(ben, "welcome", {});
    assert_broadcast!(topic, "said", { "user": "anna", "body": "hi" });
    refute_push!(ben, "said");
    refute_push!(ben);
    refute_push!(anna, "welcome", { "other": 1 });
    refute_broadcast!(topic);
    refute_broadcast!(topic, "said", { "user": "ben", "body": "hi" });

    let later = anna.push("later", json!({})).await;
    refute_reply!(later);
    assert_reply!(later, error);
    let burst = anna.push("burst", json!({})).await;
    let status = "maybe";
    assert_reply!(burst, status, null);
    refute_reply!(burst, error);
    refute_reply!(burst, status, { "other": 1 });
    refute_reply!(burst, ok, bytes b"x");
    assert_push!(anna, "n", { "n": 99 });

    let left = ben.leave().await;
    assert_reply!(left, ok, {});
    assert_push!(ben, "phx_close", {});
    let gone = ben.push("say", json!({})).await;
    assert_reply!(gone, error, { "reason": "unmatched topic" });
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_seen() {
    let test = TestSockets::new(sockets());
    let socket = connect(&test).await;
    let anna = socket.join("room:1", json!({ "user": "anna" })).await;
    let anna = anna.unwrap();
    anna.push("unknown", json!({})).await;
    assert_push!(anna, "phx_error");
}

#[tokio::test(start_paused = true)]
async fn every_form_of_every_assertion() {
    for vsn in ["1.0.0", "2.0.0"] {
        everything(vsn).await;
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_go_both_ways() {
    let test = TestSockets::new(sockets());
    let topic = test.subscribe("room:1");
    let channel = connect(&test).await;
    let channel = channel
        .join("room:1", json!({ "user": "anna" }))
        .await
        .unwrap();
    let echo = channel
        .push_bytes("echo", Bytes::from_static(b"\xff\x00"))
        .await;
    assert_reply!(echo, ok, bytes b"\xff\x00");
    channel.push_bytes("shout", vec![7]).await;
    assert_push!(channel, "shout", bytes[7]);
    assert_eq!(assert_broadcast!(topic, "shout", bytes[7]), json!([7]));
    channel.push_bytes("shout", vec![8]).await;
    refute_push!(channel, "shout", bytes[7]);
    assert_eq!(assert_push!(channel, "shout"), json!([8]));
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_is_told_why() {
    let test = TestSockets::new(sockets());
    let refused = test.connect(json!({ "deny": true })).await.unwrap_err();
    assert_eq!(refused.status.as_u16(), 403);
    assert!(test.connect(json!({ "vsn": "9.9.9" })).await.is_err());
    let socket = connect(&test).await;
    let refused = socket
        .join("room:1", json!({ "user": "" }))
        .await
        .unwrap_err();
    assert_eq!(
        refused.response,
        json!({ "reason": "empty", "topic": "room:1" })
    );
    assert_eq!(
        refused.to_string(),
        r#"the join of room:1 was refused: {"reason":"empty","topic":"room:1"}"#
    );
    let missing = socket.join("room:1", json!({})).await.unwrap_err();
    assert_eq!(missing.response, json!({ "reason": "join crashed" }));
    // A topic need not be joined to send something on it.
    let unmatched = socket.push("nowhere", "say", json!({})).await;
    assert_reply!(unmatched, error, { "reason": "unmatched topic" });
}

/// As the official client writes them, and as `on_connect` reads them.
#[tokio::test(start_paused = true)]
async fn parameters_may_nest() {
    let sockets = Sockets::new(&PubSub::local(), ()).on_connect(async |(), info: ConnectInfo| {
        let params: Value = info.params.deserialize().unwrap();
        let expected = json!({
            "a": { "b": "1", "c d": "é&=" }, "l": { "0": "x", "1": "true" }, "vsn": "2.0.0",
        });
        assert_eq!(params, expected);
        Ok(Connected::new())
    });
    let params = json!({ "a": { "b": 1, "c d": "é&=" }, "l": ["x", true], "none": null });
    TestSockets::new(sockets).connect(params).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn ends_of_connections_are_seen() {
    let test = TestSockets::new(sockets());
    let socket = test.connect(json!({ "id": "anna" })).await.unwrap();
    let other = connect(&test).await;
    disconnect(test.pubsub(), "anna").unwrap();
    assert_closed!(socket, 1001);
    let report = other.check_closed(1001).await.unwrap_err();
    assert!(report.starts_with("no close with 1001 came"), "{report}");
    other.close().await;
    let report = other.check_closed(1001).await.unwrap_err();
    assert!(report.ends_with("the connection was dropped"), "{report}");
}

/// Hours pass without a heartbeat, unless silence is what is tested.
#[tokio::test(start_paused = true)]
async fn time_passes_at_will() {
    let test = TestSockets::new(sockets());
    let channel = connect(&test).await;
    let channel = channel
        .join("room:1", json!({ "user": "anna" }))
        .await
        .unwrap();
    let later = channel.push("later", json!({})).await;
    advance(Duration::from_secs(2)).await;
    refute_reply!(later);
    advance(Duration::from_secs(1)).await;
    assert_reply!(later, error, null);
    advance(Duration::from_secs(60 * 60)).await;
    let echo = channel.push("echo", json!({})).await;
    assert_reply!(echo, ok, {});
    let test = TestSockets::with_limits(sockets(), Limits::default());
    let silent = connect(&test).await;
    advance(Duration::from_secs(61)).await;
    assert_closed!(silent, 1001);
}

#[tokio::test(start_paused = true)]
async fn a_failure_shows_what_did_come() {
    let test = TestSockets::new(sockets());
    let topic = test.subscribe("room:1");
    let socket = connect(&test).await;
    let one = socket
        .join("room:1", json!({ "user": "anna" }))
        .await
        .unwrap();
    let two = socket
        .join("room:2", json!({ "user": "anna" }))
        .await
        .unwrap();
    let said = one.push("say", json!({ "body": "hi" })).await;
    assert_reply!(said, ok);
    let expected = Expected::Json(json!({ "user": "ben" }));
    let report = one.check_push("said", expected.clone()).await.unwrap_err();
    assert_eq!(
        report,
        r#"no push "said" {"user":"ben"} came on room:1
what did come:
  reply to 1: ok {"user":"anna"} (asserted before)
  "welcome" {}
  "said" {"body":"hi","user":"anna"}
  reply to 3: ok {} (asserted before)
and for other channels of this client:
  room:2: reply to 2: ok {"user":"anna"} (asserted before)
  room:2: "welcome" {}"#
    );
    let report = said.check_reply("error", Expected::Any).await.unwrap_err();
    assert!(
        report.starts_with("no reply error came to \"say\" on room:1, which is message 3\n"),
        "{report}"
    );
    let report = topic.check_broadcast("said", expected).await.unwrap_err();
    assert_eq!(
        report,
        r#"no broadcast "said" {"user":"ben"} came on room:1
what did come:
  "said" {"body":"hi","user":"anna"}"#
    );
    let report = two
        .check_no_push("welcome", Expected::Any)
        .await
        .unwrap_err();
    assert!(
        report.starts_with("a push \"welcome\" came on room:2\n"),
        "{report}"
    );
    assert!(two.check_silence().await.is_err());
    assert!(topic.check_silence().await.is_err());
    let report = topic.check_no_broadcast("said", Expected::Any).await;
    assert!(
        report
            .unwrap_err()
            .starts_with("a broadcast \"said\" came on room:1\n")
    );
    two.push("stop", json!({})).await;
    assert_push!(two, "phx_close");
    let echo = one.push("echo", json!({})).await;
    let nothing = echo.check_no_reply(None, Expected::Any).await.unwrap_err();
    assert!(nothing.starts_with("a reply came to \"echo\""), "{nothing}");
}

/// It is where the assertion stands that fails, not somewhere in here.
#[tokio::test(start_paused = true)]
#[should_panic(expected = "no push \"said\" came on room:1")]
async fn a_failed_assertion_panics() {
    let test = TestSockets::new(sockets());
    let channel = connect(&test).await;
    let channel = channel
        .join("room:1", json!({ "user": "anna" }))
        .await
        .unwrap();
    assert_push!(channel, "said");
}

/// What such a test takes is what its tasks do. It has no network and no other thread to wait for, the clock moves on at once, and that
/// happens few times: each time that the clock moves, every task has had its turn. It takes a few milliseconds, which a busy
/// machine stretches, so it is these that are counted.
#[test]
fn such_a_test_waits_for_nothing_and_has_few_turns() {
    let [threads, parks, turns] = [(); 3].map(|()| Arc::<AtomicUsize>::default());
    let count = |number: &Arc<AtomicUsize>| {
        let number = Arc::clone(number);
        move || {
            number.fetch_add(1, Ordering::SeqCst);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .on_thread_start(count(&threads))
        .on_thread_park(count(&parks))
        .build()
        .unwrap();
    let passed = runtime.block_on(async {
        let start = tokio::time::Instant::now();
        let mut test = pin!(everything("2.0.0"));
        let turn = count(&turns);
        poll_fn(|cx| {
            turn();
            test.as_mut().poll(cx)
        })
        .await;
        start.elapsed()
    });
    let [threads, parks, turns] =
        [threads, parks, turns].map(|number| number.load(Ordering::SeqCst));
    assert_eq!(threads, 0, "other threads");
    // Three seconds are the late reply's.
    assert!(passed < Duration::from_millis(3_100), "{passed:?}");
    assert!(parks <= 25 && turns <= 40, "{parks} parks, {turns} turns");
}

#[tokio::test(start_paused = true)]
async fn a_refuted_reply_is_shown_with_its_status() {
    let test = TestSockets::new(sockets());
    let channel = connect(&test).await;
    let channel = channel
        .join("room:1", json!({ "user": "anna" }))
        .await
        .unwrap();
    let echo = channel.push("echo", json!({ "a": 1 })).await;
    let expected = || Expected::Json(json!({ "a": 1 }));
    assert!(echo.check_no_reply(Some("error"), expected()).await.is_ok());
    let other = Expected::Json(json!({ "a": 2 }));
    assert!(echo.check_no_reply(Some("ok"), other).await.is_ok());
    let report = echo
        .check_no_reply(Some("ok"), expected())
        .await
        .unwrap_err();
    assert!(
        report.starts_with("a reply ok {\"a\":1} came to \"echo\""),
        "{report}"
    );
}

/// What a carrier tells of a client besides its parameters.
#[tokio::test(start_paused = true)]
async fn a_client_may_have_more_than_parameters() {
    let sockets = Sockets::new(&PubSub::local(), ()).on_connect(async |(), info: ConnectInfo| {
        match info.peer_addr.map(|peer| peer.port()) {
            Some(4000) if info.params.get("a") == Some("1") => Ok(Connected::new()),
            _ => Err(Rejection::forbidden()),
        }
    });
    let test = TestSockets::new(sockets);
    let params = || json!({ "a": 1 });
    assert!(test.connect(params()).await.is_err());
    let here = "192.0.2.1:4000".parse().ok();
    let with = |info: ConnectInfo| info.with_peer_addr(here);
    assert!(test.connect_with(params(), with).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn to_let_time_pass_costs_one_millisecond_more() {
    let start = tokio::time::Instant::now();
    for n in 1..=3 {
        advance(Duration::from_secs(1)).await;
        assert_eq!(start.elapsed(), n * Duration::from_millis(1_001));
    }
}
