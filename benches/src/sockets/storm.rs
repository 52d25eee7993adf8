//! All clients lose their connections at once and come back at once: CPU for each, the end of the old connection included.

use futures::future::{join_all, try_join_all};

use crate::bar::Bar;
use crate::sockets::client::Client;
use crate::sockets::deliver::joined;
use crate::sockets::server::Server;
use crate::sockets::{SAMPLES, each_us, median, on_one_thread};

const CLIENTS: usize = 5_000;
const BAR_US: f64 = 200.0;

pub(crate) fn run() {
    on_one_thread(measure());
}

async fn measure() {
    let server = Server::lab();
    let (mut samples, mut refused) = (Vec::new(), 0);
    let mut clients = come(&server, &mut refused).await;
    for _ in 0..SAMPLES {
        let before = server.processes.cpu();
        drop(clients);
        clients = come(&server, &mut refused).await;
        // Whoever is answered now is behind all that the ends of the old connections left to do.
        let settled = try_join_all(clients.iter_mut().take(10).map(settle)).await;
        settled.expect("those that are back are answered");
        samples.push(each_us(server.processes.cpu() - before, CLIENTS));
    }
    let each = median(samples);
    println!(
        "sockets: a rejoin in a storm of {CLIENTS}: {each:.0} us of CPU ({}), {refused} refused ({})",
        Bar::AtMost(BAR_US).judge(each),
        Bar::AtMost(0.0).judge(refused as f64)
    );
}

async fn come(server: &Server, refused: &mut usize) -> Vec<Client> {
    let joining =
        (0..CLIENTS).map(|n| async move { joined(server, &format!("lab:storm-{}", n % 50)).await });
    let came = join_all(joining).await;
    *refused += came.iter().filter(|client| client.is_err()).count();
    came.into_iter().flatten().collect()
}

async fn settle(client: &mut Client) -> std::io::Result<()> {
    client
        .speaker
        .send(r#"[null,"9","phoenix","heartbeat",{}]"#)
        .await?;
    client.listener.next().await.map(drop)
}
