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
        hear_all();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let collector = Collector(Some(Arc::clone(&lines)));
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

/// Whether a line is wanted at all is asked where it is logged first, and then holds for all threads: where another test's thread is the first,
/// which collects nothing, what is logged later would not be collected either. So each thread wants all lines from before its test logs any; one that
/// does not collect them drops them.
pub fn hear_all() {
    // It is there already, unless this test is the first.
    let _ = tracing::subscriber::set_global_default(Collector(None));
}

struct Collector(Option<Arc<Mutex<Vec<String>>>>);

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let Some(lines) = &self.0 else { return };
        let mut line = Line(String::new());
        event.record(&mut line);
        lines.lock().unwrap().push(line.0);
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

fn say() {
    tracing::warn!("said");
}

/// Who logs a line first has it asked once for all threads whether anybody wants it.
#[test]
fn a_line_is_collected_that_a_thread_has_logged_before_whose_lines_nobody_collects() {
    let lines = Lines::collect();
    std::thread::spawn(say).join().unwrap();
    say();
    assert_eq!(lines.take().len(), 1);
}
