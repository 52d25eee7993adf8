//! When which address is dialled.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

fn name(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn everyone(_: &NodeName) -> bool {
    true
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
            book.dial_ended(&address, now, &mut rng);
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
    assert!(book.learn("10.0.0.1:5000", &name("a"), now, Duration::ZERO));
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
    book.learn("10.0.0.1:5000", &name("a"), now, Duration::ZERO);
    book.add_seed("seed.internal:5000", now);
    book.met(&name("a"), "10.0.0.2:5000", Some("seed.internal:5000"), now);
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
        book.learn(&address, &name(&format!("n{port}")), now, Duration::ZERO);
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
