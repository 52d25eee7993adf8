//! Counting connections and closing all of them.

use std::{num::NonZeroU32, sync::atomic::Ordering::SeqCst, time::Duration};

use futures::{FutureExt, future::join_all};
use matryoshka_pubsub::registry::{Owner, OwnerId};
use matryoshka_transport::{
    Close, CloseCode, CloseReason, ConnectionLimits, Connections, Frame, Outgoing,
    http::StatusCode, memory::MemoryService,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::{
    lab::{Lab, info},
    log::Lines,
};

#[tokio::test(start_paused = true)]
async fn close_all_closes_everyone_refuses_newcomers_and_closed_waits_for_the_last() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone());
    let connections = service.connections().clone();
    connections
        .closed()
        .now_or_never()
        .expect("nobody is there yet");

    let clients = join_all((0..3).map(|_| service.connect(info("")))).await;
    assert_eq!(connections.count(), 3);
    assert!(connections.closed().now_or_never().is_none());

    connections.close_all(CloseCode::RESTART.into());
    for client in clients {
        let closed = client.unwrap().recv().await;
        assert_eq!(
            closed,
            Some(Outgoing::Close(Close::new(CloseCode::RESTART)))
        );
        assert_eq!(
            lab.closed().await,
            CloseReason::Closed(CloseCode::RESTART.into())
        );
    }
    connections.closed().await;
    assert_eq!(connections.count(), 0);

    let refused = service.connect(info("")).await.unwrap_err();
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        lab.calls.load(SeqCst),
        3,
        "the handler is not asked any more"
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_being_made_during_close_all_is_closed_too() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone());
    lab.gate.shut_connect();
    let connecting = tokio::spawn({
        let service = service.clone();
        async move { service.connect(info("")).await }
    });
    lab.connected().await;
    assert_eq!(service.connections().count(), 1);
    service.connections().close_all(CloseCode::RESTART.into());
    lab.gate.open();
    let mut client = connecting.await.unwrap().unwrap();
    assert_eq!(
        client.recv().await,
        Some(Outgoing::Close(Close::new(CloseCode::RESTART)))
    );
    service.connections().closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_leaves_on_its_own_is_counted_out() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone());
    let client = service.connect(info("")).await.unwrap();
    assert_eq!(service.connections().count(), 1);
    drop(client);
    service.connections().closed().await;
    assert_eq!(service.connections().count(), 0);

    let abandoned = service.connect(info("connect=never"));
    assert!(abandoned.now_or_never().is_none());
    assert_eq!(
        service.connections().count(),
        0,
        "a request that is given up counts no longer"
    );
}

#[tokio::test(start_paused = true)]
async fn a_crashed_session_is_counted_out() {
    let service = MemoryService::new(Lab::new());
    let mut client = service.connect(info("")).await.unwrap();
    client.send_text("panic").await.unwrap();
    service.connections().closed().await;
    assert_eq!(service.connections().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn g1_a_drain_closes_so_many_a_second_the_oldest_first() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone());
    let clients = join_all((0..50).map(|_| service.connect(info("")))).await;
    let connections = service.connections().clone();
    let start = Instant::now();
    let draining = tokio::spawn({
        let connections = connections.clone();
        async move { connections.drain(CloseCode::RESTART.into(), rate(10)).await }
    });
    for (n, client) in clients.into_iter().enumerate() {
        let mut client = client.unwrap();
        let closed = client.recv().await;
        assert_eq!(
            closed,
            Some(Outgoing::Close(Close::new(CloseCode::RESTART)))
        );
        assert_eq!(start.elapsed(), Duration::from_millis(100) * n as u32);
        let refused = service.connect(info("")).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    draining.await.unwrap();
    connections.closed().await;
}

/// However many services there are, one drain is for all of them, at one rate.
#[tokio::test(start_paused = true)]
async fn g6_services_that_share_their_connections_are_drained_together() {
    let connections = Connections::new();
    let [one, two] =
        [(); 2].map(|()| MemoryService::new(Lab::new()).with_connections(&connections));
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(one.connect(info("")).await.unwrap());
        clients.push(two.connect(info("")).await.unwrap());
    }
    let start = Instant::now();
    let draining = tokio::spawn({
        let connections = connections.clone();
        async move { connections.drain(CloseCode::RESTART.into(), rate(10)).await }
    });
    for (n, mut client) in clients.into_iter().enumerate() {
        let closed = client.recv().await;
        let expected = Outgoing::Close(Close::new(CloseCode::RESTART));
        assert_eq!(closed, Some(expected));
        assert_eq!(start.elapsed(), Duration::from_millis(100) * n as u32);
    }
    draining.await.unwrap();
    for service in [one, two] {
        let refused = service.connect(info("")).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_by_itself_costs_a_drain_no_time() {
    let service = MemoryService::new(Lab::new());
    let mut clients = join_all((0..21).map(|_| service.connect(info("")))).await;
    let start = Instant::now();
    clients.drain(1..20).for_each(drop);
    service
        .connections()
        .drain(CloseCode::RESTART.into(), rate(1))
        .await;
    assert!(
        start.elapsed() <= Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    service.connections().closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_given_up_refuses_on_and_the_rest_can_be_closed_at_once() {
    let service = MemoryService::new(Lab::new());
    let clients = join_all((0..60).map(|_| service.connect(info("")))).await;
    let connections = service.connections();
    let drain = connections.drain(CloseCode::RESTART.into(), rate(10));
    assert!(timeout(Duration::from_millis(950), drain).await.is_err());
    tokio::task::yield_now().await;
    assert_eq!(connections.count(), 50);
    assert!(connections.is_closing());
    connections.close_all(CloseCode::RESTART.into());
    for client in clients {
        let closed = client.unwrap().recv().await;
        assert_eq!(
            closed,
            Some(Outgoing::Close(Close::new(CloseCode::RESTART)))
        );
    }
    connections.closed().await;
}

/// The ids of two owners, of which the connection that is made here has the first, and had the second.
async fn owned(lab: &Lab) -> [OwnerId; 2] {
    let (_, outbox) = lab.connected().await;
    let owners = [(); 2].map(|()| Owner::new().id());
    owners.iter().for_each(|owner| outbox.add_owner(*owner));
    outbox.remove_owner(owners[1]);
    owners
}

#[tokio::test(start_paused = true)]
async fn a_drain_names_who_ends_with_a_connection_and_closes_it_after_the_answer() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone());
    let mut client = service.connect(info("")).await.unwrap();
    let [owner, _] = owned(&lab).await;
    let (name, named) = oneshot::channel();
    let (go_on, gone_on) = oneshot::channel::<()>();
    let (mut name, mut gone_on) = (Some(name), Some(gone_on));
    let before = async |owners| {
        name.take().unwrap().send(owners).unwrap();
        gone_on.take().unwrap().await.unwrap();
    };
    let connections = service.connections();
    let drain = connections.drain_after(CloseCode::RESTART.into(), rate(10), before);
    let watch = async {
        assert_eq!(named.await, Ok(vec![owner]));
        let nothing = timeout(Duration::from_secs(1), client.recv()).await;
        assert!(nothing.is_err(), "it is still open");
        go_on.send(()).unwrap();
        let closed = Outgoing::Close(Close::new(CloseCode::RESTART));
        assert_eq!(client.recv().await, Some(closed));
    };
    tokio::join!(drain, watch);
}

/// What took long before the first close does not make the drain slower.
#[tokio::test(start_paused = true)]
async fn a_drain_that_waits_before_each_close_keeps_its_rate() {
    let service = MemoryService::new(Lab::new());
    let _clients = join_all((0..50).map(|_| service.connect(info("")))).await;
    let (start, mut turns) = (Instant::now(), Vec::new());
    let before = async |_| {
        turns.push(service.connections().count());
        let slow = timeout(Duration::from_millis(500), std::future::pending::<()>());
        assert!(slow.await.is_err());
    };
    let connections = service.connections();
    connections
        .drain_after(CloseCode::RESTART.into(), rate(10), before)
        .await;
    connections.closed().await;
    assert_eq!(turns.len(), 11, "{turns:?}");
    assert!(
        start.elapsed() <= Duration::from_millis(5_600),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_given_up_while_it_waits_leaves_them_to_the_next() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone());
    let mut client = service.connect(info("")).await.unwrap();
    let [owner, _] = owned(&lab).await;
    let connections = service.connections();
    let close = || Close::new(CloseCode::RESTART);
    let never = connections.drain_after(close(), rate(10), async |_| std::future::pending().await);
    assert!(timeout(Duration::from_secs(1), never).await.is_err());
    let mut named = Vec::new();
    let next = connections.drain_after(close(), rate(10), async |owners| named.extend(owners));
    next.await;
    assert_eq!(named, [owner]);
    assert_eq!(client.recv().await, Some(Outgoing::Close(close())));
}

/// Whether what it waits for comes, or it is given up.
#[tokio::test(start_paused = true)]
async fn close_all_reaches_those_for_which_a_drain_waits_just_then() {
    for is_given_up in [false, true] {
        let lab = Lab::new();
        let service = MemoryService::new(lab.clone());
        let mut client = service.connect(info("")).await.unwrap();
        let connections = service.connections();
        let (go_on, gone_on) = oneshot::channel::<()>();
        let mut gone_on = Some(gone_on);
        let before = async |_| drop(gone_on.take().unwrap().await);
        let drain = connections.drain_after(CloseCode::RESTART.into(), rate(10), before);
        let mut drain = Box::pin(drain);
        assert!((&mut drain).now_or_never().is_none());
        connections.close_all(CloseCode::GOING_AWAY.into());
        if is_given_up {
            drop(drain);
        } else {
            go_on.send(()).unwrap();
            drain.await;
        }
        let closed = Outgoing::Close(Close::new(CloseCode::GOING_AWAY));
        let received = timeout(Duration::from_secs(1), client.recv()).await;
        assert_eq!(received, Ok(Some(closed)), "given up: {is_given_up}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_counted_while_connections_wait_for_their_turn_to_leave() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone());
    let _client = service.connect(info("")).await.unwrap();
    let (_, outbox) = lab.connected().await;
    let connections = service.connections();
    connections.refuse();
    outbox.frame(Frame::text("x".repeat(100)));
    let waiting = connections.waiting();
    assert_eq!((waiting.items, waiting.bytes), (1, 100));
}

/// However many do so, and whenever.
#[tokio::test(start_paused = true)]
async fn of_sessions_that_panic_there_is_one_line_a_second() {
    let lines = Lines::collect();
    let service = MemoryService::new(Lab::new());
    for _ in 0..3 {
        let mut client = service.connect(info("")).await.unwrap();
        client.send_text("panic").await.unwrap();
        service.connections().closed().await;
    }
    let lines = lines.take();
    let told = lines.iter().filter(|line| line.contains("1011"));
    assert_eq!(told.count(), 1, "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn of_sessions_that_take_nothing_until_they_are_idle_there_is_one_line_a_second() {
    let lines = Lines::collect();
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone());
    let mut clients = join_all((0..3).map(|_| service.connect(info("")))).await;
    lab.gate.shut();
    for client in &mut clients {
        let client = client.as_mut().unwrap();
        client.send_text("x").await.unwrap();
    }
    service.connections().closed().await;
    let lines = lines.take();
    let told = lines.iter().filter(|line| line.contains("took nothing"));
    assert_eq!(told.count(), 1, "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn there_may_be_so_many_in_all_from_one_address_and_of_one_user() {
    let from =
        |address: &str, query: &str| info(query).with_peer_addr(Some(address.parse().unwrap()));
    let limits = ConnectionLimits::default()
        .with_max_connections(Some(5))
        .with_max_per_address(Some(2))
        .with_max_per_user(Some(1));
    let connections = Connections::with_limits(limits);
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone()).with_connections(&connections);
    let status = async |info| service.connect(info).await.unwrap_err().status;
    let lines = Lines::collect();

    let anna = service
        .connect(from("192.0.2.1:1", "user=anna"))
        .await
        .unwrap();
    let again = from("192.0.2.2:1", "user=anna");
    assert_eq!(status(again).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        lab.closed().await,
        CloseReason::Lost,
        "its session was made and is told"
    );
    let nobody = service.connect(from("192.0.2.1:2", "")).await.unwrap();
    let third = from("192.0.2.1:3", "");
    assert_eq!(status(third).await, StatusCode::TOO_MANY_REQUESTS);
    let local =
        join_all((1..=3).map(|port| service.connect(from(&format!("127.0.0.1:{port}"), "")))).await;
    assert!(local.iter().all(Result::is_ok), "loopback is not counted");
    assert_eq!(
        status(from("192.0.2.9:1", "")).await,
        StatusCode::SERVICE_UNAVAILABLE
    );

    // One kind does not keep back the line of another.
    let lines = lines.take();
    for words in ["max_per_user", "max_per_address", "max_connections"] {
        let limit = format!("ConnectionLimits::{words}");
        let told = lines.iter().filter(|line| line.contains(&limit));
        assert_eq!(told.count(), 1, "{words}: {lines:#?}");
    }

    drop((anna, nobody, local));
    connections.closed().await;
    service
        .connect(from("192.0.2.1:1", "user=anna"))
        .await
        .unwrap();
    let stats = connections.stats();
    assert_eq!(
        (
            stats.refused_user,
            stats.refused_address,
            stats.refused_full
        ),
        (1, 1, 1)
    );
    assert_eq!((stats.opened, stats.refused, stats.open), (6, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn services_may_share_their_connections_and_limits() {
    let connections =
        Connections::with_limits(ConnectionLimits::default().with_max_connections(Some(1)));
    let [one, two] =
        [(); 2].map(|()| MemoryService::new(Lab::new()).with_connections(&connections));
    let _client = one.connect(info("")).await.unwrap();
    let refused = two.connect(info("")).await.unwrap_err();
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn everything_that_ends_a_connection_is_counted_by_its_name() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone());
    service.connect(info("connect=refuse")).await.unwrap_err();
    service.connect(info("connect=panic")).await.unwrap_err();
    let mut crashing = service.connect(info("")).await.unwrap();
    crashing.send_text("panic").await.unwrap();
    let _idle = service.connect(info("")).await.unwrap();
    assert_eq!(lab.closed().await, CloseReason::Idle);
    service.connections().closed().await;
    service.connections().refuse();
    service.connect(info("")).await.unwrap_err();
    let stats = service.connections().stats();
    assert_eq!((stats.refused, stats.crashes, stats.closed_idle), (1, 2, 1));
    assert_eq!((stats.opened, stats.refused_closing, stats.open), (2, 1, 0));
}

fn rate(per_second: u32) -> NonZeroU32 {
    NonZeroU32::new(per_second).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_written_is_counted_in_frames_and_bytes() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone());
    let mut client = service.connect(info("")).await.unwrap();
    let (_, outbox) = lab.connected().await;
    client.send_text("hello").await.unwrap();
    outbox.frame(Frame::binary(vec![7; 1_000]));
    for _ in 0..2 {
        client.recv_frame().await.unwrap();
    }
    client.send_text("close").await.unwrap();
    let last_words = client.recv_frame().await.unwrap();
    assert_eq!(last_words.as_text(), Some("last words"));
    let stats = service.connections().stats();
    let bytes = "hello".len() + 1_000 + "last words".len();
    assert_eq!(
        (stats.frames_written, stats.bytes_written),
        (3, bytes as u64)
    );
}

/// One kind does not keep back the line of another.
#[tokio::test(start_paused = true)]
async fn a_panic_at_connect_is_told_beside_refusals() {
    let lines = Lines::collect();
    let service = MemoryService::new(Lab::new());
    for query in ["connect=refuse", "connect=panic", "connect=panic"] {
        assert!(service.connect(info(query)).await.is_err());
    }
    let lines = lines.take();
    let told = lines
        .iter()
        .filter(|line| line.contains("connect panicked"));
    assert_eq!(told.count(), 1, "{lines:#?}");
}
