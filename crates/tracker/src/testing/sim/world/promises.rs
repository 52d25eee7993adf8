//! The promises of the tracker, each by its number, on histories that proptest chooses: 2 to 5 nodes that track, update and
//! untrack, owners that die, messages lost, doubled and overtaken, partitions that are one-sided for a while or not
//! transitive, crashes, restarts, pauses, clocks that go back, and goodbyes with and without grace.
//!
//! Every history is also watched by the simulator's own checkers. The histories are the same in every run; others are what
//! `cargo xtask sim` is for. A property that [`holds`] names the cases that it is about, and fails if one never came up.
//!
//! | id | what holds | where it is tried, beside the checkers |
//! | --- | --- | --- |
//! | I1 | once quiet, every list is what is tracked | `i1_` here |
//! | I2, I3, I5, I6 | merge commutes, associates, repeats without effect; operations and states agree; gaps change nothing | of one copy in `replica/tests.rs`; of all that a node knows of several owners with several lives, gaps included, in `shard/tests/laws.rs` |
//! | I4 | what is known never shrinks, but for who is away for the permdown period or over; lives only rise | `i4_` in `knowledge.rs`, and `World::know` in every history |
//! | I7 | who is tracked anew survives the removal, whoever tracks and removes at once | `i7_` in `owners.rs` |
//! | I8 | no message that was ever sent brings back what is over | `i8_` here, of held sets in `graces.rs`, and of those while their time lasts in `offers.rs` |
//! | I9 | what is tracked while nothing works is listed everywhere in the end; a held set is taken over as a whole | `i9_` in `knowledge.rs` and in `shard/tests/restarts/parts.rs`, and `World::check_taken` in every history |
//! | I10 | what a peer says changes no entry of others, and calls elsewhere are refused | `i10_` here, of corrupted messages in `corrupted.rs`, of made-up offers in `shard/tests/hostile.rs` |
//! | I11, I25 | a truncated log changes no answer; it is a bounded suffix of the history | `owner_log/tests.rs` |
//! | I12 | a state gives the identical list, whatever its owner went through, one's own position nothing | `i12_` in `states.rs` and in `replica/tests.rs` |
//! | I13 | nobody exists by hearsay, nor is named to others who is not heard | `i13_` in `hearsay.rs` |
//! | I14 | diffs replayed are the list, at every step; who is closed once all know of the hold changes places in one diff, and no other place of a user is a return; what is held leaves nowhere alone while both nodes are heard | `i14_` here and in `graces.rs`, `Watcher::never_absent` in every history |
//! | I15 | a new life has none of the old one's entries beside its own, ever, but for those held until a grace ends | `i15_` in `lives.rs` and `graces.rs` |
//! | I16 | an update is never seen as none or two, however many come at once | `i16_` here, and `Watcher::updates` in every history |
//! | I17 | a split shows each node what it hears, as it is by then; after it, everything, and what nobody touched with the same references | `i17_` in `splits.rs` |
//! | I18, I19 | of who is absent for long nothing is named any more, and it comes back whole, whatever changed on both sides; of however many restarts no more is kept than of a few, and in the end nothing | `i18_`, `i19_` in `lives.rs`, `World::forgotten` in every history |
//! | I20 | messages of an older life count no more | `i20_` in `lives.rs` |
//! | I21 | all indexes tell the same | `i21_` here and in `owner_log/tests.rs` |
//! | I22 | quiet is quiet, in a lasting partition too, and while a restart is held | `i22_` in `quiet.rs` |
//! | I23 | who lacks so many operations gets so many, or one state | `i23_` in `states.rs` |
//! | I24 | what is missing is asked from its owner, once | `i24_` in `quiet.rs` |
//! | I26 | a dead owner leaves no entry anywhere, after its grace if it has one | `i26_` in `owners.rs`, `graces.rs` and `tests/it/owners.rs` |
//! | I27 | twice is refused, nothing cannot be updated | `i27_` in `owners.rs` |
//! | I28 | what was tracked is listed at once | `i28_` here, and on threads in `tests/it/single.rs` |
//! | I29 | wall clocks that jump change nothing, also where trackers and nodes are started by them | `i29_` in `clocks.rs` |
//! | I30 | lost messages alone hide nobody: only the end of a link does, and a new one shows all again | `i30_` in `losses.rs`; that two lost heartbeats end no link: `i30_two_lost_heartbeats_` of `pubsub-quic/src/proto/liveness.rs` |
//!
//! Broken by hand, one at a time, to see that it is noticed. Names without a place are of properties here or in the files below; where
//! many fail, those that say why are named. "Histories" are a share of `tests/it/histories.rs` and the stored seeds.
//!
//! | broken | what fails |
//! | --- | --- |
//! | a state of a lower number applied | `i8_`; `i2_`, `i3_`, `i6_` of `replica/tests.rs` |
//! | the comparison of a state's number turned round | `i1_`, `i9_`, `i19_`; `i2_`, `i5_`, `i6_` of `replica/tests.rs` |
//! | the comparison of operations' numbers turned round | nearly all, first `i1_` and `i14_` |
//! | the comparison of two held sets' numbers turned round | `i9_of_two_held_sets_` of `shard/tests/scenarios.rs` |
//! | the life ignored when a state or operations are applied | `i20_a_message_of_another_life_` of `replica/tests.rs` |
//! | the life ignored when a message comes | `i4_`, `i8_`, `i20_` |
//! | that a life has ended ignored when a message of it comes | `i20_a_life_whose_grace_ended_` of `shard/tests/scenarios.rs`; the histories |
//! | the end of a life not noted when a later one replaces it | `i15_what_a_later_life_replaced_` of `shard/tests/scenarios.rs` |
//! | the incarnation ignored when a link comes up | `i20_a_link_to_an_older_incarnation_` of `shard/tests.rs` |
//! | messages of an earlier link accepted | `i15_i20_` of `shard/tests.rs`; the histories |
//! | old operations applied again | `i8_`; `i2_`, `i3_`, `i6_` of `replica/tests.rs` |
//! | operations applied over a gap | `i1_`, `i9_`; `i6_` of `replica/tests.rs` |
//! | numbers not compared before a copy is shown | `i8_`; `after_a_break_nothing_shows_` of `shard/tests.rs` |
//! | numbers not compared before the owner is asked | `i7_`; `i8_operations_alone_` of `shard/tests.rs` |
//! | vectors name the dead, too | `i13_nobody_names_`; `s13_` of `shard/tests/scenarios/states.rs` |
//! | held sets of lives that are over taken from others | `i8_`, `i18_`, `i22_` |
//! | a claim about a node makes a copy of it | `i13_nobody_exists_`, `i8_` |
//! | the parts of a state that is broken off applied | `i6_` of `shard/tests/scenarios.rs`; the histories |
//! | a part of another state added | `i6_a_state_with_a_missing_` of `replica/tests.rs`; the histories |
//! | the first part taken for the state | `i1_`, `i9_`; `i12_` of `replica/tests.rs` |
//! | a deletion forgotten when a state comes after it that has the entry | `i8_a_newer_state_` of `replica/tests.rs` |
//! | tracking for an owner whose death is known | `i26_what_is_tracked_after_` of `tests/it/owners.rs` |
//! | the grace of a restart that never ends | `i1_`, `i18_`, `i26_` |
//! | the grace of a lost connection that never ends | `i1_`, `i18_`, `i26_` |
//! | the grace of a restart that ends at once | `i15_what_a_restart_`, `i8_a_held_set_` |
//! | the grace of a restart longer where the link alone told it | `i26_a_grace_that_the_link_alone_` of `shard/tests/restarts.rs` |
//! | the grace of a lost connection that ends at once | `i26_a_lost_connection_` |
//! | what is held stays beside the first new entry | `i14_`, `i21_` |
//! | what is held gives way to what was there before it, to an update of that, or to its own | `i14_of_two_places_`; `i14_` of `shard/tests/places.rs` |
//! | what a held set stands beside not told, or not listened to | `i14_the_restarted_node_` of `shard/tests/places.rs` |
//! | what was not listed before listed beside whatever is there when it is heard to be held | `i27_` |
//! | what is gone of a lost connection deleted by its owner at once, as its user's return is seen | the histories (I14, `Watcher::never_absent`); `i21_all_indexes_` of `owner_log/tests.rs` |
//! | what is gone of lost connections never told by their owner, or a loss told no sooner than other changes | `i14_who_is_back_before_`, `i14_a_lost_connection_is_told_` of `shard/tests/places.rs` |
//! | what gave way to a new entry is not gone for good | `i8_`, `i14_`, `i21_` |
//! | a held set that outlives the copy of its life | `i8_a_held_set_` |
//! | a held set that outlives its tracker's later number | `i8_a_held_set_`; the stored seeds |
//! | who is absent never dropped, or never forgotten | `i19_`; `i18_i19_` of `shard/tests.rs` |
//! | lives that ended never forgotten | `i18_` |
//! | the list of who subscribes read before its diffs are kept for it | `i14_who_follows_while_` of `published/tests.rs` |
//! | each diff told twice, or what did not change told | `i14_` |
//! | the diffs, or the parts of them, with leaves left out | `i14_` |
//! | a hold that is over before anybody confirmed it, or without one of them | `i14_a_hold_is_over_only_` of `shard/tests/holding.rs`; `i14_who_is_closed_` |
//! | a hold confirmed before the copy is that far | `i14_a_hold_is_over_only_` of `shard/tests/holding.rs` |
//! | what was confirmed to another life taken for a confirmation | `i14_what_was_confirmed_to_` of `shard/tests/holding.rs` |
//! | a confirmation forgotten for an earlier one that comes late, or as its node begins another life | `i14_what_was_confirmed_stays_` of `shard/tests/holding.rs` |
//! | of two questions whether a hold is known the last one answered | `i14_of_several_questions_` of `shard/tests/holding.rs` |
//! | who comes up during a hold not asked | `a_link_that_ends_` of `shard/tests/holding.rs` |
//! | an update that keeps the old value, at its owner or in copies | `i16_`; `x7_` of `shard/tests/scenarios/found.rs` |
//! | an update that keeps the old entry in copies | `i16_` |
//! | the node ignored where a list has an entry's place | `i21_entries_of_two_nodes_` of `entries/tests.rs` |
//! | the references in a list turned round | `entries_are_a_sorted_set` and others of `entries/tests.rs` |
//! | the count of a list not lowered | `i21_`; `entries_are_a_sorted_set` of `entries/tests.rs` |
//! | a key taken for all that it is the beginning of | `s8_` of `entries/tests.rs` |
//! | chunks of a list that are nearly empty left so | `a_list_that_shrinks_everywhere_` of `entries/tests.rs` |
//! | the log said to reach one operation further back than it does | `i23_`, `i1_`, `i9_`; `i25_` of `owner_log/tests.rs` |
//! | one operation too few told | `i2_`, `i5_`, `i6_` of `replica/tests.rs` |
//! | what is not pushed yet forgotten by the log | `i23_`; `i25_` of `owner_log/tests.rs` |
//! | the guard of what was untracked taken for that of what came after it | `i27_` of `owner_log/tests.rs` |
//! | the numbers before the present one ignored, where a peer names one | `renumbering_keeps_` of `owner_log/tests.rs` |
//! | references of an earlier number told as of the present one | `i8_`, `i14_`; `renumbering_keeps_` of `owner_log/tests.rs` |
//! | what its user's return ended kept by its owner | `i14_who_is_back_` of `shard/tests/scenarios.rs`; `i14_` |
//! | a grace of a lost connection compared the wrong way | `i26_a_lost_connection_` |
//! | one known operation applied once more | `i2_`, `i6_` of `replica/tests.rs` |
//! | a gap of one operation not seen | `x8_` of `shard/tests/scenarios/found.rs`; `i6_` of `replica/tests.rs` |
//! | the entry of a state's own number taken though it was deleted | `i8_a_newer_state_`, `i10_an_entry_in_place_` of `replica/tests.rs` |
//! | what is only held in a state taken for tracked | `i2_`, `i6_` of `replica/tests.rs` |
//! | what is gone of a copy never forgotten, not told apart from the rest, or noted of what is not there | `i8_what_is_gone_` of `replica/tests.rs` |
//! | what came by an update of what is held and gone taken for tracked when a state brings it | `i9_what_is_tracked_after_a_state_` of `replica/tests.rs` |
//! | what is held twice told twice | `i8_what_is_gone_` of `replica/tests.rs` |
//! | of several changes of an entry in a step the first one told | `i14_of_an_entry_that_comes_twice_` of `visible/tests.rs`; `i14_` |
//! | what an entry was before a step taken from its last change in it | `what_comes_and_goes_`, `an_entry_that_goes_and_comes_back_` of `visible/tests.rs` |
//! | what is visible no more kept among what is held | `i14_`, `i21_`, `i26_` |
//! | two updates in one step told as one | `i16_two_updates_` of `shard/tests.rs` |
//! | the last that a peer tells of itself taken for the first | `k3_` of `shard/tests/scenarios.rs` |
//! | a row sought behind the run that ends with it | `runs_are_a_sorted_set` and others of `runs/tests.rs` |
//! | a run of rows one longer than its bound, or joined with a full one | `runs_are_a_sorted_set` of `runs/tests.rs` |
//! | a run kept that is empty | `i21_a_run_that_loses_` of `runs/tests.rs` |
//! | the first row of a range left out | `runs_are_a_sorted_set` of `runs/tests.rs`; `i21_` of `owner_log/tests.rs` |
//! | a chunk of a list one longer than its bound | `entries_are_a_sorted_set` of `entries/tests.rs` |
//! | what is held told as deleted | `i2_`, `i5_`, `i6_` of `replica/tests.rs`; `i14_` of `shard/tests/holding.rs` |
//! | of the numbers before the present one the oldest kept, not the last | `renumbering_keeps_` of `owner_log/tests.rs` |
//! | the grace of a lost connection kept when its entry ends, or when it is taken back | `i26_a_grace_is_of_` of `owner_log/tests.rs` |
//! | a state that is here already asked for to its last part | `i23_of_a_state_` of `shard/tests/late.rs` |
//! | the end of the lowest life that counts ignored | `i20_a_life_whose_grace_ended_` of `shard/tests/scenarios.rs` |
//! | a node heard after it told its end | `i20_a_node_that_told_` of `shard/tests/restarts.rs` |
//! | operations of a life taken before it is known what it was | `i20_operations_of_` of `shard/tests/late.rs` |
//! | a claim about another life of a node taken for one about the present | `k1_` of `shard/tests/scenarios.rs` |
//! | what a link says of its end taken for the word of the tracker that is heard just then | `i15_a_restart_that_overtakes_` of `shard/tests/restarts.rs`; the histories |
//! | a copy that is not shown held | `i8_a_copy_that_is_not_` of `shard/tests/restarts.rs` |
//! | a copy shown before it is as far as the held set in whose place it comes | `i28_what_is_held_` of `shard/tests/restarts.rs` |
//! | a grace longer than the permdown period | `i18_nothing_is_held_` of `shard/tests/restarts.rs` |
//! | of two deadlines of a held set the later one kept, or the last one told | `i26_of_two_sets_` of `held/tests.rs`; `i26_an_offer_` of `shard/tests/restarts.rs` |
//! | what a held set lacks of the numbers that it covers added by another one | `i8_what_a_set_lacks_` of `held/tests.rs` |
//! | what is gone of a held set added by another one | `i8_what_is_gone_` of `held/tests.rs` |
//! | what a further set lacks dropped from one | `i14_what_another_set_` of `held/tests.rs` |
//! | two values of one slot held | `i16_of_two_values_` of `held/tests.rs` |
//! | parts of two states of a held set put together | `i6_a_set_that_has_changed_` of `held/tests.rs` |
//! | numbers of a held set out of order, or beyond what it covers, taken | `i10_a_set_out_of_order_` of `held/tests.rs` |
//! | lives below those that are remembered one by one not taken for over | `i8_of_many_lives_` of `held/tests.rs` |
//! | the end of a life remembered for half as long | `i18_an_end_is_` of `held/tests.rs` |
//! | that a life was held to the end not noted, or not looked up for a later number | `i8_what_was_held_` of `held/tests.rs` and `shard/tests/restarts.rs` |
//! | what is held of a node taken over by itself, or by one that hears it | `i15_what_is_heard_` of `shard/tests/restarts.rs` |
//! | of a link that was replaced taken that it is up, or that it lost messages | `i17_news_of_a_link_` of `shard/tests/late.rs` |
//! | the end of an earlier life taken for that of the present one | `i20_the_end_of_` of `shard/tests/late.rs` |
//! | an offer about a node that is heard taken | `i10_what_a_peer_corrupts_` of `corrupted.rs`; `i10_whatever_` of `shard/tests/hostile.rs` |
//! | what others tell of a node's end or number counted against its own word | `i10_whatever_others_offer_` of `shard/tests/hostile.rs` |
//! | a node never believed to be no further than it says | `i10_whatever_others_offer_` of `shard/tests/hostile.rs` |
//! | any number taken that a peer asks for, or any incarnation | `i20_nobody_makes_` of `shard/tests/hostile.rs` |
//! | no bound to what is noted, or asked for, of made-up names | `i18_what_a_liar_` of `shard/tests/hostile.rs` |
//! | a grace shortened by others though its node said that this is its end | `i26_a_grace_that_` of `shard/tests/hostile.rs` |
//! | a number that a peer asks for not taken, or one refused as if no clock could be set back | `i29_` |
//! | what a lost message is of hidden as if the link were down | `i30_` |
//! | of one name all ends remembered one by one, or the ends of lives for ever | `i18_many_restarts_` of `shard/tests.rs` |
//! | the lowest life that counts lowered by a number that was taken before | `i4_a_number_` of `shard/tests/late.rs` |
//! | a life introduced by its goodbye alone | `i14_a_goodbye_` of `shard/tests/restarts/ends.rs` |
//! | former lives lost where a set is passed on, or that a told set was held to the end | `i8_what_was_held_to_the_end_is_known_` of `shard/tests/restarts/ends.rs` |
//! | what gave way in a held set forgotten as its node is heard again | `i8_what_gave_way_in_a_held_set_`, `i8_what_gave_way_while_` of `shard/tests/restarts/ends.rs` |
//! | a copy out of reach not held, asked for though it is here, or not completed | `i9_i23_a_copy_` of `shard/tests/restarts/ends.rs` |
//! | a set that comes put beside the copy, and not merged with it | `i8_what_gave_way_in_a_copy_` of `shard/tests/restarts/ends.rs` |
//! | a set cut short after its first part, or a part of another one taken for its | `i12_a_set_in_parts_`, `i6_a_part_of_another_set_` of `shard/tests/restarts/ends.rs` |
//! | a grace that counts anew with each who is told of it, or a told set not told on | `i26_a_set_goes_` of `shard/tests/restarts/ends.rs` |
//! | who is heard again and not here yet taken for over as the grace ends | `i17_who_is_heard_again_` of `shard/tests/restarts/ends.rs` |
//! | held sets that stay though their process left, or that go with the end of an earlier life or of another process | `i8_i26_who_leaves_` of `shard/tests/restarts/ends.rs` |
//! | a restart taken for a plain end, as its next life speaks over the same link | `i15_what_a_later_life_` of `shard/tests/restarts/ends.rs` |
//! | an announcement not repeated in the first word, or in vectors | `i15_a_restart_is_announced_` of `shard/tests/restarts/ends.rs` |
//! | the incarnation of a new link ignored | `i20_over_the_link_` of `shard/tests/news.rs` |
//! | how far a tracker was kept for the next one over the same link | `i9_the_next_tracker_` of `shard/tests/news.rs` |
//! | the former number lost as what is held takes the one that its node says, or that it was seen here | `i8_i20_what_is_held_goes_on_` of `shard/tests/restarts/ends.rs` |
//! | what is held put under a lower number | `i4_what_is_held_takes_` of `shard/tests/restarts/ends.rs` |
//! | what is held taken for seen here though another named its number | `i20_a_liar_who_names_` of `shard/tests/hostile.rs` |
//! | a part of a held set taken that is late, or comes twice, or ends the wait for it | `i9_a_part_of_a_set_`, `i9_a_held_set_is_taken_`, `i28_a_part_of_a_set_` of `shard/tests/restarts/parts.rs` |
//! | parts of a held set that are here thrown away as it is asked for again | `i9_a_part_of_a_set_` of `shard/tests/restarts/parts.rs` |
//! | a held set asked for again though parts of it come, or always after the same time | `i22_a_set_that_comes_slowly_` of `shard/tests/restarts/parts.rs`; `i22_what_is_not_answered_` of `held/tests.rs` |
//! | what is held and updated out of reach taken for listed alone, in the copy or in a further set | `i14_what_is_updated_out_of_reach_`, `i14_what_was_updated_in_the_set_` of `shard/tests/restarts/places.rs` |
//! | what was hidden beside a held entry forgotten as that is updated | `i14_what_is_updated_out_of_reach_` of `shard/tests/restarts/places.rs` |
//! | what came of what is gone by updates, or by several, held in a further set | `i8_i14_sets_that_meet_` of `held/tests.rs`; `i8_what_gave_way_and_was_updated_` of `shard/tests/restarts/places.rs` |
//! | what a further set adds put beside all that is listed | `i14_what_a_further_set_` of `shard/tests/restarts/places.rs` |
//! | a lost question for a held set not asked again | `i9_a_set_whose_question_` of `shard/tests/restarts/ends.rs` |
//! | what was tracked last before an announced end not told | `i9_what_is_tracked_last_` of `shard/tests/restarts/ends.rs` |
//! | that a life was held to the end not taken back as it is listed again | `i9_who_is_listed_again_` of `shard/tests/restarts/ends.rs` |
//! | a node's own earlier number not over for itself | `i15_a_node_does_not_ask_` of `shard/tests/restarts/ends.rs` |
//! | an end remembered for one permdown period, or not at all | `i18_that_a_node_left_` of `shard/tests/restarts/ends.rs` |
//! | a number taken that is not higher, or after the goodbye, or not taken after a reset | `i4_a_number_is_taken_` of `shard/tests/news.rs` |
//! | who is linked dropped as it is forgotten, or nobody | `i18_who_is_forgotten_` of `shard/tests/news.rs` |
//! | after a reset, who has no link taken for linked, or who leaves for down | `i17_of_all_nodes_` of `shard/tests/news.rs` |
//! | all told over a new link, whatever is there | `i23_over_a_new_link_` of `shard/tests/news.rs` |
//! | a part of another state taken for one of the state on its way | `i9_what_was_taken_` of `shard/tests/news.rs` |
//! | what was told of an owner lowered by what comes late | `i4_what_was_told_` of `shard/tests/news.rs` |
//! | who was silent heard again under the number that it had | `i8_what_a_closed_tracker_said_` of `shard/tests/silence.rs` |
//! | how far operations reach taken for how far their owner was when the link came up | `i8_operations_alone_` of `shard/tests.rs` |
//! | a copy that others hold kept under its former number, listed beside what it was not told of, or taken for seen to its end | `i8_i10_a_copy_that_is_held_` of `shard/tests/restarts/ends.rs` |
//! | that somebody was served forgotten as it begins another life | `i23_who_asks_for_all_` of `shard/tests/hostile.rs` |
//! | what is here suspected to be missing | `i22_what_is_here_` of `shard/tests/news.rs` |
//! | a state, or a question whether a hold is known, taken before it is known what its life was | `i20_a_state_of_`, `i20_a_question_of_` of `shard/tests/late.rs` |
//! | what a link says of a grace counted though the tracker told its own | `i26_a_grace_that_the_tracker_` of `shard/tests/restarts.rs` |
//! | two trackers that are told the same given the same number | `i20_two_trackers_` of `life.rs` |
//! | the life ignored where an entry is taken for a later value of a place that was here | `i14_what_another_process_` of `shard/tests/places.rs` |
//! | any lower life taken for a former number of the one that speaks | `i15_i20_` of `shard/tests.rs` |
//! | former numbers in vectors not noted | `i18_former_lives_of_` of `shard/tests/former.rs` |
//! | what gave way in a copy held as the copy becomes a set, or listed as the copy takes a set's place | `i8_what_gave_way_in_a_copy_`, `i8_what_gave_way_while_` of `shard/tests/restarts/ends.rs` |
//! | what is gone of what is tracked kept from being listed | `i8_what_is_gone_` of `replica/tests.rs` |
//! | an update of what gave way taken for a join | `i14_what_is_updated_after_` of `shard/tests/holding.rs` |
//! | what a state holds told and not kept | `i6_a_copy_`, `i2_` of `replica/tests.rs` |
//! | what came by an update of what is gone, and is tracked, taken for held | `i9_what_is_tracked_after_a_state_` of `replica/tests.rs` |
//! | what was deleted or held before its part came taken from the part as it is there | `i5_i12_` of `shard/tests/transfer.rs` |
//! | a part that is due taken for one that was here | `a_state_whose_end_` of `shard/tests.rs` |
//! | references of a copy given as of the number before | `i14_renumbering_` of `shard/tests/scenarios.rs` |
//! | what is held kept so as it is updated, or as it is untracked | `i16_what_is_updated_while_`, `who_leaves_on_purpose_` of `shard/tests/holding.rs` |
//! | what is held held twice by its owner | `i14_what_is_updated_after_` of `shard/tests/holding.rs` |
//! | what its user's return ended kept to the later of two ends | `i14_who_is_back_before_` of `shard/tests/places.rs` |
//! | a grace of a lost connection that ends a moment late | `only_a_grace_that_` of `shard/tests/graces.rs` |
//! | a grace of a held set that ends a moment late | `i14_whose_grace_ends_` of `shard/tests/places.rs` |
//! | a list of one emptied by another's end, or its entry replaced by any of its key | `a_list_of_one_` of `entries/tests.rs` |
//! | the owner's word lost as two sets meet | `i26_of_two_sets_that_meet_the_owners_` of `held/tests.rs` |
//! | a part of a held set that begins with what is here | `i12_a_set_in_parts_` of `shard/tests/restarts/ends.rs` |
//! | a set taken of which nothing is left | `i4_what_is_held_takes_` of `shard/tests/restarts/ends.rs` |
//! | an end that counts from when it was noted first, though it was told anew | `i18_an_end_is_` of `held/tests.rs` |
//! | what others told of an end not remembered | `i8_a_set_that_was_told_` of `shard/tests/restarts.rs` |
//! | the end of the process ignored for what is offered of it, or taken for that of another process | `i8_i26_who_leaves_` of `shard/tests/restarts/ends.rs` |
//! | a copy out of reach asked for though it is here, or not known under its former number | `i8_i10_a_copy_`, `i8_a_set_that_is_made_` of `shard/tests/restarts/ends.rs` |
//! | a part of a set of another node taken | `i6_a_part_of_another_` of `shard/tests/restarts/ends.rs` |
//! | an announcement taken for one of another life | `i15_an_announcement_` of `shard/tests/restarts.rs` |
//! | an announcement of the link taken for one of another incarnation | `i15_a_restart_announced_` of `shard/tests/restarts.rs` |
//! | what is held in a set and in the copy that takes its place listed anew | `i14_who_came_back_while_` of `shard/tests/places.rs` |
//! | a set of who is heard again passed on | `i26_a_set_of_who_` of `shard/tests/restarts/ends.rs` |
//! | who is over, silent, or never answered waited for by a hold | `who_ends_or_falls_silent_`, `who_has_ended_`, `who_never_said_` of `shard/tests/holding.rs` |
//! | who is exactly as far as a hold not taken to know it | `i14_a_hold_is_over_only_` of `shard/tests/holding.rs` |
//! | what another node's place was updated to taken for a return | `i14_the_restarted_node_lists_both_` of `shard/tests/places.rs` |
//! | what is updated while it is held taken for a return | `i16_what_is_updated_while_held_takes_` of `shard/tests/holding.rs` |
//! | an operation of a life that does not count taken for a reason to ask | `i15_i20_` of `shard/tests.rs` |
//! | a life that is remembered to be over heard, or what is here of an earlier one listed on | `i20_a_life_that_was_held_` of `shard/tests/restarts.rs`; `i17_who_is_taken_` of `shard/tests/news.rs` |
//! | a number taken for one to rise to that is the own one | `after_a_break_` of `shard/tests.rs` |
//! | a state of the copy's own number taken again | `i23_of_a_state_` of `shard/tests/late.rs` |
//! | how far a tracker was that said its end kept for the next one | `i9_the_next_tracker_` of `shard/tests/news.rs` |
//! | who is behind taken for answered as it is told how far its owner is | `i23_over_a_new_link_` of `shard/tests/news.rs` |
//! | who is told the number that is over, and not the one above | `i9_who_is_listed_again_` of `shard/tests/restarts/ends.rs` |
//! | a node named to others whose life does not count any more | `i8_what_a_closed_tracker_said_` of `shard/tests/silence.rs` |
//! | of two claims the last one counted, not the highest | `k2_` of `shard/tests/scenarios.rs` |
//! | parts that were never sent taken for here, or a state of which all is here sent on | `i9_what_was_taken_` of `shard/tests/news.rs` |
//! | a second link taken beside the one that is up | `t5_` of `shard/tests/scenarios/clusters.rs` |
//! | what the link said of its end not looked at | `i15_what_the_link_said_` of `shard/tests/news.rs` |
//! | who is heard again never believed, or not as its grace is over | `i17_who_is_heard_again_` of `shard/tests/restarts.rs` |
//! | the grace of who is heard again longer by more than a moment | `i26_what_is_held_beyond_` of `shard/tests/restarts.rs` |
//! | a life that ended by its goodbye held on, as it was heard again before that | `i26_who_leaves_before_` of `shard/tests/restarts.rs` |
//! | what another tells of a later number not taken for the end of the one before | `i8_what_was_held_under_` of `shard/tests/restarts/ends.rs` |
//! | a set taken whose node is heard by then | `i8_a_set_that_comes_` of `shard/tests/restarts/ends.rs` |
//! | a first state without the set that is on its way | `i15_a_first_state_waits_` of `shard/tests/restarts/ends.rs` |
//! | the end of the life that counts forgotten with the others, though its link is up | `i20_a_life_that_is_over_` of `shard/tests/restarts.rs` |
//! | a life forgotten that only what is held, an operation or an update still names | `i8_a_reference_keeps_` of `owner_log/tests.rs` |
//! | what is tracked anew beside what is gone taken for an update of it | `i9_what_was_tracked_anew_` of `replica/tests.rs` |
//! | operations that a state on its way has applied again, those of another life applied, or noted what no part of it can have | `i3_i20_` of `replica/tests.rs` |
//! | a state on its way under an earlier number sent on | `i9_a_state_whose_owner_` of `shard/tests/transfer.rs` |
//! | a state sent on from a part of another one, or from its beginning though a part of it was taken | `i23_a_state_goes_on_` of `shard/tests/transfer.rs` |
//! | who is told to stand beside a held one listed beside others, or an update of a later value taken for it | `i14_what_stands_beside_`, `i14_who_came_after_` of `visible/tests.rs` |
//! | what went before anything was held taken for a place beside it | `i14_what_had_gone_` of `visible/tests.rs` |
//! | who is silent and never had anything named, taken for over, or asked anew with each loss | `i13_who_is_silent_`, `i9_whose_words_` of `shard/tests/silence.rs` |
//! | a process whose clock was set back taken for one of many before it | `i9_whose_clock_` of `shard/tests/news.rs` |
//! | a laggard's list read while steps are shown, or kept locked while it is made into what it gets | `i14_who_catches_up_` of `published/tests.rs` |
//! | a made-up number heard, too many taken, or one refused by who has no clock | `i20_no_number_`, `i22_`, `i29_` of `shard/tests/hostile.rs` |
//! | a made-up reference of what is own, or of what is listed, taken | `i10_what_is_held_of_` of `tracker/tests.rs`; `i14_a_reference_` of `shard/tests/hostile.rs` |
//! | ends that others tell kept again and again | `i18_of_what_is_over_` of `lives.rs` |
//! | no end to waiting for parts while operations come, or no more patience with a slow link | `i9_` of `shard/tests/transfer.rs` |
//! | the life ignored in which a reference was given, where it is received | `i8_` |
//! | what is hidden shown too early, of trackers alone that announced their restart | the histories (I8) |
//! | the life ignored in which the value before an update was given, where it is received | the histories (I10) |
//! | an operation that the log has said to be forgotten, or one that it has not to be there | `i23_who_lacks_` |
//! | a timer that is still due after its tick | `i22_`, and every story |
//! | what others say of a later number believed of who said its end here | `i8_i20_who_said_its_end_` of `shard/tests/restarts/numbers.rs` |
//! | what is held of a former number kept beside the copy of who names that late | `i8_what_is_held_of_a_former_` of `shard/tests/restarts/numbers.rs` |
//! | a copy out of reach held under a lower number | `i4_i8_a_copy_out_of_reach_` of `shard/tests/restarts/numbers.rs` |
//! | a copy, or what is held, renamed by a word that does not count | `i4_i20_a_word_of_` of `shard/tests/restarts/numbers.rs` |
//! | what gave way of a set that others told taken for gone of its node | `i10_what_gave_way_` of `shard/tests/hostile.rs` |
//! | what gave way in a copy listed under the name of an earlier process | `i8_what_gave_way_in_a_copy_` of `shard/tests/hostile.rs` |
//! | what is held under one name handed over to another one with its reference | `i10_i14_what_a_node_holds_` of `shard/tests/hostile.rs` |
//! | operations that follow the copy left to the state on its way | `i9_operations_that_follow_the_copy_` of `shard/tests/transfer.rs` |
//! | the first part of another state taken for one that is out of place | `i23_the_first_part_` of `shard/tests/transfer.rs` |
//! | a state on its way given up at a gap, at a late part of an earlier one, or not as its owner takes another number | `i23_a_state_goes_on_behind_its_`, `i23_a_late_part_`, `i18_what_has_come_` of `shard/tests/transfer.rs` |
//! | no end to the time between two questions | `i9_who_does_not_answer_` of `shard/tests/news.rs` |
//! | the copy of what is held kept as its node falls silent | `i8_i26_what_is_held_of_` of `shard/tests/silence.rs` |
//! | who is late dropped as one who was absent | `i1_who_is_late_` of `shard/tests/silence.rs` |
//! | a set that is on its way asked for once more when it is offered again | `i22_a_set_that_is_offered_` of `shard/tests/restarts/parts.rs` |
//! | a tracker's number before the present one ignored where a place is looked for that was here | `i14_a_place_that_was_updated_under_`, `i14_the_restarted_node_lists_both_` of `shard/tests/places.rs` |
//! | an update of what is held told apart from that it is held still | `i14_a_large_update_` of `shard/tests/places.rs` |
//! | all of one key looked at for each that is held there | `a_held_set_of_many_` of `shard/tests/scale.rs` |
//! | all that gave way looked at for each that a state brings, or what came of it by several updates taken for held | `what_gave_way_and_was_updated_` of `shard/tests/scale.rs` |
//! | the end of a number not noted as its node says the next one | `i8_what_a_node_had_under_` of `shard/tests/restarts/numbers.rs` |
//! | what is updated after it gave way listed as held | `i8_what_gave_way_and_is_updated_` of `shard/tests/restarts/places.rs` |
//! | who fell silent heard again once its node was forgotten | `i8_who_fell_silent_` of `shard/tests/silence.rs` |
//! | what gave way in a copy left under another name as its node is heard | `i8_what_gave_way_in_a_copy_goes_` of `shard/tests/hostile.rs` |
//! | a state that does not say how far its owner was | `i17_a_state_shows_` of `shard/tests/transfer.rs` |
//! | a held set that takes so many numbers and then none any more | `i18_a_set_takes_so_many_` of `held/tests.rs` |
//! | what an operation replaces kept in a state on its way | the histories (I16) |
//! | the number of what gave way by an update not noted in a set | the histories (I9) |
//! | a set that is here offered and asked for again | `i22_` of `quiet.rs`; `i23_a_set_that_is_here_` of `shard/tests/restarts.rs` |
//! | who is not behind asked again | `i24_` of `quiet.rs` |
//! | a part of another life's state that was taken answered | `i20_` of `lives.rs` |
//! | the copy of an earlier life listed on as the next one speaks | `i15_` of `lives.rs` |
//!
//! Some lines nothing can tell from their absence, since another rule says the same: that an announcement is forgotten with its life (it
//! names the life, and is compared with the copy's), that news of a restart are of the current link (they name the incarnation), and that
//! no held set is still to be asked for before a first state is there (one of them is being asked for then). Nor these: that what is missing is asked for
//! at once when a part does not follow (the question before it is due again then), that of several numbers which are gone in one slot the highest counts (they
//! come in their order), and that what others tell of an end is not noted where its own node said so (it is over either way, and takes a place of that teller's).

// tidy: long because one table says of all rules what fails when they are broken

use std::cell::Cell;
use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::SETTLING;
use super::*;
use crate::message::{Heard, Hello, OP_OVERHEAD_BYTES, Op, Ops, Part, Position, Pull, Vector};
use crate::owner_log::wire_size;
use crate::reference::{PresenceRef, Writer};
use crate::testing::tally::{Tally, holds};

type History = (u64, usize, Vec<u64>);
type Lists = Vec<Option<BTreeMap<PresenceRef, Arc<Entry>>>>;

fn history() -> impl Strategy<Value = History> {
    let actions = prop::collection::vec(any::<u64>(), 10..120);
    (any::<u64>(), 2..6usize, actions)
}

fn played((seed, nodes, actions): History) -> World {
    let mut world = World::new(seed, nodes);
    world.voice = Voice::Silent;
    for action in actions {
        world.step(action);
    }
    world
}

/// All alive, all linked, in fair weather, with what they track.
fn steady((seed, nodes, actions): History) -> World {
    let mut world = World::new(seed, nodes);
    world.voice = Voice::Silent;
    world.weather = Weather::Fair;
    world.heal_all();
    world.pass(SETTLING);
    for action in actions {
        world.step += 1;
        world.random = Random::new(action);
        let node = world.random.below(nodes);
        world.track(node);
    }
    world.pass(Duration::from_millis(300));
    world
}

impl World {
    fn alive(&self) -> Vec<Index> {
        let nodes = 0..self.nodes.len();
        nodes
            .filter(|node| self.nodes[*node].running.is_some())
            .collect()
    }

    fn running(&self, node: Index) -> &Running {
        self.nodes[node].running.as_ref().unwrap()
    }

    /// How far a node is that is alive.
    fn running_at(&self, node: Index) -> Option<Position> {
        let running = self.nodes[node].running.as_ref()?;
        Some(running.shard.at())
    }

    fn list(&self, node: Index) -> BTreeMap<PresenceRef, Arc<Entry>> {
        let mut list = BTreeMap::new();
        for entry in self.running(node).shard.listed() {
            let twice = list.insert(entry.reference, Arc::clone(entry));
            assert_eq!(twice, None, "I14: one reference on two nodes");
        }
        list
    }

    fn lists(&self) -> Lists {
        let nodes = 0..self.nodes.len();
        let running = |node: Index| self.nodes[node].running.is_some();
        nodes
            .map(|node| running(node).then(|| self.list(node)))
            .collect()
    }

    /// What the users of a node track, as they know it.
    fn tracked(&self, node: Index) -> BTreeMap<PresenceRef, Arc<Entry>> {
        let own = self.running(node).own.values();
        own.map(|own| (own.entry.reference, Arc::clone(&own.entry)))
            .collect()
    }

    fn tracked_by(&self, nodes: &[Index]) -> BTreeMap<PresenceRef, Arc<Entry>> {
        nodes.iter().flat_map(|node| self.tracked(*node)).collect()
    }

    /// A node tracks an entry, as the checkers have to know.
    fn written(&mut self, node: Index, entry: &Arc<Entry>) {
        let generation = self.nodes[node].generation;
        self.truth.written(entry, node, generation);
    }

    /// A message arrives over the link that is current, whoever made it.
    fn hear(&mut self, node: Index, from: Index, bytes: &Bytes) {
        let Some(view) = self
            .nodes
            .get(node)
            .and_then(|at| at.running.as_ref()?.links.get(&from).copied())
        else {
            return;
        };
        let origin = Origin {
            node: self.names[from].clone(),
            incarnation: Incarnation(view.incarnation),
            link: view.link,
        };
        let message = Message::decode(bytes).unwrap().unwrap();
        if self.is_between_earlier_processes((node, from), &message) {
            return;
        }
        self.act(node, |_, running, now| {
            running.shard.handle_message(&origin, message, now);
        });
    }

    /// The clock was set back between two processes of a node: over a link of the later one comes nothing that the earlier one said or
    /// was told.
    fn is_between_earlier_processes(
        &self,
        (node, from): (Index, Index),
        message: &Message,
    ) -> bool {
        let life = match message {
            Message::Hello(hello) => {
                let least = hello.least.map_or(0, |least| least.incarnation);
                if least > self.nodes[node].incarnation {
                    return true;
                }
                hello.at.life
            }
            Message::Vector(vector) => vector.at.life,
            Message::Ops(ops) => ops.life,
            Message::Part(part) => part.at.life,
            Message::Goodbye(goodbye) => goodbye.life,
            _ => return false,
        };
        life.incarnation > self.nodes[from].incarnation
    }

    /// Else a promise about a node's entries would say nothing.
    fn tracks_something(&mut self, node: Index) {
        while self.tracked(node).is_empty() {
            self.track(node);
        }
        self.pass(Duration::from_millis(300));
    }

    /// Time in small steps, each of which is looked at.
    fn watch(&mut self, time: Duration, mut look: impl FnMut(&Self)) {
        let end = self.now + time;
        while self.now < end {
            self.pass(Duration::from_millis(7));
            look(self);
        }
    }
}

/// A slot that the random steps never use.
fn apart(owner: u64) -> (u64, usize, usize) {
    (100 + owner, 9, 9)
}

/// Every call about another's entry is refused where it is not tracked, whoever makes it.
#[test]
fn i10_what_another_tracks_cannot_be_changed_here() {
    let met = ["not the owner", "no presence"];
    holds(48, &met, history(), |history, tally| {
        let mut world = steady((history.0, history.1.max(3), history.2));
        // Under a key of its own, each, so that there is a call to refuse.
        for node in world.alive() {
            world.track_at(node, (100, 9, node), Bytes::new(), Duration::ZERO);
        }
        world.pass(Duration::from_millis(300));
        let alive = world.alive();
        let truth = world.tracked_by(&alive);
        for node in alive {
            let now = world.running(node).clock(world.now);
            let list = world.list(node);
            let name = world.names[node].clone();
            for entry in truth.values().filter(|entry| entry.node != name) {
                let running = world.nodes[node].running.as_mut().unwrap();
                let mut slot = Slot::of(entry);
                // An owner's number that nobody has here, so that what is there is certainly another's.
                slot.owner += 1_000;
                let refused = running.shard.update(&slot, None, Bytes::new(), now);
                let same =
                    |other: &&Arc<Entry>| (&other.topic, &other.key) == (&slot.topic, &slot.key);
                let mut there = list.values().filter(same).peekable();
                if there.peek().is_some() && there.all(|other| other.node != name) {
                    prop_assert!(
                        matches!(refused, Err(Refusal::NotOwner(_))),
                        "{:?}",
                        refused
                    );
                    let untracked = running.shard.untrack(&slot, now);
                    prop_assert!(matches!(untracked, Err(Refusal::NotOwner(_))));
                    tally.note(met[0], true);
                } else {
                    prop_assert_eq!(refused, Err(Refusal::NoPresence));
                    prop_assert_eq!(running.shard.untrack(&slot, now), Ok(false));
                    tally.note(met[1], true);
                }
                prop_assert!(running.shard.poll_effect().is_none(), "nothing happened");
            }
        }
        Ok(())
    });
}

/// The message as if it were of that life.
fn of_life(message: Message, life: Life) -> Message {
    let at = |at: Position| Position { life, ..at };
    match message {
        Message::Hello(hello) => Message::Hello(Hello {
            at: at(hello.at),
            ..hello
        }),
        Message::Vector(vector) => Message::Vector(Vector {
            at: at(vector.at),
            ..vector
        }),
        Message::Ops(ops) => Message::Ops(Ops { life, ..ops }),
        Message::Part(part) => Message::Part(Part {
            at: at(part.at),
            ..part
        }),
        Message::Goodbye(goodbye) => Message::Goodbye(crate::message::Goodbye { life, ..goodbye }),
        other => other,
    }
}

/// A peer says again, as its own, what others said, as of their lives or of its present one, and goes on after that. Nothing of the others
/// changes at once, nor when time has passed and links have broken.
#[test]
fn i10_nobody_changes_what_another_wrote() {
    let met = ["taken for the liar's own word", "refused, or known already"];
    let picks = prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 0..90u64), 20);
    let counts = [Cell::new(0), Cell::new(0)];
    holds(48, &met, (history(), picks), |(history, picks), tally| {
        let mut world = steady((history.0, history.1.max(3), history.2));
        let liar = world.nodes.len() - 1;
        let alive = world.alive();
        let truth = world.tracked_by(&alive[..liar]);
        let mut said = world.said.clone();
        said.retain(|(of, to, _)| *of != liar && *to != liar);
        for (pick, as_present, wait) in picks {
            let (_, to, bytes) = pick.get(&said);
            let life = world.running(liar).shard.at().life;
            let forged = Message::decode(bytes).unwrap().unwrap();
            let forged = match as_present {
                true => of_life(forged, life),
                false => forged,
            };
            let of_liar = |world: &World| {
                let shard = &world.running(*to).shard;
                (
                    shard.have(&world.names[liar]),
                    shard.contents_of(&world.names[liar]),
                )
            };
            let before = of_liar(&world);
            world.hear_lie(*to, liar, &forged);
            prop_assert_eq!(&world.list_without(*to, liar), &truth);
            let case = usize::from(of_liar(&world) == before);
            tally.note(met[case], true);
            counts[case].set(counts[case].get() + 1);
            world.pass(Duration::from_millis(wait));
        }
        world.break_and_heal([(0, liar), (0, 1)]);
        for node in world.alive() {
            prop_assert_eq!(&world.list_without(node, liar), &truth, "node {}", node);
        }
        Ok(())
    });
    let counts = counts.map(Cell::into_inner);
    assert!(
        counts.iter().all(|count| *count >= 48),
        "{met:?}: {counts:?}"
    );
}

#[test]
fn i1_quiet_lists_are_what_is_tracked() {
    let met = [
        "a list that was not whole when quiet began",
        "another node's entry in the end",
    ];
    let given = history();
    holds(48, &met, given, |history, tally| {
        let mut world = played(history);
        let alive = world.alive();
        let online = world.tracked_by(&alive);
        tally.add(
            met[0],
            alive
                .iter()
                .filter(|node| world.list(**node) != online)
                .count(),
        );
        world.become_quiet();
        let alive = world.alive();
        let truth = world.tracked_by(&alive);
        tally.add(met[1], truth.len() * (alive.len().max(1) - 1));
        for node in alive {
            prop_assert_eq!(&world.list(node), &truth, "node {}", node);
        }
        world.finish();
        Ok(())
    });
}

/// What is left of a grace counts from when it is said: of all that was said before, nothing is left. Without this an old offer would be
/// the word of a peer that holds something today, to whoever began later or has forgotten that end.
fn as_of_now(bytes: &[u8]) -> Bytes {
    let mut message = Message::decode(bytes).unwrap().unwrap();
    match &mut message {
        Message::Hello(hello) => hello.held.iter_mut().for_each(|offer| offer.left = 0),
        Message::Vector(vector) => vector.held.iter_mut().for_each(|offer| offer.left = 0),
        Message::HeldPart(part) => part.set.left = 0,
        _ => {}
    }
    message.encode()
}

/// Everything that was ever sent arrives once more, over whatever link there is now. What was said by a tracker that was closed while
/// its node stays may come to who never heard that, or has forgotten it: there, too, nothing joins that was seen to leave.
#[test]
fn i8_nothing_that_was_said_before_brings_back_what_is_over() {
    let met = [
        "operations of an entry that is over",
        "a state that is not the last",
        "said by a life that is over",
        "said by a closed tracker of what was seen to leave",
    ];
    let given = history();
    holds(96, &met, given, |history, tally| {
        let mut world = played(history);
        world.become_quiet();
        let truth = world.lists();
        for (from, to, bytes) in world.said.clone() {
            let Some(running) = &world.nodes[to].running else {
                continue;
            };
            let left = running.watcher.seen_to_leave();
            let message = Message::decode(&bytes).unwrap().unwrap();
            let at = world.running_at(from);
            match (&message, at) {
                (Message::Ops(ops), Some(at)) if ops.life == at.life => {
                    let old = |op: &Op| op.gone.is_some();
                    tally.note(met[0], ops.ops.iter().any(old));
                }
                (Message::Part(part), Some(at)) => tally.note(met[1], part.at != at),
                (Message::Ops(ops), Some(at)) => tally.note(met[2], ops.life < at.life),
                (Message::Ops(ops), None) if running.links.contains_key(&from) => {
                    let puts = ops.ops.iter().zip(ops.from + 1..);
                    let mut puts = puts.filter(|(op, _)| op.kind == Op::PUT);
                    let gone = |put_seq| {
                        let mut left = left.iter().map(|left| left.put_seq());
                        left.any(|gone| gone == put_seq)
                    };
                    tally.note(met[3], puts.any(|(_, put_seq)| gone(put_seq)));
                }
                _ => {}
            }
            world.hear(to, from, &as_of_now(&bytes));
            let list = world.list(to);
            if at.is_some() {
                let before = truth[to].iter().flatten();
                let mut others = list.iter().filter(|(_, entry)| {
                    let of = world.names.iter().position(|name| *name == entry.node);
                    of.is_some_and(|of| world.nodes[of].running.is_some())
                });
                prop_assert!(before.eq(others.by_ref()), "n{} to n{}", from, to);
            }
            let back = list.keys().find(|reference| left.contains(reference));
            prop_assert_eq!(back, None, "n{} to n{}: {:?}", from, to, message);
        }
        // Whose silence nobody had noticed, as nobody knew of it, is silent again.
        world.pass(Duration::from_secs(20));
        prop_assert_eq!(world.lists(), truth);
        Ok(())
    });
}

#[test]
fn i14_diffs_replayed_are_the_list_at_every_step() {
    let met = ["a list that grew", "a list that shrank"];
    let given = history();
    holds(48, &met, given, |history, tally| {
        let (seed, nodes, actions) = history;
        let mut world = World::new(seed, nodes);
        world.voice = Voice::Silent;
        let mut sizes = BTreeMap::new();
        for action in actions {
            world.step(action);
            for node in world.alive() {
                let size = world.list(node).len();
                let before = sizes.insert(node, size).unwrap_or(size);
                tally.note(met[0], size > before);
                tally.note(met[1], size < before);
                prop_assert_eq!(
                    world.running(node).watcher.by_reference(),
                    &world.list(node)
                );
            }
        }
        Ok(())
    });
}

#[test]
fn i16_an_update_is_never_seen_as_none_or_two() {
    let met = [
        "the new value came at once where it was updated",
        "it came elsewhere later",
        "it came elsewhere though messages were lost",
    ];
    let given = (
        history(),
        any::<bool>(),
        prop::collection::vec((any::<prop::sample::Index>(), 0..90u64), 1..25),
    );
    holds(48, &met, given, |(history, foul, updates), tally| {
        let mut world = steady(history);
        if foul {
            // Links stay, and what is lost on them comes later, or with a state.
            world.weather = Weather::Foul;
        }
        let slots: Vec<(Index, (u64, usize, usize))> = world
            .alive()
            .into_iter()
            .flat_map(|node| {
                world
                    .running(node)
                    .own
                    .keys()
                    .map(move |at| (node, *at))
                    .collect::<Vec<_>>()
            })
            .collect();
        prop_assume!(!slots.is_empty());
        let mut last: BTreeMap<(Index, Index, At), PresenceRef> = BTreeMap::new();
        for (pick, wait) in updates {
            let (node, at) = *pick.get(&slots);
            let before = world.running(node).own[&at].entry.reference;
            let meta = world.meta();
            world.act(node, |world, running, now| {
                let new = running
                    .shard
                    .update(&slot_at(at), None, meta.clone(), now)
                    .unwrap();
                assert_eq!((&new.meta, new.previous), (&meta, Some(before)));
                world
                    .truth
                    .written(&new, node, world.nodes[node].generation);
                world.truth.ended(before, world.step);
                running.own.get_mut(&at).unwrap().entry = new;
            });
            world.watch(Duration::from_millis(wait), |world| {
                for (viewer, (node, at)) in world
                    .alive()
                    .into_iter()
                    .flat_map(|v| slots.iter().map(move |s| (v, *s)))
                {
                    let list = world.list(viewer).into_values();
                    let slot = slot_at(at);
                    let seen: Vec<_> = list
                        .filter(|e| {
                            e.node == world.names[node]
                                && (e.owner, &e.topic, &e.key)
                                    == (slot.owner, &slot.topic, &slot.key)
                        })
                        .collect();
                    assert_eq!(seen.len(), 1, "{seen:?}");
                    let before = last.insert((viewer, node, at), seen[0].reference);
                    assert!(
                        before.is_none_or(|before| before <= seen[0].reference),
                        "an older value came back"
                    );
                    let changed = before.is_some_and(|before| before < seen[0].reference);
                    tally.note(met[usize::from(viewer != node)], changed);
                    tally.note(met[2], changed && viewer != node && foul);
                }
            });
        }
        Ok(())
    });
}

#[test]
fn i21_the_list_and_its_indexes_tell_the_same() {
    let met = ["several entries under one key", "a held entry"];
    let given = history();
    holds(48, &met, given, |history, tally| {
        let (seed, nodes, actions) = history;
        let mut world = World::new(seed, nodes);
        world.voice = Voice::Silent;
        for action in actions {
            world.step(action);
            for node in world.alive() {
                let shard = &world.running(node).shard;
                shard.assert_consistent();
                let list = world.list(node);
                prop_assert_eq!(list.len(), shard.listed().count(), "none twice");
                tally.add(met[1], shard.held_listed());
                for entry in list.values() {
                    let topic = shard.entries(&entry.topic);
                    prop_assert_eq!(
                        topic
                            .by_key(&entry.key)
                            .filter(|other| *other == entry)
                            .count(),
                        1
                    );
                    prop_assert_eq!(topic.iter().count(), topic.len());
                    tally.note(met[0], topic.by_key(&entry.key).count() > 1);
                }
            }
        }
        Ok(())
    });
}

#[test]
fn i28_what_was_tracked_is_listed_at_once_and_until_it_leaves() {
    let met = ["tracked, and listed", "tracked in a restart's drain"];
    let given = history();
    holds(48, &met, given, |history, tally| {
        let (seed, nodes, actions) = history;
        let mut world = World::new(seed, nodes);
        world.voice = Voice::Silent;
        for action in actions {
            world.step(action);
            for node in world.alive() {
                let list = world.list(node);
                tally.add(met[0], world.tracked(node).len());
                let drains = world.nodes[node].draining.is_some();
                tally.note(met[1], drains && !world.tracked(node).is_empty());
                prop_assert!(
                    world
                        .tracked(node)
                        .iter()
                        .all(|(r, entry)| list.get(r) == Some(entry))
                );
            }
        }
        Ok(())
    });
}

mod clocks;
mod corrupted;
mod graces;
mod hearsay;
mod knowledge;
mod lies;
mod lives;
mod losses;
mod offers;
mod owners;
mod quiet;
mod splits;
mod states;

/// No promise is without a property of its name: a test by itself, or one of those that proptest makes.
#[test]
fn every_promise_has_a_property() {
    let sources = [
        include_str!("promises.rs"),
        include_str!("promises/clocks.rs"),
        include_str!("promises/corrupted.rs"),
        include_str!("promises/graces.rs"),
        include_str!("promises/hearsay.rs"),
        include_str!("promises/knowledge.rs"),
        include_str!("promises/lives.rs"),
        include_str!("promises/losses.rs"),
        include_str!("promises/offers.rs"),
        include_str!("promises/owners.rs"),
        include_str!("promises/quiet.rs"),
        include_str!("promises/splits.rs"),
        include_str!("promises/states.rs"),
        include_str!("../../../replica/tests.rs"),
        include_str!("../../../owner_log/tests.rs"),
        include_str!("../../../shard/tests/laws.rs"),
    ];
    let tests: Vec<&str> = sources.iter().flat_map(|source| tests_in(source)).collect();
    for id in 1..=30 {
        let name = format!("fn i{id}_");
        assert!(
            tests.iter().any(|test| test.starts_with(&name)),
            "I{id} has none"
        );
    }
}

/// The functions that stand right below `#[test]`.
fn tests_in(source: &str) -> impl Iterator<Item = &str> {
    let lines = source.lines().map(str::trim);
    let below = lines.clone().skip(1);
    lines
        .zip(below)
        .filter_map(|(line, below)| (line == "#[test]").then_some(below))
}

#[test]
fn what_only_has_the_name_of_a_property_is_none() {
    let source = "/// fn i1_said\nfn i1_helps() {}\n\n    #[test]\n    fn i2_is_one() {\n";
    assert_eq!(tests_in(source).collect::<Vec<_>>(), ["fn i2_is_one() {"]);
}
