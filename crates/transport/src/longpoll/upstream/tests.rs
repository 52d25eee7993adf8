//! Posts in and frames out, step by step and in random order.

use proptest::prelude::*;

use super::*;

fn part(text: impl Into<String>) -> Part {
    Part::Frame(Frame::text(text.into()))
}

#[test]
fn a_post_is_taken_when_the_session_asks_for_what_comes_after_it() {
    let mut upstream = Upstream::new(100);
    let first = upstream.begin(vec![part("1"), part("2")]).expect("room");
    let second = upstream.begin(vec![Part::NotUtf8]).expect("room");
    assert_eq!(upstream.next(), Some(part("1")));
    assert_eq!(upstream.next(), Some(part("2")));
    assert_eq!(
        upstream.outcome(first),
        None,
        "the last frame is still being dealt with"
    );
    assert_eq!(upstream.next(), Some(Part::NotUtf8));
    assert_eq!(upstream.outcome(first), Some(Posted::Taken));
    assert_eq!(upstream.outcome(second), None);
    assert_eq!(upstream.next(), None);
    assert_eq!(upstream.outcome(second), Some(Posted::Taken));
}

#[test]
fn a_post_without_messages_is_taken_in_its_turn() {
    let mut upstream = Upstream::new(100);
    let empty = upstream.begin(vec![]).expect("room");
    assert_eq!(upstream.next(), None);
    assert_eq!(upstream.outcome(empty), Some(Posted::Taken));
}

#[test]
fn an_end_loses_what_was_not_done_and_takes_nothing_more() {
    let mut upstream = Upstream::new(100);
    let dying = upstream.begin(vec![part("kills it")]).expect("room");
    let after = upstream.begin(vec![part("x")]).expect("room");
    upstream.next();
    upstream.end();
    assert_eq!(upstream.outcome(dying), Some(Posted::Lost));
    assert_eq!(upstream.outcome(after), Some(Posted::Lost));
    assert_eq!(upstream.next(), None);
    assert_eq!(upstream.begin(vec![]), Err(NotTaken::Gone));
}

#[test]
fn what_is_given_up_is_not_handed_on() {
    let mut upstream = Upstream::new(100);
    let late = upstream.begin(vec![part("1"), part("2")]).expect("room");
    upstream.begin(vec![part("3")]).expect("room");
    assert_eq!(upstream.next(), Some(part("1")));
    upstream.give_up(late);
    upstream.give_up(late);
    assert_eq!(upstream.next(), Some(part("3")));
}

#[test]
fn posts_are_bounded_in_bytes_and_number_and_one_always_fits() {
    let mut upstream = Upstream::new(10);
    upstream
        .begin(vec![part("x".repeat(50))])
        .expect("the first fits");
    assert_eq!(upstream.begin(vec![part("y")]), Err(NotTaken::Full));
    assert!(upstream.next().is_some() && upstream.next().is_none());
    for _ in 0..MAX_WAITING_POSTS {
        upstream.begin(vec![]).expect("room");
    }
    assert_eq!(upstream.begin(vec![]), Err(NotTaken::Full));
}

#[derive(Clone, Debug)]
enum Step {
    Post(u8),
    Next,
    GiveUp(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..4).prop_map(Step::Post),
        Just(Step::Next),
        any::<u8>().prop_map(Step::GiveUp),
    ]
}

proptest! {
    /// In order, never twice, and lost only with a post that was given up.
    #[test]
    fn frames_are_taken_once_and_in_order(steps in prop::collection::vec(step(), 0..80)) {
        let mut upstream = Upstream::new(usize::MAX);
        let (mut sent, mut taken, mut given_up) = (0u32, Vec::new(), Vec::new());
        let mut posts = Vec::new();
        for step in steps {
            match step {
                Step::Post(frames) => {
                    let numbers = sent..sent + u32::from(frames);
                    sent = numbers.end;
                    let parts = numbers.clone().map(|n| part(n.to_string())).collect();
                    posts.push((upstream.begin(parts).expect("room"), numbers));
                }
                Step::Next => taken.extend(upstream.next()),
                Step::GiveUp(index) if !posts.is_empty() => {
                    let (id, numbers) = posts[usize::from(index) % posts.len()].clone();
                    if upstream.outcome(id).is_none() {
                        let left = |n: &u32| !taken.contains(&part(n.to_string()));
                        given_up.extend(numbers.filter(left));
                        upstream.give_up(id);
                    }
                }
                Step::GiveUp(_) => {}
            }
        }
        while let Some(part) = upstream.next() {
            taken.push(part);
        }
        let wanted: Vec<Part> = (0..sent)
            .filter(|n| !given_up.contains(n))
            .map(|n| part(n.to_string()))
            .collect();
        prop_assert_eq!(taken, wanted);
        prop_assert_eq!(upstream.bytes, 0);
    }
}
