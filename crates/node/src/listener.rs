//! The HTTP listener: takes connections in, and lets none wait for ever.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use matryoshka_presence::channel::transport::{LogLimit, PeerAddr};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tower::Service;

use crate::heads::{HeadLimits, Heads, Waiting};
use crate::taking::{MayStall, Taking};

/// How long a client may take to send a request's head, the wait for its first byte included; then its
/// connection is closed. Upgraded connections have limits of their own.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// How long a client may take nothing of the answers that it asked for; then its connection is closed. Upgraded connections have
/// limits of their own.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

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
    pub(crate) fn start(listener: TcpListener, router: Router, heads: HeadLimits) -> Self {
        let times = Times {
            head: HEAD_LIMIT,
            write: WRITE_LIMIT,
        };
        Self::with(listener, router, heads, times)
    }

    fn with(listener: TcpListener, router: Router, heads: HeadLimits, times: Times) -> Self {
        let (stop, stopped) = oneshot::channel();
        let heads = Heads::new(heads);
        let ended = tokio::spawn(serve(listener, router, heads, times, stopped));
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

/// How long a client may take.
#[derive(Clone, Copy)]
struct Times {
    head: Duration,
    write: Duration,
}

async fn serve(
    listener: TcpListener,
    router: Router,
    heads: Heads,
    times: Times,
    stopped: oneshot::Receiver<()>,
) {
    let (last_request, is_last) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut stopped = pin!(stopped);
    let mut gate = Gate::new(heads);
    loop {
        tokio::select! {
            accepted = listener.accept() => match gate.judge(accepted) {
                Judged::Asks(stream, waiting) => {
                    let answering = connection(stream, waiting, router.clone(), times, is_last.clone());
                    connections.spawn(answering);
                }
                Judged::TurnedAway => {}
                Judged::Exhausted => sleep(ACCEPT_PAUSE).await,
            },
            Some(ended) = connections.join_next() => gate.note_end(ended),
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

/// Decides on whoever connects, and says what was wrong.
struct Gate {
    heads: Heads,
    turned_away: LogLimit,
    no_http: LogLimit,
    /// Whether the system had no connection to give out when it was last asked.
    is_exhausted: bool,
}

/// What becomes of what the system gave out.
enum Judged {
    Asks(TcpStream, Waiting),
    TurnedAway,
    /// It was nothing, and may be for a while.
    Exhausted,
}

impl Gate {
    fn new(heads: Heads) -> Self {
        Self {
            heads,
            turned_away: LogLimit::of("connections turned away"),
            no_http: LogLimit::of("connections without HTTP"),
            is_exhausted: false,
        }
    }

    fn judge(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) -> Judged {
        match accepted {
            Ok((stream, peer)) => {
                self.is_exhausted = false;
                match Waiting::begin(&self.heads, peer) {
                    Some(waiting) => Judged::Asks(stream, waiting),
                    None => self.turn_away(peer),
                }
            }
            Err(error) if is_of_one_connection(&error) => Judged::TurnedAway,
            Err(error) => {
                if !self.is_exhausted {
                    tracing::warn!(%error, "no connection can be accepted: trying on, without further words (each takes an open file: ulimit -n)");
                }
                self.is_exhausted = true;
                Judged::Exhausted
            }
        }
    }

    fn turn_away(&self, peer: SocketAddr) -> Judged {
        if let Some(left_out) = self.turned_away.pass_now() {
            tracing::warn!(%peer, left_out, "connections are turned away: too many wait for a request (--max-heads, --max-address-heads)");
        }
        Judged::TurnedAway
    }

    /// A client that speaks something else sees no more than that it failed.
    fn note_end(&self, ended: Result<Result<(), Early>, JoinError>) {
        // A panic has had its line.
        let Ok(Err(Early { peer, error })) = ended else {
            return;
        };
        tracing::debug!(%peer, %error, "an HTTP connection ended early");
        let is_no_http = error.is_parse() && !error.is_parse_too_large();
        if is_no_http && let Some(left_out) = self.no_http.pass_now() {
            tracing::info!(
                %peer,
                %error,
                left_out,
                "what came is no HTTP/1: this port speaks no TLS, so give clients http:// and ws://, or put a proxy in front that speaks it"
            );
        }
    }
}

/// A connection that failed.
struct Early {
    peer: SocketAddr,
    error: hyper::Error,
}

/// Answers the requests of one connection, until it ends, is upgraded, or `is_last` says that the one under way is its last.
async fn connection(
    stream: TcpStream,
    waiting: Waiting,
    router: Router,
    times: Times,
    mut is_last: watch::Receiver<()>,
) -> Result<(), Early> {
    let peer = waiting.peer();
    if let Err(error) = tune(&stream) {
        tracing::debug!(%peer, %error, "a connection keeps the system's settings");
    }
    let may_stall = MayStall::default();
    let stream = Taking::new(stream, times.write, may_stall.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(PeerAddr(peer));
        let request = request.map(|body| waiting.clone().for_body(body));
        let answer = waiting.clone().over(router.clone().call(request));
        let may_stall = may_stall.clone();
        async move {
            let answered = answer.await?;
            if answered.status() == StatusCode::SWITCHING_PROTOCOLS {
                may_stall.allow();
            }
            Ok::<_, Infallible>(answered)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(times.head)
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
    ended.map_err(|error| Early { peer, error })
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
    use std::sync::Arc;
    use std::time::Instant;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::mpsc;

    use super::*;

    const NO_LIMITS: HeadLimits = HeadLimits {
        in_all: None,
        of_address: None,
    };

    const ONE: HeadLimits = HeadLimits {
        in_all: Some(1),
        of_address: None,
    };

    /// More than the system takes for a client.
    const MUCH: usize = 10_000_000;

    async fn start(limit: Duration) -> (Serving, SocketAddr) {
        let much = Router::new().route("/much", get(async || "x".repeat(MUCH)));
        start_with(much, NO_LIMITS, limit).await
    }

    /// One that also answers at `/`.
    async fn start_with(
        routes: Router,
        heads: HeadLimits,
        limit: Duration,
    ) -> (Serving, SocketAddr) {
        let router = routes.route("/", get(async || "here"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (head, write) = (limit, limit);
        let times = Times { head, write };
        (Serving::with(listener, router, heads, times), address)
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

    /// Silent from the start, or after an answered request.
    #[tokio::test]
    async fn one_that_waits_too_many_is_turned_away_until_another_is_gone() {
        let two = HeadLimits {
            in_all: Some(2),
            of_address: None,
        };
        let (serving, address) = start_with(Router::new(), two, HEAD_LIMIT).await;
        let mut asked = TcpStream::connect(address).await.unwrap();
        ask(&mut asked).await;
        let silent = TcpStream::connect(address).await.unwrap();
        let mut turned_away = TcpStream::connect(address).await.unwrap();
        let end = turned_away.read_to_end(&mut Vec::new()).await;
        assert_eq!(end.unwrap(), 0);
        ask(&mut asked).await;
        drop(silent);
        loop {
            let mut next = TcpStream::connect(address).await.unwrap();
            // Written into a connection that is already gone, it goes nowhere.
            let _ = next.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let mut answer = [0; 12];
            if next.read_exact(&mut answer).await.is_ok() {
                assert_eq!(&answer, b"HTTP/1.1 200");
                break;
            }
        }
        serving.stop().await;
    }

    #[tokio::test]
    async fn whoever_would_be_one_too_many_after_its_answer_is_told_that_it_was_the_last() {
        let (asked, mut is_asked) = mpsc::channel(1);
        let go_on = Arc::new(tokio::sync::Semaphore::new(0));
        let wait = Arc::clone(&go_on);
        let slow = move || {
            let (asked, wait) = (asked.clone(), Arc::clone(&wait));
            async move {
                asked.send(()).await.unwrap();
                wait.acquire().await.unwrap().forget();
                "here"
            }
        };
        let slow = Router::new().route("/slow", get(slow));
        let (serving, address) = start_with(slow, ONE, HEAD_LIMIT).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        let request = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n";
        first.write_all(request).await.unwrap();
        is_asked.recv().await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(request).await.unwrap();
        is_asked.recv().await.unwrap();
        // The first to be answered waits for its next request, so the other is one too many.
        go_on.add_permits(2);
        let [mut of_first, mut of_second] = [Vec::new(), Vec::new()];
        let last = tokio::select! {
            ended = first.read_to_end(&mut of_first) => ended.map(|_| of_first),
            ended = second.read_to_end(&mut of_second) => ended.map(|_| of_second),
        };
        let answer = String::from_utf8(last.unwrap()).unwrap();
        assert!(answer.contains("connection: close"), "{answer}");
        serving.stop().await;
    }

    /// It has sent its next requests, so no wait for one ends it.
    #[tokio::test]
    async fn whoever_takes_none_of_its_answers_is_let_go() {
        const LIMIT: Duration = Duration::from_millis(500);
        let (serving, address) = start(LIMIT).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = b"GET /much HTTP/1.1\r\nHost: a\r\n\r\n";
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            match timeout(LIMIT / 5, client.write_all(&request.repeat(100))).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(_gone)) => break,
            }
        }
        let took = began.elapsed();
        assert!(took >= LIMIT && took < Duration::from_secs(30), "{took:?}");
        serving.stop().await;
    }

    #[tokio::test]
    async fn one_whose_body_does_not_come_is_one_that_waits() {
        let (asked, mut is_asked) = mpsc::channel(1);
        let read = move |request: axum::extract::Request| {
            let asked = asked.clone();
            async move {
                asked.send(()).await.unwrap();
                let body = axum::body::to_bytes(request.into_body(), 9).await;
                asked.send(()).await.unwrap();
                std::future::pending::<()>().await;
                body.unwrap()
            }
        };
        let post = Router::new().route("/post", axum::routing::post(read));
        let (serving, address) = start_with(post, ONE, HEAD_LIMIT).await;
        let mut posting = TcpStream::connect(address).await.unwrap();
        let request = b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n";
        posting.write_all(request).await.unwrap();
        is_asked.recv().await.unwrap();
        let mut turned_away = TcpStream::connect(address).await.unwrap();
        // It may be gone already.
        let _ = turned_away
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        assert!(turned_away.read_u8().await.is_err());
        posting.write_all(b"the body!").await.unwrap();
        is_asked.recv().await.unwrap();
        ask(&mut TcpStream::connect(address).await.unwrap()).await;
        serving.stop().await;
    }

    #[tokio::test]
    async fn a_request_under_way_does_not_wait_for_one() {
        let (asked, mut is_asked) = mpsc::channel(1);
        let slow = move || {
            let asked = asked.clone();
            async move {
                asked.send(()).await.unwrap();
                std::future::pending::<&str>().await
            }
        };
        let slow = Router::new().route("/slow", get(slow));
        let (serving, address) = start_with(slow, ONE, HEAD_LIMIT).await;
        let mut polling = TcpStream::connect(address).await.unwrap();
        let request = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n";
        polling.write_all(request).await.unwrap();
        is_asked.recv().await.unwrap();
        ask(&mut TcpStream::connect(address).await.unwrap()).await;
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
