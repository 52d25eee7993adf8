//! Slow readers, busy sessions and silent clients.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use matryoshka_transport::{
    Close, CloseCode, CloseReason, Frame, Limits, OUTPUT_PAUSE_BYTES, Outgoing, Pushed,
    memory::MemoryService,
};
use tokio::time::{Instant, advance, timeout};

use crate::lab::{Lab, Mail, info};

const A_SECOND: Duration = Duration::from_secs(1);

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
async fn the_idle_clock_stands_still_while_the_session_is_not_ready() {
    let lab = Lab::new();
    let mut client = MemoryService::new(lab.clone())
        .connect(info(""))
        .await
        .unwrap();
    lab.gate.shut();
    client.send_text("held back").await.unwrap();
    for _ in 0..10 {
        advance(Limits::default().idle_timeout).await;
        tokio::task::yield_now().await;
    }
    lab.gate.open();
    assert_eq!(client.recv_frame().await, Some(Frame::text("held back")));
    assert!(lab.nothing_closed());
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
        (Limits::default().with_outbox(1_000, 100_000), "bytes"),
        (Limits::default().with_outbox(1_000_000, 10), "items"),
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
    }
}

#[tokio::test(start_paused = true)]
async fn mails_count_against_the_bound_too() {
    let lab = Lab::new();
    let limits = Limits::default().with_outbox(1_000_000, 10);
    let service = MemoryService::new(lab.clone())
        .with_limits(limits)
        .with_capacity(0);
    let _slow = service.connect(info("")).await.unwrap();
    let (_, outbox) = lab.connected().await;
    let queued = (0..20)
        .take_while(|_| outbox.mail(Mail::Say("x")) == Pushed::Queued)
        .count();
    assert_eq!(queued, 10);
    assert_eq!(
        lab.closed().await,
        CloseReason::Closed(CloseCode::POLICY.into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_frame_larger_than_the_bound_fits_into_an_empty_outbox() {
    let lab = Lab::new();
    let limits = Limits::default().with_outbox(1_000, 10);
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
    advance(Limits::default().idle_timeout * 10).await;
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
