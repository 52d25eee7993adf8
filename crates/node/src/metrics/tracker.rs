//! What `GET /metrics` says of what nodes tell each other of who is where.

use matryoshka_presence::tracker::Stats;

use super::metric::{Metric, counter, gauge};

pub(super) const ENTRIES: &[Metric<Stats>] = &[
    gauge(
        "tracker_own_entries",
        "Presences tracked on this node",
        |s| s.own_entries,
    ),
    gauge(
        "tracker_linked_peers",
        "Links to other nodes, once per shard",
        |s| s.linked_peers,
    ),
    gauge(
        "tracker_remembered_peers",
        "Nodes remembered, once per shard",
        |s| s.remembered_peers,
    ),
    counter(
        "tracker_pushes_sent",
        "Batches of own operations sent to all",
        |s| s.pushes_sent,
    ),
    counter("tracker_vectors_sent", "Vectors sent to all", |s| {
        s.vectors_sent
    }),
    counter(
        "tracker_pulls_sent",
        "Times that a peer was asked for what is missing",
        |s| s.pulls_sent,
    ),
    counter(
        "tracker_ops_served",
        "Answers made of missed operations",
        |s| s.ops_served,
    ),
    counter(
        "tracker_log_truncated",
        "Times that a peer had missed more than the log has",
        |s| s.log_truncated,
    ),
    counter(
        "tracker_states_served",
        "Answers made of everything tracked here",
        |s| s.states_served,
    ),
    counter(
        "tracker_states_resumed",
        "Times that a peer asked again for a state on its way, which went on",
        |s| s.states_resumed,
    ),
    counter(
        "tracker_states_taken",
        "Complete states of peers taken over",
        |s| s.states_taken,
    ),
    counter(
        "tracker_old_states",
        "Complete states that brought nothing new",
        |s| s.old_states,
    ),
    counter(
        "tracker_broken_states",
        "Complete states with a part missing",
        |s| s.broken_states,
    ),
    counter(
        "tracker_old_ops",
        "Operations that brought nothing new",
        |s| s.old_ops,
    ),
    counter("tracker_gaps", "Gaps noticed in what peers sent", |s| {
        s.gaps
    }),
    counter(
        "tracker_stale_messages",
        "Messages of a link that is over",
        |s| s.stale_messages,
    ),
    counter(
        "tracker_silent_peers",
        "Peers whose trackers were taken for closed, though their links were up",
        |s| s.silent_peers,
    ),
    counter(
        "tracker_refused_lives",
        "Messages and links of a life that is over",
        |s| s.refused_lives,
    ),
    counter(
        "tracker_refused_numbers",
        "Numbers that a peer asked for and none of this node can have had",
        |s| s.refused_numbers,
    ),
    counter("tracker_malformed_messages", "Malformed messages", |s| {
        s.malformed_messages
    }),
    counter(
        "tracker_renumbered",
        "Times that this node took a higher number",
        |s| s.renumbered,
    ),
    counter(
        "tracker_resets",
        "Times that all links started again",
        |s| s.resets,
    ),
    counter(
        "tracker_inbox_dropped",
        "Messages that a full shard queue lost",
        |s| s.inbox_dropped,
    ),
    gauge(
        "tracker_held_sets_now",
        "What nodes tracked before a restart and is held now, once per shard",
        |s| s.held_sets_now,
    ),
    counter(
        "tracker_held_sets",
        "Copies of nodes that announced a restart and ended",
        |s| s.held_sets,
    ),
    counter(
        "tracker_held_sets_asked",
        "Times that a peer was asked for what it holds of a third node",
        |s| s.held_sets_asked,
    ),
    counter(
        "tracker_held_sets_taken",
        "Held sets taken over from peers",
        |s| s.held_sets_taken,
    ),
    counter(
        "tracker_grace_used",
        "Held presences whose user came back in time",
        |s| s.grace_used,
    ),
    counter(
        "tracker_grace_ended",
        "Held sets and presences whose time was over",
        |s| s.grace_ended,
    ),
    counter(
        "tracker_holds_unconfirmed",
        "Holds that a linked node did not confirm in time",
        |s| s.holds_unconfirmed,
    ),
    counter(
        "tracker_undecodable",
        "Entries left out of a typed list",
        |s| s.undecodable,
    ),
];
