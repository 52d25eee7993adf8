//! What reaches a channel from elsewhere than its client: by mailboxes, timers and topics.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Socket;
use crate::Mailbox;
use crate::channel::HandleInfo;
use crate::inbox::Info;
use crate::mailbox::{InfoSink, info, shared_info};
use crate::pubsub::{Message, SubscribeError, TopicName};
use crate::timers::{Alarm, MIN_PERIOD, Timer, Timers, TooManyTimers};

impl Socket {
    /// A way to this channel's [`HandleInfo::handle_info`] for other tasks. `C` is the channel itself.
    ///
    /// # Panics
    /// If `C` is not this socket's channel.
    pub fn mailbox<C: HandleInfo<M>, M: Send + 'static>(&self) -> Mailbox<M> {
        self.expect_channel::<C>();
        Mailbox::new::<C>(self.inbox.clone())
    }

    /// Sends a message to this channel's [`HandleInfo::handle_info`], so much later. `C` is the channel itself. The timer ends with
    /// the channel; set in `join`, it runs from then on.
    ///
    /// Messages of timers do not wait in the inbox, and take turns with what does.
    ///
    /// # Errors
    /// [`TooManyTimers`] if the channel has [`MAX_TIMERS`](crate::MAX_TIMERS) already.
    ///
    /// # Panics
    /// If `C` is not this socket's channel.
    pub fn send_after<C, M>(&mut self, after: Duration, message: M) -> Result<Timer, TooManyTimers>
    where
        C: HandleInfo<M>,
        M: Send + 'static,
    {
        self.expect_channel::<C>();
        let alarm = Alarm::Once(info::<C, M>(message));
        self.timers_mut().set(after, alarm)
    }

    /// As [`send_after`](Self::send_after), and again and again after as long a time, at least
    /// [`MIN_PERIOD`](crate::MIN_PERIOD). What a channel is too busy for is left out.
    ///
    /// # Errors
    /// As [`send_after`](Self::send_after).
    ///
    /// # Panics
    /// As [`send_after`](Self::send_after).
    pub fn send_every<C, M>(&mut self, period: Duration, message: M) -> Result<Timer, TooManyTimers>
    where
        C: HandleInfo<M>,
        M: Clone + Send + Sync + 'static,
    {
        self.expect_channel::<C>();
        let period = period.max(MIN_PERIOD);
        let message = Arc::new(message);
        let again = move || shared_info::<C, M>(Arc::clone(&message));
        let alarm = Alarm::Every(period, Box::new(again));
        self.timers_mut().set(period, alarm)
    }

    /// Takes a timer back. Tells whether it was still to come.
    pub fn cancel(&mut self, timer: Timer) -> bool {
        let put_off = self.put_off_mut().as_mut();
        put_off.is_some_and(|put_off| put_off.timers.cancel(timer))
    }

    fn timers_mut(&mut self) -> &mut Timers {
        &mut self.put_off_mut().get_or_insert_default().timers
    }

    /// Subscribes this channel to a topic of any kind: its messages come to `handle_info`. `C` is the channel itself.
    ///
    /// The channel's own topic is subscribed already, for the client; subscribed once more, its broadcasts come to
    /// `handle_out` as well, and reach the client twice unless that swallows them.
    ///
    /// # Errors
    /// [`SubscribeError`] if the topic's name is too long.
    ///
    /// # Panics
    /// If `C` is not this socket's channel.
    pub fn subscribe<C: HandleInfo<Message>>(
        &mut self,
        topic: impl Into<TopicName>,
    ) -> Result<(), SubscribeError> {
        self.expect_channel::<C>();
        let topic = topic.into();
        let sink = InfoSink::new::<C>(self.inbox.clone(), topic == self.topic);
        self.subscriptions
            .push(self.publisher.subscribe_sink(topic, Arc::new(sink))?);
        Ok(())
    }

    /// Ends what [`subscribe`](Self::subscribe) began for that topic.
    pub fn unsubscribe(&mut self, topic: &str) {
        self.subscriptions
            .retain(|subscription| subscription.topic() != topic);
    }

    /// The message of a timer that is due. Pending without any timer, too.
    pub(crate) fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Info> {
        match self.put_off_mut() {
            Some(put_off) => put_off.timers.poll_due(cx),
            None => Poll::Pending,
        }
    }
}
