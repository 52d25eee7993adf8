//! A user's callback at work: what it costs is counted, what blocks is told, its panic ends with it, and it ends with its connection.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};
use tracing::Span;

use crate::inbox::InboxSender;
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

/// Why a callback did not come to its own end.
pub(crate) enum Broken {
    Panicked(Panic),
    /// Its connection has ended, and its time is over.
    CutOff,
}

/// One call of a callback. Ready with what it answers, or with why it answers nothing.
pub(crate) struct Handling<'a, F> {
    future: Pin<&'a mut F>,
    callback: Callback,
    link: &'a Link,
    topic: &'a str,
    number: Number,
    span: Option<&'a Span>,
    /// Its name, where it is for one.
    event: Option<&'a str>,
    /// Of the channel with whose connection it ends.
    inbox: Option<&'a InboxSender>,
    /// Ends when it has to. Boxed, since connections mostly outlive it.
    grace: Option<Pin<Box<Sleep>>>,
    /// When it was first polled, once it has waited.
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
            event: None,
            inbox: None,
            grace: None,
            began: None,
        }
    }

    /// For as long as the connection of this inbox is there, and a little longer.
    pub(crate) fn bound_to(mut self, inbox: &'a InboxSender) -> Self {
        self.inbox = Some(inbox);
        self
    }

    /// Ready when it may wait no longer.
    fn poll_cut_off(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(inbox) = self.inbox else {
            return Poll::Pending;
        };
        let grace = match &mut self.grace {
            Some(grace) => grace,
            grace @ None => {
                let deadline = ready!(inbox.poll_gone(cx));
                grace.insert(Box::pin(sleep_until(deadline)))
            }
        };
        grace.as_mut().poll(cx)
    }

    /// It is for that event.
    pub(crate) fn of(mut self, event: Option<&'a str>) -> Self {
        self.event = event;
        self
    }

    /// Within that span instead of the channel's.
    pub(crate) fn within(mut self, span: &'a Span) -> Self {
        self.span = Some(span);
        self
    }
}

impl<F: Future> Future for Handling<'_, F> {
    type Output = Result<F::Output, Broken>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let start = Instant::now();
        let (watch, event) = (&self.link.watch, self.event);
        let run = watch.run(self.number, self.callback, event, start);
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
            run.tell(self.topic, self.callback, event, took);
        }
        let outcome = match polled {
            Ok(Poll::Pending) => {
                self.began.get_or_insert(start);
                ready!(self.poll_cut_off(cx));
                Err(Broken::CutOff)
            }
            Ok(Poll::Ready(outcome)) => Ok(outcome),
            Err(panic) => Err(Broken::Panicked(panic)),
        };
        let took = self.began.map_or(took, |began| end - began);
        self.link.counters.handler_time.add(took);
        Poll::Ready(outcome)
    }
}
