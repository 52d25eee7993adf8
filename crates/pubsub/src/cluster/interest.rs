//! Interest routing: a message goes only to the nodes that have subscribers of its topic.
//!
//! # The promise
//!
//! A message is *published on a live link* when the publisher's end of the link is up. Of what is published on a live link
//! after `subscribe` returned, a subscription gets exactly what it would get if every message went to every node: nothing
//! missed, nothing twice, in order per publisher and topic. `subscribe` waits for nobody. If the link breaks, the
//! subscription gets a beginning of that, without a hole per lane. Only what a full lane dropped is missing, and that is
//! counted and told.
//!
//! Messages published shortly before `subscribe` may come too (about 100 ms + half a round trip), and among those there may
//! be holes.
//!
//! # How
//!
//! * What is not sent to a peer, because the peer has not asked for its topic, waits in a **ring**: one per node, each
//!   entry with the links that still wait for it. Every message has a **position**, one count for all lanes and peers.
//! * A node tells its peers which topics it **wants**, in numbered frames of one ordered control stream. When a peer says
//!   that it wants a topic, it is sent what waits for it of that topic, oldest first, and from then on all of it.
//! * With that the node says how far it has **heard** of the publisher: the highest position that came in any frame.
//!   Entries up to there wait no longer.
//! * A full ring sends its oldest entry to all who wait for it: when unsure, flood. So does a link at its start, until the
//!   peer has told everything once, and again whenever a control frame is missing.
//!
//! # Why it holds
//!
//! *Nothing is missed.* A new topic is in the queue of edges before `subscribe` returns. Say a message is published after
//! that, and waits in the ring. It leaves unsent only when the peer says that it heard of a position at or behind it. That
//! position did not exist when `subscribe` returned, so the peer read it later; and as it reads the heard position *before*
//! it takes the edges, and says it only in a frame behind which nothing is left to mention, the topic is mentioned in that
//! frame or an earlier one. The publisher handles mentions before the heard position, and frames in order: the message has
//! been sent.
//!
//! *Nothing comes twice.* An entry leaves the ring for a peer by being sent, by the heard position, or with the link; each
//! only once.
//!
//! *In order.* Whatever is sent of a topic to a peer is the oldest that it waits for: replay and eviction go from the
//! oldest, everything goes out before a peer is flooded again, and a message that does not fit into the ring empties it
//! first. Across topics there is no order: a replayed message is older than what went before it on its lane. So a
//! position is no sequence number, and must not be used to drop "what is not newer".
//!
//! *What is wanted is right in the end.* A topic is written as it stands in the router's view at that moment, not as it
//! stood when it was queued and not as the registry has it. So the last mention of a topic wins, and every change
//! of the view causes one more. A sync walks the view itself, not a copy, hence edges meanwhile need no care.
//!
//! # Example
//!
//! A publisher whose peer wants one topic:
//!
//! ```
//! use matryoshka_pubsub::cluster::interest::*;
//! use matryoshka_pubsub::{Envelope, Kind, LinkId, TrafficClass};
//!
//! struct Sent(Vec<String>);
//!
//! impl Lanes for Sent {
//!     fn push(&mut self, _: LinkId, _: u16, frames: &[LaneFrame]) -> bool {
//!         self.0.extend(frames.iter().map(|frame| format!("{frame:?}")));
//!         true
//!     }
//! }
//!
//! let (mut router, mut sent) = (Router::new(Config::new(HashKey([7; 16]))), Sent(Vec::new()));
//! let (link, now) = (LinkId(1), std::time::Instant::now());
//! router.handle_up(link, true);
//! let all = Interest { seq: 1, begin: true, end: true, wanted: vec!["room:1".into()], ..Interest::default() };
//! router.handle_control(link, ControlFrame::Interest(all), &mut sent);
//!
//! for topic in ["room:1", "room:2"] {
//!     let payload = "hello".into();
//!     let (kind, class, lane) = (Kind::RAW, TrafficClass::User, 0);
//!     let envelope = Envelope { topic: topic.into(), kind, class, lane, payload };
//!     router.publish(To::All, 0, envelope.into(), now, &mut sent);
//! }
//! assert_eq!((sent.0.len(), router.ring().0), (1, 1));
//! ```
//!
//! # What is asked of the adapter
//!
//! Lanes and control stream are ordered and lose nothing while the link lives (the numbers are a guard: a lost control frame is
//! found and repaired, a lost message is not). A link is `up` here once every publish is routed to it, and nothing that it
//! carries is handled before that or after its `down`. The rest is said at [`Router`].
//! Pure: no clock, no I/O, no tasks.

mod config;
mod counters;
mod frame;
mod hash;
mod mention;
mod ring;
mod router;
mod routing;
mod slots;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod variant;
mod wanted;
mod wants;

pub use config::Config;
pub use counters::Counters;
pub use frame::{ControlFrame, Interest, LaneFrame};
pub use hash::HashKey;
pub use router::{Lanes, Published, Router, To};
