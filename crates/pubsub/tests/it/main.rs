//! The pubsub through its public face.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod adapter;
mod broadcast;
mod contract;
mod dispatch;
mod fan_out;
mod faults;
mod interest;
mod mailbox;
mod mailbox_model;
mod members;
mod memory;
mod names;
mod order;
mod routed_mesh;
mod subscription;
mod typed;

use matryoshka_pubsub::{Lagged, Subscription};

/// What a subscription holds now, as text; a number in brackets for what it lost.
fn held(subscription: &mut Subscription) -> Vec<String> {
    let all = std::iter::from_fn(|| subscription.try_next());
    all.map(|next| match next {
        Ok(message) => String::from_utf8(message.payload().to_vec()).unwrap(),
        Err(Lagged(lost)) => format!("({lost})"),
    })
    .collect()
}
