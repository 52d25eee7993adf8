//! A client that does not read what it asked for: its further requests wait, and nothing else of its channel does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::transport::memory::{self, MemoryService};
use matryoshka_channel::transport::{ConnectInfo, Limits, Params};
use matryoshka_channel::{
    Broadcast, Channel, Connected, Flow, HandleInfo, Mailbox, RawEvent, Refused, Reply, Socket,
    Sockets, SocketsConfig, broadcast, close_channel,
};
use serde_json::json;
use tokio::sync::Semaphore;
// tidy: sleep because it is the channel that is slow
use tokio::time::{sleep, timeout};

use matryoshka_channel::testing::advance;

use crate::lab::Lab;

/// What the channel did, and the way to it.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Noted>>);

type Noted = (Vec<String>, Option<Mailbox<u32>>);

impl Notes {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().0.push(what.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().0)
    }

    fn mailbox(&self) -> Mailbox<u32> {
        self.0.lock().unwrap().1.clone().unwrap()
    }
}

struct Worker(Notes);

impl Channel<Notes> for Worker {
    type Params = ();
    type Event = RawEvent;
    const INTERCEPT: &'static [&'static str] = &["seen"];

    async fn join(notes: &Notes, socket: &mut Socket, (): ()) -> Result<Self, Refused> {
        let mailbox = socket.mailbox::<Self, u32>();
        notes.0.lock().unwrap().1 = Some(mailbox);
        socket
            .send_after::<Self, _>(Duration::from_secs(10), 0)
            .unwrap();
        Ok(Self(notes.clone()))
    }

    async fn handle_in(&mut self, _: &mut Socket, event: RawEvent) -> Reply {
        self.0.note(&*event.name);
        Reply::ok(&"x".repeat(100))
    }

    async fn handle_out(&mut self, _: &mut Socket, broadcast: Broadcast) -> Flow {
        self.0.note(broadcast.event());
        Flow::Continue
    }
}

impl HandleInfo<u32> for Worker {
    async fn handle_info(&mut self, _: &mut Socket, n: u32) -> Flow {
        self.0.note(format!("info {n}"));
        Flow::Continue
    }
}

const DEADLINE: Duration = Duration::from_millis(100);

async fn ask(client: &mut memory::Client, n: usize) {
    let ask = json!(["1", n.to_string(), "work", "ask", {}]);
    client.send_text(ask.to_string()).await.unwrap();
}

/// A client that has joined, asked for more than its outbox takes half of, and reads none of it.
async fn unread(notes: &Notes, pubsub: &PubSub) -> (memory::Client, usize) {
    unread_by(notes, pubsub, SocketsConfig::default()).await
}

async fn unread_by(
    notes: &Notes,
    pubsub: &PubSub,
    config: SocketsConfig,
) -> (memory::Client, usize) {
    let sockets = Sockets::new(pubsub, notes.clone())
        .channel::<Worker>("work")
        .config(config);
    let limits = Limits::default()
        .with_outbox_bytes(1_000_000)
        .with_outbox_items(10);
    let service = MemoryService::new(sockets)
        .with_limits(limits)
        .with_capacity(0);
    let info = ConnectInfo::new("memory", Params::parse("vsn=2.0.0").unwrap()).unwrap();
    let mut client = service.connect(info).await.unwrap();
    client
        .send_text(r#"["1","1","work","phx_join",{}]"#)
        .await
        .unwrap();
    client.recv_frame().await.unwrap();
    let mut sent = 0;
    // Until nothing more is read from it.
    while sent < 20 && timeout(DEADLINE, ask(&mut client, sent)).await.is_ok() {
        sent += 1;
    }
    advance(Duration::from_secs(1)).await;
    let asked = notes.take().len();
    assert!((5..10).contains(&asked), "{asked}");
    (client, sent)
}

#[tokio::test(start_paused = true)]
async fn timers_messages_and_broadcasts_go_on_while_requests_wait() {
    let (notes, pubsub) = (Notes::default(), PubSub::local());
    let (mut client, asked) = unread(&notes, &pubsub).await;
    assert_eq!(asked, 20);
    notes.mailbox().send(1).unwrap();
    broadcast(&pubsub, "work", "seen", &()).unwrap();
    notes.mailbox().send(2).unwrap();
    advance(Duration::from_secs(1)).await;
    assert_eq!(notes.take(), ["info 1", "seen", "info 2"]);
    advance(Duration::from_secs(10)).await;
    assert_eq!(notes.take(), ["info 0"], "its timer");
    for _ in 0..2_000 {
        notes.mailbox().send(3).unwrap();
        tokio::task::yield_now().await;
    }
    notes.take();
    for n in 0..20 {
        let answer = client.recv_frame().await.unwrap();
        assert!(
            answer
                .as_text()
                .unwrap()
                .starts_with(&format!(r#"["1","{n}""#))
        );
    }
    assert!(notes.take().iter().all(|note| note == "ask"));
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_are_worked_off_once_the_connection_has_ended() {
    let (notes, pubsub) = (Notes::default(), PubSub::local());
    let (client, _) = unread(&notes, &pubsub).await;
    drop(client);
    advance(Duration::from_secs(1)).await;
    let rest = notes.take().len();
    assert!((10..=15).contains(&rest), "{rest}");
    assert_eq!(pubsub.subscriptions("work"), 0);
}

/// It waits for its client, and not its client for it.
#[tokio::test(start_paused = true)]
async fn a_channel_whose_client_does_not_read_does_not_stall() {
    let (notes, pubsub) = (Notes::default(), PubSub::local());
    let mut config = SocketsConfig::default();
    config.inbox_messages = 2;
    let (mut client, asked) = unread_by(&notes, &pubsub, config).await;
    assert!(asked < 20, "its inbox is full");
    advance(Duration::from_secs(50)).await;
    for n in 0..asked {
        let answer = client.recv_frame().await.unwrap();
        let answer = answer.as_text().unwrap();
        assert!(answer.starts_with(&format!(r#"["1","{n}""#)), "{answer}");
    }
}

/// What was decided about it waits behind what its client has not read, and comes too late.
#[tokio::test(start_paused = true)]
async fn a_channel_that_has_made_room_meanwhile_does_not_end_for_it() {
    let mut config = SocketsConfig::default();
    config.inbox_messages = 2;
    let sockets = Lab::new().sockets_with(config);
    let service = MemoryService::new(sockets).with_capacity(0);
    let info = ConnectInfo::new("memory", Params::parse("vsn=2.0.0").unwrap()).unwrap();
    let mut client = service.connect(info).await.unwrap();
    let mut asked = 0;
    for (topic, event, payload, is_read) in [
        ("lab:a", "phx_join", json!({}), true),
        ("lab:b", "phx_join", json!({}), true),
        ("lab:b", "echo", json!({}), false),
        ("lab:b", "echo", json!({}), false),
        ("lab:a", "slow", json!({ "ms": 25_000 }), false),
        ("lab:a", "echo", json!({}), false),
        ("lab:a", "echo", json!({}), false),
        ("lab:a", "echo", json!({}), false),
    ] {
        asked += 1;
        let message = json!(["1", asked.to_string(), topic, event, payload]);
        client.send_text(message.to_string()).await.unwrap();
        match is_read {
            true => drop(client.recv_frame().await.unwrap()),
            false => advance(Duration::from_millis(1)).await,
        }
    }
    advance(Duration::from_secs(30)).await;
    let mut answered = 2;
    while answered < asked {
        let frame = client.recv_frame().await.unwrap();
        let frame = frame.as_text().unwrap();
        assert!(
            frame.contains("phx_reply") && frame.contains("ok"),
            "{frame}"
        );
        answered += 1;
    }
}

/// Answers its joins with a lot.
struct Large;

const ANSWER_BYTES: usize = 200_000;

impl Channel<()> for Large {
    type Params = bool;
    type Event = RawEvent;

    async fn join(_: &(), socket: &mut Socket, is_welcome: bool) -> Result<Self, Refused> {
        let answer = "x".repeat(ANSWER_BYTES);
        if !is_welcome {
            return Err(Refused::with(&answer));
        }
        socket.set_join_reply(&answer);
        Ok(Self)
    }

    async fn handle_in(&mut self, _: &mut Socket, _: RawEvent) -> Reply {
        Reply::none()
    }
}

/// They count like any frame, and wait for room like any answer: so there is a bound, and one who reads does not get to it.
#[tokio::test(start_paused = true)]
async fn the_answers_to_many_joins_are_bounded_and_close_no_connection() {
    for is_welcome in [true, false] {
        let mut config = SocketsConfig::default();
        config.waiting_bytes = 5 * ANSWER_BYTES;
        let sockets = Sockets::new(&PubSub::local(), ())
            .channel::<Large>("large:*")
            .config(config);
        let limits = Limits::default().with_outbox_large_bytes(3 * ANSWER_BYTES);
        let service = MemoryService::new(sockets)
            .with_limits(limits)
            .with_capacity(0);
        let info = ConnectInfo::new("memory", Params::parse("vsn=2.0.0").unwrap()).unwrap();
        let mut client = service.connect(info).await.unwrap();
        let mut joins = (0..30).map(|n| {
            let topic = format!("large:{n}");
            json!([n.to_string(), n.to_string(), topic, "phx_join", is_welcome]).to_string()
        });
        let mut sent = 0;
        for join in joins.by_ref() {
            sent += 1;
            if timeout(DEADLINE, client.send_text(join)).await.is_err() {
                break;
            }
        }
        assert!(sent < 20, "{sent} were read, and all are in memory");
        let waiting = service.connections().waiting().bytes;
        let bounds = 2 * ANSWER_BYTES..5 * ANSWER_BYTES;
        assert!(bounds.contains(&waiting), "{waiting} bytes");
        for _ in 1..sent {
            let answer = client.recv_frame().await.unwrap();
            assert!(answer.len() > ANSWER_BYTES);
        }
    }
}

/// Answers its joins with a lot, and has something to do then.
struct Busy;

impl Channel<()> for Busy {
    type Params = ();
    type Event = RawEvent;

    async fn join(_: &(), socket: &mut Socket, (): ()) -> Result<Self, Refused> {
        socket.set_join_reply(&"x".repeat(ANSWER_BYTES));
        socket.after_join(|_| {
            Box::pin(async {
                sleep(Duration::from_secs(60)).await;
                Flow::Continue
            })
        });
        Ok(Self)
    }

    async fn handle_in(&mut self, _: &mut Socket, _: RawEvent) -> Reply {
        Reply::none()
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_read_counts_no_more_whatever_the_join_has_put_off() {
    let mut config = SocketsConfig::default();
    config.waiting_bytes = 2 * ANSWER_BYTES;
    let sockets = Sockets::new(&PubSub::local(), ())
        .channel::<Busy>("busy:*")
        .config(config);
    let info = ConnectInfo::new("memory", Params::parse("vsn=2.0.0").unwrap()).unwrap();
    let service = MemoryService::new(sockets).with_capacity(1);
    let mut client = service.connect(info).await.unwrap();
    for n in 0..3 {
        let join = json!(["1", "1", format!("busy:{n}"), "phx_join", {}]).to_string();
        client.send_text(join).await.unwrap();
        assert!(client.recv_frame().await.unwrap().len() > ANSWER_BYTES);
    }
    let beat = r#"[null,"2","phoenix","heartbeat",{}]"#;
    client.send_text(beat).await.unwrap();
    let answer = timeout(DEADLINE, client.recv_frame()).await;
    assert!(answer.expect("nothing is read from it").is_some());
}

/// Answers with a lot, once it may.
struct Gated(Arc<Semaphore>);

const REPLY_BYTES: usize = 64 * 1024;

impl Channel<Arc<Semaphore>> for Gated {
    type Params = ();
    type Event = RawEvent;

    async fn join(gate: &Arc<Semaphore>, _: &mut Socket, (): ()) -> Result<Self, Refused> {
        Ok(Self(Arc::clone(gate)))
    }

    async fn handle_in(&mut self, _: &mut Socket, _: RawEvent) -> Reply {
        let _passed = self.0.acquire().await.unwrap();
        Reply::ok(&"x".repeat(REPLY_BYTES))
    }
}

/// Such as the answer of a database to all of them.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_is_not_closed_for_what_many_channels_waited_for_together() {
    const ROOMS: usize = 40;
    let gate = Arc::new(Semaphore::new(0));
    let sockets = Sockets::new(&PubSub::local(), Arc::clone(&gate)).channel::<Gated>("room:*");
    let service = MemoryService::new(sockets).with_capacity(1);
    let info = ConnectInfo::new("memory", Params::parse("vsn=2.0.0").unwrap()).unwrap();
    let mut client = service.connect(info).await.unwrap();
    for event in ["phx_join", "ask"] {
        for n in 0..ROOMS {
            let n = n.to_string();
            let message = json!([n, n, format!("room:{n}"), event, {}]).to_string();
            client.send_text(message).await.unwrap();
            if event == "phx_join" {
                client.recv_frame().await.unwrap();
            }
        }
    }
    advance(Duration::from_millis(1)).await;
    gate.add_permits(ROOMS);
    for n in 0..ROOMS {
        let reply = client.recv_frame().await;
        assert!(reply.is_some(), "closed after {n}");
        assert!(reply.unwrap().len() > REPLY_BYTES);
    }
}

/// Pushes a long list to whoever joins, a little later.
struct Listed;

const LIST_BYTES: usize = 100_000;

async fn greet(socket: &mut Socket) -> Flow {
    let list = json!({ "list": "x".repeat(LIST_BYTES) });
    socket.push("state", &list).into()
}

impl Channel<()> for Listed {
    /// Whether it asks for room by itself.
    type Params = bool;
    type Event = RawEvent;

    async fn join(_: &(), socket: &mut Socket, asks: bool) -> Result<Self, Refused> {
        socket.after_join(move |socket| {
            Box::pin(async move {
                sleep(Duration::from_millis(50)).await;
                if asks {
                    socket.room().await;
                    return greet(socket).await;
                }
                Flow::Continue
            })
        });
        if !asks {
            socket.after_join(|socket| Box::pin(greet(socket)));
        }
        Ok(Self)
    }

    async fn handle_in(&mut self, _: &mut Socket, _: RawEvent) -> Reply {
        Reply::none()
    }
}

/// It would come back, get the same lists again, and so on.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_not_closed_for_the_lists_of_many_joins() {
    const ROOMS: usize = 30;
    for asks in [false, true] {
        let sockets = Sockets::new(&PubSub::local(), ()).channel::<Listed>("room:*");
        let service = MemoryService::new(sockets).with_capacity(1);
        let info = ConnectInfo::new("memory", Params::parse("vsn=2.0.0").unwrap()).unwrap();
        let mut client = service.connect(info).await.unwrap();
        for n in 0..ROOMS {
            let n = n.to_string();
            let join = json!([n, n, format!("room:{n}"), "phx_join", asks]).to_string();
            client.send_text(join).await.unwrap();
        }
        for _ in 0..ROOMS {
            assert!(client.recv_frame().await.unwrap().len() < LIST_BYTES);
        }
        // From now on it lets little through.
        for n in 0..ROOMS {
            advance(Duration::from_millis(100)).await;
            let list = client.recv_frame().await;
            assert!(list.is_some(), "closed after {n}, {asks}");
        }
    }
}

/// Waits for room before it pushes: after its join, or for an event.
struct Patient;

async fn push_patiently(socket: &mut Socket) -> Flow {
    sleep(Duration::from_millis(10)).await;
    socket.room().await;
    socket.push("state", &()).into()
}

impl Channel<()> for Patient {
    /// Whether it does so after its join.
    type Params = bool;
    type Event = RawEvent;

    async fn join(_: &(), socket: &mut Socket, is_put_off: bool) -> Result<Self, Refused> {
        if is_put_off {
            socket.after_join(|socket| Box::pin(push_patiently(socket)));
        }
        Ok(Self)
    }

    async fn handle_in(&mut self, socket: &mut Socket, _: RawEvent) -> Reply {
        Reply::none().then(push_patiently(socket).await)
    }
}

/// It would stay on its topic, and on the list of who is there, for as long as it likes.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_cannot_put_off_a_close_while_its_channel_waits_for_room() {
    for is_put_off in [true, false] {
        let pubsub = PubSub::local();
        let sockets = Sockets::new(&pubsub, ())
            .on_connect(async |_, _| Ok(Connected::new().id("anna")))
            .channel::<Patient>("room");
        let service = MemoryService::new(sockets).with_capacity(1);
        let info = ConnectInfo::new("memory", Params::parse("vsn=2.0.0").unwrap()).unwrap();
        let mut client = service.connect(info).await.unwrap();
        let join = json!(["1", "1", "room", "phx_join", is_put_off]).to_string();
        client.send_text(join).await.unwrap();
        client.recv_frame().await.unwrap();
        if !is_put_off {
            let ask = r#"["1","2","room","ask",{}]"#;
            client.send_text(ask).await.unwrap();
        }
        advance(Duration::from_millis(1)).await;
        const SAID: usize = 12;
        for _ in 0..SAID {
            let said = json!({ "said": "x".repeat(60_000) });
            broadcast(&pubsub, "room", "said", &said).unwrap();
        }
        advance(Duration::from_secs(1)).await;
        close_channel(&pubsub, "anna", "room").unwrap();
        advance(Duration::from_secs(1)).await;
        assert_eq!(pubsub.subscriptions("room"), 0, "{is_put_off}");
        for _ in 0..SAID {
            assert!(client.recv_frame().await.unwrap().len() > 60_000);
        }
        let mut last = client.recv_frame().await.unwrap();
        if !is_put_off {
            assert!(last.as_text().unwrap().contains("state"));
            last = client.recv_frame().await.unwrap();
        }
        let last = last.as_text().unwrap();
        assert!(last.contains("phx_close"), "{is_put_off}: {last}");
    }
}

/// What its application has, for as long as it lives.
struct Holding(#[expect(dead_code, reason = "it is counted")] Arc<()>);

impl Channel<Arc<()>> for Holding {
    type Params = ();
    type Event = RawEvent;

    async fn join(app: &Arc<()>, _: &mut Socket, (): ()) -> Result<Self, Refused> {
        Ok(Self(Arc::clone(app)))
    }

    async fn handle_in(&mut self, _: &mut Socket, _: RawEvent) -> Reply {
        Reply::none()
    }
}

/// Such as a place on a list that the join itself has taken.
#[tokio::test(start_paused = true)]
async fn nor_can_it_while_the_answer_to_its_join_waits() {
    let (pubsub, app) = (PubSub::local(), Arc::new(()));
    let sockets = Sockets::new(&pubsub, Arc::clone(&app))
        .on_connect(async |_, _| Ok(Connected::new().id("anna")))
        .channel::<Holding>("room:*");
    let service = MemoryService::new(sockets).with_capacity(1);
    let info = ConnectInfo::new("memory", Params::parse("vsn=2.0.0").unwrap()).unwrap();
    let mut client = service.connect(info).await.unwrap();
    let join = |topic: &str| json!(["1", "1", topic, "phx_join", {}]).to_string();
    client.send_text(join("room:1")).await.unwrap();
    client.recv_frame().await.unwrap();
    const SAID: usize = 12;
    for _ in 0..SAID {
        let said = json!({ "said": "x".repeat(60_000) });
        broadcast(&pubsub, "room:1", "said", &said).unwrap();
    }
    advance(Duration::from_secs(1)).await;
    let before = Arc::strong_count(&app);
    client.send_text(join("room:2")).await.unwrap();
    advance(Duration::from_secs(1)).await;
    assert_eq!(Arc::strong_count(&app), before + 1, "it has joined");
    assert_eq!(pubsub.subscriptions("room:2"), 0, "and is not answered");
    close_channel(&pubsub, "anna", "room:2").unwrap();
    advance(Duration::from_secs(1)).await;
    assert_eq!(Arc::strong_count(&app), before);
    for _ in 0..SAID {
        assert!(client.recv_frame().await.unwrap().len() > 60_000);
    }
    for last in ["phx_reply", "phx_close"] {
        let frame = client.recv_frame().await.unwrap();
        assert!(frame.as_text().unwrap().contains(last));
    }
}
