//! Who connects: a name and nothing more, since this test server has no login.

use matryoshka_presence::Presence;
use matryoshka_presence::channel::pubsub::PubSub;
use matryoshka_presence::channel::transport::{ConnectInfo, OriginPolicy, Refused};
use matryoshka_presence::channel::{Connected, Sockets, SocketsConfig};

use crate::lab::Lab;
use crate::room::Room;

/// What every channel of this server can reach.
#[derive(Clone)]
pub(crate) struct App {
    /// Who is here.
    pub(crate) presence: Presence,
}

/// The name that a socket was opened with.
#[derive(Clone, Debug)]
pub(crate) struct User(pub(crate) String);

/// The sockets of this server: who may connect, and which topic is which channel.
pub(crate) fn sockets(pubsub: &PubSub, presence: &Presence, origins: OriginPolicy) -> Sockets<App> {
    let app = App {
        presence: presence.clone(),
    };
    let mut config = SocketsConfig::default();
    config.http = config.http.with_origins(origins);
    Sockets::new(pubsub, app)
        .config(config)
        .on_connect(async |_, info| connect(&info))
        .channel::<Lab>("lab:*")
        .channel::<Room>("room:*")
}

/// The id under which all sockets of a user can be closed.
pub(crate) fn socket_id(user: &str) -> String {
    format!("user_socket:{user}")
}

fn connect(info: &ConnectInfo) -> Result<Connected, Refused> {
    match info.params.get("user") {
        None | Some("") => Err(Refused::forbidden()),
        Some(user) => Ok(Connected::new()
            .id(socket_id(user))
            .assign(User(user.to_owned()))),
    }
}
