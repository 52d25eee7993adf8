//! One topic, 64 bytes of text, four messages in flight: CPU for each delivery.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use futures::future::try_join_all;
use tokio::sync::Notify;

use crate::sockets::client::{Client, Speaker};
use crate::sockets::server::Server;
use crate::sockets::{Costs, Load, SAMPLES, each_us, on_one_thread};

/// What a message carries, unless a measurement says otherwise.
pub(super) const PAYLOAD_BYTES: usize = 64;

const HEARTBEAT: &str = r#"[null,"9","phoenix","heartbeat",{}]"#;

/// Messages that are sent before all have arrived.
const IN_FLIGHT: usize = 4;

/// Deliveries per sample: enough for the system's clock ticks to be fine.
const DELIVERIES: usize = 400_000;

/// Numbers of sockets, with the most that a delivery may cost in microseconds of CPU.
const SOCKETS: [(usize, f64); 3] = [(100, 4.6), (1_000, 5.2), (10_000, 7.6)];

/// How many connect at a time.
const CONNECTING: usize = 200;

/// With more than this the clients of three servers would need more file descriptors than a process mostly may have.
const MOST_IN_TURN: usize = 5_000;

pub(crate) fn run() {
    for (sockets, bar) in SOCKETS {
        let costs = match sockets > MOST_IN_TURN {
            true => Costs {
                lab: on_one_thread(samples(Server::lab(), sockets)),
                bare: on_one_thread(samples(Server::bare(), sockets)),
                floor: on_one_thread(samples(Server::floor(), sockets)),
            },
            false => on_one_thread(async {
                let lab = Talk::begin(Server::lab(), sockets).await;
                let bare = Talk::begin(Server::bare(), sockets).await;
                let floor = Talk::begin(Server::floor(), sockets).await;
                Costs::in_turn(lab, bare, floor).await
            }),
        };
        costs.print(&format!("sockets: a delivery to {sockets}"), bar);
    }
}

async fn samples(server: Server, sockets: usize) -> Vec<f64> {
    let mut talk = Talk::begin(server, sockets).await;
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        samples.push(talk.sample().await);
    }
    samples
}

/// A crowd of one server.
struct Talk {
    server: Server,
    crowd: Crowd,
    /// In a sample.
    rounds: usize,
}

impl Talk {
    async fn begin(server: Server, sockets: usize) -> Self {
        let mut crowd = Crowd::gather(&server, "lab:deliver", sockets).await;
        let rounds = (DELIVERIES / sockets / IN_FLIGHT).max(1);
        crowd.rounds(rounds.div_ceil(10)).await;
        Self {
            server,
            crowd,
            rounds,
        }
    }
}

impl Load for Talk {
    async fn sample(&mut self) -> f64 {
        let before = self.server.processes.cpu();
        self.crowd.rounds(self.rounds).await;
        let cpu = self.server.processes.cpu() - before;
        each_us(cpu, self.rounds * IN_FLIGHT * self.crowd.size)
    }
}

/// Sockets on one topic that count what they hear, and one of them that speaks.
pub(super) struct Crowd {
    speaker: Speaker,
    /// Of the others: a connection whose sending half is dropped is closed.
    silent: Vec<Speaker>,
    size: usize,
    heard: Arc<Heard>,
    topic: String,
    message: String,
}

#[derive(Default)]
struct Heard {
    count: AtomicUsize,
    /// At how many the speaker is to be told.
    wanted: AtomicUsize,
    all: Notify,
    /// A connection has ended: not all will hear what is said.
    is_broken: AtomicBool,
}

impl Heard {
    fn add(&self, count: usize) {
        let now = self.count.fetch_add(count, Relaxed) + count;
        if now >= self.wanted.load(Relaxed) {
            self.all.notify_one();
        }
    }

    fn broken(&self) {
        self.is_broken.store(true, Relaxed);
        self.all.notify_one();
    }

    /// # Panics
    /// If a connection ends meanwhile.
    async fn wait(&self) {
        while self.count.load(Relaxed) < self.wanted.load(Relaxed) {
            self.all.notified().await;
            let is_broken = self.is_broken.load(Relaxed);
            assert!(!is_broken, "the server has closed a listener's connection");
        }
    }
}

impl Crowd {
    /// So many listeners on the topic.
    pub(super) async fn gather(server: &Server, topic: &str, size: usize) -> Self {
        let heard = Arc::<Heard>::default();
        let mut speakers = Vec::new();
        let mut left = size;
        while left > 0 {
            let now = left.min(CONNECTING);
            left -= now;
            let joining = (0..now).map(|_| joined(server, topic));
            for client in try_join_all(joining).await.expect("all are let in") {
                let (mut listener, heard) = (client.listener, Arc::clone(&heard));
                speakers.push(client.speaker);
                tokio::spawn(async move {
                    while let Ok(count) = listener.some().await {
                        heard.add(count);
                    }
                    heard.broken();
                });
            }
        }
        let speaker = speakers.pop().expect("there is one socket at least");
        let mut crowd = Self {
            speaker,
            silent: speakers,
            size,
            heard,
            topic: topic.to_owned(),
            message: String::new(),
        };
        crowd.payload_bytes(PAYLOAD_BYTES);
        crowd
    }

    /// From now on messages have payloads of so many bytes.
    pub(super) fn payload_bytes(&mut self, bytes: usize) {
        let text = "x".repeat(bytes - r#"{"t":""}"#.len());
        let topic = &self.topic;
        self.message = format!(r#"["1","2","{topic}","shout",{{"t":"{text}"}}]"#);
    }

    /// Sends four messages and waits until all have them, so many times.
    pub(super) async fn rounds(&mut self, rounds: usize) {
        self.say_often(rounds, IN_FLIGHT).await;
    }

    /// So many times sends so many messages in one go, and waits until all have them.
    pub(super) async fn say_often(&mut self, times: usize, messages: usize) {
        for _ in 0..times {
            self.say(messages).await;
        }
    }

    /// Sends so many messages in one go, and waits until all have them.
    pub(super) async fn say(&mut self, messages: usize) {
        self.want(messages * self.size);
        let sent = self.speaker.send_all(&self.message, messages).await;
        sent.expect("the speaker's connection lives");
        self.heard.wait().await;
    }

    /// A heartbeat of each, with its answer. Without one the server takes a connection for dead after a minute.
    pub(super) async fn heartbeat(&mut self) {
        self.want(self.size);
        for speaker in self.silent.iter_mut().chain([&mut self.speaker]) {
            let sent = speaker.send(HEARTBEAT).await;
            sent.expect("the connections live");
        }
        self.heard.wait().await;
    }

    /// So many more frames are to come.
    fn want(&self, frames: usize) {
        self.heard.wanted.fetch_add(frames, Relaxed);
    }
}

pub(super) async fn joined(server: &Server, topic: &str) -> std::io::Result<Client> {
    let mut client = Client::connect(server.http, "load").await?;
    client.join(topic).await?;
    Ok(client)
}
