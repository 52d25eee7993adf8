//! A user's callback at work: what it costs is counted, what blocks is told, and its panic ends with it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tracing::Span;

use crate::excerpt::excerpt;
use crate::link::Link;
use crate::panics::{Panic, caught};

/// Which callback it is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callback {
    Join,
    AfterJoin,
    HandleIn,
    HandleOut,
    HandleInfo,
    HandleLagged,
    Terminate,
}

impl Callback {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::AfterJoin => "after_join",
            Self::HandleIn => "handle_in",
            Self::HandleOut => "handle_out",
            Self::HandleInfo => "handle_info",
            Self::HandleLagged => "handle_lagged",
            Self::Terminate => "terminate",
        }
    }
}

/// One call of a callback. Ready with what it answers, or with its panic.
pub(crate) struct Handling<'a, F> {
    future: Pin<&'a mut F>,
    callback: Callback,
    link: &'a Link,
    topic: &'a str,
    span: Option<&'a Span>,
    /// When it was first polled.
    began: Option<Instant>,
}

impl<'a, F: Future> Handling<'a, F> {
    pub(crate) fn new(
        future: Pin<&'a mut F>,
        callback: Callback,
        link: &'a Link,
        topic: &'a str,
        span: Option<&'a Span>,
    ) -> Self {
        Self {
            future,
            callback,
            link,
            topic,
            span,
            began: None,
        }
    }

    /// Within that span instead.
    pub(crate) fn within(mut self, span: &'a Span) -> Self {
        self.span = Some(span);
        self
    }

    /// A callback that awaits gives its thread back; one that computes, or waits in another way, does not.
    fn warn_if_blocking(&self, took: Duration) {
        if took < self.link.blocking {
            return;
        }
        self.link.counters.blocking.add_one();
        let (topic, callback) = (excerpt(self.topic), self.callback.name());
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            topic,
            callback,
            ms,
            "a channel blocked its thread: nothing else ran on it meanwhile; await instead, or use spawn_blocking"
        );
    }
}

impl<F: Future> Future for Handling<'_, F> {
    type Output = Result<F::Output, Panic>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let start = Instant::now();
        let began = *self.began.get_or_insert(start);
        let polled = {
            let _entered = self.span.map(Span::enter);
            let future = self.future.as_mut();
            caught(|| future.poll(cx))
        };
        let end = Instant::now();
        // A panic's own report may take longer than any handler, and is a line of its own.
        if polled.is_ok() {
            self.warn_if_blocking(end - start);
        }
        let outcome = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(outcome)) => Ok(outcome),
            Err(panic) => Err(panic),
        };
        self.link.counters.handler_time.add(end - began);
        Poll::Ready(outcome)
    }
}
