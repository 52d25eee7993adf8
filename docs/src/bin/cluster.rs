//! One node of a chat on several machines. Told to stop, it sends its users elsewhere, and nobody is seen to leave.

use std::error::Error;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use matryoshka_presence::Presence;
use matryoshka_presence::channel::pubsub::registry::OwnerId;
use matryoshka_presence::channel::pubsub::{Goodbye, PubSub};
use matryoshka_presence::channel::transport::{Close, CloseCode};
use matryoshka_presence::channel::{Channel, Refused, Reply, Socket, Sockets};
use matryoshka_pubsub_quic::{QuicAdapter, Secret};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// How long a user of this node may be away, before, while and after it restarts.
const GRACE: Duration = Duration::from_secs(30);

/// Clients sent elsewhere in a second: so many joins the other nodes have to bear.
const CLIENTS_A_SECOND: NonZeroU32 = NonZeroU32::new(200).unwrap();

/// How long that may take in all.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// How long a node that starts waits for the lists of those that are there.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Room {
    user: String,
}

#[derive(Deserialize)]
enum Event {}

impl Channel<Presence> for Room {
    type Params = Room;
    type Event = Event;

    async fn join(presence: &Presence, socket: &mut Socket, room: Room) -> Result<Self, Refused> {
        presence.track_after_join(socket, &room.user, &())?;
        Ok(room)
    }

    async fn handle_in(&mut self, _: &mut Socket, event: Event) -> Reply {
        match event {}
    }
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
    let mut args = std::env::args().skip(1);
    let (name, http, quic) = match (args.next(), args.next(), args.next()) {
        (Some(name), Some(http), Some(quic)) => (name, http, quic),
        _ => return Err("usage: cluster NAME HTTP_ADDRESS QUIC_ADDRESS [ANOTHERS]".into()),
    };
    let others = args.next();

    let secret = Secret::from_env("MATRYOSHKA_CLUSTER_SECRET")?;
    let mut mesh = QuicAdapter::builder(name).listen(quic).secret(secret);
    if let Some(other) = &others {
        mesh = mesh.join(other);
    }
    let mesh = mesh.start().await?;
    let pubsub = PubSub::with(mesh.clone());
    let presence = Presence::new(&pubsub);
    let sockets = Sockets::new(&pubsub, presence.clone()).channel::<Room>("room:*");

    if others.is_some() {
        let lists = presence.tracker().first_snapshot();
        if timeout(SNAPSHOT_LIMIT, lists).await.is_err() {
            println!("no other node has told its lists yet; they will come");
        }
    }
    let listener = TcpListener::bind(http).await?;
    println!("listening on {}", listener.local_addr()?);
    println!("cluster at {}", mesh.local_addr());

    let app = Router::new().nest_service("/socket", sockets.clone());
    let stop = async {
        told_to_stop().await;
        leave(&pubsub, &presence, &sockets).await;
    };
    tokio::select! {
        ended = axum::serve(listener, app).into_future() => ended?,
        () = stop => {}
    }
    presence.tracker().close().await;
    mesh.shutdown().await;
    Ok(())
}

/// Sends everybody elsewhere.
async fn leave(pubsub: &PubSub, presence: &Presence, sockets: &Sockets<Presence>) {
    let (tracker, connections) = (presence.tracker(), sockets.connections());
    tracker.restart(GRACE).await;
    pubsub.leave_with(Goodbye::Restarting { grace: GRACE });
    connections.refuse();

    let hold = async |owners: Vec<OwnerId>| {
        tracker.hold(&owners).await;
    };
    let restart = Close::new(CloseCode::RESTART);
    let gone = async {
        connections
            .drain_after(restart.clone(), CLIENTS_A_SECOND, hold)
            .await;
        connections.closed().await;
    };
    if timeout(DRAIN_LIMIT, gone).await.is_err() {
        // The rest at once.
        connections
            .drain_after(restart, NonZeroU32::MAX, hold)
            .await;
    }
}

/// Ctrl-C, or SIGTERM, by which service managers and containers stop a program.
async fn told_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).expect("a signal can be listened for");
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }
    #[cfg(not(unix))]
    {
        let _ = tokio::signal::ctrl_c().await;
    }
}
