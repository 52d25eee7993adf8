//! `room:*`: a chat that knows who is here.
//!
//! | event in | what happens |
//! | --- | --- |
//! | `new_msg` `{"body": s}` | broadcast `new_msg` `{"user", "body"}` to all; reply ok, or error `empty` |
//! | `status` `{"status": s}` | this client's presence gets the status; reply ok |
//! | `typing` | broadcast `typing` `{"user"}` to all but the sender |
//!
//! A join answers `{"user"}`, then pushes `presence_state`. The presence's key is the user, its meta
//! `{"online_at": <unix seconds>, "status": "online"}`.

use std::time::{SystemTime, UNIX_EPOCH};

use matryoshka_presence::Presence;
use matryoshka_presence::channel::{Channel, Refused, Reply, Socket};
use serde::{Deserialize, Serialize};

use crate::user::{App, User};

/// One client in one room.
pub(crate) struct Room {
    presence: Presence,
    user: String,
    meta: Meta,
}

/// What the list says about one client.
#[derive(Clone, Debug, Serialize)]
struct Meta {
    online_at: u64,
    status: String,
}

/// What a client may say.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    /// A message to all; without a body it is refused.
    NewMsg {
        /// The text.
        #[serde(default)]
        body: Option<String>,
    },
    /// How this client wants to be listed.
    Status {
        /// Such as `away`.
        status: String,
    },
    /// A key was pressed.
    Typing,
}

#[derive(Serialize)]
struct Who<'a> {
    user: &'a str,
}

#[derive(Serialize)]
struct Said<'a> {
    user: &'a str,
    body: &'a str,
}

impl Channel<App> for Room {
    type Params = ();
    type Event = Event;

    async fn join(app: &App, socket: &mut Socket, (): ()) -> Result<Self, Refused> {
        let User(user) = socket
            .get()
            .cloned()
            .expect("every socket of this server has a user");
        let meta = Meta {
            online_at: unix_seconds(),
            status: "online".to_owned(),
        };
        app.presence.track_after_join(socket, &user, &meta)?;
        socket.set_join_reply(&Who { user: &user });
        Ok(Self {
            presence: app.presence.clone(),
            user,
            meta,
        })
    }

    async fn handle_in(&mut self, socket: &mut Socket, event: Event) -> Reply {
        match event {
            Event::NewMsg { body } => match body.filter(|body| !body.is_empty()) {
                Some(body) => {
                    let said = Said {
                        user: &self.user,
                        body: &body,
                    };
                    socket.broadcast("new_msg", &said).into()
                }
                None => Refused::because("empty").into(),
            },
            Event::Status { status } => {
                self.meta.status = status;
                match self.presence.update(socket, &self.user, &self.meta).await {
                    Ok(_) => Reply::ok_empty(),
                    Err(error) => Reply::fail(error.to_string()),
                }
            }
            Event::Typing => match socket.broadcast_from("typing", &Who { user: &self.user }) {
                Ok(_) => Reply::none(),
                Err(error) => Reply::fail(error.to_string()),
            },
        }
    }
}

/// 0 on a machine whose clock stands before 1970.
fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
