//! What a channel's task tells others: the session how the channel ended, and the log what went wrong.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytestring::ByteString;
use tokio::time::{Instant, timeout};
use tracing::Span;

use crate::config::REPLACED_CHANNEL_WAIT;
use crate::handling::{Broken, Callback, Handling};
use crate::inbox::InboxSender;
use crate::link::{Fate, Link};
use crate::log_lines::LogLines;
use crate::multiplexer::{End, InstanceId};
use crate::panics::Panic;
use crate::reply::Cause;
use crate::watch::Number;
use matryoshka_transport::excerpt;

/// Tells the session how the channel ended, and counts it out. Dropped without a word it says that it crashed.
pub(super) struct Notice {
    pub(super) link: Arc<Link>,
    pub(super) topic: ByteString,
    pub(super) id: InstanceId,
    pub(super) inbox: InboxSender,
    /// By which the watch knows it.
    pub(super) number: Number,
    /// Its join was accepted, and its end is not counted yet.
    pub(super) is_joined: bool,
    pub(super) is_told: bool,
    /// The channel's span, if anybody listens.
    pub(super) span: Option<Box<Span>>,
}

impl Notice {
    /// Runs one of the channel's callbacks, for as long as its connection is there and a little longer.
    pub(super) fn handling<'a, F: Future>(
        &'a self,
        callback: Callback,
        future: Pin<&'a mut F>,
    ) -> Handling<'a, F> {
        self.unbound(callback, future).bound_to(&self.inbox)
    }

    /// The same, whatever becomes of the connection.
    fn unbound<'a, F: Future>(
        &'a self,
        callback: Callback,
        future: Pin<&'a mut F>,
    ) -> Handling<'a, F> {
        Handling::new(
            future,
            callback,
            &self.link,
            &self.topic,
            self.number,
            self.span.as_deref(),
        )
    }

    /// Runs what a channel does at its end, for as long as that may take.
    pub(super) async fn last_words<F: Future<Output = ()>>(&self, future: Pin<&mut F>) {
        let limit = self.link.config.terminate_timeout;
        match timeout(limit, self.unbound(Callback::Terminate, future)).await {
            Ok(Ok(())) => {}
            Ok(Err(Broken::Panicked(panic))) => self.log_panic(Callback::Terminate, &panic),
            Ok(Err(Broken::CutOff)) | Err(_) => self.log_cut_off(Callback::Terminate),
        }
    }

    pub(super) fn log_cut_off(&self, callback: Callback) {
        let after = self.link.config.terminate_timeout;
        self.log_limit(callback, "SocketsConfig::terminate_timeout", after);
    }

    pub(super) fn log_overdue_leave(&self, callback: Callback) {
        self.log_limit(callback, "REPLACED_CHANNEL_WAIT", REPLACED_CHANNEL_WAIT);
    }

    fn log_limit(&self, callback: Callback, limit: &str, after: Duration) {
        if let Some(left_out) = self.lines().cut_off.pass_now() {
            tracing::warn!(
                topic = self.shown_topic(),
                callback = callback.name(),
                limit,
                ?after,
                left_out,
                "a channel's callback is cut off: its connection or its channel has ended, and it takes too long"
            );
        }
    }

    pub(super) fn log_join_crash(&self, error: &str) {
        if let Some(left_out) = self.lines().join_crashed.pass_now() {
            let topic = self.shown_topic();
            tracing::warn!(topic, error, left_out, "a join crashed");
        }
    }

    pub(super) fn log_panic(&self, callback: Callback, Panic { words, place }: &Panic) {
        if let Some(left_out) = self.lines().panicked.pass_now() {
            tracing::error!(
                topic = self.shown_topic(),
                callback = callback.name(),
                panic = words,
                at = place.as_deref(),
                left_out,
                "a channel panicked"
            );
        }
    }

    /// What is behind an answer that does not tell it.
    pub(super) fn log_cause(&self, cause: Option<Box<Cause>>) {
        let Some(cause) = cause else { return };
        let (topic, error) = (self.shown_topic(), cause.error);
        let what = cause.what;
        if cause.is_the_clients {
            if let Some(left_out) = self.lines().bad_token.pass_now() {
                tracing::info!(topic, error, left_out, "{what}");
            }
        } else if let Some(left_out) = self.lines().answered_error.pass_now() {
            tracing::warn!(topic, error, left_out, "{what}");
        }
    }

    pub(super) fn lines(&self) -> &LogLines {
        &self.link.counters.lines
    }

    pub(super) fn tell_now(&mut self, fate: Fate) {
        self.is_told = true;
        // In this order: no pusher comes after the word that the channel has ended.
        self.inbox.told();
        self.link.tell(&self.topic, self.id, fate);
    }

    pub(super) fn count_out(&mut self) {
        if std::mem::take(&mut self.is_joined) {
            self.link.counters.ended.add_one();
        }
    }

    /// The topic, for the log.
    pub(super) fn shown_topic(&self) -> &str {
        excerpt(&self.topic)
    }

    pub(super) fn tell_if_untold(&mut self, fate: Fate) {
        if !self.is_told {
            self.tell_now(fate);
        }
    }

    pub(super) fn tell(mut self, fate: Fate) {
        self.tell_now(fate);
    }

    /// Tells it once the client has read what it was sent before, or is gone, or the channel is closed from outside. Each looks and tells in
    /// one step: the answers to many joins at once close no connection whose client reads them.
    pub(super) async fn tell_when_room(mut self, mut fate: Fate) {
        while let Err(untold) = self.tell_if_room(fate) {
            fate = untold;
            self.room().await;
        }
        self.is_told = true;
    }

    /// Tells it where there is room, or none is waited for; else gives it back.
    pub(super) fn tell_if_room(&self, fate: Fate) -> Result<(), Fate> {
        if self.inbox.is_kicked() {
            self.link.tell(&self.topic, self.id, fate);
            return Ok(());
        }
        self.link.tell_if_room(&self.topic, self.id, fate)
    }

    /// Waits until the client has read what it was sent before, or is gone, or the channel is closed from outside.
    pub(super) async fn room(&self) {
        poll_fn(|cx| match self.link.outbox.poll_room(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => self.inbox.poll_kicked(cx),
        })
        .await;
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        self.count_out();
        // Of one that was ended from outside the session knows the moment.
        self.tell_if_untold(Fate::Ended {
            end: End::Error,
            at: Instant::now(),
        });
        self.link.watch.leave(self.number);
    }
}
