//! Who connects: a name and nothing more, since this test server has no login.

use http::StatusCode;
use matryoshka_presence::Presence;
use matryoshka_presence::channel::pubsub::PubSub;
use matryoshka_presence::channel::transport::{ConnectInfo, Rejection};
use matryoshka_presence::channel::{Connected, Sockets, SocketsConfig};

use crate::lab::Lab;
use crate::lab::late::{Budget, LateReplies};
use crate::room::Room;

/// The longest name. With what a socket's id has in front of it, it still is a topic.
const MAX_USER_BYTES: usize = 200;

/// What every channel of this server can reach.
#[derive(Clone)]
pub(crate) struct App {
    /// Who is here.
    pub(crate) presence: Presence,
    /// What is left for replies that are put off.
    late: Budget,
}

/// The name that a socket was opened with.
#[derive(Clone, Debug)]
pub(crate) struct User(pub(crate) String);

/// The sockets of this server: who may connect, and which topic is which channel.
pub(crate) fn sockets(pubsub: &PubSub, presence: &Presence, config: SocketsConfig) -> Sockets<App> {
    let app = App {
        presence: presence.clone(),
        late: Budget::default(),
    };
    Sockets::new(pubsub, app)
        .config(config)
        .on_connect(async |app, info| connect(&app, &info))
        .channel::<Lab>("lab:*")
        .channel::<Room>("room:*")
}

/// The id under which all sockets of a user can be closed.
pub(crate) fn socket_id(user: &str) -> String {
    format!("user_socket:{user}")
}

fn connect(app: &App, info: &ConnectInfo) -> Result<Connected, Rejection> {
    match info.params.get("user") {
        None | Some("") => Err(refused(
            "user is missing: connect with the parameter user=NAME",
        )),
        Some(user) if user.len() > MAX_USER_BYTES => Err(refused(&format!(
            "user has {} bytes: at most {MAX_USER_BYTES} are allowed",
            user.len()
        ))),
        Some(user) => Ok(Connected::new()
            .id(socket_id(user))
            .assign(User(user.to_owned()))
            .assign(LateReplies::new(app.late.clone()))),
    }
}

/// Browsers hide the answer to a handshake, so the log has the reason too.
fn refused(reason: &str) -> Rejection {
    Rejection::new(StatusCode::FORBIDDEN, reason.to_owned()).with_cause(reason)
}
