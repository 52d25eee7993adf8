//! Clients that ask for much, or are sent it, and read nothing.

use futures::FutureExt;
use http_body_util::Full;
use matryoshka_transport::{
    CloseCode, CloseReason, ConnectionLimits, Connections, Frame, HttpConfig, HttpService,
    LongPolling, Outbox, SharedFrame, WebSocketConfig, WhenSlow, bytes::Bytes, pubsub::PubSub,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::yield_now,
};

use crate::{
    lab::{Lab, Mail},
    log::Lines,
    poller::{Polled, get},
    websocket::{masked, raw},
};

const FIN_TEXT: u8 = 0x81;

const MB: usize = 1_000_000;

/// What is on its way to a client that does not read.
const PIPE_BYTES: usize = 4 * 1024;

async fn settle() {
    for _ in 0..200 {
        yield_now().await;
    }
}

fn at_most(bytes: usize) -> Connections {
    let limits = ConnectionLimits::default().with_max_unread_bytes(Some(bytes));
    Connections::with_limits(limits)
}

async fn connect(lab: &Lab, connections: &Connections) -> (DuplexStream, Outbox<Mail>) {
    let client = raw(lab, connections, WebSocketConfig::default(), PIPE_BYTES).await;
    let (_, outbox) = lab.connected().await;
    (client, outbox)
}

async fn ask(client: &mut DuplexStream, bytes: usize) {
    let asked = masked(FIN_TEXT, format!("big {bytes}").as_bytes());
    client.write_all(&asked).await.unwrap();
    settle().await;
}

fn large(bytes: usize) -> (Bytes, Frame) {
    let bytes = Bytes::from(vec![7; bytes]);
    (bytes.clone(), Frame::binary(bytes))
}

fn gave_way() -> Option<CloseReason> {
    Some(CloseReason::Closed(CloseCode::TRY_AGAIN.into()))
}

#[tokio::test(start_paused = true)]
async fn of_clients_that_read_no_answer_the_one_that_has_read_nothing_for_the_longest_gives_way() {
    let (lab, connections) = (Lab::new(), at_most(10 * MB));
    let lines = Lines::collect();
    let mut clients = Vec::new();
    for _ in 0..3 {
        let (mut client, _) = connect(&lab, &connections).await;
        ask(&mut client, 3 * MB).await;
        clients.push(client);
    }
    assert!(lab.nothing_closed());
    // The first reads, if not all.
    clients[0].read_exact(&mut vec![0; MB]).await.unwrap();
    settle().await;
    let (mut last, _) = connect(&lab, &connections).await;
    ask(&mut last, 3 * MB).await;
    assert_eq!(lab.closed().now_or_never(), gave_way());
    assert!(lab.nothing_closed());
    assert_eq!(connections.stats().closed_unread, 1);
    let lines = lines.take();
    assert!(lines[0].contains("max_unread_bytes"), "{lines:?}");
    // It was the second, and is let go of at once: what it has still to read is no more than the pipe.
    assert_eq!(connections.count(), 3);
    let mut rest = Vec::new();
    clients[1].read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() <= PIPE_BYTES);
    for client in [&mut last, &mut clients[2]] {
        client.read_exact(&mut vec![0; 3 * MB + 10]).await.unwrap();
    }
    clients[0]
        .read_exact(&mut vec![0; 2 * MB + 10])
        .await
        .unwrap();
    assert!(lab.nothing_closed());
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_small_frames_of_a_client_that_takes_nothing_counts_at_once() {
    let (lab, connections) = (Lab::new(), at_most(5 * MB));
    let (_client, outbox) = connect(&lab, &connections).await;
    for _ in 0..10 {
        outbox.frame(Frame::binary(vec![7; PIPE_BYTES]));
    }
    settle().await;
    let (bytes, first) = large(2 * MB);
    outbox.frame(first);
    settle().await;
    assert!(lab.nothing_closed());
    for _ in 0..2 {
        outbox.mail_of(Mail::Say("much"), 2 * MB);
    }
    settle().await;
    assert_eq!(lab.closed().now_or_never(), gave_way());
    assert!(bytes.is_unique());
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_that_waits_for_many_counts_once() {
    let (lab, connections) = (Lab::new(), at_most(10 * MB));
    let mut clients = Vec::new();
    let (bytes, frame) = large(4 * MB);
    let mut shared = SharedFrame::new(frame);
    for _ in 0..20 {
        let (client, outbox) = connect(&lab, &connections).await;
        outbox.shared_frame(&mut shared, WhenSlow::Close);
        settle().await;
        clients.push(client);
    }
    drop(shared);
    let (_, frame) = large(4 * MB);
    let mut shared = SharedFrame::new(frame);
    let (mut client, outbox) = connect(&lab, &connections).await;
    outbox.shared_frame(&mut shared, WhenSlow::Close);
    settle().await;
    assert!(lab.nothing_closed());
    for client in &mut clients {
        client.read_exact(&mut vec![0; 4 * MB + 10]).await.unwrap();
    }
    settle().await;
    assert!(bytes.is_unique());
    // As many as it takes.
    outbox.shared_frame(&mut shared, WhenSlow::Close);
    client.read_exact(&mut vec![0; 8 * MB + 20]).await.unwrap();
    assert!(lab.nothing_closed());
}

#[tokio::test(start_paused = true)]
async fn broadcasts_of_which_each_waits_for_one_client_count_each() {
    let (lab, connections) = (Lab::new(), at_most(10 * MB));
    let mut kept = Vec::new();
    for _ in 0..3 {
        let (client, outbox) = connect(&lab, &connections).await;
        let (bytes, frame) = large(4 * MB);
        outbox.shared_frame(&mut SharedFrame::new(frame), WhenSlow::Close);
        settle().await;
        kept.push((client, bytes));
    }
    assert_eq!(lab.closed().now_or_never(), gave_way());
    let is_let_go: Vec<_> = kept.iter().map(|(_, bytes)| bytes.is_unique()).collect();
    assert_eq!(is_let_go, [true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn what_is_replaced_or_dropped_counts_no_more() {
    let (lab, connections) = (Lab::new(), at_most(10 * MB));
    let (_client, outbox) = connect(&lab, &connections).await;
    outbox.frame(Frame::binary(vec![7; 4 * PIPE_BYTES]));
    settle().await;
    let mut before = None;
    for n in 0..5 {
        let (bytes, frame) = large(6 * MB + n % 2);
        outbox.frame_when_slow(frame, WhenSlow::Latest(1));
        settle().await;
        let before = before.replace(bytes);
        assert!(before.is_none_or(|before| before.is_unique()), "{n}");
    }
    assert!(lab.nothing_closed());
}

/// As many frames of a kibibyte as nearly fill an outbox.
const FRAMES: usize = 900;

fn small() -> Frame {
    Frame::binary(vec![7; 1024])
}

#[tokio::test(start_paused = true)]
async fn of_clients_for_whom_much_that_is_small_waits_one_gives_way_and_none_that_reads() {
    let (lab, connections) = (Lab::new(), at_most(5 * MB));
    let (mut reader, to_reader) = connect(&lab, &connections).await;
    let mut stuck = Vec::new();
    for _ in 0..10 {
        let client = connect(&lab, &connections).await;
        for _ in 0..FRAMES {
            client.1.frame(small());
        }
        settle().await;
        to_reader.frame(small());
        settle().await;
        reader.read_exact(&mut [0; 1024 + 4]).await.unwrap();
        stuck.push(client);
    }
    let closed = stuck.iter().map(|(_, outbox)| outbox.is_closed());
    let expected = [[true; 5], [false; 5]].concat();
    assert_eq!(
        closed.collect::<Vec<_>>(),
        expected,
        "the longest stuck first"
    );
    assert_eq!(lab.closed().now_or_never(), gave_way());
    assert_eq!(connections.stats().closed_unread, 5);
    assert!(!to_reader.is_closed());
    // Those that are left read all of it.
    for (client, _) in &mut stuck[5..] {
        let mut all = vec![0; FRAMES * (1024 + 4)];
        client.read_exact(&mut all).await.unwrap();
    }
    assert_eq!(connections.count(), 6);
}

/// They take nothing, as is known when it comes.
async fn stuck(lab: &Lab, connections: &Connections) -> (DuplexStream, Outbox<Mail>) {
    let client = connect(lab, connections).await;
    for _ in 0..3 {
        client.1.frame(Frame::binary(vec![7; PIPE_BYTES]));
    }
    settle().await;
    client
}

#[tokio::test(start_paused = true)]
async fn small_broadcasts_that_wait_for_many_count_once() {
    let (lab, connections) = (Lab::new(), at_most(5 * MB));
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(stuck(&lab, &connections).await);
    }
    for n in 0..2 * FRAMES {
        // Such as wait in one row for all of them, and such as wait by themselves.
        let bytes = if n % 100 == 0 { 800 } else { 300 };
        let mut shared = SharedFrame::new(Frame::binary(vec![7; bytes]));
        for (_, outbox) in &clients {
            outbox.shared_frame(&mut shared, WhenSlow::Close);
        }
    }
    settle().await;
    assert!(lab.nothing_closed());
    // Much that is one client's alone counts, whatever they hold together.
    for _ in 0..6 {
        clients.push(stuck(&lab, &connections).await);
        let (_, outbox) = clients.last().unwrap();
        for _ in 0..FRAMES {
            outbox.frame(small());
        }
        settle().await;
    }
    let is_closed = |(_, outbox): &(_, Outbox<Mail>)| outbox.is_closed();
    let closed = clients.iter().filter(|client| is_closed(client)).count();
    assert!((2..=4).contains(&closed), "{closed}");
    assert!(!clients[..20].iter().any(is_closed));
}

#[tokio::test(start_paused = true)]
async fn small_broadcasts_of_which_each_waits_for_one_client_count_each() {
    let (lab, connections) = (Lab::new(), at_most(5 * MB));
    let mut clients = Vec::new();
    for _ in 0..8 {
        let client = stuck(&lab, &connections).await;
        for _ in 0..FRAMES {
            let mut shared = SharedFrame::new(small());
            client.1.shared_frame(&mut shared, WhenSlow::Close);
        }
        settle().await;
        clients.push(client);
    }
    let closed = clients.iter().filter(|(_, outbox)| outbox.is_closed());
    let closed = closed.count();
    assert!((2..=4).contains(&closed), "{closed}");
}

fn poll_by(connections: &Connections) -> Polled {
    let lab = Lab::new();
    let polling = LongPolling::new(&PubSub::local()).unwrap();
    let config = HttpConfig::default()
        .with_mount("/socket")
        .with_connections(connections)
        .with_long_polling(&polling);
    let service = HttpService::with_config(lab.clone(), config);
    Polled {
        lab,
        service,
        polling,
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_small_and_waits_for_polls_counts_as_well() {
    let polled = poll_by(&at_most(5 * MB));
    for n in 0..30 {
        let token = polled.open().await;
        let (_, outbox) = polled.lab.connected().await;
        for _ in 0..200 {
            outbox.frame(Frame::text("7".repeat(1_000)));
        }
        settle().await;
        // Not the first: to end one that has read would be found to be wrong in time, but these would have another end.
        if (19..24).contains(&n) {
            let poll = get(&format!("vsn=2.0.0&token={token}")).body(Full::default());
            let answer = polled.unread(poll.unwrap()).await;
            settle().await;
            // Only now has its client read it.
            drop(answer);
            settle().await;
        }
        if n < 29 {
            assert!(polled.lab.nothing_closed(), "{n}");
        }
    }
    assert_eq!(polled.lab.closed().now_or_never(), gave_way());
}

/// A message that no poll has taken waits for its client as well.
#[tokio::test(start_paused = true)]
async fn what_waits_for_a_poll_counts_until_that_takes_it() {
    let polled = poll_by(&at_most(10 * MB));
    let lab = polled.lab.clone();
    let mut sessions = Vec::new();
    for n in 0..4 {
        let token = polled.open().await;
        let (_, outbox) = lab.connected().await;
        outbox.frame(Frame::text("7".repeat(4 * MB)));
        settle().await;
        if n == 0 {
            polled.poll(&token).await;
            settle().await;
        }
        if n < 3 {
            assert!(lab.nothing_closed(), "{n}");
        }
        sessions.push(token);
    }
    assert_eq!(lab.closed().now_or_never(), gave_way());
}
