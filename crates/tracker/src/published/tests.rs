//! Lists, followers and laggards, without a shard.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use matryoshka_pubsub::NodeName;

use super::*;
use crate::diffs::{DiffEvent, Diffs, TopicDiffs, TopicEvent};
use crate::entry::Entry;
use crate::life::Life;
use crate::reference::{PresenceRef, Writer};
use crate::visible::{VisibleSet, under_one_number};

fn entry(topic: &str, seq: u64) -> Arc<Entry> {
    Arc::new(Entry {
        topic: topic.into(),
        key: "k".into(),
        meta: Bytes::new(),
        reference: PresenceRef::new(Writer::new("a", 0, Life::first_of(1)), seq),
        previous: None,
        node: NodeName::new("a").unwrap(),
        owner: 1,
        verdict: crate::entry::Verdict::default(),
    })
}

struct Tracked {
    published: Arc<Published>,
    visible: VisibleSet,
}

impl Tracked {
    fn new(bound: usize) -> Self {
        Self {
            published: Arc::new(Published::new(1, bound)),
            visible: VisibleSet::default(),
        }
    }

    fn join(&mut self, topic: &str, seq: u64) {
        self.visible.insert(&entry(topic, seq), &under_one_number);
        self.published.publish(0, self.visible.take_step());
    }

    fn leave(&mut self, topic: &str, seq: u64) {
        self.visible.remove(&entry(topic, seq));
        self.published.publish(0, self.visible.take_step());
    }

    fn follow(&self, topic: &str) -> (Entries, TopicDiffs) {
        TopicDiffs::new(Arc::clone(&self.published), 0, topic)
    }
}

#[test]
fn a_follower_gets_the_list_and_exactly_what_comes_after_it() {
    let mut tracked = Tracked::new(10);
    tracked.join("t", 1);
    let (list, mut diffs) = tracked.follow("t");
    assert_eq!(list.len(), 1);
    assert!(diffs.next().now_or_never().is_none(), "nothing yet");
    tracked.join("t", 2);
    tracked.join("other", 3);
    tracked.leave("t", 1);
    for (joins, leaves) in [(1, 0), (0, 1)] {
        match diffs.next().now_or_never() {
            Some(Some(TopicEvent::Diff(diff))) => {
                assert_eq!((diff.joins.len(), diff.leaves.len()), (joins, leaves));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(diffs.next().now_or_never().is_none());
}

/// Whoever subscribes while steps are published has each of them once: in the list, or as a diff after it.
#[test]
fn i14_who_follows_while_steps_are_shown_misses_none_and_has_none_twice() {
    const STEPS: u64 = 20_000;
    let mut tracked = Tracked::new(usize::try_from(STEPS).unwrap());
    let published = Arc::clone(&tracked.published);
    let publisher = thread::spawn(move || {
        for seq in 1..=STEPS {
            tracked.join("t", seq);
            tracked.leave("t", seq.saturating_sub(3).max(1));
        }
    });
    let mut followed = 0;
    while !publisher.is_finished() {
        let (list, mut diffs) = TopicDiffs::new(Arc::clone(&published), 0, "t");
        let mut listed: Vec<_> = list.iter().map(|entry| entry.reference).collect();
        while let Some(Some(event)) = diffs.next().now_or_never() {
            let TopicEvent::Diff(diff) = event else {
                panic!("{event:?}");
            };
            for left in &diff.leaves {
                let there = listed.iter().position(|one| *one == left.reference);
                listed.remove(there.expect("it joined before"));
            }
            for joined in &diff.joins {
                assert!(!listed.contains(&joined.reference), "it joined twice");
                listed.push(joined.reference);
            }
            if followed % 2 == 0 {
                break;
            }
        }
        followed += 1;
    }
    publisher.join().unwrap();
    assert!(followed > 1, "nobody followed meanwhile");
}

/// Between the moment from which on diffs are kept for a laggard again and the list that it gets nothing is shown, or it would have that
/// neither here nor there; and what is made of the list holds nobody up.
#[test]
fn i14_who_catches_up_reads_the_list_before_the_next_step_is_shown() {
    let mut tracked = Tracked::new(1);
    let (_, queue) = tracked.published.follow(0, "t");
    (1..=3).for_each(|seq| tracked.join("t", seq));
    let mut cx = Context::from_waker(Waker::noop());
    let free = |published: &Published| published.consumers.try_lock().is_ok();
    let caught_up = tracked.published.poll_next(
        &queue,
        &mut cx,
        |diff| panic!("{diff:?}"),
        |published| {
            let lagged = queue.state().lagged;
            (free(published), lagged, published.entries(0, "t").len())
        },
        |read| (read, free(&tracked.published)),
    );
    let read = (false, false, 3);
    assert_eq!(caught_up, Poll::Ready(Some((read, true))));
}

#[test]
fn a_laggard_gets_one_resync_that_is_the_list_and_then_goes_on() {
    let mut tracked = Tracked::new(2);
    let (_, mut diffs) = tracked.follow("t");
    let mut all = Diffs::new(Arc::clone(&tracked.published));
    for seq in 1..=5 {
        tracked.join("t", seq);
    }
    let Some(Some(TopicEvent::Resync(list))) = diffs.next().now_or_never() else {
        panic!("no resync");
    };
    assert_eq!(list.len(), 5);
    let Some(Some(DiffEvent::Resync(lists))) = all.next().now_or_never() else {
        panic!("no resync");
    };
    assert_eq!((lists.entries("t").len(), lists.topics().count()), (5, 1));
    assert!(diffs.next().now_or_never().is_none(), "only one resync");
    tracked.leave("t", 1);
    assert!(matches!(
        diffs.next().now_or_never(),
        Some(Some(TopicEvent::Diff(_)))
    ));
    assert!(matches!(
        all.next().now_or_never(),
        Some(Some(DiffEvent::Diff(_)))
    ));
}

#[test]
fn a_diff_larger_than_the_bound_fits_alone() {
    let tracked = Tracked::new(2);
    let (_, mut diffs) = tracked.follow("t");
    let count = QUEUED_ENTRIES + 1;
    let step = TopicStep {
        diff: Diff {
            topic: "t".into(),
            joins: vec![entry("t", 1); count],
            leaves: Vec::new(),
        },
        entries: Entries::default(),
    };
    tracked.published.publish(0, vec![step]);
    match diffs.next().now_or_never() {
        Some(Some(TopicEvent::Diff(diff))) => assert_eq!(diff.joins.len(), count),
        other => panic!("{:?}", other.map(|event| event.is_some())),
    }
}

#[test]
fn a_follower_that_goes_is_forgotten() {
    let tracked = Tracked::new(10);
    let (_, one) = tracked.follow("t");
    let (_, two) = tracked.follow("t");
    drop(one);
    assert_eq!(tracked.published.consumers().by_topic["t"].len(), 1);
    drop(two);
    assert!(tracked.published.consumers().by_topic.is_empty());
    drop(Diffs::new(Arc::clone(&tracked.published)));
    assert!(tracked.published.consumers().all.is_empty());
}

#[test]
fn closing_ends_streams_after_what_they_hold_and_empties_lists() {
    let mut tracked = Tracked::new(10);
    let (_, mut diffs) = tracked.follow("t");
    tracked.join("t", 1);
    tracked.published.close(0);
    assert!(matches!(diffs.next().now_or_never(), Some(Some(_))));
    assert!(matches!(diffs.next().now_or_never(), Some(None)));
    assert!(tracked.published.entries(0, "t").is_empty());
    let (_, mut late) = tracked.follow("t");
    assert!(matches!(late.next().now_or_never(), Some(None)));
}

#[test]
fn an_empty_topic_is_not_kept() {
    let mut tracked = Tracked::new(10);
    tracked.join("t", 1);
    assert_eq!(tracked.published.snapshot().topics().count(), 1);
    tracked.leave("t", 1);
    assert_eq!(tracked.published.snapshot().topics().count(), 0);
}

/// Wakers that look at a list, and at whether others can come and go meanwhile.
#[test]
fn wakers_find_the_list_as_new_as_the_diff_and_no_lock_taken() {
    struct Looks {
        published: Arc<Published>,
        seen: mpsc::Sender<(usize, bool)>,
    }
    impl std::task::Wake for Looks {
        fn wake(self: Arc<Self>) {
            let listed = self.published.entries(0, "t").len();
            let is_free = self.published.consumers.try_lock().is_ok();
            self.seen.send((listed, is_free)).unwrap();
        }
    }
    let mut tracked = Tracked::new(10);
    let (_, mut diffs) = tracked.follow("t");
    let mut all = Diffs::new(Arc::clone(&tracked.published));
    let (seen, sees) = mpsc::channel();
    let published = Arc::clone(&tracked.published);
    let waker = Waker::from(Arc::new(Looks { published, seen }));
    let mut cx = Context::from_waker(&waker);
    let mut both_wait =
        || diffs.poll_next_unpin(&mut cx).is_pending() && all.poll_next_unpin(&mut cx).is_pending();
    assert!(both_wait());
    tracked.join("t", 1);
    assert_eq!(sees.try_iter().collect::<Vec<_>>(), [(1, true), (1, true)]);
    assert!(!both_wait());
    while !both_wait() {}
    tracked.published.close(0);
    assert_eq!(
        sees.try_iter()
            .map(|(_, is_free)| is_free)
            .collect::<Vec<_>>(),
        [true, true]
    );
}

#[test]
fn followers_that_went_leave_nothing_behind_while_nothing_changes() {
    let tracked = Tracked::new(10);
    let here = Diffs::new(Arc::clone(&tracked.published));
    for _ in 0..100 {
        drop(Diffs::new(Arc::clone(&tracked.published)));
        drop(tracked.follow("t"));
    }
    let consumers = tracked.published.consumers();
    assert_eq!(consumers.all.len(), 1);
    assert!(consumers.by_topic.is_empty());
    drop((consumers, here));
}

/// Ten thousand million looks at a follower, if each that comes or goes looked at the others: minutes in place of a second.
#[test]
fn followers_of_one_topic_come_and_go_without_a_look_at_each_other() {
    const FOLLOWERS: usize = 100_000;
    const LIMIT: Duration = Duration::from_secs(30);
    let mut tracked = Tracked::new(10);
    let began = Instant::now();
    let follow = |nth: usize| {
        assert!(began.elapsed() < LIMIT, "after {nth} of {FOLLOWERS}");
        tracked.follow("t").1
    };
    let mut followers: Vec<TopicDiffs> = (0..FOLLOWERS).map(follow).collect();
    let mut last = followers.split_off(FOLLOWERS - 1);
    for follower in followers {
        assert!(began.elapsed() < LIMIT, "while they go");
        drop(follower);
    }
    assert_eq!(tracked.published.consumers().by_topic["t"].len(), 1);
    tracked.join("t", 1);
    assert!(last[0].next().now_or_never().is_some());
}

/// Stopped in the first copy of the lists, where nobody sees its change, and in the second one, when everybody does.
#[test]
fn a_reader_waits_for_no_writer_that_stands_still_in_the_midst() {
    for (stop_in, seen) in [(1, 1), (2, 0)] {
        let mut tracked = Tracked::new(10);
        tracked.join("t", 1);
        let (stopped, has_stopped) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let published = Arc::clone(&tracked.published);
        let writing = thread::spawn(move || {
            let mut copy = 0;
            published.shards[0].write(|lists| {
                copy += 1;
                if copy == stop_in {
                    stopped.send(()).unwrap();
                    may_go_on.recv().unwrap();
                }
                lists.clear();
            });
        });
        has_stopped.recv().unwrap();
        let (answer, answered) = mpsc::channel();
        let published = Arc::clone(&tracked.published);
        thread::spawn(move || answer.send(published.entries(0, "t").len()));
        let read = answered.recv_timeout(Duration::from_secs(10));
        assert_eq!(read, Ok(seen), "copy {stop_in}");
        go_on.send(()).unwrap();
        writing.join().unwrap();
        assert!(tracked.published.entries(0, "t").is_empty());
    }
}

/// Some come while others lag, and one publishes without pause. No diff joins what is listed already, nor takes away what is not.
#[test]
fn a_list_and_the_diffs_after_it_fit_whatever_is_published_meanwhile() {
    const STEPS: u64 = 10_000;
    for bound in [2, 64] {
        let mut tracked = Tracked::new(bound);
        let published = Arc::clone(&tracked.published);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let publishing = scope.spawn(|| {
                for seq in 1..=STEPS {
                    tracked.join("t", seq);
                    if seq > 3 {
                        tracked.leave("t", seq - 3);
                    }
                }
                over.store(true, Ordering::Release);
            });
            while !publishing.is_finished() {
                let (list, mut diffs) = TopicDiffs::new(Arc::clone(&published), 0, "t");
                let mut here = references(&list);
                for _ in 0..100 {
                    follow_on(&mut here, &mut diffs);
                }
                let is_over = over.load(Ordering::Acquire);
                while follow_on(&mut here, &mut diffs) {}
                if is_over {
                    assert_eq!(here, references(&published.entries(0, "t")));
                }
            }
        });
    }
}

fn references(list: &Entries) -> BTreeSet<PresenceRef> {
    list.iter().map(|entry| entry.reference).collect()
}

/// Whether there was something to follow.
fn follow_on(here: &mut BTreeSet<PresenceRef>, diffs: &mut TopicDiffs) -> bool {
    match diffs.next().now_or_never() {
        Some(Some(TopicEvent::Diff(diff))) => {
            for left in &diff.leaves {
                assert!(here.remove(&left.reference), "it was not listed");
            }
            for joined in &diff.joins {
                assert!(here.insert(joined.reference), "it was listed already");
            }
            true
        }
        Some(Some(TopicEvent::Resync(list))) => {
            *here = references(&list);
            true
        }
        _ => false,
    }
}
