//! Callbacks that keep their thread, told while they still do: one that never gives it back would never be named else.
//!
//! Each thread that runs callbacks has a mark, which says whose callback it runs and since when, and a thread of the watch's own looks at
//! all marks every so often. For a callback that is a few plain writes, where nobody else writes.

mod event_mark;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytestring::ByteString;
use slab::Slab;
use thread_local::ThreadLocal;
use tracing::Dispatch;
use tracing::dispatcher::{get_default, with_default};
use tracing::subscriber::NoSubscriber;

use crate::handling::Callback;
use crate::stats::Counters;
use event_mark::EventMark;
use matryoshka_transport::excerpt;

/// How often the watch looks at least, however high its limit is.
const LONGEST_PERIOD: Duration = Duration::from_secs(1);

/// A limit beyond what a mark can tell, 24 days, is none.
const LONGEST_LIMIT: Duration = Duration::from_millis(i32::MAX as u64);

/// How often it looks at most, however low its limit is.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);

/// Looks after the callbacks of one mount's channels. Its thread starts with the first channel and ends with the watch.
pub(crate) struct Watch {
    board: Arc<Board>,
}

impl Watch {
    /// One that tells of callbacks which keep their thread for so long.
    pub(crate) fn new(limit: Duration, counters: &Arc<Counters>) -> Self {
        let board = Board {
            limit,
            start: Instant::now(),
            counters: Arc::clone(counters),
            marks: ThreadLocal::new(),
            roster: Mutex::default(),
            is_over: AtomicBool::new(false),
        };
        Self {
            board: Arc::new(board),
        }
    }

    pub(crate) fn limit(&self) -> Duration {
        self.board.limit
    }

    /// Gives a channel a number, until it [leaves](Self::leave).
    pub(crate) fn enter(&self, topic: &ByteString) -> Number {
        let mut roster = self.board.roster();
        if !roster.is_watched {
            roster.is_watched = true;
            roster.watcher = self.board.start_watcher();
        }
        Number(roster.topics.insert(topic.clone()) as u32)
    }

    /// The channel runs no callback any more.
    pub(crate) fn leave(&self, Number(number): Number) {
        let mut roster = self.board.roster();
        let topic = roster.topics.try_remove(number as usize);
        if roster.topics.is_empty() {
            roster.topics = Slab::new();
        }
        drop(roster);
        drop(topic);
    }

    /// Says that this thread runs a callback from now on, for that event perhaps.
    pub(crate) fn run(
        &self,
        Number(number): Number,
        callback: Callback,
        event: Option<&str>,
        now: Instant,
    ) -> Run<'_> {
        let mark = self.board.marks.get_or(Mark::default);
        let word = Word {
            since: self.board.ms(now),
            number,
            callback,
        };
        let (word, outer) = (word.pack(), mark.outer());
        mark.set(word, event);
        Run {
            board: &self.board,
            mark,
            word,
            outer,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.board.is_over.store(true, Ordering::Release);
        if let Some(watcher) = &self.board.roster().watcher {
            watcher.thread().unpark();
        }
    }
}

/// A channel, on the roster of its watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(u32);

/// A callback at work on this thread.
#[must_use]
pub(crate) struct Run<'a> {
    board: &'a Board,
    mark: &'a Mark,
    word: u64,
    outer: Option<Outer>,
}

/// What a thread ran before: a callback may run another one within itself.
struct Outer {
    word: u64,
    event: Option<String>,
}

impl Run<'_> {
    /// It has given the thread back.
    pub(crate) fn end(&self) {
        match &self.outer {
            None => self.mark.word.store(0, Ordering::Relaxed),
            Some(Outer { word, event }) => self.mark.set(*word, event.as_deref()),
        }
    }

    /// It had the thread for too long, for that event perhaps.
    pub(crate) fn tell(
        &self,
        topic: &str,
        callback: Callback,
        event: Option<&str>,
        took: Duration,
    ) {
        let (topic, callback, event) = (excerpt(topic), callback.name(), event.map(excerpt));
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if self.mark.claim(self.word) {
            self.board.counters.blocking.add_one();
            tracing::warn!(
                topic,
                callback,
                event,
                ms,
                "a channel blocked its thread: nothing else ran on it meanwhile; await instead, or use spawn_blocking"
            );
        } else {
            tracing::info!(
                topic,
                callback,
                event,
                ms,
                "a channel that blocked its thread has given it back"
            );
        }
    }
}

/// What the callbacks' threads and the watch's own share.
struct Board {
    limit: Duration,
    /// From when the marks count.
    start: Instant,
    counters: Arc<Counters>,
    marks: ThreadLocal<Mark>,
    roster: Mutex<Roster>,
    is_over: AtomicBool,
}

/// The channels by their numbers.
#[derive(Default)]
struct Roster {
    topics: Slab<ByteString>,
    is_watched: bool,
    /// None also where the system refused one.
    watcher: Option<JoinHandle<()>>,
}

impl Board {
    fn roster(&self) -> MutexGuard<'_, Roster> {
        // Nothing panics while it is locked.
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the start, from nought again after 49 days.
    fn ms(&self, at: Instant) -> u32 {
        at.saturating_duration_since(self.start).as_millis() as u32
    }

    fn start_watcher(self: &Arc<Self>) -> Option<JoinHandle<()>> {
        if self.limit > LONGEST_LIMIT {
            return None;
        }
        let board = Arc::clone(self);
        // Its lines go where those of this channel go.
        let lines = get_default(Dispatch::clone);
        let watcher = thread::Builder::new().name("channel-watch".to_owned());
        let started = watcher.spawn(move || board.watch(&lines));
        started
            .inspect_err(|error: &io::Error| {
                tracing::warn!(
                    %error,
                    "no thread could be started: a callback that never gives its thread back will not be named"
                );
            })
            .ok()
    }

    /// Looks until the watch is over.
    fn watch(&self, lines: &Dispatch) {
        let period = self.limit.clamp(SHORTEST_PERIOD, LONGEST_PERIOD);
        while !self.is_over.load(Ordering::Acquire) {
            thread::park_timeout(period);
            // The panic of whoever collects lines is not the end of the watch.
            let _ = catch_unwind(AssertUnwindSafe(|| self.look(Instant::now(), lines)));
        }
    }

    fn look(&self, now: Instant, lines: &Dispatch) {
        let now = self.ms(now);
        for mark in self.marks.iter() {
            let word = mark.word.load(Ordering::Acquire);
            let Some(running) = Word::unpack(word) else {
                continue;
            };
            // One that has begun since then has had it for less than nothing.
            let ms = now.wrapping_sub(running.since).cast_signed();
            let ms = u64::try_from(ms).unwrap_or(0);
            // Both times have lost what is less than a millisecond.
            if Duration::from_millis(ms) <= self.limit {
                continue;
            }
            let topic = self.roster().topics.get(running.number as usize).cloned();
            let event = mark.event.read();
            // The number is the channel's, and the event the call's, for as long as it runs.
            if let Some(topic) = topic
                && mark.still_says(word)
                && mark.claim(word)
            {
                self.counters.blocking.add_one();
                within(lines, || running.tell(&topic, event.as_deref(), ms));
            }
        }
    }
}

/// Logs to that collector, and where there was none, to the one that the program may have installed since.
fn within(lines: &Dispatch, log: impl FnOnce()) {
    match lines.is::<NoSubscriber>() {
        true => log(),
        false => with_default(lines, log),
    }
}

/// What one thread runs. On lines of the cache by itself, since each callback writes it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Mark {
    /// A packed [`Word`], or 0.
    word: AtomicU64,
    /// The last that was told of.
    told: AtomicU64,
    /// The event's name, as long as the word is there.
    event: EventMark,
}

impl Mark {
    /// Its own thread begins that call.
    fn set(&self, word: u64, event: Option<&str>) {
        // Whoever reads any of the new name does not find the old word after it.
        self.word.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        self.event.write(event);
        self.word.store(word, Ordering::Release);
    }

    /// What its own thread is about to leave for another call.
    fn outer(&self) -> Option<Outer> {
        let word = self.word.load(Ordering::Relaxed);
        (word != 0).then(|| Outer {
            word,
            event: self.event.read(),
        })
    }

    /// Whether the call has gone on since its word was read, so that what was read after that is the call's.
    fn still_says(&self, word: u64) -> bool {
        fence(Ordering::Acquire);
        self.word.load(Ordering::Relaxed) == word
    }

    /// Whether it is for the caller to tell of that callback: each is told of once.
    fn claim(&self, word: u64) -> bool {
        self.told.swap(word, Ordering::Relaxed) != word
    }
}

/// One call of a callback, as it stands in a mark: written and read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    /// When it got the thread, in the board's milliseconds.
    since: u32,
    number: u32,
    callback: Callback,
}

/// How many bits say which callback it is.
const CALLBACK_BITS: u32 = 3;

impl Word {
    /// Never 0.
    fn pack(self) -> u64 {
        let low = self.number << CALLBACK_BITS | (self.callback as u32 + 1);
        u64::from(self.since) << 32 | u64::from(low)
    }

    fn unpack(word: u64) -> Option<Self> {
        let low = word as u32;
        let callback = (low % (1 << CALLBACK_BITS)).checked_sub(1)?;
        Some(Self {
            since: (word >> 32) as u32,
            number: low >> CALLBACK_BITS,
            callback: *Callback::ALL.get(callback as usize)?,
        })
    }

    fn tell(self, topic: &str, event: Option<&str>, ms: u64) {
        let (topic, callback) = (excerpt(topic), self.callback.name());
        tracing::warn!(
            topic,
            callback,
            event,
            ms,
            "a channel blocks its thread: nothing else runs on it meanwhile; await instead, or use spawn_blocking"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So long that nothing is told but by the looks of a test.
    const LIMIT: Duration = Duration::from_secs(1000);
    /// Later than it by as little as a mark can tell.
    const LATE: Duration = Duration::from_millis(1_000_001);

    struct Test {
        watch: Watch,
        counters: Arc<Counters>,
    }

    impl Test {
        fn new() -> Self {
            let counters = Arc::<Counters>::default();
            let watch = Watch::new(LIMIT, &counters);
            Self { watch, counters }
        }

        fn enter(&self, topic: &'static str) -> Number {
            self.watch.enter(&ByteString::from_static(topic))
        }

        /// So long after the start.
        fn at(&self, after: Duration) -> Instant {
            self.watch.board.start + after
        }

        /// How many have been told of, after a look at that time.
        fn told(&self, after: Duration) -> u64 {
            let lines = Dispatch::none();
            self.watch.board.look(self.at(after), &lines);
            self.counters.snapshot().blocking
        }
    }

    #[test]
    fn a_call_is_told_of_once() {
        let test = Test::new();
        let number = test.enter("room:1");
        let start = test.at(Duration::ZERO);
        let run = test.watch.run(number, Callback::HandleIn, None, start);
        assert_eq!(test.told(LIMIT), 0);
        assert_eq!(test.told(LATE), 1);
        assert_eq!(test.told(2 * LIMIT), 1);
        run.end();
        run.tell("room:1", Callback::HandleIn, None, 2 * LIMIT);
        assert_eq!(test.told(3 * LIMIT), 1);
        // The next one tells of itself.
        let start = test.at(LIMIT);
        let run = test.watch.run(number, Callback::HandleIn, None, start);
        run.end();
        run.tell("room:1", Callback::HandleIn, None, LIMIT);
        assert_eq!(test.told(3 * LIMIT), 2);
    }

    /// Else its callback, which measures exactly, would not say that it is over, and for which event it was.
    #[test]
    fn a_call_that_begins_within_a_millisecond_is_not_told_of_too_early() {
        let test = Test::new();
        let number = test.enter("room:1");
        let late = test.at(Duration::from_micros(900));
        let run = test.watch.run(number, Callback::HandleIn, None, late);
        assert_eq!(test.told(LIMIT + Duration::from_micros(100)), 0);
        run.end();
    }

    /// Which a look may see, having looked at the clock before.
    #[test]
    fn a_call_that_has_just_begun_is_not_told_of() {
        let test = Test::new();
        let number = test.enter("room:1");
        let begin = test.at(Duration::from_millis(1));
        let run = test.watch.run(number, Callback::Join, None, begin);
        assert_eq!(test.told(Duration::ZERO), 0);
        run.end();
    }

    #[test]
    fn a_call_within_a_call_gives_the_mark_back() {
        let test = Test::new();
        let [outer, inner] = ["room:1", "room:2"].map(|topic| test.enter(topic));
        let start = test.at(Duration::ZERO);
        let (watch, event) = (&test.watch, Some("say"));
        let outer = watch.run(outer, Callback::HandleIn, event, start);
        let inner = watch.run(inner, Callback::Join, None, start);
        let marked = || outer.mark.event.read();
        assert_eq!((test.told(LATE), marked()), (1, None));
        inner.end();
        assert_eq!((test.told(LATE), marked().as_deref()), (2, event));
        outer.end();
        assert_eq!(test.told(2 * LIMIT), 2);
    }

    /// Whoever looks does so while calls come and go.
    #[test]
    fn an_event_that_is_read_is_that_of_the_call_it_was_read_for() {
        const CALLS: u64 = 200_000;
        let name = |call: u64| call.to_string().repeat(1 + call as usize % 9);
        let mark = Mark::default();
        thread::scope(|scope| {
            scope.spawn(|| {
                for call in 1..=CALLS {
                    mark.set(call, Some(&name(call)));
                }
            });
            let mut call = 0;
            while call < CALLS {
                call = mark.word.load(Ordering::Acquire);
                let event = mark.event.read();
                if call != 0 && mark.still_says(call) {
                    assert_eq!(event, Some(name(call)));
                }
            }
        });
    }

    #[test]
    fn a_channel_that_has_left_gives_its_number_to_the_next() {
        let test = Test::new();
        let [one, two] = ["room:1", "room:2"].map(|topic| test.enter(topic));
        assert_ne!(one, two);
        test.watch.leave(one);
        assert_eq!(test.enter("room:3"), one);
        test.watch.leave(one);
        test.watch.leave(two);
        let roster = test.watch.board.roster();
        assert_eq!(roster.topics.capacity(), 0);
    }

    #[test]
    fn a_mark_says_all_of_a_call() {
        for callback in Callback::ALL {
            let word = Word {
                since: u32::MAX,
                number: (1 << 29) - 1,
                callback,
            };
            assert_eq!(Word::unpack(word.pack()), Some(word));
            let word = Word {
                since: 0,
                number: 0,
                callback,
            };
            assert_eq!(Word::unpack(word.pack()), Some(word));
        }
        assert_eq!(Word::unpack(0), None);
    }

    #[test]
    fn its_thread_starts_with_the_first_channel_and_ends_with_the_watch() {
        let test = Test::new();
        assert!(!test.watch.board.roster().is_watched);
        test.enter("room:1");
        let watcher = test.watch.board.roster().watcher.take();
        let watcher = watcher.expect("a thread");
        drop(test.watch);
        watcher.join().expect("it ends in order");
    }
}
