//! For tests of channels: clients without a network, and assertions about what they get.
//!
//! Everything runs in the test's own thread and at once: no port, no sleep, a few milliseconds a test. Write
//! `#[tokio::test(start_paused = true)]`: with paused time, waiting costs nothing, and that nothing came is known as soon as no
//! task has anything left to do.
//!
//! ```
//! use matryoshka_channel::testing::{TestSockets, json};
//! use matryoshka_channel::{assert_broadcast, assert_push, assert_reply, refute_push};
//! # use matryoshka_channel::{Channel, Refused, Reply, Socket, Sockets, pubsub::PubSub};
//! # struct Room(String);
//! # #[derive(serde::Deserialize)]
//! # struct Login { user: String }
//! # #[derive(serde::Deserialize)]
//! # #[serde(rename_all = "snake_case")]
//! # enum Event { NewMsg { body: String } }
//! # impl Channel<()> for Room {
//! #     type Params = Login;
//! #     type Event = Event;
//! #     async fn join(_: &(), _: &mut Socket, login: Login) -> Result<Self, Refused> { Ok(Self(login.user)) }
//! #     async fn handle_in(&mut self, socket: &mut Socket, Event::NewMsg { body }: Event) -> Reply {
//! #         socket.broadcast("new_msg", &json!({ "user": self.0, "body": body })).into()
//! #     }
//! # }
//! # fn sockets() -> Sockets<()> { Sockets::new(&PubSub::local(), ()).channel::<Room>("room:*") }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?.block_on(async {
//! let test = TestSockets::new(sockets());
//! let anna = test.connect(json!({})).await?.join("room:1", json!({ "user": "anna" })).await?;
//! let ben = test.connect(json!({})).await?.join("room:1", json!({ "user": "ben" })).await?;
//! let room = test.subscribe("room:1");
//!
//! let said = anna.push("new_msg", json!({ "body": "hi" })).await;
//! assert_reply!(said, ok, {});
//! assert_push!(ben, "new_msg", { "user": "anna", "body": "hi" });
//! assert_broadcast!(room, "new_msg", { "user": "anna", "body": "hi" });
//! refute_push!(ben, "typing");
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An assertion takes the first message that fits, wherever it stands among those that came, and fails with a list of what did
//! come. Clients are of version 2 of the wire, or of the version that the parameter `vsn` names, one of your own included
//! ([`TestSockets::with_client_serializer`]).

mod arrived;
mod channel;
mod codec;
mod macros;
mod socket;
mod sockets;
mod topic;

pub use serde_json::{Value, json};

pub use arrived::Expected;
pub use channel::{TestChannel, TestPush};
pub use codec::ClientSerializer;
pub use socket::{JoinRefused, TestSocket};
pub use sockets::{TestSockets, advance, settle};
pub use topic::TestTopic;

use std::time::Duration;

/// How long an assertion waits for what it expects: 10 seconds, as long as official clients wait for a reply. With paused time
/// that is no time at all.
pub const PATIENCE: Duration = Duration::from_secs(10);
