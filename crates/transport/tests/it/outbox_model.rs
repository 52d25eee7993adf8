//! The outbox under a model checker: every interleaving of a few threads with at most two preemptions.
//!
//! Its own source is compiled here a second time, with loom's locks in the place of the standard ones.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use loom::{
    future::{AtomicWaker, block_on},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};
use matryoshka_transport::Pushed;

use close::{Close, CloseCode};
use frame::Frame;
use limits::Limits;
use outbox::{Inbox, Item, Outbox, Overflowed, SharedFrame, WhenSlow, outbox};
use stats::Counters;

mod close {
    pub(crate) use matryoshka_transport::{Close, CloseCode};
}

mod frame {
    pub(crate) use matryoshka_transport::Frame;
}

mod limits {
    pub(crate) use matryoshka_transport::Limits;
}

mod sync {
    pub(crate) use loom::sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    };
}

#[allow(dead_code, reason = "the tests below use part of it")]
#[path = "../../src/stats.rs"]
mod stats;

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "it is a public type of the library, compiled here for what the tests below use"
)]
#[path = "../../src/outbox.rs"]
mod outbox;

/// Most places where one thread takes over from another that could go on. More find little and take hours.
const PREEMPTIONS: usize = 2;

fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(run);
}

/// An outbox for so many items.
fn outbox_of(items: usize) -> (Outbox<()>, Inbox<()>) {
    let limits = Limits::default()
        .with_outbox_bytes(1_000)
        .with_outbox_items(items);
    outbox(&limits, usize::MAX, &Arc::new(Counters::default()))
}

fn number(n: u8) -> Frame {
    Frame::binary(vec![n])
}

/// Puts so many numbers in.
fn push(outbox: &Outbox<()>, count: u8) {
    for n in 0..count {
        assert_eq!(outbox.frame(number(n)), Pushed::Queued);
    }
}

/// What a client's network is to the task of its connection.
struct Network {
    takes: AtomicBool,
    writer: AtomicWaker,
}

impl Network {
    fn new(takes: bool) -> Arc<Self> {
        Arc::new(Self {
            takes: AtomicBool::new(takes),
            writer: AtomicWaker::new(),
        })
    }

    /// The client reads.
    fn read(&self) {
        self.takes.store(true, SeqCst);
        self.writer.wake();
    }

    fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        self.writer.register_by_ref(cx.waker());
        match self.takes.load(SeqCst) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// The writing half of a connection's task: the numbers it wrote, up to as many or to the order to close.
fn write(inbox: &mut Inbox<()>, network: &Network, count: usize) -> Result<Vec<Frame>, Overflowed> {
    let mut written = Vec::new();
    block_on(poll_fn(|cx| {
        while written.len() < count {
            if network.poll_ready(cx).is_pending() {
                if inbox.poll_urgent(cx)?.is_ready() {
                    return Poll::Ready(Ok(()));
                }
                // What stands before the order to close goes on, as the task's last words.
                if !inbox.is_closed() {
                    return Poll::Pending;
                }
            }
            match inbox.poll_recv(cx)? {
                Poll::Ready(Item::Frame(frame)) => written.push(frame),
                Poll::Ready(Item::Mail(()) | Item::Close(_)) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }))?;
    Ok(written)
}

#[test]
fn what_is_pushed_while_the_client_begins_to_read_is_written() {
    model(|| {
        let ((outbox, mut inbox), network) = (outbox_of(10), Network::new(false));
        let pushing = thread::spawn(move || {
            push(&outbox, 2);
            outbox
        });
        let client = Arc::clone(&network);
        let reading = thread::spawn(move || client.read());
        let written = write(&mut inbox, &network, 2);
        assert!(written.is_ok_and(|written| written == [number(0), number(1)]));
        reading.join().unwrap();
        drop(pushing.join().unwrap());
    });
}

#[test]
fn what_is_pushed_while_the_task_goes_to_sleep_is_written_and_then_the_end() {
    model(|| {
        let ((outbox, mut inbox), network) = (outbox_of(10), Network::new(true));
        let pushing = thread::spawn(move || {
            push(&outbox, 2);
            outbox.close(Close::new(CloseCode::GOING_AWAY));
        });
        let written = write(&mut inbox, &network, 3);
        assert!(written.is_ok_and(|written| written == [number(0), number(1)]));
        pushing.join().unwrap();
    });
}

#[test]
fn an_order_to_close_and_an_overflow_wake_a_blocked_task() {
    for overflows in [false, true] {
        model(move || {
            let ((outbox, mut inbox), network) = (outbox_of(1), Network::new(false));
            let pushing = thread::spawn(move || {
                push(&outbox, 1);
                match overflows {
                    true => outbox.frame(number(1)),
                    false => outbox.close(Close::new(CloseCode::GOING_AWAY)),
                }
            });
            let written = write(&mut inbox, &network, 3);
            assert_eq!(written.is_err(), overflows);
            pushing.join().unwrap();
        });
    }
}

#[test]
fn an_urgent_mail_reaches_a_task_whatever_it_waits_for() {
    for takes in [false, true] {
        model(move || {
            let ((outbox, mut inbox), network) = (outbox_of(10), Network::new(takes));
            let pushing = thread::spawn(move || {
                push(&outbox, 1);
                assert_eq!(outbox.urgent_mail_of((), 0), Pushed::Queued);
                outbox
            });
            let written = write(&mut inbox, &network, 2).unwrap_or_default();
            assert!(written.is_empty() || takes);
            drop(pushing.join().unwrap());
        });
    }
}

#[test]
fn what_may_be_dropped_is_counted_or_written_while_the_client_begins_to_read() {
    model(|| {
        let ((outbox, mut inbox), network) = (outbox_of(2), Network::new(false));
        let pushing = thread::spawn(move || {
            let pushed = [0, 1].map(|n| outbox.frame_when_slow(number(n), WhenSlow::Drop));
            outbox.close(Close::new(CloseCode::GOING_AWAY));
            pushed.map(|pushed| pushed == Pushed::Queued)
        });
        let client = Arc::clone(&network);
        let reading = thread::spawn(move || client.read());
        let written = write(&mut inbox, &network, 3).unwrap_or_default();
        let queued = pushing.join().unwrap();
        let arrived = [0, 1].map(|n| written.contains(&number(n)));
        assert_eq!(arrived, queued);
        reading.join().unwrap();
    });
}

#[test]
fn what_blocked_clients_hold_together_reaches_each_once_while_one_begins_to_read() {
    model(|| {
        let network = Network::new(false);
        let [(first, mut first_inbox), (second, mut second_inbox)] = [outbox_of(10), outbox_of(10)];
        let blocked = |inbox: &mut Inbox<()>| {
            block_on(poll_fn(|cx| {
                assert!(inbox.poll_urgent(cx).is_pending());
                Poll::Ready(())
            }));
        };
        blocked(&mut first_inbox);
        blocked(&mut second_inbox);
        let pushing = thread::spawn(move || {
            for n in 0..2 {
                let mut shared = SharedFrame::new(number(n));
                for outbox in [&second, &first] {
                    let pushed = outbox.shared_frame(&mut shared, WhenSlow::Close);
                    assert_eq!(pushed, Pushed::Queued);
                }
            }
            [first, second]
        });
        network.read();
        let written = write(&mut first_inbox, &network, 2);
        assert!(written.is_ok_and(|written| written == [number(0), number(1)]));
        drop(pushing.join().unwrap());
        let written = write(&mut second_inbox, &network, 2);
        assert!(written.is_ok_and(|written| written == [number(0), number(1)]));
    });
}

#[test]
fn of_two_that_look_for_room_for_one_at_the_same_time_one_has_it() {
    model(|| {
        // Half of it is one.
        let (outbox, inbox) = outbox_of(2);
        let other = outbox.clone();
        let pushing = thread::spawn(move || other.mail_if_room((), 0).is_ok());
        let pushed = outbox.frame_if_room(number(0)).is_ok();
        assert_ne!(pushing.join().unwrap(), pushed);
        drop(inbox);
    });
}
