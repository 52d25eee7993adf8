//! Long polling as its clients see it: status by status, over the service itself, without a network.

use std::time::Duration;

use futures::future::join;
use http_body_util::Full;
use matryoshka_transport::{
    Close, CloseCode, CloseReason, Frame, HttpConfig, HttpService, Limits, LongPollConfig,
    LongPolling, LongPollingError, MAX_MESSAGE_BYTES, Pushed, Rate, SharedFrame, WhenSlow,
    bytes::Bytes,
    http::{Request, StatusCode, Version, request},
    pubsub::PubSub,
};
use serde_json::json;
use tokio::time::{Instant, advance, timeout};
use tower::Service;

use crate::{
    lab::{Lab, Mail},
    log::Lines,
    poller::{Polled, WINDOW, get, messages},
};

#[tokio::test(start_paused = true)]
async fn a_get_without_a_token_opens_a_session_and_410_says_so() {
    let polled = Polled::new();
    for query in [
        "vsn=2.0.0&user=al",
        "vsn=2.0.0&user=al&",
        "vsn=2.0.0&user=al&token=",
    ] {
        let opened = polled.get(query).await;
        let token = opened.token();
        opened.is(json!({"status": 410, "token": token, "messages": []}));
        let (info, _) = polled.lab.connected().await;
        assert_eq!(
            (info.transport, info.serializer.vsn()),
            ("longpoll", "2.0.0")
        );
        assert_eq!(info.params.get("user"), Some("al"));
    }
    assert_eq!(polled.polling.stats().sessions, 3);
    assert_eq!(polled.service.connections().count(), 3);
    let first = polled.get("").await;
    assert_eq!(first.json()["status"], 410);
    assert_eq!(polled.lab.connected().await.0.serializer.vsn(), "1.0.0");
}

#[tokio::test(start_paused = true)]
async fn a_get_whose_token_is_worth_nothing_opens_a_new_session() {
    let polled = Polled::new();
    let good = polled.open().await;
    let mut forged = good.clone().into_bytes();
    forged[3] ^= 1;
    let forged = String::from_utf8(forged).unwrap();
    for token in [
        "nonsense",
        &"x".repeat(5_000),
        &forged,
        &good[1..],
        "undefined",
    ] {
        let answer = polled.poll(token).await;
        assert_eq!(answer.json()["status"], 410, "{token}");
        assert_ne!(answer.token(), token);
    }
    assert_eq!(polled.polling.stats().sessions, 6);
}

/// As official clients up to 1.7 ask, which state a content type, where the user connects with a parameter of that name.
#[tokio::test(start_paused = true)]
async fn a_users_own_parameter_token_is_no_session_and_reaches_the_handler() {
    let polled = Polled::new();
    let ask = async |query: &str| {
        let request = get(query).header("content-type", "application/json");
        polled.ask(request.body(Full::default()).unwrap()).await
    };
    let opened = ask("token=eyJhbGciOi.eyJzdWIi.c2ln&vsn=2.0.0&").await;
    let token = opened.token();
    opened.is(json!({"status": 410, "token": token, "messages": []}));
    let (info, outbox) = polled.lab.connected().await;
    assert_eq!(info.params.get("token"), Some("eyJhbGciOi.eyJzdWIi.c2ln"));

    let both = format!("token=eyJhbGciOi.eyJzdWIi.c2ln&vsn=2.0.0&token={token}");
    outbox.frame(Frame::text("[1]"));
    ask(&both).await.is(messages(&token, &["[1]"]));
    outbox.close(CloseCode::GOING_AWAY.into());
    polled.lab.closed().await;
    assert_eq!(ask(&both).await.json()["status"], 500);
    // A client of today is given a new session by its poll, for which the user is who he was.
    assert_eq!(polled.get(&both).await.json()["status"], 410);
    let (info, _) = polled.lab.connected().await;
    assert_eq!(info.params.get("token"), Some("eyJhbGciOi.eyJzdWIi.c2ln"));
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_answered_at_once_in_order_with_the_requests_token() {
    let polled = Polled::new();
    let token = polled.open().await;
    polled
        .lines(&token, "[1]\n[2,\"é\\n\"]")
        .await
        .is(json!({"status": 200}));
    polled
        .poll(&token)
        .await
        .is(messages(&token, &["[1]", "[2,\"é\\n\"]"]));
}

#[tokio::test(start_paused = true)]
async fn an_empty_queue_waits_for_a_message_or_for_the_window() {
    let polled = Polled::new();
    let token = polled.open().await;
    let (_, outbox) = polled.lab.connected().await;
    let start = Instant::now();
    let push = async {
        advance(Duration::from_secs(4)).await;
        outbox.frame(Frame::text("1"));
        outbox.mail(Mail::Say("2"));
    };
    let (answer, ()) = join(polled.poll(&token), push).await;
    answer.is(messages(&token, &["1", "2"]));
    assert_eq!(start.elapsed().as_secs(), 4);

    let start = Instant::now();
    polled
        .poll(&token)
        .await
        .is(json!({"status": 204, "token": token, "messages": []}));
    assert_eq!(start.elapsed(), WINDOW);
}

#[tokio::test(start_paused = true)]
async fn of_two_polls_the_newer_gets_what_comes_and_the_older_runs_out() {
    let polled = Polled::new();
    let token = polled.open().await;
    let (_, outbox) = polled.lab.connected().await;
    let start = Instant::now();
    let newer = async {
        advance(Duration::from_secs(1)).await;
        let push = async {
            advance(Duration::from_secs(1)).await;
            outbox.frame(Frame::text("x"));
        };
        let (newer, ()) = join(polled.poll(&token), push).await;
        newer.is(messages(&token, &["x"]));
        assert_eq!(start.elapsed().as_secs(), 2);
    };
    let (older, ()) = join(polled.poll(&token), newer).await;
    assert_eq!(older.json()["status"], 204);
    assert_eq!(start.elapsed(), WINDOW);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_given_up_takes_nothing_along() {
    let polled = Polled::new();
    let token = polled.open().await;
    let (_, outbox) = polled.lab.connected().await;
    assert!(timeout(WINDOW / 2, polled.poll(&token)).await.is_err());
    outbox.frame(Frame::text("kept"));
    polled.poll(&token).await.is(messages(&token, &["kept"]));
}

#[tokio::test(start_paused = true)]
async fn the_token_may_stand_in_a_header_which_wins() {
    let polled = Polled::new();
    let token = polled.open().await;
    let body = Full::new(Bytes::from_static(b"[1]"));
    let request = Request::post("/socket/longpoll?token=nonsense")
        .header("x-phoenix-longpoll-token", &token)
        .body(body);
    polled
        .ask(request.unwrap())
        .await
        .is(json!({"status": 200}));
    let request = get("").header("x-phoenix-longpoll-token", &token);
    let answer = polled.ask(request.body(Full::default()).unwrap()).await;
    answer.is(messages(&token, &["[1]"]));
}

#[tokio::test(start_paused = true)]
async fn refusals_are_403_in_the_body() {
    let polled = Polled::new();
    for query in [
        "connect=refuse",
        "connect=busy",
        "vsn=2.1.0",
        "vsn=",
        "vsn[]=2.0.0",
    ] {
        polled.get(query).await.is(json!({"status": 403}));
    }
    let evil = |builder: request::Builder| {
        builder
            .header("origin", "http://evil.example")
            .header("host", "chat.example")
    };
    for asked in [evil(get("")), evil(Request::post("/socket/longpoll"))] {
        let answer = polled.ask(asked.body(Full::default()).unwrap()).await;
        answer.is(json!({"status": 403}));
    }
    let preflight = evil(Request::options("/socket/longpoll"));
    let answer = polled.ask(preflight.body(Full::default()).unwrap()).await;
    assert_eq!(
        (answer.status, answer.json()),
        (StatusCode::OK, json!({"status": 403}))
    );
    let mut headers = answer.headers.keys();
    assert!(
        headers.all(|name| !name.as_str().starts_with("access-control-")),
        "{answer:?}"
    );
    assert_eq!(polled.service.connections().count(), 0);
    let friend = get("")
        .header("origin", "https://chat.example:8443")
        .header("host", "chat.example");
    let friend = polled.ask(friend.body(Full::default()).unwrap()).await;
    assert_eq!(friend.json()["status"], 410);
}

/// Whose requests have the host in their URI, and no header for it.
#[tokio::test(start_paused = true)]
async fn over_http_2_a_servers_own_pages_are_allowed_and_no_others() {
    let polled = Polled::new();
    let from = async |origin: &str| {
        let request = Request::get("https://chat.example/socket/longpoll?vsn=2.0.0")
            .version(Version::HTTP_2)
            .header("origin", origin)
            .body(Full::default());
        polled.ask(request.unwrap()).await.json()["status"].clone()
    };
    assert_eq!(from("https://chat.example").await, 410);
    assert_eq!(from("https://evil.example").await, 403);
}

#[tokio::test(start_paused = true)]
async fn faults_of_the_service_are_500_in_the_body_and_say_more_to_proxies() {
    let polled = Polled::with(
        LongPollConfig::default().with_max_sessions(1),
        Limits::default(),
    );
    let crashed = polled.get("connect=panic").await;
    assert_eq!(
        (crashed.status.as_u16(), crashed.json()),
        (500, json!({"status": 500}))
    );
    polled.open().await;
    let full = polled.get("").await;
    assert_eq!(
        (full.status.as_u16(), full.json()),
        (503, json!({"status": 500}))
    );
    assert_eq!(polled.polling.stats().full, 1);
    polled
        .service
        .connections()
        .close_all(CloseCode::RESTART.into());
    let polled = Polled::new();
    polled
        .service
        .connections()
        .close_all(CloseCode::RESTART.into());
    let closing = polled.get("").await;
    assert_eq!(
        (closing.status.as_u16(), closing.json()),
        (503, json!({"status": 500}))
    );
}

#[tokio::test(start_paused = true)]
async fn limits_of_connections_hold_for_sessions_too_and_a_batch_may_be_too_much() {
    let polled = Polled::with(
        LongPollConfig::default(),
        Limits::default().with_inbound(Rate::new(1, 2)),
    );
    let slow = polled.get("connect=never").await;
    assert_eq!(
        (slow.status.as_u16(), slow.json()),
        (503, json!({"status": 500}))
    );
    let token = polled.open().await;
    polled
        .lines(&token, "[1]\n[2]\n[3]\n[4]")
        .await
        .is(json!({"status": 408}));
    polled
        .poll(&token)
        .await
        .is(messages(&token, &["[1]", "[2]", "one too many: [3]"]));
    assert_eq!(polled.poll(&token).await.json()["status"], 410);

    let polled = Polled::new();
    let limit = polled.service.connections().limits().max_per_user.unwrap();
    for _ in 0..limit {
        polled.get("user=al").await;
        polled.lab.connected().await;
    }
    let one_more = polled.get("user=al").await;
    assert_eq!(
        (one_more.status.as_u16(), one_more.json()),
        (429, json!({"status": 500}))
    );
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_again_when_its_session_is_refused_or_over() {
    let polled = Polled::with(
        LongPollConfig::default().with_max_sessions(1),
        Limits::default(),
    );
    polled
        .get("connect=refuse")
        .await
        .is(json!({"status": 403}));
    polled.open().await;
    polled
        .lab
        .connected()
        .await
        .1
        .close(CloseCode::GOING_AWAY.into());
    polled.service.connections().closed().await;
    polled.open().await;
}

#[tokio::test(start_paused = true)]
async fn a_post_without_a_session_is_410() {
    let polled = Polled::new();
    polled.lines("", "[1]").await.is(json!({"status": 410}));
    polled
        .lines("nonsense", "[1]")
        .await
        .is(json!({"status": 410}));
}

#[tokio::test(start_paused = true)]
async fn a_post_of_any_other_type_is_one_text() {
    let polled = Polled::new();
    let token = polled.open().await;
    for content_type in ["application/json", "", "text/plain"] {
        let answer = polled.post(&token, content_type, "{\"a\":\n1}").await;
        answer.is(json!({"status": 200}));
        polled
            .poll(&token)
            .await
            .is(messages(&token, &["{\"a\":\n1}"]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_texts_and_base64_of_any_number_and_empty_lines_are_skipped() {
    let polled = Polled::new();
    let token = polled.open().await;
    let lines = Lines::collect();
    polled
        .lines(&token, "[1]\r\nZGljZQ==\n\n[2]\n")
        .await
        .is(json!({"status": 200}));
    // The lab answers bytes with bytes, which this client could not read.
    polled
        .poll(&token)
        .await
        .is(messages(&token, &["[1]", "[2]"]));
    assert_eq!(polled.polling.stats().binary_dropped, 1);
    assert!(lines.take()[0].contains("a binary frame was dropped"));

    let lines: Vec<String> = (0..500).map(|n| format!("[{n}]")).collect();
    polled
        .lines(&token, &lines.join("\n"))
        .await
        .is(json!({"status": 200}));
    let texts: Vec<&str> = lines.iter().map(String::as_str).collect();
    polled.poll(&token).await.is(messages(&token, &texts));
    for nothing in ["", "\n", "\r\n\n"] {
        polled
            .lines(&token, nothing)
            .await
            .is(json!({"status": 200}));
    }
    polled
        .post(&token, "text/plain", "")
        .await
        .is(json!({"status": 200}));
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_neither_is_named_and_those_before_it_were_handled() {
    let polled = Polled::new();
    let token = polled.open().await;
    let answer = polled.lines(&token, "[1]\n{\"v1\":true}\n[2]").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.body.starts_with(b"line 2 is neither"), "{answer:?}");
    polled.poll(&token).await.is(messages(&token, &["[1]"]));
}

#[tokio::test(start_paused = true)]
async fn a_body_too_large_or_too_slow_is_400() {
    let config = LongPollConfig::default()
        .with_max_body_bytes(100)
        .with_body_timeout(Duration::from_secs(3));
    let polled = Polled::with(config, Limits::default());
    let token = polled.open().await;
    let largest = "x".repeat(100);
    polled
        .post(&token, "", largest.clone())
        .await
        .is(json!({"status": 200}));
    let larger = polled.post(&token, "", largest + "x").await;
    assert_eq!(larger.status, StatusCode::BAD_REQUEST);
    assert_eq!(larger.body, "the body has more than 100 bytes");

    let never = http_body_util::StreamBody::new(futures::stream::pending::<
        Result<hyper::body::Frame<Bytes>, std::convert::Infallible>,
    >());
    let request = Request::post(format!("/socket/longpoll?token={token}")).body(never);
    let start = Instant::now();
    let slow = polled.service.clone().call(request.unwrap()).await.unwrap();
    assert_eq!(slow.status(), StatusCode::BAD_REQUEST);
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_post_waits_for_a_busy_session_and_is_408_after_the_window() {
    let polled = Polled::new();
    let token = polled.open().await;
    polled.lab.gate.shut();
    let start = Instant::now();
    let open = async {
        advance(WINDOW / 2).await;
        polled.lab.gate.open();
    };
    let (answer, ()) = join(polled.lines(&token, "[1]"), open).await;
    answer.is(json!({"status": 200}));
    assert_eq!(start.elapsed(), WINDOW / 2);

    polled.lab.gate.shut();
    let start = Instant::now();
    polled
        .lines(&token, "[2]\n[3]")
        .await
        .is(json!({"status": 408}));
    assert_eq!(start.elapsed(), WINDOW);
    polled.lab.gate.open();
    polled.lines(&token, "[4]").await.is(json!({"status": 200}));
    polled
        .poll(&token)
        .await
        .is(messages(&token, &["[1]", "[4]"]));
}

/// A client of long polling is slowed by the answers to its posts.
#[tokio::test(start_paused = true)]
async fn a_post_of_who_sends_too_many_bytes_is_answered_later() {
    let limits = Limits::default().with_inbound_bytes(Rate::new(1_000, 1_000));
    let polled = Polled::with(LongPollConfig::default(), limits);
    let token = polled.open().await;
    let start = Instant::now();
    let message = format!("[{}]", "1".repeat(998));
    for seconds in [0, 1, 2, 3] {
        polled
            .lines(&token, &message)
            .await
            .is(json!({"status": 200}));
        assert_eq!(start.elapsed().as_secs(), seconds);
        // It has been handed on before.
        polled.poll(&token).await.is(messages(&token, &[&message]));
        assert_eq!(start.elapsed().as_secs(), seconds);
    }
}

/// Two posts at once, of which each takes six seconds. It is us who let the second wait.
#[tokio::test(start_paused = true)]
async fn time_in_which_a_client_is_slowed_is_not_taken_from_its_posts() {
    let limits = Limits::default().with_inbound_bytes(Rate::new(1_000, 1_000));
    let message = format!("[{}]", "1".repeat(6_998));
    let config = LongPollConfig::default().with_idle_timeout(Duration::from_secs(60));
    let polled = Polled::with(config, limits);
    let token = polled.open().await;
    let post = || polled.lines(&token, &message);
    let start = Instant::now();
    let (one, other) = join(post(), post()).await;
    one.is(json!({"status": 200}));
    other.is(json!({"status": 200}));
    assert_eq!(start.elapsed().as_secs(), 13);

    // A busy session gets no more than before.
    let token = polled.open().await;
    let post = || polled.lines(&token, &message);
    let shut = async {
        advance(Duration::from_secs(1)).await;
        polled.lab.gate.shut();
    };
    let start = Instant::now();
    let (one, other, ()) = futures::join!(post(), post(), shut);
    one.is(json!({"status": 408}));
    other.is(json!({"status": 408}));
    assert_eq!(start.elapsed().as_secs(), 16);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_dies_on_a_message_is_408_and_then_gone() {
    for (body, close) in [
        (&b"panic"[..], None),
        (
            b"close",
            Some(CloseReason::Closed(
                Close::new(CloseCode(4000)).with_reason("asked to"),
            )),
        ),
        (
            b"not utf-8: \xff",
            Some(CloseReason::Closed(CloseCode::INVALID_UTF8.into())),
        ),
    ] {
        let polled = Polled::new();
        let token = polled.open().await;
        let start = Instant::now();
        polled
            .post(&token, "", body)
            .await
            .is(json!({"status": 408}));
        polled.lines(&token, "[1]").await.is(json!({"status": 410}));
        assert_eq!(start.elapsed(), Duration::ZERO, "nobody is made to wait");
        if let Some(close) = close {
            assert_eq!(polled.lab.closed().await, close);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_session_said_before_it_ended_is_still_polled() {
    let polled = Polled::new();
    let token = polled.open().await;
    polled.lines(&token, "[1]").await.is(json!({"status": 200}));
    let (_, outbox) = polled.lab.connected().await;
    outbox.frame(Frame::text("last words"));
    outbox.close(CloseCode::RESTART.into());
    assert_eq!(
        polled.lab.closed().await,
        CloseReason::Closed(CloseCode::RESTART.into())
    );
    polled
        .poll(&token)
        .await
        .is(messages(&token, &["[1]", "last words"]));
    let gone = polled.poll(&token).await;
    assert_eq!(gone.json()["status"], 410);
    assert_ne!(gone.token(), token, "that is a new session");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_poll_is_told_at_once_that_the_session_is_gone() {
    for (content_type, status) in [(None, 410), (Some("application/json"), 500)] {
        let polled = Polled::new();
        let token = polled.open().await;
        let (_, outbox) = polled.lab.connected().await;
        let start = Instant::now();
        let close = async {
            advance(Duration::from_secs(1)).await;
            outbox.close(CloseCode::GOING_AWAY.into());
        };
        let mut request = get(&format!("token={token}"));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let asked = polled.ask(request.body(Full::default()).unwrap());
        let (answer, ()) = join(asked, close).await;
        assert_eq!(answer.json()["status"], status);
        assert_eq!(start.elapsed().as_secs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_without_polls_ends_after_its_idle_time_and_posts_do_not_help() {
    let polled = Polled::new();
    let token = polled.open().await;
    let start = Instant::now();
    for _ in 0..3 {
        advance(Duration::from_secs(4)).await;
        polled.lines(&token, "[1]").await.is(json!({"status": 200}));
    }
    assert_eq!(polled.lab.closed().await, CloseReason::Idle);
    assert_eq!(start.elapsed().as_secs(), 15);
    polled.lines(&token, "[1]").await.is(json!({"status": 410}));

    let token = polled.open().await;
    for _ in 0..10 {
        assert_eq!(polled.poll(&token).await.json()["status"], 204);
        advance(Duration::from_secs(14)).await;
    }
    assert!(polled.lab.nothing_closed());
}

#[tokio::test(start_paused = true)]
async fn a_busy_session_does_not_outlive_a_client_that_polls_no_more() {
    let polled = Polled::new();
    let token = polled.open().await;
    polled.lab.gate.shut();
    polled.lines(&token, "[1]").await.is(json!({"status": 408}));
    assert_eq!(polled.lab.closed().await, CloseReason::Idle);
}

#[tokio::test(start_paused = true)]
async fn an_old_token_is_gone_and_its_session_with_it() {
    let config = LongPollConfig::default().with_token_age(Duration::from_secs(25));
    let polled = Polled::with(config, Limits::default());
    let token = polled.open().await;
    for status in [204, 204, 204, 410] {
        assert_eq!(polled.poll(&token).await.json()["status"], status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_polls_too_slowly_loses_its_session_when_buffer_and_outbox_are_full() {
    let config = LongPollConfig::default().with_buffer_bytes(1_000);
    let polled = Polled::with(
        config,
        Limits::default()
            .with_outbox_bytes(1_000)
            .with_outbox_items(1_000),
    );
    let token = polled.open().await;
    let (_, outbox) = polled.lab.connected().await;
    let mut queued = 0;
    while outbox.frame(Frame::text("x".repeat(100))) == Pushed::Queued {
        queued += 1;
        assert!(queued < 40, "no bound");
        tokio::task::yield_now().await;
    }
    assert!(queued > 15, "{queued}");
    assert_eq!(
        polled.lab.closed().await,
        CloseReason::Closed(CloseCode::POLICY.into())
    );
    let rest = polled.poll(&token).await.json();
    assert!(rest["messages"].as_array().unwrap().len() > 5, "{rest}");
    assert_eq!(polled.poll(&token).await.json()["status"], 410);
}

#[tokio::test(start_paused = true)]
async fn a_buffer_in_use_holds_nothing_back_from_a_client_that_polls() {
    let config = LongPollConfig::default().with_buffer_bytes(1_000);
    let polled = Polled::with(config, Limits::default());
    let token = polled.open().await;
    let (_, outbox) = polled.lab.connected().await;
    for n in 0..1_000 {
        outbox.frame(Frame::text(format!("{n:0100}")));
    }
    let mut got = 0;
    while got < 1_000 {
        let answer = polled.poll(&token).await.json();
        let messages = answer["messages"].as_array().unwrap();
        assert!(!messages.is_empty() && messages.len() <= 10, "{answer}");
        for message in messages {
            assert_eq!(message, &json!(format!("{got:0100}")));
            got += 1;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_over_the_limit_closes_the_session_with_1011_and_one_below_fits() {
    let config = LongPollConfig::default()
        .with_max_frame_bytes(10_000)
        .with_buffer_bytes(10);
    let polled = Polled::with(config, Limits::default());
    let token = polled.open().await;
    let (_, outbox) = polled.lab.connected().await;
    outbox.frame(Frame::text("x".repeat(10_000)));
    assert_eq!(
        polled.poll(&token).await.json()["messages"][0]
            .as_str()
            .unwrap()
            .len(),
        10_000
    );
    let lines = Lines::collect();
    outbox.frame(Frame::text("x".repeat(10_001)));
    assert_eq!(
        polled.lab.closed().await,
        CloseReason::Closed(CloseCode::INTERNAL.into())
    );
    assert_eq!(polled.service.connections().stats().closed_unwritable, 1);
    let lines = lines.take();
    let [line] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert!(line.contains("LongPollConfig::max_frame_bytes"), "{line}");
    assert!(
        line.contains("bytes=10001 ") && line.contains("left_out=0 "),
        "{line}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_over_the_limit_passes_the_session_over() {
    let config = LongPollConfig::default().with_max_frame_bytes(10_000);
    let polled = Polled::with(config, Limits::default());
    let token = polled.open().await;
    let (_, outbox) = polled.lab.connected().await;
    for bytes in [10_000, 10_001, 1] {
        let mut broadcast = SharedFrame::new(Frame::text("x".repeat(bytes)));
        let pushed = outbox.shared_frame(&mut broadcast, WhenSlow::Close);
        let fits = bytes <= 10_000;
        assert_eq!(pushed == Pushed::Queued, fits, "{bytes}: {pushed:?}");
    }
    let most = "x".repeat(10_000);
    polled
        .poll(&token)
        .await
        .is(messages(&token, &[&most, "x"]));
    let stats = polled.service.connections().stats();
    assert_eq!((stats.frames_unwritable, stats.closed_unwritable), (1, 0));
}

/// By the defaults, whatever the client's own limit lets through.
#[tokio::test(start_paused = true)]
async fn the_largest_message_of_a_client_reaches_others_as_a_broadcast() {
    let polled = Polled::new();
    let token = polled.open().await;
    let (_, outbox) = polled.lab.connected().await;
    let broadcast = "x".repeat(MAX_MESSAGE_BYTES + 2_000);
    outbox.shared_frame(
        &mut SharedFrame::new(Frame::text(broadcast.clone())),
        WhenSlow::Close,
    );
    polled
        .poll(&token)
        .await
        .is(messages(&token, &[&broadcast]));
}

#[tokio::test(start_paused = true)]
async fn preflights_are_answered_with_the_headers_they_ask_for() {
    let polled = Polled::new();
    let request = Request::options("/socket/longpoll?vsn=2.0.0")
        .header("origin", "http://localhost:3000")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "content-type, x-phoenix-authtoken",
        );
    let answer = polled.ask(request.body(Full::default()).unwrap()).await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        (
            "access-control-allow-headers",
            "content-type, x-phoenix-authtoken",
        ),
        ("access-control-allow-methods", "get, post, options"),
        ("access-control-max-age", "3600"),
    ] {
        assert_eq!(answer.headers[name], value);
    }
    assert!(
        !answer
            .headers
            .contains_key("access-control-allow-credentials")
    );
}

#[tokio::test(start_paused = true)]
async fn other_methods_and_broken_queries_are_http_400() {
    let polled = Polled::new();
    for method in ["HEAD", "PUT", "DELETE", "PATCH"] {
        let request = Request::builder().method(method).uri("/socket/longpoll");
        let answer = polled.ask(request.body(Full::default()).unwrap()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.len()),
            (400, 0),
            "{method}"
        );
    }
    assert_eq!(polled.get("a=%ff").await.status.as_u16(), 400);
}

#[tokio::test(start_paused = true)]
async fn without_long_polling_the_path_is_404() {
    let service = HttpService::with_config(Lab::new(), HttpConfig::default().with_mount("/socket"));
    let request = get("").body(Full::<Bytes>::default()).unwrap();
    let answer = service.clone().call(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn g5_a_drain_ends_sessions_with_1012_and_tells_those_that_wait() {
    let polled = Polled::new();
    let token = polled.open().await;
    polled.lab.connected().await;
    let idle = polled.open().await;
    let drain = async {
        advance(Duration::from_secs(1)).await;
        polled
            .service
            .connections()
            .close_all(CloseCode::RESTART.into());
    };
    let (answer, ()) = join(
        async {
            let request = get(&format!("token={token}")).header("content-type", "x");
            polled.ask(request.body(Full::default()).unwrap()).await
        },
        drain,
    )
    .await;
    assert_eq!(answer.json()["status"], 500);
    for _ in 0..2 {
        assert_eq!(
            polled.lab.closed().await,
            CloseReason::Closed(CloseCode::RESTART.into())
        );
    }
    polled.service.connections().closed().await;
    let late = polled.poll(&idle).await;
    assert_eq!(
        (late.status.as_u16(), late.json()),
        (503, json!({"status": 500}))
    );
}

#[tokio::test(start_paused = true)]
async fn one_pubsub_has_one_and_its_mounts_share_it() {
    let pubsub = PubSub::local();
    let polled = Polled::on(&pubsub, LongPollConfig::default(), Limits::default());
    let twice = LongPolling::new(&pubsub).unwrap_err();
    assert!(matches!(twice, LongPollingError::Twice(_)), "{twice:?}");

    let token = polled.open().await;
    let other = HttpConfig::default()
        .with_mount("/other")
        .with_long_polling(&polled.polling);
    let mut other = HttpService::with_config(Lab::new(), other);
    let uri = format!("/other/longpoll?token={token}");
    let post = Request::post(&uri)
        .body(Full::new(Bytes::from_static(b"[1]")))
        .unwrap();
    assert_eq!(other.call(post).await.unwrap().status(), StatusCode::OK);
    polled.poll(&token).await.is(messages(&token, &["[1]"]));

    drop((polled, other));
    tokio::task::yield_now().await;
    LongPolling::new(&pubsub).expect("the name is free again");
}

/// As after a SIGSTOP, or in a virtual machine that was paused: the timers are over at once, what clients ask meanwhile waits.
#[tokio::test(start_paused = true)]
async fn a_node_that_stood_still_takes_the_polls_that_wait_before_it_ends_a_session() {
    let polled = Polled::new();
    let (comes, stays_away) = (polled.open().await, polled.open().await);
    let (_, outbox) = polled.lab.connected().await;
    for token in [&comes, &stays_away] {
        // Each has polled, and is between two polls when the node stands still.
        polled.lines(token, "[1]").await;
        polled.poll(token).await.is(messages(token, &["[1]"]));
    }
    advance(LongPollConfig::default().idle_timeout + Duration::from_secs(30)).await;
    let start = Instant::now();
    outbox.frame(Frame::text("[2]"));
    polled.poll(&comes).await.is(messages(&comes, &["[2]"]));
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(polled.lab.closed().await, CloseReason::Idle);
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert!(polled.lab.nothing_closed());
    assert_eq!(polled.poll(&stays_away).await.json()["status"], 410);
    polled.lines(&comes, "[3]").await;
    polled.poll(&comes).await.is(messages(&comes, &["[3]"]));
    assert_eq!(polled.service.connections().stats().closed_idle, 1);
}

/// The poll that was open meanwhile is answered, and its client has all of the idle time-out for the next one.
#[tokio::test(start_paused = true)]
async fn a_poll_that_was_open_while_the_node_stood_still_counts_from_its_answer() {
    let polled = Polled::new();
    let token = polled.open().await;
    let stand_still = async {
        tokio::task::yield_now().await;
        advance(Duration::from_secs(60)).await;
    };
    let (answer, ()) = join(polled.poll(&token), stand_still).await;
    answer.is(json!({"status": 204, "token": token, "messages": []}));
    let start = Instant::now();
    assert_eq!(polled.lab.closed().await, CloseReason::Idle);
    assert_eq!(start.elapsed(), LongPollConfig::default().idle_timeout);
}
