//! Jobs tell how far they are to whoever watches. A job waits for nobody: a watcher who looks too late loses first what is out of
//! date, hears how much that was, and still learns how each job ended.
//!
//! `cargo run -p matryoshka-pubsub --example job_progress`

use std::collections::BTreeMap;

use matryoshka_pubsub::mailbox::Bound;
use matryoshka_pubsub::{BroadcastError, Lagged, PubSub, Topic, TypedError};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

const JOBS: [&str; 3] = ["import", "mail", "resize"];

/// What is told on the topic.
#[derive(Serialize, Deserialize)]
struct Progress {
    job: String,
    percent: u8,
}

/// Does the work, of which there is none here.
fn run(job: &str, jobs: &Topic<Progress>) -> Result<(), BroadcastError> {
    for percent in 0..=100 {
        let job = job.to_owned();
        jobs.broadcast(&Progress { job, percent })?;
    }
    Ok(())
}

/// How far each job is, as one watcher knows it.
#[derive(Debug, Default)]
struct Board {
    percent: BTreeMap<String, u8>,
    missed: u64,
}

impl Board {
    fn note(&mut self, heard: Result<Progress, TypedError>) -> Result<(), TypedError> {
        match heard {
            Ok(Progress { job, percent }) => drop(self.percent.insert(job, percent)),
            Err(TypedError::Lagged(Lagged(missed))) => self.missed += missed,
            Err(other) => return Err(other),
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let is_done = |job: &&str| self.percent.get(*job) == Some(&100);
        JOBS.iter().all(is_done)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pubsub = PubSub::local();
    let jobs: Topic<Progress> = pubsub.topic("jobs");
    let mut each_step = jobs.subscribe()?;
    let latest_of_each = Bound::messages(JOBS.len()).keep_latest_by(|p: &Progress| p.job.clone());
    let mut at_last = jobs.subscribe_bounded(latest_of_each)?;

    let running = JOBS.map(|job| {
        let jobs = jobs.clone();
        spawn_blocking(move || run(job, &jobs))
    });

    let mut live = Board::default();
    while !live.is_done() {
        let heard = each_step.next().await.ok_or("the topic ended")?;
        live.note(heard)?;
    }
    for job in running {
        job.await??;
    }
    println!("who kept up: {live:?}");
    assert_eq!(live.missed, 0);

    let mut late = Board::default();
    while let Some(heard) = at_last.try_next() {
        late.note(heard)?;
    }
    println!("who came when all was over: {late:?}");
    assert!(late.is_done() && late.missed == 300);
    Ok(())
}
