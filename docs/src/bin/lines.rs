//! Channels over lines of TCP, without HTTP.

#[path = "../../../crates/transport/examples/lines/line_tcp.rs"]
mod line_tcp;

use line_tcp::LineTcp;
use matryoshka_presence::channel::pubsub::PubSub;
use matryoshka_presence::channel::transport::Transport;
use matryoshka_presence::channel::{Channel, RawEvent, Refused, Reply, Socket, Sockets};

/// A room whose members say what they like.
struct Room;

impl Channel<()> for Room {
    type Params = ();
    type Event = RawEvent;

    async fn join(_: &(), _: &mut Socket, (): ()) -> Result<Self, Refused> {
        Ok(Self)
    }

    async fn handle_in(&mut self, socket: &mut Socket, event: RawEvent) -> Reply {
        socket.broadcast_payload("said", event.payload).into()
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    tracing_subscriber::fmt().init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7000".into());
    let sockets = Sockets::new(&PubSub::local(), ()).channel::<Room>("room:*");
    let transport = LineTcp::bind(&address).await?;
    println!("listening on {}", transport.local_addr());
    transport.serve(sockets).await
}
