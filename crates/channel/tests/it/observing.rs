//! What an operator sees: spans, counters, and one line for what goes wrong.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::testing::{TestChannel, TestSockets, Value, json, settle};
use matryoshka_channel::{
    Broadcast, Channel, Connected, Flow, Refused, Reply, Socket, Sockets, SocketsConfig,
    Terminated, assert_push, assert_reply, broadcast, log_panics,
};
use serde::{Deserialize, Deserializer};
use tokio::sync::Semaphore;
use tracing_subscriber::fmt::MakeWriter;

use crate::log::{Lines, Log};

/// Waits where it is told to, in one way or the other.
struct Room(Arc<Semaphore>);

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Log,
    Block { ms: u64 },
    Wait,
    Panic,
    BlockUntilTold,
    Slow(Slow),
}

/// Takes long to read.
struct Slow;

impl<'de> Deserialize<'de> for Slow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let _: Value = Deserialize::deserialize(deserializer)?;
        until_told();
        Ok(Self)
    }
}

thread_local! {
    /// Where a channel's lines go, for its callbacks.
    static LOG: RefCell<Option<Log>> = const { RefCell::new(None) };
}

/// Keeps the thread until the log says that a channel does so.
fn until_told() {
    LOG.with_borrow(|log| {
        let log = log.as_ref().expect("the test collects lines");
        log.wait_for("a channel blocks its thread");
    });
}

impl Channel<Arc<Semaphore>> for Room {
    type Params = ();
    type Event = Event;
    const INTERCEPT: &'static [&'static str] = &["looked_at"];

    async fn join(go: &Arc<Semaphore>, _: &mut Socket, (): ()) -> Result<Self, Refused> {
        tracing::info!("in join");
        Ok(Self(Arc::clone(go)))
    }

    async fn handle_in(&mut self, _: &mut Socket, event: Event) -> Reply {
        match event {
            Event::Log => tracing::info!("in handle_in"),
            // tidy: sleep because it is the handler that blocks its thread
            Event::Block { ms } => thread::sleep(Duration::from_millis(ms)),
            Event::Wait => self.0.acquire().await.unwrap().forget(),
            Event::Panic => panic!("told to"),
            Event::BlockUntilTold => until_told(),
            Event::Slow(Slow) => {}
        }
        Reply::ok_empty()
    }

    async fn handle_out(&mut self, _: &mut Socket, _looked_at: Broadcast) -> Flow {
        until_told();
        Flow::Continue
    }

    async fn terminate(&mut self, _: &mut Socket, _: Terminated) {
        tracing::info!("in terminate");
    }
}

struct Server {
    test: TestSockets<Arc<Semaphore>>,
    go: Arc<Semaphore>,
}

fn server() -> Server {
    let go = Arc::new(Semaphore::new(0));
    let mut config = SocketsConfig::default();
    // Much longer than a busy machine keeps a thread waiting.
    config.blocking_warning = Duration::from_millis(200);
    config.inbox_messages = 10;
    let sockets = Sockets::new(&PubSub::local(), Arc::clone(&go))
        .channel::<Room>("room:*")
        .config(config)
        .on_connect(async |_, _| {
            tracing::info!("in on_connect");
            Ok(Connected::new().id("user:7"))
        });
    let test = TestSockets::new(sockets);
    Server { test, go }
}

impl Server {
    async fn joined(&self) -> TestChannel {
        let params = json!({ "user": "anna", "auth_token": "T0KEN" });
        let socket = self.test.connect(params).await.unwrap();
        let params = json!({ "password": "PASSW0RD", "a": [{ "secret_key": "S3CRET", "b": 1 }] });
        socket.join("room:1", params).await.unwrap()
    }
}

/// Everything that a subscriber writes in this thread.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Page {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The spans around the line that ends in these words.
    fn spans_of(&self, words: &str) -> String {
        let text = self.text();
        let line = text.lines().find(|line| line.ends_with(words));
        let line = line.unwrap_or_else(|| panic!("no line {words:?} in\n{text}"));
        let from = line.find("socket{").expect(line);
        let to = line.find(": it::observing").expect(line);
        line[from..to].to_owned()
    }
}

fn collect(filter: tracing::Level) -> (Page, tracing::subscriber::DefaultGuard) {
    let page = Page::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(filter)
        .with_ansi(false)
        .with_writer(page.clone())
        .finish();
    (page.clone(), tracing::subscriber::set_default(subscriber))
}

#[tokio::test(start_paused = true)]
async fn a_line_of_the_log_tells_whose_it_is_and_no_secret() {
    let (page, _guard) = collect(tracing::Level::DEBUG);
    let server = server();
    let channel = server.joined().await;
    let payload = json!({ "text": "hi", "newPassword": "PASSW0RD" });
    let logged = channel.push("log", payload).await;
    assert_reply!(logged, ok, {});
    channel.leave().await;
    assert_push!(channel, "phx_close");
    settle().await;
    let socket = r#"socket{transport="memory" vsn="2.0.0" params={"auth_token":"[FILTERED]","user":"anna","vsn":"2.0.0"}"#;
    let connecting = page.spans_of("in on_connect");
    assert_eq!(connecting, format!("{socket}}}"));
    let in_channel = r#":channel{topic="room:1" params={"a":[{"b":1,"secret_key":"[FILTERED]"}],"password":"[FILTERED]"}}"#;
    let socket = format!(r#"{socket} id="user:7"}}"#);
    assert_eq!(page.spans_of("in join"), format!("{socket}{in_channel}"));
    assert_eq!(
        page.spans_of("in terminate"),
        format!("{socket}{in_channel}")
    );
    let event = r#":event{event="log" payload={"newPassword":"[FILTERED]","text":"hi"}}"#;
    assert_eq!(
        page.spans_of("in handle_in"),
        format!("{socket}{in_channel}{event}")
    );
    for secret in ["T0KEN", "PASSW0RD", "S3CRET"] {
        assert!(!page.text().contains(secret), "{}", page.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_logs_at_info_has_no_spans() {
    let (page, _guard) = collect(tracing::Level::INFO);
    let server = server();
    let channel = server.joined().await;
    let logged = channel.push("log", json!({})).await;
    assert_reply!(logged, ok, {});
    let text = page.text();
    assert!(
        text.contains("in handle_in") && !text.contains("socket{"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_blocks_is_told_with_topic_and_milliseconds() {
    let lines = Lines::down_to(tracing::Level::INFO);
    let server = server();
    let channel = server.joined().await;
    let blocked = channel.push("block", json!({ "ms": 210 })).await;
    assert_reply!(blocked, ok, {});
    let lines = lines.take();
    let warnings = lines.iter().filter(|line| line.starts_with("WARN"));
    assert_eq!(warnings.count(), 1, "{lines:?}");
    // The watch may have been there before.
    let line = lines.last().unwrap();
    assert!(
        line.contains("message=a channel that blocked its thread has given it back")
            || line.contains("message=a channel blocked its thread: "),
        "{line}"
    );
    assert!(
        line.contains("topic=\"room:1\" callback=\"handle_in\" event=\"block\" ms="),
        "{line}"
    );
    let ms = line.split("ms=").nth(1).unwrap().split(' ').next().unwrap();
    assert!(ms.parse::<u64>().unwrap() >= 200, "{line}");
    assert_eq!(server.test.sockets().stats().blocking, 1);
}

/// Else one that never gave it back would never be named.
#[tokio::test(start_paused = true)]
async fn a_callback_that_still_has_its_thread_is_told() {
    for event in ["block_until_told", "slow"] {
        let lines = Lines::down_to(tracing::Level::INFO);
        LOG.set(Some(lines.log()));
        let server = server();
        let channel = server.joined().await;
        let blocked = channel.push(event, json!({})).await;
        assert_reply!(blocked, ok, {});
        let lines = lines.take();
        let [.., told, over] = &lines[..] else {
            panic!("{lines:?}");
        };
        let of_it = format!(r#"topic="room:1" callback="handle_in" event="{event}" ms="#);
        for (line, words) in [
            (told, "WARN message=a channel blocks its thread: "),
            (
                over,
                "INFO message=a channel that blocked its thread has given it back ",
            ),
        ] {
            assert!(line.starts_with(words) && line.contains(&of_it), "{line}");
        }
        assert_eq!(server.test.sockets().stats().blocking, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_that_a_channel_looks_at_for_too_long_is_told_by_its_name() {
    let lines = Lines::down_to(tracing::Level::INFO);
    LOG.set(Some(lines.log()));
    let server = server();
    let _channel = server.joined().await;
    broadcast(server.test.pubsub(), "room:1", "looked_at", &()).unwrap();
    settle().await;
    let lines = lines.take();
    let [.., told, over] = &lines[..] else {
        panic!("{lines:?}");
    };
    let of_it = r#"topic="room:1" callback="handle_out" event="looked_at" ms="#;
    assert!(told.contains(of_it) && over.contains(of_it), "{lines:?}");
}

/// Waiting is what callbacks are for.
#[tokio::test]
async fn a_callback_that_awaits_for_long_is_not() {
    let lines = Lines::collect();
    let server = server();
    let channel = server.joined().await;
    let waiting = channel.push("wait", json!({})).await;
    let go = Arc::clone(&server.go);
    let opened = tokio::task::spawn_blocking(move || {
        // tidy: sleep because the handler has to wait longer than the limit by the real clock
        thread::sleep(Duration::from_millis(210));
        go.add_permits(1);
    });
    opened.await.unwrap();
    assert_reply!(waiting, ok, {});
    assert_eq!(lines.take(), [""; 0]);
    let time = server.test.sockets().stats().handler_time;
    assert!(time.total >= Duration::from_millis(200), "{time:?}");
    let slow: u64 = time.counts[5..].iter().sum();
    assert_eq!((slow, time.counts.iter().sum::<u64>()), (1, 2), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn the_counters_tell_connections_and_what_waits() {
    let server = server();
    let stats = || server.test.sockets().stats();
    let channel = server.joined().await;
    let other = server.joined().await;
    assert_eq!((stats().connected, stats().disconnected), (2, 0));
    channel.push("wait", json!({})).await;
    for _ in 0..3 {
        channel.push("log", json!({})).await;
    }
    settle().await;
    assert_eq!((stats().messages_in, stats().inbox_waiting), (6, 3));
    server.go.add_permits(1);
    settle().await;
    assert_eq!(stats().inbox_waiting, 0);
    let handled: u64 = stats().handler_time.counts.iter().sum();
    assert_eq!(handled, 2 + 4, "joins and events");
    // What waits when a channel ends does not wait for ever.
    channel.push("wait", json!({})).await;
    channel.push("log", json!({})).await;
    settle().await;
    assert_eq!(stats().inbox_waiting, 1);
    channel.socket().close().await;
    settle().await;
    server.go.add_permits(1);
    settle().await;
    assert_eq!((stats().inbox_waiting, stats().disconnected), (0, 1));
    drop(other);
    settle().await;
    assert_eq!((stats().connected, stats().disconnected), (2, 2));
}

/// The hook is the whole process's, so this looks at its own thread only.
#[tokio::test(start_paused = true)]
async fn a_panicking_channel_is_one_line_with_its_place_and_topic() {
    let test = thread::current().id();
    let hooked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&hooked);
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| match thread::current().id() == test {
        true => drop(count.fetch_add(1, Ordering::SeqCst)),
        false => others(info),
    }));
    let server = server();
    let crash = async |lines: &Lines| {
        let channel = server.joined().await;
        channel.push("panic", json!({})).await;
        assert_push!(channel, "phx_error");
        let lines = lines.take_timeless();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].clone()
    };
    let lines = Lines::collect();
    let without = crash(&lines).await;
    assert_eq!(
        without,
        r#"ERROR message=a channel panicked topic="room:1" callback="handle_in" panic="told to" left_out=0"#
    );
    assert_eq!(hooked.load(Ordering::SeqCst), 1, "the hook has said it too");
    // Of a kind there is one line a second.
    let channel = server.joined().await;
    channel.push("panic", json!({})).await;
    assert_push!(channel, "phx_error");
    assert_eq!(lines.take(), [""; 0]);
    hooked.store(1, Ordering::SeqCst);
    log_panics();
    tokio::time::advance(Duration::from_secs(1)).await;
    let line = crash(&lines).await;
    assert!(line.contains("left_out=1"), "{line}");
    let backtraces = std::env::var_os("RUST_BACKTRACE").is_some_and(|set| set != "0");
    assert_eq!(hooked.load(Ordering::SeqCst), 1 + usize::from(backtraces));
    let place = line.split("at=").nth(1).unwrap();
    assert!(
        place.contains("observing.rs:") && line.contains("topic=\"room:1\""),
        "{line}"
    );
    // A panic that is no channel's is the hook's as before.
    drop(std::panic::catch_unwind(|| panic!("not a channel's")));
    assert_eq!(hooked.load(Ordering::SeqCst), 2 + usize::from(backtraces));
}
