//! The switch, datagram by datagram.

use std::time::Duration;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn node(number: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5000 + number))
}

/// A switch with this many nodes, each at its place.
fn switch(seed: u64, size: u16) -> (Switch, Vec<Place>) {
    let mut switch = Switch::new(seed);
    let places: Vec<Place> = (0..size).map(|_| switch.add()).collect();
    for (place, number) in places.iter().zip(0..) {
        switch.settle(*place, node(number)).unwrap();
    }
    (switch, places)
}

#[test]
fn a_datagram_goes_on_from_the_speakers_place_to_the_one_spoken_to() {
    let (mut switch, places) = switch(1, 3);
    let onward = switch.receive(Instant::now(), places[2], node(0), b"hello");
    let expected = Onward {
        through: places[0],
        to: node(2),
    };
    assert_eq!(onward, Some(expected));
    assert_eq!(switch.line(places[0], places[2]).tally().forwarded, 1);
    assert_eq!(switch.total().received, 1);
}

#[test]
fn strangers_are_counted_and_not_let_in() {
    let (mut switch, places) = switch(1, 2);
    let nobody_yet = switch.add();
    let now = Instant::now();
    assert_eq!(switch.receive(now, places[0], node(7), b"?"), None);
    assert_eq!(switch.receive(now, nobody_yet, node(0), b"?"), None);
    assert_eq!(switch.strangers(), 2);
}

#[test]
fn the_one_expected_is_known_by_its_first_word() {
    let (mut switch, places) = switch(1, 2);
    let newcomer = switch.add();
    switch.expect(newcomer);
    let now = Instant::now();
    let onward = switch.receive(now, places[0], node(9), b"hello");
    assert_eq!(onward.map(|onward| onward.through), Some(newcomer));
    assert_eq!(switch.receive(now, places[0], node(8), b"me too?"), None);
    assert_eq!(switch.settle(newcomer, node(9)), Ok(()));
    let mistaken = Mistaken {
        taken: node(9),
        real: node(8),
    };
    assert_eq!(switch.settle(newcomer, node(8)), Err(mistaken));
}

#[test]
fn what_is_delayed_leaves_at_its_time_and_in_order() {
    let (mut switch, places) = switch(1, 2);
    let start = Instant::now();
    switch.line(places[0], places[1]).set(Faults {
        delay: 20 * MS,
        ..Faults::NONE
    });
    for n in 0..3_u8 {
        let came = start + MS * u32::from(n);
        assert_eq!(switch.receive(came, places[1], node(0), &[n]), None);
    }
    assert_eq!(switch.next_at(), Some(start + 20 * MS));
    assert_eq!(switch.poll_departure(start + 19 * MS), None);
    let mut left = Vec::new();
    while let Some(departure) = switch.poll_departure(start + 21 * MS) {
        assert_eq!(departure.onward.to, node(1));
        left.extend(departure.datagram);
    }
    assert_eq!(left, [0, 1]);
    assert_eq!(switch.next_at(), Some(start + 22 * MS));
}

#[test]
fn what_is_due_is_not_overtaken_by_what_comes_now() {
    let (mut switch, places) = switch(1, 2);
    let start = Instant::now();
    let late = Faults {
        delay: MS,
        ..Faults::NONE
    };
    switch.line(places[0], places[1]).set(late);
    assert_eq!(switch.receive(start, places[1], node(0), b"first"), None);
    switch.set_everywhere(Faults::NONE);
    let then = start + MS;
    assert_eq!(switch.receive(then, places[1], node(0), b"second"), None);
    assert_eq!(switch.poll_departure(then).unwrap().datagram, b"first");
    assert_eq!(switch.poll_departure(then).unwrap().datagram, b"second");
    assert_eq!(switch.total().reordered, 0);
}

#[test]
fn a_cut_concerns_one_direction() {
    let (mut switch, places) = switch(1, 2);
    let now = Instant::now();
    switch.line(places[0], places[1]).set(Faults::CUT);
    assert_eq!(switch.receive(now, places[1], node(0), b"?"), None);
    assert!(switch.receive(now, places[0], node(1), b"!").is_some());
}

#[test]
fn later_places_get_what_is_wrong_everywhere() {
    let (mut switch, places) = switch(1, 1);
    switch.set_everywhere(Faults::CUT);
    let later = switch.add();
    switch.settle(later, node(1)).unwrap();
    assert_eq!(
        switch.receive(Instant::now(), places[0], node(1), b"?"),
        None
    );
    assert_eq!(switch.line(later, places[0]).tally().cut, 1);
}

/// What leaves, in order, when stormy lines carry datagrams whose bytes are their numbers.
fn story(seed: u64, others_speak: bool) -> Vec<(Instant, Vec<u8>)> {
    let (mut switch, places) = switch(seed, 3);
    switch.set_everywhere(Faults {
        lost: 0.1,
        doubled: 0.1,
        delay: 10 * MS,
        jitter: 5 * MS,
        ..Faults::NONE
    });
    let start = story_start();
    let mut left = Vec::new();
    for step in 0..200_u8 {
        let now = start + MS * u32::from(step);
        assert_eq!(switch.receive(now, places[1], node(0), &[step]), None);
        if others_speak {
            switch.receive(now, places[1], node(2), b"noise");
        }
        while let Some(departure) = switch.poll_departure(now) {
            if departure.onward.through == places[0] {
                left.push((now, departure.datagram));
            }
        }
    }
    left
}

/// One start for all stories, so that they can be compared.
fn story_start() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now)
}

#[test]
fn a_seed_repeats_its_story_whatever_happens_on_other_lines() {
    assert_eq!(story(5, false), story(5, true));
    assert_ne!(story(5, false), story(6, false));
}
