//! A user's callback at work: what it costs is counted, what blocks is told, and its panic ends with it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tracing::Span;

use crate::link::Link;
use crate::panics::{Panic, caught};
use crate::watch::Number;

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
    /// All, in the order of their declaration.
    pub(crate) const ALL: [Self; 7] = [
        Self::Join,
        Self::AfterJoin,
        Self::HandleIn,
        Self::HandleOut,
        Self::HandleInfo,
        Self::HandleLagged,
        Self::Terminate,
    ];

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
    number: Number,
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
        number: Number,
        span: Option<&'a Span>,
    ) -> Self {
        Self {
            future,
            callback,
            link,
            topic,
            number,
            span,
            began: None,
        }
    }

    /// Within that span instead.
    pub(crate) fn within(mut self, span: &'a Span) -> Self {
        self.span = Some(span);
        self
    }
}

impl<F: Future> Future for Handling<'_, F> {
    type Output = Result<F::Output, Panic>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let start = Instant::now();
        let began = *self.began.get_or_insert(start);
        let run = self.link.watch.run(self.number, self.callback, start);
        let polled = {
            let _entered = self.span.map(Span::enter);
            let future = self.future.as_mut();
            caught(|| future.poll(cx))
        };
        run.end();
        let end = Instant::now();
        let took = end - start;
        // A callback that awaits gives its thread back; one that computes, or waits in another way, does not. A panic's own report may
        // take longer than any handler, and is a line of its own.
        if took >= self.link.watch.limit() && polled.is_ok() {
            run.tell(self.topic, self.callback, took);
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
