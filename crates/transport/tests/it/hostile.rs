//! Clients of long polling that try to cost as much as they can: bodies that come slowly, polls without number, tokens of nodes that
//! are none.

use std::{
    convert::Infallible,
    error::Error,
    io,
    iter::zip,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    FutureExt, StreamExt,
    future::{join, join_all},
    stream,
};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame as BodyFrame, SizeHint};
use matryoshka_transport::{
    Frame, Limits, LongPollConfig, MAX_WAITING_POSTS, Outbox, PeerAddr,
    bytes::Bytes,
    http::{Request, Response, StatusCode},
    pubsub::{PubSub, memory::MemoryMesh},
};
use serde_json::json;
use tokio::{
    task::{JoinHandle, yield_now},
    time::{Instant, advance},
};
use tower::Service;

use crate::{
    lab::Mail,
    log::Lines,
    poller::{Answer, Polled, WINDOW, get, messages},
};

/// The pieces of a body, after which it stands still.
fn stalling(pieces: Vec<Bytes>) -> impl Body<Data = Bytes, Error = Infallible> + Send + 'static {
    let pieces = stream::iter(pieces).map(|piece| Ok(BodyFrame::data(piece)));
    StreamBody::new(pieces.chain(stream::pending()))
}

/// A body that states its length and is not to be read.
struct Unread(u64);

impl Body for Unread {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        panic!("it was read");
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

async fn post<B>(polled: &Polled, token: &str, body: B) -> Answer
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let request = Request::post(format!("/socket/longpoll?token={token}"))
        .body(body)
        .unwrap();
    let response = polled.service.clone().call(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

/// A post that has sent so many bytes and stands still, until it is aborted.
async fn stall(polled: &Polled, token: &str, bytes: usize) -> JoinHandle<()> {
    let request = Request::post(format!("/socket/longpoll?token={token}"))
        .body(stalling(vec![Bytes::from(vec![b'x'; bytes])]))
        .unwrap();
    let answer = polled.service.clone().call(request);
    let task = tokio::spawn(async move { drop(answer.await) });
    yield_now().await;
    task
}

/// Lets every task do what it has to do.
async fn settle() {
    for _ in 0..10 {
        yield_now().await;
    }
}

async fn give_up(stalled: JoinHandle<()>) {
    stalled.abort();
    // It was aborted, and so is no success.
    drop(stalled.await);
}

fn limited(max_body_bytes: usize) -> LongPollConfig {
    LongPollConfig::default()
        .with_max_body_bytes(max_body_bytes)
        .with_idle_timeout(Duration::from_secs(60))
}

#[track_caller]
fn is_put_off(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.json(), json!({"status": 500}));
}

/// Bodies of so many bytes, stated or not.
async fn are_put_off(polled: &Polled, token: &str, bytes: usize) {
    let start = Instant::now();
    let stated = post(polled, token, Unread(bytes as u64));
    let unstated = stalling(vec![Bytes::from(vec![b'x'; bytes])]);
    let (stated, unstated) = join(stated, post(polled, token, unstated)).await;
    is_put_off(&stated);
    is_put_off(&unstated);
    assert_eq!(start.elapsed(), WINDOW, "there might have been room");
}

#[tokio::test(start_paused = true)]
async fn what_is_being_read_for_a_session_counts_as_what_waits_for_it() {
    let polled = Polled::with(limited(100), Limits::default());
    let token = polled.open().await;
    let stalled = stall(&polled, &token, 60).await;
    let unstated = stalling(vec![Bytes::from_static(&[b'x'; 41])]);
    let start = Instant::now();
    let unread = post(&polled, &token, Unread(41));
    let (unread, unstated) = join(unread, post(&polled, &token, unstated)).await;
    unread.is(json!({"status": 408}));
    unstated.is(json!({"status": 408}));
    assert_eq!(start.elapsed(), WINDOW, "there might have been room");
    let fits = post(&polled, &token, Full::from("x".repeat(40))).await;
    fits.is(json!({"status": 200}));
    give_up(stalled).await;
    let fits = post(&polled, &token, Full::from("x".repeat(100))).await;
    fits.is(json!({"status": 200}));
}

/// In its session or on this node.
#[tokio::test(start_paused = true)]
async fn a_body_for_which_there_is_no_room_waits_for_its_turn() {
    let polled = Polled::with(limited(100), Limits::default());
    let token = polled.open().await;
    polled.lab.gate.shut();
    let all = || post(&polled, &token, Full::from("x".repeat(100)));
    let open = async {
        settle().await;
        advance(WINDOW / 2).await;
        polled.lab.gate.open();
    };
    let (one, other, ()) = futures::join!(all(), all(), open);
    one.is(json!({"status": 200}));
    other.is(json!({"status": 200}));

    let config = limited(100).with_max_posted_bytes(100);
    let polled = Polled::with(config, Limits::default());
    let [one, other] = [polled.open().await, polled.open().await];
    let stalled = stall(&polled, &one, 40).await;
    let pieces = [&b"[1"[..], &[b' '; 38], b"]"].map(Bytes::from_static);
    let unstated = pieces.map(|piece| Ok::<_, Infallible>(BodyFrame::data(piece)));
    let unstated = StreamBody::new(stream::iter(unstated));
    let give_up = async {
        advance(WINDOW / 2).await;
        give_up(stalled).await;
    };
    let (posted, ()) = join(post(&polled, &other, unstated), give_up).await;
    posted.is(json!({"status": 200}));
    assert_eq!(polled.polling.stats().posts_refused, 0);
}

#[tokio::test(start_paused = true)]
async fn so_many_bodies_of_a_session_are_read_at_a_time_and_no_more() {
    let polled = Polled::new();
    let token = polled.open().await;
    let mut stalled = Vec::new();
    for _ in 0..MAX_WAITING_POSTS {
        stalled.push(stall(&polled, &token, 1).await);
    }
    post(&polled, &token, Unread(1))
        .await
        .is(json!({"status": 408}));
    give_up(stalled.pop().unwrap()).await;
    polled.lines(&token, "[1]").await.is(json!({"status": 200}));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_states_too_great_a_length_is_not_read() {
    let polled = Polled::with(limited(100), Limits::default());
    let token = polled.open().await;
    let answer = post(&polled, &token, Unread(101)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.body, "the body has more than 100 bytes");
    post(&polled, "nonsense", Unread(1))
        .await
        .is(json!({"status": 410}));
}

#[tokio::test(start_paused = true)]
async fn posts_of_all_sessions_share_what_a_node_holds_while_they_are_read_and_while_they_wait() {
    let config = limited(100).with_max_posted_bytes(200);
    let polled = Polled::with(config, Limits::default());
    let (one, other) = (polled.open().await, polled.open().await);
    let stalled = stall(&polled, &one, 60).await;
    let lines = Lines::collect();
    are_put_off(&polled, &other, 71).await;
    assert!(lines.take()[0].contains("LongPollConfig::max_posted_bytes"));
    drop(lines);
    give_up(stalled).await;
    let all = || Full::from("x".repeat(100));
    post(&polled, &other, all())
        .await
        .is(json!({"status": 200}));

    // One that waits for its session holds its bytes, also when its client has gone.
    polled.lab.gate.shut();
    let gone = post(&polled, &one, all()).now_or_never();
    assert!(gone.is_none(), "its session is busy");
    settle().await;
    is_put_off(&post(&polled, &other, Unread(51)).await);
    polled.lab.gate.open();
    settle().await;
    post(&polled, &other, all())
        .await
        .is(json!({"status": 200}));
    assert_eq!(polled.polling.stats().posts_refused, 3);
}

/// Where one client has half at most, and so never more.
#[tokio::test(start_paused = true)]
async fn a_body_that_can_never_have_room_is_refused_at_once_and_not_read() {
    let config = limited(100)
        .with_max_posted_bytes(120)
        .with_max_forwarded_bytes(80);
    let mesh = MemoryMesh::new();
    let [here, there] = ["a", "b"].map(|name| {
        let pubsub = PubSub::with(mesh.node(name));
        Polled::on(&pubsub, config.clone(), Limits::default())
    });
    let token = there.open().await;
    let (lines, start) = (Lines::collect(), Instant::now());
    for (node, most) in [(&there, 60), (&here, 40)] {
        let unstated = stalling(vec![Bytes::from(vec![b'x'; most + 1])]);
        let bodies = (Unread(most as u64 + 1), unstated);
        let (stated, unstated) =
            join(post(node, &token, bodies.0), post(node, &token, bodies.1)).await;
        for answer in [stated, unstated] {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST);
            assert_eq!(answer.body, format!("the body has more than {most} bytes"));
        }
        let fits = post(node, &token, Full::from("x".repeat(most))).await;
        fits.is(json!({"status": 200}));
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(lines.take()[0].contains("max_posted_bytes"));
}

#[tokio::test(start_paused = true)]
async fn of_a_client_that_is_gone_in_the_middle_of_a_body_nothing_is_handled_and_nothing_kept() {
    let config = limited(100).with_max_posted_bytes(200);
    let polled = Polled::with(config, Limits::default());
    let token = polled.open().await;
    let lines = Lines::collect();
    let gone = io::Error::from(io::ErrorKind::ConnectionReset);
    let pieces = [Ok(BodyFrame::data(Bytes::from_static(b"[1]"))), Err(gone)];
    let answer = post(&polled, &token, StreamBody::new(stream::iter(pieces))).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.body, "the body ended too early");
    assert_eq!(lines.take(), [""; 0], "no limit of ours is why");
    // All the room is there again: this one takes as much as one client may have.
    let all = "x".repeat(100);
    let fits = post(&polled, &token, Full::from(all.clone())).await;
    fits.is(json!({"status": 200}));
    polled.poll(&token).await.is(messages(&token, &[&all]));
}

/// Else a few that send slowly could have all others put off, and so disconnected.
#[tokio::test(start_paused = true)]
async fn posts_of_many_sessions_leave_others_a_share() {
    let config = limited(100).with_max_posted_bytes(200);
    let polled = Polled::with(config, Limits::default());
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let token = polled.open().await;
        stalled.push(stall(&polled, &token, 60).await);
    }
    let token = polled.open().await;
    let fits = post(&polled, &token, Full::from("x".repeat(30))).await;
    fits.is(json!({"status": 200}));
}

#[tokio::test(start_paused = true)]
async fn a_body_in_pieces_of_a_byte_holds_on_to_none_of_them() {
    struct Counted(Arc<AtomicUsize>);

    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            b"x"
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    let polled = Polled::new();
    let token = polled.open().await;
    let dropped = Arc::<AtomicUsize>::default();
    let pieces = (0..100).map(|_| Bytes::from_owner(Counted(Arc::clone(&dropped))));
    let reading = post(&polled, &token, stalling(pieces.collect()));
    let mut reading = std::pin::pin!(reading);
    assert!(futures::poll!(reading.as_mut()).is_pending());
    assert_eq!(dropped.load(SeqCst), 100);
}

#[tokio::test(start_paused = true)]
async fn posts_to_other_nodes_share_a_bound_of_their_own() {
    let mesh = MemoryMesh::new();
    let config = limited(100).with_max_forwarded_bytes(200);
    let [a, b, c] = ["a", "b", "c"].map(|name| {
        let pubsub = PubSub::with(mesh.node(name));
        Polled::on(&pubsub, config.clone(), Limits::default())
    });
    let (one, other) = (a.open().await, a.open().await);
    let stalled = stall(&b, &one, 60).await;
    are_put_off(&b, &other, 71).await;
    // Those of its own sessions have another.
    let own = b.open().await;
    b.post(&own, "", "x".repeat(100))
        .await
        .is(json!({"status": 200}));
    give_up(stalled).await;

    // The node that has the sessions holds as much for all others together.
    a.lab.gate.shut();
    let waiting = post(&b, &one, Full::from("x".repeat(60)));
    let beyond = async {
        settle().await;
        c.post(&other, "", "x".repeat(71))
            .await
            .is(json!({"status": 408}));
        a.lab.gate.open();
    };
    let start = Instant::now();
    join(waiting, beyond).await.0.is(json!({"status": 200}));
    c.post(&other, "", "x".repeat(100))
        .await
        .is(json!({"status": 200}));
    assert_eq!(start.elapsed(), Duration::ZERO);
    let refused = [&a, &b, &c].map(|node| node.polling.stats().posts_refused);
    assert_eq!(refused, [1, 2, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_post_for_a_node_that_is_not_there_is_not_read_and_nobody_is_asked() {
    let mesh = MemoryMesh::new();
    let [a, b] = ["a", "b"].map(|name| {
        let pubsub = PubSub::with(mesh.node(name));
        Polled::on(&pubsub, LongPollConfig::default(), Limits::default())
    });
    let token = a.open().await;
    mesh.kill("a");
    let stranger = PubSub::with(MemoryMesh::new().node("stranger"));
    let stranger = Polled::on(&stranger, LongPollConfig::default(), Limits::default());
    let strange = stranger.open().await;
    // One of another life of the node itself.
    let former = PubSub::with(MemoryMesh::new().node("b"));
    let former = Polled::on(&former, LongPollConfig::default(), Limits::default());
    let former = former.open().await;
    for token in [token, strange, former] {
        post(&b, &token, Unread(1)).await.is(json!({"status": 410}));
    }
    assert_eq!(b.polling.stats().forwarded, 0);
    assert_eq!(a.polling.stats().served, 0);
}

/// A token of the same node and session, with another seal.
fn forged(token: &str) -> String {
    let mut forged = token.to_owned().into_bytes();
    let at = forged.len() - 10;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(forged).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_posted_with_a_made_up_token_is_not_read_and_takes_nothing_from_others() {
    let mesh = MemoryMesh::new();
    let config = limited(100).with_max_forwarded_bytes(200);
    let [a, b] = ["a", "b"].map(|name| {
        let pubsub = PubSub::with(mesh.node(name));
        Polled::on(&pubsub, config.clone(), Limits::default())
    });
    let token = a.open().await;
    let made_up = forged(&token);
    let mut stalled = Vec::new();
    for _ in 0..3 {
        post(&b, &made_up, Unread(90))
            .await
            .is(json!({"status": 410}));
        stalled.push(stall(&b, &made_up, 90).await);
    }
    settle().await;
    assert!(stalled.iter().all(JoinHandle::is_finished));
    let text = "x".repeat(100);
    b.post(&token, "", text.clone())
        .await
        .is(json!({"status": 200}));
    b.poll(&token).await.is(messages(&token, &[&text]));
    assert_eq!(b.polling.stats().forwarded_in_vain, 6);
    assert_eq!(
        (a.polling.stats().served, b.polling.stats().posts_refused),
        (2, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn posts_to_other_nodes_leave_polls_their_way() {
    let mesh = MemoryMesh::new();
    let config = limited(100).with_max_forwarded_bytes(200);
    let [a, b] = ["a", "b"].map(|name| {
        let pubsub = PubSub::with(mesh.node(name));
        Polled::on(&pubsub, config.clone(), Limits::default())
    });
    let (one, other) = (a.open().await, a.open().await);
    let _first = a.lab.connected().await;
    let (_, outbox) = a.lab.connected().await;
    let stalled = stall(&b, &one, 100).await;
    settle().await;
    is_put_off(&post(&b, &other, Unread(51)).await);
    outbox.frame(Frame::text("x"));
    b.poll(&other).await.is(messages(&other, &["x"]));
    give_up(stalled).await;
}

#[tokio::test(start_paused = true)]
async fn one_address_does_not_take_all_sessions() {
    let config = LongPollConfig::default();
    let most = config.max_sessions_per_address.unwrap();
    assert!(most * 5 <= config.max_sessions, "by default");

    let config = config
        .with_max_sessions(10)
        .with_max_sessions_per_address(Some(4));
    let polled = Polled::with(config, Limits::default());
    let open = async |peer: &str| {
        let mut request = get("vsn=2.0.0").body(Full::default()).unwrap();
        request
            .extensions_mut()
            .insert(PeerAddr(peer.parse().unwrap()));
        polled.ask(request).await
    };
    let lines = Lines::collect();
    for _ in 0..4 {
        assert_eq!(open("192.0.2.1:80").await.json()["status"], 410);
    }
    let beyond = open("192.0.2.1:81").await;
    assert_eq!(beyond.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(beyond.json(), json!({"status": 500}));
    let lines = lines.take();
    assert!(lines[0].contains("max_sessions_per_address"), "{lines:?}");
    for peer in [
        "192.0.2.2:80",
        "127.0.0.1:80",
        "127.0.0.1:80",
        "127.0.0.1:80",
        "127.0.0.1:80",
        "127.0.0.1:80",
    ] {
        assert_eq!(open(peer).await.json()["status"], 410, "{peer}");
    }
    is_put_off(&open("192.0.2.3:80").await);
    let stats = polled.polling.stats();
    assert_eq!((stats.sessions, stats.full, stats.full_address), (10, 1, 1));
    polled.service.connections().closed().await;
    assert_eq!(open("192.0.2.1:80").await.json()["status"], 410);
}

/// Counts how often a future is polled.
struct Watched<F> {
    future: Pin<Box<F>>,
    polls: Arc<AtomicUsize>,
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.polls.fetch_add(1, SeqCst);
        self.future.as_mut().poll(cx)
    }
}

fn watched<F: Future>(polls: &Arc<AtomicUsize>, future: F) -> Watched<F> {
    Watched {
        future: Box::pin(future),
        polls: Arc::clone(polls),
    }
}

#[tokio::test(start_paused = true)]
async fn each_of_many_posts_that_wait_is_woken_for_its_own_end_alone() {
    let limits = Limits::default().with_inbound(None);
    let polled = Polled::with(LongPollConfig::default(), limits);
    let token = polled.open().await;
    polled.lab.gate.shut();
    let polls = Arc::<AtomicUsize>::default();
    // So large that the session deals with a few at a time, and the others could be woken meanwhile.
    let lines = "[1]\n".repeat(64);
    let posts: Vec<_> = (0..100)
        .map(|_| {
            let request = Request::post(format!("/socket/longpoll?token={token}"))
                .header("content-type", "application/x-ndjson")
                .body(Full::<Bytes>::from(lines.clone()));
            let answer = polled.service.clone().call(request.unwrap());
            // A task of its own, which takes its turn with the session's.
            tokio::spawn(watched(&polls, answer))
        })
        .collect();
    yield_now().await;
    polled.lab.gate.open();
    for post in posts {
        let body = post.await.unwrap().unwrap().into_body();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(body, "{\"status\":200}");
    }
    let polls = polls.load(SeqCst);
    assert!(polls <= 100 * 3, "{polls} for 100 posts");
}

#[tokio::test(start_paused = true)]
async fn of_many_polls_two_wait_and_what_comes_wakes_the_newest_alone() {
    let polled = Polled::new();
    let token = polled.open().await;
    let (_, outbox) = polled.lab.connected().await;
    let nothing = json!({"status": 204, "token": token, "messages": []});
    let start = Instant::now();
    let many = (0..50).map(|_| polled.poll(&token));
    let first = async {
        let mut answers = join_all(many.map(|poll| async {
            let answer = poll.await;
            (answer, start.elapsed())
        }))
        .await;
        let last = answers.split_off(48);
        for (answer, after) in answers {
            answer.is(nothing.clone());
            assert_eq!(after, Duration::ZERO);
        }
        last
    };
    let push = async {
        settle().await;
        advance(WINDOW / 2).await;
        outbox.frame(Frame::text("x"));
    };
    let (last, ()) = join(first, push).await;
    let [(older, older_after), (newest, newest_after)] = <[_; 2]>::try_from(last).unwrap();
    newest.is(messages(&token, &["x"]));
    older.is(nothing);
    assert_eq!((newest_after, older_after), (WINDOW / 2, WINDOW));

    // The older one sleeps through what the newest is woken for.
    let polls = Arc::<AtomicUsize>::default();
    let request = get(&format!("token={token}"));
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let older = polled.service.clone().call(request);
    let older = tokio::spawn(watched(&polls, older));
    settle().await;
    let before = polls.load(SeqCst);
    for _ in 0..50 {
        let push = async {
            settle().await;
            outbox.frame(Frame::text("y"));
        };
        let (newest, ()) = join(polled.poll(&token), push).await;
        newest.is(messages(&token, &["y"]));
    }
    assert_eq!(polls.load(SeqCst), before);
    older.abort();
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_one_line_a_second_of_each_kind() {
    let polled = Polled::with(limited(10).with_max_sessions(1), Limits::default());
    let token = polled.open().await;
    let lines = Lines::collect();
    for times in [3, 1] {
        for _ in 0..times {
            polled.post(&token, "", "x".repeat(11)).await;
            polled.lines(&token, "{}").await;
            is_put_off(&polled.get("vsn=2.0.0").await);
        }
        advance(Duration::from_secs(1)).await;
    }
    let lines = lines.take();
    let kinds = [
        "the limits",
        "a client of version 1",
        "all long-poll sessions",
    ];
    for kind in kinds {
        let mut of_kind = lines.iter().filter(|line| line.contains(kind));
        for left_out in ["left_out=0 ", "left_out=2 "] {
            let line = of_kind.next().unwrap();
            assert!(line.contains(left_out), "{line}");
        }
    }
    assert_eq!(lines.len(), 2 * kinds.len(), "{lines:#?}");
}

/// The answer to a poll, of which nothing is read.
async fn unread(polled: &Polled, token: &str) -> Response<Full<Bytes>> {
    unread_from("127.0.0.1:80", polled, token).await
}

/// The same of a client that comes from there.
async fn unread_from(peer: &str, polled: &Polled, token: &str) -> Response<Full<Bytes>> {
    let request = get(&format!("token={token}"));
    let mut request = request.body(Full::<Bytes>::default()).unwrap();
    let peer = PeerAddr(peer.parse().unwrap());
    request.extensions_mut().insert(peer);
    polled.service.clone().call(request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_answers_gets_no_more_until_it_does() {
    let config = LongPollConfig::default().with_buffer_bytes(1_000);
    let polled = Polled::with(config, Limits::default());
    let token = polled.open().await;
    let (_, outbox) = polled.lab.connected().await;
    let (large, small) = ("x".repeat(900), "y".repeat(10));
    let mut held = Vec::new();
    for text in [&large, &small, &large] {
        outbox.frame(Frame::text(text.clone()));
        held.push(unread(&polled, &token).await);
    }
    outbox.frame(Frame::text("z"));
    let start = Instant::now();
    let nothing = json!({"status": 204, "token": token, "messages": []});
    polled.poll(&token).await.is(nothing);
    assert_eq!(start.elapsed(), WINDOW);
    let read = async {
        settle().await;
        // The server writes it, or finds that its client has gone.
        drop(held.remove(0));
    };
    let start = Instant::now();
    let (answer, ()) = join(polled.poll(&token), read).await;
    answer.is(messages(&token, &["z"]));
    assert_eq!(start.elapsed(), Duration::ZERO);
    let body = held.remove(1).into_body().collect().await.unwrap();
    assert!(
        body.to_bytes()
            .windows(900)
            .any(|text| text == large.as_bytes())
    );
}

/// A node whose clients come to the other one, and so many of their sessions.
async fn away<const N: usize>(config: LongPollConfig) -> (Polled, Polled, [Away; N]) {
    let mesh = MemoryMesh::new();
    let [a, b] = ["a", "b"].map(|name| {
        let pubsub = PubSub::with(mesh.node(name));
        Polled::on(&pubsub, config.clone(), Limits::default())
    });
    let mut sessions = Vec::new();
    for _ in 0..N {
        let token = a.open().await;
        let (_, outbox) = a.lab.connected().await;
        sessions.push(Away { token, outbox });
    }
    (
        a,
        b,
        sessions.try_into().unwrap_or_else(|_| panic!("so many")),
    )
}

struct Away {
    token: String,
    outbox: Outbox<Mail>,
}

impl Away {
    fn push(&self, bytes: usize) {
        self.outbox.frame(Frame::text("x".repeat(bytes)));
    }
}

/// Where there is room for all, and for none if one session had its way.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_what_comes_from_another_node_gets_no_more_and_others_do() {
    let config = LongPollConfig::default()
        .with_buffer_bytes(1_000)
        .with_max_answer_bytes(5_000);
    let (_a, b, [hostile, other]) = away(config).await;
    hostile.push(900);
    let mut held = vec![unread(&b, &hostile.token).await];
    hostile.push(900);
    let beyond = join_all((0..8).map(|_| unread(&b, &hostile.token)));
    held.append(&mut beyond.await);
    other.push(3);
    let answer = b.poll(&other.token).await;
    answer.is(messages(&other.token, &["xxx"]));
    b.lines(&hostile.token, "").await.is(json!({"status": 200}));
    for beyond in held.split_off(1) {
        let body = beyond.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(b"{\"status\":204,"), "{body:?}");
    }
    drop(held);
    assert_eq!(b.poll(&hostile.token).await.json()["status"], 200);
}

#[tokio::test(start_paused = true)]
async fn answers_from_other_nodes_that_nobody_reads_count_as_what_is_under_way() {
    let config = LongPollConfig::default().with_max_answer_bytes(1_000);
    let (_a, b, [one, other]) = away(config).await;
    one.push(1_000);
    let held = unread(&b, &one.token).await;
    other.push(1);
    let lines = Lines::collect();
    is_put_off(&b.poll(&other.token).await);
    assert!(lines.take()[0].contains("LongPollConfig::max_answer_bytes"));
    b.lines(&other.token, "").await.is(json!({"status": 200}));
    drop(held);
    let answer = b.poll(&other.token).await;
    answer.is(messages(&other.token, &["x"]));
}

/// However many sessions one address has, it leaves as much to others as it takes.
#[tokio::test(start_paused = true)]
async fn an_address_that_does_not_read_what_comes_from_another_node_leaves_room_to_others() {
    let config = LongPollConfig::default().with_max_answer_bytes(4_000);
    let (_a, b, sessions) = away::<7>(config).await;
    let [hostile @ .., other] = &sessions;
    let mut held = Vec::new();
    for session in hostile {
        session.push(900);
        let answer = unread_from("192.0.2.1:80", &b, &session.token).await;
        held.push((answer.status(), answer));
    }
    let answered = held
        .iter()
        .filter(|(status, _)| *status == StatusCode::OK)
        .count();
    assert_eq!(answered, 2, "a third would leave less than it has");
    other.push(900);
    let answer = unread_from("192.0.2.2:80", &b, &other.token).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

/// Each had room when it began to wait.
#[tokio::test(start_paused = true)]
async fn of_many_polls_that_wait_for_other_nodes_no_more_are_answered_than_there_is_room_for() {
    const EACH: usize = 900;
    let config = LongPollConfig::default().with_max_answer_bytes(2 * EACH);
    let (a, b, sessions) = away::<8>(config).await;
    let waiting = join_all(sessions.iter().map(|session| unread(&b, &session.token)));
    let push = async {
        settle().await;
        sessions.iter().for_each(|session| session.push(EACH));
    };
    let (answers, ()) = join(waiting, push).await;
    let (answered, refused): (Vec<_>, Vec<_>) =
        zip(answers, &sessions).partition(|(answer, _)| answer.status() == StatusCode::OK);
    assert_eq!((answered.len(), refused.len()), (2, 6));
    settle().await;
    for (_, session) in &refused {
        assert!(
            a.poll(&session.token).await.json()["status"] == 410,
            "it has lost messages"
        );
    }
    for (_, session) in &answered {
        session.push(1);
        a.poll(&session.token)
            .await
            .is(messages(&session.token, &["x"]));
    }
}
