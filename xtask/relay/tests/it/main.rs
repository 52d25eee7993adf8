//! The relay between real sockets on loopback.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use matryoshka_relay::{Faults, MAX_PLACES, Place, Relay};

/// How long a datagram may take where it must come. Only ever used up by a failure.
const COMES_WITHIN: Duration = Duration::from_secs(10);

/// Two ends that know each other only by their places.
struct Pair {
    relay: Relay,
    places: [Place; 2],
    ends: [UdpSocket; 2],
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut relay = Relay::start(seed).unwrap();
        let places = [relay.add().unwrap(), relay.add().unwrap()];
        let ends = [end(), end()];
        for (place, end) in places.iter().zip(&ends) {
            relay.settle(*place, end.local_addr().unwrap()).unwrap();
        }
        Pair {
            relay,
            places,
            ends,
        }
    }

    fn address(&self, of: usize) -> SocketAddr {
        self.relay.address(self.places[of]).unwrap()
    }

    fn say(&self, from: usize, word: u32) {
        let to = self.address(1 - from);
        self.ends[from].send_to(&word.to_be_bytes(), to).unwrap();
    }

    /// The next word that this end hears, which must come from the other's place.
    fn hear(&self, at: usize) -> u32 {
        let mut word = [0; 4];
        let (length, source) = self.ends[at].recv_from(&mut word).unwrap();
        assert_eq!((length, source), (4, self.address(1 - at)));
        u32::from_be_bytes(word)
    }
}

fn end() -> UdpSocket {
    let end = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    end.set_read_timeout(Some(COMES_WITHIN)).unwrap();
    end
}

#[test]
fn both_ways_as_if_they_had_met_at_their_places() {
    let pair = Pair::new(1);
    for word in 0..50 {
        pair.say(0, word);
        assert_eq!(pair.hear(1), word);
        pair.say(1, word);
        assert_eq!(pair.hear(0), word);
    }
    assert_eq!(pair.relay.total().forwarded, 100);
    assert_eq!(pair.relay.strangers(), 0);
}

#[test]
fn what_is_late_comes_not_before_its_time() {
    const DELAY: Duration = Duration::from_millis(50);
    let pair = Pair::new(1);
    pair.relay.set_everywhere(Faults {
        delay: DELAY,
        ..Faults::NONE
    });
    let began = Instant::now();
    (0..20).for_each(|word| pair.say(0, word));
    let heard: Vec<u32> = (0..20).map(|_| pair.hear(1)).collect();
    assert!(began.elapsed() >= DELAY);
    assert_eq!(heard, (0..20).collect::<Vec<_>>());
}

#[test]
fn exactly_the_next_datagram_is_dropped() {
    let pair = Pair::new(1);
    pair.relay.drop_next(pair.places[0], pair.places[1], 1, 0);
    (0..3).for_each(|word| pair.say(0, word));
    assert_eq!([pair.hear(1), pair.hear(1)], [1, 2]);
    let tally = pair.relay.tally(pair.places[0], pair.places[1]);
    assert_eq!((tally.dropped, tally.forwarded), (1, 2));
}

#[test]
fn a_cut_is_one_way_and_ends() {
    let pair = Pair::new(1);
    let [here, there] = pair.places;
    pair.relay.set(here, there, Faults::CUT);
    pair.say(0, 1);
    pair.say(1, 2);
    assert_eq!(pair.hear(0), 2);
    let until = Instant::now() + COMES_WITHIN;
    while pair.relay.tally(here, there).cut == 0 {
        assert!(Instant::now() < until, "the word never came to the relay");
        std::thread::yield_now();
    }
    pair.relay.set_between(&[here], &[there], Faults::NONE);
    pair.say(0, 3);
    assert_eq!(pair.hear(1), 3);
}

#[test]
fn doubled_and_out_of_order_but_every_one() {
    let pair = Pair::new(11);
    pair.relay.set_everywhere(Faults {
        doubled: 0.5,
        jitter: Duration::from_millis(20),
        ..Faults::NONE
    });
    (0..100).for_each(|word| pair.say(0, word));
    let mut heard = BTreeSet::new();
    let mut again = 0;
    let mut backward = 0;
    let mut last = 0;
    while heard.len() < 100 {
        let word = pair.hear(1);
        backward += u32::from(word < last);
        again += u32::from(!heard.insert(word));
        last = word;
    }
    let tally = pair.relay.tally(pair.places[0], pair.places[1]);
    assert!(again > 0 && backward > 0 && tally.reordered > 0 && tally.doubled > 20);
}

#[test]
fn a_relay_ends_at_once_and_leaves_its_ports() {
    let pair = Pair::new(1);
    pair.relay.set_everywhere(Faults {
        delay: Duration::from_secs(3600),
        ..Faults::NONE
    });
    pair.say(0, 1);
    let address = pair.address(0);
    let began = Instant::now();
    drop(pair);
    assert!(began.elapsed() < COMES_WITHIN);
    UdpSocket::bind(address).expect("the port is free again");
}

#[test]
fn places_are_bounded() {
    let mut relay = Relay::start(1).unwrap();
    for _ in 0..MAX_PLACES {
        relay.add().unwrap();
    }
    assert!(relay.add().is_err());
}
