//! What gets in, what gets out, who is told of what is lost, and who is woken.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

use futures::task::{ArcWake, waker};
use proptest::prelude::*;

use matryoshka_pubsub::mailbox::{
    Bound, MailboxReceiver, MailboxSender, Overflow, Pushed, Received, TryPushError, ZeroBound,
    mailbox,
};

#[derive(Default)]
struct Wakes(AtomicUsize);

impl ArcWake for Wakes {
    fn wake_by_ref(this: &Arc<Self>) {
        this.0.fetch_add(1, SeqCst);
    }
}

impl Wakes {
    fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        (Arc::clone(&wakes), waker(wakes))
    }

    fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

fn small(overflow: Overflow) -> (MailboxSender<u32>, MailboxReceiver<u32>) {
    mailbox(Bound::messages(3).with_overflow(overflow))
}

fn drain<T>(receiver: &mut MailboxReceiver<T>) -> Vec<Received<T>> {
    std::iter::from_fn(|| receiver.try_recv()).collect()
}

fn push_all(sender: &MailboxSender<u32>, items: std::ops::Range<u32>) -> Vec<Pushed> {
    items.map(|item| sender.push(item, 1)).collect()
}

use Received::{Item, Lagged};

#[test]
fn drop_newest_loses_what_comes_last_and_says_so_there() {
    let (sender, mut receiver) = small(Overflow::DropNewest);
    let pushed = push_all(&sender, 0..5);
    assert_eq!(
        pushed[2..],
        [Pushed::Queued, Pushed::Dropped, Pushed::Dropped]
    );
    assert_eq!(receiver.try_recv(), Some(Item(0)));
    push_all(&sender, 5..7);
    assert_eq!(
        drain(&mut receiver),
        [Item(1), Item(2), Lagged(2), Item(5), Lagged(1)]
    );
}

#[test]
fn drop_oldest_loses_what_came_first_and_says_so_first() {
    let (sender, mut receiver) = small(Overflow::DropOldest);
    assert_eq!(push_all(&sender, 0..5), [Pushed::Queued; 5]);
    assert_eq!(receiver.try_recv(), Some(Lagged(2)));
    push_all(&sender, 5..6);
    assert_eq!(drain(&mut receiver), [Lagged(1), Item(3), Item(4), Item(5)]);
}

#[test]
fn close_lets_everything_go_at_once() {
    let (sender, mut receiver) = mailbox(Bound::messages(2).with_overflow(Overflow::Close));
    let item = Arc::new(());
    assert_eq!(sender.push(Arc::clone(&item), 1), Pushed::Queued);
    assert_eq!(sender.push(Arc::clone(&item), 1), Pushed::Queued);
    assert!(!receiver.overflowed());
    assert_eq!(sender.push(Arc::clone(&item), 1), Pushed::Dropped);
    assert_eq!(Arc::strong_count(&item), 1);
    assert_eq!(sender.push(Arc::clone(&item), 1), Pushed::Closed);
    assert!(sender.is_closed() && receiver.overflowed());
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(receiver.poll_recv(&mut cx), Poll::Ready(None));
    assert_eq!(receiver.poll_overflowed(&mut cx), Poll::Ready(()));
}

#[test]
fn bytes_are_bounded_but_any_single_item_fits() {
    let bound = Bound::messages(100)
        .with_bytes(10)
        .with_overflow(Overflow::DropNewest);
    let (sender, mut receiver) = mailbox(bound);
    assert_eq!(sender.push('a', 1_000_000), Pushed::Queued);
    assert_eq!(sender.push('b', 0), Pushed::Dropped);
    assert_eq!(receiver.try_recv(), Some(Item('a')));
    assert_eq!(sender.push('c', 9), Pushed::Queued);
    assert_eq!(
        sender.push('d', 9),
        Pushed::Queued,
        "the item that crosses the bound is taken"
    );
    assert_eq!(sender.push('e', 0), Pushed::Dropped);
    assert_eq!(
        drain(&mut receiver),
        [Lagged(1), Item('c'), Item('d'), Lagged(1)]
    );
}

#[test]
fn drop_oldest_makes_room_by_bytes() {
    let (sender, mut receiver) = mailbox(Bound::messages(100).with_bytes(10));
    for item in 0..10 {
        sender.push(item, 3);
    }
    assert_eq!(drain(&mut receiver)[..2], [Lagged(6), Item(6)]);
}

#[test]
fn zero_bounds_still_hold_one() {
    let bound = Bound::messages(0)
        .with_bytes(0)
        .with_overflow(Overflow::DropNewest);
    let (sender, mut receiver) = mailbox(bound);
    assert_eq!(sender.push(1, 0), Pushed::Queued);
    assert_eq!(sender.push(2, 0), Pushed::Dropped);
    assert_eq!(drain(&mut receiver), [Item(1), Lagged(1)]);
}

#[test]
fn a_zero_bound_can_be_told() {
    assert_eq!(Bound::messages(0).check(), Err(ZeroBound::Messages));
    assert_eq!(
        Bound::messages(1).with_bytes(0).check(),
        Err(ZeroBound::Bytes)
    );
    assert_eq!(Bound::DEFAULT.check(), Ok(Bound::DEFAULT));
}

/// A key and a number.
type Keyed = (char, u32);

fn by_key(messages: usize) -> (MailboxSender<Keyed>, MailboxReceiver<Keyed>) {
    mailbox(Bound::messages(messages).keep_latest_by(|item: &Keyed| item.0))
}

#[test]
fn keep_latest_loses_nothing_while_there_is_room() {
    let (sender, mut receiver) = by_key(3);
    let items = [('a', 1), ('a', 2), ('a', 3)];
    assert_eq!(items.map(|item| sender.push(item, 1)), [Pushed::Queued; 3]);
    assert_eq!(drain(&mut receiver), items.map(Item));
}

#[test]
fn keep_latest_loses_what_is_stale_and_says_so_in_its_place() {
    let (sender, mut receiver) = by_key(3);
    for item in [
        ('a', 1),
        ('b', 1),
        ('a', 2),
        ('c', 1),
        ('b', 2),
        ('c', 2),
        ('a', 3),
    ] {
        assert_eq!(sender.push(item, 1), Pushed::Queued);
    }
    // a1 was stale when c1 came, b1 when b2 came: by then nothing else was. c2 and a3 came for c1 and a2.
    let expected = [Lagged(4), Item(('b', 2)), Item(('c', 2)), Item(('a', 3))];
    assert_eq!(drain(&mut receiver), expected);
}

#[test]
fn with_more_keys_than_room_keep_latest_loses_the_oldest() {
    let (sender, mut receiver) = by_key(2);
    let pushed = ['a', 'b', 'c'].map(|key| sender.push((key, 0), 1));
    assert_eq!(pushed, [Pushed::Queued; 3]);
    let expected = [Lagged(1), Item(('b', 0)), Item(('c', 0))];
    assert_eq!(drain(&mut receiver), expected);
}

#[test]
fn the_receiver_is_woken_by_items_and_by_the_end() {
    let (sender, mut receiver) = small(Overflow::DropOldest);
    let (wakes, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    assert_eq!(receiver.poll_recv(&mut cx), Poll::Pending);
    sender.push(1, 1);
    sender.push(2, 1);
    assert_eq!(wakes.count(), 1, "one wake until it polls again");
    assert_eq!(receiver.poll_recv(&mut cx), Poll::Ready(Some(Item(1))));
    assert_eq!(receiver.poll_recv(&mut cx), Poll::Ready(Some(Item(2))));
    assert_eq!(receiver.poll_recv(&mut cx), Poll::Pending);
    let second = sender.clone();
    drop(sender);
    assert_eq!(wakes.count(), 1, "one sender is left");
    drop(second);
    assert_eq!(wakes.count(), 2);
    assert_eq!(receiver.poll_recv(&mut cx), Poll::Ready(None));
}

#[test]
fn a_blocked_reader_is_woken_by_the_overflow() {
    let (sender, mut receiver) = small(Overflow::Close);
    push_all(&sender, 0..3);
    let (wakes, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    assert_eq!(receiver.poll_overflowed(&mut cx), Poll::Pending);
    sender.push(3, 1);
    assert_eq!(wakes.count(), 1);
    assert_eq!(receiver.poll_overflowed(&mut cx), Poll::Ready(()));
}

#[test]
fn whoever_waits_for_room_is_woken_once_there_is_some() {
    let (sender, mut receiver) = small(Overflow::DropNewest);
    let (wakes, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    assert_eq!(sender.poll_room(&mut cx), Poll::Ready(()));
    (0..3).for_each(|item| sender.try_push(item, 1).unwrap());
    assert_eq!(sender.try_push(3, 1), Err(TryPushError::Full(3)));
    let other = sender.clone();
    assert_eq!(sender.poll_room(&mut cx), Poll::Pending);
    assert_eq!(other.poll_room(&mut cx), Poll::Pending);
    assert_eq!(receiver.try_recv(), Some(Item(0)));
    assert_eq!(wakes.count(), 1, "one task, one wake");
    assert_eq!(sender.poll_room(&mut cx), Poll::Ready(()));
    sender.try_push(3, 1).unwrap();
    assert_eq!(sender.poll_room(&mut cx), Poll::Pending);
    drop(receiver);
    assert_eq!(wakes.count(), 2, "nobody waits for a mailbox that is gone");
    assert_eq!(sender.poll_room(&mut cx), Poll::Ready(()));
    assert_eq!(sender.try_push(4, 1), Err(TryPushError::Closed(4)));
}

#[test]
fn either_end_may_close_and_what_is_inside_is_read() {
    for by_sender in [true, false] {
        let (sender, mut receiver) = small(Overflow::DropOldest);
        push_all(&sender, 0..2);
        if by_sender {
            sender.close();
        } else {
            receiver.close();
        }
        assert_eq!(sender.push(2, 1), Pushed::Closed);
        assert!(receiver.is_closed() && !receiver.overflowed());
        assert_eq!(drain(&mut receiver), [Item(0), Item(1)]);
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(receiver.poll_recv(&mut cx), Poll::Ready(None));
    }
}

#[test]
fn a_dropped_receiver_drops_what_is_inside_even_after_a_close() {
    for close_first in [true, false] {
        let (sender, receiver) = mailbox(Bound::default());
        let item = Arc::new(());
        sender.push(Arc::clone(&item), 1);
        if close_first {
            sender.close();
        }
        drop(receiver);
        assert_eq!(Arc::strong_count(&item), 1);
        assert!(sender.is_closed() && sender.is_empty());
    }
}

#[test]
fn items_may_use_the_mailbox_in_their_drop() {
    struct Nosy(MailboxSender<Option<Nosy>>);
    impl Drop for Nosy {
        fn drop(&mut self) {
            self.0.push(None, 1);
        }
    }
    for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::Close] {
        let (sender, receiver) = mailbox(Bound::messages(2).with_overflow(overflow));
        for _ in 0..5 {
            sender.push(Some(Nosy(sender.clone())), 1);
        }
        drop(receiver);
        assert!(sender.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn patient_senders_lose_nothing_and_stay_in_order() {
    const EACH: u32 = 500;
    let (sender, mut receiver) = mailbox(Bound::messages(4));
    for me in 0..3_u32 {
        let sender = sender.clone();
        tokio::spawn(async move {
            for n in 0..EACH {
                let mut item = (me, n);
                while let Err(TryPushError::Full(back)) = sender.try_push(item, 1) {
                    item = back;
                    sender.room().await;
                }
            }
        });
    }
    drop(sender);
    let mut next = HashMap::new();
    while let Some(received) = receiver.recv().await {
        let Item((from, n)) = received else {
            panic!("nothing is lost");
        };
        let expected = next.entry(from).or_insert(0);
        assert_eq!(n, *expected);
        *expected += 1;
    }
    assert_eq!(next, HashMap::from([(0, EACH), (1, EACH), (2, EACH)]));
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    TryPush(usize),
    Take(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_usize..6).prop_map(Step::Push),
        1 => (0_usize..6).prop_map(Step::TryPush),
        2 => (0_u8..4).prop_map(Step::Take),
    ];
    prop::collection::vec(step, 0..100)
}

/// Follows what a receiver gets through the numbers `0..` that were pushed: each is either the next item or counted as lost
/// at exactly its place.
fn follow(position: u32, received: Received<u32>) -> u32 {
    match received {
        Item(item) => {
            assert_eq!(item, position);
            position + 1
        }
        Lagged(lost) => {
            assert!(lost > 0);
            position + u32::try_from(lost).unwrap()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_item_is_received_in_order_or_counted_in_its_place(
        steps in steps(),
        messages in 1_usize..6,
        bytes in 1_usize..12,
        newest in any::<bool>(),
    ) {
        let overflow = if newest { Overflow::DropNewest } else { Overflow::DropOldest };
        let (sender, mut receiver) = mailbox(Bound::messages(messages).with_bytes(bytes).with_overflow(overflow));
        let (mut pushed, mut position) = (0_u32, 0_u32);
        for step in steps {
            match step {
                Step::Push(size) => {
                    sender.push(pushed, size);
                    pushed += 1;
                }
                Step::TryPush(size) => {
                    let room = sender.poll_room(&mut Context::from_waker(Waker::noop()));
                    let taken = sender.try_push(pushed, size).is_ok();
                    prop_assert_eq!(room.is_ready(), taken, "room is what a push finds");
                    pushed += u32::from(taken);
                }
                Step::Take(count) => for _ in 0..count {
                    let received = receiver.try_recv();
                    position = received.map_or(position, |received| follow(position, received));
                },
            }
            prop_assert!(sender.len() <= messages);
        }
        let position = drain(&mut receiver).into_iter().fold(position, follow);
        prop_assert_eq!(position, pushed);
    }

    /// Whatever comes: within the bound; each item in order or counted in its place; and at the end the latest item of each
    /// key that fits is there.
    #[test]
    fn keep_latest_keeps_the_latest_of_each_key(
        steps in prop::collection::vec((0_u32..4, 1_usize..4, 0_u8..3), 1..100),
        messages in 4_usize..7,
    ) {
        let bound = Bound::messages(messages).keep_latest_by(|item: &(u32, u32)| item.0);
        let (sender, mut receiver) = mailbox(bound);
        let (mut latest, mut position) = (HashMap::new(), 0);
        let number = |received| match received {
            Item((_, number)) => Item(number),
            Lagged(lost) => Lagged(lost),
        };
        for (pushed, (key, size, takes)) in (0_u32..).zip(steps) {
            sender.push((key, pushed), size);
            latest.insert(key, pushed);
            for _ in 0..takes {
                if let Some(received) = receiver.try_recv() {
                    if let Item((key, number)) = received
                        && latest.get(&key) == Some(&number)
                    {
                        latest.remove(&key);
                    }
                    position = follow(position, number(received));
                }
            }
            prop_assert!(sender.len() <= messages);
        }
        for received in drain(&mut receiver) {
            if let Item((key, number)) = received
                && latest.get(&key) == Some(&number)
            {
                latest.remove(&key);
            }
            position = follow(position, number(received));
        }
        prop_assert!(latest.is_empty(), "no key lost its latest: {latest:?}");
    }
}
