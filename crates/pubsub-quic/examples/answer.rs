//! Waits for questions of other nodes and answers them. `question.rs` is for the other terminal.

use std::error::Error;
use std::process::ExitCode;

use matryoshka_pubsub_quic::{QuicAdapter, Secret, pubsub::PubSub};

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let secret = Secret::from_env("MATRYOSHKA_CLUSTER_SECRET")?;
    let listen = std::env::args().nth(1).unwrap_or("127.0.0.1:5001".into());
    let node = QuicAdapter::builder("answer").listen(listen).secret(secret);
    let node = node.start().await?;
    println!("listening on {}", node.local_addr());
    let pubsub = PubSub::with(node);
    let mut questions = pubsub.subscribe("questions")?;
    while let Some(question) = questions.next().await {
        println!("asked: {}", String::from_utf8_lossy(question?.payload()));
        pubsub.broadcast("answers", "yes, I am")?;
    }
    Ok(())
}
