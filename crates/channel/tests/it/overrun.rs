//! A channel that is slower than what comes for it from elsewhere: nothing is missed without anybody knowing.

use matryoshka_channel::pubsub::{Lagged, Message, PubSub};
use matryoshka_channel::testing::{TestChannel, TestSockets, advance, json};
use matryoshka_channel::transport::{Payload, WhenSlow};
use matryoshka_channel::{
    Broadcast, Channel, Flow, HandleInfo, RawEvent, Refused, Reply, Socket, Sockets, SocketsConfig,
    Terminated, assert_push, assert_reply, broadcast, refute_push,
};
use std::time::Duration;

use crate::log::Lines;

/// The lines that name the limit: a busy machine may have others to tell.
fn told(lines: &Lines) -> Vec<String> {
    let mut lines = lines.take();
    lines.retain(|line| line.contains("inbox_messages"));
    lines
}

/// How many messages wait for it.
const ROOM: usize = 4;

/// Is busy for a second when asked to, and says what it saw.
struct Watcher {
    goes_on: bool,
}

impl Channel<PubSub> for Watcher {
    type Params = bool;
    type Event = RawEvent;
    const INTERCEPT: &'static [&'static str] = &["must", "may"];

    fn when_slow(event: &str, _: &Payload) -> WhenSlow {
        match event {
            "may" => WhenSlow::Drop,
            _ => WhenSlow::Close,
        }
    }

    async fn join(_: &PubSub, socket: &mut Socket, goes_on: bool) -> Result<Self, Refused> {
        socket.subscribe::<Self>("news").unwrap();
        Ok(Self { goes_on })
    }

    async fn handle_in(&mut self, _: &mut Socket, event: RawEvent) -> Reply {
        if &*event.name == "busy" {
            // tidy: sleep because the handler is meant to be slow
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Reply::ok_empty()
    }

    async fn handle_lagged(&mut self, socket: &mut Socket, Lagged(lost): Lagged) -> Flow {
        match self.goes_on {
            true => socket.push("lost", &json!({ "n": lost })).into(),
            false => Flow::Fail("told to".into()),
        }
    }

    async fn terminate(&mut self, socket: &mut Socket, reason: Terminated) {
        let reason = format!("{reason:?}");
        socket
            .push("terminated", &json!({ "reason": reason }))
            .unwrap();
    }
}

impl HandleInfo<Message> for Watcher {
    async fn handle_info(&mut self, socket: &mut Socket, message: Message) -> Flow {
        let heard = Broadcast::from_message(&message).unwrap().unwrap();
        socket.push_payload("heard", heard.payload().clone()).into()
    }
}

fn server(pubsub: &PubSub) -> TestSockets<PubSub> {
    let mut config = SocketsConfig::default();
    config.inbox_messages = ROOM;
    let sockets = Sockets::new(pubsub, pubsub.clone())
        .channel::<Watcher>("watch")
        .config(config);
    TestSockets::new(sockets)
}

async fn busy(pubsub: &PubSub, goes_on: bool) -> TestChannel {
    busy_at(&server(pubsub), goes_on).await
}

async fn busy_at(server: &TestSockets<PubSub>, goes_on: bool) -> TestChannel {
    let socket = server.connect(json!({})).await.unwrap();
    let watcher = socket.join("watch", goes_on).await.unwrap();
    watcher.push("busy", json!({})).await;
    advance(Duration::ZERO).await;
    watcher
}

fn tell(pubsub: &PubSub, topic: &str, event: &str, count: usize) {
    for n in 0..count {
        broadcast(pubsub, topic, event, &json!({ "n": n })).unwrap();
    }
}

async fn pushes(watcher: &TestChannel, event: &str, count: usize) {
    for n in 0..count {
        assert_push!(watcher, event, { "n": n });
    }
    refute_push!(watcher, event);
}

#[tokio::test(start_paused = true)]
async fn a_channel_ends_for_an_intercepted_broadcast_that_must_arrive_and_found_no_room() {
    let (pubsub, lines) = (PubSub::local(), Lines::collect());
    let watcher = busy(&pubsub, true).await;
    tell(&pubsub, "watch", "must", ROOM + 3);
    assert_push!(watcher, "terminated", { "reason": "Overrun" });
    assert_push!(watcher, "phx_error");
    refute_push!(watcher, "must");
    let lines = told(&lines);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("watch") && lines[0].contains("inbox_messages"),
        "{lines:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn of_many_channels_that_miss_something_there_is_a_line_a_second_of_each_kind() {
    let (pubsub, lines) = (PubSub::local(), Lines::collect());
    let server = server(&pubsub);
    let mut watchers = Vec::new();
    for _ in 0..3 {
        watchers.push(busy_at(&server, true).await);
    }
    tell(&pubsub, "watch", "may", ROOM + 1);
    tell(&pubsub, "news", "new", 1);
    let first = told(&lines);
    assert_eq!(first.len(), 2, "{first:?}");
    advance(Duration::from_secs(1)).await;
    tell(&pubsub, "watch", "must", 1);
    for watcher in &watchers {
        watcher.push("busy", json!({})).await;
    }
    advance(Duration::from_secs(1)).await;
    tell(&pubsub, "watch", "may", ROOM + 1);
    let next = told(&lines);
    let counted = next.iter().filter(|line| line.contains("left_out=2"));
    assert_eq!((next.len(), counted.count()), (1, 1), "{next:?}");
}

#[tokio::test(start_paused = true)]
async fn as_many_as_fit_are_all_seen() {
    let pubsub = PubSub::local();
    let watcher = busy(&pubsub, true).await;
    tell(&pubsub, "watch", "must", ROOM);
    pushes(&watcher, "must", ROOM).await;
    refute_push!(watcher, "phx_error");
}

#[tokio::test(start_paused = true)]
async fn an_intercepted_broadcast_that_may_give_way_does() {
    let (pubsub, lines) = (PubSub::local(), Lines::collect());
    let watcher = busy(&pubsub, true).await;
    tell(&pubsub, "watch", "may", ROOM + 3);
    pushes(&watcher, "may", ROOM).await;
    let asked = watcher.push("ask", json!({})).await;
    assert_reply!(asked, ok, {});
    assert_eq!(told(&lines).len(), 1, "it is told, once");
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_told_in_its_place_how_much_of_its_subscriptions_it_missed() {
    let (pubsub, lines) = (PubSub::local(), Lines::collect());
    let watcher = busy(&pubsub, true).await;
    tell(&pubsub, "news", "n", ROOM + 3);
    assert_push!(watcher, "lost", { "n": 3 });
    pushes(&watcher, "heard", ROOM).await;
    tell(&pubsub, "news", "n", 1);
    pushes(&watcher, "heard", 1).await;
    assert_eq!(told(&lines).len(), 1, "it is told, once");
    let watcher = busy(&pubsub, false).await;
    tell(&pubsub, "news", "n", ROOM + 1);
    assert_push!(watcher, "phx_error");
}

/// Unless it says otherwise.
struct Plain;

impl Channel<PubSub> for Plain {
    type Params = ();
    type Event = RawEvent;

    async fn join(pubsub: &PubSub, socket: &mut Socket, (): ()) -> Result<Self, Refused> {
        socket.subscribe::<Self>("news").unwrap();
        tell(pubsub, "news", "n", ROOM + 1);
        Ok(Self)
    }

    async fn handle_in(&mut self, _: &mut Socket, _: RawEvent) -> Reply {
        Reply::none()
    }
}

impl HandleInfo<Message> for Plain {
    async fn handle_info(&mut self, _: &mut Socket, _: Message) -> Flow {
        Flow::Continue
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_does_not_say_otherwise_ends_when_it_missed_something() {
    // Whoever writes a line first without a collector may turn it off for others.
    let (pubsub, _lines) = (PubSub::local(), Lines::collect());
    let mut config = SocketsConfig::default();
    config.inbox_messages = ROOM;
    let sockets = Sockets::new(&pubsub, pubsub.clone())
        .channel::<Plain>("plain")
        .config(config);
    let socket = TestSockets::new(sockets).connect(json!({})).await.unwrap();
    let plain = socket.join("plain", json!({})).await.unwrap();
    assert_push!(plain, "phx_error");
}
