//! Clients of long polling that come to another node than the one that has their session, where others take what they can, or where the
//! way between the nodes is full.

use std::time::Duration;

use futures::{
    FutureExt,
    future::{join, join_all},
};
use http_body_util::Full;
use matryoshka_transport::{
    CloseCode, CloseReason, Frame, Limits, LongPollConfig, MAX_MESSAGE_BYTES, Outbox,
    pubsub::{Kind, Payload, PubSub, memory::MemoryMesh},
};
use serde_json::json;
use tokio::{
    task::yield_now,
    time::{Instant, advance},
};

use crate::{
    lab::Mail,
    log::Lines,
    poller::{Answer, Polled, WINDOW, get, messages, nothing, post},
};

const SECOND: Duration = Duration::from_secs(1);

/// A client with much, and one with little.
const MUCH: &str = "192.0.2.1:80";
const LITTLE: &str = "192.0.2.2:80";

/// Three nodes of one mesh. Sessions are on the first.
struct Nodes {
    mesh: MemoryMesh,
    pubsubs: [PubSub; 3],
    a: Polled,
    b: Polled,
    c: Polled,
}

impl Nodes {
    fn new() -> Self {
        Self::with(LongPollConfig::default())
    }

    fn with(config: LongPollConfig) -> Self {
        let mesh = MemoryMesh::new();
        let pubsubs = ["a", "b", "c"].map(|name| PubSub::with(mesh.node(name)));
        let [a, b, c] = pubsubs
            .each_ref()
            .map(|pubsub| Polled::on(pubsub, config.clone(), Limits::default()));
        Self {
            mesh,
            pubsubs,
            a,
            b,
            c,
        }
    }

    async fn open(&self) -> (String, Outbox<Mail>) {
        let token = self.a.open().await;
        let (_, outbox) = self.a.lab.connected().await;
        (token, outbox)
    }

    /// Lets nothing more through from one node to another, and nothing more onto the way.
    fn fill(&self, from: &str, to: &str) {
        self.mesh.hold(from, to);
        let at = |name: &str| usize::from(name.as_bytes()[0] - b'a');
        let (from, to) = (&self.pubsubs[at(from)], self.pubsubs[at(to)].node());
        let fill = || from.direct_broadcast(&to, "other", Payload::new(Kind::RAW, vec![0]));
        while fill().is_ok() {}
    }
}

async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

/// What comes of it that a way is free again after that time.
async fn released_after<T>(
    time: Duration,
    nodes: &Nodes,
    from: &str,
    to: &str,
    asked: impl Future<Output = T>,
) -> T {
    let release = async {
        settle().await;
        advance(time).await;
        settle().await;
        nodes.mesh.release(from, to);
    };
    join(asked, release).await.0
}

async fn opened_from(peer: &str, node: &Polled) -> String {
    let opened = get("vsn=2.0.0").body(Full::default()).unwrap();
    node.ask_from(peer, opened).await.token()
}

async fn polled_from(peer: &str, node: &Polled, token: &str) -> Answer {
    let poll = get(&format!("vsn=2.0.0&token={token}"));
    node.ask_from(peer, poll.body(Full::default()).unwrap())
        .await
}

async fn posted_from(peer: &str, node: &Polled, token: &str) -> Answer {
    node.ask_from(peer, post(token, "", "x")).await
}

#[tokio::test(start_paused = true)]
async fn the_polls_of_one_client_do_not_take_those_of_another() {
    let nodes = Nodes::with(LongPollConfig::default().with_max_forwarded(4));
    let mut much = Vec::new();
    for _ in 0..2 {
        much.push(opened_from(MUCH, &nodes.a).await);
    }
    let little = opened_from(LITTLE, &nodes.a).await;
    let tokens = || much.iter().chain(&much).chain(&much);
    let start = Instant::now();
    let polls = tokens().map(async |token| {
        let answer = polled_from(MUCH, &nodes.b, token).await;
        answer.is(nothing(token));
        start.elapsed()
    });
    let other = async {
        settle().await;
        let start = Instant::now();
        let answer = polled_from(LITTLE, &nodes.b, &little).await;
        answer.is(nothing(&little));
        assert_eq!(start.elapsed(), WINDOW);
    };
    let (mut after, ()) = join(join_all(polls), other).await;
    after.sort();
    // Two are asked, two wait for room, and for the rest there is none.
    assert_eq!(after[..2], [Duration::ZERO; 2]);
    assert!(after[2..].iter().all(|after| *after == WINDOW), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_poll_beyond_its_clients_share_waits_for_room() {
    let nodes = Nodes::with(LongPollConfig::default().with_max_forwarded(2));
    let (one, outbox) = nodes.open().await;
    let (waiting, _) = nodes.open().await;
    let [poll, beyond] = [&waiting, &one].map(|token| polled_from(MUCH, &nodes.b, token));
    let push = async {
        settle().await;
        outbox.frame(Frame::text("x"));
        settle().await;
        // The only one that may wait for another node.
        advance(WINDOW / 2).await;
        nodes.a.lines(&waiting, "[1]").await;
    };
    let start = Instant::now();
    let beyond = async { (beyond.await, start.elapsed()) };
    let (poll, (beyond, after), ()) = futures::join!(poll, beyond, push);
    poll.is(messages(&waiting, &["[1]"]));
    beyond.is(messages(&one, &["x"]));
    assert!(after < WINDOW, "{after:?}");
}

/// On the node that is asked the sessions of one client share, by whichever nodes it comes.
#[tokio::test(start_paused = true)]
async fn the_posts_of_one_client_do_not_take_the_polls_and_posts_of_another() {
    let nodes = Nodes::with(LongPollConfig::default().with_max_forwarded(8));
    let mut much = Vec::new();
    for _ in 0..4 {
        much.push(opened_from(MUCH, &nodes.a).await);
    }
    let little = opened_from(LITTLE, &nodes.a).await;
    nodes.a.lab.gate.shut();
    let (lines, start) = (Lines::collect(), Instant::now());
    let posts = [&nodes.b, &nodes.c].map(|node| {
        let tokens = much.iter().chain(&much);
        join_all(tokens.map(async |token| {
            let answer = posted_from(MUCH, node, token).await;
            (answer.json()["status"] == 408, start.elapsed())
        }))
    });
    let other = async {
        settle().await;
        let post = posted_from(LITTLE, &nodes.b, &little);
        let open = async {
            settle().await;
            nodes.a.lab.gate.open();
        };
        let (posted, ()) = join(post, open).await;
        posted.is(json!({"status": 200}));
        let polled = polled_from(LITTLE, &nodes.b, &little).await;
        polled.is(messages(&little, &["x"]));
    };
    let (posts, ()) = join(join_all(posts), other).await;
    let refused = posts.into_iter().flatten();
    let refused = refused.filter(|&refused| refused == (true, Duration::ZERO));
    assert_eq!(refused.count(), 12, "half of the room is left to others");
    let counted = [&nodes.a, &nodes.b, &nodes.c].map(|node| node.polling.stats().posts_refused);
    assert_eq!(counted, [8, 4, 0]);
    let lines = lines.take();
    let told = lines
        .iter()
        .filter(|line| line.contains("LongPollConfig::max_forwarded"));
    assert_eq!(told.count(), 2, "one of each node: {lines:?}");
}

/// By the defaults, and both at a time.
#[tokio::test(start_paused = true)]
async fn two_of_the_largest_bodies_of_one_address_go_between_nodes() {
    let nodes = Nodes::new();
    let tokens = [
        opened_from(MUCH, &nodes.a).await,
        opened_from(MUCH, &nodes.a).await,
    ];
    let posts = tokens.each_ref().map(async |token| {
        let body = vec![b'x'; MAX_MESSAGE_BYTES];
        let posted = nodes.b.ask_from(MUCH, post(token, "", body)).await;
        posted.is(json!({"status": 200}));
    });
    // What came with each has to be made up for before it is answered.
    let start = Instant::now();
    let both_come = async {
        settle().await;
        assert_eq!(nodes.a.polling.stats().served, 2);
        assert_eq!(start.elapsed(), Duration::ZERO);
    };
    join(join_all(posts), both_come).await;
    assert!(start.elapsed() > SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_post_waits_for_room_in_its_session_on_another_node_too() {
    let config = LongPollConfig::default().with_max_body_bytes(100);
    let nodes = Nodes::with(config);
    let (token, _outbox) = nodes.open().await;
    nodes.a.lab.gate.shut();
    let post = || nodes.b.post(&token, "", "x".repeat(100));
    let open = async {
        settle().await;
        advance(WINDOW / 2).await;
        nodes.a.lab.gate.open();
    };
    let (one, other, ()) = futures::join!(post(), post(), open);
    one.is(json!({"status": 200}));
    other.is(json!({"status": 200}));
}

#[tokio::test(start_paused = true)]
async fn answers_without_room_on_their_way_are_told_when_there_is() {
    let nodes = Nodes::new();
    let (token, _outbox) = nodes.open().await;
    // Whether the session is there.
    nodes.fill("a", "b");
    let post = nodes.b.lines(&token, "[1]");
    let posted = released_after(SECOND, &nodes, "a", "b", post).await;
    posted.is(json!({"status": 200}));
    // What became of a post.
    nodes.a.lab.gate.shut();
    let fill = async {
        settle().await;
        nodes.fill("a", "b");
        nodes.a.lab.gate.open();
    };
    let post = async { join(nodes.b.lines(&token, "[2]"), fill).await.0 };
    let posted = released_after(5 * SECOND, &nodes, "a", "b", post).await;
    posted.is(json!({"status": 200}));
    nodes
        .b
        .poll(&token)
        .await
        .is(messages(&token, &["[1]", "[2]"]));
    // That nothing came.
    let fill = async {
        settle().await;
        nodes.fill("a", "b");
    };
    let poll = async { join(nodes.b.poll(&token), fill).await.0 };
    let polled = released_after(WINDOW + SECOND, &nodes, "a", "b", poll).await;
    polled.is(nothing(&token));
}

#[tokio::test(start_paused = true)]
async fn requests_without_room_on_their_way_are_asked_when_there_is() {
    let nodes = Nodes::new();
    let (token, outbox) = nodes.open().await;
    nodes.fill("b", "a");
    let post = nodes.b.lines(&token, "[1]");
    let posted = released_after(SECOND, &nodes, "b", "a", post).await;
    posted.is(json!({"status": 200}));
    nodes.fill("b", "a");
    let poll = nodes.b.poll(&token);
    let polled = released_after(5 * SECOND, &nodes, "b", "a", poll).await;
    polled.is(messages(&token, &["[1]"]));
    // No longer than the window in all.
    nodes.fill("b", "a");
    let start = Instant::now();
    let poll = nodes.b.poll(&token);
    let polled = released_after(5 * SECOND, &nodes, "b", "a", poll).await;
    polled.is(nothing(&token));
    assert_eq!(start.elapsed().as_secs(), WINDOW.as_secs());
    outbox.frame(Frame::text("x"));
    nodes.a.poll(&token).await.is(messages(&token, &["x"]));
}

#[tokio::test(start_paused = true)]
async fn that_messages_are_lost_is_told_when_there_is_room_on_the_way() {
    let nodes = Nodes::new();
    let (token, outbox) = nodes.open().await;
    let mut poll = Box::pin(nodes.b.poll(&token));
    assert!(poll.as_mut().now_or_never().is_none());
    outbox.frame(Frame::text("[1]"));
    settle().await;
    nodes.fill("b", "a");
    drop(poll);
    released_after(SECOND, &nodes, "b", "a", async {}).await;
    assert_eq!(nodes.a.lab.closed().await, CloseReason::Lost);
}

/// A client whose old way is full goes on by another.
#[tokio::test(start_paused = true)]
async fn messages_that_wait_for_room_on_an_old_way_go_to_the_newest_poll_and_so_do_later_ones() {
    let nodes = Nodes::new();
    let (token, outbox) = nodes.open().await;
    nodes.fill("a", "b");
    let old = nodes.b.poll(&token);
    let new = async {
        settle().await;
        outbox.frame(Frame::text("1"));
        settle().await;
        nodes.c.poll(&token).await.is(messages(&token, &["1"]));
        let poll = nodes.c.poll(&token);
        let push = async {
            settle().await;
            advance(SECOND).await;
            settle().await;
            outbox.frame(Frame::text("2"));
            settle().await;
            nodes.mesh.release("a", "b");
        };
        let (answer, ()) = join(poll, push).await;
        answer.is(messages(&token, &["2"]));
    };
    let (old, ()) = join(old, new).await;
    old.is(nothing(&token));
    assert!(nodes.a.lab.nothing_closed());
}

/// Its session takes nothing at the moment, so its task does not look.
#[tokio::test(start_paused = true)]
async fn a_session_that_has_lost_messages_gives_no_others() {
    let nodes = Nodes::new();
    let (token, outbox) = nodes.open().await;
    nodes.a.lab.gate.shut();
    nodes.a.lines(&token, "[0]").now_or_never();
    let mut poll = Box::pin(nodes.b.poll(&token));
    assert!(poll.as_mut().now_or_never().is_none());
    outbox.frame(Frame::text("[1]"));
    settle().await;
    let waiting = nodes.c.poll(&token);
    let lose = async {
        settle().await;
        drop(poll);
        settle().await;
        outbox.frame(Frame::text("[2]"));
    };
    let start = Instant::now();
    let (waiting, ()) = join(waiting, lose).await;
    assert_eq!(waiting.json()["status"], 410);
    outbox.frame(Frame::text("[3]"));
    settle().await;
    assert_eq!(nodes.a.poll(&token).await.json()["status"], 410);
    let post = nodes.b.lines(&token, "[4]").await;
    post.is(json!({"status": 410}));
    assert_eq!(start.elapsed(), Duration::ZERO);
    nodes.a.lab.gate.open();
    assert_eq!(nodes.a.lab.closed().await, CloseReason::Lost);
}

/// Its old way is slow: what it left behind there is lost, though nobody knows yet on the other side.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_messages_are_on_their_way_is_given_none_that_come_after_them() {
    let nodes = Nodes::new();
    let (token, outbox) = nodes.open().await;
    nodes.mesh.hold("a", "b");
    let mut poll = Box::pin(nodes.b.poll(&token));
    assert!(poll.as_mut().now_or_never().is_none());
    outbox.frame(Frame::text("[1]"));
    settle().await;
    drop(poll);
    settle().await;
    outbox.frame(Frame::text("[2]"));
    let start = Instant::now();
    for node in [&nodes.c, &nodes.a] {
        assert_eq!(node.poll(&token).await.json()["status"], 410);
    }
    assert_eq!(nodes.a.lab.closed().await, CloseReason::Lost);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_a_poll_ends_no_session_that_has_lost_nothing() {
    let nodes = Nodes::new();
    let (token, outbox) = nodes.open().await;
    outbox.frame(Frame::text("[1]"));
    nodes.b.poll(&token).await.is(messages(&token, &["[1]"]));
    for _ in 0..3 {
        assert!(nodes.b.poll(&token).now_or_never().is_none());
        settle().await;
    }
    outbox.frame(Frame::text("[2]"));
    nodes.c.poll(&token).await.is(messages(&token, &["[2]"]));
    assert!(nodes.a.lab.nothing_closed());
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_was_given_up_is_remembered_however_many_others_are() {
    let nodes = Nodes::new();
    let (token, outbox) = nodes.open().await;
    let (other, _outbox) = nodes.open().await;
    nodes.mesh.hold("a", "b");
    let mut poll = Box::pin(nodes.b.poll(&token));
    assert!(poll.as_mut().now_or_never().is_none());
    outbox.frame(Frame::text("[1]"));
    settle().await;
    // Whoever leaves by itself ends its session for the last messages alone.
    outbox.frame(Frame::text("[2]"));
    nodes.c.poll(&token).await.is(messages(&token, &["[2]"]));
    drop(poll);
    for _ in 0..1_001 {
        let given_up = nodes.b.poll(&other).now_or_never();
        assert!(given_up.is_none());
    }
    settle().await;
    nodes.mesh.release("a", "b");
    settle().await;
    assert_eq!(nodes.a.lab.closed().await, CloseReason::Lost);
}

#[tokio::test(start_paused = true)]
async fn polls_that_are_given_up_take_room_only_until_their_node_has_said_so() {
    let nodes = Nodes::with(LongPollConfig::default().with_max_forwarded(4));
    let (token, outbox) = nodes.open().await;
    for _ in 0..20 {
        assert!(nodes.b.poll(&token).now_or_never().is_none());
        settle().await;
    }
    outbox.frame(Frame::text("[1]"));
    let start = Instant::now();
    nodes.b.poll(&token).await.is(messages(&token, &["[1]"]));
    assert_eq!(start.elapsed(), Duration::ZERO);

    // A node of an earlier version does not say so.
    nodes.mesh.hold("a", "b");
    let served = async || {
        assert!(nodes.b.poll(&token).now_or_never().is_none());
        settle().await;
        nodes.a.polling.stats().served
    };
    let before = nodes.a.polling.stats().served;
    for n in [1, 2, 2] {
        assert_eq!(served().await, before + n);
    }
    advance(60 * SECOND).await;
    assert_eq!(served().await, before + 3);
}

/// As it would where its session is.
#[tokio::test(start_paused = true)]
async fn a_poll_of_a_client_that_does_not_read_waits_until_it_does() {
    let nodes = Nodes::with(LongPollConfig::default().with_buffer_bytes(100));
    let (token, outbox) = nodes.open().await;
    let poll = || {
        get(&format!("token={token}"))
            .body(Full::default())
            .unwrap()
    };
    outbox.frame(Frame::text("x".repeat(200)));
    let held = nodes.b.unread(poll()).await;
    outbox.frame(Frame::text("y"));
    let start = Instant::now();
    nodes.b.poll(&token).await.is(nothing(&token));
    assert_eq!(start.elapsed(), WINDOW);
    let read = async {
        settle().await;
        advance(SECOND).await;
        drop(held);
    };
    let (answer, ()) = join(nodes.b.poll(&token), read).await;
    answer.is(messages(&token, &["y"]));
    assert_eq!(start.elapsed().as_secs(), WINDOW.as_secs() + 1);
}

#[tokio::test(start_paused = true)]
async fn polls_that_wait_for_another_node_end_with_a_drain() {
    let nodes = Nodes::new();
    let (token, outbox) = nodes.open().await;
    let drain = async {
        advance(SECOND).await;
        let connections = nodes.b.service.connections();
        connections.close_all(CloseCode::RESTART.into());
    };
    let start = Instant::now();
    let (answer, ()) = join(nodes.b.poll(&token), drain).await;
    answer.is(nothing(&token));
    assert_eq!(start.elapsed(), SECOND + SECOND / 2);
    // One that comes still is answered as soon, before the listener stops.
    nodes.b.poll(&token).await.is(nothing(&token));
    assert_eq!(start.elapsed(), 2 * SECOND);
    outbox.frame(Frame::text("x"));
    nodes.a.poll(&token).await.is(messages(&token, &["x"]));
    assert!(nodes.a.lab.nothing_closed());
}

#[tokio::test(start_paused = true)]
async fn posts_under_way_to_another_node_are_waited_for_but_not_those_that_come_after_the_drain() {
    let nodes = Nodes::new();
    let (token, _outbox) = nodes.open().await;
    let connections = nodes.b.service.connections();
    nodes.a.lab.gate.shut();
    let drain = async {
        settle().await;
        connections.close_all(CloseCode::RESTART.into());
        let late = nodes.b.lines(&token, "[2]").now_or_never();
        assert!(late.is_none());
        assert!(connections.closed().now_or_never().is_none());
        let start = Instant::now();
        let open = async {
            advance(5 * SECOND).await;
            nodes.a.lab.gate.open();
        };
        join(connections.closed(), open).await;
        assert_eq!(start.elapsed(), 5 * SECOND);
    };
    let (posted, ()) = join(nodes.b.lines(&token, "[1]"), drain).await;
    posted.is(json!({"status": 200}));
    nodes.a.lab.gate.shut();
    let mut late = Box::pin(nodes.b.lines(&token, "[3]"));
    assert!(late.as_mut().now_or_never().is_none());
    settle().await;
    assert!(connections.closed().now_or_never().is_some());
}

/// What was on its way when the drain ended arrives.
#[tokio::test(start_paused = true)]
async fn a_drain_loses_no_messages_of_other_nodes() {
    let nodes = Nodes::new();
    let (token, outbox) = nodes.open().await;
    nodes.mesh.hold("a", "b");
    let drain = async {
        settle().await;
        outbox.frame(Frame::text("x"));
        settle().await;
        let connections = nodes.b.service.connections();
        connections.close_all(CloseCode::RESTART.into());
    };
    let poll = async { join(nodes.b.poll(&token), drain).await.0 };
    let polled = released_after(SECOND * 6 / 10, &nodes, "a", "b", poll).await;
    polled.is(messages(&token, &["x"]));
    assert!(nodes.a.lab.nothing_closed());
    // A node of an earlier version would not say that there is nothing.
    nodes.mesh.hold("a", "b");
    let start = Instant::now();
    nodes.b.poll(&token).await.is(nothing(&token));
    assert_eq!(start.elapsed(), SECOND * 3 / 4);
}
