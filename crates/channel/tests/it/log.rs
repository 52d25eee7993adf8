//! Collects what is logged in one test's thread: warnings and errors, or more.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber};

/// The lines so far; collecting ends when it is dropped.
pub(crate) struct Lines {
    log: Log,
    _guard: DefaultGuard,
}

impl Lines {
    /// Collects from now on, in tests on a single thread.
    pub(crate) fn collect() -> Self {
        Self::down_to(Level::WARN)
    }

    /// The same, with lines of this level too.
    pub(crate) fn down_to(level: Level) -> Self {
        let log = Log::default();
        let collector = Collector {
            level,
            log: log.clone(),
        };
        Self {
            log,
            _guard: tracing::subscriber::set_default(collector),
        }
    }

    /// Takes the lines so far, as `LEVEL field=value ..`.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.log.0.lines.lock().unwrap())
    }

    /// The same without those on callbacks that kept their thread, which a busy machine may have to tell of any: to write down where it
    /// panicked takes long.
    pub(crate) fn take_timeless(&self) -> Vec<String> {
        let mut lines = self.take();
        lines.retain(|line| !line.contains(" its thread"));
        lines
    }

    /// The log, for other threads, or for the callbacks of channels.
    pub(crate) fn log(&self) -> Log {
        self.log.clone()
    }
}

/// What has been logged.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Logged>);

#[derive(Default)]
struct Logged {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Log {
    /// Keeps the thread until there is a line with these words.
    ///
    /// # Panics
    /// If there is none within ten seconds.
    pub(crate) fn wait_for(&self, words: &str) {
        let lines = self.0.lines.lock().unwrap();
        let is_missing = |lines: &mut Vec<String>| !lines.iter().any(|line| line.contains(words));
        let deadline = Duration::from_secs(10);
        let waited = self.0.more.wait_timeout_while(lines, deadline, is_missing);
        let (lines, waited) = waited.unwrap();
        let missed = waited.timed_out().then(|| lines.clone());
        drop(lines);
        assert_eq!(missed, None, "no line {words:?}");
    }

    fn add(&self, line: String) {
        self.0.lines.lock().unwrap().push(line);
        self.0.more.notify_all();
    }
}

struct Collector {
    level: Level,
    log: Log,
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.log.add(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}
