//! Whatever happens in the tracker, however late and in whatever order it reaches clients, and however much of it is lost on
//! the way: a client ends with the tracker's list.
//!
//! Broken by hand, one at a time, to see that it is noticed. "The history" is the property of `histories.rs`; names with `::` are of
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
//! | who leaves by a difference that is being told not told to who is back meanwhile, or no data fetched for them | `who_is_back_before_` |
//! | lists under way count for those whose differences wait; those who wait in two ways take no turns | `lists_that_are_under_way_`; `of_those_who_join_` |
//! | a list under way waits for its client's room | `unread::who_asks_anew_` |
//! | all that happens where nobody is subscribed noted | `where_nobody_has_been_for_a_minute_` |
//! | what was noted while nobody was subscribed taken for what a window's clients hold | `who_comes_to_a_window_` |
//! | who left known for as long as nothing happens | `who_left_is_forgotten_` |
//! | all that is due looked at in one turn | `so_many_looks_` |
//! | the last rule that fits, not the first | `the_first_rule_that_fits_` of `topic_config.rs` |
//!
//! That what has changed is not forgotten needs no test: its time is never later than the end of the period, which is waited for.

use super::*;
use crate::testing::{TOPIC, entry, list};

const PERIOD: Duration = Duration::from_millis(50);

/// How a channel asks that has joined a moment ago, for the first time on its connection.
const HELD: Wish = Wish {
    is_held_back: true,
    heard_until: None,
};

fn teller<W>(mode: Mode) -> Teller<W> {
    let mut rules = Router::new();
    rules
        .add("*", TopicConfig::default().with_mode(mode))
        .unwrap();
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

/// Clients have been told of two, of whom one leaves, which is to be told at the first second.
fn one_of_two_leaves(teller: &mut Teller<()>, is_watched: bool) -> (Seen, Telling) {
    let mut seen = Seen {
        list: list(&[("a", 1), ("b", 2)]),
        is_watched: true,
    };
    teller.changed(&topic());
    telling(teller.next(ms(0), &seen));
    teller.told(&topic(), ms(0));
    seen.list = list(&[("a", 1)]);
    seen.is_watched = is_watched;
    teller.changed(&topic());
    let leaving = telling(teller.next(ms(1_000), &seen));
    (seen, leaving)
}

/// What one is greeted with at that moment that had joined before, and heard all until then.
fn greeted_again(
    teller: &mut Teller<()>,
    at: Duration,
    heard_until: Option<Duration>,
    seen: &Seen,
) -> Greet<()> {
    let wish = Wish {
        heard_until,
        ..HELD
    };
    teller.wanted(&topic(), (), wish);
    let Some(Job::Greet(greet)) = teller.next(at, seen) else {
        panic!("no greeting");
    };
    greet
}

/// It left and is back on one connection, and nobody else was there meanwhile.
#[test]
fn who_was_here_a_while_ago_is_told_who_left_meanwhile_and_nobody_else_is() {
    let mut teller = teller(Mode::Full);
    let (seen, telling) = one_of_two_leaves(&mut teller, false);
    assert!(telling.news.is_empty());
    teller.told(&topic(), ms(1_001));
    for (at, heard_until, left) in [
        (2_000, None, vec![]),
        (3_000, Some(ms(1_000)), vec![entry("b", 2)]),
        (4_000, Some(ms(1_002)), vec![]),
    ] {
        let greet = greeted_again(&mut teller, ms(at), heard_until, &seen);
        assert_eq!(greet.greeting.missed().leaves, left);
        teller.greeted(&topic(), None);
    }
}

/// Else what is known of the last ones to leave would take its room for as long as nobody comes.
#[test]
fn who_left_is_forgotten_in_time_though_nothing_happens_any_more() {
    let mut teller = teller(Mode::Full);
    let (seen, _) = one_of_two_leaves(&mut teller, true);
    teller.told(&topic(), ms(1_001));
    let over = teller.poll_timeout().expect("an appointment");
    assert_eq!(over, ms(1_001) + KEPT);
    assert!(teller.next(over, &seen).is_none());
    assert_eq!(teller.departed.over_at(), None);
    assert_eq!(teller.poll_timeout(), None);
}

/// A difference in several parts, or one that is fetched for: who joins again before its end may still hear of an old one that they came.
#[test]
fn who_is_back_before_a_difference_is_told_hears_who_leaves_by_it() {
    for is_watched in [true, false] {
        let mut teller = teller(Mode::Full);
        let (seen, _) = one_of_two_leaves(&mut teller, is_watched);
        let greet = greeted_again(&mut teller, ms(1_000), Some(ms(900)), &seen);
        assert_eq!(greet.greeting.missed().leaves, [entry("b", 2)]);
        assert_eq!(greet.greeting.keys(), ["a".into(), "b".into()]);
    }
}

/// A list is under way as long as somebody who is to have it is, and that may be long.
#[test]
fn lists_that_are_under_way_keep_nobody_from_theirs_for_whom_changes_wait() {
    let mut teller = teller(Mode::Full);
    let now = |_: &str| list(&[("a", 1)]);
    let mut greeted = 0;
    for n in 0..100 {
        teller.wanted(&topic(), n, Wish::default());
        if let Some(job) = teller.next(ms(50 * n), &now) {
            assert!(matches!(job, Job::Greet(_)));
            teller.greeted(&topic(), None);
            greeted += 1;
        }
    }
    assert_eq!(greeted, BASES);
    for n in 100..200 {
        teller.changed(&topic());
        teller.wanted(&topic(), n, HELD);
        while let Some(job) = teller.next(ms(50 * n), &now) {
            match job {
                Job::Tell(_) => teller.told(&topic(), ms(50 * n)),
                Job::Greet(greet) => {
                    assert_eq!(greet.waiters, [n]);
                    teller.greeted(&topic(), None);
                    greeted += 1;
                }
            }
        }
    }
    assert_eq!(greeted, BASES + 100);
}

/// Who asks anew all the time is not kept from a list by those who join all the time, nor the other way round.
#[test]
fn of_those_who_join_and_those_who_ask_anew_each_get_their_lists() {
    let mut teller = teller(Mode::Full);
    let now = |_: &str| list(&[("a", 1)]);
    let mut greeted = [0, 0];
    for n in 0..100 {
        teller.wanted(&topic(), 0, HELD);
        teller.wanted(&topic(), 1, Wish::default());
        // Each takes as long as a period.
        match teller.next(ms(50 * n), &now) {
            Some(Job::Greet(greet)) => {
                greeted[greet.waiters[0]] += 1;
                teller.greeted(&topic(), None);
                if let Some(way) = greet.way {
                    teller.arrived(&topic(), way);
                }
            }
            Some(Job::Tell(_)) => teller.told(&topic(), ms(50 * n)),
            None => {}
        }
    }
    assert!(greeted.iter().all(|lists| *lists > 30), "{greeted:?}");
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
    for (at, n) in [(30_000, 2), (59_000, 3)] {
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
