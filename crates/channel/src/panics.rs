//! What is known of a panic in a user's code: its words, and where it happened.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Whether this thread runs a callback, whose panic will be logged where it ends.
    static RUNS_CALLBACK: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Has the panic of a channel take one line of the log, with its place, instead of two: that of the program's panic hook, which does
/// not know the topic, and that of the channel, which does not know the place.
///
/// It wraps the panic hook there is, which is still called for every other panic, and for a channel's too where backtraces are asked
/// for (`RUST_BACKTRACE`). The hook belongs to the whole process, so this is left to the program: call it once, at the start of `main`.
pub fn log_panics() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !RUNS_CALLBACK.get() {
            return others(info);
        }
        let place = info.location().map(ToString::to_string);
        PLACE.with_borrow_mut(|last| *last = place);
        if Backtrace::capture().status() == BacktraceStatus::Captured {
            others(info);
        }
    }));
}

/// A panic that was caught.
pub(crate) struct Panic {
    pub(crate) words: String,
    /// Known after [`log_panics`].
    pub(crate) place: Option<String>,
}

/// Runs a user's code, whose panic is the end of its channel and of nothing else.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, Panic> {
    // Callbacks may run others within themselves, as a sink does.
    let outer = RUNS_CALLBACK.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    RUNS_CALLBACK.set(outer);
    outcome.map_err(|panic| Panic {
        words: words(&*panic),
        place: PLACE.with_borrow_mut(Option::take),
    })
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a value that is no text").to_owned()
}
