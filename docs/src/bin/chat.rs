//! A chat room: a join rule, an event with a reply, a broadcast, and the list of who is here.

use matryoshka_presence::Presence;
use matryoshka_presence::channel::{Channel, Refused, Reply, Socket, Sockets, pubsub::PubSub};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Room {
    user: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    NewMsg { body: String },
}

impl Channel<Presence> for Room {
    type Params = Room;
    type Event = Event;

    async fn join(presence: &Presence, socket: &mut Socket, room: Room) -> Result<Self, Refused> {
        if room.user.is_empty() {
            return Err(Refused::because("empty user"));
        }
        presence.track_after_join(socket, &room.user, &())?;
        Ok(room)
    }

    async fn handle_in(&mut self, socket: &mut Socket, Event::NewMsg { body }: Event) -> Reply {
        let said = BTreeMap::from([("user", &self.user), ("body", &body)]);
        socket.broadcast("new_msg", &said).into()
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    tracing_subscriber::fmt().init();
    let pubsub = PubSub::local();
    let sockets = Sockets::new(&pubsub, Presence::new(&pubsub)).channel::<Room>("room:*");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let app = axum::Router::new().nest_service("/socket", sockets);
    axum::serve(listener, app).await
}
