//! Channels of one client that all have something for it at the same moment, each on a thread of its own.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::transport::memory::MemoryService;
use matryoshka_channel::transport::{ConnectInfo, Limits, Params};
use matryoshka_channel::{Channel, Flow, RawEvent, Refused, Reply, Socket, Sockets, SocketsConfig};
use serde_json::json;

const ROOMS: usize = 10;
const ANSWER_BYTES: usize = 60 * 1024;

/// Keeps its thread until all others have one, as those do that compute.
struct Meeting(Arc<Barrier>);

impl Channel<Arc<Barrier>> for Meeting {
    type Params = ();
    type Event = RawEvent;

    async fn join(all: &Arc<Barrier>, _: &mut Socket, (): ()) -> Result<Self, Refused> {
        Ok(Self(Arc::clone(all)))
    }

    async fn handle_in(&mut self, _: &mut Socket, _: RawEvent) -> Reply {
        meet_all(&self.0);
        Reply::ok(&large())
    }
}

/// Keeps the thread, whose other tasks go on elsewhere: one that it had just woken would else wait for it, and all others for that one.
fn meet_all(all: &Barrier) {
    tokio::task::block_in_place(|| all.wait());
}

fn large() -> Vec<String> {
    vec!["x".repeat(ANSWER_BYTES)]
}

/// Its joins meet.
struct Refusing;

impl Channel<Arc<Barrier>> for Refusing {
    type Params = ();
    type Event = RawEvent;

    async fn join(all: &Arc<Barrier>, _: &mut Socket, (): ()) -> Result<Self, Refused> {
        meet_all(all);
        Err(Refused::with(&large()))
    }

    async fn handle_in(&mut self, _: &mut Socket, _: RawEvent) -> Reply {
        Reply::none()
    }
}

/// They meet once they have joined.
struct Listing;

impl Channel<Arc<Barrier>> for Listing {
    type Params = ();
    type Event = RawEvent;

    async fn join(all: &Arc<Barrier>, socket: &mut Socket, (): ()) -> Result<Self, Refused> {
        let all = Arc::clone(all);
        socket.after_join(move |socket| {
            Box::pin(async move {
                meet_all(&all);
                let list = json!({ "list": large() });
                socket.push_when_room("list", &list).await.into()
            })
        });
        Ok(Self)
    }

    async fn handle_in(&mut self, _: &mut Socket, _: RawEvent) -> Reply {
        Reply::none()
    }
}

/// Tasks beside the channels meet, and each has more for the client than there is room for.
struct Sending;

const SENT_EACH: usize = 3;

impl Channel<Arc<Barrier>> for Sending {
    type Params = ();
    type Event = RawEvent;

    async fn join(all: &Arc<Barrier>, socket: &mut Socket, (): ()) -> Result<Self, Refused> {
        let all = Arc::clone(all);
        socket.after_join(move |socket| {
            let pusher = socket.pusher();
            tokio::spawn(async move {
                meet_all(&all);
                let part = json!({ "part": large() });
                for _ in 0..SENT_EACH {
                    pusher.push_when_room("part", &part).await.unwrap();
                }
            });
            Box::pin(async { Flow::Continue })
        });
        Ok(Self)
    }

    async fn handle_in(&mut self, _: &mut Socket, _: RawEvent) -> Reply {
        Reply::none()
    }
}

/// One client that sends these events on each of its topics, the last of them all at once, and gets so much on each.
async fn meet<C: Channel<Arc<Barrier>>>(events: &[&str], small_each: usize, large_each: usize) {
    let mut config = SocketsConfig::default();
    config.blocking_warning = Duration::MAX;
    let sockets = Sockets::new(&PubSub::local(), Arc::new(Barrier::new(ROOMS)))
        .channel::<C>("room:*")
        .config(config);
    let limits = Limits::default().with_outbox_bytes(4 * ANSWER_BYTES);
    let service = MemoryService::new(sockets)
        .with_limits(limits)
        .with_capacity(0);
    let info = ConnectInfo::new("memory", Params::parse("vsn=2.0.0").unwrap()).unwrap();
    let mut client = service.connect(info).await.unwrap();
    for (at, event) in events.iter().enumerate() {
        for n in 0..ROOMS {
            let n = n.to_string();
            let message = json!([n, n, format!("room:{n}"), event, {}]).to_string();
            client.send_text(message).await.unwrap();
            if at + 1 < events.len() {
                client.recv_frame().await.unwrap();
            }
        }
    }
    let mut large_ones = 0;
    for n in 0..ROOMS * (small_each + large_each) {
        let frame = client.recv_frame().await;
        let frame = frame.unwrap_or_else(|| panic!("closed after {n}"));
        large_ones += usize::from(frame.len() > ANSWER_BYTES);
    }
    assert_eq!(large_ones, ROOMS * large_each);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 14)]
async fn a_client_that_reads_is_not_closed_for_answers_that_are_there_all_at_once() {
    meet::<Meeting>(&["phx_join", "ask"], 0, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 14)]
async fn nor_for_refusals() {
    meet::<Refusing>(&["phx_join"], 0, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 14)]
async fn nor_for_what_waits_for_room() {
    meet::<Listing>(&["phx_join"], 1, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 14)]
async fn nor_for_what_tasks_have_for_it() {
    meet::<Sending>(&["phx_join"], 1, SENT_EACH).await;
}
