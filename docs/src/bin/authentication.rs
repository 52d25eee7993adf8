//! Who may do what: a token at connect, a rule at join, an end, a fresh token, and a kick.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Router, routing::post};
use matryoshka_presence::channel::pubsub::{NodeName, PubSub};
use matryoshka_presence::channel::transport::{self, ConnectInfo};
use matryoshka_presence::channel::{
    Channel, Connected, KeyRing, Refused, Reply, Socket, Sockets, Tokens, close_channel,
    disconnect, sockets_of,
};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

/// What a token says about its holder.
#[derive(Clone, Serialize, Deserialize)]
struct User {
    name: String,
    rooms: Vec<String>,
    admin: bool,
}

/// What every part of the program can reach.
#[derive(Clone)]
struct App {
    logins: Tokens<User>,
    pubsub: PubSub,
}

/// Answers a good password with a token. The password is the request's body.
async fn login(
    State(app): State<App>,
    Path(name): Path<String>,
    password: String,
) -> Result<String, StatusCode> {
    let user = look_up(&name, &password).ok_or(StatusCode::UNAUTHORIZED)?;
    let token = app.logins.sign(&user);
    token
        .map(String::from)
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// Stands for your users and however you check their passwords.
fn look_up(name: &str, password: &str) -> Option<User> {
    let (admin, rooms) = match (name, password) {
        ("anna", "apple") => (true, vec!["room:staff".into(), "room:lobby".into()]),
        ("ben", "banana") => (false, vec!["room:lobby".into()]),
        _ => return None,
    };
    Some(User {
        name: name.to_owned(),
        rooms,
        admin,
    })
}

async fn on_connect(app: App, info: ConnectInfo) -> Result<Connected, transport::Rejection> {
    let token = info.params.get("token").unwrap_or_default();
    let login = app.logins.verify(token)?;
    Ok(Connected::new()
        .id(socket_id(&login.value.name))
        .expires_at(login.expires_at)
        .assign(login.value))
}

fn socket_id(user: &str) -> String {
    format!("user:{user}")
}

struct Room {
    app: App,
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Refresh { token: String },
    Kick { user: String, room: Option<String> },
    Devices { user: String },
}

impl Channel<App> for Room {
    type Params = ();
    type Event = Event;

    async fn join(app: &App, socket: &mut Socket, (): ()) -> Result<Self, Refused> {
        let user = socket
            .get::<User>()
            .cloned()
            .expect("on_connect assigned it");
        match user.rooms.iter().any(|room| room == socket.topic()) {
            true => Ok(Room {
                app: app.clone(),
                user,
            }),
            false => Err(Refused::because("not your room")),
        }
    }

    async fn handle_in(&mut self, socket: &mut Socket, event: Event) -> Reply {
        match event {
            Event::Refresh { token } => self.refresh(socket, &token),
            _ if !self.user.admin => Refused::because("not an admin").into(),
            Event::Kick { user, room } => self.kick(&user, room),
            Event::Devices { user } => self.devices(&user).await,
        }
    }
}

impl Room {
    fn refresh(&mut self, socket: &Socket, token: &str) -> Reply {
        let login = match self.app.logins.verify(token) {
            Ok(login) => login,
            Err(error) => return error.into(),
        };
        if login.value.name != self.user.name {
            return Refused::because("somebody else's token").into();
        }
        socket.renew_until(login.expires_at);
        Reply::ok_empty()
    }

    fn kick(&self, user: &str, room: Option<String>) -> Reply {
        let (pubsub, id) = (&self.app.pubsub, socket_id(user));
        match room {
            Some(room) => close_channel(pubsub, id, room).into(),
            None => disconnect(pubsub, id).into(),
        }
    }

    async fn devices(&self, user: &str) -> Reply {
        let found = sockets_of(&self.app.pubsub, &socket_id(user)).await;
        Reply::ok(&Devices {
            connected: found.entries.len(),
            unreachable: found.unreachable,
        })
    }
}

#[derive(Serialize)]
struct Devices {
    connected: usize,
    unreachable: Vec<NodeName>,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().init();
    let Err(error) = run().await else {
        return ExitCode::SUCCESS;
    };
    // What `main` returns is shown by its fields, not in words.
    eprintln!("{error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let ring = match std::env::var("TOKEN_KEYS") {
        Ok(keys) => KeyRing::parse(&keys)?,
        Err(_) => KeyRing::generate(),
    };
    let app = App {
        logins: Tokens::new(&ring, "login").max_age(Duration::from_secs(15 * 60)),
        pubsub: PubSub::local(),
    };
    let sockets = Sockets::new(&app.pubsub, app.clone())
        .channel::<Room>("room:*")
        .on_connect(on_connect);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let router = Router::new()
        .route("/login/{name}", post(login))
        .with_state(app)
        .nest_service("/socket", sockets);
    axum::serve(listener, router).await?;
    Ok(())
}
