//! The registry through its public face.
//!
//! Which row of behaviour, race and property is shown by which test stands in the guide
//! (`docs/src/registry-and-pubsub-ids.md`). `rows` tries each in one and in eight shards, groups in both layouts. Tests of the
//! crate itself, which see more, run under many orders of what happens at the locks, picked by shuttle.
//!
//! # What was broken on purpose, and what failed
//!
//! The way of an owner's death, changed by hand in one place at a time; of the tests that failed, one or two, by the beginning
//! of their names.
//!
//! | change | failed |
//! | --- | --- |
//! | one entry of each shard is buried, not all | `death::all_entries_..`, `model` |
//! | a value that panics in its drop ends the burial | `death::a_value_that_panics_..` |
//! | an owner remembers its first shard only | `death::all_entries_..`, `interleavings::groups::p3_..` |
//! | shards that are in use are forgotten too | `death::all_entries_..` |
//! | an owner counts as dead only after its burial | `races::race_1_and_2_..`, `interleavings::names::p6_..` |
//! | death hooks run before the burial | `death::hooks_run_once_..` |
//! | a hook that panics ends the others | `death::a_panicking_hook_..` |
//! | the edge of a dead owner's last entry is not queued | `model::p9_..`, `interleavings::groups::p3_..` |
//! | who listens is not told of a death | `model`, `interleavings::listeners::p8_..` |
//! | who listens is told of a death, and not woken | `listeners::who_waits_is_woken_by_a_death`, `reentry::p7_who_is_woken_..` |
//! | the dying hold their names | `races::race_3_..`, `interleavings::names::p6_..` |
//! | the dying are found by name | `races::race_1_and_2_..` |
//! | a late guard removes whoever has the name | `unique::p6_..`, `rows::r6_..` |
//! | a late burial removes what has the hash of the name | `model::p1_p11_unique_..`, by keys that all hash alike |
//! | burial and removal both free the note | `interleavings::groups::p3_..`, `interleavings::names::p2_..` |
//! | a guard leaves the note of its entry | `owner::tests::it_notes_exactly_..` |
//! | the shard still knows the hub of the dead | `owned::tests::each_ring_..` |
//! | the count keeps the dead one's entries | `interleavings::groups::p3_..` |
//! | a replaced entry is told as one whose owner died | `races::race_3_..` |
//! | a holder that panics keeps its lock | `locks::r31_a_panicking_holder_..` |
//! | a grant to who gave up is lost | `key_lock::tests::p10_..` |
//! | an edge is queued after its entry can be seen | `interleavings::groups::p9_what_can_be_seen_..` |
//! | the first of an owner in a shard is noted once the shard is unlocked | `interleavings::groups::p3_what_was_registered_..`, `interleavings::names::p3_what_was_taken_..` |
//! | who is not the first does not look whether the owner lives | the same two |
//! | a note after the death is taken | the same two, `interleavings::groups::p3_who_registers_..` |
//! | who is refused buries nothing, or one entry only | `interleavings::groups::p3_who_registers_..`, `interleavings::names::p3_who_takes_..` |
//! | who is dead is refused only after the entry was put in | `death::who_was_ended_..` |
//! | a hook that comes after the death is dropped | `death::the_dead_die_once_..`, `interleavings::names::a_hook_that_meets_..` |
//! | shards of registries that went are kept | `owner::tests::an_owner_outlives_..` |
//! | a replaced entry stays noted | nothing, and rightly: its owner is in the midst of its burial, which forgets the note |
//!
//! What keys and entries stand in, in the same way.
//!
//! | change | failed |
//! | --- | --- |
//! | small neighbours stay apart; only those on one side are joined | `list::tests::few_entries_left_..`; `list::tests::it_is_a_sorted_vector_..` |
//! | the child before the right one is chosen | `list::tests::it_is_a_sorted_vector_..` |
//! | a branch counts no removal, no push, or not what it took in | `list::tests::few_entries_left_..` |
//! | an empty child stays, or a root with one child | `list::tests::it_is_a_sorted_vector_..` |
//! | what stood behind is taken in before; nodes grow too wide | `list::tests::it_is_a_sorted_vector_..` |
//! | leaves keep the room of what went | `list::tests::few_entries_left_..` |
//! | what is fresh is not shown to a snapshot | `list::tests::it_is_a_sorted_vector_..` |
//! | what others see at once comes before what is fresh, or instead of it | `list::tests::it_is_a_sorted_vector_..` |
//! | what is fresh goes with the last that was seen | `list::tests::it_is_a_sorted_vector_..` |
//! | rows of one hash are not noted as twins | `model::p1_p11_..`, by keys that all hash alike |
//! | a table takes one row of a hash for another | `model::p1_p11_..`, by the same keys |
//! | keys are all compared under the lock | `foreign_code::p7_groups_..`, `foreign_code::p7_names_..` |
//! | an equal key that went meanwhile counts as found | `key_lock::tests::p10_three_threads_..` |
//! | a key that stands in the directory is held once too often | `interleavings::groups::p3_a_key_that_comes_..` |
//! | the row of an edge that waits goes, or stays when it was taken | `interleavings::groups::p9_each_first_..` |
//! | the row of who listens goes | `model::p1_p11_duplicate_..` |
//! | who listens to one key is not told | `listeners::lookup_and_listen_..`, `interleavings::listeners::p8_..` |
//! | of two who listen to one key the second is not told, or both leave with the first | `listeners::several_who_listen_..` |
//! | a name that is replaced is still counted | `interleavings::names::p6_..` |
//! | a name that is held goes with who listened to it | `foreign_code::p7_names_..` |
//! | an update meets whoever has the name | `model::p1_p11_unique_..` |
//! | an owner's notes are not told apart by the hash of their key | nothing, and rightly: serials tell them apart; it is for speed |

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod death;
mod duplicate;
mod foreign_code;
mod listeners;
mod locks;
mod model;
mod parallel;
mod races;
mod reentry;
mod rows;
mod threads;
mod unique;
