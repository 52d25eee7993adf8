#![doc = include_str!("../README.md")]

pub use matryoshka_registry as registry;

mod adapter;
mod claim;
pub mod cluster;
mod dispatcher;
mod error;
mod fan_out;
mod inbound;
mod life;
mod limits;
mod local;
pub mod mailbox;
mod members;
pub mod memory;
mod message;
mod node_name;
mod payload;
mod publisher;
mod pubsub;
mod shared;
mod stats;
mod subscription;
mod sync;
#[cfg(feature = "test-util")]
pub mod testing;
mod topic_name;
mod typed;

pub use adapter::{Adapter, Envelope, Goodbye, Reached};
pub use claim::{AlreadyClaimed, Claim};
pub use dispatcher::{Delivery, Dispatcher, Memo, Sink, Subscriber, Subscribers, SubscribersIter};
pub use error::{AdapterError, BroadcastError, DirectError, KindTaken, SubscribeError};
pub use inbound::{Edge, Inbound};
pub use life::{Incarnation, LinkId};
pub use limits::{InvalidLimit, Limits};
pub use members::{MemberSink, MemberWatch, Members};
pub use message::{Message, Origin};
pub use node_name::{InvalidNodeName, NodeName};
pub use payload::{Kind, Payload, TrafficClass};
pub use publisher::Publisher;
pub use pubsub::{PubSub, Sent};
pub use stats::Stats;
pub use subscription::{Lagged, SinkSubscription, Subscription};
pub use topic_name::TopicName;
pub use typed::{Topic, TypedError, TypedSubscription};
