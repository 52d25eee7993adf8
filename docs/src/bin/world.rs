//! A chat that is open to the world: behind a proxy that speaks TLS, and by long polling where no WebSocket gets through.

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;

use axum::Router;
use axum::extract::Request;
use axum::middleware::map_request;
use matryoshka_presence::Presence;
use matryoshka_presence::channel::pubsub::PubSub;
use matryoshka_presence::channel::transport::{
    ConnectInfo, HttpConfig, LongPolling, OriginPolicy, PeerAddr, Rejection, Reveal, TrustedProxies,
};
use matryoshka_presence::channel::{
    Channel, Connected, Refused, Reply, Socket, Sockets, SocketsConfig,
};
use serde::Deserialize;
use tokio::net::TcpListener;

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

fn config(pubsub: &PubSub, host: &str) -> Result<SocketsConfig, Box<dyn Error>> {
    let http = HttpConfig::default()
        .with_origins(OriginPolicy::new().served_as(host)?)
        .with_trusted_proxies(TrustedProxies::by_x_forwarded_for(["127.0.0.1", "::1"])?)
        .with_reveal(Reveal::nothing().with_peer_addr())
        .with_long_polling(&LongPolling::new(pubsub)?);
    Ok(SocketsConfig::default().with_http(http))
}

async fn on_connect(_: Presence, info: ConnectInfo) -> Result<Connected, Rejection> {
    tracing::info!(client = ?info.peer_addr, by = info.transport, "connects");
    Ok(Connected::new())
}

/// Tells the sockets where a request comes from.
async fn tell_peer(
    axum::extract::ConnectInfo(peer): axum::extract::ConnectInfo<SocketAddr>,
    mut request: Request,
) -> Request {
    request.extensions_mut().insert(PeerAddr(peer));
    request
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
    let (host, address) = match (args.next(), args.next()) {
        (Some(host), Some(address)) => (host, address),
        _ => return Err("usage: world HOST HTTP_ADDRESS".into()),
    };
    let pubsub = PubSub::local();
    let sockets = Sockets::new(&pubsub, Presence::new(&pubsub))
        .channel::<Room>("room:*")
        .on_connect(on_connect)
        .config(config(&pubsub, &host)?);
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let app = Router::new()
        .nest_service("/socket", sockets)
        .layer(map_request(tell_peer))
        .into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await?;
    Ok(())
}
