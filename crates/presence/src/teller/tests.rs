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
//! | a leave told at once; each leave makes what has changed wait | `who_leaves_is_told_of_`, `state_first::who_leaves_and_is_back_` |
//! | what was noted while nobody was subscribed taken for what a window's clients hold | `who_comes_to_a_window_` |
//! | all that is due looked at in one turn | `so_many_looks_` |
//! | the last rule that fits, not the first | `the_first_rule_that_fits_` of `rules.rs` |
//!
//! That what has changed is not forgotten needs no test: its time is never later than the end of the period, which is waited for.

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
    teller.told(&topic());

    teller.changed(&topic());
    let later = |_: &str| list(&[("a", 1), ("b", 2), ("c", 3)]);
    assert!(teller.next(ms(1049), &later).is_none());
    assert_eq!(teller.poll_timeout(), Some(ms(1050)));
    let second = telling(teller.next(ms(1050), &later));
    assert_eq!(second.news.joins, [entry("b", 2), entry("c", 3)]);
}

/// A room that is left without end is told of as often as any other.
#[test]
fn who_leaves_is_told_of_a_while_later_and_keeps_no_other_change_waiting() {
    let mut teller = teller::<()>(Mode::Full);
    teller.changed(&topic());
    telling(teller.next(ms(0), &|_: &str| list(&[("a", 1)])));
    teller.told(&topic());
    teller.leaving(&topic(), ms(1_000));
    teller.changed(&topic());
    let empty = |_: &str| list(&[]);
    assert!(teller.next(ms(1_049), &empty).is_none());
    teller.leaving(&topic(), ms(1_049));
    assert_eq!(teller.poll_timeout(), Some(ms(1_050)));
    telling(teller.next(ms(1_050), &empty));
}

#[test]
fn of_one_topic_one_difference_is_under_way() {
    let mut teller = teller::<()>(Mode::Full);
    teller.changed(&topic());
    telling(teller.next(ms(0), &|_: &str| list(&[("a", 1)])));
    teller.changed(&topic());
    let now = |_: &str| list(&[("b", 2)]);
    assert!(teller.next(ms(10_000), &now).is_none());
    teller.told(&topic());
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
    teller.wanted(&topic(), "anna", true);
    assert!(matches!(teller.next(ms(0), &ghost), Some(Job::Greet(_))));
    teller.greeted(&topic(), None);
    teller.changed(&topic());
    teller.changed(&topic());
    let after = telling(teller.next(ms(1), &|_: &str| list(&[])));
    assert_eq!(after.news.leaves, [entry("ghost", 1)]);
    teller.told(&topic());

    teller.changed(&topic());
    assert!(teller.next(ms(60), &|_: &str| list(&[])).is_none());
}

#[test]
fn who_asks_within_a_period_shares_one_greeting() {
    let mut teller = teller(Mode::Full);
    teller.wanted(&topic(), 0, true);
    assert!(matches!(
        teller.next(ms(0), &|_: &str| list(&[])),
        Some(Job::Greet(_))
    ));
    teller.greeted(&topic(), None);
    for waiter in 1..=1_000 {
        teller.wanted(&topic(), waiter, true);
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
    teller.told(&topic());
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
    teller.told(&topic());
    teller.changed(&topic());
    assert!(teller.next(ms(2_000), &|_: &str| count(50)).is_none());

    // One who was given another number in between makes it be told again.
    teller.wanted(&topic(), (), true);
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
    teller.told(&topic());
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
    teller.wanted(&topic(), (), true);
    teller.changed(&topic());
    assert_eq!(
        telling(teller.next(ms(0), &now)).news.joins,
        [entry("a", 1)]
    );
    assert!(matches!(teller.next(ms(0), &now), Some(Job::Greet(_))));
    teller.told(&topic());
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
        teller.told(&topic());
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
            teller.wanted(&topic, (), true);
            teller.changed(&topic);
        }
        let mut now = ms(0);
        while let Some(at) = teller.poll_timeout() {
            now = now.max(at);
            match teller.next(now, &|_: &str| Entries::default()) {
                Some(Job::Tell(telling)) => teller.told(&telling.topic),
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
        teller.wanted(&topic(), (), true);
        while let Some(job) = teller.next(ms(100 * n), &|_: &str| list(&[("a", 1), ("b", n + 2)])) {
            assert!(matches!(job, Job::Greet(_)));
            greetings += 1;
            teller.greeted(&topic(), None);
        }
    }
    assert_eq!(greetings, BASES);
    teller.told(&topic());
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
    teller.told(&topic());
    teller.wanted(&topic(), (), false);
    let Some(Job::Greet(greet)) = teller.next(ms(50), &|_: &str| list(&before)) else {
        panic!("no greeting");
    };
    teller.greeted(&topic(), None);
    for at in [100, 150] {
        teller.changed(&topic());
        let news = telling(teller.next(ms(at), &|_: &str| list(&after))).news;
        assert_eq!(news.joins, [entry("b", 2)], "it may come before the list");
        teller.told(&topic());
    }
    teller.arrived(&topic(), greet.way.expect("it is under way"));
    let news = telling(teller.next(ms(200), &|_: &str| list(&after))).news;
    assert_eq!(news.joins, [entry("b", 2)]);
    teller.told(&topic());
    teller.changed(&topic());
    assert!(teller.next(ms(250), &|_: &str| list(&after)).is_none());
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
                        teller.told(&telling.topic);
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
            teller.wanted(&topic(), (), true);
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
    /// A client joins (again) and asks for the list.
    Join {
        client: usize,
    },
    /// It asks for the list again, within its join.
    Refresh {
        client: usize,
    },
    /// A list arrives at the client.
    Arrive {
        client: usize,
    },
    /// A client's connection breaks; what it holds it keeps.
    Leave {
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
        2 => client().prop_map(|client| Happens::Join { client }),
        1 => client().prop_map(|client| Happens::Refresh { client }),
        3 => client().prop_map(|client| Happens::Arrive { client }),
        1 => client().prop_map(|client| Happens::Leave { client }),
    ]
}

const CLIENTS: usize = 2;
const KEYS: [&str; 4] = ["anna", "ben", "__proto__", "constructor"];

/// The client, and the join of it that waits.
type Waiter = (usize, u64);

#[derive(Default)]
struct Client {
    presence: JsPresence,
    /// The same without what waits for a list: that ends with a connection, since it was not sent yet.
    kept: JsPresence,
    /// The join that has its list.
    listed: u64,
    join: u64,
    is_subscribed: bool,
    count: Option<Count>,
    on_their_way: Vec<(u64, Arc<Greeting>, Option<u64>)>,
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
            Happens::Join { client } => {
                self.clients[client].join += 1;
                self.clients[client].is_subscribed = true;
                self.want(client, true);
            }
            Happens::Refresh { client } => {
                if self.clients[client].is_subscribed {
                    self.want(client, false);
                }
            }
            Happens::Arrive { client } => self.arrive(client),
            Happens::Leave { client } => {
                let client = &mut self.clients[client];
                client.is_subscribed = false;
                client.presence = client.kept.clone();
            }
        }
        // One appointment for each topic, at most.
        assert!(self.teller.due.len() <= self.teller.topics.len());
    }

    fn want(&mut self, client: usize, is_held_back: bool) {
        let waiter = (client, self.clients[client].join);
        self.teller.wanted(&topic(), waiter, is_held_back);
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
            is_watched: self.clients.iter().any(|client| client.is_subscribed),
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
        let news = !telling.news.is_empty();
        let diff = PresenceDiff::new(telling.news, &Extras::default());
        let diff: Value = diff.to_json().to().unwrap();
        for client in self
            .clients
            .iter_mut()
            .filter(|client| client.is_subscribed)
        {
            if news {
                client.presence.handle_diff(client.join, &diff);
                if client.listed == client.join {
                    client.kept = client.presence.clone();
                }
            }
            client.count = telling.count.or(client.count);
        }
        self.handled = telling.handled.unwrap_or_else(|| self.handled.clone());
        self.teller.told(&topic());
    }

    fn greet(&mut self) {
        if let Some(greet) = self.greet.take() {
            let (shared, way) = (Arc::new(greet.greeting), greet.way);
            for (client, join) in greet.waiters {
                let greeting = Arc::clone(&shared);
                let client = &mut self.clients[client];
                if join == client.join && client.is_subscribed {
                    client.count = greeting.count.or(client.count);
                }
                client.on_their_way.push((join, greeting, way));
            }
            self.teller.greeted(&topic(), shared.count);
        }
    }

    fn arrive(&mut self, client: usize) {
        let arriving = std::mem::take(&mut self.clients[client].on_their_way);
        for (join, greeting, way) in arriving {
            self.show(client, join, &greeting);
            let last = Arc::strong_count(&greeting) == 1;
            if let Some(way) = way.filter(|_| last) {
                self.teller.arrived(&topic(), way);
            }
        }
    }

    fn show(&mut self, client: usize, join: u64, greeting: &Greeting) {
        let client = &mut self.clients[client];
        if let Some(list) = &greeting.list
            && join == client.join
            && client.is_subscribed
        {
            let state = PresenceState::new(list.iter().cloned()).to_json();
            client.presence.handle_state(join, &state.to().unwrap());
            (client.kept, client.listed) = (client.presence.clone(), join);
        }
    }

    /// Nothing happens any more, and everything on its way arrives.
    fn settle(&mut self) {
        self.step();
        for _ in 0..20 {
            while !self.queue.is_empty() {
                self.notice();
            }
            self.tell();
            self.greet();
            (0..CLIENTS).for_each(|client| self.arrive(client));
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
        history in proptest::collection::vec(happens(), 0..120),
    ) {
        let mut world = World::new(mode, has_handler);
        for what in &history {
            world.happen(what);
        }
        for client in 0..CLIENTS {
            if !world.clients[client].is_subscribed {
                world.happen(&Happens::Join { client });
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
