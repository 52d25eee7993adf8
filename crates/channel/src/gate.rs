//! What a channel's subscription holds back from its client at first.
//!
//! A gate is closed, then perhaps holding, then open for the rest of the channel's life. Closed: the join's answer is not in the outbox
//! yet, so everything waits. Holding: it is, and only events that the channel named wait on, until what it put off with
//! `after_join` is done. Open: to pass costs one look at an atomic.
//!
//! Of what one sender passes, only an event that is held may be overtaken, and only by others. For all that waits is put into the outbox
//! under the lock, and the gate is seen to be open after that.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytestring::ByteString;

use crate::transport::{Frame, LARGE_FRAME_BYTES, WhenSlow};

/// How many frames of one channel wait for its join's answer, and how many for what it has put off: 1,024 each. What comes beyond is dropped
/// before the answer, since that is a wait of a few microseconds, and after it lets all of them through.
pub const MAX_HELD_FRAMES: usize = 1024;

/// From how many bytes on no further frame of one channel waits there: 256 KiB each. Counted as the outbox counts, where all of them
/// go at once: of a large frame only a part. It is a quarter of what an outbox takes unless it is told otherwise.
pub const MAX_HELD_BYTES: usize = 256 * 1024;

/// See the [module](self).
pub(crate) struct Gate {
    is_open: AtomicBool,
    /// Boxed, and nothing where nothing waits: an open gate should cost next to nothing.
    waiting: Mutex<Option<Box<Waiting>>>,
}

/// A frame, and what becomes of it when its reader is slow.
#[derive(Debug, PartialEq)]
pub(crate) struct Held {
    pub(crate) frame: Frame,
    pub(crate) when_slow: WhenSlow,
}

/// What becomes of a frame at the gate.
#[derive(Debug, PartialEq)]
pub(crate) enum Passed {
    /// It is the caller's to put into the outbox.
    Open(Held),
    /// It waits.
    Held,
    /// Too much waits for the answer.
    Dropped,
}

#[derive(Default)]
struct Waiting {
    /// Whose broadcasts wait for what was put off.
    events: Vec<ByteString>,
    is_answered: bool,
    for_answer: Line,
    for_after_join: Line,
}

/// Frames that wait for the same.
#[derive(Default)]
struct Line {
    frames: Vec<Held>,
    bytes: usize,
}

impl Gate {
    /// A closed one, which holds these events for longer.
    pub(crate) fn new(events: Vec<ByteString>) -> Self {
        let waiting = Waiting {
            events,
            ..Waiting::default()
        };
        let is_named = !waiting.events.is_empty();
        Self {
            is_open: AtomicBool::new(false),
            waiting: Mutex::new(is_named.then(|| Box::new(waiting))),
        }
    }

    /// A frame of this event comes. If it is one too many, what waits is `put` before it.
    pub(crate) fn pass(&self, event: &str, frame: Held, put: impl FnMut(Held)) -> Passed {
        if self.is_open() {
            return Passed::Open(frame);
        }
        let mut waiting = self.waiting();
        // It may have been opened just now, and then everything held is ahead of this frame already.
        if self.is_open() {
            return Passed::Open(frame);
        }
        let here = waiting.get_or_insert_default();
        if !here.holds(event) {
            return here.pass(frame);
        }
        if !here.for_after_join.is_full() {
            here.for_after_join.hold(frame);
            return Passed::Held;
        }
        if !here.is_answered {
            return Passed::Dropped;
        }
        self.open_with(waiting, put);
        Passed::Open(frame)
    }

    /// The join's answer is in the outbox: what came since the subscription follows it, but for what is held for longer.
    pub(crate) fn answered(&self, put: impl FnMut(Held)) {
        let mut waiting = self.waiting();
        match waiting.as_mut() {
            Some(here) if !here.events.is_empty() => {
                here.is_answered = true;
                let held = mem::take(&mut here.for_answer).frames;
                held.into_iter().for_each(put);
            }
            _ => self.open_with(waiting, put),
        }
    }

    /// What was put off is done: what was held for it follows.
    pub(crate) fn open(&self, put: impl FnMut(Held)) {
        self.open_with(self.waiting(), put);
    }

    fn open_with(
        &self,
        mut waiting: MutexGuard<'_, Option<Box<Waiting>>>,
        mut put: impl FnMut(Held),
    ) {
        if let Some(here) = waiting.take() {
            here.for_answer.frames.into_iter().for_each(&mut put);
            here.for_after_join.frames.into_iter().for_each(&mut put);
        }
        self.is_open.store(true, Ordering::Release);
    }

    /// Whether all that was held is in the outbox, and nothing is held any more.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Box<Waiting>>> {
        // What waits is whole whenever a panic could strike.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn holds(&self, event: &str) -> bool {
        self.events.iter().any(|held| *held == event)
    }

    /// A frame that waits for the answer alone.
    fn pass(&mut self, frame: Held) -> Passed {
        if self.is_answered {
            return Passed::Open(frame);
        }
        if self.for_answer.is_full() {
            return Passed::Dropped;
        }
        self.for_answer.hold(frame);
        Passed::Held
    }
}

impl Line {
    fn is_full(&self) -> bool {
        self.frames.len() >= MAX_HELD_FRAMES || self.bytes >= MAX_HELD_BYTES
    }

    fn hold(&mut self, frame: Held) {
        self.bytes += frame.frame.len().min(LARGE_FRAME_BYTES);
        self.frames.push(frame);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;

    fn frame(n: usize) -> Held {
        Held {
            frame: Frame::text(n.to_string()),
            when_slow: WhenSlow::Latest(n as u64),
        }
    }

    fn frames(numbers: impl IntoIterator<Item = usize>) -> Vec<Held> {
        numbers.into_iter().map(frame).collect()
    }

    /// One that holds `diff` and `late`.
    fn holding() -> Gate {
        Gate::new(vec!["diff".into(), "late".into()])
    }

    fn nothing_is_put(frame: Held) {
        panic!("{frame:?}");
    }

    fn pass(gate: &Gate, event: &str, n: usize) -> Passed {
        gate.pass(event, frame(n), nothing_is_put)
    }

    fn answered(gate: &Gate) -> Vec<Held> {
        let mut out = Vec::new();
        gate.answered(|frame| out.push(frame));
        out
    }

    fn opened(gate: &Gate) -> Vec<Held> {
        let mut out = Vec::new();
        gate.open(|frame| out.push(frame));
        out
    }

    #[test]
    fn held_frames_come_first_and_in_order() {
        let gate = Gate::new(Vec::new());
        for n in 0..3 {
            assert_eq!(pass(&gate, "diff", n), Passed::Held);
        }
        assert_eq!(answered(&gate), frames(0..3));
        assert_eq!(pass(&gate, "diff", 3), Passed::Open(frame(3)));
    }

    #[test]
    fn a_closed_gate_holds_so_many_frames_and_no_more() {
        for (gate, event) in [(Gate::new(Vec::new()), "any"), (holding(), "diff")] {
            for n in 0..MAX_HELD_FRAMES {
                assert_eq!(pass(&gate, event, n), Passed::Held);
            }
            for _ in 0..2 {
                let passed = pass(&gate, event, MAX_HELD_FRAMES);
                assert_eq!(passed, Passed::Dropped);
            }
            let mut out = answered(&gate);
            out.extend(opened(&gate));
            assert_eq!(out, frames(0..MAX_HELD_FRAMES));
        }
    }

    #[test]
    fn named_events_wait_on_in_order_while_others_pass() {
        let gate = holding();
        for (n, event) in ["other", "diff", "late", "other"].into_iter().enumerate() {
            assert_eq!(pass(&gate, event, n), Passed::Held);
        }
        assert_eq!(answered(&gate), frames([0, 3]));
        assert_eq!(pass(&gate, "other", 4), Passed::Open(frame(4)));
        assert_eq!(pass(&gate, "late", 5), Passed::Held);
        assert_eq!(pass(&gate, "diff", 6), Passed::Held);
        assert_eq!(opened(&gate), frames([1, 2, 5, 6]));
        for event in ["other", "diff", "late"] {
            assert_eq!(pass(&gate, event, 7), Passed::Open(frame(7)));
        }
        assert_eq!(opened(&gate), [], "once is all");
    }

    #[test]
    fn one_frame_too_many_lets_all_through_in_order_and_none_waits_any_longer() {
        let gate = holding();
        answered(&gate);
        for n in 0..MAX_HELD_FRAMES {
            assert_eq!(pass(&gate, "diff", n), Passed::Held);
        }
        let mut out = Vec::new();
        let last = gate.pass("diff", frame(MAX_HELD_FRAMES), |frame| out.push(frame));
        assert_eq!(last, Passed::Open(frame(MAX_HELD_FRAMES)));
        assert_eq!(out, frames(0..MAX_HELD_FRAMES));
        assert_eq!(pass(&gate, "late", 0), Passed::Open(frame(0)));
        assert_eq!(opened(&gate), []);
    }

    fn large(n: usize) -> Held {
        Held {
            frame: Frame::text(n.to_string().repeat(1_000_000)),
            when_slow: WhenSlow::Close,
        }
    }

    #[test]
    fn bytes_are_bounded_before_the_answer_too() {
        for (gate, event) in [(Gate::new(Vec::new()), "any"), (holding(), "diff")] {
            let fit = MAX_HELD_BYTES / LARGE_FRAME_BYTES;
            for n in 0..fit {
                assert_eq!(gate.pass(event, large(n), nothing_is_put), Passed::Held);
            }
            let passed = gate.pass(event, large(fit), nothing_is_put);
            assert_eq!(passed, Passed::Dropped);
            let count = answered(&gate).len() + opened(&gate).len();
            assert_eq!(count, fit);
        }
    }

    #[test]
    fn bytes_are_bounded_too_and_a_large_frame_counts_as_in_an_outbox() {
        let gate = holding();
        answered(&gate);
        let fit = MAX_HELD_BYTES / LARGE_FRAME_BYTES;
        for n in 0..fit {
            assert_eq!(gate.pass("diff", large(n), nothing_is_put), Passed::Held);
        }
        let mut out = Vec::new();
        let last = gate.pass("diff", large(fit), |frame| out.push(frame));
        assert_eq!(last, Passed::Open(large(fit)));
        assert_eq!(out.len(), fit);
    }

    #[test]
    fn an_open_gate_keeps_nothing() {
        let gate = holding();
        answered(&gate);
        pass(&gate, "diff", 0);
        opened(&gate);
        assert!(gate.waiting().is_none());
        let plain = Gate::new(Vec::new());
        answered(&plain);
        assert!(plain.waiting().is_none());
        assert!(size_of::<Gate>() <= 24, "{}", size_of::<Gate>());
    }

    /// Senders pass while somebody else answers and opens, or while one of them is too many: nothing is lost or comes twice, and
    /// each sender's frames of an event come in order.
    #[test]
    fn whatever_passes_while_it_opens_comes_once_and_in_order() {
        const SENDERS: usize = 3;
        const EACH: usize = 600;
        for round in 0..200 {
            let (gate, out) = (holding(), Mutex::new(Vec::new()));
            let (passed, dropped) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
            let is_answered = AtomicBool::new(false);
            let put = |frame: Held| out.lock().unwrap().push(frame.frame);
            let start = Barrier::new(SENDERS + 1);
            thread::scope(|scope| {
                for sender in 0..SENDERS {
                    let (gate, put, start, passed) = (&gate, &put, &start, &passed);
                    let (dropped, is_answered) = (&dropped, &is_answered);
                    scope.spawn(move || {
                        start.wait();
                        for n in 0..EACH {
                            passed.fetch_add(1, Ordering::Relaxed);
                            let event = if n % 3 == 0 { "other" } else { "diff" };
                            let was_answered = is_answered.load(Ordering::Acquire);
                            let text = Frame::text(format!("{sender} {event} {n}"));
                            let held = Held {
                                frame: text,
                                when_slow: WhenSlow::Close,
                            };
                            match gate.pass(event, held, put) {
                                Passed::Open(frame) => put(frame),
                                Passed::Held => {}
                                Passed::Dropped => {
                                    assert!(!was_answered, "{sender} {n}");
                                    dropped.lock().unwrap().push((sender, n));
                                }
                            }
                        }
                    });
                }
                start.wait();
                let wait_for = |count| {
                    while passed.load(Ordering::Relaxed) < count {
                        thread::yield_now();
                    }
                };
                // At last more have come than are held before the answer, or after it.
                wait_for(8 * round);
                gate.answered(put);
                is_answered.store(true, Ordering::Release);
                wait_for(8 * round);
                gate.open(put);
            });
            let (out, dropped) = (out.into_inner().unwrap(), dropped.into_inner().unwrap());
            for sender in 0..SENDERS {
                for event in ["other", "diff"] {
                    let prefix = format!("{sender} {event} ");
                    let got = out.iter().filter_map(|frame| match frame {
                        Frame::Text(text) => text.strip_prefix(&prefix)?.parse::<usize>().ok(),
                        Frame::Binary(_) => None,
                    });
                    let sent = (0..EACH).filter(|n| (n % 3 == 0) == (event == "other"));
                    let sent = sent.filter(|n| !dropped.contains(&(sender, *n)));
                    assert!(got.eq(sent), "{prefix}of round {round}");
                }
            }
        }
    }
}
