//! The pubsub through its public face.
//!
//! # Which promise is tested where
//!
//! | what | test |
//! | --- | --- |
//! | B3 a node's name | `names`, `contract::names_and_members` |
//! | the contract fails whoever breaks it | `broken_adapters` |
//! | B4, B5 unsubscribing, also by metadata | `broadcast::b4_b5_..`, `broadcast::a_publisher_unsubscribes_by_metadata` |
//! | B6, B7 broadcast to the topic and no other | `broadcast::b6_b7_..` |
//! | B8 `broadcast_from`; B11 the local forms | `broadcast::b8_..`; the contract's `broadcast_from_skips_its_own_only`, `local_broadcast_stays` |
//! | B9, B10 direct, to this node and to nobody | `broadcast::b9_b10_..` |
//! | B12 a dispatcher sees sinks and metadata in all forms | `dispatch::b12_..` |
//! | C1, C2, C3 across nodes: broadcast, local, direct | the contract's `broadcast_reaches_every_subscriber`, `local_broadcast_stays`, `direct_broadcast_reaches_its_node_only` |
//! | Q1 order, Q2 no duplicates, Q3 gaps tell what is missing | `faults::q1_q2_q3_q7_..`, `order::q1_q2_q3_..` with threads |
//! | Q4 interest routing gives what flooding gives | `interest::q4_..`; the router's own simulation, which catches each wrong variant; how early a message may come: `early_messages_..` there |
//! | Q5 `broadcast_from` skips its own only | `faults::q5_..` |
//! | Q6 a peer that never reads costs itself only | `faults::q6_..` |
//! | Q7 nothing of an older life after a newer one | `faults::q1_q2_q3_q7_..`, `memory::q7_..` |
//! | Q8 one encoding for each broadcast | `fan_out::q8_..` |
//! | a fan-out completes, is not overtaken, gives way; all local mailboxes have it on return | `fan_out` |
//! | slow subscribers: bounds, policies, `Lagged` in its place | `mailbox`, `subscription`; under every order of the locks: `mailbox_model` |
//! | what is misused answers with a typed error | `subscription::a_zero_bound_..`, `broadcast::topics_have_a_longest_name`, `broadcast::payloads_have_a_largest_size`, `adapter::an_adapter_that_refuses_..`, `typed::a_value_that_cannot_be_encoded_..` |
//!
//! Rows about pools and processes have no meaning here (B1, B2, B13, B14, C4, C5): links have lanes, whose number nobody has
//! to agree on.

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
