//! Tokens at connect and at join, and connections with an end.

use std::time::Duration;

use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::transport::http::StatusCode;
use matryoshka_channel::transport::memory::{Client as Wire, MemoryService};
use matryoshka_channel::transport::{
    Close, CloseCode, ConnectInfo, Limits, Outgoing, Params, Rejection,
};
use matryoshka_channel::{
    Channel, Connected, KeyRing, Refused, Reply, Socket, Sockets, Terminated, Tokens,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::Level;

use crate::log::Lines;

/// What the server signs and believes.
#[derive(Clone)]
struct App {
    logins: Tokens<u32>,
    invitations: Tokens<String>,
    ends: mpsc::UnboundedSender<Terminated>,
}

struct Room(App);

#[derive(Deserialize)]
struct Invitation {
    invitation: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Refresh { token: String },
    Forever,
}

impl Channel<App> for Room {
    type Params = Invitation;
    type Event = Event;

    async fn join(app: &App, socket: &mut Socket, params: Invitation) -> Result<Self, Refused> {
        let room = app.invitations.verify(&params.invitation)?;
        match room.value == socket.topic() {
            true => Ok(Self(app.clone())),
            false => Err(Refused::because("invited elsewhere")),
        }
    }

    async fn handle_in(&mut self, socket: &mut Socket, event: Event) -> Reply {
        let end = match event {
            Event::Refresh { token } => match self.0.logins.verify(&token) {
                Ok(login) => login.expires_at,
                Err(error) => return error.into(),
            },
            Event::Forever => None,
        };
        socket.renew_until(end);
        Reply::ok_empty()
    }

    async fn terminate(&mut self, _: &mut Socket, reason: Terminated) {
        self.0.ends.send(reason).unwrap();
    }
}

struct Server {
    app: App,
    service: MemoryService<Sockets<App>>,
    ends: mpsc::UnboundedReceiver<Terminated>,
}

/// Tokens are good for ten minutes: long enough for a machine that stalls, since they go by the wall clock.
fn server() -> Server {
    let ring = KeyRing::generate();
    let (sender, ends) = mpsc::unbounded_channel();
    let app = App {
        logins: Tokens::new(&ring, "login").max_age(minutes(10)),
        invitations: Tokens::new(&ring, "invitation"),
        ends: sender,
    };
    let sockets = Sockets::new(&PubSub::local(), app.clone())
        .channel::<Room>("room:*")
        .on_connect(async |app: App, info: ConnectInfo| {
            let login = app
                .logins
                .verify(info.params.get("token").unwrap_or_default())?;
            Ok(Connected::new()
                .assign(login.value)
                .expires_at(login.expires_at))
        });
    let limits = Limits::default().with_idle_timeout(minutes(60));
    let service = MemoryService::new(sockets).with_limits(limits);
    Server { app, service, ends }
}

impl Server {
    async fn connect(&self, token: &str) -> Result<Wire, Rejection> {
        let params = Params::parse(&format!("vsn=2.0.0&token={token}")).unwrap();
        let info = ConnectInfo::new("memory", params).unwrap();
        self.service.connect(info).await
    }

    /// A client in `room:1`.
    async fn joined(&self) -> Wire {
        let token = self.app.logins.sign(&7).unwrap();
        let mut wire = self.connect(token.as_str()).await.unwrap();
        let invitation = self.app.invitations.sign(&"room:1".to_owned()).unwrap();
        let reply = call(&mut wire, "phx_join", json!({ "invitation": invitation })).await;
        assert_eq!(reply, json!({ "status": "ok", "response": {} }));
        wire
    }
}

async fn call(wire: &mut Wire, event: &str, payload: Value) -> Value {
    let frame = json!(["1", "1", "room:1", event, payload]);
    wire.send_text(frame.to_string()).await.unwrap();
    let reply = wire.recv_frame().await.unwrap();
    let reply: Value = serde_json::from_str(reply.as_text().unwrap()).unwrap();
    assert_eq!(reply[3], "phx_reply");
    reply[4].clone()
}

async fn refresh(wire: &mut Wire, token: &str) -> Value {
    call(wire, "refresh", json!({ "token": token })).await
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// After how many minutes the connection closes. The wall clock moves on while the test runs: hence rounded.
async fn closes_after(wire: &mut Wire, since: Instant) -> u64 {
    let closed = timeout(minutes(50), wire.recv()).await;
    let expected = Close::new(CloseCode::POLICY).with_reason("expired");
    assert_eq!(closed.unwrap(), Some(Outgoing::Close(expected)));
    (since.elapsed().as_secs_f64() / 60.0).round() as u64
}

/// Whoever sends bad tokens does not fill the log; each line says what was wrong with one.
#[tokio::test(start_paused = true)]
async fn of_tokens_that_are_refused_there_is_one_line_a_second() {
    let lines = Lines::down_to(Level::INFO);
    let server = server();
    let mut wire = server.joined().await;
    for _ in 0..3 {
        server.connect("no").await.unwrap_err();
        refresh(&mut wire, "no").await;
        call(&mut wire, "phx_join", json!({ "invitation": "no" })).await;
        let closed = wire.recv_frame().await.unwrap();
        assert!(
            closed.as_text().unwrap().contains("phx_close"),
            "{closed:?}"
        );
        wire = server.joined().await;
    }
    let lines = lines.take();
    for words in ["a token was refused", "a connection was refused"] {
        let mut of_kind = lines.iter().filter(|line| line.contains(words));
        let line = of_kind.next().unwrap();
        assert!(line.contains("has not the form of one"), "{line}");
        assert_eq!(of_kind.next(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_needs_a_good_token() {
    let server = server();
    let token = server.app.logins.sign(&7).unwrap();
    assert!(server.connect(token.as_str()).await.is_ok());
    let early = std::time::SystemTime::now() - minutes(11);
    let old = server.app.logins.sign_at(&7, early).unwrap();
    let refused = server.connect(old.as_str()).await.unwrap_err();
    assert_eq!(
        (refused.status, &refused.body[..]),
        (StatusCode::FORBIDDEN, &b"token expired"[..])
    );
    // Neither none, nor one for another purpose.
    let other = server.app.invitations.sign(&"room:1".to_owned()).unwrap();
    for token in ["", other.as_str()] {
        let refused = server.connect(token).await.unwrap_err();
        assert_eq!(&refused.body[..], b"invalid token");
    }
}

#[tokio::test(start_paused = true)]
async fn a_join_may_need_one_too() {
    let server = server();
    let mut wire = server.joined().await;
    let elsewhere = server.app.invitations.sign(&"room:2".to_owned()).unwrap();
    for (invitation, reason) in [
        ("no", "invalid token"),
        (elsewhere.as_str(), "invited elsewhere"),
    ] {
        let reply = call(&mut wire, "phx_join", json!({ "invitation": invitation })).await;
        assert_eq!(
            reply,
            json!({ "status": "error", "response": { "reason": reason } })
        );
        if reason == "invalid token" {
            // The newer join has ended the one that was there.
            assert!(
                wire.recv_frame()
                    .await
                    .unwrap()
                    .as_text()
                    .unwrap()
                    .contains("phx_close")
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_with_its_token() {
    let mut server = server();
    let start = Instant::now();
    let mut wire = server.joined().await;
    assert_eq!(closes_after(&mut wire, start).await, 10);
    assert_eq!(server.ends.recv().await, Some(Terminated::Expired));
}

#[tokio::test(start_paused = true)]
async fn a_fresh_token_renews_it_and_a_bad_one_does_not() {
    let mut server = server();
    let start = Instant::now();
    let mut wire = server.joined().await;
    tokio::time::advance(minutes(8)).await;
    let token = server.app.logins.sign(&7).unwrap();
    let reply = refresh(&mut wire, token.as_str()).await;
    assert_eq!(reply, json!({ "status": "ok", "response": {} }));
    tokio::time::advance(minutes(4)).await;
    let reply = refresh(&mut wire, "stolen").await;
    assert_eq!(
        reply,
        json!({ "status": "error", "response": { "reason": "invalid token" } })
    );
    assert_eq!(closes_after(&mut wire, start).await, 18);
    assert_eq!(server.ends.recv().await, Some(Terminated::Expired));
}

#[tokio::test(start_paused = true)]
async fn an_end_can_be_taken_away() {
    let mut server = server();
    let mut wire = server.joined().await;
    assert_eq!(call(&mut wire, "forever", json!({})).await["status"], "ok");
    tokio::time::advance(minutes(30)).await;
    assert_eq!(call(&mut wire, "forever", json!({})).await["status"], "ok");
    drop(wire);
    assert_eq!(server.ends.recv().await, Some(Terminated::Closed));
}

/// The timer goes with the connection, however that ends.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_gone_leaves_no_timer_behind() {
    let mut server = server();
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    let wire = server.joined().await;
    assert_eq!(tasks(), before + 3, "connection, channel, timer");
    drop(wire);
    assert_eq!(server.ends.recv().await, Some(Terminated::Closed));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(tasks(), before);
}
