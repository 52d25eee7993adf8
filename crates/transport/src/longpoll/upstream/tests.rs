//! Posts in and messages out, step by step and in random order.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{frame::Frame, longpoll::body::Layout};

fn part(text: impl Into<String>) -> Part {
    Part::Frame(Frame::text(text.into()))
}

/// Puts a whole post, which `waiting` waits for.
fn put<T>(upstream: &mut Upstream<T>, body: &str, waiting: T) -> Result<PostId, NotTaken> {
    upstream.enter()?;
    if let Err(not_taken) = upstream.grow(body.len()) {
        upstream.leave(0);
        return Err(not_taken);
    }
    let messages = Layout::Lines.messages(Bytes::copy_from_slice(body.as_bytes()));
    upstream
        .put(messages, body.len(), waiting, Instant::now())
        .map_err(|_| NotTaken::Gone)
}

#[test]
fn a_post_is_taken_when_the_session_asks_for_what_comes_after_it() {
    let mut upstream = Upstream::new(100);
    put(&mut upstream, "[1]\n[2]", 'a').expect("room");
    put(&mut upstream, "[3]", 'b').expect("room");
    for wanted in [
        Step::Part(part("[1]")),
        Step::Part(part("[2]")),
        Step::Done('a', Posted::Taken),
        Step::Part(part("[3]")),
        Step::Done('b', Posted::Taken),
        Step::Nothing,
    ] {
        assert_eq!(upstream.step(), wanted);
    }
}

#[test]
fn a_post_without_messages_is_taken_in_its_turn_and_a_bad_line_is_the_last() {
    let mut upstream = Upstream::new(100);
    put(&mut upstream, "", 'a').expect("room");
    put(&mut upstream, "[1]\n{}\n[2]", 'b').expect("room");
    assert_eq!(upstream.step(), Step::Done('a', Posted::Taken));
    assert_eq!(upstream.step(), Step::Part(part("[1]")));
    let bad = Posted::BadLine(BadLine { number: 2 });
    assert_eq!(upstream.step(), Step::Done('b', bad));
    assert_eq!(upstream.step(), Step::Nothing);
}

#[test]
fn an_end_loses_what_was_not_done_and_takes_nothing_more() {
    let mut upstream = Upstream::new(100);
    put(&mut upstream, "[\"kills it\"]", 'a').expect("room");
    put(&mut upstream, "[1]", 'b').expect("room");
    upstream.enter().expect("room");
    upstream.step();
    assert_eq!(upstream.end(), ['a', 'b']);
    assert_eq!(upstream.step(), Step::Nothing);
    assert_eq!(upstream.grow(1), Err(NotTaken::Gone));
    let messages = Layout::Lines.messages(Bytes::new());
    assert_eq!(upstream.put(messages, 0, 'c', Instant::now()), Err('c'));
    assert_eq!(put(&mut upstream, "", 'd'), Err(NotTaken::Gone));
    assert_eq!((upstream.coming, upstream.bytes), (0, 0));
}

#[test]
fn what_is_given_up_is_not_handed_on() {
    let mut upstream = Upstream::new(100);
    let late = put(&mut upstream, "[1]\n[2]", 'a').expect("room");
    put(&mut upstream, "[3]", 'b').expect("room");
    assert_eq!(upstream.step(), Step::Part(part("[1]")));
    assert_eq!(upstream.give_up(late), Some('a'));
    assert_eq!(upstream.give_up(late), None);
    assert_eq!(upstream.step(), Step::Part(part("[3]")));
}

#[test]
fn posts_are_bounded_in_bytes_and_number_while_they_are_read_and_while_they_wait() {
    let mut upstream = Upstream::new(10);
    put(&mut upstream, &format!("[{}]", "x".repeat(50)), ()).expect("alone it fits");
    assert_eq!(put(&mut upstream, "[1]", ()), Err(NotTaken::Full));
    while upstream.step() != Step::Nothing {}
    for _ in 0..2 {
        upstream.enter().expect("room");
    }
    upstream.grow(6).expect("room");
    assert_eq!(upstream.grow(5), Err(NotTaken::Full));
    assert_eq!(put(&mut upstream, "[123]", ()), Err(NotTaken::Full));
    upstream.leave(6);
    upstream.leave(0);
    for n in 0..MAX_WAITING_POSTS {
        match n % 2 {
            0 => upstream.enter().expect("room"),
            _ => assert!(put(&mut upstream, "", ()).is_ok()),
        }
    }
    assert_eq!(upstream.enter(), Err(NotTaken::Full));
}

#[test]
fn a_post_knows_how_long_its_client_is_slowed_from_when_it_came() {
    let (mut upstream, now) = (Upstream::new(100), Instant::now());
    let after = |seconds| now + Duration::from_secs(seconds);
    let post = |upstream: &mut Upstream<()>, now| {
        upstream.enter().expect("room");
        let messages = Layout::Lines.messages(Bytes::from_static(b"[1]"));
        upstream.put(messages, 0, (), now).expect("room")
    };
    let early = post(&mut upstream, now);
    upstream.slow_until(after(4), now);
    let late = post(&mut upstream, after(1));
    upstream.slow_until(after(6), after(3));
    upstream.slow_until(after(5), after(3));
    let slowed = |upstream: &Upstream<()>, id| upstream.slowed(id).map(|slowed| slowed.as_secs());
    assert_eq!(slowed(&upstream, early), Some(6));
    assert_eq!(slowed(&upstream, late), Some(5));
    upstream.slow_until(after(12), after(10));
    assert_eq!(slowed(&upstream, late), Some(7));
    upstream.give_up(late);
    assert_eq!(slowed(&upstream, late), None);
}

#[derive(Clone, Debug)]
enum Move {
    Post(u8),
    Next,
    GiveUp(u8),
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        (0u8..4).prop_map(Move::Post),
        Just(Move::Next),
        any::<u8>().prop_map(Move::GiveUp),
    ]
}

/// The numbers of the messages in a post.
type Numbers = std::ops::Range<u32>;

/// Takes messages up to the next that is one; whatever is done on the way was taken whole.
fn next(upstream: &mut Upstream<Numbers>, taken: &mut Vec<u32>) -> bool {
    loop {
        match upstream.step() {
            Step::Part(Part::Frame(Frame::Text(text))) => {
                let number = text.trim_matches(['[', ']']).parse();
                taken.push(number.expect("a number"));
                return true;
            }
            Step::Part(other) => panic!("{other:?}"),
            Step::Done(numbers, posted) => {
                assert_eq!(posted, Posted::Taken);
                assert!(numbers.into_iter().all(|number| taken.contains(&number)));
            }
            Step::Nothing => return false,
        }
    }
}

proptest! {
    /// In order, never twice, and lost only with a post that was given up.
    #[test]
    fn messages_are_taken_once_and_in_order(moves in prop::collection::vec(moves(), 0..80)) {
        let mut upstream = Upstream::new(usize::MAX);
        let (mut sent, mut taken, mut given_up) = (0u32, Vec::new(), Vec::new());
        let mut posts = Vec::new();
        for move_ in moves {
            match move_ {
                Move::Post(messages) => {
                    let numbers = sent..sent + u32::from(messages);
                    sent = numbers.end;
                    let lines: String = numbers.clone().map(|n| format!("[{n}]\n")).collect();
                    posts.push(put(&mut upstream, &lines, numbers).expect("room"));
                }
                Move::Next => {
                    next(&mut upstream, &mut taken);
                }
                Move::GiveUp(index) if !posts.is_empty() => {
                    let id = posts[usize::from(index) % posts.len()];
                    let numbers = upstream.give_up(id).unwrap_or(0..0);
                    given_up.extend(numbers.filter(|n| !taken.contains(n)));
                }
                Move::GiveUp(_) => {}
            }
        }
        while next(&mut upstream, &mut taken) {}
        let wanted: Vec<u32> = (0..sent).filter(|n| !given_up.contains(n)).collect();
        prop_assert_eq!(taken, wanted);
        prop_assert_eq!((upstream.bytes, upstream.coming), (0, 0));
    }
}
