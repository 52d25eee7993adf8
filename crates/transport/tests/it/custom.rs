//! A carrier of one's own, by the traits alone.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use futures::{Sink, Stream};
use matryoshka_transport::{
    Close, CloseCode, CloseReason, ConnectInfo, Connection, Connections, Frame, Limits, Outgoing,
    Pushed, ReadError, SharedFrame, Transport, WhenSlow, WriteError,
    memory::{MemoryConnection, pair},
};
use tokio::sync::mpsc;

use crate::lab::{Lab, info};

/// Hands out the connections that a test gives it.
pub struct Given<C>(pub mpsc::Receiver<(ConnectInfo, C)>);

impl<C: Connection> Transport for Given<C> {
    type Connection = C;

    async fn accept(&mut self) -> io::Result<Option<(ConnectInfo, C)>> {
        Ok(self.0.recv().await)
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_serves_by_the_same_loop() {
    let lab = Lab::new();
    let (give, given) = mpsc::channel::<(_, MemoryConnection)>(1);
    let serving = tokio::spawn(Given(given).serve(lab.clone()));

    let (connection, mut client) = pair(4);
    give.send((info(""), connection)).await.unwrap();
    client.send_text("hello").await.unwrap();
    assert_eq!(client.recv_frame().await, Some(Frame::text("hello")));

    let (connection, mut refused) = pair(4);
    give.send((info("connect=refuse"), connection))
        .await
        .unwrap();
    assert_eq!(
        refused.recv().await,
        Some(Outgoing::Close(Close::new(CloseCode::POLICY)))
    );
    assert_eq!(refused.recv().await, None);

    drop(give);
    serving.await.unwrap().unwrap();
    client.send_text("outlives the service").await.unwrap();
    assert_eq!(
        client.recv_frame().await,
        Some(Frame::text("outlives the service"))
    );
}

/// Takes everything, counts flushes, and fails where it is told to.
struct Counting {
    fed: mpsc::Sender<Outgoing>,
    flushes: Arc<AtomicUsize>,
    breaks: bool,
}

impl Connection for Counting {
    fn largest_frame(&self) -> usize {
        if self.breaks { 10 } else { usize::MAX }
    }
}

impl Stream for Counting {
    type Item = Result<Frame, ReadError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Pending
    }
}

impl Sink<Outgoing> for Counting {
    type Error = WriteError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, item: Outgoing) -> Result<(), WriteError> {
        if self.breaks && matches!(item, Outgoing::Frame(_)) {
            return Err(WriteError::TooBig);
        }
        self.fed.try_send(item).unwrap();
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.flushes.fetch_add(1, SeqCst);
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_fed_whole_and_flushed_once() {
    let lab = Lab::new();
    let (give, given) = mpsc::channel(1);
    let connections = Connections::new();
    tokio::spawn(Given(given).serve_with(lab.clone(), Limits::default(), connections.clone()));
    let (fed, mut seen) = mpsc::channel(1_000);
    let flushes = Arc::new(AtomicUsize::new(0));
    give.send((
        info(""),
        Counting {
            fed,
            flushes: Arc::clone(&flushes),
            breaks: false,
        },
    ))
    .await
    .unwrap();
    let (_, outbox) = lab.connected().await;
    for _ in 0..100 {
        outbox.frame(Frame::text("x"));
    }
    for _ in 0..100 {
        assert_eq!(seen.recv().await, Some(Outgoing::Frame(Frame::text("x"))));
    }
    assert_eq!(flushes.load(SeqCst), 1);
    assert_eq!(connections.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_larger_than_the_carrier_can_write_passes_the_connection_over() {
    let (lab, connections) = (Lab::new(), Connections::new());
    let (give, given) = mpsc::channel(1);
    tokio::spawn(Given(given).serve_with(lab.clone(), Limits::default(), connections.clone()));
    let (fed, mut seen) = mpsc::channel(10);
    let connection = Counting {
        fed,
        flushes: Arc::default(),
        breaks: true,
    };
    give.send((info(""), connection)).await.unwrap();
    let (_, outbox) = lab.connected().await;
    let mut shared = SharedFrame::new(Frame::text("eleven byte"));
    let pushed = outbox.shared_frame(&mut shared, WhenSlow::Close);
    assert_eq!(pushed, Pushed::Dropped);
    assert_eq!(connections.stats().frames_unwritable, 1);
    outbox.close(CloseCode::RESTART.into());
    let close = Outgoing::Close(CloseCode::RESTART.into());
    assert_eq!(seen.recv().await, Some(close));
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_cannot_be_written_closes_with_1011() {
    let lab = Lab::new();
    let (give, given) = mpsc::channel(1);
    tokio::spawn(Given(given).serve(lab.clone()));
    let (fed, mut seen) = mpsc::channel(10);
    give.send((
        info(""),
        Counting {
            fed,
            flushes: Arc::default(),
            breaks: true,
        },
    ))
    .await
    .unwrap();
    lab.connected().await.1.frame(Frame::text("x"));
    assert_eq!(
        seen.recv().await,
        Some(Outgoing::Close(Close::new(CloseCode::INTERNAL)))
    );
    assert_eq!(
        lab.closed().await,
        CloseReason::Closed(CloseCode::INTERNAL.into())
    );
}
