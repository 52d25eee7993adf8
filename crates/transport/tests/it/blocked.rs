//! A client that does not read, behind a pipe of a few bytes: what its connection costs meanwhile, and that nothing but its
//! own frames waits for it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{Sink, SinkExt, Stream, StreamExt};
use matryoshka_transport::{
    Close, CloseCode, CloseReason, Connection, Connections, Frame, Limits, Outbox, Outgoing,
    Pushed, ReadError, Transport, Waiting, WebSocket, WebSocketConfig, WhenSlow, WriteError,
};
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
    task::yield_now,
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use crate::{
    custom::Given,
    lab::{Lab, Mail, info},
};

/// Fewer than any of the frames below.
const PIPE_BYTES: usize = 16;
/// Turns of a connection that are few, however many frames are pushed.
const FEW_TURNS: usize = 16;

/// A connection that counts how often its task asks it for a frame, which is at least once a turn.
struct Watched<C> {
    connection: C,
    asked: Arc<AtomicUsize>,
}

impl<C: Connection> Connection for Watched<C> {
    fn last_byte(&self) -> Option<Instant> {
        self.connection.last_byte()
    }
}

impl<C: Connection> Stream for Watched<C> {
    type Item = Result<Frame, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.asked.fetch_add(1, SeqCst);
        self.connection.poll_next_unpin(cx)
    }
}

impl<C: Connection> Sink<Outgoing> for Watched<C> {
    type Error = WriteError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.connection.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, item: Outgoing) -> Result<(), WriteError> {
        self.connection.start_send_unpin(item)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.connection.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.connection.poll_close_unpin(cx)
    }
}

/// A lab session behind a WebSocket over a tiny pipe.
struct Narrow {
    lab: Lab,
    connections: Connections,
    outbox: Outbox<Mail>,
    asked: Arc<AtomicUsize>,
    client: WebSocketStream<DuplexStream>,
}

impl Narrow {
    async fn with_limits(limits: Limits) -> Self {
        let (lab, connections) = (Lab::new(), Connections::new());
        let (client, server) = duplex(PIPE_BYTES);
        let asked = Arc::<AtomicUsize>::default();
        let connection = Watched {
            connection: WebSocket::accept(server, &WebSocketConfig::default()),
            asked: Arc::clone(&asked),
        };
        serve(&lab, connection, limits, &connections);
        let (_, outbox) = lab.connected().await;
        Self {
            outbox,
            lab,
            connections,
            asked,
            client: WebSocketStream::from_raw_socket(client, Role::Client, None).await,
        }
    }

    /// The number in the next frame.
    async fn next(&mut self) -> usize {
        let message = self.client.next().await.expect("a connection").unwrap();
        let text = message.into_text().unwrap();
        text.split_whitespace().next().unwrap().parse().unwrap()
    }
}

fn serve<C: Connection>(lab: &Lab, connection: C, limits: Limits, connections: &Connections) {
    let (give, given) = mpsc::channel(1);
    give.try_send((info(""), connection))
        .unwrap_or_else(|_| panic!("room for one"));
    tokio::spawn(Given(given).serve_with(lab.clone(), limits, connections.clone()));
}

fn numbered(n: usize) -> Frame {
    Frame::text(format!("{n} of more bytes than the pipe has"))
}

#[tokio::test(start_paused = true)]
async fn what_is_pushed_to_a_client_that_does_not_read_wakes_nobody_and_arrives_once_it_reads() {
    let limits = Limits::default()
        .with_outbox_bytes(10_000_000)
        .with_outbox_items(6_000);
    let mut narrow = Narrow::with_limits(limits).await;
    let mut queued = Vec::new();
    for n in 0..5_000 {
        let when_slow = match n % 2 {
            0 => WhenSlow::Close,
            _ => WhenSlow::Drop,
        };
        if narrow.outbox.frame_when_slow(numbered(n), when_slow) == Pushed::Queued {
            queued.push(n);
        }
        // The task would run now if it had been woken.
        yield_now().await;
    }
    let turns = narrow.asked.load(SeqCst);
    assert!(turns <= FEW_TURNS, "{turns} turns");
    let dropped = 5_000 - queued.len();
    assert!((500..1_500).contains(&dropped), "{dropped} were dropped");
    for n in queued {
        assert_eq!(narrow.next().await, n);
    }
    // Awake again, each frame arrives by itself.
    for n in 0..10 {
        narrow.outbox.frame(numbered(n));
        assert_eq!(narrow.next().await, n);
    }
    let stats = narrow.connections.stats();
    assert_eq!(stats.frames_dropped, dropped as u64);
}

/// What an operator sees of clients that do not read.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_counted_for_as_long_as_it_does_not() {
    let mut narrow = Narrow::with_limits(Limits::default()).await;
    let stats = |narrow: &Narrow| narrow.connections.stats();
    let block = async |narrow: &Narrow| {
        for n in 0..100 {
            narrow.outbox.frame(numbered(n));
            yield_now().await;
        }
    };
    assert_eq!(stats(&narrow).blocked, 0);
    block(&narrow).await;
    assert_eq!(stats(&narrow).blocked, 1);
    let written = stats(&narrow).frames_written;
    assert!(written < 100, "{written}");
    // The frame in the codec is counted with those written.
    let waiting = narrow.connections.waiting();
    assert_eq!(waiting.items as u64, 100 - written);
    let bytes: usize = (0..100)
        .skip(100 - waiting.items)
        .map(|n| numbered(n).len())
        .sum();
    assert_eq!(waiting.bytes, bytes);
    for n in 0..100 {
        assert_eq!(narrow.next().await, n);
    }
    assert_eq!(stats(&narrow).blocked, 0);
    assert_eq!(stats(&narrow).frames_written, 100);
    assert_eq!(narrow.connections.waiting(), Waiting::default());
    // Who goes while it does not read is counted no longer.
    block(&narrow).await;
    assert_eq!(stats(&narrow).blocked, 1);
    let connections = narrow.connections.clone();
    drop(narrow);
    connections.closed().await;
    assert_eq!(connections.stats().blocked, 0);
}

#[tokio::test(start_paused = true)]
async fn an_urgent_mail_reaches_the_session_of_a_client_that_does_not_read_and_no_other_does() {
    let narrow = Narrow::with_limits(Limits::default()).await;
    for n in 0..100 {
        narrow.outbox.frame(numbered(n));
        yield_now().await;
    }
    narrow.outbox.mail(Mail::Close(CloseCode(4001)));
    yield_now().await;
    assert!(narrow.lab.nothing_closed());
    let urgent = Mail::Close(CloseCode(4002));
    assert_eq!(narrow.outbox.urgent_mail_of(urgent, 0), Pushed::Queued);
    let reason = CloseReason::Closed(CloseCode(4002).into());
    assert_eq!(narrow.lab.closed().await, reason);
}

#[tokio::test(start_paused = true)]
async fn urgent_mails_overtake_what_waits_and_stay_in_order() {
    let mut narrow = Narrow::with_limits(Limits::default()).await;
    // None of these waits for the other's turn.
    narrow.outbox.frame(numbered(3));
    narrow.outbox.urgent_mail_of(Mail::Say("1 of two"), 0);
    narrow.outbox.urgent_mail_of(Mail::Say("2 of two"), 0);
    for n in 1..=3 {
        assert_eq!(narrow.next().await, n);
    }
}

#[tokio::test(start_paused = true)]
async fn urgent_mails_have_the_outboxs_bound() {
    let limits = Limits::default()
        .with_outbox_bytes(1_000)
        .with_outbox_items(10);
    let narrow = Narrow::with_limits(limits).await;
    let push = |_| narrow.outbox.urgent_mail_of(Mail::Say("0"), 300);
    let pushed = [0; 6].map(push);
    let (queued, rest) = pushed.split_at(4);
    assert!(queued.iter().all(|pushed| *pushed == Pushed::Queued));
    assert_eq!(rest, [Pushed::Dropped, Pushed::Closed]);
    let reason = CloseReason::Closed(CloseCode::POLICY.into());
    assert_eq!(narrow.lab.closed().await, reason);
}

/// The session's part in it is to answer none.
#[tokio::test(start_paused = true)]
async fn answers_to_urgent_mails_have_a_bound_too_while_the_client_reads_none() {
    let narrow = Narrow::with_limits(Limits::default()).await;
    let mut told = 0;
    while narrow
        .outbox
        .urgent_mail_of(Mail::Say("longer than the pipe is"), 0)
        == Pushed::Queued
    {
        told += 1;
        assert!(told < 5_000, "no bound");
        yield_now().await;
    }
    assert!(told > 1_000, "{told}");
    let reason = CloseReason::Closed(CloseCode::POLICY.into());
    assert_eq!(narrow.lab.closed().await, reason);
    assert_eq!(narrow.connections.stats().closed_slow, 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_heard() {
    let mut narrow = Narrow::with_limits(Limits::default()).await;
    for n in 0..100 {
        narrow.outbox.frame(numbered(n));
        yield_now().await;
    }
    narrow.client.feed(Message::text("100")).await.unwrap();
    // Its writing half alone: the client's own pipe is free.
    let flush = std::future::poll_fn(|cx| narrow.client.poll_flush_unpin(cx));
    timeout(Duration::from_secs(1), flush)
        .await
        .unwrap()
        .unwrap();
    while narrow.lab.gate.handled.load(SeqCst) == 0 {
        yield_now().await;
    }
    let mut got = Vec::new();
    while got.len() <= 100 {
        got.push(narrow.next().await);
    }
    got.sort_unstable();
    assert_eq!(got, Vec::from_iter(0..=100));
}

#[tokio::test(start_paused = true)]
async fn every_end_reaches_a_connection_whose_client_does_not_read() {
    type EndIt = fn(&Narrow);
    let ends: [(&str, EndIt, CloseReason); 4] = [
        (
            "overflow",
            |narrow| {
                for n in 0.. {
                    if narrow.outbox.frame(numbered(n)) != Pushed::Queued {
                        break;
                    }
                }
            },
            CloseReason::Closed(CloseCode::POLICY.into()),
        ),
        (
            "kick",
            |narrow| {
                narrow.outbox.close(CloseCode::GOING_AWAY.into());
            },
            CloseReason::Closed(CloseCode::GOING_AWAY.into()),
        ),
        (
            "drain",
            |narrow| narrow.connections.close_all(CloseCode::RESTART.into()),
            CloseReason::Closed(CloseCode::RESTART.into()),
        ),
        ("silence", |_| {}, CloseReason::Idle),
    ];
    for (what, end_it, reason) in ends {
        let limits = Limits::default()
            .with_outbox_bytes(1_000_000)
            .with_outbox_items(200);
        let idle_timeout = limits.idle_timeout;
        let narrow = Narrow::with_limits(limits).await;
        let start = Instant::now();
        for n in 0..100 {
            narrow.outbox.frame(numbered(n));
            yield_now().await;
        }
        assert!(narrow.lab.nothing_closed());
        end_it(&narrow);
        assert_eq!(narrow.lab.closed().await, reason, "{what}");
        let waited = match reason {
            CloseReason::Idle => idle_timeout,
            _ => Duration::ZERO,
        };
        assert_eq!(start.elapsed(), waited, "{what}");
        // The client never reads on; its connection is let go all the same.
        narrow.connections.closed().await;
    }
}

/// One that takes a frame and then none until it was flushed, and wakes nobody.
struct OneAtATime {
    is_full: bool,
    fed: mpsc::Sender<Outgoing>,
}

impl Connection for OneAtATime {}

impl Stream for OneAtATime {
    type Item = Result<Frame, ReadError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Pending
    }
}

impl Sink<Outgoing> for OneAtATime {
    type Error = WriteError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        match self.is_full {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }

    fn start_send(mut self: Pin<&mut Self>, item: Outgoing) -> Result<(), WriteError> {
        self.is_full = true;
        self.fed.try_send(item).expect("room for all");
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.is_full = false;
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        Poll::Ready(Ok(()))
    }
}

/// Else what is pushed after that waits for a waker that nobody has.
#[tokio::test(start_paused = true)]
async fn a_flush_that_makes_room_is_followed_by_another_look_at_the_outbox() {
    let lab = Lab::new();
    let (fed, mut written) = mpsc::channel(64);
    let is_full = false;
    let connection = OneAtATime { is_full, fed };
    serve(&lab, connection, Limits::default(), &Connections::new());
    let (_, outbox) = lab.connected().await;
    for burst in [1, 3, 1] {
        for n in 0..burst {
            outbox.frame(numbered(n));
        }
        for n in 0..burst {
            let next = timeout(Duration::from_secs(1), written.recv()).await;
            assert_eq!(next, Ok(Some(Outgoing::Frame(numbered(n)))));
        }
        yield_now().await;
    }
    outbox.close(Close::new(CloseCode::GOING_AWAY));
    assert!(matches!(written.recv().await, Some(Outgoing::Close(_))));
}

/// The same hand-over with real threads: a push and a read of the client's meet at every moment of a turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn pushes_that_race_with_a_client_that_reads_by_fits_all_arrive() {
    const FRAMES: usize = 20_000;
    let limits = Limits::default()
        .with_outbox_bytes(usize::MAX)
        .with_outbox_items(usize::MAX);
    let mut narrow = Narrow::with_limits(limits).await;
    let outbox = narrow.outbox.clone();
    let pushing = tokio::spawn(async move {
        for n in 0..FRAMES {
            assert_eq!(outbox.frame(numbered(n)), Pushed::Queued);
            if n % 3 == 0 {
                yield_now().await;
            }
        }
    });
    let reading = async {
        for n in 0..FRAMES {
            assert_eq!(narrow.next().await, n);
        }
    };
    timeout(Duration::from_secs(60), reading)
        .await
        .expect("a frame waits and nobody is woken");
    pushing.await.unwrap();
}
