//! The HTTP listener: takes connections in, and lets none wait for ever.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use matryoshka_presence::channel::transport::PeerAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tower::Service;

/// How long a client may take to send a request's head, the wait for its first byte included; then its
/// connection is closed. Upgraded connections have limits of their own.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// How long requests that are under way may take once nothing more is accepted.
const REQUEST_LIMIT: Duration = Duration::from_secs(1);

/// How long to wait when the system gives out no connection, as when all file descriptors are in use.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What the system takes for one client beyond what is on its way to it. Without this limit it takes up to 4 MiB for a
/// client that never reads, which no bound of ours counts and no policy for slow clients reaches. What is on its way is not
/// counted, so a fast client far away is served as fast as before.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 64 * 1024;

/// The HTTP listener's task, and how to end it.
pub(crate) struct Serving {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Serving {
    /// Serves whoever connects.
    pub(crate) fn start(listener: TcpListener, router: Router) -> Self {
        Self::with(listener, router, HEAD_LIMIT)
    }

    fn with(listener: TcpListener, router: Router, head_limit: Duration) -> Self {
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(serve(listener, router, head_limit, stopped));
        Self { stop, ended }
    }

    /// Accepts no more; requests under way get a moment to end.
    pub(crate) async fn stop(self) {
        // The task has ended by itself if nobody receives this.
        let _ = self.stop.send(());
        if let Err(error) = self.ended.await {
            tracing::error!(%error, "the HTTP listener had failed");
        }
    }
}

async fn serve(
    listener: TcpListener,
    router: Router,
    head_limit: Duration,
    stopped: oneshot::Receiver<()>,
) {
    let (last_request, is_last) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut stopped = pin!(stopped);
    let mut exhausted = false;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    exhausted = false;
                    let answering = connection(stream, peer, router.clone(), head_limit, is_last.clone());
                    connections.spawn(answering);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if !exhausted {
                        tracing::warn!(%error, "no connection can be accepted: trying on, without further words");
                    }
                    exhausted = true;
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            // A dropped sender means the same.
            _ = &mut stopped => break,
        }
    }
    drop((listener, last_request));
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(REQUEST_LIMIT, all_ended).await.is_err() {
        tracing::debug!("a request was still under way");
    }
}

/// Answers the requests of one connection, until it ends, is upgraded, or `is_last` says that the one under way is its last.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    head_limit: Duration,
    mut is_last: watch::Receiver<()>,
) {
    if let Err(error) = tune(&stream) {
        tracing::debug!(%peer, %error, "a connection keeps the system's settings");
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(PeerAddr(peer));
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_limit)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        // Nothing is ever sent: the sender is dropped.
        _ = is_last.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "an HTTP connection ended early");
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    // Without it a small frame may wait for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES)?;
    Ok(())
}

/// Whether only that connection failed on its way, and the next one may be fine. Otherwise the system has nothing to
/// give out, and trying again at once helps nobody.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn start(head_limit: Duration) -> (Serving, SocketAddr) {
        let router = Router::new().route("/", get(async || "here"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Serving::with(listener, router, head_limit), address)
    }

    #[tokio::test]
    async fn a_connection_is_fast_for_small_frames_and_the_system_keeps_little_for_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, client) = tokio::join!(listener.accept(), client);
        let (stream, _) = accepted.unwrap();
        tune(&stream).unwrap();
        assert!(stream.nodelay().unwrap());
        #[cfg(target_os = "linux")]
        {
            let socket = socket2::SockRef::from(&stream);
            assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT_BYTES);
        }
        drop(client);
    }

    /// Asks on a connection that is already there.
    async fn ask(client: &mut TcpStream) {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"here") {
            answer.push(client.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }

    /// Connected and silent, half a line, half a head, and a head whose lines drip in for ever; beside them one that asks.
    #[tokio::test]
    async fn whoever_sends_no_whole_head_is_let_go_in_time_and_nobody_else_is() {
        const LIMIT: Duration = Duration::from_millis(500);
        let (serving, address) = start(LIMIT).await;
        let mut bystander = TcpStream::connect(address).await.unwrap();
        ask(&mut bystander).await;
        let began = Instant::now();
        let mut half_open = JoinSet::new();
        let half = "GET /socket/websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n";
        for beginning in ["", "GE", half] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(beginning.as_bytes()).await.unwrap();
            half_open.spawn(async move { client.read_to_end(&mut Vec::new()).await });
        }
        let mut dripping = TcpStream::connect(address).await.unwrap();
        dripping.write_all(half.as_bytes()).await.unwrap();
        let (mut answers, mut drips) = dripping.into_split();
        half_open.spawn(async move { answers.read_to_end(&mut Vec::new()).await });
        while !half_open.is_empty() {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "nobody is let go"
            );
            // The drips of one that is gone go nowhere.
            let _ = drips.write_all(b"X-Drip: drop\r\n").await;
            ask(&mut bystander).await;
            if let Ok(Some(end)) = timeout(LIMIT / 20, half_open.join_next()).await {
                let took = began.elapsed();
                assert!(took >= LIMIT, "{took:?}");
                // A connection that is closed before all of it was read ends by a reset.
                let end = end.unwrap();
                assert!(
                    end.is_ok()
                        || end.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
                );
            }
        }
        ask(&mut bystander).await;
        serving.stop().await;
    }

    #[tokio::test]
    async fn a_stop_ends_connections_that_ask_nothing() {
        let (serving, address) = start(HEAD_LIMIT).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        serving.stop().await;
        client.read_to_end(&mut Vec::new()).await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
