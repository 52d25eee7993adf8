//! Collects what is logged in one test's thread: warnings and errors.

use std::{
    fmt::{Debug, Write},
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};

/// The lines so far; collecting ends when it is dropped.
pub struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    _guard: DefaultGuard,
}

impl Lines {
    /// Collects from now on, in tests on a single thread.
    pub fn collect() -> Self {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let collector = Collector(Arc::clone(&lines));
        Self {
            lines,
            _guard: tracing::subscriber::set_default(collector),
        }
    }

    /// Takes the lines so far, as `field=value ..`.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

struct Collector(Arc<Mutex<Vec<String>>>);

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
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
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}
