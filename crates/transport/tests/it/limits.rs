//! Slow readers, busy sessions, silent clients and talkative ones.

use std::{
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    time::Duration,
};

use futures::FutureExt;
use matryoshka_transport::{
    Close, CloseCode, CloseReason, ConnectInfo, Connections, Frame, Handler, LARGE_FRAME_BYTES,
    Limits, OUTPUT_PAUSE_BYTES, Outbox, Outgoing, Output, Pushed, Rate, Rejection, Session,
    Transport, WebSocket, WebSocketConfig, WhenSlow, http::StatusCode, memory::MemoryService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    sync::mpsc,
    task::yield_now,
    time::{Instant, advance, timeout},
};

use crate::{
    custom::Given,
    lab::{Lab, Mail, info},
    log::Lines,
    websocket::{FIN_BINARY, masked, raw, raw_with},
};

const A_SECOND: Duration = Duration::from_secs(1);

async fn settle() {
    for _ in 0..1_000 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_session_is_not_ready_no_further_frame_is_read() {
    let lab = Lab::new();
    let mut client = MemoryService::new(lab.clone())
        .with_capacity(0)
        .connect(info(""))
        .await
        .unwrap();
    lab.gate.shut();
    client.send_text("1").await.unwrap();
    assert!(
        timeout(A_SECOND, client.send_text("2")).await.is_err(),
        "the second frame has no room"
    );
    assert_eq!(lab.gate.handled.load(SeqCst), 0);

    // What others send still goes out.
    lab.connected().await.1.frame(Frame::text("from elsewhere"));
    assert_eq!(
        client.recv_frame().await,
        Some(Frame::text("from elsewhere"))
    );

    lab.gate.open();
    assert_eq!(client.recv_frame().await, Some(Frame::text("1")));
    client.send_text("2").await.unwrap();
    assert_eq!(client.recv_frame().await, Some(Frame::text("2")));
}

#[tokio::test(start_paused = true)]
async fn a_busy_session_does_not_make_its_client_idle() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone());
    let mut client = service.connect(info("")).await.unwrap();
    for n in 0..5 {
        lab.gate.shut();
        client.send_text(n.to_string()).await.unwrap();
        advance(Limits::default().idle_timeout * 9 / 10).await;
        tokio::task::yield_now().await;
        lab.gate.open();
        assert_eq!(client.recv_frame().await, Some(Frame::text(n.to_string())));
    }
    assert!(lab.nothing_closed());
}

/// Else a client that is gone would never be noticed behind a handler that hangs.
#[tokio::test(start_paused = true)]
async fn a_session_that_takes_nothing_for_the_idle_timeout_loses_its_client() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone());
    let mut client = service.connect(info("")).await.unwrap();
    advance(Limits::default().idle_timeout / 2).await;
    lab.gate.shut();
    let start = Instant::now();
    client.send_text("held back").await.unwrap();
    assert_eq!(
        client.recv().await,
        Some(Outgoing::Close(Close::new(CloseCode::GOING_AWAY)))
    );
    assert_eq!(start.elapsed(), Limits::default().idle_timeout);
    assert_eq!(lab.closed().await, CloseReason::Idle);
    assert_eq!(service.connections().stats().closed_idle, 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_closed_with_1001_whatever_it_is_sent() {
    let lab = Lab::new();
    let mut client = MemoryService::new(lab.clone())
        .connect(info(""))
        .await
        .unwrap();
    let (_, outbox) = lab.connected().await;
    tokio::task::yield_now().await;
    let start = Instant::now();
    advance(Duration::from_secs(59)).await;
    outbox.frame(Frame::text("not from the client"));
    assert_eq!(
        client.recv_frame().await,
        Some(Frame::text("not from the client"))
    );
    assert_eq!(
        client.recv().await,
        Some(Outgoing::Close(Close::new(CloseCode::GOING_AWAY)))
    );
    assert_eq!(start.elapsed().as_secs(), 60);
    assert_eq!(lab.closed().await, CloseReason::Idle);
}

/// As after a SIGSTOP, or in a virtual machine that was paused: the timers are over at once, what clients said waits.
#[tokio::test(start_paused = true)]
async fn a_node_that_stood_still_reads_what_waits_before_it_calls_anybody_silent() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone());
    let mut heard = service.connect(info("")).await.unwrap();
    let mut silent = service.connect(info("")).await.unwrap();
    tokio::task::yield_now().await;
    advance(Limits::default().idle_timeout + Duration::from_secs(30)).await;
    let start = Instant::now();
    heard.send_text("said meanwhile").await.unwrap();
    assert_eq!(
        heard.recv_frame().await,
        Some(Frame::text("said meanwhile"))
    );
    assert_eq!(
        silent.recv().await,
        Some(Outgoing::Close(Close::new(CloseCode::GOING_AWAY)))
    );
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert_eq!(service.connections().stats().closed_idle, 1);
}

#[tokio::test(start_paused = true)]
async fn a_frame_from_the_client_restarts_the_idle_clock() {
    let limits = Limits::default().with_idle_timeout(Duration::from_secs(10));
    let mut client = MemoryService::new(Lab::new())
        .with_limits(limits)
        .connect(info(""))
        .await
        .unwrap();
    let start = Instant::now();
    for _ in 0..5 {
        advance(Duration::from_secs(9)).await;
        client.send_text("beat").await.unwrap();
        assert_eq!(client.recv_frame().await, Some(Frame::text("beat")));
    }
    assert_eq!(
        client.recv().await,
        Some(Outgoing::Close(Close::new(CloseCode::GOING_AWAY)))
    );
    assert_eq!(start.elapsed().as_secs(), 5 * 9 + 10);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_loses_its_connection_with_1008_and_nobody_else_does() {
    for (limits, what) in [
        (
            Limits::default()
                .with_outbox_bytes(1_000)
                .with_outbox_items(100_000),
            "bytes",
        ),
        (
            Limits::default()
                .with_outbox_bytes(1_000_000)
                .with_outbox_items(10),
            "items",
        ),
    ] {
        let lab = Lab::new();
        let service = MemoryService::new(lab.clone())
            .with_limits(limits)
            .with_capacity(0);
        let mut slow = service.connect(info("")).await.unwrap();
        let (_, outbox) = lab.connected().await;
        let mut quick = service.connect(info("")).await.unwrap();
        let start = Instant::now();

        let mut pushed = 0;
        while outbox.frame(Frame::binary(vec![0; 100])) == Pushed::Queued {
            pushed += 1;
            assert!(pushed < 20, "no bound on {what}");
            tokio::task::yield_now().await;
        }
        assert_eq!(
            lab.closed().await,
            CloseReason::Closed(CloseCode::POLICY.into()),
            "{what}"
        );
        assert_eq!(outbox.frame(Frame::text("x")), Pushed::Closed);
        assert_eq!(
            start.elapsed(),
            Duration::ZERO,
            "the session is told at once, not when the client reads"
        );

        let mut last = None;
        while let Some(outgoing) = slow.recv().await {
            last = Some(outgoing);
        }
        assert_eq!(last, Some(Outgoing::Close(Close::new(CloseCode::POLICY))));
        quick.send_text("quick").await.unwrap();
        assert_eq!(quick.recv_frame().await, Some(Frame::text("quick")));
        assert_eq!(service.connections().stats().closed_slow, 1, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_names_the_slow_reader_and_there_is_one_a_second() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone())
        .with_limits(
            Limits::default()
                .with_outbox_bytes(1_000)
                .with_outbox_items(10),
        )
        .with_capacity(0);
    let lines = Lines::collect();
    let be_slow = async |query: &str, peer: Option<&str>| {
        let peer = peer.map(|peer| peer.parse().unwrap());
        let connected = service.connect(info(query).with_peer_addr(peer)).await;
        let (_, outbox) = lab.connected().await;
        while outbox.frame(Frame::text("x")) == Pushed::Queued {}
        lab.closed().await;
        drop(connected);
    };
    let anna = "user=user_socket:anna";
    for query in [anna, "user=user_socket:ben", "user=user_socket:carla"] {
        be_slow(query, None).await;
    }
    advance(Duration::from_secs(1)).await;
    be_slow("", Some("192.0.2.7:4711")).await;
    advance(Duration::from_secs(1)).await;
    let long = format!("user={}", "x".repeat(10_000));
    be_slow(&long, None).await;

    let lines = lines.take();
    let [first, second, third] = &lines[..] else {
        panic!("{lines:#?}");
    };
    let says = |line: &str, parts: &[&str]| {
        for part in parts {
            assert!(line.contains(part), "no {part:?} in {line}");
        }
    };
    let slow = "its client reads too slowly";
    says(
        first,
        &[slow, "socket=\"user_socket:anna\" ", "left_out=0 "],
    );
    says(second, &[slow, "peer=192.0.2.7 ", "left_out=2 "]);
    says(third, &[slow, "left_out=0 "]);
    assert!(!second.contains("socket=") && !first.contains("peer="));
    assert!(third.len() < 500, "{third}");
    assert_eq!(service.connections().stats().closed_slow, 5);
}

#[tokio::test(start_paused = true)]
async fn mails_count_against_the_bound_too() {
    let lab = Lab::new();
    let limits = Limits::default()
        .with_outbox_bytes(1_000_000)
        .with_outbox_items(10);
    let service = MemoryService::new(lab.clone())
        .with_limits(limits)
        .with_capacity(0);
    let _slow = service.connect(info("")).await.unwrap();
    let (_, outbox) = lab.connected().await;
    let queued = (0..20)
        .take_while(|_| outbox.mail(Mail::Say("x")) == Pushed::Queued)
        .count();
    assert_eq!(queued, 10, "the outbox holds ten");
    assert_eq!(
        lab.closed().await,
        CloseReason::Closed(CloseCode::POLICY.into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_frame_larger_than_the_bound_fits_into_an_empty_outbox() {
    let lab = Lab::new();
    let limits = Limits::default()
        .with_outbox_bytes(1_000)
        .with_outbox_items(10);
    let mut client = MemoryService::new(lab.clone())
        .with_limits(limits)
        .connect(info(""))
        .await
        .unwrap();
    let (_, outbox) = lab.connected().await;
    assert_eq!(outbox.frame(Frame::binary(vec![0; 50_000])), Pushed::Queued);
    assert_eq!(client.recv_frame().await.unwrap().len(), 50_000);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_answers_is_not_read_and_then_idle() {
    let lab = Lab::new();
    let mut client = MemoryService::new(lab.clone())
        .with_capacity(0)
        .connect(info(""))
        .await
        .unwrap();
    let request = format!("big {}", OUTPUT_PAUSE_BYTES / 2);
    let mut sent = 0;
    while timeout(A_SECOND, client.send_text(request.clone()))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 20, "requests are read without end");
    }
    assert!((3..=6).contains(&sent), "{sent} requests were taken");
    let start = Instant::now();
    assert_eq!(lab.closed().await, CloseReason::Idle);
    assert!(start.elapsed() <= Limits::default().idle_timeout);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_its_answers_late_gets_all_of_them() {
    let service = MemoryService::new(Lab::new()).with_capacity(0);
    let mut client = service.connect(info("")).await.unwrap();
    let request = format!("big {OUTPUT_PAUSE_BYTES}");
    for _ in 0..3 {
        client.send_text(request.clone()).await.unwrap();
    }
    for _ in 0..3 {
        advance(Duration::from_secs(50)).await;
        assert_eq!(client.recv_frame().await.unwrap().len(), OUTPUT_PAUSE_BYTES);
    }
    client.send_text("done").await.unwrap();
    assert_eq!(client.recv_frame().await, Some(Frame::text("done")));
}

#[tokio::test(start_paused = true)]
async fn an_order_to_close_reaches_the_session_of_a_client_that_does_not_read() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone()).with_capacity(0);
    let mut client = service.connect(info("")).await.unwrap();
    let (_, outbox) = lab.connected().await;
    let start = Instant::now();
    for _ in 0..5 {
        outbox.frame(Frame::text("unread"));
    }
    outbox.mail(Mail::Say("unread mail"));
    outbox.close(Close::new(CloseCode::GOING_AWAY));
    assert_eq!(
        lab.closed().await,
        CloseReason::Closed(CloseCode::GOING_AWAY.into())
    );
    assert_eq!(start.elapsed(), Duration::ZERO, "not when the client reads");
    assert_eq!(outbox.frame(Frame::text("too late")), Pushed::Closed);

    for _ in 0..5 {
        assert_eq!(client.recv_frame().await, Some(Frame::text("unread")));
    }
    assert_eq!(client.recv_frame().await, Some(Frame::text("unread mail")));
    assert_eq!(
        client.recv().await,
        Some(Outgoing::Close(Close::new(CloseCode::GOING_AWAY)))
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_cannot_stop_the_idle_clock_by_a_busy_session() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone()).with_capacity(0);
    let mut client = service.connect(info("")).await.unwrap();
    let (_, outbox) = lab.connected().await;
    lab.gate.shut();
    client.send_text("held back").await.unwrap();
    for _ in 0..5 {
        outbox.frame(Frame::text("unread"));
    }
    let start = Instant::now();
    let closed = timeout(Duration::from_secs(3600), lab.closed()).await;
    assert_eq!(closed, Ok(CloseReason::Idle));
    assert_eq!(start.elapsed(), Limits::default().idle_timeout);
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_session_was_busy_does_not_count_once_its_client_reads_nothing() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone()).with_capacity(0);
    let mut client = service.connect(info("")).await.unwrap();
    let (_, outbox) = lab.connected().await;
    lab.gate.shut();
    client.send_text("held back").await.unwrap();
    advance(Limits::default().idle_timeout * 9 / 10).await;
    for n in 0..5 {
        outbox.frame(Frame::text(n.to_string()));
    }
    for n in 0..5 {
        advance(Limits::default().idle_timeout / 2).await;
        assert_eq!(client.recv_frame().await, Some(Frame::text(n.to_string())));
    }
    lab.gate.open();
    assert_eq!(client.recv_frame().await, Some(Frame::text("held back")));
}

#[tokio::test(start_paused = true)]
async fn a_few_large_frames_do_not_make_a_reader_slow() {
    const FOUR_MEGABYTES: usize = 4_000_000;
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone());
    let mut client = service.connect(info("")).await.unwrap();
    let (_, outbox) = lab.connected().await;
    for _ in 0..2 {
        for bytes in [10, FOUR_MEGABYTES, 10, LARGE_FRAME_BYTES] {
            let pushed = outbox.frame(Frame::binary(vec![0; bytes]));
            assert_eq!(pushed, Pushed::Queued);
        }
    }
    for _ in 0..2 {
        for bytes in [10, FOUR_MEGABYTES, 10, LARGE_FRAME_BYTES] {
            assert_eq!(client.recv_frame().await.unwrap().len(), bytes);
        }
    }
    assert!(lab.nothing_closed());
}

/// Over a WebSocket that takes a megabyte a second: as long as it reads, it need not be fast.
#[tokio::test(start_paused = true)]
async fn a_slow_but_steady_reader_gets_four_large_frames_in_a_row_and_is_closed_only_for_more() {
    const FOUR_MEGABYTES: usize = 4_000_000;
    let (lab, connections) = (Lab::new(), Connections::new());
    let mut client = raw(&lab, &connections, WebSocketConfig::default(), 1 << 16).await;
    let (_, outbox) = lab.connected().await;
    let push = || outbox.frame(Frame::binary(vec![0; FOUR_MEGABYTES]));
    let mut read = async |frames: usize| {
        let mut tenth = vec![0; 100_000];
        for _ in 0..frames * FOUR_MEGABYTES / tenth.len() {
            client.read_exact(&mut tenth).await.unwrap();
            advance(Duration::from_millis(100)).await;
        }
    };
    for _ in 0..2 {
        let pushed = [(); 4].map(|()| push());
        assert_eq!(pushed, [Pushed::Queued; 4]);
        read(4).await;
    }
    // One that comes while the one before is on its way never waits behind others.
    for _ in 0..5 {
        assert_eq!(push(), Pushed::Queued);
        read(1).await;
    }
    assert!(lab.nothing_closed());
    let pushed = [(); 6].map(|()| push());
    assert_eq!(pushed[4..], [Pushed::Dropped, Pushed::Closed]);
}

#[tokio::test(start_paused = true)]
async fn whoever_can_wait_waits_for_room_and_closes_nobody() {
    let lab = Lab::new();
    let limits = Limits::default()
        .with_outbox_bytes(1_000)
        .with_outbox_items(100);
    let service = MemoryService::new(lab.clone())
        .with_limits(limits)
        .with_capacity(0);
    let mut client = service.connect(info("")).await.unwrap();
    let (_, outbox) = lab.connected().await;
    let patient = outbox.clone();
    let sending = tokio::spawn(async move {
        for n in 0..100u8 {
            patient.room().await;
            assert_eq!(patient.frame(Frame::binary(vec![n; 100])), Pushed::Queued);
        }
    });
    for n in 0..100u8 {
        advance(Duration::from_millis(10)).await;
        assert_eq!(client.recv_frame().await, Some(Frame::binary(vec![n; 100])));
    }
    sending.await.unwrap();
    while outbox.frame(Frame::binary(vec![0; 400])) == Pushed::Queued {}
    outbox.room().now_or_never().expect("an end is room enough");
}

#[tokio::test(start_paused = true)]
async fn what_may_be_dropped_gives_way_and_is_counted_and_the_rest_arrives() {
    let lab = Lab::new();
    let limits = Limits::default()
        .with_outbox_bytes(1_000)
        .with_outbox_items(100);
    let service = MemoryService::new(lab.clone())
        .with_limits(limits)
        .with_capacity(0);
    let mut client = service.connect(info("")).await.unwrap();
    let (_, outbox) = lab.connected().await;
    outbox.frame(Frame::text("on its way"));
    tokio::task::yield_now().await;
    let text = |name: &str, n: usize| Frame::text(format!("{name} {n} {}", "x".repeat(90)));
    let put = |when_slow, name: &str| {
        let pushed = (0..20).map(|n| outbox.frame_when_slow(text(name, n), when_slow));
        pushed.filter(|pushed| *pushed == Pushed::Queued).count()
    };
    let cursors = put(WhenSlow::Latest(1), "cursor");
    let typing = put(WhenSlow::Drop, "typing");
    assert_eq!(cursors, 20, "each takes the place of the one before");
    assert!((4..=6).contains(&typing), "{typing}");
    assert_eq!(outbox.frame(Frame::text("must arrive")), Pushed::Queued);

    assert_eq!(client.recv_frame().await, Some(Frame::text("on its way")));
    assert_eq!(client.recv_frame().await, Some(text("cursor", 19)));
    for n in 0..typing {
        assert_eq!(client.recv_frame().await, Some(text("typing", n)));
    }
    assert_eq!(client.recv_frame().await, Some(Frame::text("must arrive")));
    let stats = service.connections().stats();
    assert_eq!(stats.frames_dropped, 20 - typing as u64);
    assert_eq!((stats.frames_replaced, stats.closed_slow), (19, 0));
}

#[tokio::test(start_paused = true)]
async fn one_message_too_many_is_answered_and_then_the_connection_closes_with_1008() {
    let lab = Lab::new();
    let connections = Connections::new();
    let service = MemoryService::new(lab.clone()).with_connections(&connections);
    let mut client = service.connect(info("")).await.unwrap();
    let rate = Limits::default().inbound.unwrap();
    for n in 0..rate.at_once() {
        client.send_text(n.to_string()).await.unwrap();
        assert_eq!(client.recv_frame().await, Some(Frame::text(n.to_string())));
    }
    client.send_text("more").await.unwrap();
    client.send_text("and more").await.unwrap();
    assert_eq!(
        client.recv_frame().await,
        Some(Frame::text("one too many: more"))
    );
    assert_eq!(
        client.recv().await,
        Some(Outgoing::Close(Close::new(CloseCode::POLICY)))
    );
    assert_eq!(
        lab.closed().await,
        CloseReason::Closed(CloseCode::POLICY.into())
    );
    assert_eq!(lab.gate.handled.load(SeqCst), rate.at_once() as usize);
    assert_eq!(connections.stats().closed_inbound, 1);
}

#[tokio::test(start_paused = true)]
async fn a_steady_client_may_go_on_for_ever_and_without_a_rate_any_may() {
    let rate = Rate::new(10, 5);
    for (inbound, pause) in [(rate, Duration::from_millis(100)), (None, Duration::ZERO)] {
        let limits = Limits::default().with_inbound(inbound);
        let service = MemoryService::new(Lab::new()).with_limits(limits);
        let mut client = service.connect(info("")).await.unwrap();
        for _ in 0..5_000 {
            client.send_text("x").await.unwrap();
            assert_eq!(client.recv_frame().await, Some(Frame::text("x")));
            advance(pause).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_too_long_is_given_up() {
    let service = MemoryService::new(Lab::new());
    let start = Instant::now();
    let refused = service.connect(info("connect=never")).await.unwrap_err();
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(start.elapsed(), Limits::default().handshake_timeout);
    let stats = service.connections().stats();
    assert_eq!((stats.handshake_timeouts, stats.open), (1, 0));
}

/// Over `Limits::inbound_bytes` a client is slowed, by exactly as much as it has sent too much, and nothing of it is lost.
#[tokio::test(start_paused = true)]
async fn a_client_that_sends_too_many_bytes_is_read_more_slowly() {
    let lab = Lab::new();
    let limits = Limits::default().with_inbound_bytes(Rate::new(1_000, 10_000));
    let service = MemoryService::new(lab.clone()).with_limits(limits);
    let connections = service.connections().clone();
    let mut client = service.connect(info("")).await.unwrap();
    let (_, outbox) = lab.connected().await;
    let start = Instant::now();
    // The second takes what is not there yet, so that a large one always passes.
    for (n, seconds) in [(1, 0), (2, 0), (3, 10), (4, 20)] {
        let text = n.to_string().repeat(10_000);
        client.send_text(text.clone()).await.unwrap();
        assert_eq!(client.recv_frame().await, Some(Frame::text(text)));
        assert_eq!(start.elapsed().as_secs(), seconds, "{n}");
    }
    assert_eq!(connections.stats().slowed_inbound, 1, "all at one go");

    // Meanwhile all goes on that is not the client's.
    outbox.frame(Frame::text("from elsewhere"));
    let heard = client.recv_frame().await;
    assert_eq!(heard, Some(Frame::text("from elsewhere")));
    outbox.close(CloseCode::RESTART.into());
    assert_eq!(
        lab.closed().await,
        CloseReason::Closed(CloseCode::RESTART.into())
    );
    assert_eq!(start.elapsed().as_secs(), 20);
}

/// A heartbeat waits for no upload, and a close is seen. What is large waits, and what stands behind it.
#[tokio::test(start_paused = true)]
async fn what_is_small_is_heard_of_a_client_that_is_slowed_and_so_is_its_end() {
    let lab = Lab::new();
    let limits = Limits::default().with_inbound_bytes(Rate::new(1_000, 1_000));
    let mut client = raw_with(&lab, &Connections::new(), limits, 1 << 20).await;
    let (large, small) = (
        masked(FIN_BINARY, &[7; 6_000]),
        masked(FIN_BINARY, b"small"),
    );
    let start = Instant::now();
    for (frames, handled) in [([&large, &small], 2), ([&small, &large], 3)] {
        client
            .write_all(&frames.map(|frame| &frame[..]).concat())
            .await
            .unwrap();
        settle().await;
        assert_eq!(lab.gate.handled.load(SeqCst), handled);
    }
    let goodbye = masked(0x88, b"");
    client.write_all(&[small, goodbye].concat()).await.unwrap();
    settle().await;
    assert_eq!(lab.gate.handled.load(SeqCst), 3);
    assert!(lab.nothing_closed() && start.elapsed() == Duration::ZERO);
    // What there was too much of takes five seconds, and what came since is a trifle.
    assert_eq!(lab.closed().await, CloseReason::Client(None));
    assert_eq!(lab.gate.handled.load(SeqCst), 5);
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn who_is_slowed_is_not_heard_without_end() {
    let lab = Lab::new();
    let limits = Limits::default().with_inbound_bytes(Rate::new(1_000, 1_000));
    let mut client = raw_with(&lab, &Connections::new(), limits, 1 << 20).await;
    let small = masked(FIN_BINARY, &[7; 1_000]);
    client.write_all(&small.repeat(100)).await.unwrap();
    settle().await;
    let handled = lab.gate.handled.load(SeqCst);
    assert!((10..25).contains(&handled), "{handled}");
}

#[tokio::test(start_paused = true)]
async fn what_a_client_sends_at_once_fits_into_the_outbox_of_one_that_reads_nothing() {
    const MESSAGE_BYTES: usize = 60_000;
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone()).with_capacity(1);
    let mut talker = service.connect(info("")).await.unwrap();
    lab.connected().await;
    let start = Instant::now();
    let mut messages = 0;
    while start.elapsed() == Duration::ZERO {
        talker.send_text("x".repeat(MESSAGE_BYTES)).await.unwrap();
        talker.recv_frame().await.unwrap();
        messages += 1;
    }
    let _reads_nothing = service.connect(info("")).await.unwrap();
    let (_, outbox) = lab.connected().await;
    for _ in 0..messages {
        outbox.frame(Frame::text("x".repeat(MESSAGE_BYTES)));
    }
    yield_now().await;
    assert!(messages > 10 && lab.nothing_closed());
}

/// A session that keeps what it hears.
#[derive(Clone, Default)]
struct Keeper(Arc<Mutex<Vec<Frame>>>);

impl Handler for Keeper {
    type Session = Self;

    async fn connect(&self, _: ConnectInfo, _: Outbox<()>) -> Result<Self, Rejection> {
        Ok(self.clone())
    }
}

impl Session for Keeper {
    type Mail = ();

    fn handle_in(&mut self, frame: Frame, _: &mut Output) -> Result<(), Close> {
        self.0.lock().unwrap().push(frame);
        Ok(())
    }

    fn handle_mail(&mut self, (): (), _: &mut Output) -> Result<(), Close> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_slowed_keeps_no_buffer_of_its_large_message() {
    const BYTES: usize = 1_000_000;
    let keeper = Keeper::default();
    let limits = Limits::default().with_inbound_bytes(Rate::new(100_000, 100_000));
    let (mut client, server) = duplex(1 << 21);
    let (give, given) = mpsc::channel(1);
    let websocket = WebSocket::accept(server, &WebSocketConfig::default());
    give.try_send((info(""), websocket)).ok().unwrap();
    tokio::spawn(Given(given).serve_with(keeper.clone(), limits, Connections::new()));
    let start = Instant::now();
    let large = masked(FIN_BINARY, &vec![7; BYTES]);
    client.write_all(&large).await.unwrap();
    client.write_all(&large).await.unwrap();
    settle().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    let Frame::Binary(bytes) = keeper.0.lock().unwrap().remove(0) else {
        panic!("binary");
    };
    assert!(bytes.is_unique());
}

/// Where no further line of its kind comes to do so.
#[tokio::test(start_paused = true)]
async fn how_many_lines_were_left_out_is_told_in_the_end() {
    let service = MemoryService::new(Lab::new());
    let lines = Lines::collect();
    for _ in 0..5 {
        service.connect(info("connect=panic")).await.unwrap_err();
    }
    assert_eq!(lines.take().len(), 1);
    settle().await;
    advance(5 * A_SECOND).await;
    settle().await;
    let lines = lines.take();
    let [line] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert!(
        line.contains("left_out=4 ") && line.contains("refused crashed"),
        "{line}"
    );
}

/// However slow the rate, so that neither the idle time-out nor a client's own wait for a heartbeat's answer ends it.
#[tokio::test(start_paused = true)]
async fn who_is_slowed_waits_20_s_at_most_and_half_of_the_idle_time_out() {
    for (idle, wait) in [(60, 20), (10, 5)] {
        let lab = Lab::new();
        let limits = Limits::default()
            .with_inbound_bytes(Rate::new(1, 1))
            .with_idle_timeout(Duration::from_secs(idle));
        let service = MemoryService::new(lab.clone()).with_limits(limits);
        let mut client = service.connect(info("")).await.unwrap();
        let start = Instant::now();
        for n in 0..5 {
            client.send_text("x".repeat(1_000)).await.unwrap();
            client.recv_frame().await.unwrap();
            assert_eq!(start.elapsed().as_secs(), n * wait);
        }
        assert_eq!(lab.closed().await, CloseReason::Idle);
        assert_eq!(start.elapsed().as_secs(), 5 * wait + idle);
    }
}

#[tokio::test(start_paused = true)]
async fn any_time_may_be_set_from_nothing_to_for_ever() {
    let default = Limits::default;
    for time in [Duration::ZERO, Duration::MAX] {
        let all = [
            default().with_handshake_timeout(time),
            default().with_idle_timeout(time),
            default().with_message_timeout(time),
            default().with_close_timeout(time),
        ];
        for limits in all {
            let lab = Lab::new();
            let limits = limits.with_inbound_bytes(Rate::new(u32::MAX, u32::MAX));
            let service = MemoryService::new(lab.clone()).with_limits(limits);
            let mut client = service.connect(info("")).await.unwrap();
            let sent = client.send_text("hello").await;
            let heard = client.recv_frame().await;
            if time == Duration::MAX {
                sent.unwrap();
                assert_eq!(heard, Some(Frame::text("hello")));
            }
        }
    }
}
