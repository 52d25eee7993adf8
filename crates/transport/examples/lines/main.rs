//! An echo over lines of TCP: `cargo run --example lines`, then `nc 127.0.0.1 7000` and a first line such as `user=al`.

mod line_tcp;

use std::io;

use line_tcp::LineTcp;
use matryoshka_transport::{
    Close, ConnectInfo, Frame, Handler, Outbox, Output, Rejection, Session, Transport,
};

#[derive(Clone)]
struct Echo;

impl Handler for Echo {
    type Session = Echo;

    async fn connect(&self, _: ConnectInfo, _: Outbox<()>) -> Result<Echo, Rejection> {
        Ok(Echo)
    }
}

impl Session for Echo {
    type Mail = ();

    fn handle_in(&mut self, frame: Frame, out: &mut Output) -> Result<(), Close> {
        out.frame(frame);
        Ok(())
    }

    fn handle_mail(&mut self, (): (), _: &mut Output) -> Result<(), Close> {
        Ok(())
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let transport = LineTcp::bind("127.0.0.1:7000").await?;
    println!("listening on {}", transport.local_addr());
    transport.serve(Echo).await
}
