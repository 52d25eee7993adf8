//! The bare loop: one task for each socket on the codec that the transport uses, and nothing besides. A frame that holds `shout` goes to all
//! sockets, any other goes back. It takes the lab's joins for frames like others, so clients need not know whom they talk to.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// The argument by which this program is the bare loop.
pub(crate) const BARE_LOOP: &str = "bare-loop";

/// How many messages wait for one socket; the measurements never have as many in flight.
const WAITING: usize = 4096;

type Sockets = Arc<Mutex<Vec<mpsc::Sender<Message>>>>;

/// Serves until the process is killed, on as many threads as there are cores, as the node does.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime
        .expect("a runtime needs nothing but the system")
        .block_on(listen());
}

async fn listen() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    println!("ready http={address}");
    std::io::stdout().flush().expect("somebody reads it");
    let sockets = Sockets::default();
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(socket(stream, Arc::clone(&sockets)));
    }
}

async fn socket(stream: TcpStream, sockets: Sockets) {
    let config = WebSocketConfig::default()
        .read_buffer_size(1024)
        .write_buffer_size(4 * 1024);
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Ok(mut websocket) = accept_async_with_config(stream, Some(config)).await else {
        return;
    };
    let (sender, mut messages) = mpsc::channel(WAITING);
    lock(&sockets).push(sender);
    loop {
        tokio::select! {
            came = websocket.next() => match came {
                Some(Ok(Message::Text(text))) if text.contains("shout") => to_all(&sockets, &Message::Text(text)),
                Some(Ok(Message::Text(text))) => {
                    // A join is answered in the form that clients wait for.
                    let answer = match text.contains("phx_join") {
                        true => Message::text(r#"["1","1","","phx_reply",{"status":"ok","response":{}}]"#),
                        false => Message::Text(text),
                    };
                    if websocket.send(answer).await.is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            Some(message) = messages.recv() => {
                let mut next = Some(message);
                while let Some(message) = next {
                    if websocket.feed(message).await.is_err() {
                        return;
                    }
                    next = messages.try_recv().ok();
                }
                if websocket.flush().await.is_err() {
                    return;
                }
            }
        }
    }
}

fn to_all(sockets: &Sockets, message: &Message) {
    // One whose queue is full is no part of any measurement.
    lock(sockets).retain(|socket| socket.try_send(message.clone()).is_ok());
}

fn lock(sockets: &Sockets) -> std::sync::MutexGuard<'_, Vec<mpsc::Sender<Message>>> {
    sockets.lock().unwrap_or_else(PoisonError::into_inner)
}
