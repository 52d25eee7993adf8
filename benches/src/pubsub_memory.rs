//! What an idle subscription takes, by a counting allocator: heap bytes of the library, without the value that the
//! subscriber holds, whose size is printed beside.
//!
//! Targets: at most 300 bytes for a subscription; at most 600 for a topic with one subscriber, of a million.
//!
//! `cargo xtask bench pubsub-memory`

#[expect(dead_code, reason = "here all bars are upper ones")]
mod bar;

use std::alloc::System;

use matryoshka_pubsub::{PubSub, Subscription};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use bar::Bar;

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SUBSCRIPTIONS: usize = 100_000;
const TOPICS: usize = 1_000_000;

fn main() {
    println!(
        "a Subscription as a value: {} bytes",
        size_of::<Subscription>()
    );
    println!("heap bytes for each");
    let one_topic = each(SUBSCRIPTIONS, |_| "room:lobby".to_owned());
    let verdict = Bar::AtMost(300.0).judge(one_topic as f64);
    println!("  of {SUBSCRIPTIONS} subscriptions to one topic: {one_topic}  {verdict}");
    let own_topic = each(TOPICS, |n| format!("room:{n:07}"));
    let verdict = Bar::AtMost(600.0).judge(own_topic as f64);
    println!("  of {TOPICS} topics with one subscription: {own_topic}  {verdict}");
}

/// Bytes that stay allocated for each of so many subscriptions.
fn each(count: usize, topic: impl Fn(usize) -> String) -> usize {
    let pubsub = PubSub::local();
    let mut held: Vec<Subscription> = Vec::with_capacity(count);
    let region = Region::new(COUNTING);
    for n in 0..count {
        held.push(pubsub.subscribe(topic(n)).expect("a short name"));
    }
    let change = region.change();
    // What a reallocation grew by is in both counts already.
    let stay = change.bytes_allocated - change.bytes_deallocated;
    assert_eq!(pubsub.stats().subscriptions, count);
    stay / count
}
