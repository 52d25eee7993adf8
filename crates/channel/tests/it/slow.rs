//! Clients that read slowly: which of a channel's events wait, give way, or end the connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::transport::memory::{self, MemoryService};
use matryoshka_channel::transport::{ConnectInfo, Limits, Outgoing, Params, Payload, WhenSlow};
use matryoshka_channel::{
    Channel, RawEvent, Refused, Reply, Socket, Sockets, SocketsConfig, broadcast,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::log::Lines;

const DEADLINE: Duration = Duration::from_secs(60);

/// Everybody's cursors and who is typing.
struct Board;

#[derive(Deserialize)]
struct Moved {
    user: String,
}

impl Channel<()> for Board {
    type Params = ();
    type Event = RawEvent;
    const INTERCEPT: &'static [&'static str] = &["seen"];

    fn when_slow(event: &str, payload: &Payload) -> WhenSlow {
        match (event, payload) {
            ("typing" | "seen", _) => WhenSlow::Drop,
            ("progress" | "other", _) => WhenSlow::Latest(0),
            ("cursor", Payload::Json(json)) => match json.to() {
                Ok(Moved { user }) => WhenSlow::latest_of(user),
                Err(_) => panic!("a cursor without a user"),
            },
            _ => WhenSlow::Close,
        }
    }

    async fn join(_: &(), _: &mut Socket, (): ()) -> Result<Self, Refused> {
        Ok(Self)
    }

    async fn handle_in(&mut self, socket: &mut Socket, event: RawEvent) -> Reply {
        match &*event.name {
            "push_three" => {
                for step in 0..3 {
                    socket.push("progress", &json!({ "step": step })).unwrap();
                }
                Reply::none()
            }
            _ => Reply::ok_empty(),
        }
    }
}

/// Another type on the same topics, for which every event is to arrive.
struct Record;

impl Channel<()> for Record {
    type Params = ();
    type Event = RawEvent;

    async fn join(_: &(), _: &mut Socket, (): ()) -> Result<Self, Refused> {
        Ok(Self)
    }

    async fn handle_in(&mut self, _: &mut Socket, _: RawEvent) -> Reply {
        Reply::ok_empty()
    }
}

fn boards(pubsub: &PubSub) -> Sockets<()> {
    Sockets::new(pubsub, ()).channel::<Board>("board:*")
}

/// A client that takes one frame at a time, and joined.
struct Slow {
    wire: memory::Client,
    service: MemoryService<Sockets<()>>,
}

impl Slow {
    async fn join(sockets: &Sockets<()>, limits: Limits) -> Self {
        let service = MemoryService::new(sockets.clone())
            .with_limits(limits)
            .with_capacity(0);
        let info = ConnectInfo::new("memory", Params::parse("vsn=2.0.0").unwrap()).unwrap();
        let wire = service.connect(info).await.unwrap();
        let mut client = Self { wire, service };
        client.send(r#"["1","1","board:1","phx_join",{}]"#).await;
        assert_eq!(client.next().await[3], "phx_reply");
        client
    }

    async fn send(&mut self, frame: &str) {
        self.wire.send_text(frame).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        match timeout(DEADLINE, self.wire.recv()).await.unwrap() {
            Some(Outgoing::Frame(frame)) => serde_json::from_str(frame.as_text().unwrap()).unwrap(),
            end => panic!("no frame but {end:?}"),
        }
    }

    /// The events that follow up to this one, each with a value of its payload.
    async fn until(&mut self, last: &str) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        loop {
            let frame = self.next().await;
            let event = frame[3].as_str().unwrap().to_owned();
            let is_last = event == last;
            events.push((event, frame[4]["n"].clone()));
            if is_last {
                return events;
            }
        }
    }
}

/// Has the frame that waits first be on its way, which no later one replaces.
async fn block(pubsub: &PubSub) {
    for _ in 0..2 {
        broadcast(pubsub, "board:1", "must", &json!({ "n": 0 })).unwrap();
    }
    for _ in 0..100 {
        yield_now().await;
    }
}

fn event(name: &str, n: u32) -> (String, Value) {
    (name.to_owned(), json!(n))
}

#[tokio::test(start_paused = true)]
async fn each_event_gives_way_as_its_channel_says() {
    let pubsub = PubSub::local();
    let limits = Limits::default()
        .with_outbox_bytes(100_000)
        .with_outbox_items(20);
    let mut client = Slow::join(&boards(&pubsub), limits).await;
    block(&pubsub).await;
    let send = |event: &str, payload: Value| broadcast(&pubsub, "board:1", event, &payload);
    for n in 1..=5 {
        for user in ["anna", "ben"] {
            send("cursor", json!({ "user": user, "n": n })).unwrap();
        }
        send("progress", json!({ "n": n })).unwrap();
        send("other", json!({ "n": n })).unwrap();
    }
    for n in 1..=20 {
        send("typing", json!({ "n": n })).unwrap();
    }
    send("must", json!({ "n": 99 })).unwrap();
    let events = client.until("must").await;
    assert_eq!(events, [event("must", 0)]);
    let mut events = client.until("must").await;
    if events == [event("must", 0)] {
        events = client.until("must").await;
    }
    let typing = events.iter().filter(|(event, _)| event == "typing").count();
    assert!((1..20).contains(&typing), "{typing}");
    let expected = ["cursor", "cursor", "progress", "other"].map(|name| event(name, 5));
    assert_eq!(&events[..4], expected);
    assert_eq!(events.last(), Some(&event("must", 99)));
    let stats = client.service.connections().stats();
    assert_eq!(stats.frames_dropped, 20 - typing as u64);
    assert_eq!((stats.frames_replaced, stats.closed_slow), (16, 0));
}

#[tokio::test(start_paused = true)]
async fn pushes_and_intercepted_events_give_way_too() {
    let pubsub = PubSub::local();
    let limits = Limits::default()
        .with_outbox_bytes(100_000)
        .with_outbox_items(20);
    let mut client = Slow::join(&boards(&pubsub), limits).await;
    client.send(r#"["1","2","board:1","push_three",{}]"#).await;
    client.send(r#"["1","3","board:1","ask",{}]"#).await;
    for _ in 0..100 {
        yield_now().await;
    }
    let mut steps = Vec::new();
    loop {
        let frame = client.next().await;
        match frame[3].as_str() {
            Some("progress") => steps.push(frame[4]["step"].clone()),
            _ => break,
        }
    }
    // The carrier takes the first, or it is replaced as the others are.
    assert!(steps == [0, 2] || steps == [2], "{steps:?}");
    block(&pubsub).await;
    for n in 1..=30 {
        broadcast(&pubsub, "board:1", "seen", &json!({ "n": n })).unwrap();
        for _ in 0..10 {
            yield_now().await;
        }
    }
    assert!(client.service.connections().stats().frames_dropped > 0);
    broadcast(&pubsub, "board:1", "must", &json!({ "n": 99 })).unwrap();
    while client.until("must").await.last() != Some(&event("must", 99)) {}
}

/// Else the event would come before the answer to its join.
#[tokio::test(start_paused = true)]
async fn an_event_of_one_join_never_takes_the_place_of_one_of_another() {
    let pubsub = PubSub::local();
    let mut client = Slow::join(&boards(&pubsub), Limits::default()).await;
    block(&pubsub).await;
    let progress = |n: u32| broadcast(&pubsub, "board:1", "progress", &json!({ "n": n })).unwrap();
    progress(1);
    client.send(r#"["2","2","board:1","phx_join",{}]"#).await;
    for _ in 0..100 {
        yield_now().await;
    }
    progress(2);
    progress(3);
    let mut came = Vec::new();
    while came.last() != Some(&json!([null, null, "board:1", "progress", {"n": 3}])) {
        came.push(client.next().await);
    }
    let place = |wanted: Value| came.iter().position(|frame| *frame == wanted);
    let old = place(json!([null, null, "board:1", "progress", {"n": 1}]));
    let answer = came.iter().position(|frame| frame[1] == "2");
    assert!(old.is_some() && old < answer, "{came:?}");
    assert!(answer < Some(came.len() - 1));
}

#[tokio::test(start_paused = true)]
async fn types_of_channels_on_one_topic_each_have_their_say() {
    let pubsub = PubSub::local();
    let limits = Limits::default()
        .with_outbox_bytes(100_000)
        .with_outbox_items(20);
    let mut board = Slow::join(&boards(&pubsub), limits.clone()).await;
    let records = Sockets::new(&pubsub, ()).channel::<Record>("board:*");
    let mut record = Slow::join(&records, limits).await;
    block(&pubsub).await;
    for n in 1..=10 {
        broadcast(&pubsub, "board:1", "progress", &json!({ "n": n })).unwrap();
    }
    broadcast(&pubsub, "board:1", "must", &json!({ "n": 99 })).unwrap();
    let mut all = Vec::new();
    for client in [&mut board, &mut record] {
        let mut events = Vec::new();
        while events.last() != Some(&event("must", 99)) {
            events.extend(client.until("must").await);
        }
        events.retain(|(name, _)| name == "progress");
        all.push(events);
    }
    assert_eq!(all[0], [event("progress", 10)]);
    let each: Vec<_> = (1..=10).map(|n| event("progress", n)).collect();
    assert_eq!(all[1], each);
}

/// How often one of these was asked.
static ASKED: AtomicUsize = AtomicUsize::new(0);

struct Asked<const N: usize>;

impl<const N: usize> Channel<()> for Asked<N> {
    type Params = ();
    type Event = RawEvent;

    fn when_slow(_: &str, _: &Payload) -> WhenSlow {
        ASKED.fetch_add(1, Ordering::Relaxed);
        WhenSlow::Close
    }

    async fn join(_: &(), _: &mut Socket, (): ()) -> Result<Self, Refused> {
        Ok(Self)
    }

    async fn handle_in(&mut self, _: &mut Socket, _: RawEvent) -> Reply {
        Reply::none()
    }
}

/// Also where they stand on one topic by turns.
#[tokio::test(start_paused = true)]
async fn each_type_of_channel_is_asked_once_for_a_broadcast() {
    let pubsub = PubSub::local();
    let mounts = [
        Sockets::new(&pubsub, ()).channel::<Asked<0>>("board:*"),
        Sockets::new(&pubsub, ()).channel::<Asked<1>>("board:*"),
        Sockets::new(&pubsub, ()).channel::<Asked<2>>("board:*"),
    ];
    let mut clients = Vec::new();
    for mount in mounts.iter().cycle().take(30) {
        clients.push(Slow::join(mount, Limits::default()).await);
    }
    let sent = broadcast(&pubsub, "board:1", "must", &json!({})).unwrap();
    assert_eq!((sent.local, ASKED.load(Ordering::Relaxed)), (30, 3));
}

#[tokio::test(start_paused = true)]
async fn a_when_slow_that_panics_harms_neither_sender_nor_channel() {
    let (lines, pubsub) = (Lines::collect(), PubSub::local());
    let mut client = Slow::join(&boards(&pubsub), Limits::default()).await;
    for n in 1..=3 {
        let sent = broadcast(&pubsub, "board:1", "cursor", &json!({ "n": n })).unwrap();
        assert_eq!(sent.local, 1);
        assert_eq!(client.until("cursor").await, [event("cursor", n)]);
    }
    let lines = lines.take_timeless();
    assert!(
        matches!(&lines[..], [line] if line.contains("when_slow panicked")),
        "one a second: {lines:?}"
    );
    client.send(r#"["1","2","board:1","ask",{}]"#).await;
    assert_eq!(client.next().await[1], "2");
}

/// Sockets behind a real port.
async fn served(sockets: &Sockets<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = axum::Router::new().nest_service("/socket", sockets.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    addr
}

async fn join_over_tcp(addr: SocketAddr) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let url = "ws://127.0.0.1/socket/websocket?vsn=2.0.0";
    let (mut client, _) = client_async(url, stream).await.unwrap();
    let join = Message::text(r#"["1","1","board:1","phx_join",{}]"#);
    client.send(join).await.unwrap();
    assert_eq!(received(&mut client).await.unwrap()[3], "phx_reply");
    client
}

/// The next frame, or the code of the close.
async fn received(client: &mut WebSocketStream<TcpStream>) -> Result<Value, u16> {
    match timeout(DEADLINE, client.next()).await.unwrap() {
        Some(Ok(Message::Text(text))) => Ok(serde_json::from_str(&text).unwrap()),
        Some(Ok(Message::Close(Some(close)))) => Err(close.code.into()),
        other => panic!("{other:?}"),
    }
}

/// More than the buffers of any kernel hold.
const FLOOD: u32 = 3_000;

async fn flood(pubsub: &PubSub, event: &str) {
    let filling = "x".repeat(10_000);
    for n in 0..FLOOD {
        let user = ["anna", "ben"][n as usize % 2];
        let payload = json!({ "user": user, "n": n, "filling": filling });
        broadcast(pubsub, "board:1", event, &payload).unwrap();
        yield_now().await;
    }
}

#[tokio::test]
async fn over_tcp_a_client_that_was_away_gets_the_latest_and_what_must_arrive() {
    let pubsub = PubSub::local();
    let sockets = boards(&pubsub).config(SocketsConfig::default());
    let mut client = join_over_tcp(served(&sockets).await).await;
    flood(&pubsub, "cursor").await;
    flood(&pubsub, "typing").await;
    broadcast(&pubsub, "board:1", "must", &()).unwrap();
    let (mut last, mut typing) = (BTreeMap::new(), 0);
    loop {
        let frame = received(&mut client).await.expect("a frame");
        match frame[3].as_str().unwrap() {
            "cursor" => {
                let user = frame[4]["user"].as_str().unwrap().to_owned();
                last.insert(user, frame[4]["n"].as_u64().unwrap());
            }
            "typing" => typing += 1,
            "must" => break,
            other => panic!("{other}"),
        }
    }
    let expected = [("anna", FLOOD - 2), ("ben", FLOOD - 1)];
    let expected = expected.map(|(user, n)| (user.to_owned(), u64::from(n)));
    assert_eq!(last, BTreeMap::from(expected));
    let stats = sockets.connections().stats();
    assert_eq!(u64::from(FLOOD), typing + stats.frames_dropped);
    assert!(
        stats.frames_dropped > 0 && stats.frames_replaced > 0,
        "{stats:?}"
    );
    assert_eq!(stats.closed_slow, 0);
}

#[tokio::test]
async fn over_tcp_a_client_that_does_not_read_what_must_arrive_is_closed_with_1008_and_others_are_not()
 {
    let pubsub = PubSub::local();
    let sockets = boards(&pubsub);
    let addr = served(&sockets).await;
    let mut slow = join_over_tcp(addr).await;
    let mut reader = join_over_tcp(addr).await;
    let filling = "x".repeat(10_000);
    let mut sent = 0;
    while sockets.connections().stats().closed_slow == 0 {
        let payload = json!({ "n": sent, "filling": filling });
        broadcast(&pubsub, "board:1", "must", &payload).unwrap();
        let frame = received(&mut reader).await.expect("a frame");
        assert_eq!(frame[4]["n"], sent);
        sent += 1;
        assert!(sent < 40_000, "no bound");
    }
    let code = loop {
        if let Err(code) = received(&mut slow).await {
            break code;
        }
    };
    assert_eq!(code, 1008);
    assert_eq!(sockets.connections().stats().closed_slow, 1);
}
