//! What fits, what gives way, and in which order the rest comes out.

use proptest::prelude::*;

use super::super::super::close::CloseCode;
use super::*;

type Frames = Queue<()>;

fn bound(bytes: usize, large: usize, items: usize) -> Bound {
    Bound {
        items,
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

#[derive(Clone, Debug)]
enum Step {
    Push(WhenSlow, usize),
    Next,
}

fn step() -> impl Strategy<Value = Step> {
    let when_slow = prop_oneof![
        Just(WhenSlow::Close),
        Just(WhenSlow::Drop),
        (0u64..3).prop_map(WhenSlow::Latest),
    ];
    prop_oneof![
        3 => (when_slow, 0usize..40).prop_map(|(when_slow, bytes)| Step::Push(when_slow, bytes)),
        2 => Just(Step::Next),
    ]
}

proptest! {
    /// Against a plain list: the same items in the same order, and never more than the bound and what may cross it.
    #[test]
    fn it_holds_what_a_plain_list_would(steps in prop::collection::vec(step(), 0..200)) {
        let bound = bound(100, 100, 12);
        let mut queue: Queue<u32> = Queue::default();
        let mut list: VecDeque<(Option<u64>, u32, usize)> = VecDeque::new();
        let full = |list: &VecDeque<(Option<u64>, u32, usize)>, part: usize| {
            let behind: usize = list.iter().skip(1).map(|(.., bytes)| bytes).sum();
            list.len() >= 12 / part || behind >= 100 / part
        };
        for (n, step) in (0u32..).zip(steps) {
            match step {
                Step::Push(when_slow, bytes) => {
                    let key = match when_slow {
                        WhenSlow::Latest(key) => Some(key),
                        _ => None,
                    };
                    let (is_full, is_half_full) = (full(&list, 1), full(&list, 2));
                    let waiting = key.and_then(|_| list.iter_mut().find(|(other, ..)| *other == key));
                    let wanted = match waiting {
                        Some(older) => {
                            (older.1, older.2) = (n, bytes);
                            Placed::InPlaceOfOlder
                        }
                        None if when_slow == WhenSlow::Close && is_full => Placed::TooMuch,
                        None if when_slow != WhenSlow::Close && is_half_full => Placed::Nowhere,
                        None => {
                            list.push_back((key, n, bytes));
                            Placed::Last
                        }
                    };
                    let placed = queue.push(Item::Mail(n), bytes, when_slow, &bound).0;
                    prop_assert_eq!(placed, wanted);
                }
                Step::Next => {
                    let next = queue.next().map(|item| match item {
                        Item::Mail(n) => n,
                        _ => unreachable!("only mails were pushed"),
                    });
                    prop_assert_eq!(next, list.pop_front().map(|(_, n, _)| n));
                }
            }
            prop_assert_eq!(queue.load.bytes, list.iter().map(|(.., bytes)| bytes).sum::<usize>());
        }
    }
}
