//! Clients that ask for large answers, or are sent them, and read none.

use futures::FutureExt;
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
    poller::Polled,
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

/// A message that no poll has taken waits for its client as well.
#[tokio::test(start_paused = true)]
async fn what_waits_for_a_poll_counts_until_that_takes_it() {
    let lab = Lab::new();
    let polling = LongPolling::new(&PubSub::local()).unwrap();
    let connections = at_most(10 * MB);
    let config = HttpConfig::default()
        .with_mount("/socket")
        .with_connections(&connections)
        .with_long_polling(&polling);
    let service = HttpService::with_config(lab.clone(), config);
    let polled = Polled {
        lab: lab.clone(),
        service,
        polling,
    };
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
