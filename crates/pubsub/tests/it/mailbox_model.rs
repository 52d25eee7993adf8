//! The mailbox under a model checker: every interleaving of a few threads with at most two preemptions.
//!
//! The mailbox's own source is compiled here a second time, with loom's locks in the place of the standard ones.

use loom::future::block_on;
use loom::thread;

use mailbox::{Bound, MailboxReceiver, Overflow, Pushed, Received, TryPushError, mailbox};

mod sync {
    pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
}

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "it is a public module of the library, compiled here for what the tests below use"
)]
#[path = "../../src/mailbox.rs"]
mod mailbox;

/// Most places where one thread takes over from another that could go on. More find little and take hours.
const PREEMPTIONS: usize = 2;

fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(run);
}

/// All that comes until the end, with every wait a real one.
fn all(receiver: &mut MailboxReceiver<u32>) -> Vec<Received<u32>> {
    let mut all = Vec::new();
    while let Some(received) = block_on(receiver.recv()) {
        all.push(received);
    }
    all
}

use Received::{Item, Lagged};

#[test]
fn a_waiting_receiver_gets_every_item_and_the_end() {
    model(|| {
        let (sender, mut receiver) = mailbox(Bound::messages(4));
        let pushing = thread::spawn(move || {
            for item in 0..2 {
                assert_eq!(sender.push(item, 1), Pushed::Queued);
            }
        });
        assert_eq!(all(&mut receiver), [Item(0), Item(1)]);
        pushing.join().unwrap();
    });
}

#[test]
fn two_senders_lose_nothing_and_the_last_one_ends_it() {
    model(|| {
        let (first, mut receiver) = mailbox(Bound::messages(4));
        let second = first.clone();
        let threads = [(first, 1), (second, 2)].map(|(sender, item)| {
            thread::spawn(move || assert_eq!(sender.push(item, 1), Pushed::Queued))
        });
        let heard = all(&mut receiver);
        assert!(heard == [Item(1), Item(2)] || heard == [Item(2), Item(1)]);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn what_is_lost_is_counted_in_its_place_under_every_policy() {
    let newest = Bound::messages(1).with_overflow(Overflow::DropNewest);
    check_numbers(move || mailbox(newest));
    check_numbers(|| mailbox(Bound::messages(1)));
    check_numbers(|| mailbox(Bound::messages(1).keep_latest_by(|item: &u32| item % 2)));
}

fn check_numbers(
    make: impl Fn() -> (mailbox::MailboxSender<u32>, MailboxReceiver<u32>) + Send + Sync + 'static,
) {
    model(move || {
        let (sender, mut receiver) = make();
        let pushing = thread::spawn(move || {
            for item in 0..3 {
                sender.push(item, 1);
            }
        });
        let mut next = 0;
        for received in all(&mut receiver) {
            match received {
                Item(item) => {
                    assert_eq!(item, next);
                    next += 1;
                }
                Lagged(lost) => next += u32::try_from(lost).unwrap(),
            }
        }
        assert_eq!(next, 3, "each item arrived or was counted");
        pushing.join().unwrap();
    });
}

#[test]
fn a_close_by_overflow_wakes_the_receiver() {
    model(|| {
        let bound = Bound::messages(1).with_overflow(Overflow::Close);
        let (sender, mut receiver) = mailbox(bound);
        let pushing = thread::spawn(move || {
            sender.push(0, 1);
            sender.push(1, 1);
            sender
        });
        let heard = (block_on(receiver.recv()), block_on(receiver.recv()));
        let known = [
            (Some(Item(0)), Some(Item(1))),
            (Some(Item(0)), None),
            (None, None),
        ];
        let overflowed = heard.1.is_none();
        drop(pushing.join().unwrap());
        assert!(known.contains(&heard), "{heard:?}");
        assert_eq!(receiver.overflowed(), overflowed);
    });
}

#[test]
fn whoever_waits_for_room_is_woken() {
    model(|| {
        let (sender, mut receiver) = mailbox(Bound::messages(1));
        sender.push(0, 1);
        let pushing = thread::spawn(move || {
            block_on(sender.room());
            sender.try_push(1, 1).expect("it is the only sender");
        });
        assert_eq!(all(&mut receiver), [Item(0), Item(1)]);
        pushing.join().unwrap();
    });
}

#[test]
fn a_receiver_that_goes_lets_no_sender_wait() {
    model(|| {
        let (sender, receiver) = mailbox(Bound::messages(1));
        sender.push(0, 1);
        let going = thread::spawn(move || drop(receiver));
        block_on(sender.room());
        assert_eq!(sender.try_push(1, 1), Err(TryPushError::Closed(1)));
        going.join().unwrap();
    });
}
