//! A suite says nothing if nothing fails it: adapters that break one promise each, and the check of the contract that finds
//! it out.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use matryoshka_pubsub::memory::{MemoryMesh, MemoryNode};
use matryoshka_pubsub::testing::contract;
use matryoshka_pubsub::{
    Adapter, AdapterError, DirectError, Envelope, Inbound, Incarnation, Kind, LinkId, NodeName,
    Origin, PubSub, Reached, TrafficClass,
};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(10);

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    CallsItselfOtherwise,
    Echoes,
    LosesOneOfTen,
    SendsTwice,
    Overtakes,
    ForgetsWhatIsDirect,
    DirectGoesToAll,
    NobodyIsSomebody,
    MiscountsPeers,
    ForgetsTheKind,
    CutsPayloads,
    CarriesUsersOnly,
    SlowToLearnOfTopics,
}

/// The faults that show on a cluster of three, each with the check that must find it out.
const FAULTS: [Fault; 13] = [
    Fault::CallsItselfOtherwise,
    Fault::Echoes,
    Fault::LosesOneOfTen,
    Fault::SendsTwice,
    Fault::Overtakes,
    Fault::ForgetsWhatIsDirect,
    Fault::DirectGoesToAll,
    Fault::NobodyIsSomebody,
    Fault::MiscountsPeers,
    Fault::ForgetsTheKind,
    Fault::CutsPayloads,
    Fault::CarriesUsersOnly,
    Fault::SlowToLearnOfTopics,
];

async fn check(fault: Fault, nodes: &[PubSub]) {
    match fault {
        Fault::None => {}
        Fault::CallsItselfOtherwise => contract::names_and_members(nodes).await,
        Fault::Echoes | Fault::MiscountsPeers => {
            contract::broadcast_reaches_every_subscriber(nodes).await;
        }
        Fault::LosesOneOfTen | Fault::SendsTwice | Fault::Overtakes => {
            contract::one_publisher_stays_in_order(nodes).await;
        }
        Fault::ForgetsWhatIsDirect | Fault::DirectGoesToAll => {
            contract::direct_broadcast_reaches_its_node_only(nodes).await;
        }
        Fault::NobodyIsSomebody => contract::unknown_nodes_are_errors(nodes).await,
        Fault::ForgetsTheKind => contract::dispatchers_of_each_node_are_used(nodes).await,
        Fault::CutsPayloads => contract::payloads_arrive_as_they_are(nodes).await,
        Fault::CarriesUsersOnly => contract::all_classes_arrive(nodes).await,
        Fault::SlowToLearnOfTopics => contract::subscribe_then_tell_then_broadcast(nodes).await,
    }
}

/// A node of the mesh in memory that does one thing wrong.
struct Broken {
    node: MemoryNode,
    fault: Fault,
    inbound: OnceLock<Inbound>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    broadcasts: usize,
    kept_back: Option<Envelope>,
    topics: Vec<String>,
}

impl Broken {
    fn new(node: MemoryNode, fault: Fault) -> Self {
        let (inbound, state) = (OnceLock::new(), Mutex::default());
        Self {
            node,
            fault,
            inbound,
            state,
        }
    }

    fn echo(&self, envelope: &Envelope) {
        let origin = Arc::new(Origin {
            node: self.node.node(),
            incarnation: self.node.incarnation(),
            link: LinkId(0),
        });
        let Envelope {
            topic,
            kind,
            payload,
            ..
        } = envelope.clone();
        let inbound = self.inbound.get().expect("it was attached");
        inbound.deliver(&origin, topic, kind, payload);
    }

    /// What is sent in the place of that message.
    fn instead(&self, envelope: &Envelope) -> Vec<Envelope> {
        let mut state = self.state.lock().unwrap();
        state.broadcasts += 1;
        let mut envelope = envelope.clone();
        match self.fault {
            Fault::LosesOneOfTen if state.broadcasts.is_multiple_of(10) => return vec![],
            Fault::SendsTwice => return vec![envelope.clone(), envelope],
            Fault::Overtakes if state.broadcasts < 100 => {
                let Some(late) = state.kept_back.take() else {
                    state.kept_back = Some(envelope);
                    return vec![];
                };
                return vec![envelope, late];
            }
            Fault::ForgetsTheKind => envelope.kind = Kind::RAW,
            Fault::CutsPayloads => {
                let kept = envelope.payload.len().min(1_000);
                envelope.payload = Bytes::copy_from_slice(&envelope.payload[..kept]);
            }
            Fault::CarriesUsersOnly if envelope.class != TrafficClass::User => return vec![],
            Fault::SlowToLearnOfTopics if !state.topics.contains(&envelope.topic.to_string()) => {
                state.topics.push(envelope.topic.to_string());
                return vec![];
            }
            _ => {}
        }
        vec![envelope]
    }
}

impl Adapter for Broken {
    fn node(&self) -> NodeName {
        match self.fault {
            Fault::CallsItselfOtherwise => NodeName::new("somebody").unwrap(),
            _ => self.node.node(),
        }
    }

    fn incarnation(&self) -> Incarnation {
        self.node.incarnation()
    }

    fn attach(&self, inbound: Inbound) {
        assert!(self.inbound.set(inbound.clone()).is_ok(), "once");
        self.node.attach(inbound);
    }

    fn broadcast(&self, envelope: &Envelope) -> Result<Reached, AdapterError> {
        if self.fault == Fault::Echoes {
            self.echo(envelope);
        }
        for envelope in self.instead(envelope) {
            self.node.broadcast(&envelope)?;
        }
        let miscounted = usize::from(self.fault == Fault::MiscountsPeers);
        Ok(Reached {
            peers: 2 - miscounted,
            dropped: Vec::new(),
        })
    }

    fn send(&self, to: &NodeName, envelope: &Envelope) -> Result<(), DirectError> {
        match self.fault {
            Fault::ForgetsWhatIsDirect => Ok(()),
            Fault::NobodyIsSomebody => self.node.send(to, envelope).or(Ok(())),
            Fault::DirectGoesToAll => {
                let sent = self.node.broadcast(envelope);
                sent.map(drop).map_err(DirectError::Adapter)
            }
            _ => self.node.send(to, envelope),
        }
    }
}

fn cluster(fault: Fault) -> Vec<PubSub> {
    let mesh = MemoryMesh::new();
    let node = |n| PubSub::with(Broken::new(mesh.node(&format!("n{n}")), fault));
    (0..3).map(node).collect()
}

#[tokio::test(start_paused = true)]
async fn each_broken_promise_fails_its_check() {
    for fault in FAULTS {
        let nodes = cluster(Fault::None);
        let whole = timeout(DEADLINE, check(fault, &nodes)).await;
        assert_eq!(whole, Ok(()), "what is whole passes");
        let nodes = cluster(fault);
        let broken = AssertUnwindSafe(timeout(DEADLINE, check(fault, &nodes)));
        let outcome = broken.catch_unwind().await;
        // It fails, or waits for ever for what was lost: hence the deadline that the suite asks for.
        assert!(!matches!(outcome, Ok(Ok(()))), "{fault:?} passes");
    }
}
