//! Channels of one client that all have something for it at the same moment, each on a thread of its own.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::transport::memory::MemoryService;
use matryoshka_channel::transport::{ConnectInfo, Limits, Params};
use matryoshka_channel::{Channel, RawEvent, Refused, Reply, Socket, Sockets, SocketsConfig};
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
        self.0.wait();
        Reply::ok(&"x".repeat(ANSWER_BYTES))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 14)]
async fn a_client_that_reads_is_not_closed_for_answers_that_are_there_all_at_once() {
    let mut config = SocketsConfig::default();
    config.blocking_warning = Duration::MAX;
    let sockets = Sockets::new(&PubSub::local(), Arc::new(Barrier::new(ROOMS)))
        .channel::<Meeting>("room:*")
        .config(config);
    let limits = Limits::default().with_outbox_bytes(4 * ANSWER_BYTES);
    let service = MemoryService::new(sockets)
        .with_limits(limits)
        .with_capacity(0);
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
    for n in 0..ROOMS {
        let answer = client.recv_frame().await;
        assert!(
            answer.is_some_and(|answer| answer.len() > ANSWER_BYTES),
            "closed after {n}"
        );
    }
}
