//! What the messages of all clients together may hold of the server's memory, where channels do not work them off.

use std::time::Duration;

use matryoshka_channel::SocketsConfig;
use matryoshka_channel::testing::advance;
use matryoshka_channel::transport::memory::{self, MemoryService};
use matryoshka_channel::transport::{ConnectInfo, ConnectionLimits, Connections, Handler, Params};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::lab::Lab;
use crate::log::Lines;

const KIB: usize = 1024;

/// A client of an address, which has joined its topic.
struct Client(memory::Client);

impl Client {
    async fn join<H: Handler>(service: &MemoryService<H>, address: u8, topic: &str) -> Self {
        let info = ConnectInfo::new("memory", Params::parse("vsn=2.0.0").unwrap()).unwrap();
        let info = info.with_peer_addr(Some(([192, 0, 2, address], 80).into()));
        let mut client = Self(service.connect(info).await.unwrap());
        client.say(json!(["1", "1", topic, "phx_join", {}])).await;
        client.hears(r#""1","lab:"#).await;
        client
    }

    async fn say(&mut self, message: Value) {
        self.0.send_text(message.to_string()).await.unwrap();
    }

    /// A message that its channel is at work with for so long.
    async fn ask(&mut self, topic: &str, n: usize, bytes: usize, ms: u64) {
        let payload = json!({ "ms": ms, "filling": "x".repeat(bytes) });
        self.say(json!(["1", n.to_string(), topic, "slow", payload]))
            .await;
    }

    async fn beat(&mut self) {
        self.say(json!([null, "h", "phoenix", "heartbeat", {}]))
            .await;
    }

    /// What comes next has these words in it.
    async fn hears(&mut self, words: &str) {
        let frame = timeout(Duration::from_secs(30), self.0.recv_frame()).await;
        let frame = frame.expect("nothing came").expect("it is open");
        let text = frame.as_text().unwrap();
        assert!(text.contains(words), "{words}: {text}");
    }

    async fn hears_nothing(&mut self) {
        let frame = timeout(Duration::from_millis(1), self.0.recv_frame()).await;
        assert!(frame.is_err(), "{frame:?}");
    }
}

fn at_most(bytes: usize) -> Connections {
    let limits = ConnectionLimits::default().with_max_unhandled_bytes(Some(bytes));
    Connections::with_limits(limits)
}

#[tokio::test(start_paused = true)]
async fn clients_of_an_address_whose_channels_hold_much_are_not_read_and_all_others_are() {
    let (connections, lines) = (at_most(1024 * KIB), Lines::collect());
    let sockets = Lab::new().sockets();
    let service = MemoryService::new(sockets.clone())
        .with_connections(&connections)
        .with_capacity(1000);
    let mut flood = Vec::new();
    for n in 0..4 {
        let topic = format!("lab:{n}");
        flood.push(Client::join(&service, 1, &topic).await);
    }
    let mut other = Client::join(&service, 2, "lab:other").await;
    let mut small = Client::join(&service, 1, "lab:small").await;
    let before = sockets.stats().messages_in;
    for round in 0..5 {
        for (n, client) in flood.iter_mut().enumerate() {
            client
                .ask(&format!("lab:{n}"), round, 200 * KIB, 1_000)
                .await;
            advance(Duration::from_micros(1)).await;
        }
    }
    let read = sockets.stats().messages_in - before;
    assert!((5..=9).contains(&read), "{read} of 20 were read");
    assert!(connections.stats().paused_unhandled >= 4);
    let told = lines.take();
    assert!(
        told.iter().any(|line| line.contains("max_unhandled_bytes")),
        "{told:?}"
    );
    // Whoever has little is read, whatever its address has, and another address has its share.
    small.beat().await;
    small.hears("phoenix").await;
    other.ask("lab:other", 1, 200 * KIB, 0).await;
    other.hears(r#""1","1","lab:other""#).await;
    // What was not read waits, and nothing of it is lost.
    for round in 0..5 {
        for (n, client) in flood.iter_mut().enumerate() {
            client.hears(&format!(r#""1","{round}","lab:{n}""#)).await;
        }
    }
    assert_eq!(sockets.stats().inbox_waiting, 0);
    assert_eq!(connections.count(), 6);
    // All of it is given back: as much fits in as ever.
    let paused = connections.stats().paused_unhandled;
    for client in &mut flood {
        client.beat().await;
        client.hears("phoenix").await;
    }
    assert_eq!(connections.stats().paused_unhandled, paused);
}

/// The one that hangs ends, as it would if its own connection held too much; channels that get on do not.
#[tokio::test(start_paused = true)]
async fn of_channels_that_hold_much_together_only_one_that_takes_nothing_ends() {
    let (connections, _lines) = (at_most(1024 * KIB), Lines::collect());
    let sockets = Lab::new().sockets_with(SocketsConfig::default());
    let service = MemoryService::new(sockets.clone())
        .with_connections(&connections)
        .with_capacity(1000);
    let mut hung = Client::join(&service, 1, "lab:hung").await;
    let mut slow = Client::join(&service, 1, "lab:slow").await;
    for n in 0..3 {
        let ms = [70_000, 0][n.min(1)];
        hung.ask("lab:hung", n, 340 * KIB, ms).await;
    }
    advance(Duration::from_micros(1)).await;
    for (n, bytes) in [(0, 100 * KIB), (1, 600 * KIB)] {
        slow.ask("lab:slow", n, bytes, 15_000).await;
    }
    slow.beat().await;
    slow.hears_nothing().await;
    // It waits for longer, and has worked something off.
    advance(Duration::from_secs(1)).await;
    hung.ask("lab:hung", 3, 0, 0).await;
    hung.beat().await;
    hung.hears_nothing().await;
    advance(Duration::from_secs(25)).await;
    for words in [r#""1","0","lab:slow""#, "phoenix", r#""1","1","lab:slow""#] {
        slow.hears(words).await;
    }
    let mut heard = String::new();
    while !heard.contains("phoenix") {
        heard.push_str(hung.0.recv_frame().await.unwrap().as_text().unwrap());
    }
    assert!(heard.contains("phx_error"), "{heard}");
    for n in 1..4 {
        assert!(heard.contains(&format!(r#""{n}","lab:hung""#)), "{heard}");
    }
}

/// One that found no room in its channel's inbox is kept as well.
#[tokio::test(start_paused = true)]
async fn a_message_before_a_full_inbox_counts() {
    let connections = at_most(512 * KIB);
    let mut config = SocketsConfig::default();
    config.inbox_messages = 1;
    let sockets = Lab::new().sockets_with(config);
    let service = MemoryService::new(sockets)
        .with_connections(&connections)
        .with_capacity(1000);
    let mut clients = Vec::new();
    for n in 0..3 {
        let topic = format!("lab:{n}");
        let mut client = Client::join(&service, 1, &topic).await;
        for (n, bytes) in [(1, 10), (2, 10), (3, 200 * KIB)] {
            client.ask(&topic, n, bytes, 5_000).await;
        }
        advance(Duration::from_micros(1)).await;
        clients.push(client);
    }
    let mut last = Client::join(&service, 1, "lab:last").await;
    last.ask("lab:last", 1, 100 * KIB, 5_000).await;
    last.beat().await;
    last.hears_nothing().await;
    assert_eq!(connections.stats().paused_unhandled, 1);
    for (n, client) in clients.iter_mut().enumerate() {
        for m in 1..=3 {
            client.hears(&format!(r#""1","{m}","lab:{n}""#)).await;
        }
    }
    last.hears("lab:last").await;
    last.hears("phoenix").await;
}
