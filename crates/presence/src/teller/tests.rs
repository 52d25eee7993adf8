//! Whatever happens in the tracker, however late and in whatever order it reaches clients, and however much of it is lost on
//! the way: a client ends with the tracker's list.
//!
//! Broken by hand, one at a time, to see that it is noticed. "The history" is the property at the end; names with `::` are of
//! `tests/it`. Where many fail, those that say why are named.
//!
//! | broken | what fails |
//! | --- | --- |
//! | the period of differences ignored | `the_first_change_is_told_`, `modes::changes_within_` |
//! | the period of lists ignored | `who_asks_within_a_period_` |
//! | counts told once a period | `counts_come_once_a_second_` |
//! | what is due looked at a moment late, or at the last of its times | `the_first_change_is_told_`; `modes::a_window_` |
//! | a list that was given is no base, or what was told is none | the history, `behind::who_joined_meanwhile_` |
//! | what was given stays a base; what was told is not kept | the history |
//! | the whole list kept as told in a window, or given there | the history, `modes::a_window_` |
//! | nothing new counts as something to tell | `who_comes_and_goes_`, `counts_come_once_a_second_` |
//! | an empty difference is sent | `modes::a_counted_room_` |
//! | one list too many may be given, or a full number of them asks for no difference | `lists_that_are_given_` |
//! | two lists at once; two differences at once | the history |
//! | a list before the difference that is due | `who_waits_for_a_list_gets_it_` |
//! | a list for one waiter only | `who_asks_within_a_period_` |
//! | a count told again, or not told again to those who were given another | the history, `counts_come_once_a_second_` |
//! | a joiner is not given the count | `modes::who_only_watches_` |
//! | after lost changes only the listed topics compared, or only the known ones; or none | the history; `behind::clients_are_told_` |
//! | a change that comes while a difference is under way forgotten | the history, `of_one_topic_` |
//! | the handler's list not kept; compared with what clients were told | the history; `handler::every_node_is_told_` |
//! | the handler told of no change | `a_handler_is_told_when_` |
//! | the handler's keys not fetched, or no handler in a counted room | `whom_the_handler_hears_of_`; the history |
//! | a topic forgotten that clients or the handler know people of, or that is busy | the history |
//! | a topic forgotten before its period is over | `a_topic_is_not_forgotten_` |
//! | an appointment kept that another replaced; none made after a job | the history |
//! | a window one key too small or large, or of metas | `mode::tests::a_window_ends_` |
//! | a topic told of though nobody is subscribed, or not noted as told; who is subscribed asked before the list is read | `where_nobody_is_`; `who_is_subscribed_` |
//! | all of a list looked at, not what changed of it | `in_a_room_of_100_000_` |
//! | joins and leaves changed round, their order turned round, one base alone, a repetition left in | the tests of `difference.rs` |
//! | changes not held until a list is pushed | `state_first::`, and most others, whose clients (`client.rs`) expect none before |
//! | a drop grace ignored, or doubled | `grace::who_is_back_in_time_`, `grace::who_is_not_back_` |
//! | what was given to one who has a list is no base once it has been told of, or not when it has arrived | `a_list_that_was_overtaken_`, the history |
//! | who joined before on the same connection is not told what it missed, or who left since only, or not who is back; nothing noted of who left, or not what nobody heard; noted \
//!   before it is told | the history, `who_was_here_a_while_ago_`; the history over wires of `node/clients` |
//! | all that happens where nobody is subscribed noted | `where_nobody_has_been_for_a_minute_` |
//! | what was noted while nobody was subscribed taken for what a window's clients hold | `who_comes_to_a_window_` |
//! | all that is due looked at in one turn | `so_many_looks_` |
//! | the last rule that fits, not the first | `the_first_rule_that_fits_` of `rules.rs` |
//!
//! That what has changed is not forgotten needs no test: its time is never later than the end of the period, which is waited for.

use std::collections::VecDeque;

use matryoshka_tracker::Entry;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::extras::Extras;
use crate::list::{PresenceDiff, PresenceState};
use crate::rules::TopicConfig;
use crate::testing::{TOPIC, entry, entry_of, list};

#[path = "../../tests/it/js_client.rs"]
mod js_client;
use js_client::{JsPresence, held, sorted};

const PERIOD: Duration = Duration::from_millis(50);

/// How a channel asks that has joined a moment ago, for the first time on its connection.
const HELD: Wish = Wish {
    is_held_back: true,
    heard_until: None,
};

fn teller<W>(mode: Mode) -> Teller<W> {
    let mut rules = Rules::default();
    rules.add("*", TopicConfig::default().mode(mode)).unwrap();
    Teller::new(Settings {
        period: PERIOD,
        rules,
        has_handler: false,
    })
}

impl<W> Teller<W> {
    /// What is to be done now, in however many looks.
    fn next(&mut self, now: Duration, source: &impl Source) -> Option<Job<W>> {
        self.poll(now, source, &mut usize::MAX.clone())
    }
}

/// A topic that is watched.
impl<F: Fn(&str) -> Entries> Source for F {
    fn list(&self, topic: &str) -> Entries {
        self(topic)
    }

    fn is_watched(&self, _topic: &str) -> bool {
        true
    }
}

/// What is seen of the one topic.
#[derive(Clone)]
struct Seen {
    list: Entries,
    is_watched: bool,
}

impl Source for Seen {
    fn list(&self, _topic: &str) -> Entries {
        self.list.clone()
    }

    fn is_watched(&self, _topic: &str) -> bool {
        self.is_watched
    }
}

fn telling<W>(job: Option<Job<W>>) -> Telling {
    match job {
        Some(Job::Tell(telling)) => telling,
        Some(Job::Greet(_)) => panic!("a greeting"),
        None => panic!("nothing"),
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn topic() -> Arc<str> {
    TOPIC.into()
}

#[test]
fn the_first_change_is_told_at_once_and_what_follows_at_the_end_of_the_period() {
    let mut teller = teller::<()>(Mode::Full);
    teller.changed(&topic());
    let first = telling(teller.next(ms(1000), &|_: &str| list(&[("a", 1)])));
    assert_eq!(first.news.joins, [entry("a", 1)]);
    teller.told(&topic(), ms(0));

    teller.changed(&topic());
    let later = |_: &str| list(&[("a", 1), ("b", 2), ("c", 3)]);
    assert!(teller.next(ms(1049), &later).is_none());
    assert_eq!(teller.poll_timeout(), Some(ms(1050)));
    let second = telling(teller.next(ms(1050), &later));
    assert_eq!(second.news.joins, [entry("b", 2), entry("c", 3)]);
}

#[test]
fn of_one_topic_one_difference_is_under_way() {
    let mut teller = teller::<()>(Mode::Full);
    teller.changed(&topic());
    telling(teller.next(ms(0), &|_: &str| list(&[("a", 1)])));
    teller.changed(&topic());
    let now = |_: &str| list(&[("b", 2)]);
    assert!(teller.next(ms(10_000), &now).is_none());
    teller.told(&topic(), ms(0));
    let merged = telling(teller.next(ms(10_000), &now));
    assert_eq!(
        (merged.news.joins, merged.news.leaves),
        (vec![entry("b", 2)], vec![entry("a", 1)])
    );
}

#[test]
fn who_comes_and_goes_within_a_period_is_told_only_if_a_list_named_them() {
    let mut teller = teller(Mode::Full);
    let ghost = |_: &str| list(&[("ghost", 1)]);
    teller.wanted(&topic(), "anna", HELD);
    assert!(matches!(teller.next(ms(0), &ghost), Some(Job::Greet(_))));
    teller.greeted(&topic(), None);
    teller.changed(&topic());
    teller.changed(&topic());
    let after = telling(teller.next(ms(1), &|_: &str| list(&[])));
    assert_eq!(after.news.leaves, [entry("ghost", 1)]);
    teller.told(&topic(), ms(0));

    teller.changed(&topic());
    assert!(teller.next(ms(60), &|_: &str| list(&[])).is_none());
}

#[test]
fn who_asks_within_a_period_shares_one_greeting() {
    let mut teller = teller(Mode::Full);
    teller.wanted(&topic(), 0, HELD);
    assert!(matches!(
        teller.next(ms(0), &|_: &str| list(&[])),
        Some(Job::Greet(_))
    ));
    teller.greeted(&topic(), None);
    for waiter in 1..=1_000 {
        teller.wanted(&topic(), waiter, HELD);
    }
    assert!(teller.next(ms(49), &|_: &str| list(&[])).is_none());
    match teller.next(ms(50), &|_: &str| list(&[])) {
        Some(Job::Greet(greet)) => assert_eq!(greet.waiters.len(), 1_000),
        _ => panic!("no greeting"),
    }
}

#[test]
fn counts_come_once_a_second_and_only_when_they_change() {
    let mut teller = teller(Mode::Count);
    let count = |n| {
        (0..n)
            .map(|n| entry(&n.to_string(), n))
            .collect::<Entries>()
    };
    teller.changed(&topic());
    let first = telling(teller.next(ms(0), &|_: &str| count(1)));
    assert_eq!(first.count, Some(Count { keys: 1, metas: 1 }));
    assert!(first.news.is_empty());
    teller.told(&topic(), ms(0));
    teller.changed(&topic());
    assert!(teller.next(ms(999), &|_: &str| count(50)).is_none());
    let second = telling(teller.next(ms(1_000), &|_: &str| count(50)));
    assert_eq!(
        second.count,
        Some(Count {
            keys: 50,
            metas: 50
        })
    );
    teller.told(&topic(), ms(0));
    teller.changed(&topic());
    assert!(teller.next(ms(2_000), &|_: &str| count(50)).is_none());

    // One who was given another number in between makes it be told again.
    teller.wanted(&topic(), (), HELD);
    assert!(matches!(
        teller.next(ms(2_100), &|_: &str| count(51)),
        Some(Job::Greet(_))
    ));
    teller.greeted(
        &topic(),
        Some(Count {
            keys: 51,
            metas: 51,
        }),
    );
    teller.changed(&topic());
    let third = telling(teller.next(ms(3_000), &|_: &str| count(50)));
    assert_eq!(
        third.count,
        Some(Count {
            keys: 50,
            metas: 50
        })
    );
}

#[test]
fn a_handler_is_told_when_its_list_changes_and_not_when_it_is_looked_at() {
    let mut teller = teller::<()>(Mode::Full);
    teller.settings.has_handler = true;
    teller.changed(&topic());
    let now = |_: &str| list(&[("a", 1)]);
    assert!(telling(teller.next(ms(0), &now)).handled.is_some());
    teller.told(&topic(), ms(0));
    teller.changed(&topic());
    assert!(teller.next(ms(1_000), &now).is_none());
}

#[test]
fn whom_the_handler_hears_of_is_fetched_even_where_clients_are_told_no_names() {
    let mut teller = teller::<()>(Mode::Count);
    teller.settings.has_handler = true;
    teller.changed(&topic());
    let first = telling(teller.next(ms(0), &|_: &str| list(&[("a", 1), ("b", 2)])));
    assert!(first.news.is_empty());
    assert_eq!(first.keys, ["a".into(), "b".into()]);
}

#[test]
fn who_waits_for_a_list_gets_it_after_the_difference_that_is_due_and_needs_none_after_it() {
    let mut teller = teller(Mode::Full);
    let now = |_: &str| list(&[("a", 1)]);
    teller.wanted(&topic(), (), HELD);
    teller.changed(&topic());
    assert_eq!(
        telling(teller.next(ms(0), &now)).news.joins,
        [entry("a", 1)]
    );
    assert!(matches!(teller.next(ms(0), &now), Some(Job::Greet(_))));
    teller.told(&topic(), ms(0));
    teller.greeted(&topic(), None);
    teller.changed(&topic());
    assert!(teller.next(ms(50), &now).is_none());
}

#[test]
fn a_topic_is_not_forgotten_before_its_period_is_over() {
    let mut teller = teller::<()>(Mode::Full);
    for (at, lists) in [(0, &[("a", 1)][..]), (50, &[])] {
        teller.changed(&topic());
        telling(teller.next(ms(at), &|_: &str| list(lists)));
        teller.told(&topic(), ms(0));
    }
    teller.changed(&topic());
    assert!(teller.next(ms(100), &|_: &str| list(&[])).is_none());
    teller.changed(&topic());
    let now = |_: &str| list(&[("b", 2)]);
    assert!(teller.next(ms(149), &now).is_none());
    telling(teller.next(ms(150), &now));
}

#[test]
fn topics_where_nobody_is_are_forgotten() {
    for mode in [Mode::Full, Mode::Count, Mode::Window(2)] {
        let mut teller = teller(mode);
        for n in 0..100 {
            let topic = Arc::from(format!("topic {n}"));
            teller.wanted(&topic, (), HELD);
            teller.changed(&topic);
        }
        let mut now = ms(0);
        while let Some(at) = teller.poll_timeout() {
            now = now.max(at);
            match teller.next(now, &|_: &str| Entries::default()) {
                Some(Job::Tell(telling)) => teller.told(&telling.topic, now),
                Some(Job::Greet(greet)) => teller.greeted(&greet.topic, greet.greeting.count),
                None => {}
            }
        }
        assert!(
            teller.topics.is_empty(),
            "{} in {mode:?}",
            teller.topics.len()
        );
    }
}

#[test]
fn lists_that_are_given_while_a_fetch_hangs_are_few() {
    let mut teller = teller(Mode::Full);
    teller.changed(&topic());
    telling(teller.next(ms(0), &|_: &str| list(&[("a", 1)])));
    let mut greetings = 0;
    for n in 0..1_000 {
        teller.wanted(&topic(), (), HELD);
        while let Some(job) = teller.next(ms(100 * n), &|_: &str| list(&[("a", 1), ("b", n + 2)])) {
            assert!(matches!(job, Job::Greet(_)));
            greetings += 1;
            teller.greeted(&topic(), None);
        }
    }
    assert_eq!(greetings, BASES);
    teller.told(&topic(), ms(0));
    let now = ms(1_000_000);
    telling(teller.next(now, &|_: &str| list(&[("a", 1)])));
    assert!(matches!(
        teller.next(now, &|_: &str| list(&[("a", 1)])),
        Some(Job::Greet(_))
    ));
}

#[test]
fn where_nobody_is_subscribed_nobody_is_told_and_who_comes_is_told_no_old_news() {
    for mode in [Mode::Full, Mode::Window(9), Mode::Count] {
        let mut teller = teller::<()>(mode);
        let mut seen = Seen {
            list: list(&[("a", 1)]),
            is_watched: false,
        };
        teller.changed(&topic());
        assert!(teller.next(ms(0), &seen).is_none(), "{mode:?}");
        seen = Seen {
            list: list(&[("a", 1), ("b", 2)]),
            is_watched: true,
        };
        teller.changed(&topic());
        let news = telling(teller.next(ms(2_000), &seen)).news;
        let joined: &[_] = if mode.lists() { &[entry("b", 2)] } else { &[] };
        assert_eq!((&*news.joins, news.leaves.len()), (joined, 0));
    }
}

/// What changed while nobody was subscribed is noted as a whole list, and clients hold the first keys of it only.
#[test]
fn who_comes_to_a_window_is_not_told_that_those_beyond_it_leave() {
    let mut teller = teller::<()>(Mode::Window(2));
    let many: Entries = (0..9).map(|n| entry(&format!("{n:03}"), n)).collect();
    let mut seen = Seen {
        list: many.clone(),
        is_watched: false,
    };
    teller.changed(&topic());
    assert!(teller.next(ms(0), &seen).is_none());
    seen = Seen {
        list: many.iter().skip(1).cloned().collect(),
        is_watched: true,
    };
    teller.changed(&topic());
    let news = telling(teller.next(ms(2_000), &seen)).news;
    assert_eq!(news.leaves, [entry("000", 0)]);
    assert_eq!(news.joins, [entry("002", 2)]);
}

#[test]
fn a_handler_hears_of_topics_where_nobody_is_subscribed() {
    let mut teller = teller::<()>(Mode::Full);
    teller.settings.has_handler = true;
    teller.changed(&topic());
    let seen = Seen {
        list: list(&[("a", 1)]),
        is_watched: false,
    };
    let first = telling(teller.next(ms(0), &seen));
    assert!(first.news.is_empty() && first.handled.is_some());
    assert_eq!(first.keys, ["a".into()]);
}

/// Whoever subscribes between the two would miss what the list has.
#[test]
fn who_is_subscribed_is_asked_after_the_list_was_read() {
    #[derive(Default)]
    struct Order(std::cell::RefCell<Vec<&'static str>>);
    impl Source for Order {
        fn list(&self, _: &str) -> Entries {
            self.0.borrow_mut().push("list");
            Entries::default()
        }

        fn is_watched(&self, _: &str) -> bool {
            self.0.borrow_mut().push("is_watched");
            false
        }
    }
    let (mut teller, order) = (teller::<()>(Mode::Full), Order::default());
    teller.changed(&topic());
    assert!(teller.next(ms(0), &order).is_none());
    assert_eq!(*order.0.borrow(), ["list", "is_watched"]);
}

/// After changes were lost all topics are due at once, most of them for nothing.
#[test]
fn so_many_looks_are_taken_at_a_time_and_what_is_due_stays_so() {
    let mut teller = teller::<()>(Mode::Full);
    for n in 0..1_000 {
        teller.changed(&Arc::from(format!("topic {n}")));
    }
    for turn in 1..=4 {
        let mut looks = 250;
        assert!(
            teller
                .poll(ms(0), &|_: &str| Entries::default(), &mut looks)
                .is_none()
        );
        assert_eq!(looks, 0, "turn {turn}");
        let is_due = teller.poll_timeout().is_some_and(|at| at <= ms(0));
        assert_eq!(is_due, turn < 4, "turn {turn}");
    }
}

/// A client that has a list asks for another one, and the difference since overtakes that on its way.
#[test]
fn a_list_that_was_overtaken_is_followed_by_what_overtook_it() {
    let mut teller = teller(Mode::Full);
    let (before, after) = ([("a", 1)], [("a", 1), ("b", 2)]);
    teller.changed(&topic());
    telling(teller.next(ms(0), &|_: &str| list(&before)));
    teller.told(&topic(), ms(0));
    teller.wanted(&topic(), (), Wish::default());
    let Some(Job::Greet(greet)) = teller.next(ms(50), &|_: &str| list(&before)) else {
        panic!("no greeting");
    };
    teller.greeted(&topic(), None);
    teller.changed(&topic());
    let news = telling(teller.next(ms(100), &|_: &str| list(&after))).news;
    assert_eq!(news.joins, [entry("b", 2)], "it may come before the list");
    teller.told(&topic(), ms(0));
    // Nobody hears it again because somebody asks.
    teller.changed(&topic());
    assert!(teller.next(ms(150), &|_: &str| list(&after)).is_none());
    teller.arrived(&topic(), greet.way.expect("it is under way"));
    let news = telling(teller.next(ms(200), &|_: &str| list(&after))).news;
    assert_eq!(news.joins, [entry("b", 2)]);
    teller.told(&topic(), ms(0));
    teller.changed(&topic());
    assert!(teller.next(ms(250), &|_: &str| list(&after)).is_none());
}

/// It left and is back on one connection, and nobody else was there meanwhile.
#[test]
fn who_was_here_a_while_ago_is_told_who_left_meanwhile_and_nobody_else_is() {
    let mut teller = teller(Mode::Full);
    let mut seen = Seen {
        list: list(&[("a", 1), ("b", 2)]),
        is_watched: true,
    };
    teller.changed(&topic());
    telling(teller.next(ms(0), &seen));
    teller.told(&topic(), ms(0));
    seen.is_watched = false;
    seen.list = list(&[("a", 1)]);
    teller.changed(&topic());
    assert!(telling(teller.next(ms(1_000), &seen)).news.is_empty());
    teller.told(&topic(), ms(1_001));
    for (at, heard_until, left) in [
        (2_000, None, vec![]),
        (3_000, Some(ms(1_000)), vec![entry("b", 2)]),
        (4_000, Some(ms(1_002)), vec![]),
    ] {
        let wish = Wish {
            heard_until,
            ..HELD
        };
        teller.wanted(&topic(), (), wish);
        let Some(Job::Greet(greet)) = teller.next(ms(at), &seen) else {
            panic!("no greeting");
        };
        assert_eq!(greet.greeting.missed().leaves, left);
        teller.greeted(&topic(), None);
    }
}

/// A node has many topics that only others' clients are in.
#[test]
fn where_nobody_has_been_for_a_minute_nothing_is_noted() {
    let mut teller = teller::<()>(Mode::Full);
    let mut seen = Seen {
        list: list(&[("a", 1)]),
        is_watched: true,
    };
    teller.changed(&topic());
    telling(teller.next(ms(0), &seen));
    teller.told(&topic(), ms(10));
    seen.is_watched = false;
    for (at, n) in [(30_000, 2), (60_000, 3)] {
        seen.list = list(&[("a", n)]);
        teller.changed(&topic());
        telling(teller.next(ms(at), &seen));
        teller.told(&topic(), ms(at));
    }
    seen.list = list(&[("a", 4)]);
    teller.changed(&topic());
    assert!(teller.next(ms(60_010), &seen).is_none());
}

/// Looks are counted, since clocks differ from machine to machine.
#[test]
fn in_a_room_of_100_000_a_change_costs_a_piece_of_the_list() {
    const ROOM: u64 = 100_000;
    const CHANGES: u64 = 20;
    let one_of = |n: u64| entry(&format!("user-{n:06}"), n);
    let room: Entries = (0..ROOM).map(|n| one_of(3 * n)).collect();
    for (mode, has_handler) in [
        (Mode::Full, false),
        (Mode::Count, false),
        (Mode::Count, true),
        (Mode::Window(20), true),
        (Mode::Window(20), false),
    ] {
        let mut teller = teller::<()>(mode);
        teller.settings.has_handler = has_handler;
        let mut list = room.clone();
        let mut now = ms(0);
        let mut told = 0;
        let mut work = |teller: &mut Teller<()>, list: &Entries, now: Duration| {
            while let Some(job) = teller.next(now, &|_: &str| list.clone()) {
                match job {
                    Job::Tell(telling) => {
                        told += 1;
                        teller.told(&telling.topic, now);
                    }
                    Job::Greet(greet) => {
                        let counted = greet.greeting.count.map(|count| count.metas);
                        assert!(counted.is_none_or(|metas| metas == list.len()));
                        teller.greeted(&greet.topic, greet.greeting.count);
                    }
                }
            }
        };
        teller.changed(&topic());
        work(&mut teller, &list, now);
        let first = teller.looked();
        for n in 0..CHANGES {
            now += COUNT_PERIOD;
            list.extend([one_of(3 * 4_999 * n + 1)]);
            teller.changed(&topic());
            teller.wanted(&topic(), (), HELD);
            work(&mut teller, &list, now);
        }
        let each = (teller.looked() - first) / CHANGES;
        assert!(each <= 600, "{each} looks for a change in {mode:?}");
        assert!(told > CHANGES, "{told}");
    }
}

/// One thing that happens, in any order.
#[derive(Clone, Debug)]
enum Happens {
    Track {
        key: usize,
    },
    Update {
        which: usize,
    },
    Untrack {
        which: usize,
    },
    /// A node's link breaks: some entries are hidden. Broken again, it heals: the same entries are back.
    Break,
    /// The tracker ends a step: its lists show it, and its diff is queued for the broadcaster.
    Step,
    /// The queue overflows: everything in it becomes one resync.
    Overflow,
    /// The broadcaster takes one item from the queue.
    Notice,
    /// Time passes, and the broadcaster starts one thing that is due.
    Work {
        ms: u64,
    },
    /// What is fetched for a difference has come: it is told.
    Tell,
    /// What is fetched for a list has come: it is on its way to those who wait.
    Greet,
    /// A client joins (again) and asks for the list. Whether what is told meanwhile is held back for it.
    Join {
        client: usize,
        is_held_back: bool,
    },
    /// It asks for the list again, within its join.
    Refresh {
        client: usize,
    },
    /// It leaves, and its connection stays.
    Leave {
        client: usize,
    },
    /// The next thing that a client has sent is read.
    Read {
        client: usize,
    },
    /// A list is pushed to the client.
    Push {
        client: usize,
    },
    /// So many frames come to the client.
    Deliver {
        client: usize,
        frames: usize,
    },
    /// A client's connection breaks; what it holds it keeps.
    Lose {
        client: usize,
    },
}

fn happens() -> impl Strategy<Value = Happens> {
    let client = || 0..CLIENTS;
    prop_oneof![
        4 => (0..4usize).prop_map(|key| Happens::Track { key }),
        2 => any::<usize>().prop_map(|which| Happens::Update { which }),
        2 => any::<usize>().prop_map(|which| Happens::Untrack { which }),
        1 => Just(Happens::Break),
        4 => Just(Happens::Step),
        1 => Just(Happens::Overflow),
        4 => Just(Happens::Notice),
        6 => (0..80u64).prop_map(|ms| Happens::Work { ms }),
        3 => Just(Happens::Tell),
        3 => Just(Happens::Greet),
        3 => (client(), 0..4).prop_map(|(client, n)| Happens::Join { client, is_held_back: n > 0 }),
        1 => client().prop_map(|client| Happens::Refresh { client }),
        2 => client().prop_map(|client| Happens::Leave { client }),
        6 => client().prop_map(|client| Happens::Read { client }),
        4 => client().prop_map(|client| Happens::Push { client }),
        4 => (client(), 1..6usize).prop_map(|(client, frames)| Happens::Deliver { client, frames }),
        1 => client().prop_map(|client| Happens::Lose { client }),
    ]
}

const CLIENTS: usize = 2;
const KEYS: [&str; 4] = ["anna", "ben", "__proto__", "constructor"];

/// The client, and the join of it that waits.
type Waiter = (usize, u64);

/// What a client says, in order.
#[derive(Debug)]
enum Said {
    Join { join: u64, is_held_back: bool },
    Refresh,
    Leave,
}

/// What it is sent, in order. What names a join is dropped by the client in any other one.
#[derive(Debug)]
enum Frame {
    State(u64, Value),
    Missed(u64, Value),
    Diff(Value),
    Count(Option<u64>, Count),
}

#[derive(Default)]
struct Client {
    presence: JsPresence,
    /// Its last join, as it counts, and whether it has not left that.
    join: u64,
    is_joined: bool,
    count: Option<Count>,
    said: VecDeque<Said>,
    sent: VecDeque<Frame>,
    /// What the node has of it.
    seat: Option<Seat>,
    /// When its connection's earlier joins ended: the first of them, and the last.
    earlier: Option<(Duration, Duration)>,
    /// Lists that its channels are about to push.
    greetings: Vec<(u64, Arc<Greeting>, Option<u64>)>,
}

/// A join that hears broadcasts.
struct Seat {
    join: u64,
    is_back: bool,
    /// What waits until the list is pushed.
    held: Option<Vec<Value>>,
}

impl Client {
    fn read(&mut self, now: Duration) -> Option<(u64, Wish)> {
        match self.said.pop_front()? {
            Said::Leave => {
                self.end(now);
                None
            }
            Said::Refresh => {
                let join = self.seat.as_ref()?.join;
                let heard_until = self.earlier.map(|(first, _)| first);
                Some((
                    join,
                    Wish {
                        is_held_back: false,
                        heard_until,
                    },
                ))
            }
            Said::Join { join, is_held_back } => {
                self.end(now);
                let heard_until = self.earlier.map(|(first, _)| first);
                self.seat = Some(Seat {
                    join,
                    is_back: heard_until.is_some(),
                    held: is_held_back.then(Vec::new),
                });
                Some((
                    join,
                    Wish {
                        is_held_back,
                        heard_until,
                    },
                ))
            }
        }
    }

    fn end(&mut self, now: Duration) {
        if self.seat.take().is_some() {
            let first = self.earlier.map_or(now, |(first, _)| first);
            self.earlier = Some((first, now));
        }
    }

    fn push(&mut self, join: u64, greeting: &Greeting) {
        let Some(seat) = self.seat.as_mut().filter(|seat| seat.join == join) else {
            return;
        };
        let Some(list) = &greeting.list else { return };
        let state = PresenceState::new(list.iter().cloned()).to_json();
        self.sent.push_back(Frame::State(join, state.to().unwrap()));
        let missed = greeting.missed();
        if seat.is_back && !missed.is_empty() {
            self.sent.push_back(Frame::Missed(join, value(missed)));
        }
        let held = seat.held.take().into_iter().flatten();
        self.sent.extend(held.map(Frame::Diff));
    }

    fn deliver(&mut self) {
        match self.sent.pop_front() {
            Some(Frame::State(join, state)) if join == self.join => {
                self.presence.handle_state(join, &state);
            }
            Some(Frame::Missed(join, diff)) if join == self.join => {
                self.presence.handle_diff(join, &diff);
            }
            Some(Frame::Diff(diff)) => self.presence.handle_diff(self.join, &diff),
            Some(Frame::Count(join, count)) if join.is_none_or(|join| join == self.join) => {
                self.count = Some(count);
            }
            _ => {}
        }
    }

    /// What waits for a list would be kept too, but that is one of the limits: nobody knows of it.
    fn lose(&mut self) {
        self.said.clear();
        self.sent.clear();
        (self.seat, self.earlier) = (None, None);
        self.is_joined = false;
        self.presence.lose_what_waits();
    }
}

fn value(news: Difference) -> Value {
    let diff = PresenceDiff::new(news, &Extras::default());
    diff.to_json().to().unwrap()
}

/// A tracker, a teller, and clients of one topic.
struct World {
    mode: Mode,
    teller: Teller<Waiter>,
    now: Duration,
    /// Whether it can be seen now, and which.
    tracked: Vec<(bool, Arc<Entry>)>,
    is_broken: bool,
    list: Entries,
    queue: Vec<bool>, // true: resync
    telling: Option<Telling>,
    greet: Option<Greet<Waiter>>,
    numbers: u64,
    clients: [Client; CLIENTS],
    handled: Entries,
}

impl World {
    fn new(mode: Mode, has_handler: bool) -> Self {
        let mut teller = teller(mode);
        teller.settings.has_handler = has_handler;
        Self {
            mode,
            teller,
            now: Duration::ZERO,
            tracked: Vec::new(),
            is_broken: false,
            list: Entries::default(),
            queue: Vec::new(),
            telling: None,
            greet: None,
            numbers: 0,
            clients: Default::default(),
            handled: Entries::default(),
        }
    }

    fn happen(&mut self, what: &Happens) {
        match *what {
            Happens::Track { key } => {
                let added = self.entry(KEYS[key], None);
                self.tracked.push((self.numbers.is_multiple_of(2), added));
            }
            Happens::Update { which } => {
                let Some(at) = which.checked_rem(self.tracked.len()) else {
                    return;
                };
                let (far, old) = self.tracked[at].clone();
                self.tracked[at] = (far, self.entry(&old.key, Some(&old)));
            }
            Happens::Untrack { which } => {
                if let Some(at) = which.checked_rem(self.tracked.len()) {
                    self.tracked.remove(at);
                }
            }
            Happens::Break => self.is_broken = !self.is_broken,
            Happens::Step => self.step(),
            Happens::Overflow => self.queue = vec![true],
            Happens::Notice => self.notice(),
            Happens::Work { ms } => {
                self.now += Duration::from_millis(ms);
                self.work();
            }
            Happens::Tell => self.tell(),
            Happens::Greet => self.greet(),
            Happens::Join {
                client,
                is_held_back,
            } => self.join(client, is_held_back),
            Happens::Refresh { client } => self.say(client, Said::Refresh),
            Happens::Leave { client } => {
                self.say(client, Said::Leave);
                self.clients[client].is_joined = false;
            }
            Happens::Read { client } => self.read(client),
            Happens::Push { client } => self.push(client),
            Happens::Deliver { client, frames } => {
                (0..frames).for_each(|_| self.clients[client].deliver());
            }
            Happens::Lose { client } => self.clients[client].lose(),
        }
        // One appointment for each topic, at most.
        assert!(self.teller.due.len() <= self.teller.topics.len());
    }

    fn join(&mut self, client: usize, is_held_back: bool) {
        let client = &mut self.clients[client];
        client.join += 1;
        client.is_joined = true;
        let join = client.join;
        client.said.push_back(Said::Join { join, is_held_back });
    }

    fn say(&mut self, client: usize, said: Said) {
        let client = &mut self.clients[client];
        if client.is_joined {
            client.said.push_back(said);
        }
    }

    fn read(&mut self, client: usize) {
        if let Some((join, wish)) = self.clients[client].read(self.now) {
            self.teller.wanted(&topic(), (client, join), wish);
        }
    }

    fn entry(&mut self, key: &str, old: Option<&Arc<Entry>>) -> Arc<Entry> {
        self.numbers += 1;
        match old {
            Some(old) => entry_of(key, self.numbers, old.owner, Some(old.reference)),
            None => entry(key, self.numbers),
        }
    }

    fn step(&mut self) {
        let seen = self
            .tracked
            .iter()
            .filter(|(is_far, _)| !is_far || !self.is_broken);
        let list: Entries = seen.map(|(_, entry)| Arc::clone(entry)).collect();
        if !list.iter().eq(self.list.iter()) {
            self.list = list;
            self.queue.push(false);
        }
    }

    fn notice(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        match self.queue.remove(0) {
            true => {
                // The snapshot that follows a loss names no topic where nobody is.
                let topic = topic();
                let listed = Some(&topic).filter(|_| !self.list.is_empty());
                self.teller.all_changed(listed.into_iter());
            }
            false => self.teller.changed(&topic()),
        }
    }

    fn work(&mut self) {
        let seen = Seen {
            list: self.list.clone(),
            is_watched: self.clients.iter().any(|client| client.seat.is_some()),
        };
        match self.teller.next(self.now, &seen) {
            Some(Job::Tell(telling)) => assert!(self.telling.replace(telling).is_none()),
            Some(Job::Greet(greet)) => assert!(self.greet.replace(greet).is_none()),
            None => {}
        }
    }

    fn tell(&mut self) {
        let Some(telling) = self.telling.take() else {
            return;
        };
        let diff = (!telling.news.is_empty()).then(|| value(telling.news));
        for client in &mut self.clients {
            let Some(seat) = &mut client.seat else {
                continue;
            };
            match (&mut seat.held, diff.clone()) {
                (Some(held), Some(diff)) => held.push(diff),
                (None, Some(diff)) => client.sent.push_back(Frame::Diff(diff)),
                (_, None) => {}
            }
            let count = telling.count.map(|count| Frame::Count(None, count));
            client.sent.extend(count);
        }
        self.handled = telling.handled.unwrap_or_else(|| self.handled.clone());
        self.teller.told(&topic(), self.now);
    }

    fn greet(&mut self) {
        if let Some(greet) = self.greet.take() {
            let (shared, way) = (Arc::new(greet.greeting), greet.way);
            for (client, join) in greet.waiters {
                let client = &mut self.clients[client];
                if client.seat.as_ref().is_some_and(|seat| seat.join == join) {
                    let count = shared.count.map(|count| Frame::Count(Some(join), count));
                    client.sent.extend(count);
                }
                client.greetings.push((join, Arc::clone(&shared), way));
            }
            self.teller.greeted(&topic(), shared.count);
        }
    }

    fn push(&mut self, client: usize) {
        for (join, greeting, way) in std::mem::take(&mut self.clients[client].greetings) {
            self.clients[client].push(join, &greeting);
            let last = Arc::strong_count(&greeting) == 1;
            if let Some(way) = way.filter(|_| last) {
                self.teller.arrived(&topic(), way);
            }
        }
    }

    /// Nothing happens any more, and everything on its way arrives.
    fn settle(&mut self) {
        self.step();
        for _ in 0..20 {
            for client in 0..CLIENTS {
                while !self.clients[client].said.is_empty() {
                    self.read(client);
                }
            }
            while !self.queue.is_empty() {
                self.notice();
            }
            self.tell();
            self.greet();
            for client in 0..CLIENTS {
                self.push(client);
                while !self.clients[client].sent.is_empty() {
                    self.clients[client].deliver();
                }
            }
            self.now += COUNT_PERIOD;
            self.work();
        }
        assert!(self.telling.is_none() && self.greet.is_none());
    }
}

fn modes() -> impl Strategy<Value = Mode> {
    prop_oneof![
        Just(Mode::Full),
        Just(Mode::Count),
        (0..4usize).prop_map(Mode::Window)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_048))]

    #[test]
    fn in_the_end_every_client_holds_what_its_mode_says_of_the_servers_list(
        mode in modes(),
        has_handler in any::<bool>(),
        history in proptest::collection::vec(happens(), 0..160),
    ) {
        let mut world = World::new(mode, has_handler);
        for what in &history {
            world.happen(what);
        }
        for client in 0..CLIENTS {
            if !world.clients[client].is_joined {
                world.join(client, true);
            }
        }
        world.settle();
        let view = PresenceState::new(world.mode.view(&world.list).iter().cloned());
        let view = sorted(held(&view.to_json().to().unwrap()));
        for client in &world.clients {
            if mode.lists() {
                prop_assert_eq!(client.presence.list(), view.clone());
            }
            if mode.counts() {
                prop_assert_eq!(client.count, Some(Count::of(&world.list)));
            }
        }
        if has_handler {
            prop_assert!(world.handled.iter().eq(world.list.iter()));
        }
        // Whatever else there was is forgotten.
        let is_known = has_handler || mode.counts();
        let is_told = !mode.view(&world.list).is_empty() || (is_known && !world.list.is_empty());
        prop_assert_eq!(world.teller.topics.len(), usize::from(is_told));
    }
}
