//! The WebSocket itself: frames, limits and close codes, over an in-memory byte stream.

use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt};
use matryoshka_transport::{
    CloseCode, CloseReason, Connections, Frame, HttpService, Limits, MAX_OUTGOING_BYTES, Outgoing,
    Pushed, ReadError, Transport, WebSocket, WebSocketConfig,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
    time::{Instant, advance, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use crate::{
    custom::Given,
    lab::{Lab, info},
    log::Lines,
};

const FIN_TEXT: u8 = 0x81;
pub(crate) const FIN_BINARY: u8 = 0x82;
pub(crate) const FIN_PING: u8 = 0x89;

/// A lab session behind a WebSocket, and the client's end of its bytes.
pub(crate) async fn raw(
    lab: &Lab,
    connections: &Connections,
    config: WebSocketConfig,
    pipe_bytes: usize,
) -> DuplexStream {
    let (client, server) = duplex(pipe_bytes);
    serve(
        lab,
        connections,
        Limits::default(),
        WebSocket::accept(server, &config),
    );
    client
}

/// The same with other limits of the connection.
pub(crate) async fn raw_with(
    lab: &Lab,
    connections: &Connections,
    limits: Limits,
    pipe_bytes: usize,
) -> DuplexStream {
    let (client, server) = duplex(pipe_bytes);
    let websocket = WebSocket::accept(server, &WebSocketConfig::default());
    serve(lab, connections, limits, websocket);
    client
}

fn serve(lab: &Lab, connections: &Connections, limits: Limits, websocket: WebSocket<DuplexStream>) {
    let (give, given) = mpsc::channel(1);
    give.try_send((info(""), websocket))
        .unwrap_or_else(|_| panic!("room for one"));
    tokio::spawn(Given(given).serve_with(lab.clone(), limits, connections.clone()));
}

async fn connect(lab: &Lab) -> WebSocketStream<DuplexStream> {
    let stream = raw(
        lab,
        &Connections::new(),
        WebSocketConfig::default(),
        1 << 16,
    )
    .await;
    WebSocketStream::from_raw_socket(stream, Role::Client, None).await
}

/// A client's frame, masked with zeros.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Reads up to the server's close frame and to the end of the stream; the code.
pub(crate) async fn read_close(stream: &mut DuplexStream) -> u16 {
    loop {
        let (first, len) = (
            stream.read_u8().await.unwrap(),
            stream.read_u8().await.unwrap(),
        );
        let mut payload = vec![0; usize::from(len)];
        stream.read_exact(&mut payload).await.unwrap();
        if first == 0x88 {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            assert!(rest.is_empty(), "bytes after the close frame");
            assert_eq!(payload.len(), 2, "the reason is empty");
            return u16::from_be_bytes([payload[0], payload[1]]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_of_every_size_come_back_unchanged() {
    let mut client = connect(&Lab::new()).await;
    for size in [0, 1, 125, 126, 4_095, 4_096, 4_097, 65_535, 65_536, 300_000] {
        let text = "é".repeat(size / 2);
        client.send(Message::text(text.clone())).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::text(text));
        let bytes: Vec<u8> = (0..size).map(|at| at as u8).collect();
        client.send(Message::binary(bytes.clone())).await.unwrap();
        assert_eq!(
            client.next().await.unwrap().unwrap(),
            Message::binary(bytes)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn fragments_with_a_ping_between_them_are_one_message() {
    let mut client = raw(
        &Lab::new(),
        &Connections::new(),
        WebSocketConfig::default(),
        1_024,
    )
    .await;
    let frames = [
        masked(0x01, b"ab"),
        masked(FIN_PING, b"?"),
        masked(0x00, b""),
        masked(0x80, b"cd"),
    ];
    client.write_all(&frames.concat()).await.unwrap();
    let mut answer = [0; 9];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [0x8a, 1, b'?', 0x81, 4, b'a', b'b', b'c', b'd']);
}

/// The payload of a close frame.
fn closing(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

#[tokio::test(start_paused = true)]
async fn a_clients_close_is_answered_with_its_code_if_it_may_say_it_and_never_with_a_reason() {
    let same = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3001, 4999, 5000,
    ];
    let other = [0, 999, 1004, 1005, 1006, 1012, 1013, 1014, 1015, 2999];
    let rows = same.map(|code| (code, code)).into_iter();
    let rows = rows.chain(other.map(|code| (code, 1002)));
    for (code, answer) in rows {
        for reason in ["", "gone to lunch"] {
            let lab = Lab::new();
            let config = WebSocketConfig::default();
            let mut client = raw(&lab, &Connections::new(), config, 1_024).await;
            // What is no close before it is none, and what is behind it is nothing.
            let frames = [
                masked(0x8a, &closing(4000, "a pong")),
                masked(0x88, &closing(code, reason)),
                masked(0x88, &closing(4001, "twice")),
            ];
            client.write_all(&frames.concat()).await.unwrap();
            assert_eq!(read_close(&mut client).await, answer, "{code} {reason}");
            let told = CloseReason::Client(Some(CloseCode(code)));
            assert_eq!(lab.closed().await, told);
        }
    }
    let lab = Lab::new();
    let mut client = connect(&lab).await;
    client.close(None).await.unwrap();
    let answer = client.next().await.unwrap().unwrap();
    assert_eq!(answer, Message::Close(None));
    assert!(client.next().await.is_none());
    assert_eq!(lab.closed().await, CloseReason::Client(None));
}

#[tokio::test(start_paused = true)]
async fn a_close_frame_that_is_broken_is_a_breach() {
    for (name, frame, code) in [
        ("half a code", masked(0x88, b"\x03"), CloseCode::PROTOCOL),
        (
            "a reason that is not UTF-8",
            masked(0x88, b"\x03\xe8\xff"),
            CloseCode::INVALID_UTF8,
        ),
        (
            "a fragment",
            masked(0x08, &closing(1000, "")),
            CloseCode::PROTOCOL,
        ),
        (
            "a reserved bit",
            masked(0xc8, &closing(1000, "")),
            CloseCode::PROTOCOL,
        ),
        ("unmasked", vec![0x88, 0], CloseCode::PROTOCOL),
        (
            "too long",
            masked(0x88, &closing(1000, &"x".repeat(124))),
            CloseCode::PROTOCOL,
        ),
    ] {
        let lab = Lab::new();
        let config = WebSocketConfig::default();
        let mut client = raw(&lab, &Connections::new(), config, 1_024).await;
        client.write_all(&frame).await.unwrap();
        assert_eq!(read_close(&mut client).await, code.0, "{name}");
        assert_eq!(
            lab.closed().await,
            CloseReason::Closed(code.into()),
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_written_before_the_answer_to_a_close() {
    let (mut client, server) = duplex(1 << 10);
    let mut server = WebSocket::accept(server, &WebSocketConfig::default());
    server
        .feed(Outgoing::Frame(Frame::text("before")))
        .await
        .unwrap();
    client
        .write_all(&masked(0x88, &closing(1001, "bye")))
        .await
        .unwrap();
    let closed = server.next().await.unwrap();
    assert!(matches!(
        closed,
        Err(ReadError::Closed(Some(CloseCode(1001))))
    ));
    client.shutdown().await.unwrap();
    server.close().await.unwrap();
    drop(server);
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"\x81\x06before\x88\x02\x03\xe9");
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_cannot_be_written_closes_with_1011_and_is_counted() {
    let (lab, connections) = (Lab::new(), Connections::new());
    let mut client = raw(&lab, &connections, WebSocketConfig::default(), 1_024).await;
    let (_, outbox) = lab.connected().await;
    let bytes = MAX_OUTGOING_BYTES + 64 * 1024;
    let lines = Lines::collect();
    outbox.frame(Frame::binary(vec![0; bytes]));
    assert_eq!(read_close(&mut client).await, CloseCode::INTERNAL.0);
    let closed = lab.closed().await;
    assert_eq!(closed, CloseReason::Closed(CloseCode::INTERNAL.into()));
    assert_eq!(connections.stats().closed_unwritable, 1);
    let lines = lines.take();
    assert!(lines[0].contains("MAX_OUTGOING_BYTES"), "{lines:?}");
    assert!(lines[0].contains(&format!("bytes={bytes} ")), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn breaches_close_with_their_code() {
    let limit = WebSocketConfig::default().max_message_bytes;
    let part = vec![b'x'; limit / 2 + 1];
    let rows = [
        (
            "invalid UTF-8",
            masked(FIN_TEXT, b"\xff"),
            CloseCode::INVALID_UTF8,
        ),
        ("reserved bit", masked(0xc1, b""), CloseCode::PROTOCOL),
        ("unknown opcode", masked(0x83, b""), CloseCode::PROTOCOL),
        (
            "unmasked frame",
            vec![FIN_TEXT, 1, b'x'],
            CloseCode::PROTOCOL,
        ),
        (
            "stray continuation",
            masked(0x80, b"x"),
            CloseCode::PROTOCOL,
        ),
        ("fragmented ping", masked(0x09, b"x"), CloseCode::PROTOCOL),
        (
            "frame too large",
            masked(FIN_BINARY, &vec![0; limit + 1]),
            CloseCode::TOO_BIG,
        ),
        (
            "fragments too large",
            [masked(0x02, &part), masked(0x80, &part)].concat(),
            CloseCode::TOO_BIG,
        ),
    ];
    for (name, bytes, code) in rows {
        let lab = Lab::new();
        let connections = Connections::new();
        let stream = raw(&lab, &connections, WebSocketConfig::default(), 1 << 16).await;
        let (mut incoming, mut outgoing) = tokio::io::split(stream);
        let writing = tokio::spawn(async move {
            // All of it is taken, so that no reset overtakes the close frame.
            outgoing
                .write_all(&masked(FIN_TEXT, b"before"))
                .await
                .unwrap();
            outgoing.write_all(&bytes).await.unwrap();
            outgoing
        });
        let mut answer = vec![0; 8];
        incoming.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"\x81\x06before", "{name}");
        let outgoing = writing.await.unwrap();
        let mut stream = incoming.unsplit(outgoing);
        assert_eq!(read_close(&mut stream).await, code.0, "{name}");
        assert_eq!(
            lab.closed().await,
            CloseReason::Closed(code.into()),
            "{name}"
        );
        drop(stream);
        connections.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_of_exactly_the_limit_is_taken() {
    let config = HttpService::new(Lab::new()).config().websocket.clone();
    assert_eq!(config.max_message_bytes, 8_000_000);
    let mut client = connect(&Lab::new()).await;
    let largest = vec![1; config.max_message_bytes];
    let (mut sink, mut stream) = (&mut client).split();
    let message = Message::binary(largest.clone());
    let (sent, answer) = tokio::join!(sink.send(message), stream.next());
    sent.unwrap();
    assert_eq!(answer.unwrap().unwrap().into_data().len(), largest.len());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_closes_waits_for_the_answer_but_not_for_ever() {
    let lab = Lab::new();
    let connections = Connections::new();
    let mut client = raw(&lab, &connections, WebSocketConfig::default(), 1_024).await;
    lab.connected().await.1.close(CloseCode::RESTART.into());
    let start = Instant::now();
    let mut close = [0; 4];
    client.read_exact(&mut close).await.unwrap();
    assert_eq!(close, [0x88, 2, 0x03, 0xf4]);
    assert_eq!(
        lab.closed().await,
        CloseReason::Closed(CloseCode::RESTART.into())
    );
    assert_eq!(start.elapsed(), Duration::ZERO, "the session need not wait");
    assert_eq!(connections.count(), 1);
    connections.closed().await;
    assert_eq!(start.elapsed(), Limits::default().close_timeout);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_closes_is_gone_once_the_client_answers() {
    let lab = Lab::new();
    let connections = Connections::new();
    let stream = raw(&lab, &connections, WebSocketConfig::default(), 1_024).await;
    let mut client = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    let start = Instant::now();
    lab.connected().await.1.close(CloseCode::GOING_AWAY.into());
    let Some(Ok(Message::Close(Some(close)))) = client.next().await else {
        panic!("no close frame")
    };
    assert_eq!(u16::from(close.code), 1001);
    assert!(client.next().await.is_none());
    drop(client);
    connections.closed().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_pings_and_never_reads_is_not_read_any_further() {
    let lab = Lab::new();
    let config = WebSocketConfig::default();
    let mut client = raw(&lab, &Connections::new(), config, 4 * 1024).await;
    let ping = masked(FIN_PING, &[0; 125]);
    let mut taken = 0;
    let write = Duration::from_secs(1);
    while timeout(write, client.write_all(&ping)).await.is_ok() {
        taken += 1;
        assert!(
            taken < 1_000,
            "each ping's answer is kept for a client that reads none"
        );
    }
    assert!(taken > 0);
}

#[tokio::test]
async fn what_a_client_does_not_read_is_not_collected_without_end() {
    let (_client, server) = duplex(64);
    let mut websocket = WebSocket::accept(server, &WebSocketConfig::default());
    let mut collected = 0;
    let frame = || Outgoing::Frame(Frame::binary(vec![0; 1000]));
    while let Some(fed) = websocket.feed(frame()).now_or_never() {
        fed.unwrap();
        collected += 1;
        assert!(collected < 100);
    }
    assert_eq!(collected, 5, "the first number of them over 4 KiB");
}

/// In so busy a turn the runtime turns everything away, the idle clock too.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_silent_after_a_burst_is_idle_in_time() {
    let connections = Connections::new();
    let config = WebSocketConfig::default();
    let mut client = raw(&Lab::new(), &connections, config, 1 << 21).await;
    let burst = masked(FIN_BINARY, &[0; 4096]).repeat(200);
    client.write_all(&burst).await.unwrap();
    let mut answers = Vec::new();
    let end = client.read_to_end(&mut answers);
    let in_time = Limits::default().idle_timeout * 2;
    timeout(in_time, end).await.expect("its end").unwrap();
    assert!(answers.len() > 200 * 4096);
    assert_eq!(connections.stats().closed_idle, 1);
}

#[tokio::test(start_paused = true)]
async fn pings_and_bytes_of_unfinished_frames_keep_the_client_from_being_idle() {
    let lab = Lab::new();
    let mut client = raw(&lab, &Connections::new(), WebSocketConfig::default(), 1_024).await;
    lab.connected().await;
    tokio::task::yield_now().await;
    let start = Instant::now();
    advance(Duration::from_secs(50)).await;
    client.write_all(&masked(FIN_PING, b"")).await.unwrap();
    let mut pong = [0; 2];
    client.read_exact(&mut pong).await.unwrap();
    assert_eq!(pong, [0x8a, 0]);
    advance(Duration::from_secs(50)).await;
    client
        .write_all(&masked(FIN_TEXT, b"half of it")[..8])
        .await
        .unwrap();
    tokio::task::yield_now().await;
    assert_eq!(read_close(&mut client).await, CloseCode::GOING_AWAY.0);
    let silent = start.elapsed() - Limits::default().close_timeout;
    assert_eq!(silent.as_secs(), 50 + 50 + 60);
    assert_eq!(lab.closed().await, CloseReason::Idle);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_overflows_its_outbox_and_finds_1008_at_the_end() {
    let lab = Lab::new();
    let connections = Connections::new();
    let stream = raw(&lab, &connections, WebSocketConfig::default(), 256).await;
    let (_, outbox) = lab.connected().await;
    let limits = Limits::default();
    let mut pushed = 0;
    while outbox.frame(Frame::binary(vec![0; 10_000])) == Pushed::Queued {
        pushed += 1;
        tokio::task::yield_now().await;
    }
    assert!(
        (pushed * 10_000) <= limits.outbox_bytes + 100_000,
        "{pushed} frames were taken"
    );
    assert_eq!(
        lab.closed().await,
        CloseReason::Closed(CloseCode::POLICY.into())
    );

    let mut client = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    let mut last = None;
    while let Some(Ok(message)) = client.next().await {
        last = Some(message);
    }
    let Some(Message::Close(Some(close))) = last else {
        panic!("no close frame but {last:?}")
    };
    assert_eq!(u16::from(close.code), 1008);
    drop(client);
    connections.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_again_is_dropped_after_the_close_timeout() {
    let lab = Lab::new();
    let connections = Connections::new();
    let stream = raw(&lab, &connections, WebSocketConfig::default(), 256).await;
    let (_, outbox) = lab.connected().await;
    while outbox.frame(Frame::binary(vec![0; 10_000])) == Pushed::Queued {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    connections.closed().await;
    assert_eq!(start.elapsed(), Limits::default().close_timeout);
    drop(stream);
}
