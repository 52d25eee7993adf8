//! Long polling: a session for clients that cannot hold a WebSocket, as a series of HTTP requests.
//!
//! A session is driven by the same loop as any connection; here is what lies between that loop and the requests.

mod body;
mod budget;
mod config;
mod counters;
mod downstream;
mod http;
mod intake;
mod relay;
mod session;
mod sessions;
mod token;
mod upstream;

use std::{fmt, sync::Arc, time::Duration};

use matryoshka_pubsub::{
    AlreadyClaimed, Claim, KindTaken, MemberWatch, PubSub, SinkSubscription, SubscribeError,
    cluster::MemberEvent,
};
use thiserror::Error;

pub(crate) use self::http::answer;
pub use config::LongPollConfig;
pub use counters::LongPollStats;
pub use upstream::MAX_WAITING_POSTS;

use relay::{Ear, Relay};
use sessions::Sessions;

/// Name of the carrier in [`ConnectInfo`](crate::ConnectInfo), and its path below the mount.
pub const LONGPOLL: &str = "longpoll";

/// How long to wait before what had no room is looked at again, here or on the way to another node.
const RETRY: Duration = Duration::from_millis(100);

/// The long-poll sessions of this node: one for each pubsub, shared by all mounts that offer long polling. Clones are the
/// same one.
///
/// Hand it to [`HttpConfig::with_long_polling`](crate::HttpConfig::with_long_polling). A session lives on the node that
/// opened it, and only there its token can be verified. Where the nodes of a cluster each have one, a client may come to any
/// of them: a request for a session elsewhere is passed on through the pubsub.
///
/// A session ends whose messages were on their way to a poll that its client has left. Only who polls at a third node at that same moment may be
/// given what comes after them first, until the node that it left has said so. Official clients never do: they start over when a poll fails.
#[derive(Clone)]
pub struct LongPolling {
    sessions: Arc<Sessions>,
    relay: Arc<Relay>,
    _held: Arc<Held>,
}

/// What ends with the last clone.
struct Held {
    _claim: Claim,
    _ear: SinkSubscription,
    _members: MemberWatch,
}

impl LongPolling {
    /// Long polling with the default limits. Needs no runtime until a client comes.
    ///
    /// # Errors
    /// As [`with_config`](Self::with_config).
    pub fn new(pubsub: &PubSub) -> Result<Self, LongPollingError> {
        Self::with_config(pubsub, LongPollConfig::default())
    }

    /// Long polling with these limits, which should be the same on all nodes of a cluster.
    ///
    /// # Errors
    /// [`LongPollingError`] if this pubsub has long polling already, or cannot carry it.
    pub fn with_config(pubsub: &PubSub, config: LongPollConfig) -> Result<Self, LongPollingError> {
        let claim = pubsub.claim(relay::TOPIC)?;
        pubsub.register(relay::KIND, Arc::new(relay::Plain))?;
        let sessions = Sessions::new(config, pubsub.node(), rand::random());
        let relay = Relay::new(pubsub, &sessions);
        let ear = pubsub.subscribe_sink(relay::TOPIC, Arc::new(Ear(Arc::downgrade(&relay))))?;
        let watched = Arc::downgrade(&relay);
        let members = pubsub.watch_members(Arc::new(move |event: &MemberEvent| {
            if let Some(relay) = watched.upgrade() {
                relay.note(event);
            }
        }));
        Ok(Self {
            sessions,
            relay,
            _held: Arc::new(Held {
                _claim: claim,
                _ear: ear,
                _members: members,
            }),
        })
    }

    /// The limits.
    pub fn config(&self) -> &LongPollConfig {
        self.sessions.config()
    }

    /// What it has done so far.
    pub fn stats(&self) -> LongPollStats {
        self.sessions.counters().snapshot(self.sessions.count())
    }
}

impl fmt::Debug for LongPolling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongPolling")
            .field("config", self.config())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// A pubsub that cannot have long polling. Nothing changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LongPollingError {
    /// It has one already: make one for each pubsub, and share clones of it between mounts.
    #[error("this pubsub has long polling already: share a clone of that one")]
    Twice(#[from] AlreadyClaimed),
    /// Somebody else takes the messages of its kind, which is reserved.
    #[error("long polling cannot talk to other nodes")]
    Kind(#[from] KindTaken),
    /// The pubsub's limit of topics is below its topic's 19 bytes.
    #[error("long polling cannot talk to other nodes")]
    Topic(#[from] SubscribeError),
}
