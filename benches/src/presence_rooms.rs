//! Rooms whose clients are not told everybody: what a change costs the node and one client, and what a join does, in a room of 1,000 and in
//! one of 100,000, in the modes `count` and `window(20)`.
//! And one whose clients are told everybody: what one more costs that joins together with another one, with which it shares the list.
//!
//! Target: the large room costs no client more, and the node at most twice as much. Who shares a list of 5,000 costs at most a fifth of
//! who makes it be written.

use std::time::Duration;

use matryoshka_presence::channel::pubsub::PubSub;
use matryoshka_presence::channel::pubsub::registry::Owner;
use matryoshka_presence::channel::transport::memory::{Client, MemoryService};
use matryoshka_presence::channel::transport::{ConnectInfo, Frame, Params};
use matryoshka_presence::channel::{Channel, Connected, Refused, Reply, Socket, Sockets};
use matryoshka_presence::{Mode, Presence, PresenceConfig, TopicConfig};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::mesh::meter::{Bar, Meter, Values, load_average};

const SMALL: usize = 1_000;
const LARGE: usize = 100_000;
const ROOM: &str = "room:stadium";
const ROUNDS: usize = 3;
/// Changes of one round, each told by itself: counts are told once a second, windows after the period.
const CHANGES: usize = 2;
const JOINS: usize = 20;
/// In the room whose clients are told everybody.
const FULL: usize = 5_000;
const NEXT_COUNT: Duration = Duration::from_millis(1_050);
/// After so long without a frame, all have come.
const QUIET: Duration = Duration::from_millis(150);

/// Prints what it costs.
pub(crate) fn run() {
    println!(
        "\nrooms whose clients are not told everybody; {}",
        load_average()
    );
    for mode in [Mode::Count, Mode::Window(20)] {
        println!(" {mode:?}");
        let [small, large] = [SMALL, LARGE].map(|size| measured(mode, size));
        for (what, unit, small, large, most) in [
            (
                "a change, CPU",
                "us",
                &small.change_cpu,
                &large.change_cpu,
                2.0,
            ),
            (
                "a change, to a client",
                "bytes",
                &small.change_bytes,
                &large.change_bytes,
                1.1,
            ),
            ("a join, CPU", "us", &small.join_cpu, &large.join_cpu, 2.0),
            (
                "a join, to the client",
                "bytes",
                &small.join_bytes,
                &large.join_bytes,
                1.1,
            ),
        ] {
            let ratio = large.median() / small.median();
            let verdict = Bar::AtMost(most).judge(ratio);
            println!(
                "  {what}, {unit}: {SMALL} there {small}, {LARGE} there {large}, ratio {ratio:.2}  {verdict}"
            );
        }
    }
    println!(" {:?}", Mode::Full);
    let (first, another) = shared();
    let ratio = another.median() / first.median();
    let verdict = Bar::AtMost(0.2).judge(ratio);
    println!(
        "  a state of {FULL} entries, CPU us: to a joiner {first}, to one more {another}, ratio {ratio:.2}  {verdict}"
    );
}

/// CPU us of a join in a full room, and of each further one that shares its list.
fn shared() -> (Values, Values) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a thread").block_on(async {
        let room = Room::with(Mode::Full, FULL).await;
        let (mut first, mut another) = (Values::default(), Values::default());
        join_together(&room, 1 + JOINS).await;
        for _ in 0..ROUNDS {
            let one = join_together(&room, 1).await;
            let all = join_together(&room, 1 + JOINS).await;
            first.push(one);
            another.push((all - one) / JOINS as f64);
        }
        (first, another)
    })
}

/// CPU us until so many who join at once have the list.
async fn join_together(room: &Room, count: usize) -> f64 {
    let mut clients = Vec::new();
    let meter = Meter::start();
    for _ in 0..count {
        clients.push(room.join().await);
    }
    for client in &mut clients {
        let mut bytes = 0;
        while bytes < FULL {
            match client.recv_frame().await {
                Some(Frame::Text(text)) => bytes += text.len(),
                _ => panic!("a client of the room ended"),
            }
        }
    }
    meter.stop().cpu.as_secs_f64() * 1e6
}

#[derive(Default)]
struct Costs {
    change_cpu: Values,
    change_bytes: Values,
    join_cpu: Values,
    join_bytes: Values,
}

fn measured(mode: Mode, size: usize) -> Costs {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a thread").block_on(async {
        let room = Room::with(mode, size).await;
        let mut costs = Costs::default();
        let mut watcher = room.join().await;
        heard(&mut watcher).await;
        sleep(NEXT_COUNT).await;
        for round in 0..ROUNDS {
            heard(&mut watcher).await;
            let (meter, mut bytes, owner) = (Meter::start(), 0, Owner::new());
            for change in 0..CHANGES {
                // Among the first, so that a window shows it, and one after the other.
                let key = format!("a-{round}-{change}");
                let meta = online();
                let tracked = room.presence.of(&owner).track(ROOM, &key, &meta);
                tracked.await.expect("nobody has it");
                sleep(NEXT_COUNT).await;
                bytes += heard(&mut watcher).await;
            }
            let took = meter.stop().cpu.as_secs_f64() * 1e6;
            costs.change_cpu.push(took / CHANGES as f64);
            costs.change_bytes.push(bytes as f64 / CHANGES as f64);
            drop(owner);
            sleep(NEXT_COUNT).await;
            heard(&mut watcher).await;
            let (meter, mut bytes) = (Meter::start(), 0);
            for _ in 0..JOINS {
                bytes += heard(&mut room.join().await).await;
            }
            let took = meter.stop().cpu.as_secs_f64() * 1e6;
            costs.join_cpu.push(took / JOINS as f64);
            costs.join_bytes.push(bytes as f64 / JOINS as f64);
        }
        costs
    })
}

/// Bytes of the frames that have come, and that come until it is quiet.
async fn heard(client: &mut Client) -> usize {
    let mut bytes = 0;
    while let Ok(Some(frame)) = timeout(QUIET, client.recv_frame()).await {
        if let Frame::Text(text) = frame {
            bytes += text.len();
        }
    }
    bytes
}

fn online() -> serde_json::Value {
    json!({ "online_at": 1_700_000_000, "status": "online" })
}

/// A room that somebody watches who is not on its list.
struct Room {
    presence: Presence,
    service: MemoryService<Sockets<Presence>>,
    _crowd: Vec<Owner>,
}

impl Room {
    async fn with(mode: Mode, size: usize) -> Self {
        let pubsub = PubSub::local();
        let config =
            PresenceConfig::default().with_topics("room:*", TopicConfig::default().with_mode(mode));
        let presence = Presence::start(&pubsub, config).expect("the first of its name");
        let sockets = Sockets::new(&pubsub, presence.clone())
            .on_connect(async |_: Presence, _: ConnectInfo| Ok(Connected::new()))
            .channel::<Watcher>("room:*");
        let (mut crowd, meta) = (Vec::new(), online());
        for n in 0..size {
            let (owner, key) = (Owner::new(), format!("user-{n:06}"));
            let tracked = presence.of(&owner).track(ROOM, &key, &meta);
            tracked.await.expect("each has a key of its own");
            crowd.push(owner);
        }
        Self {
            presence,
            service: MemoryService::new(sockets),
            _crowd: crowd,
        }
    }

    async fn join(&self) -> Client {
        let params = Params::parse("vsn=2.0.0").expect("plain parameters");
        let info = ConnectInfo::new("memory", params).expect("a version that is spoken");
        let mut client = self.service.connect(info).await.expect("it is let in");
        let frame = json!(["1", "1", ROOM, "phx_join", {}]).to_string();
        client.send_text(frame).await.expect("it is connected");
        client
    }
}

struct Watcher;

impl Channel<Presence> for Watcher {
    type Params = serde_json::Value;
    type Event = serde_json::Value;

    async fn join(
        presence: &Presence,
        socket: &mut Socket,
        _: serde_json::Value,
    ) -> Result<Self, Refused> {
        presence.push_state_after_join(socket);
        Ok(Self)
    }

    async fn handle_in(&mut self, _: &mut Socket, _: serde_json::Value) -> Reply {
        Reply::none()
    }
}
