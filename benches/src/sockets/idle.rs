//! Memory of sockets that are joined and say nothing but a heartbeat.

use futures::future::try_join_all;

use crate::bar::Bar;
use crate::sockets::client::Client;
use crate::sockets::deliver::joined;
use crate::sockets::on_one_thread;
use crate::sockets::server::Server;

const SOCKETS: usize = 18_000;
const CONNECTING: usize = 200;
/// Sockets that share a topic.
const TOGETHER: usize = 100;
const BAR_BYTES: f64 = 6_000.0;

pub(crate) fn run() {
    on_one_thread(measure());
}

async fn measure() {
    let server = Server::lab();
    // What the first ones load stays, whatever number comes.
    let warm = gather(&server, TOGETHER).await;
    let before = server.processes.resident_bytes();
    let mut clients = gather(&server, SOCKETS).await;
    for client in &mut clients {
        let heartbeat = r#"[null,"2","phoenix","heartbeat",{}]"#;
        client
            .speaker
            .send(heartbeat)
            .await
            .expect("a living connection");
        client.listener.next().await.expect("an answer");
    }
    let grown = server.processes.resident_bytes().saturating_sub(before);
    let each = grown as f64 / SOCKETS as f64;
    println!(
        "sockets: resident memory of an idle joined socket, of {SOCKETS} after a heartbeat each: {each:.0} bytes ({})",
        Bar::AtMost(BAR_BYTES).judge(each)
    );
    drop((warm, clients));
}

async fn gather(server: &Server, sockets: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    while clients.len() < sockets {
        let now = CONNECTING.min(sockets - clients.len());
        let first = clients.len();
        let joining = (first..first + now).map(|n| async move {
            let mut client = joined(server, &format!("lab:idle-{}", n / TOGETHER)).await?;
            client.listener.rest();
            Ok::<_, std::io::Error>(client)
        });
        clients.extend(try_join_all(joining).await.expect("all are let in"));
    }
    clients
}
