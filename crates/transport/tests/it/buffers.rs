//! What a WebSocket does with the buffers of large messages: they are given back, and nothing that was in them is lost.

use std::iter;

use futures::{FutureExt, SinkExt, StreamExt};
use matryoshka_transport::{
    Close, CloseCode, Connection, Connections, Frame, Outgoing, WebSocket, WebSocketConfig,
    bytes::Bytes,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::yield_now,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use crate::{
    lab::Lab,
    websocket::{FIN_BINARY, FIN_PING, masked, raw},
};

/// More than a connection keeps.
const LARGE: usize = 100_000;

fn pair(config: &WebSocketConfig) -> (DuplexStream, WebSocket<DuplexStream>) {
    let (client, server) = duplex(1 << 20);
    (client, WebSocket::accept(server, config))
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_behind_large_messages_wherever_the_bytes_are_cut() {
    let said = [
        vec![b'a'; LARGE],
        vec![b'b'; 200],
        vec![b'c'; 70_000],
        vec![b'd'; 300_000],
        vec![b'e'; 3],
        vec![b'f'; 90_000],
    ];
    let [large, small, begin, end, short, last] = &said;
    let frames = [
        masked(FIN_BINARY, large),
        masked(FIN_BINARY, small),
        masked(0x02, begin),
        masked(FIN_PING, b"between"),
        masked(0x80, end),
        masked(FIN_BINARY, short),
        masked(FIN_BINARY, last),
    ];
    let whole = [&begin[..], end].concat();
    let expected = [large, small, &whole, short, last];
    let size = frames[0].len();
    // What is written at once ends between messages, within a header, within a payload, and between fragments.
    let cuts = [
        vec![size],
        vec![size + 1, 5, 30_000],
        vec![size - 1, 2, 99_999],
        vec![size + frames[1].len() + frames[2].len(), 1_000],
        vec![7],
    ];
    for cuts in cuts {
        let config = WebSocketConfig::default();
        let mut stream = raw(&Lab::new(), &Connections::new(), config, 1 << 20).await;
        let bytes = frames.concat();
        let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            stream.write_all(now).await.unwrap();
            for _ in 0..5 {
                yield_now().await;
            }
            rest = later;
        }
        let mut client = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        for expected in expected {
            let heard = loop {
                match client.next().await.unwrap().unwrap() {
                    Message::Pong(payload) => assert_eq!(&payload[..], b"between"),
                    message => break message.into_data(),
                }
            };
            assert!(heard == expected[..], "{} bytes", expected.len());
        }
    }
}

#[tokio::test]
async fn a_flush_loses_nothing_that_was_read_already() {
    let (mut client, mut server) = pair(&WebSocketConfig::default());
    let frames = [
        masked(FIN_BINARY, &[0; LARGE]),
        masked(FIN_BINARY, b"short"),
    ];
    client.write_all(&frames.concat()).await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap().len(), LARGE);
    server.flush().await.unwrap();
    let heard = server.next().now_or_never().unwrap().unwrap().unwrap();
    assert_eq!(heard, Frame::binary(&b"short"[..]));
}

#[tokio::test]
async fn what_looks_like_a_frame_within_a_message_is_none_wherever_the_bytes_are_cut() {
    let looks = masked(FIN_BINARY, b"no message");
    let messages = [looks.repeat(2), looks.repeat(20), b"behind".to_vec()];
    let [whole, in_parts, behind] = &messages;
    let (begin, end) = in_parts.split_at(3 * looks.len());
    let bytes = [
        masked(FIN_BINARY, whole),
        masked(0x02, begin),
        masked(0x80, end),
        masked(FIN_BINARY, behind),
    ]
    .concat();
    for cut in 1..bytes.len() {
        let (mut client, mut server) = pair(&WebSocketConfig::default());
        let mut heard = Vec::new();
        for piece in [&bytes[..cut], &bytes[cut..]] {
            client.write_all(piece).await.unwrap();
            while let Some(next) = server.next().now_or_never() {
                heard.push(next.unwrap().unwrap().bytes().to_vec());
            }
        }
        assert!(heard == messages, "cut at {cut}");
    }
}

/// Also the closing handshake stays where it was.
#[tokio::test]
async fn a_read_loses_nothing_that_waits_to_be_written() {
    // Room for all of it, so that only the flush writes.
    let mut config = WebSocketConfig::default();
    config.write_buffer_bytes = 1 << 20;
    let (mut client, mut server) = pair(&config);
    let large = Outgoing::Frame(Frame::binary(vec![7; LARGE]));
    server.feed(large).await.unwrap();
    assert!(server.next().now_or_never().is_none());
    let close = Outgoing::Close(Close::new(CloseCode::GOING_AWAY));
    server.send(close).await.unwrap();
    assert!(server.next().now_or_never().is_none());
    let mut written = vec![0; 10 + LARGE + 4];
    client.read_exact(&mut written).await.unwrap();
    assert!(written[10..][..LARGE] == [7; LARGE]);
    assert_eq!(written[10 + LARGE..], [0x88, 2, 0x03, 0xe9]);
    client
        .write_all(&masked(0x88, &[0x03, 0xe9]))
        .await
        .unwrap();
    client.shutdown().await.unwrap();
    server.close().await.unwrap();
    drop(server);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "{rest:?}");
}

/// Kept, it would keep the whole buffer of the large one.
#[tokio::test]
async fn a_small_message_behind_a_large_one_does_not_lie_in_its_buffer() {
    let (mut client, mut server) = pair(&WebSocketConfig::default());
    let small = [5; 2_000];
    for (size, is_copied) in [(2_000, false), (LARGE, true)] {
        let frames = [
            masked(FIN_BINARY, &vec![0; size]),
            masked(FIN_BINARY, &small),
        ];
        client.write_all(&frames.concat()).await.unwrap();
        drop(server.next().await);
        let heard = server.next().await.unwrap().unwrap();
        assert_eq!(heard.bytes()[..], small);
        assert_eq!(heard.bytes().is_unique(), is_copied, "behind {size} bytes");
    }
}

#[tokio::test]
async fn what_was_read_already_comes_without_reading_on_and_then_the_buffer_is_given_back() {
    let (mut client, mut server) = pair(&WebSocketConfig::default());
    let [large, short, later] = [&[7; LARGE][..], b"short", b"later"];
    for message in [large, short] {
        let frame = masked(FIN_BINARY, message);
        client.write_all(&frame).await.unwrap();
    }
    let Frame::Binary(large) = server.next().await.unwrap().unwrap() else {
        panic!("binary");
    };
    client.write_all(&masked(FIN_BINARY, later)).await.unwrap();
    assert!(!large.is_unique());
    let read = iter::from_fn(|| server.next_read()).map(Result::unwrap);
    let read: Vec<_> = read.collect();
    assert!(large.is_unique());
    let rest = [short, later].map(|message| Frame::binary(message.to_vec()));
    assert_eq!(read, rest[..read.len()]);
    for frame in &rest[read.len()..] {
        assert_eq!(server.next().await.unwrap().unwrap(), *frame);
    }
}

#[tokio::test]
async fn a_ping_that_was_read_already_is_answered_all_the_same() {
    let (mut client, mut server) = pair(&WebSocketConfig::default());
    let frames = [
        masked(FIN_BINARY, &[7; LARGE]),
        masked(FIN_PING, b"ping"),
        masked(FIN_BINARY, b"short"),
    ];
    client.write_all(&frames.concat()).await.unwrap();
    server.next().await.unwrap().unwrap();
    let read = server.next_read().transpose().unwrap();
    let next = server.next().now_or_never();
    let next = next.map(|next| next.unwrap().unwrap());
    let short = Some(Frame::binary(&b"short"[..]));
    assert!([read, next].contains(&short));
    let mut pong = [0; 6];
    client.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"\x8a\x04ping");
}

/// Reads the rest of a large frame that is all of sevens, and then so many bytes that came behind it.
async fn read_large(client: &mut DuplexStream, begin: [u8; 100], then: usize) -> Vec<u8> {
    let mut written = vec![0; 10 + LARGE + then];
    written[..100].copy_from_slice(&begin);
    client.read_exact(&mut written[100..]).await.unwrap();
    assert_eq!(written[..2], [FIN_BINARY, 127]);
    assert!(written[10..][..LARGE] == [7; LARGE]);
    written.split_off(10 + LARGE)
}

/// A server that is in the middle of writing a large frame, what that is made of, and what has been read of it. Something could be written.
async fn writing() -> (DuplexStream, WebSocket<DuplexStream>, Bytes, [u8; 100]) {
    let (mut client, server) = duplex(1 << 10);
    let mut server = WebSocket::accept(server, &WebSocketConfig::default());
    let bytes = Bytes::from(vec![7; LARGE]);
    let large = Outgoing::Frame(Frame::binary(bytes.clone()));
    server.feed(large).await.unwrap();
    assert!(server.flush().now_or_never().is_none());
    let mut begin = [0; 100];
    client.read_exact(&mut begin).await.unwrap();
    (client, server, bytes, begin)
}

#[tokio::test]
async fn a_large_frame_is_not_copied_and_let_go_of_when_it_is_written() {
    let (mut client, mut server, bytes, begin) = writing().await;
    assert!(!bytes.is_unique());
    let (flushed, _) = tokio::join!(server.flush(), read_large(&mut client, begin, 0));
    flushed.unwrap();
    assert!(bytes.is_unique());
}

#[tokio::test]
async fn a_ping_in_the_middle_of_a_large_frame_is_answered_behind_it() {
    let (mut client, mut server, _, begin) = writing().await;
    client.write_all(&masked(FIN_PING, b"ping")).await.unwrap();
    assert!(server.next().now_or_never().is_none());
    let (flushed, rest) = tokio::join!(server.flush(), read_large(&mut client, begin, 6));
    flushed.unwrap();
    assert_eq!(rest, b"\x8a\x04ping");
}

#[tokio::test]
async fn a_close_in_the_middle_of_a_large_frame_is_answered_behind_it() {
    let (mut client, mut server, _, begin) = writing().await;
    let goodbye = [0x03, 0xe9];
    client.write_all(&masked(0x88, &goodbye)).await.unwrap();
    assert!(server.next().await.unwrap().is_err());
    let ending = async {
        let rest = read_large(&mut client, begin, 4).await;
        drop(client);
        rest
    };
    let (closed, rest) = tokio::join!(server.close(), ending);
    closed.unwrap();
    assert_eq!(rest, [0x88, 2, 0x03, 0xe9]);
}

#[tokio::test]
async fn nothing_comes_behind_the_answer_to_a_close() {
    let (mut client, mut server) = pair(&WebSocketConfig::default());
    let large = Outgoing::Frame(Frame::binary(vec![7; LARGE]));
    server.feed(large).await.unwrap();
    client.write_all(&masked(0x88, b"")).await.unwrap();
    assert!(server.next().await.unwrap().is_err());
    client.shutdown().await.unwrap();
    server.close().await.unwrap();
    drop(server);
    let mut written = Vec::new();
    client.read_to_end(&mut written).await.unwrap();
    assert_eq!(written, [0x88, 0]);
}
