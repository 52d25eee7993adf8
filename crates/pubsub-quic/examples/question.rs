//! Finds the node of `answer.rs`, asks it something and prints what it says.

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
    let join = std::env::args().nth(1).unwrap_or("127.0.0.1:5001".into());
    let node = QuicAdapter::builder("question").join(join).secret(secret);
    let pubsub = PubSub::with(node.start().await?);
    let mut answers = pubsub.subscribe("answers")?;
    pubsub.members().next().await; // the other one is up
    pubsub.broadcast("questions", "are you there?")?;
    let answer = answers.next().await.ok_or("the mailbox was closed")??;
    println!("answered: {}", String::from_utf8_lossy(answer.payload()));
    Ok(())
}
