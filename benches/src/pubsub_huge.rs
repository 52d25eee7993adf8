//! A broadcast to a topic of 150,000 on the only thread of a runtime: how long another task waits for its turn meanwhile.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use matryoshka_pubsub::{PubSub, Publisher};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, yield_now};

const TOPIC: &str = "room:lobby";
const PAYLOAD: &[u8] = &[b'x'; 64];
const CROWD: usize = 150_000;
const ROUNDS: usize = 11;

/// Prints the longest wait of the other task, and the length of the whole, for both forms.
pub(crate) fn run() {
    println!(
        "\na broadcast to {CROWD} while another task of the same thread wants its turn; medians of {ROUNDS}"
    );
    println!(
        "{:>14}  {:>14} {:>14}",
        "form", "longest wait", "whole fan-out"
    );
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    for (name, yielding) in [("at once", false), ("yielding", true)] {
        let (wait, whole) = LocalSet::new().block_on(&runtime, measure(yielding));
        println!("{name:>14}  {wait:>14.1?} {whole:>14.1?}");
    }
}

async fn measure(yielding: bool) -> (Duration, Duration) {
    let pubsub = PubSub::local();
    let subscribe = |_| pubsub.subscribe(TOPIC).expect("a short name");
    let mut crowd: Vec<_> = (0..CROWD).map(subscribe).collect();
    let mut publisher = pubsub.publisher();
    let (mut waits, mut wholes) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (wait, whole) = round(&mut publisher, yielding).await;
        waits.push(wait);
        wholes.push(whole);
        for subscription in &mut crowd {
            assert!(subscription.try_next().is_some());
        }
    }
    (median(waits), median(wholes))
}

async fn round(publisher: &mut Publisher, yielding: bool) -> (Duration, Duration) {
    let longest = Rc::new(Cell::new(Duration::ZERO));
    let other = tokio::task::spawn_local(turns(Rc::clone(&longest)));
    yield_now().await;
    let start = Instant::now();
    let sent = if yielding {
        publisher.broadcast_yielding(TOPIC, PAYLOAD).await
    } else {
        publisher.broadcast(TOPIC, PAYLOAD)
    };
    let whole = start.elapsed();
    assert_eq!(sent.map_or(0, |sent| sent.local), CROWD);
    yield_now().await;
    other.abort();
    (longest.get(), whole)
}

/// Takes its turn for ever, and notes the longest wait for it.
async fn turns(longest: Rc<Cell<Duration>>) {
    loop {
        let start = Instant::now();
        yield_now().await;
        longest.set(longest.get().max(start.elapsed()));
    }
}

fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort_unstable();
    samples[samples.len() / 2]
}
