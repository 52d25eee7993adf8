//! A line, datagram by datagram.

use super::*;

const MS: Duration = Duration::from_millis(1);

/// The fates of `count` datagrams that come one a millisecond, each leaving at its time.
fn fates(line: &mut Line, start: Instant, count: u32) -> Vec<Fate> {
    (0..count)
        .map(|n| {
            let fate = line.arrive(start + MS * n, 100);
            if let Fate::Leaves { number, again, .. } = fate {
                line.leave(number, 100);
                again.map(|_| line.leave(number, 100));
            }
            fate
        })
        .collect()
}

#[test]
fn without_faults_everything_leaves_at_once() {
    let start = Instant::now();
    let mut line = Line::new(1);
    for (n, fate) in fates(&mut line, start, 100).into_iter().enumerate() {
        let expected = Fate::Leaves {
            number: n as u64,
            at: start + MS * n as u32,
            again: None,
        };
        assert_eq!(fate, expected);
    }
    let expected = Tally {
        received: 100,
        forwarded: 100,
        ..Tally::default()
    };
    assert_eq!(line.tally(), expected);
}

#[test]
fn a_seed_repeats_every_fate() {
    let start = Instant::now();
    let stormy = Faults {
        lost: 0.2,
        doubled: 0.2,
        delay: 5 * MS,
        jitter: 10 * MS,
        ..Faults::NONE
    };
    let run = |seed| {
        let mut line = Line::new(seed);
        line.set(stormy);
        (fates(&mut line, start, 500), line.tally())
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3).0, run(4).0);
    let tally = run(3).1;
    assert!((60..140).contains(&tally.lost), "{tally:?}");
    assert!((40..120).contains(&tally.doubled), "{tally:?}");
    assert_eq!(tally.forwarded, 500 - tally.lost + tally.doubled);
    assert_eq!(tally.delayed, 500 - tally.lost);
}

#[test]
fn the_fate_of_a_datagram_does_not_depend_on_what_was_set_for_earlier_ones() {
    let start = Instant::now();
    let lossy = Faults {
        lost: 0.3,
        ..Faults::NONE
    };
    let after = |earlier: Faults| {
        let mut line = Line::new(9);
        line.set(earlier);
        fates(&mut line, start, 50);
        line.set(lossy);
        fates(&mut line, start, 50)
    };
    assert_eq!(after(Faults::NONE), after(Faults::CUT));
}

#[test]
fn exactly_the_ordered_ones_are_dropped() {
    let now = Instant::now();
    let mut line = Line::new(1);
    line.drop_next(2, 50);
    let leaves = |line: &mut Line, bytes| {
        let fate = line.arrive(now, bytes);
        let Fate::Leaves { number, .. } = fate else {
            return false;
        };
        line.leave(number, bytes)
    };
    let passed: Vec<bool> = [10, 60, 49, 50, 50, 60]
        .into_iter()
        .map(|bytes| leaves(&mut line, bytes))
        .collect();
    assert_eq!(passed, [true, false, true, false, true, true]);
    assert_eq!(line.tally().dropped, 2);
}

#[test]
fn a_cut_stops_what_is_under_way_too() {
    let now = Instant::now();
    let mut line = Line::new(1);
    line.set(Faults {
        delay: 100 * MS,
        ..Faults::NONE
    });
    let Fate::Leaves { number, .. } = line.arrive(now, 10) else {
        panic!("nothing is lost yet");
    };
    line.set(Faults::CUT);
    assert_eq!(line.arrive(now, 10), Fate::Lost);
    assert!(!line.leave(number, 10));
    assert_eq!((line.tally().cut, line.tally().forwarded), (2, 0));
}

#[test]
fn what_is_overtaken_counts_as_reordered() {
    let now = Instant::now();
    let mut line = Line::new(1);
    let numbers: Vec<u64> = (0..4)
        .map(|_| match line.arrive(now, 10) {
            Fate::Leaves { number, .. } => number,
            Fate::Lost => panic!("nothing is lost here"),
        })
        .collect();
    for at in [1, 0, 3, 2] {
        line.leave(numbers[at], 10);
    }
    assert_eq!(line.tally().reordered, 2);
}

#[test]
fn what_waits_is_bounded_in_number_and_in_bytes() {
    let now = Instant::now();
    let late = Faults {
        delay: 100 * MS,
        doubled: 1.0,
        ..Faults::NONE
    };
    for bytes in [1, 1400, 60_000] {
        let mut line = Line::new(1);
        line.set(late);
        while line.arrive(now, bytes) != Fate::Lost {}
        assert!(line.waiting <= MAX_WAITING && line.waiting_bytes <= MAX_WAITING_BYTES);
        assert!(line.waiting + 2 > MAX_WAITING.min(MAX_WAITING_BYTES / bytes));
        assert_eq!(line.tally().overflowed, 1);
    }
}

#[test]
#[should_panic(expected = "5 is no share")]
fn a_share_above_one_is_refused() {
    Line::new(1).set(Faults {
        lost: 5.0,
        ..Faults::NONE
    });
}

#[test]
fn a_slow_line_carries_so_many_bytes_a_second_and_loses_what_finds_its_buffer_full() {
    let start = Instant::now();
    let mut line = Line::new(1);
    line.set(Faults {
        bytes_per_second: Some(10_000),
        delay: 5 * MS,
        ..Faults::NONE
    });
    // Ten milliseconds each: the first waits for none, and 21 more find one that is at most 200 ms behind.
    let at_once: Vec<Fate> = (0..30).map(|_| line.arrive(start, 100)).collect();
    for (n, fate) in at_once.iter().enumerate() {
        match fate {
            Fate::Leaves { at, .. } => assert_eq!(*at, start + MS * (10 * (n as u32 + 1) + 5)),
            Fate::Lost => assert!(n > 20, "{n}"),
        }
    }
    assert_eq!(line.tally().overflowed, 9);
    // A second later nothing is before it.
    let later = start + 1_000 * MS;
    match line.arrive(later, 100) {
        Fate::Leaves { at, .. } => assert_eq!(at, later + 15 * MS),
        Fate::Lost => panic!("there is room"),
    }
}
