//! What fits, what gives way, and in which order the rest comes out.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::{
    super::{close::CloseCode, stats::Gauge},
    held::STEP_BYTES,
    run::RUN_FRAMES,
};
use super::*;

type Frames = Queue<()>;

fn bound(bytes: u32, large: u32, items: u32) -> Bound {
    Bound {
        items,
        largest: u32::MAX,
        load: Load { bytes, large },
    }
}

fn push(queue: &mut Frames, text: &str, when_slow: WhenSlow, bound: &Bound) -> Placed {
    let item = Item::Frame(Frame::text(text.to_owned()));
    queue.push(item, text.len(), when_slow, bound).0
}

fn push_bytes(queue: &mut Frames, bytes: usize, bound: &Bound) -> Placed {
    push(queue, &"x".repeat(bytes), WhenSlow::Close, bound)
}

fn rest(queue: &mut Frames) -> Vec<String> {
    std::iter::from_fn(|| queue.next())
        .map(|item| match item {
            Item::Frame(frame) => frame.as_text().expect("text").to_owned(),
            Item::Mail(()) => "mail".to_owned(),
            Item::Close(close) => close.to_string(),
        })
        .collect()
}

#[test]
fn the_bound_counts_what_waits_behind_the_first() {
    let bound = bound(1_000, 1_000, 100);
    let mut queue = Frames::default();
    assert_eq!(push_bytes(&mut queue, 50_000, &bound), Placed::Last);
    assert_eq!(push_bytes(&mut queue, 999, &bound), Placed::Last);
    assert_eq!(
        push_bytes(&mut queue, 10, &bound),
        Placed::Last,
        "this one crosses it"
    );
    assert_eq!(push_bytes(&mut queue, 1, &bound), Placed::TooMuch);
}

#[test]
fn items_are_bounded_too() {
    let bound = bound(1_000, 1_000, 3);
    let mut queue = Frames::default();
    for _ in 0..3 {
        assert_eq!(push_bytes(&mut queue, 0, &bound), Placed::Last);
    }
    assert_eq!(push_bytes(&mut queue, 0, &bound), Placed::TooMuch);
    queue.append(Item::Close(Close::new(CloseCode::RESTART)));
    assert_eq!(rest(&mut queue), ["", "", "", "1012"]);
}

#[test]
fn large_frames_have_a_bound_of_their_own() {
    let bound = bound(1024 * 1024, 8_000_000, 100);
    let mut queue = Frames::default();
    let four_megabytes = 4_000_000;
    for _ in 0..3 {
        assert_eq!(push_bytes(&mut queue, 10, &bound), Placed::Last);
        assert_eq!(push_bytes(&mut queue, four_megabytes, &bound), Placed::Last);
    }
    assert_eq!(push_bytes(&mut queue, 10, &bound), Placed::TooMuch);
    assert_eq!(rest(&mut queue).len(), 6);
    assert_eq!((queue.load, queue.slots.capacity()), (Load::default(), 0));
}

#[test]
fn what_may_be_dropped_leaves_half_of_the_room_to_what_may_not() {
    let bound = bound(10, 10, 100);
    let mut queue = Frames::default();
    for text in ["first", "abcde"] {
        assert_eq!(push(&mut queue, text, WhenSlow::Drop, &bound), Placed::Last);
    }
    assert_eq!(
        push(&mut queue, "x", WhenSlow::Drop, &bound),
        Placed::Nowhere
    );
    assert_eq!(
        push(&mut queue, "x", WhenSlow::Latest(1), &bound),
        Placed::Nowhere
    );
    assert_eq!(
        push(&mut queue, "must", WhenSlow::Close, &bound),
        Placed::Last
    );
    assert_eq!(rest(&mut queue), ["first", "abcde", "must"]);
}

#[test]
fn the_latest_of_a_key_stands_where_the_older_one_stood() {
    let bound = bound(1_000, 1_000, 100);
    let mut queue = Frames::default();
    let latest = |queue: &mut Frames, key, text| push(queue, text, WhenSlow::Latest(key), &bound);
    assert_eq!(latest(&mut queue, 1, "a1"), Placed::Last);
    assert_eq!(latest(&mut queue, 2, "b1"), Placed::Last);
    push(&mut queue, "between", WhenSlow::Close, &bound);
    assert_eq!(
        latest(&mut queue, 1, "a2 is longer"),
        Placed::InPlaceOfOlder
    );
    assert!(
        matches!(queue.next(), Some(Item::Frame(frame)) if frame == Frame::text("a2 is longer"))
    );
    assert_eq!(
        latest(&mut queue, 1, "a3"),
        Placed::Last,
        "the one before is on its way"
    );
    assert_eq!(latest(&mut queue, 2, "b2"), Placed::InPlaceOfOlder);
    assert_eq!(rest(&mut queue), ["b2", "between", "a3"]);
    assert!(queue.keys.is_none() && queue.load == Load::default());
}

#[test]
fn what_replaces_a_lighter_one_has_to_fit_as_a_new_one_would() {
    let bound = bound(100, 100, 1_000);
    let mut queue = Frames::default();
    push(&mut queue, "first", WhenSlow::Close, &bound);
    for key in 0..40 {
        assert_eq!(
            push(&mut queue, "k", WhenSlow::Latest(key), &bound),
            Placed::Last
        );
    }
    let heavy = "x".repeat(LARGE_FRAME_BYTES + 200);
    let mut placed = Vec::new();
    for key in 0..40 {
        placed.push(push(&mut queue, &heavy, WhenSlow::Latest(key), &bound));
    }
    assert_eq!(placed[0], Placed::InPlaceOfOlder);
    assert!(placed[1..].iter().all(|placed| *placed == Placed::Nowhere));
    assert_eq!(rest(&mut queue), ["first", &heavy], "no older one stays");
    assert!(queue.keys.is_none() && queue.load == Load::default());
}

#[test]
fn a_later_one_with_room_takes_the_place_that_one_without_has_left() {
    let bound = bound(20, 20, 100);
    let mut queue = Frames::default();
    let latest = |queue: &mut Frames, text| push(queue, text, WhenSlow::Latest(1), &bound);
    for text in ["first", "must have"] {
        push(&mut queue, text, WhenSlow::Close, &bound);
    }
    assert_eq!(latest(&mut queue, "a1"), Placed::Last);
    push(&mut queue, "more", WhenSlow::Close, &bound);
    assert_eq!(latest(&mut queue, "a2 is longer"), Placed::Nowhere);
    assert_eq!(
        latest(&mut queue, "a3"),
        Placed::Nowhere,
        "nothing waits that is as heavy"
    );
    assert!(queue.next().is_some());
    assert_eq!(latest(&mut queue, "a4"), Placed::InPlaceOfOlder);
    assert_eq!(latest(&mut queue, "a5 is longer"), Placed::InPlaceOfOlder);
    assert_eq!(rest(&mut queue), ["must have", "a5 is longer", "more"]);
}

#[derive(Clone, Debug)]
enum Step {
    Push(WhenSlow, usize),
    Next,
}

/// What weighs next to nothing, what a few of fill the smaller bound, what is large, and what is beyond each bound.
fn weight() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0usize..40,
        2 => 40usize..200,
        2 => LARGE_FRAME_BYTES - 2..LARGE_FRAME_BYTES + 40_000,
        1 => 0usize..500_000,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let when_slow = prop_oneof![
        1 => Just(WhenSlow::Close),
        1 => Just(WhenSlow::Drop),
        2 => (0u64..5).prop_map(WhenSlow::Latest),
    ];
    prop_oneof![
        3 => (when_slow, weight()).prop_map(|(when_slow, bytes)| Step::Push(when_slow, bytes)),
        2 => Just(Step::Next),
    ]
}

/// One place of the plain list: what waits there, if it had room.
#[derive(Clone, Debug)]
struct Place {
    key: Option<u64>,
    item: Option<u32>,
    bytes: usize,
}

/// What waits behind the first.
fn behind(list: &VecDeque<Place>) -> Load {
    let mut load = Load::default();
    list.iter().skip(1).for_each(|place| load.add(place.bytes));
    load
}

fn is_full(list: &VecDeque<Place>, bound: &Bound) -> bool {
    let has_many = !list.is_empty() && list.len() >= bound.items as usize;
    has_many || behind(list).reaches(&bound.load)
}

fn replaced(list: &mut VecDeque<Place>, index: usize, new: Place, bound: &Bound) -> Placed {
    let is_heavier = list[index].item.is_none() || new.bytes > list[index].bytes;
    (list[index].item, list[index].bytes) = (None, 0);
    if is_heavier && index > 0 && behind(list).reaches(&bound.half().load) {
        return Placed::Nowhere;
    }
    list[index] = new;
    Placed::InPlaceOfOlder
}

fn placed(list: &mut VecDeque<Place>, new: Place, when_slow: WhenSlow, bound: &Bound) -> Placed {
    let place = new
        .key
        .and_then(|_| list.iter().position(|place| place.key == new.key));
    match place {
        Some(index) => return replaced(list, index, new, bound),
        None if when_slow == WhenSlow::Close && is_full(list, bound) => return Placed::TooMuch,
        None if when_slow != WhenSlow::Close && is_full(list, &bound.half()) => {
            return Placed::Nowhere;
        }
        None => list.push_back(new),
    }
    Placed::Last
}

fn next(list: &mut VecDeque<Place>) -> Option<u32> {
    let item = list.pop_front()?.item;
    while list.front().is_some_and(|place| place.item.is_none()) {
        list.pop_front();
    }
    item
}

proptest! {
    /// Against a plain list: the same items in the same order, and never more than the bound and what may cross it, which is one.
    #[test]
    fn it_holds_what_a_plain_list_would(
        steps in prop::collection::vec(step(), 0..200),
        bound in prop_oneof![Just((100, 100)), Just((200_000, 30_000)), Just((200_000, 300_000))],
    ) {
        let bound = self::bound(bound.0, bound.1, 12);
        let mut queue: Queue<u32> = Queue::default();
        let mut list = VecDeque::new();
        for (n, step) in (0u32..).zip(steps) {
            match step {
                Step::Push(when_slow, bytes) => {
                    let key = match when_slow {
                        WhenSlow::Latest(key) => Some(key),
                        _ => None,
                    };
                    let new = Place { key, item: Some(n), bytes };
                    let wanted = placed(&mut list, new, when_slow, &bound);
                    let placed = queue.push(Item::Mail(n), bytes, when_slow, &bound).0;
                    prop_assert_eq!(placed, wanted);
                }
                Step::Next => {
                    let got = queue.next().map(|item| match item {
                        Item::Mail(n) => n,
                        _ => unreachable!("only mails were pushed"),
                    });
                    prop_assert_eq!(got, next(&mut list));
                }
            }
            let mut load = behind(&list);
            let crossing = list.iter().skip(1).map(|place| Load::of(place.bytes));
            let crossing = crossing.fold(Load::default(), |most, one| Load {
                bytes: most.bytes.max(one.bytes),
                large: most.large.max(one.large),
            });
            prop_assert!(load.bytes < bound.load.bytes + crossing.bytes);
            prop_assert!(load.large < bound.load.large + crossing.large);
            prop_assert!(list.len() <= bound.items as usize);
            list.iter().take(1).for_each(|first| load.add(first.bytes));
            prop_assert_eq!(queue.load, load);
        }
    }
}

/// What happens to three queues.
#[derive(Clone, Debug)]
enum Turn {
    /// Two frames go to some of them at once, each of these queues getting them in its own order.
    FanOuts([FanOut; QUEUES], WhenSlow, usize),
    Push(usize, WhenSlow, usize),
    Next(usize),
}

const QUEUES: usize = 3;

/// Which of the two frames go to a queue.
#[derive(Clone, Copy, Debug)]
enum FanOut {
    Neither,
    First,
    FirstThenSecond,
    SecondThenFirst,
}

impl FanOut {
    fn order(self) -> &'static [usize] {
        match self {
            Self::Neither => &[],
            Self::First => &[0],
            Self::FirstThenSecond => &[0, 1],
            Self::SecondThenFirst => &[1, 0],
        }
    }
}

fn turn() -> impl Strategy<Value = Turn> {
    let fan_out = prop_oneof![
        1 => Just(FanOut::Neither),
        8 => Just(FanOut::First),
        2 => Just(FanOut::FirstThenSecond),
        1 => Just(FanOut::SecondThenFirst),
    ];
    let all = prop_oneof![
        2 => Just([FanOut::First; QUEUES]),
        1 => prop::array::uniform3(fan_out),
    ];
    let queue = 0..QUEUES;
    let when_slow = prop_oneof![
        Just(WhenSlow::Close),
        Just(WhenSlow::Drop),
        (0u64..3).prop_map(WhenSlow::Latest),
    ];
    let mostly_close = prop_oneof![
        20 => Just(WhenSlow::Close),
        1 => when_slow.clone(),
    ];
    // One of more bytes waits by itself.
    let bytes = prop_oneof![20 => 10usize..40, 1 => Just(600)];
    prop_oneof![
        24 => (all, mostly_close, bytes)
            .prop_map(|(all, when_slow, bytes)| Turn::FanOuts(all, when_slow, bytes)),
        1 => (queue.clone(), when_slow, 10usize..40)
            .prop_map(|(queue, when_slow, bytes)| Turn::Push(queue, when_slow, bytes)),
        6 => queue.prop_map(Turn::Next),
    ]
}

/// A frame of so many bytes that no other is equal to.
fn numbered(n: usize, bytes: usize) -> Frame {
    Frame::text(format!("{n:bytes$}"))
}

/// As a fan-out puts it. Where it follows another it tells of a new mark, and only then.
fn push_shared(
    queue: &mut Frames,
    shared: &mut SharedFrame,
    when_slow: WhenSlow,
    bound: &Bound,
) -> Placed {
    let before = queue.mark();
    match queue.follow(shared, when_slow, bound) {
        Some(is_news) => {
            assert_eq!(is_news, queue.mark() != before);
            Placed::Last
        }
        None => {
            assert_eq!(queue.mark(), before);
            queue.push_shared(shared, when_slow, bound).0
        }
    }
}

/// Queues that hold frames together, each beside one that does not and is pushed the same.
struct Pairs {
    bound: Bound,
    queues: [(Frames, Frames); QUEUES],
    /// What those take that are held together.
    counted: Arc<Gauge>,
}

impl Pairs {
    fn fan_out(&mut self, all: [FanOut; QUEUES], when_slow: WhenSlow, n: usize, bytes: usize) {
        let mut shared = [0, 1].map(|second| {
            let mut shared = SharedFrame::new(numbered(2 * n + second, bytes));
            shared.count(&self.counted);
            shared
        });
        for ((together, alone), fan_out) in self.queues.iter_mut().zip(all) {
            for &frame in fan_out.order() {
                let item = Item::Frame(shared[frame].frame().clone());
                let expected = alone.push(item, bytes, when_slow, &self.bound).0;
                let placed = push_shared(together, &mut shared[frame], when_slow, &self.bound);
                assert_eq!(placed, expected);
            }
        }
    }

    fn push(&mut self, queue: usize, when_slow: WhenSlow, frame: &Frame) {
        let (together, alone) = &mut self.queues[queue];
        let placed = [together, alone].map(|queue| {
            let item = Item::Frame(frame.clone());
            queue.push(item, frame.len(), when_slow, &self.bound).0
        });
        assert_eq!(placed[0], placed[1]);
    }

    fn next(&mut self, queue: usize) -> bool {
        let (together, alone) = &mut self.queues[queue];
        let [got, wanted] = [together, alone].map(|queue| match queue.next() {
            Some(Item::Frame(frame)) => Some(frame),
            None => None,
            Some(_) => unreachable!("only frames were pushed"),
        });
        assert_eq!(got, wanted);
        got.is_some()
    }

    fn check(&self) {
        for (together, alone) in &self.queues {
            assert_eq!((together.items, together.load), (alone.items, alone.load));
        }
    }
}

proptest! {
    #[test]
    fn what_is_held_together_is_what_each_would_hold_alone(
        turns in prop::collection::vec(turn(), 0..300),
    ) {
        let queues = std::array::from_fn(|_| Default::default());
        let mut pairs = Pairs { bound: bound(4_000, 4_000, 150), queues, counted: Arc::default() };
        for (n, turn) in turns.into_iter().enumerate() {
            match turn {
                Turn::FanOuts(all, when_slow, bytes) => pairs.fan_out(all, when_slow, n, bytes),
                Turn::Push(queue, when_slow, bytes) => {
                    pairs.push(queue, when_slow, &numbered(2 * n, bytes));
                }
                Turn::Next(queue) => drop(pairs.next(queue)),
            }
            pairs.check();
        }
        for queue in 0..QUEUES {
            while pairs.next(queue) {}
        }
        pairs.check();
        prop_assert!(pairs.queues.iter().all(|(together, _)| together.shared == 0));
        prop_assert_eq!(pairs.counted.get(), 0);
    }
}

#[test]
fn a_run_that_is_not_whole_is_kept_in_memory_only_while_more_may_come() {
    let bound = bound(1_000_000, 1_000_000, 1_000);
    let mut queues: [Frames; 2] = Default::default();
    let all = 2 * usize::from(RUN_FRAMES) + 5;
    let items = |queue: &Frames| queue.waiting().items;
    for n in 0..all {
        let mut shared = SharedFrame::new(numbered(n, 10));
        for queue in &mut queues {
            let placed = push_shared(queue, &mut shared, WhenSlow::Close, &bound);
            assert_eq!(placed, Placed::Last);
        }
    }
    for queue in &mut queues {
        assert_eq!((queue.slots.len(), items(queue)), (2, all));
        push(queue, "alone", WhenSlow::Close, &bound);
        assert_eq!((queue.slots.len(), items(queue)), (2 + 5 + 1, all + 1));
        assert_eq!(rest(queue).len(), all + 1);
    }
}

#[test]
fn what_follows_tells_of_each_step_that_it_reaches() {
    let bound = bound(1_000_000, 1_000_000, 10_000);
    let mut queue = Frames::default();
    let mut told = 0;
    for n in 0..3 * STEP_BYTES / 500 {
        let mut shared = SharedFrame::new(numbered(n, 500));
        let before = queue.mark();
        push_shared(&mut queue, &mut shared, WhenSlow::Close, &bound);
        told += usize::from(queue.mark() != before);
    }
    // The places of whole runs count as well, and are too few for a step of their own.
    assert_eq!(told, 2);
    assert!(queue.mark().is_much());
}
