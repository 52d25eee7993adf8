//! Counters of a tracker.
//!
//! Pure: no clock, no I/O, no tasks.

use std::ops::Add;

/// What a tracker holds and has done since it started, summed over its shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Entries tracked on this node now.
    pub own_entries: u64,
    /// Links to other nodes now, counted once per shard.
    pub linked_peers: u64,
    /// Nodes of which something is remembered now, linked ones included, counted once per shard.
    pub remembered_peers: u64,
    /// Batches of own operations sent to all.
    pub pushes_sent: u64,
    /// Vectors sent to all.
    pub vectors_sent: u64,
    /// Times that a peer was asked for what is missing here.
    pub pulls_sent: u64,
    /// Answers to peers made of the operations that they missed.
    pub ops_served: u64,
    /// Times that a peer had missed more than the log has.
    pub log_truncated: u64,
    /// Answers to peers made of everything tracked here.
    pub states_served: u64,
    /// Times that a peer asked again while a state was on its way to it: the state went on.
    pub states_resumed: u64,
    /// Complete states of peers taken over.
    pub states_taken: u64,
    /// Complete states of peers that brought nothing new.
    pub old_states: u64,
    /// Complete states of peers that were dropped because a part was missing.
    pub broken_states: u64,
    /// Operations of peers that brought nothing new.
    pub old_ops: u64,
    /// Gaps noticed in what peers sent.
    pub gaps: u64,
    /// Messages dropped because their link is over.
    pub stale_messages: u64,
    /// Peers that said nothing for so long, though their link was up, that their trackers were taken for closed.
    pub silent_peers: u64,
    /// Messages and links refused because they belong to a life that is over.
    pub refused_lives: u64,
    /// Times that a peer asked this tracker for a higher number than one of its node can have had, or named such a one as its own: it was
    /// not taken.
    pub refused_numbers: u64,
    /// Messages dropped because they are malformed.
    pub malformed_messages: u64,
    /// Times that this tracker took a higher number.
    pub renumbered: u64,
    /// Times that so much was lost on the way in that all links started again.
    pub resets: u64,
    /// Messages dropped because the queue into a shard was full.
    pub inbox_dropped: u64,
    /// What nodes tracked before a restart and is held now, one for each restart, counted once per shard.
    pub held_sets_now: u64,
    /// Copies of nodes that announced a restart and were heard here to the end: held from then on. Not what others told of such ones.
    pub held_sets: u64,
    /// Times that a peer was asked for what it holds of a third node.
    pub held_sets_asked: u64,
    /// Held sets taken over from peers.
    pub held_sets_taken: u64,
    /// Held entries whose user came back in time.
    pub grace_used: u64,
    /// Held sets, and held entries of this node that were still listed, whose time was over.
    pub grace_ended: u64,
    /// Holds ahead of closing connections ([`hold`](crate::Tracker::hold)) that some linked node did not confirm in time, counted
    /// once per shard.
    pub holds_unconfirmed: u64,
    /// Entries that [`list`](crate::Tracker::list) left out because their value was not of the type asked for.
    pub undecodable: u64,
}

impl Add for Stats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            own_entries: self.own_entries + other.own_entries,
            linked_peers: self.linked_peers + other.linked_peers,
            remembered_peers: self.remembered_peers + other.remembered_peers,
            pushes_sent: self.pushes_sent + other.pushes_sent,
            vectors_sent: self.vectors_sent + other.vectors_sent,
            pulls_sent: self.pulls_sent + other.pulls_sent,
            ops_served: self.ops_served + other.ops_served,
            log_truncated: self.log_truncated + other.log_truncated,
            states_served: self.states_served + other.states_served,
            states_resumed: self.states_resumed + other.states_resumed,
            states_taken: self.states_taken + other.states_taken,
            old_states: self.old_states + other.old_states,
            broken_states: self.broken_states + other.broken_states,
            old_ops: self.old_ops + other.old_ops,
            gaps: self.gaps + other.gaps,
            stale_messages: self.stale_messages + other.stale_messages,
            silent_peers: self.silent_peers + other.silent_peers,
            refused_lives: self.refused_lives + other.refused_lives,
            refused_numbers: self.refused_numbers + other.refused_numbers,
            malformed_messages: self.malformed_messages + other.malformed_messages,
            renumbered: self.renumbered + other.renumbered,
            resets: self.resets + other.resets,
            inbox_dropped: self.inbox_dropped + other.inbox_dropped,
            held_sets_now: self.held_sets_now + other.held_sets_now,
            held_sets: self.held_sets + other.held_sets,
            held_sets_asked: self.held_sets_asked + other.held_sets_asked,
            held_sets_taken: self.held_sets_taken + other.held_sets_taken,
            grace_used: self.grace_used + other.grace_used,
            grace_ended: self.grace_ended + other.grace_ended,
            holds_unconfirmed: self.holds_unconfirmed + other.holds_unconfirmed,
            undecodable: self.undecodable + other.undecodable,
        }
    }
}
