//! Clients that begin messages and do not end them, and those that send frames that are none of a message.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use futures::{FutureExt, StreamExt};
use matryoshka_transport::{
    CloseCode, CloseReason, Connection, ConnectionLimits, Connections, Frame, Limits, WebSocket,
    WebSocketConfig,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::yield_now,
    time::{Instant, advance, interval},
};

use crate::{
    lab::Lab,
    log::Lines,
    websocket::{FIN_BINARY, FIN_PING, masked, raw, read_close},
};

const FIN_PONG: u8 = 0x8a;
const FIN_CLOSE: u8 = 0x88;

/// From here on a message is large.
const LARGE: usize = 64 * 1024;

/// Between two bytes of a client that takes its time.
const A_WHILE: Duration = Duration::from_secs(30);

/// The first bytes of a message that has twice as many.
fn half(bytes: usize) -> Vec<u8> {
    let mut frame = masked(FIN_BINARY, &vec![7; 2 * bytes]);
    frame.truncate(frame.len() - bytes);
    frame
}

async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

async fn connect(lab: &Lab, connections: &Connections) -> DuplexStream {
    let client = raw(lab, connections, WebSocketConfig::default(), 1 << 20).await;
    lab.connected().await;
    client
}

/// A byte now and then, until the session ends.
async fn trickle(lab: &Lab, client: &mut DuplexStream) -> CloseReason {
    let mut often = interval(A_WHILE);
    for _ in 0..100 {
        tokio::select! {
            biased;
            reason = lab.closed() => return reason,
            _ = often.tick() => client.write_all(&[7]).await.unwrap(),
        }
    }
    panic!("it may go on for ever");
}

#[tokio::test(start_paused = true)]
async fn a_large_message_has_to_be_whole_in_time_however_often_a_byte_comes() {
    let (lab, connections) = (Lab::new(), Connections::new());
    let mut client = connect(&lab, &connections).await;
    let lines = Lines::collect();
    client.write_all(&half(LARGE + 1)).await.unwrap();
    let start = Instant::now();
    let closed = trickle(&lab, &mut client).await;
    assert_eq!(closed, CloseReason::Closed(CloseCode::POLICY.into()));
    let limit = Limits::default().message_timeout;
    assert_eq!(start.elapsed().as_secs(), limit.as_secs());
    assert_eq!(read_close(&mut client).await, CloseCode::POLICY.0);
    assert_eq!(connections.stats().closed_unfinished, 1);
    let lines = lines.take();
    assert!(lines[0].contains("Limits::message_timeout"), "{lines:?}");
    drop(client);
    connections.closed().await;
}

/// No such frame may be as large, but that is found out when it is whole.
#[tokio::test(start_paused = true)]
async fn a_large_ping_or_close_has_to_be_whole_in_time_too() {
    for first in [FIN_PING, FIN_CLOSE] {
        let (lab, connections) = (Lab::new(), Connections::new());
        let mut client = connect(&lab, &connections).await;
        let mut frame = masked(first, &vec![7; 2 * LARGE + 2]);
        frame.truncate(frame.len() - LARGE - 1);
        client.write_all(&frame).await.unwrap();
        let closed = trickle(&lab, &mut client).await;
        assert_eq!(closed, CloseReason::Closed(CloseCode::POLICY.into()));
        assert_eq!(connections.stats().closed_unfinished, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_closes_collects_no_large_message_before_the_answer() {
    let (lab, connections) = (Lab::new(), Connections::new());
    let mut client = raw(&lab, &connections, WebSocketConfig::default(), 1 << 20).await;
    let (_, outbox) = lab.connected().await;
    outbox.close(CloseCode::RESTART.into());
    lab.closed().await;
    settle().await;
    let start = Instant::now();
    client.write_all(&half(2 * LARGE)).await.unwrap();
    assert_eq!(read_close(&mut client).await, CloseCode::RESTART.0);
    assert_eq!(start.elapsed(), Duration::ZERO, "the stream ends behind it");
}

#[tokio::test(start_paused = true)]
async fn a_limit_shorter_than_the_idle_timeout_strikes_in_time() {
    let limits = Limits::default().with_message_timeout(Duration::from_secs(7));
    let lab = Lab::new();
    let mut client = crate::websocket::raw_with(&lab, &Connections::new(), limits, 1 << 20).await;
    lab.connected().await;
    client.write_all(&half(LARGE + 1)).await.unwrap();
    let start = Instant::now();
    let closed = lab.closed().await;
    assert_eq!(closed, CloseReason::Closed(CloseCode::POLICY.into()));
    assert_eq!(start.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_large_may_take_as_long_as_bytes_come() {
    let (lab, connections) = (Lab::new(), Connections::new());
    let mut client = connect(&lab, &connections).await;
    client.write_all(&half(LARGE - 100)).await.unwrap();
    let mut often = interval(A_WHILE);
    for _ in 0..20 {
        often.tick().await;
        client.write_all(&[7]).await.unwrap();
    }
    assert!(lab.nothing_closed());
}

#[tokio::test(start_paused = true)]
async fn time_in_which_the_session_is_busy_does_not_count() {
    let (lab, connections) = (Lab::new(), Connections::new());
    let mut client = connect(&lab, &connections).await;
    client.write_all(&half(LARGE + 1)).await.unwrap();
    settle().await;
    lab.gate.shut();
    client.write_all(&[7]).await.unwrap();
    settle().await;
    let busy = Limits::default().idle_timeout - Duration::from_secs(10);
    let start = Instant::now();
    tokio::time::advance(busy).await;
    lab.gate.open();
    trickle(&lab, &mut client).await;
    let limit = busy + Limits::default().message_timeout;
    assert_eq!(start.elapsed().as_secs(), limit.as_secs());
}

/// Once it is whole its session would keep it.
#[tokio::test(start_paused = true)]
async fn a_large_message_is_not_read_on_while_sessions_keep_too_much() {
    const MB: usize = 1 << 20;
    let limits = ConnectionLimits::default().with_max_unhandled_bytes(Some(MB));
    let (lab, connections) = (Lab::new(), Connections::with_limits(limits));
    let config = WebSocketConfig::default();
    let mut client = raw(&lab, &connections, config, MB).await;
    let (info, _) = lab.connected().await;
    // What came before it and waits.
    info.unhandled.change(0, 2 * MB);
    let message = masked(FIN_BINARY, &vec![7; 4 * MB]);
    let mut written = 0;
    while written < message.len()
        && let Some(count) = client.write(&message[written..]).now_or_never()
    {
        written += count.unwrap();
        settle().await;
    }
    // Its network is full, and little was read before it was known that the message is large.
    assert!((MB..2 * MB).contains(&written), "{written}");
    advance(Duration::from_secs(50)).await;
    info.unhandled.change(2 * MB, 0);
    client.write_all(&message[written..]).await.unwrap();
    settle().await;
    assert_eq!(lab.gate.handled.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_limit_shorter_than_the_idle_timeout_does_not_strike_while_the_session_is_busy() {
    let limits = Limits::default().with_message_timeout(Duration::from_secs(7));
    let lab = Lab::new();
    let mut client = crate::websocket::raw_with(&lab, &Connections::new(), limits, 1 << 20).await;
    lab.connected().await;
    client.write_all(&half(LARGE + 1)).await.unwrap();
    settle().await;
    lab.gate.shut();
    client.write_all(&[7]).await.unwrap();
    settle().await;
    for _ in 0..20 {
        tokio::time::advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert!(lab.nothing_closed());
    lab.gate.open();
    let start = Instant::now();
    let closed = lab.closed().await;
    assert_eq!(closed, CloseReason::Closed(CloseCode::POLICY.into()));
    assert_eq!(start.elapsed().as_secs(), 7);
}

/// And no more than that: what is kept waiting for a moment does not begin anew.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_busy_for_a_moment_gives_no_more_than_that_moment() {
    let (lab, connections) = (Lab::new(), Connections::new());
    let mut client = connect(&lab, &connections).await;
    let start = Instant::now();
    client.write_all(&half(LARGE + 1)).await.unwrap();
    let limit = Limits::default().message_timeout;
    let moment = Duration::from_millis(1);
    for _ in 0..3 {
        settle().await;
        tokio::time::advance(limit / 4).await;
        lab.gate.shut();
        client.write_all(&[7]).await.unwrap();
        settle().await;
        tokio::time::advance(moment).await;
        lab.gate.open();
        client.write_all(&[7]).await.unwrap();
    }
    let closed = trickle(&lab, &mut client).await;
    assert_eq!(closed, CloseReason::Closed(CloseCode::POLICY.into()));
    let (took, all) = (start.elapsed(), limit + 3 * moment);
    assert!((all..all + 5 * moment).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn of_large_messages_that_hold_too_much_the_one_that_stopped_first_gives_way_and_the_others_arrive()
 {
    const EACH: usize = 6 * LARGE;
    const REST: usize = 100;
    let limits = ConnectionLimits::default().with_max_unfinished_bytes(Some(13 * LARGE));
    let (lab, connections) = (Lab::new(), Connections::with_limits(limits));
    let lines = Lines::collect();
    let mut clients = Vec::new();
    for _ in 0..3 {
        assert!(lab.nothing_closed());
        let mut client = connect(&lab, &connections).await;
        let mut begun = masked(FIN_BINARY, &vec![7; EACH + REST]);
        begun.truncate(begun.len() - REST);
        client.write_all(&begun).await.unwrap();
        settle().await;
        clients.push(client);
    }
    let start = Instant::now();
    let reason = lab.closed().now_or_never();
    let try_again = CloseReason::Closed(CloseCode::TRY_AGAIN.into());
    assert_eq!(reason, Some(try_again));
    // It need not send the rest of its message to be told.
    let code = read_close(&mut clients.remove(0)).await;
    assert_eq!(
        (code, start.elapsed()),
        (CloseCode::TRY_AGAIN.0, Duration::ZERO)
    );
    assert_eq!(connections.stats().closed_unfinished, 1);
    let lines = lines.take();
    assert!(lines[0].contains("max_unfinished_bytes"), "{lines:?}");

    for client in &mut clients {
        // As it is masked.
        let message = masked(FIN_BINARY, &vec![7; EACH + REST]);
        client
            .write_all(&message[message.len() - REST..])
            .await
            .unwrap();
        let mut echo = vec![0; 10 + EACH + REST];
        client.read_exact(&mut echo).await.unwrap();
        assert!(echo[10..] == vec![7; EACH + REST]);
    }
    // What is whole takes nothing any more.
    let mut client = connect(&lab, &connections).await;
    client
        .write_all(&masked(FIN_BINARY, &vec![7; 12 * LARGE]))
        .await
        .unwrap();
    client
        .read_exact(&mut vec![0; 10 + 12 * LARGE])
        .await
        .unwrap();
    assert!(lab.nothing_closed());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_large_messages_ends_none_that_holds_less_than_its_share() {
    let limits = ConnectionLimits::default().with_max_unfinished_bytes(Some(40 * LARGE));
    let (lab, connections) = (Lab::new(), Connections::with_limits(limits));
    let mut other = connect(&lab, &connections).await;
    other.write_all(&half(2 * LARGE)).await.unwrap();
    settle().await;
    let mut flood = Vec::new();
    for _ in 0..6 {
        let mut client = connect(&lab, &connections).await;
        client.write_all(&half(12 * LARGE)).await.unwrap();
        settle().await;
        flood.push(client);
    }
    assert_eq!(connections.stats().closed_unfinished, 3);
    other.write_all(&vec![7; 2 * LARGE]).await.unwrap();
    let mut echo = vec![0; 10 + 4 * LARGE];
    other.read_exact(&mut echo).await.unwrap();
    assert!(echo[10..] == vec![7; 4 * LARGE]);
}

#[tokio::test(start_paused = true)]
async fn pings_pongs_and_small_pieces_count_as_messages_do() {
    let piece = masked(0x00, &[7; 1_023]);
    for (name, first, frame) in [
        ("pings", masked(FIN_PING, b"x"), masked(FIN_PING, b"x")),
        ("pongs", masked(FIN_PONG, b""), masked(FIN_PONG, b"")),
        ("pieces", masked(0x02, b""), masked(0x00, b"")),
        ("larger pieces", masked(0x02, b""), piece),
    ] {
        let (lab, connections) = (Lab::new(), Connections::new());
        let client = raw(&lab, &connections, WebSocketConfig::default(), 1 << 22).await;
        let (mut incoming, mut outgoing) = tokio::io::split(client);
        lab.connected().await;
        let most = Limits::default().inbound.unwrap().at_once() as usize;
        let frames = frame.repeat(most - 1);
        outgoing.write_all(&[first, frames].concat()).await.unwrap();
        for _ in 0..10 {
            settle().await;
        }
        assert!(lab.nothing_closed(), "{name}");
        outgoing.write_all(&frame).await.unwrap();
        let closed = lab.closed().await;
        assert_eq!(
            closed,
            CloseReason::Closed(CloseCode::POLICY.into()),
            "{name}"
        );
        assert_eq!(connections.stats().closed_inbound, 1, "{name}");
        let mut said = Vec::new();
        outgoing.write_all(&masked(0x88, b"")).await.unwrap();
        outgoing.shutdown().await.unwrap();
        incoming.read_to_end(&mut said).await.unwrap();
        assert!(said.ends_with(&[0x88, 2, 0x03, 0xf0]), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_message_may_come_in_many_pieces() {
    let (lab, connections) = (Lab::new(), Connections::new());
    let mut client = connect(&lab, &connections).await;
    let pieces = [
        masked(0x02, &[7; 1_024]),
        masked(0x00, &[7; 1_024]).repeat(4_000),
        masked(0x80, &[7; 1_024]),
    ];
    let whole = 4_002 * 1_024;
    client.write_all(&pieces.concat()).await.unwrap();
    client.read_exact(&mut vec![0; 10 + whole]).await.unwrap();
    assert_eq!(connections.stats().closed_inbound, 0);
}

#[tokio::test(start_paused = true)]
async fn frames_without_end_leave_others_their_turn_and_what_is_behind_them_arrives() {
    for (name, frame) in [
        ("pings", masked(FIN_PING, b"")),
        ("pongs", masked(FIN_PONG, b"")),
        ("pieces", masked(0x00, b"")),
    ] {
        let (mut client, server) = duplex(1 << 20);
        let mut server = WebSocket::accept(server, &WebSocketConfig::default());
        let many = 10_000;
        client.write_all(&masked(0x02, b"a")).await.unwrap();
        client.write_all(&frame.repeat(many)).await.unwrap();
        assert!(server.next().now_or_never().is_none());
        let read = server.take_small_frames() as usize;
        assert!((64..200).contains(&read), "{read} {name}");
        client.write_all(&masked(0x80, b"b")).await.unwrap();
        let message = server.next().await.unwrap().unwrap();
        assert_eq!(message, Frame::binary(&b"ab"[..]), "{name}");
    }
}
