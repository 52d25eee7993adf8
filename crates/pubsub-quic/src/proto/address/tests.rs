//! When which address is dialled.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

fn name(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn nobody(_: &NodeName) -> bool {
    false
}

fn everyone(_: &NodeName, _: Incarnation) -> bool {
    true
}

fn learn(book: &mut AddressBook, at: &str, node: &str, life: u64, now: Instant) -> bool {
    let life = (&name(node), Incarnation(life));
    book.learn(at, life, now, Duration::ZERO, nobody)
}

/// Lets every attempt at the one address in `book` fail for `time`; gives the delays between attempts.
fn delays(book: &mut AddressBook, start: Instant, time: Duration) -> Vec<Duration> {
    let mut rng = StdRng::seed_from_u64(7);
    let (mut now, mut last, mut delays) = (start, start, Vec::new());
    while now < start + time {
        if let Some(address) = book.next_due(now, everyone) {
            delays.push(now - last);
            last = now;
            book.dial(&address, ConnectionId(1));
            book.dial_ended(&address, ConnectionId(1), now, &mut rng);
        }
        now += Duration::from_millis(10);
    }
    delays
}

#[test]
fn a_seed_is_dialled_at_once_then_with_growing_jittered_delays_up_to_a_second() {
    let mut book = AddressBook::default();
    let now = Instant::now();
    book.add_seed("10.0.0.1:5000", now);
    let delays = delays(&mut book, now, Duration::from_secs(60));
    assert_eq!(delays[0], Duration::ZERO);
    assert!(delays[1] <= FIRST_BACKOFF + Duration::from_millis(10));
    let late = &delays[8..];
    let longest = RECENT_BACKOFF + Duration::from_millis(10);
    assert!(
        late.iter()
            .all(|d| *d >= RECENT_BACKOFF / 2 && *d <= longest)
    );
    assert!(late.windows(2).any(|pair| pair[0] != pair[1]), "no jitter");
}

#[test]
fn a_seed_gone_for_long_is_dialled_less_often_but_for_ever() {
    let mut book = AddressBook::default();
    let start = Instant::now();
    book.add_seed("10.0.0.1:5000", start);
    let later = start + RECENT + Duration::from_secs(1);
    book.expire(later, |_| false);
    let delays = delays(&mut book, later, Duration::from_secs(120));
    assert!(delays.len() > 10);
    assert!(delays.iter().skip(8).all(|d| *d >= OTHER_BACKOFF / 2));
}

#[test]
fn a_learned_address_that_leads_nowhere_expires() {
    let mut book = AddressBook::default();
    let now = Instant::now();
    assert!(learn(&mut book, "10.0.0.1:5000", "a", 1, now));
    book.expire(now + RECENT / 2, |_| false);
    assert_eq!(book.len(), 1);
    book.expire(now + RECENT, |_| true);
    assert_eq!(book.len(), 1);
    book.expire(now + RECENT, |_| false);
    assert_eq!(book.len(), 0);
}

#[test]
fn a_node_met_elsewhere_leaves_its_old_address() {
    let mut book = AddressBook::default();
    let now = Instant::now();
    learn(&mut book, "10.0.0.1:5000", "a", 1, now);
    book.add_seed("seed.internal:5000", now);
    let life = (&name("a"), Incarnation(1));
    book.met(life, "10.0.0.2:5000", Some("seed.internal:5000"), now);
    assert!(book.get("10.0.0.1:5000").is_none());
    assert!(book.get("10.0.0.2:5000").is_some());
    assert!(book.is_seed(&name("a")));
    book.forget(&name("a"));
    assert_eq!(book.len(), 1);
}

#[test]
fn this_node_is_dialled_once_by_address_and_seldom_by_host_name() {
    let mut book = AddressBook::default();
    let now = Instant::now();
    book.add_seed("10.0.0.1:5000", now);
    book.is_myself("10.0.0.1:5000", now);
    assert_eq!(book.next_due(now + RECENT, everyone), None);
    book.add_seed("seed.internal:5000", now);
    book.is_myself("seed.internal:5000", now);
    assert_eq!(book.next_due(now, everyone), None);
    assert!(book.next_due(now + OTHER_BACKOFF, everyone).is_some());
}

#[test]
fn the_book_does_not_grow_without_limit() {
    let mut book = AddressBook::default();
    let now = Instant::now();
    for port in 1..3000 {
        let address = format!("10.0.0.1:{port}");
        learn(&mut book, &address, &format!("n{port}"), 1, now);
    }
    assert_eq!(book.len(), MAX_TARGETS);
}

#[test]
fn wildcards_and_nonsense_are_not_dialled() {
    for good in [
        "10.0.0.1:5000",
        "[::1]:5000",
        "seed.internal:5000",
        "n_1-a:1",
    ] {
        assert!(is_dialable(good), "{good}");
    }
    for bad in [
        "",
        "0.0.0.0:5000",
        "[::]:5000",
        "10.0.0.1:0",
        "seed",
        ":5000",
        "a b:1",
        "a:99999",
    ] {
        assert!(!is_dialable(bad), "{bad}");
    }
    assert!(!is_dialable(&format!("{}:1", "a".repeat(300))));
}

#[test]
fn where_a_later_life_is_said_to_be_outlives_a_meeting_with_an_earlier_one() {
    let mut book = AddressBook::default();
    let now = Instant::now();
    learn(&mut book, "10.0.0.9:5000", "a", 3, now);
    book.met((&name("a"), Incarnation(2)), "10.0.0.1:5000", None, now);
    assert!(book.get("10.0.0.9:5000").is_some());
    book.met((&name("a"), Incarnation(3)), "10.0.0.1:5000", None, now);
    assert!(book.get("10.0.0.9:5000").is_none());
}

#[test]
fn of_several_addresses_of_one_node_each_has_its_turn() {
    let mut book = AddressBook::default();
    let mut rng = StdRng::seed_from_u64(3);
    let mut now = Instant::now();
    for at in ["10.0.0.1:5000", "10.0.0.2:5000", "10.0.0.3:5000"] {
        learn(&mut book, at, "a", 1, now);
    }
    let mut dialled = std::collections::BTreeMap::<String, u32>::new();
    for number in 0..300 {
        now += Duration::from_millis(900);
        let Some(address) = book.next_due(now, everyone) else {
            continue;
        };
        book.dial(&address, ConnectionId(number));
        book.dial_ended(&address, ConnectionId(number), now, &mut rng);
        *dialled.entry(address).or_default() += 1;
    }
    assert_eq!(dialled.len(), 3, "{dialled:?}");
    assert!(dialled.values().all(|times| *times > 30), "{dialled:?}");
}

#[test]
fn an_address_goes_over_to_who_is_said_to_be_there_unless_the_other_is_linked_there() {
    let mut book = AddressBook::default();
    let now = Instant::now();
    learn(&mut book, "10.0.0.1:5000", "a", 1, now);
    let (b, life) = (name("b"), Incarnation(1));
    let linked = |node: &NodeName| *node == "a";
    book.learn("10.0.0.1:5000", (&b, life), now, Duration::ZERO, linked);
    assert_eq!(book.get("10.0.0.1:5000").unwrap().name, Some(name("a")));
    book.learn("10.0.0.1:5000", (&b, life), now, Duration::ZERO, nobody);
    assert_eq!(book.get("10.0.0.1:5000").unwrap().name, Some(b));
}

#[test]
fn a_late_end_of_an_earlier_attempt_leaves_the_present_one_alone() {
    let mut book = AddressBook::default();
    let mut rng = StdRng::seed_from_u64(3);
    let now = Instant::now();
    book.add_seed("10.0.0.1:5000", now);
    book.dial("10.0.0.1:5000", ConnectionId(1));
    book.dial("10.0.0.1:5000", ConnectionId(2));
    book.dial_ended("10.0.0.1:5000", ConnectionId(1), now, &mut rng);
    assert_eq!(book.next_due(now + RECENT, everyone), None);
    book.dial_ended("10.0.0.1:5000", ConnectionId(2), now, &mut rng);
    assert!(book.next_due(now + RECENT, everyone).is_some());
}

fn met(book: &mut AddressBook, node: &str, at: &str, dialled: Option<&str>, now: Instant) {
    book.met((&name(node), Incarnation(1)), at, dialled, now);
}

/// A book with two seeds, at each of which "a" was met and is linked.
fn linked_with_a(now: Instant) -> AddressBook {
    let mut book = AddressBook::default();
    for (number, seed) in ["10.0.0.1:5000", "seeds.internal:5000"].iter().enumerate() {
        book.add_seed(seed, now);
        book.dial(seed, ConnectionId(number as u64));
        met(&mut book, "a", "10.0.0.1:5000", Some(seed), now);
    }
    book
}

/// The attempts at addresses that are due while "a" is linked, each of which finds `guest` there.
fn attempts(book: &mut AddressBook, from: Instant, time: Duration, guest: &str) -> Vec<Duration> {
    let mut rng = StdRng::seed_from_u64(7);
    let (step, mut tried) = (Duration::from_millis(100), Vec::new());
    for tick in 0..time.as_millis() / step.as_millis() {
        let now = from + step * tick as u32;
        if let Some(address) = book.next_due(now, |node, _| *node != name("a")) {
            assert_eq!(address, "seeds.internal:5000");
            tried.push(now - from);
            book.dial(&address, ConnectionId(9));
            book.led_to(&address, &name(guest), Incarnation(1));
            book.dial_ended(&address, ConnectionId(9), now, &mut rng);
        }
    }
    tried
}

#[test]
fn a_host_name_is_looked_up_again_calmly_while_who_was_met_there_is_linked() {
    let now = Instant::now();
    let mut book = linked_with_a(now);
    let tried = attempts(&mut book, now, 20 * LOOK_AGAIN, "a");
    assert_eq!(tried[0], LOOK_AGAIN);
    for pair in tried.windows(2) {
        let delay = pair[1] - pair[0];
        assert!(delay >= LOOK_AGAIN * 3 / 4, "{delay:?}");
        assert!(delay <= LOOK_AGAIN * 5 / 4 + Duration::from_millis(100));
    }
    assert!((15..=25).contains(&tried.len()), "{tried:?}");
}

#[test]
fn of_two_links_by_one_name_each_ends_for_itself() {
    const SEED: &str = "seeds.internal:5000";
    let now = Instant::now();
    let mut rng = StdRng::seed_from_u64(7);
    let (a, b) = (name("a"), name("b"));
    let mut book = linked_with_a(now);
    let none_is_due = |book: &AddressBook, now| book.next_due(now, |_, _| false).is_none();
    book.dial(SEED, ConnectionId(9));
    assert!(none_is_due(&book, now + 2 * LOOK_AGAIN), "one look at once");
    met(&mut book, "b", "10.0.0.2:5000", Some(SEED), now);
    assert!(none_is_due(&book, now + LOOK_AGAIN / 2));
    assert!(!none_is_due(&book, now + LOOK_AGAIN));
    // The first link ends, then the second.
    book.dial_ended(SEED, ConnectionId(1), now, &mut rng);
    book.lost(&a, now, &mut rng);
    assert!(none_is_due(&book, now + LOOK_AGAIN / 2));
    assert_eq!(book.get(SEED).unwrap().dialling, Some(ConnectionId(9)));
    book.dial_ended(SEED, ConnectionId(9), now, &mut rng);
    book.lost(&b, now, &mut rng);
    let is_b = |node: &NodeName, _| *node == b;
    let soon = book.next_due(now + RECENT_BACKOFF, is_b).unwrap();
    book.dial(&soon, ConnectionId(10));
    let then = book.next_due(now + RECENT_BACKOFF, is_b).unwrap();
    assert_eq!([soon, then], ["10.0.0.2:5000", SEED]);
}

#[test]
fn who_is_alone_looks_up_every_host_name_soon_and_often() {
    let now = Instant::now();
    let mut book = AddressBook::default();
    let mut rng = StdRng::seed_from_u64(7);
    book.add_seed("seeds.internal:5000", now);
    book.dial("seeds.internal:5000", ConnectionId(1));
    met(
        &mut book,
        "a",
        "10.0.0.1:5000",
        Some("seeds.internal:5000"),
        now,
    );
    // Another node was met elsewhere, and then found there: it is the only one that is linked now.
    met(&mut book, "b", "10.0.0.2:5000", None, now);
    book.dial_ended("seeds.internal:5000", ConnectionId(1), now, &mut rng);
    book.lost(&name("a"), now, &mut rng);
    book.forget(&name("a"));
    let later = now + RECENT_BACKOFF;
    book.dial("seeds.internal:5000", ConnectionId(2));
    let b = name("b");
    book.led_to("seeds.internal:5000", &b, Incarnation(1));
    book.dial_ended("seeds.internal:5000", ConnectionId(2), later, &mut rng);
    assert_eq!(
        book.next_due(later + RECENT_BACKOFF, |node, _| *node != b),
        None
    );
    book.lost(&b, later, &mut rng);
    book.forget(&b);
    let delays = delays(&mut book, later, Duration::from_secs(20));
    assert!(delays[0] <= RECENT_BACKOFF, "{delays:?}");
    assert!(delays.len() > 15, "{delays:?}");
}

#[test]
fn a_seed_at_which_a_linked_node_is_found_is_not_dialled_again_at_once() {
    let now = Instant::now();
    let mut book = AddressBook::default();
    let mut rng = StdRng::seed_from_u64(7);
    book.add_seed("10.0.0.1:5000", now);
    book.dial("10.0.0.1:5000", ConnectionId(1));
    book.led_to("10.0.0.1:5000", &name("a"), Incarnation(1));
    book.dial_ended("10.0.0.1:5000", ConnectionId(1), now, &mut rng);
    assert_eq!(
        book.next_due(now + RECENT, |node, _| *node != name("a")),
        None
    );
    assert!(book.next_due(now + RECENT, everyone).is_some());
}
