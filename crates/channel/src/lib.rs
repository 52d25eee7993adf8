#![doc = include_str!("../README.md")]

pub use matryoshka_pubsub as pubsub;
pub use matryoshka_transport as transport;

mod assigns;
mod backlog;
mod broadcast;
mod by_id;
mod census;
mod channel;
mod channel_type;
mod config;
mod endpoint;
mod error;
mod event;
mod expiry;
mod fastlane;
mod filtered;
mod gate;
mod handling;
mod inbox;
mod link;
mod log_lines;
mod mailbox;
mod multiplexer;
mod order;
mod panics;
mod payload;
mod pusher;
mod reply;
mod router;
mod server;
mod session;
mod socket;
mod sockets;
mod spans;
mod stats;
#[cfg(feature = "test-util")]
pub mod testing;
mod timers;
mod token;
mod watch;
mod wire;

pub use assigns::Assigns;
pub use broadcast::{
    Broadcast, KIND, MalformedBroadcast, broadcast, close_channel, disconnect, local_broadcast,
};
pub use census::{
    ANSWER_WAIT, Found, LISTED_PER_NODE, SocketInfo, SubscriberInfo, sockets_of, subscribers_of,
};
pub use channel::{Channel, HandleInfo, LeaveHook, Terminated};
pub use config::{REPLACED_CHANNEL_WAIT, SocketsConfig};
pub use endpoint::Connected;
pub use error::{BroadcastError, PayloadError, PushError, SendError};
pub use event::{RawEvent, RawParams};
pub use gate::{MAX_HELD_BYTES, MAX_HELD_FRAMES};
pub use link::Mail;
pub use mailbox::Mailbox;
pub use multiplexer::MAX_SUPERSEDED_JOINS;
pub use panics::log_panics;
pub use pusher::Pusher;
pub use reply::{Flow, Refused, Reply, ReplyHandle};
pub use router::{PatternError, Router};
pub use session::SocketSession;
pub use socket::Socket;
pub use sockets::Sockets;
pub use stats::{HandlerTime, Stats};
pub use timers::{MAX_TIMERS, MIN_PERIOD, Timer, TooManyTimers};
pub use token::{
    CLOCK_SKEW, DEFAULT_MAX_AGE, KeyError, KeyRing, MAX_KEYS, MAX_TOKEN_BYTES, MIN_KEY_BYTES,
    SignError, Token, TokenError, Tokens, Verified,
};
