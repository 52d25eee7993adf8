//! What every carrier has to do: a suite for those that are built in and for those of your own. With the feature `test-util`.
//!
//! Serve a [`Probe`] over the carrier, say by [`Carrier`] how a client comes to it, and run [`session_contract`]. It panics at the
//! first promise that is not kept, and says which.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

use crate::{
    Close, CloseCode, CloseReason, ConnectInfo, Frame, Handler, Outbox, Output, Rejection, Session,
};

/// How long anything in the suite may take, which is much, for machines that are busy.
const DEADLINE: Duration = Duration::from_secs(60);

/// How many messages are sent in a row.
const MANY: usize = 200;

/// A message that no carrier holds in one piece.
const LARGE_BYTES: usize = 300_000;

/// A carrier under test, from its clients' side.
pub trait Carrier: Sync {
    /// One of its clients. Dropped, it is gone without a goodbye.
    type Client: Client;

    /// Connects with these parameters. None if the client is refused, in whatever way the carrier does it.
    fn connect(&self, params: &str) -> impl Future<Output = Option<Self::Client>> + Send;
}

/// A client of a carrier under test.
pub trait Client: Send {
    /// Sends one text.
    fn send(&mut self, text: &str) -> impl Future<Output = ()> + Send;

    /// The next text. None once the connection has ended.
    fn recv(&mut self) -> impl Future<Output = Option<String>> + Send;
}

/// The handler that the carrier under test has to serve. Clones are the same one.
#[derive(Clone, Default)]
pub struct Probe(Arc<Seen>);

#[derive(Default)]
struct Seen {
    sessions: Mutex<Vec<Life>>,
    news: Notify,
}

/// What one session has lived through.
struct Life {
    info: ConnectInfo,
    outbox: Outbox<&'static str>,
    closed: Vec<CloseReason>,
    is_dropped: bool,
}

impl Probe {
    /// One that nobody has come to.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, look: impl FnOnce(&mut Vec<Life>) -> T) -> T {
        look(
            &mut self
                .0
                .sessions
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// The session made last.
    fn last(&self) -> (usize, Outbox<&'static str>) {
        self.with(|sessions| {
            let life = sessions.last().expect("a client has connected");
            (sessions.len() - 1, life.outbox.clone())
        })
    }

    /// How a session was told of its end, once it is gone.
    async fn end(&self, session: usize) -> Vec<CloseReason> {
        let gone = async {
            loop {
                let news = self.0.news.notified();
                let end = self.with(|sessions| {
                    let life = &sessions[session];
                    life.is_dropped.then(|| life.closed.clone())
                });
                match end {
                    Some(end) => return end,
                    None => news.await,
                }
            }
        };
        within("a session ends when its connection does", gone).await
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sessions = self.with(|sessions| sessions.len());
        f.debug_struct("Probe")
            .field("sessions", &sessions)
            .finish()
    }
}

impl Handler for Probe {
    type Session = ProbeSession;

    async fn connect(
        &self,
        info: ConnectInfo,
        outbox: Outbox<&'static str>,
    ) -> Result<ProbeSession, Rejection> {
        if info.params.get("refuse").is_some() {
            return Err(Rejection::forbidden());
        }
        let number = self.with(|sessions| {
            sessions.push(Life {
                info,
                outbox,
                closed: Vec::new(),
                is_dropped: false,
            });
            sessions.len() - 1
        });
        Ok(ProbeSession {
            probe: self.clone(),
            number,
        })
    }
}

/// A session of [`Probe`]: an echo that does a few things when told to.
#[derive(Debug)]
pub struct ProbeSession {
    probe: Probe,
    number: usize,
}

impl Session for ProbeSession {
    type Mail = &'static str;

    fn handle_in(&mut self, frame: Frame, out: &mut Output) -> Result<(), Close> {
        match frame.as_text() {
            Some("panic") => panic!("the suite asked this session to"),
            Some("close") => {
                out.frame(Frame::text("last words"));
                Err(Close::new(CloseCode::GOING_AWAY))
            }
            _ => {
                out.frame(frame);
                Ok(())
            }
        }
    }

    fn handle_mail(&mut self, mail: &'static str, out: &mut Output) -> Result<(), Close> {
        out.frame(Frame::text(mail));
        Ok(())
    }

    fn closed(&mut self, reason: CloseReason) {
        self.probe
            .with(|sessions| sessions[self.number].closed.push(reason));
    }
}

impl Drop for ProbeSession {
    fn drop(&mut self) {
        self.probe
            .with(|sessions| sessions[self.number].is_dropped = true);
        self.probe.0.news.notify_waiters();
    }
}

/// Runs the suite over a carrier that serves `probe`.
///
/// # Panics
/// At the first promise that the carrier does not keep.
///
/// # Cancel safety
/// Dropped, it has checked a part of the promises, and its clients are gone as if the network had dropped. Begin again with another probe.
pub async fn session_contract<C: Carrier>(carrier: &C, probe: &Probe) {
    texts_come_back_in_order_whatever_their_size(carrier, probe).await;
    what_others_send_arrives_in_order_too(carrier, probe).await;
    a_refused_client_has_no_session(carrier, probe).await;
    a_close_comes_after_the_last_words(carrier, probe).await;
    an_order_to_close_comes_after_what_was_sent(carrier, probe).await;
    a_panic_ends_its_own_connection(carrier, probe).await;
    a_client_that_is_gone_is_noticed(carrier, probe).await;
}

async fn texts_come_back_in_order_whatever_their_size<C: Carrier>(carrier: &C, probe: &Probe) {
    let mut client = connected(carrier, "user=al&vsn=2.0.0&a[b]=%C3%A9").await;
    probe.with(|sessions| {
        let info = &sessions.last().expect("a session was made").info;
        assert_eq!(
            info.params.get("user"),
            Some("al"),
            "parameters reach the handler"
        );
        assert_eq!(
            info.serializer.vsn(),
            "2.0.0",
            "`vsn` chooses the serializer"
        );
        let nested: serde_json::Value = info.params.deserialize().expect("parameters are JSON");
        assert_eq!(nested["a"]["b"], "é", "parameters nest");
    });
    for n in 0..MANY {
        let text = format!("[{n}, \"é\"]");
        send(&mut client, &text).await;
        if n % 2 == 1 {
            let before = format!("[{}, \"é\"]", n - 1);
            assert_eq!(
                recv(&mut client).await,
                Some(before),
                "texts come back in order"
            );
            assert_eq!(
                recv(&mut client).await,
                Some(text),
                "texts come back in order"
            );
        }
    }
    let large = format!("[\"{}\"]", "x".repeat(LARGE_BYTES));
    send(&mut client, &large).await;
    let back = recv(&mut client).await;
    assert!(back == Some(large), "a large text comes back whole");
}

async fn what_others_send_arrives_in_order_too<C: Carrier>(carrier: &C, probe: &Probe) {
    let mut client = connected(carrier, "").await;
    let (_, outbox) = probe.last();
    for n in 0..MANY {
        outbox.frame(Frame::text(n.to_string()));
        outbox.mail("mail");
    }
    for n in 0..MANY {
        for expected in [n.to_string(), "mail".to_owned()] {
            let got = recv(&mut client).await;
            assert_eq!(got, Some(expected), "what an outbox got arrives in order");
        }
    }
}

async fn a_refused_client_has_no_session<C: Carrier>(carrier: &C, probe: &Probe) {
    let before = probe.with(|sessions| sessions.len());
    let refused = within("a refusal", carrier.connect("refuse=1")).await;
    assert!(
        refused.is_none(),
        "a client that the handler refuses is not connected"
    );
    assert_eq!(probe.with(|sessions| sessions.len()), before);
}

async fn a_close_comes_after_the_last_words<C: Carrier>(carrier: &C, probe: &Probe) {
    let mut client = connected(carrier, "").await;
    let (session, _) = probe.last();
    send(&mut client, "close").await;
    let last = recv(&mut client).await;
    assert_eq!(
        last.as_deref(),
        Some("last words"),
        "what a session says before it closes arrives"
    );
    assert_eq!(recv(&mut client).await, None, "then the connection ends");
    let close = Close::new(CloseCode::GOING_AWAY);
    assert_eq!(
        probe.end(session).await,
        [CloseReason::Closed(close)],
        "its session is told once"
    );
}

async fn an_order_to_close_comes_after_what_was_sent<C: Carrier>(carrier: &C, probe: &Probe) {
    let mut client = connected(carrier, "").await;
    let (session, outbox) = probe.last();
    outbox.frame(Frame::text("1"));
    outbox.mail("2");
    let close = Close::new(CloseCode::RESTART);
    outbox.close(close.clone());
    outbox.frame(Frame::text("too late"));
    for expected in ["1", "2"] {
        let got = recv(&mut client).await;
        assert_eq!(
            got.as_deref(),
            Some(expected),
            "what came before the order arrives"
        );
    }
    assert_eq!(recv(&mut client).await, None, "and nothing after it");
    assert_eq!(probe.end(session).await, [CloseReason::Closed(close)]);
}

async fn a_panic_ends_its_own_connection<C: Carrier>(carrier: &C, probe: &Probe) {
    let mut bystander = connected(carrier, "").await;
    let mut client = connected(carrier, "").await;
    let (session, _) = probe.last();
    send(&mut client, "panic").await;
    assert_eq!(
        recv(&mut client).await,
        None,
        "a session that panics loses its connection"
    );
    assert_eq!(probe.end(session).await, [], "and is not called again");
    send(&mut bystander, "alive").await;
    let got = recv(&mut bystander).await;
    assert_eq!(got.as_deref(), Some("alive"), "and no other loses its own");
}

async fn a_client_that_is_gone_is_noticed<C: Carrier>(carrier: &C, probe: &Probe) {
    let client = connected(carrier, "").await;
    let (session, outbox) = probe.last();
    drop(client);
    assert_eq!(
        probe.end(session).await.len(),
        1,
        "a session is told once that its client is gone"
    );
    assert!(outbox.is_closed(), "and its outbox is closed");
}

async fn connected<C: Carrier>(carrier: &C, params: &str) -> C::Client {
    let client = within("a connection", carrier.connect(params)).await;
    client.expect("a client that is not refused is connected")
}

async fn send<C: Client>(client: &mut C, text: &str) {
    within("a client can send", client.send(text)).await;
}

async fn recv<C: Client>(client: &mut C) -> Option<String> {
    within("a client gets a text or the end", client.recv()).await
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {DEADLINE:?}: {what}"),
    }
}
