//! Clients of long polling that come to another node than the one that has their session.

use std::time::Duration;

use futures::{FutureExt, future::join};
use matryoshka_transport::{
    CloseCode, CloseReason, Frame, Limits, LongPollConfig, Rate,
    pubsub::{Kind, Payload, PubSub, memory::MemoryMesh},
};
use serde_json::json;
use tokio::time::{Instant, advance, timeout};

use crate::poller::{Polled, WINDOW, messages};

/// Two nodes of one mesh.
struct Pair {
    mesh: MemoryMesh,
    a: Polled,
    b: Polled,
}

impl Pair {
    fn new() -> Self {
        Self::with(LongPollConfig::default())
    }

    fn with(config: LongPollConfig) -> Self {
        Self::limited(config, Limits::default())
    }

    fn limited(config: LongPollConfig, limits: Limits) -> Self {
        let mesh = MemoryMesh::new();
        let [a, b] = ["a", "b"].map(|name| {
            let pubsub = PubSub::with(mesh.node(name));
            Polled::on(&pubsub, config.clone(), limits.clone())
        });
        Self { mesh, a, b }
    }

    fn sessions(&self) -> (usize, usize) {
        let count = |node: &Polled| node.polling.stats().sessions;
        (count(&self.a), count(&self.b))
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_served_by_whichever_node_its_client_comes_to() {
    let pair = Pair::new();
    let token = pair.a.open().await;
    for n in 0..20 {
        let (posted, polled) = if n % 2 == 0 {
            (&pair.a, &pair.b)
        } else {
            (&pair.b, &pair.a)
        };
        let lines = [format!("[{n}]"), format!("[{n},{n}]")];
        posted
            .lines(&token, &lines.join("\n"))
            .await
            .is(json!({"status": 200}));
        let texts = lines.each_ref().map(String::as_str);
        polled.poll(&token).await.is(messages(&token, &texts));
    }
    assert_eq!(pair.sessions(), (1, 0));
    let stats = (pair.a.polling.stats(), pair.b.polling.stats());
    assert_eq!(
        (stats.0.served, stats.1.forwarded, stats.1.forwarded_in_vain),
        (20, 20, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_poll_waits_across_nodes_for_a_message_or_the_window() {
    let pair = Pair::new();
    let token = pair.a.open().await;
    let (_, outbox) = pair.a.lab.connected().await;
    let start = Instant::now();
    let push = async {
        advance(Duration::from_secs(3)).await;
        outbox.frame(Frame::text("x"));
    };
    let (answer, ()) = join(pair.b.poll(&token), push).await;
    answer.is(messages(&token, &["x"]));
    assert_eq!(start.elapsed().as_secs(), 3);
    let start = Instant::now();
    let nothing = pair.b.poll(&token).await;
    nothing.is(json!({"status": 204, "token": token, "messages": []}));
    assert_eq!(start.elapsed(), WINDOW);
}

/// On this node and on another one.
#[tokio::test(start_paused = true)]
async fn any_time_may_be_set_from_nothing_to_for_ever() {
    let default = LongPollConfig::default;
    for time in [Duration::ZERO, Duration::MAX] {
        let configs = [
            default().with_window(time),
            default().with_idle_timeout(time),
            default().with_token_age(time),
            default().with_body_timeout(time),
        ];
        for config in configs {
            let pair = Pair::with(config.clone());
            let token = pair.a.open().await;
            for node in [&pair.a, &pair.b] {
                let posted = node.lines(&token, "[1]").await;
                let polled = node.poll(&token).await;
                if time == Duration::MAX {
                    posted.is(json!({"status": 200}));
                    polled.is(messages(&token, &["[1]"]));
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn posts_across_nodes_have_all_their_answers() {
    let pair = Pair::with(
        LongPollConfig::default()
            .with_max_body_bytes(50)
            .with_body_timeout(Duration::from_secs(3)),
    );
    let token = pair.a.open().await;
    let bad = pair.b.lines(&token, "[1]\n{}").await;
    assert_eq!(bad.status.as_u16(), 500);
    assert!(bad.body.starts_with(b"line 2 "), "{bad:?}");
    let large = pair.b.post(&token, "", "x".repeat(51)).await;
    assert_eq!(large.status.as_u16(), 400);
    pair.b
        .post(&token, "text/plain", "one\ntext")
        .await
        .is(json!({"status": 200}));
    pair.b
        .poll(&token)
        .await
        .is(messages(&token, &["[1]", "one\ntext"]));

    pair.a.lab.gate.shut();
    let start = Instant::now();
    pair.b.lines(&token, "[2]").await.is(json!({"status": 408}));
    assert_eq!(start.elapsed(), WINDOW);
    pair.a.lab.gate.open();
    pair.b
        .post(&token, "", "panic")
        .await
        .is(json!({"status": 408}));
    pair.b.lines(&token, "[3]").await.is(json!({"status": 410}));
}

/// As on its own node.
#[tokio::test(start_paused = true)]
async fn time_in_which_a_client_is_slowed_is_not_taken_from_its_posts_by_another_node() {
    let limits = Limits::default().with_inbound_bytes(Rate::new(1_000, 1_000));
    let pair = Pair::limited(LongPollConfig::default(), limits);
    let token = pair.a.open().await;
    let message = format!("[{}]", "1".repeat(6_998));
    let post = || pair.b.lines(&token, &message);
    let start = Instant::now();
    let (one, other) = join(post(), post()).await;
    one.is(json!({"status": 200}));
    other.is(json!({"status": 200}));
    assert_eq!(start.elapsed().as_secs(), 13);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_on_one_node_finds_its_messages_on_the_other() {
    let pair = Pair::new();
    let token = pair.a.open().await;
    let (_, outbox) = pair.a.lab.connected().await;
    assert!(timeout(WINDOW / 2, pair.b.poll(&token)).await.is_err());
    tokio::task::yield_now().await;
    outbox.frame(Frame::text("kept"));
    tokio::task::yield_now().await;
    pair.a.poll(&token).await.is(messages(&token, &["kept"]));
}

/// It must not go on without them, as if nothing had been: what they were for is told by a new session alone.
#[tokio::test(start_paused = true)]
async fn messages_on_their_way_to_a_client_that_has_gone_away_end_their_session() {
    for is_there in [false, true] {
        let pair = Pair::new();
        let token = pair.a.open().await;
        let (_, outbox) = pair.a.lab.connected().await;
        let mut poll = Box::pin(pair.b.poll(&token));
        assert!(poll.as_mut().now_or_never().is_none());
        if !is_there {
            pair.mesh.hold("a", "b");
        }
        outbox.frame(Frame::text("[1]"));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        drop(poll);
        pair.mesh.release("a", "b");
        assert_eq!(pair.a.lab.closed().await, CloseReason::Lost, "{is_there}");
        assert_eq!(pair.b.poll(&token).await.json()["status"], 410);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_node_dies_is_gone_at_once_and_a_new_one_is_where_the_client_is() {
    let pair = Pair::new();
    let token = pair.a.open().await;
    let start = Instant::now();
    let kill = async {
        advance(Duration::from_secs(1)).await;
        pair.mesh.kill("a");
    };
    let (answer, ()) = join(pair.b.poll(&token), kill).await;
    assert_eq!(answer.json()["status"], 410);
    assert_ne!(answer.token(), token);
    assert_eq!(start.elapsed().as_secs(), 1);
    pair.b.lines(&token, "[1]").await.is(json!({"status": 410}));
    assert_eq!(pair.b.poll(&token).await.json()["status"], 410);
    assert_eq!(
        start.elapsed().as_secs(),
        1,
        "nobody waits for a node that is down"
    );
    assert_eq!(pair.sessions().1, 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_a_nodes_former_life_and_of_one_that_never_was_is_gone_at_once() {
    let Pair { mesh, a, b } = Pair::new();
    let token = a.open().await;
    mesh.kill("a");
    drop(a);
    let pubsub = PubSub::with(mesh.node("a"));
    let again = Polled::on(&pubsub, LongPollConfig::default(), Limits::default());
    let other = PubSub::with(MemoryMesh::new().node("stranger"));
    let strange = Polled::on(&other, LongPollConfig::default(), Limits::default())
        .open()
        .await;
    let start = Instant::now();
    for token in [token, strange] {
        for node in [&again, &b] {
            assert_eq!(node.poll(&token).await.json()["status"], 410);
            node.lines(&token, "[1]").await.is(json!({"status": 410}));
        }
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stands_still_is_waited_for_a_little_longer_than_the_window() {
    let pair = Pair::new();
    let token = pair.a.open().await;
    pair.mesh.hold("a", "b");
    let start = Instant::now();
    assert_eq!(pair.b.poll(&token).await.json()["status"], 410);
    assert_eq!(start.elapsed(), WINDOW + Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn messages_that_cannot_be_passed_on_end_their_session() {
    const OVER_A_PAYLOAD: usize = 17 * 1024 * 1024;
    let pair = Pair::with(LongPollConfig::default().with_max_frame_bytes(OVER_A_PAYLOAD));
    let token = pair.a.open().await;
    let (_, outbox) = pair.a.lab.connected().await;
    outbox.frame(Frame::text("x".repeat(OVER_A_PAYLOAD)));
    tokio::task::yield_now().await;
    assert_eq!(pair.b.poll(&token).await.json()["status"], 410);
    assert_eq!(pair.a.lab.closed().await, CloseReason::Lost);
}

#[tokio::test(start_paused = true)]
async fn messages_for_which_there_is_no_room_on_the_way_wait_in_their_session() {
    let mesh = MemoryMesh::new();
    let [one, two] = ["a", "b"].map(|name| PubSub::with(mesh.node(name)));
    let [a, b] =
        [&one, &two].map(|pubsub| Polled::on(pubsub, LongPollConfig::default(), Limits::default()));
    let token = a.open().await;
    let (_, outbox) = a.lab.connected().await;
    mesh.hold("a", "b");
    let fill = || one.direct_broadcast(&two.node(), "other", Payload::new(Kind::RAW, vec![0]));
    while fill().is_ok() {}
    outbox.frame(Frame::text("1"));
    let release = async {
        advance(WINDOW / 2).await;
        outbox.frame(Frame::text("2"));
        mesh.release("a", "b");
    };
    let (answer, ()) = join(b.poll(&token), release).await;
    answer.is(messages(&token, &["1", "2"]));
    assert!(a.lab.nothing_closed());
}

#[tokio::test(start_paused = true)]
async fn a_drain_on_one_node_sends_its_clients_to_the_other() {
    let pair = Pair::new();
    let token = pair.a.open().await;
    pair.a.lab.connected().await;
    let drain = async {
        advance(Duration::from_secs(1)).await;
        pair.a
            .service
            .connections()
            .close_all(CloseCode::RESTART.into());
    };
    let (answer, ()) = join(pair.b.poll(&token), drain).await;
    assert_eq!(answer.json()["status"], 410);
    let token = answer.token();
    pair.b.lines(&token, "[1]").await.is(json!({"status": 200}));
    pair.a.poll(&token).await.is(messages(&token, &["[1]"]));
    assert_eq!(pair.sessions(), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn what_others_say_on_the_topic_harms_nobody() {
    let mesh = MemoryMesh::new();
    let [one, two] = ["a", "b"].map(|name| PubSub::with(mesh.node(name)));
    let a = Polled::on(&one, LongPollConfig::default(), Limits::default());
    let token = a.open().await;
    for kind in [Kind::RAW, Kind(7), Kind(2)] {
        for bytes in [
            &b""[..],
            b"\x01",
            b"\x01\x04\0\0\0\0\0\0\0\0",
            &[1; 300],
            &[255; 40],
        ] {
            let payload = || Payload::new(kind, bytes.to_vec());
            two.broadcast("matryoshka:longpoll", payload()).unwrap();
            one.broadcast("matryoshka:longpoll", payload()).unwrap();
        }
    }
    a.lines(&token, "[1]").await.is(json!({"status": 200}));
    a.poll(&token).await.is(messages(&token, &["[1]"]));
}
