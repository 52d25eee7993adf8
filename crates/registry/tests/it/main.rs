//! The registry through its public face.
//!
//! # Which row is shown where
//!
//! `rows` tries each in one and in eight shards, groups in both layouts. Tests of the crate itself, which see more, begin
//! with their module's path in the crate; those in `interleavings` and `key_lock::tests::p10_..` run under many orders of
//! what happens at the locks, picked by shuttle.
//!
//! | row | what | test |
//! | --- | --- | --- |
//! | R1, R33 | a number of shards or a bound that cannot be | `listeners::r1_r33_zero_bounds_are_refused`; a wrong layout does not compile |
//! | R2 | nothing there | `rows::r2_..` |
//! | R3 | counting | `rows::r3_..` |
//! | R4, R5 | a name that is taken, by oneself, by another | `rows::r4_..`, `rows::r5_..` |
//! | R6 | the holder of a name is dead | `rows::r6_..` |
//! | R7 | equality of keys | `rows::r7_..` |
//! | R8, R9 | several entries of one owner, of several | `rows::r8_..`, `rows::r9_..` |
//! | R10, R11, R12 | what patterns and guards are for | `rows::r10_r11_..`, `rows::r12_..` |
//! | R13, R14 | unregistering by value; what comes again stands last | `rows::r13_..`, `rows::r14_..` |
//! | R15, R17 | keys that look like patterns | `rows::r15_r17_..` |
//! | R16 | select | `rows::r16_..` |
//! | R18, R26 | update by the holder only; never of groups, nor a name of a group | `rows::r18_..`; both do not compile, see `DuplicateRegistry` |
//! | R19, R20, R21 | dispatch to nobody, in the caller, by several threads | `rows::r19_..`, `rows::r20_..`, `parallel::r21_..` |
//! | R22 | listeners | `rows::r22_..` |
//! | R23, R24 | links, and a registry that does not run | no meaning: a registry is a value |
//! | R25 | a name leads to its holder | `rows::r25_..` |
//! | R27 | all is gone with its owner | `rows::r27_..` |
//! | R28 | refusals leave nothing behind | `owner::tests::p3_r28_..` |
//! | R29 to R31 | locks | `locks::r29_..`, `locks::r30_..`, `locks::r31_..` |
//! | R32 | the examples of the docs | are tests |
//! | race 1, 2, 3 | the dying, as others see them | `races::race_1_..`, `races::race_3_..`; `interleavings::names::p6_..` |
//! | race 4 | two take one name | `interleavings::names::p2_..`, `threads::p2_..` |
//! | race 5, 6 | an end in the midst of a change | `interleavings::names::p3_..`, `interleavings::groups::p3_..`; of an owner that is shared, `.._who_registers_for_the_dying_..`, `.._who_takes_a_name_for_the_dying_..` |
//! | race 7, 10 | a half-done removal by value; the registry dies | no meaning: entries go one by one, and owners keep the shards |
//! | race 8 | refusals for ever | `owner::tests::p3_r28_..` |
//! | race 9 | reading while others write | `interleavings::groups::p7_..`, `threads::p7_..` |
//! | P1, P11 | any history against a plain vector; shards and layout cannot be told | `model::p1_p11_..` |
//! | P2 | one holder of a name | `interleavings::names::p2_..`, `threads::p2_..` |
//! | P3 | nothing is left of the dead | `model`, at each end; `interleavings::names::p3_..`, `interleavings::groups::p3_..`, `threads::p3_..` |
//! | P4 | a guard and its own entry among equals | `duplicate::p4_..`; `model`, whose values are few |
//! | P5 | the order of registration | `model::p1_p11_..` |
//! | P6 | the dying hold nothing and remove no successor | `interleavings::names::p6_..`, `unique::p6_..` |
//! | P7 | snapshots; nobody waits for user code, and it may call back | `interleavings::groups::p7_..`, `threads::p7_..`, `reentry::p7_..`; what is written for keys and values, `foreign_code::p7_..` |
//! | P8 | replayed changes give the content | `model`, after each step; `interleavings::listeners::p8_..`, `listeners::p8_..` |
//! | P9 | edges | `model::p9_..`, `interleavings::groups::p9_..`, `threads::p9_..` |
//! | P10 | locks: one at a time, in turn, no grant lost | `key_lock::tests::p10_..` |
//!
//! # What was broken on purpose, and what failed
//!
//! The way of an owner's death, changed by hand in one place at a time; of the tests that failed, one or two.
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
