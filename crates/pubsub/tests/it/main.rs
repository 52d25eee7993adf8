//! The pubsub through its public face.
//!
//! Which row of behaviour and which property is shown by which test stands in the guide
//! (`docs/src/registry-and-pubsub-ids.md`). Beside those:
//!
//! | what | tests |
//! | --- | --- |
//! | the contract fails whoever breaks it | `broken_adapters` |
//! | a fan-out completes, is not overtaken, gives way; all local mailboxes have it on return | `fan_out` |
//! | slow subscribers: bounds, policies, `Lagged` in its place | `mailbox`, `subscription`; under every order of the locks: `mailbox_model` |
//! | what is misused answers with a typed error | `misuse` |

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod adapter;
mod broadcast;
mod broken_adapters;
mod contract;
mod dispatch;
mod fan_out;
mod faults;
mod interest;
mod mailbox;
mod mailbox_model;
mod members;
mod memory;
mod misuse;
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
