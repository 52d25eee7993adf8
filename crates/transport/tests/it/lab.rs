//! A session that does what its client asks, and tells the test what happens to it.

use std::{
    future::{pending, poll_fn},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use matryoshka_transport::{
    Close, CloseCode, CloseReason, ConnectInfo, Frame, Handler, Outbox, Output, Params, Rejection,
    Session, http::StatusCode, memory,
};
use tokio::sync::mpsc;

use crate::log;

/// What a test puts into an outbox.
#[derive(Debug)]
pub enum Mail {
    Say(&'static str),
    Close(CloseCode),
    Panic,
}

/// The handler, and the test's view of its sessions.
#[derive(Clone)]
pub struct Lab {
    pub gate: Arc<Gate>,
    pub calls: Arc<AtomicUsize>,
    connected: mpsc::Sender<(ConnectInfo, Outbox<Mail>)>,
    closed: mpsc::Sender<CloseReason>,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    connected: mpsc::Receiver<(ConnectInfo, Outbox<Mail>)>,
    closed: mpsc::Receiver<CloseReason>,
}

impl Lab {
    pub fn new() -> Self {
        log::hear_all();
        let (connected, seen_connected) = mpsc::channel(64);
        let (closed, seen_closed) = mpsc::channel(64);
        Self {
            gate: Arc::default(),
            calls: Arc::default(),
            connected,
            closed,
            seen: Arc::new(Mutex::new(Seen {
                connected: seen_connected,
                closed: seen_closed,
            })),
        }
    }

    /// The next session that was made.
    pub async fn connected(&self) -> (ConnectInfo, Outbox<Mail>) {
        poll_fn(|cx| self.seen.lock().unwrap().connected.poll_recv(cx))
            .await
            .unwrap()
    }

    /// How the next session ended.
    pub async fn closed(&self) -> CloseReason {
        poll_fn(|cx| self.seen.lock().unwrap().closed.poll_recv(cx))
            .await
            .unwrap()
    }

    /// Whether a session has been told of its end.
    pub fn nothing_closed(&self) -> bool {
        self.seen.lock().unwrap().closed.try_recv().is_err()
    }
}

impl Handler for Lab {
    type Session = LabSession;

    async fn connect(
        &self,
        info: ConnectInfo,
        outbox: Outbox<Mail>,
    ) -> Result<LabSession, Rejection> {
        self.calls.fetch_add(1, SeqCst);
        match info.params.get("connect") {
            Some("refuse") => return Err(Rejection::forbidden()),
            Some("busy") => {
                return Err(Rejection::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "Too many requests",
                ));
            }
            Some("panic") => panic!("asked to"),
            Some("early") => {
                outbox.frame(Frame::text("early frame"));
                outbox.mail(Mail::Say("early mail"));
            }
            Some("never") => pending().await,
            Some("drop outbox") => {}
            _ => self.connected.try_send((info.clone(), outbox)).unwrap(),
        }
        self.gate.reach().await;
        Ok(LabSession {
            gate: Arc::clone(&self.gate),
            closed: self.closed.clone(),
            user: info.params.get("user").map(str::to_owned),
        })
    }
}

pub struct LabSession {
    gate: Arc<Gate>,
    closed: mpsc::Sender<CloseReason>,
    user: Option<String>,
}

impl Session for LabSession {
    type Mail = Mail;

    fn handle_in(&mut self, frame: Frame, out: &mut Output) -> Result<(), Close> {
        self.gate.handled.fetch_add(1, SeqCst);
        match frame.as_text() {
            Some("panic") => panic!("asked to"),
            Some("close") => {
                out.frame(Frame::text("last words"));
                return Err(Close::new(CloseCode(4000)).with_reason("asked to"));
            }
            Some(request) if request.starts_with("big ") => {
                let bytes = request["big ".len()..].parse().unwrap();
                out.frame(Frame::binary(vec![7; bytes]));
            }
            _ => out.frame(frame),
        }
        Ok(())
    }

    fn handle_mail(&mut self, mail: Mail, out: &mut Output) -> Result<(), Close> {
        match mail {
            Mail::Say(text) => out.frame(Frame::text(text)),
            Mail::Close(code) => return Err(code.into()),
            Mail::Panic => panic!("asked to"),
        }
        Ok(())
    }

    fn refuse_in(&mut self, frame: Frame, out: &mut Output) {
        let text = frame.as_text().unwrap_or("bytes");
        out.frame(Frame::text(format!("one too many: {text}")));
    }

    fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.gate.poll(cx)
    }

    fn closed(&mut self, reason: CloseReason) {
        self.closed.try_send(reason).unwrap();
    }
}

/// Holds sessions back: open unless a test shuts it.
#[derive(Default)]
pub struct Gate {
    shut: AtomicBool,
    connect_shut: AtomicBool,
    waker: AtomicWaker,
    pub handled: AtomicUsize,
}

impl Gate {
    /// Sessions are not ready from now on.
    pub fn shut(&self) {
        self.shut.store(true, SeqCst);
    }

    /// New sessions do not come into being from now on.
    pub fn shut_connect(&self) {
        self.connect_shut.store(true, SeqCst);
    }

    pub fn open(&self) {
        self.shut.store(false, SeqCst);
        self.connect_shut.store(false, SeqCst);
        self.waker.wake();
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.shut.load(SeqCst) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    async fn reach(&self) {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            if self.connect_shut.load(SeqCst) {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }
}

/// A connection in memory with that query.
pub fn info(query: &str) -> ConnectInfo {
    ConnectInfo::new(memory::NAME, Params::parse(query).unwrap()).unwrap()
}
