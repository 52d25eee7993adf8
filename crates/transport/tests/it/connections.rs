//! Counting connections and closing all of them.

use std::sync::atomic::Ordering::SeqCst;

use futures::{FutureExt, future::join_all};
use matryoshka_transport::{
    Close, CloseCode, CloseReason, Outgoing, http::StatusCode, memory::MemoryService,
};

use crate::lab::{Lab, info};

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
