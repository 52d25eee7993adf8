//! Messages in and polls out, step by step and in random order.

use proptest::prelude::*;

use super::*;

const WINDOW: Duration = Duration::from_secs(10);

fn texts(range: std::ops::Range<u32>) -> Polled {
    Polled::Messages(range.map(|n| n.to_string().into()).collect())
}

/// One whose polls are woken by their names.
fn downstream(bound_bytes: usize, now: Instant) -> Downstream<char> {
    Downstream::new(bound_bytes, now)
}

/// A poll that finds nothing, and waits under this name.
fn wait(downstream: &mut Downstream<char>, now: Instant, name: char) -> Waiting {
    let (poll, _) = downstream.begin(now, WINDOW);
    assert_eq!(downstream.poll(&poll, now), None);
    assert_eq!(downstream.wait(&poll, name), None);
    poll
}

fn begin(downstream: &mut Downstream<char>, now: Instant) -> Waiting {
    downstream.begin(now, WINDOW).0
}

fn end(downstream: &mut Downstream<char>) -> Vec<char> {
    downstream.end().collect()
}

fn put(downstream: &mut Downstream<char>, range: std::ops::Range<u32>) {
    for n in range {
        downstream.put(n.to_string().into());
    }
}

#[test]
fn what_waits_is_answered_at_once_and_what_comes_when_it_comes() {
    let now = Instant::now();
    let mut downstream = downstream(1_000, now);
    put(&mut downstream, 0..2);
    let poll = begin(&mut downstream, now);
    assert_eq!(downstream.poll(&poll, now), Some(texts(0..2)));
    let _ = downstream.finish(&poll, now);

    let poll = begin(&mut downstream, now);
    assert_eq!(downstream.poll(&poll, now), None);
    put(&mut downstream, 2..3);
    assert_eq!(downstream.poll(&poll, now), Some(texts(2..3)));
}

#[test]
fn an_empty_window_is_answered_with_nothing() {
    let now = Instant::now();
    let mut downstream = downstream(1_000, now);
    let poll = begin(&mut downstream, now);
    let almost = now + WINDOW - Duration::from_nanos(1);
    assert_eq!(downstream.poll(&poll, almost), None);
    assert_eq!(downstream.poll(&poll, now + WINDOW), Some(Polled::Nothing));
    assert_eq!(poll.deadline(), now + WINDOW);
}

#[test]
fn the_newer_of_two_polls_gets_what_comes_and_the_older_runs_out() {
    let now = Instant::now();
    let mut downstream = downstream(1_000, now);
    let older = begin(&mut downstream, now);
    let newer = begin(&mut downstream, now + WINDOW / 2);
    put(&mut downstream, 0..1);
    assert_eq!(downstream.poll(&older, now), None);
    assert_eq!(downstream.poll(&newer, now), Some(texts(0..1)));
    let _ = downstream.finish(&newer, now);
    put(&mut downstream, 1..2);
    assert_eq!(downstream.poll(&older, now), None, "it stays replaced");
    assert_eq!(downstream.poll(&older, now + WINDOW), Some(Polled::Nothing));
}

#[test]
fn two_polls_wait_and_a_third_ends_the_oldest() {
    let now = Instant::now();
    let mut downstream = downstream(1_000, now);
    let oldest = wait(&mut downstream, now, 'a');
    let older = wait(&mut downstream, now, 'b');
    let (newest, over) = downstream.begin(now, WINDOW);
    assert_eq!(over, Some('a'), "it is woken");
    assert_eq!(downstream.poll(&oldest, now), Some(Polled::Nothing));
    assert_eq!(downstream.finish(&oldest, now), None);
    assert_eq!(downstream.poll(&older, now), None);
    assert_eq!(downstream.poll(&newest, now), None);
    assert_eq!(downstream.finish(&newest, now), None);
    // The place of the one that is done is free.
    assert_eq!(downstream.begin(now, WINDOW).1, None);
    assert_eq!(downstream.poll(&older, now), None);
}

#[test]
fn messages_wake_the_newest_poll_alone_and_an_end_wakes_both() {
    let now = Instant::now();
    let mut downstream = downstream(1_000, now);
    assert_eq!(downstream.news(), None, "nobody waits");
    let older = wait(&mut downstream, now, 'a');
    let newest = wait(&mut downstream, now, 'b');
    assert_eq!(downstream.wait(&newest, 'c'), Some('b'));
    assert_eq!(downstream.news(), None, "there is nothing to tell");
    put(&mut downstream, 0..1);
    assert_eq!([downstream.news(), downstream.news()], [Some('c'), None]);
    assert_eq!(downstream.poll(&newest, now), Some(texts(0..1)));
    assert_eq!(downstream.finish(&newest, now), None);
    put(&mut downstream, 1..2);
    assert_eq!(downstream.news(), None, "the older one gets none");
    wait_again(&mut downstream, now);
    assert_eq!(end(&mut downstream), ['d', 'a']);
    assert_eq!(downstream.finish(&older, now), None);
}

/// A poll that takes what there is, and one that then waits as `d`.
fn wait_again(downstream: &mut Downstream<char>, now: Instant) {
    let taking = begin(downstream, now);
    assert_eq!(downstream.poll(&taking, now), Some(texts(1..2)));
    let _ = downstream.finish(&taking, now);
    wait(downstream, now, 'd');
}

#[test]
fn a_poll_whose_client_went_away_loses_nothing() {
    let now = Instant::now();
    let mut downstream = downstream(1_000, now);
    let gone = begin(&mut downstream, now);
    put(&mut downstream, 0..1);
    let _ = downstream.finish(&gone, now);
    let next = begin(&mut downstream, now);
    assert_eq!(downstream.poll(&next, now), Some(texts(0..1)));
}

#[test]
fn the_end_is_told_at_once_and_after_the_last_message() {
    let now = Instant::now();
    let mut downstream = downstream(1_000, now);
    let older = begin(&mut downstream, now);
    let newer = begin(&mut downstream, now);
    put(&mut downstream, 0..1);
    end(&mut downstream);
    assert_eq!(downstream.poll(&older, now), None, "messages come first");
    assert_eq!(downstream.poll(&newer, now), Some(texts(0..1)));
    let _ = downstream.finish(&newer, now);
    let last = begin(&mut downstream, now);
    assert_eq!(downstream.poll(&last, now), Some(Polled::Gone));
    assert_eq!(downstream.poll(&older, now), Some(Polled::Gone));
}

#[test]
fn what_was_abandoned_is_not_told() {
    let now = Instant::now();
    let mut downstream = downstream(1_000, now);
    put(&mut downstream, 0..5);
    end(&mut downstream);
    downstream.abandon();
    let poll = begin(&mut downstream, now);
    assert_eq!(downstream.poll(&poll, now), Some(Polled::Gone));
}

#[test]
fn there_is_room_below_the_bound_and_one_message_may_cross_it() {
    let now = Instant::now();
    let mut downstream = downstream(100, now);
    assert!(downstream.has_room());
    downstream.put("x".repeat(100 - MESSAGE_BYTES - 1).into());
    assert!(downstream.has_room());
    downstream.put("x".repeat(10_000).into());
    assert!(!downstream.has_room());
    let poll = begin(&mut downstream, now);
    assert!(downstream.poll(&poll, now).is_some());
    assert!(downstream.has_room());
}

#[test]
fn the_client_is_there_while_its_newest_poll_waits_and_was_there_when_that_ended() {
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let mut downstream = downstream(100, start);
    assert_eq!(downstream.heard(after(5)), start);
    let older = begin(&mut downstream, after(6));
    assert_eq!(downstream.heard(after(9)), after(9));
    let newer = begin(&mut downstream, after(10));
    let _ = downstream.finish(&newer, after(12));
    let _ = downstream.finish(&older, after(16));
    assert_eq!(
        downstream.heard(after(20)),
        after(12),
        "the older one does not count"
    );
}

/// One thing that happens to a session, or to a client with several networks under it.
#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Poll,
    /// The client's connection of the poll with this number drops.
    Drop(u8),
    /// So many seconds go by.
    Wait(u8),
    End,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1u8..4).prop_map(Step::Put),
        4 => Just(Step::Poll),
        2 => any::<u8>().prop_map(Step::Drop),
        3 => (0u8..12).prop_map(Step::Wait),
    ];
    (prop::collection::vec(step, 0..60), any::<bool>()).prop_map(|(mut steps, ends)| {
        if ends {
            steps.push(Step::End);
        }
        steps
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Nothing is lost, doubled or out of order, only the newest poll gets messages, and every poll is answered in time.
    #[test]
    fn every_message_is_handed_over_once_and_in_order(steps in steps()) {
        let mut now = Instant::now();
        let mut downstream = downstream(usize::MAX, now);
        let (mut put, mut got) = (0u32, Vec::new());
        let mut waiting: Vec<Waiting> = Vec::new();
        let (mut newest, mut over) = (None, Vec::new());
        for step in steps {
            match step {
                Step::Put(count) => for _ in 0..count {
                    downstream.put(put.to_string().into());
                    put += 1;
                },
                Step::Poll => {
                    let poll = begin(&mut downstream, now);
                    newest = Some(poll.id);
                    waiting.push(poll);
                    if let Some(third) = waiting.len().checked_sub(3) {
                        over.push(waiting[third].id);
                    }
                }
                Step::Drop(index) if !waiting.is_empty() => {
                    let poll = waiting.remove(usize::from(index) % waiting.len());
                    let _ = downstream.finish(&poll, now);
                }
                Step::Drop(_) => {}
                Step::Wait(seconds) => now += Duration::from_secs(seconds.into()),
                Step::End => drop(end(&mut downstream)),
            }
            let (still, answered): (Vec<_>, Vec<_>) = waiting.into_iter()
                .map(|poll| (downstream.poll(&poll, now), poll))
                .partition(|(answer, _)| answer.is_none());
            waiting = still.into_iter().map(|(_, poll)| poll).collect();
            for (answer, poll) in answered {
                match answer {
                    Some(Polled::Messages(messages)) => {
                        prop_assert_eq!(Some(poll.id), newest);
                        prop_assert!(!messages.is_empty());
                        got.extend(messages);
                    }
                    Some(Polled::Nothing) => prop_assert!(now >= poll.deadline() || over.contains(&poll.id)),
                    Some(Polled::Gone) => prop_assert!(downstream.ended),
                    None => unreachable!("these have an answer"),
                }
                let _ = downstream.finish(&poll, now);
            }
            prop_assert!(waiting.len() <= 2);
            for poll in &waiting {
                prop_assert!(now < poll.deadline());
                prop_assert!(Some(poll.id) != newest || downstream.is_empty());
            }
        }
        let last = begin(&mut downstream, now);
        if let Some(Polled::Messages(messages)) = downstream.poll(&last, now) {
            got.extend(messages);
        }
        let all: Vec<ByteString> = (0..put).map(|n| n.to_string().into()).collect();
        prop_assert_eq!(got, all);
        prop_assert!(downstream.is_empty() && downstream.bytes == 0);
    }
}

/// A poll that passes on what there is.
fn pass_on(downstream: &mut Downstream<char>, poll: &Waiting, now: Instant) -> Vec<ByteString> {
    let Some(Polled::Messages(messages)) = downstream.poll(poll, now) else {
        panic!("no messages");
    };
    downstream.pass_on(&messages);
    messages
}

#[test]
fn what_comes_back_stands_before_what_came_since_and_no_poll_gets_that_before() {
    let now = Instant::now();
    let mut downstream = downstream(1_000, now);
    put(&mut downstream, 0..2);
    let old = begin(&mut downstream, now);
    let messages = pass_on(&mut downstream, &old, now);
    put(&mut downstream, 2..3);
    let new = wait(&mut downstream, now, 'n');
    assert_eq!(downstream.news(), None);
    assert!(!downstream.is_empty());
    assert_eq!(downstream.passed(messages).collect::<String>(), "n");
    assert_eq!(downstream.poll(&old, now), None, "it is not the newest");
    assert_eq!(downstream.poll(&new, now), Some(texts(0..3)));
    assert_eq!(downstream.bytes, 0);
}

#[test]
fn a_session_that_has_ended_is_gone_when_its_last_messages_are_passed_on() {
    let now = Instant::now();
    let mut downstream = downstream(1_000, now);
    put(&mut downstream, 0..2);
    let old = begin(&mut downstream, now);
    let messages = pass_on(&mut downstream, &old, now);
    assert_eq!(downstream.end().count(), 0);
    let new = wait(&mut downstream, now, 'n');
    assert!(!downstream.is_empty());
    assert_eq!(downstream.passed(messages).collect::<String>(), "n");
    let messages = pass_on(&mut downstream, &new, now);
    assert_eq!(downstream.poll(&old, now), None);
    drop(messages);
    assert_eq!(downstream.passed(Vec::new()).count(), 0);
    assert_eq!(downstream.poll(&old, now), Some(Polled::Gone));
}

#[test]
fn what_is_abandoned_takes_nothing_more() {
    let now = Instant::now();
    let mut downstream = downstream(1_000, now);
    put(&mut downstream, 0..2);
    let poll = begin(&mut downstream, now);
    let messages = pass_on(&mut downstream, &poll, now);
    downstream.abandon();
    put(&mut downstream, 2..3);
    assert_eq!(downstream.passed(messages).count(), 0);
    assert!(downstream.is_empty() && downstream.bytes == 0);
}

#[test]
fn what_is_not_read_holds_back_what_waits_and_its_reading_is_news() {
    let now = Instant::now();
    let mut downstream = downstream(MESSAGE_BYTES + 1, now);
    put(&mut downstream, 0..1);
    let poll = begin(&mut downstream, now);
    assert_eq!(downstream.poll(&poll, now), Some(texts(0..1)));
    let _ = downstream.finish(&poll, now);
    put(&mut downstream, 1..2);
    let poll = wait(&mut downstream, now, 'a');
    assert_eq!(downstream.news(), None);
    assert_eq!(downstream.read(weight(&"0".into())), Some('a'));
    assert_eq!(downstream.poll(&poll, now), Some(texts(1..2)));
}
