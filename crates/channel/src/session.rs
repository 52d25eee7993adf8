//! One client's session: frames to the multiplexer, and the multiplexer's effects to channels and client.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, Sleep, sleep};
use tracing::Span;

use crate::assigns::Assigns;
use crate::channel::Terminated;
use crate::endpoint::Endpoint;
use crate::inbox::{InboxSender, bytes_of, inbox};
use crate::link::{Fate, Letter, Link, Mail, News};
use crate::multiplexer::{
    Effect, InstanceId, JoinLimits, Limit, Multiplexer, Request, Start, Wait,
};
use crate::order::Order;
use crate::pubsub::SinkSubscription;
use crate::server::{Replaced, Route, Seat};
use crate::timers::later;
use crate::transport::{
    Bucket, Close, CloseCode, CloseReason, Frame, Output, ServerMessage, Session,
};
use crate::wire;
use matryoshka_transport::excerpt;

type Effects = Vec<Effect<Arc<dyn Route>>>;

/// The session of one client: its channels, by topic. Made by [`Sockets`](crate::Sockets).
///
/// Nothing in it waits for a channel. Only when a channel's inbox is full does it stop reading, until there is room.
pub struct SocketSession {
    link: Arc<Link>,
    endpoint: Endpoint,
    assigns: Assigns,
    multiplexer: Multiplexer,
    /// In the order of their ids, which is that of their joins.
    channels: Vec<(InstanceId, Running)>,
    /// What did not fit into a channel's inbox. Boxed, since it hardly ever is there.
    stalled: Option<Box<(InstanceId, Request)>>,
    /// Until when nothing may be read for the channels' sake, and what they held when that time began. Boxed as well.
    patience: Option<(Pin<Box<Sleep>>, usize)>,
    joins: Bucket,
    /// Listens for orders to disconnect.
    _by_id: Option<SinkSubscription>,
}

/// A channel's task, from outside.
struct Running {
    inbox: InboxSender,
    task: Task,
}

enum Task {
    Own(JoinHandle<()>),
    /// The channel that replaces it waits for its end.
    Awaited(AbortHandle),
}

impl SocketSession {
    pub(crate) fn new(
        endpoint: Endpoint,
        link: Arc<Link>,
        assigns: Assigns,
        by_id: Option<SinkSubscription>,
    ) -> Self {
        let multiplexer = Multiplexer::new(JoinLimits {
            max_channels: endpoint.config().max_channels,
            topic_bytes: link.pubsub.limits().topic_bytes(),
        });
        let (channels, stalled) = (Vec::new(), None);
        Self {
            link,
            endpoint,
            assigns,
            multiplexer,
            channels,
            stalled,
            patience: None,
            joins: Bucket::full(Instant::now().into_std()),
            _by_id: by_id,
        }
    }

    fn apply(&mut self, effects: Effects, out: &mut Output) -> Result<(), Close> {
        for effect in effects {
            match effect {
                Effect::Send(message) => self.send(&message, out)?,
                Effect::Start(start) => self.start(start),
                Effect::Deliver(id, request) => self.deliver(id, request),
                Effect::Supersede(id) => {
                    if let Some(channel) = self.find(id) {
                        channel.inbox.supersede();
                    }
                }
                Effect::Abort(id) => {
                    if let Some(channel) = self.take(id) {
                        channel.task.abort();
                    }
                }
                Effect::Dismiss(id) => {
                    if let Some(channel) = self.take(id) {
                        channel.inbox.dismiss();
                    }
                }
                Effect::Hasten(id) => {
                    if let Some(channel) = self.find(id) {
                        channel.inbox.hasten();
                    }
                }
                Effect::Forget(id) => drop(self.take(id)),
                Effect::Report(topic, limit) => self.report(&topic, limit),
            }
        }
        Ok(())
    }

    /// Everything that is sent from here is JSON, or was tried before: it fits.
    fn send(&self, message: &ServerMessage, out: &mut Output) -> Result<(), Close> {
        match self.link.serializer.encode(message) {
            Ok(frame) => {
                out.frame(frame);
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "a socket is closed: an answer does not fit its version of the wire");
                Err(Close::new(CloseCode::INTERNAL))
            }
        }
    }

    fn start(&mut self, start: Start<Arc<dyn Route>>) {
        let Start {
            id,
            topic,
            refs,
            reference,
            route,
            payload,
            after,
            earlier_ended,
        } = start;
        let (inbox, receiver) = inbox(&self.link, payload.len());
        // One that ended by itself may not have been heard of yet.
        let ended_at = after.and_then(|(old, _)| self.find(old)?.inbox.ended_at());
        let earlier_ended = earlier_ended.map(|told| {
            let told = Instant::from_std(told);
            ended_at.map_or(told, |at| at.min(told))
        });
        let replaces = after.and_then(|(old, wait)| self.lend(old, wait));
        let task = route.spawn(Seat {
            link: Arc::clone(&self.link),
            id,
            topic,
            refs,
            reference,
            payload,
            assigns: self.assigns.clone(),
            inbox: (inbox.clone(), receiver),
            replaces,
            earlier_ended,
        });
        if self.channels.is_empty() {
            // Most have one for good, and a list that grows by itself takes room for four.
            self.channels.reserve_exact(1);
        }
        self.channels.push((
            id,
            Running {
                inbox,
                task: Task::Own(task),
            },
        ));
    }

    /// Gives the end of a channel's task away to the channel that waits for it.
    fn lend(&mut self, id: InstanceId, wait: Wait) -> Option<Replaced> {
        let channel = self.find(id)?;
        let Task::Own(task) = &channel.task else {
            return None;
        };
        let awaited = Task::Awaited(task.abort_handle());
        match std::mem::replace(&mut channel.task, awaited) {
            Task::Own(task) => Some(Replaced {
                task,
                wait,
                inbox: channel.inbox.clone(),
            }),
            Task::Awaited(_) => None,
        }
    }

    fn deliver(&mut self, id: InstanceId, request: Request) {
        let Some(channel) = self.find(id) else { return };
        if matches!(request, Request::Leave { .. }) {
            channel.inbox.leave();
        }
        if let Some(request) = channel.inbox.offer(request) {
            self.link.waiting.add(bytes_of(&request));
            self.stalled = Some(Box::new((id, request)));
        }
    }

    fn may_join(&mut self) -> bool {
        let rate = self.endpoint.config().joins;
        rate.is_none_or(|rate| self.joins.take(rate, Instant::now().into_std()))
    }

    fn find(&mut self, id: InstanceId) -> Option<&mut Running> {
        let position = position(&self.channels, id)?;
        Some(&mut self.channels[position].1)
    }

    fn take(&mut self, id: InstanceId) -> Option<Running> {
        let position = position(&self.channels, id)?;
        Some(self.channels.remove(position).1)
    }

    /// Says in the log which limit a join has reached, by the name under which it is set.
    fn report(&self, topic: &str, limit: Limit) {
        let Some(left_out) = self.link.counters.lines.over_limit.pass_now() else {
            return;
        };
        let limit = match limit {
            Limit::Channels => "SocketsConfig::max_channels",
            Limit::TopicBytes => "pubsub::Limits::with_topic_bytes",
        };
        tracing::warn!(
            topic = excerpt(topic),
            limit,
            left_out,
            "a join was refused: it is over the limit"
        );
    }

    /// Does what a client's frame asks for.
    fn take_in(&mut self, frame: Frame, out: &mut Output) -> Result<(), Close> {
        let message = self.link.serializer.decode(frame).map_err(|error| {
            self.link.counters.malformed_frames.add_one();
            if let Some(left_out) = self.link.counters.lines.no_message.pass_now() {
                tracing::warn!(%error, left_out, "a socket is closed: it sent a frame that is no message");
            }
            Close::from(error)
        })?;
        self.link.counters.messages_in.add_one();
        if wire::is_join(&message) {
            if !self.may_join() {
                self.link.counters.joins_over_rate.add_one();
                self.send(&wire::refused(message, "too many joins"), out)?;
                return Err(Close::new(CloseCode::POLICY));
            }
            if message.topic.as_text().is_none()
                && let Some(left_out) = self.link.counters.lines.odd_topic.pass_now()
            {
                tracing::info!(left_out, "a join was refused: its topic is not a string");
            }
        }
        let (endpoint, mut effects) = (&self.endpoint, Vec::with_capacity(1));
        let route = |topic: &str| endpoint.route(topic);
        self.multiplexer
            .handle_message(message, Instant::now().into_std(), route, &mut effects);
        self.apply(effects, out)
    }

    /// A channel tells what became of it.
    fn hear(&mut self, news: News, out: &mut Output) -> Result<(), Close> {
        let News { topic, id, fate } = news;
        let in_the_way = match fate {
            Fate::Stalled => self.in_the_way(),
            _ => None,
        };
        let link = &self.link;
        let stalled = |stalled: &mut Option<Box<(InstanceId, Request)>>| {
            let its = stalled.take_if(|stalled| stalled.0 == id)?;
            link.release(&its.1);
            Some(its.1)
        };
        let (multiplexer, mut effects) = (&mut self.multiplexer, Vec::new());
        match fate {
            Fate::Joined { response } => {
                multiplexer.handle_joined(&topic, id, response, &mut effects);
            }
            Fate::Refused { refusal, unread } => {
                let unread = unread.into_requests().chain(stalled(&mut self.stalled));
                multiplexer.handle_refused(&topic, id, refusal, unread, &mut effects);
            }
            Fate::Left { reference } => {
                multiplexer.handle_left(&topic, id, reference, &mut effects);
            }
            Fate::Ended { end, at } => {
                multiplexer.handle_ended(&topic, id, end, at.into_std(), &mut effects);
            }
            // It may have made room before its word was read here.
            Fate::Stalled if in_the_way != Some(id) => return Ok(()),
            Fate::Stalled => {
                let Some(at) = position(&self.channels, id) else {
                    return Ok(());
                };
                let inbox = &self.channels[at].1.inbox;
                let unread = inbox.take_requests().chain(stalled(&mut self.stalled));
                let now = Instant::now().into_std();
                multiplexer.handle_stalled(&topic, id, unread, now, &mut effects);
            }
        }
        self.apply(effects, out)
    }

    /// Has what is logged from now on tell whose it is, where somebody listens.
    fn entered<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        if self.link.span.is_none() {
            return run(self);
        }
        let link = Arc::clone(&self.link);
        let _entered = link.span.as_deref().map(Span::enter);
        run(self)
    }

    /// Does what somebody outside asked of this client's socket.
    fn obey(&mut self, order: Order, out: &mut Output) {
        match order {
            Order::CloseChannel(topic) => {
                let Some(id) = self.multiplexer.owner(&topic) else {
                    return;
                };
                if let Some(channel) = self.find(id) {
                    channel.inbox.kick();
                }
            }
            Order::Push(event) => {
                let Some(join_ref) = self.multiplexer.push_ref(event.topic()) else {
                    return;
                };
                match self.link.serializer.encode(&event.to_push(join_ref)) {
                    Ok(frame) => out.frame(frame),
                    Err(_) => self.link.counters.unencodable.add_one(),
                }
            }
        }
    }

    /// Tells every channel that its connection is gone; each works off what waits for it first.
    fn close_channels(&mut self, reason: &Terminated) {
        self.link.expiry.cancel();
        for (_, channel) in self.channels.drain(..) {
            channel.inbox.close(reason.clone());
        }
    }
}

impl Session for SocketSession {
    type Mail = Mail;

    fn handle_in(&mut self, frame: Frame, out: &mut Output) -> Result<(), Close> {
        self.entered(|session| session.take_in(frame, out))
    }

    fn refuse_in(&mut self, frame: Frame, out: &mut Output) {
        // What cannot be read cannot be answered, and the connection is about to close.
        if let Ok(message) = self.link.serializer.decode(frame) {
            let _ = self.send(&wire::refused(message, "too many messages"), out);
        }
    }

    fn user(&self) -> Option<&str> {
        self.link.id.as_deref()
    }

    fn handle_mail(&mut self, Mail(letter): Mail, out: &mut Output) -> Result<(), Close> {
        self.entered(|session| match letter {
            Letter::News(news) => session.hear(*news, out),
            Letter::Order(order) => {
                session.obey(*order, out);
                Ok(())
            }
        })
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ready = self.poll_room(cx);
        match ready {
            Poll::Ready(()) => self.patience = None,
            Poll::Pending => self.poll_patience(cx),
        }
        ready
    }

    fn closed(&mut self, reason: CloseReason) {
        let terminated = match self.link.expiry.has_come() {
            true => Terminated::Expired,
            false => terminated(&reason, self.link.is_disconnected.load(Ordering::Acquire)),
        };
        self.entered(|session| {
            tracing::debug!(?reason, "disconnected");
            session.close_channels(&terminated);
        });
    }
}

impl SocketSession {
    /// Whether a further frame can be read: there is room for what the last one brought, and for more.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(stalled) = self.stalled.take() {
            let Some(channel) = self.find(stalled.0) else {
                self.link.release(&stalled.1);
                break;
            };
            let inbox = channel.inbox.clone();
            if inbox.poll_room(cx).is_pending() {
                self.stalled = Some(stalled);
                return Poll::Pending;
            }
            let (id, request) = *stalled;
            self.link.release(&request);
            self.deliver(id, request);
        }
        match self.multiplexer.is_congested() {
            // Mail from a channel changes that, and after each mail this is asked again.
            true => Poll::Pending,
            false => {
                let limit = self.link.config.waiting_bytes;
                self.link.waiting.poll_room(cx, limit)
            }
        }
    }

    /// Where nothing is read for so long, the channel that is in the way ends, and not all others with it.
    fn poll_patience(&mut self, cx: &mut Context<'_>) {
        let limit = self.endpoint.config().stall(self.link.transport);
        while self.is_out_of_patience(limit, cx) {
            // One whose client does not read is not to blame.
            if self.link.outbox.poll_room(cx).is_pending() {
                continue;
            }
            let Some(id) = self.in_the_way() else {
                continue;
            };
            if let Some(topic) = self.multiplexer.topic(id) {
                if let Some(left_out) = self.link.counters.lines.stalled.pass_now() {
                    tracing::warn!(
                        topic = excerpt(topic),
                        limit = "SocketsConfig::stall_timeout",
                        after = ?limit,
                        left_out,
                        "a channel ends: it has not made room for what its client sends"
                    );
                }
                self.link.tell(topic, id, Fate::Stalled);
            }
        }
    }

    /// Whether so much time is over; from then on it is waited for as much again. Where it is others who hold so much, channels that get
    /// on are not out of it.
    fn is_out_of_patience(&mut self, limit: Duration, cx: &mut Context<'_>) -> bool {
        let waiting = &self.link.waiting;
        let begin = || (Box::pin(sleep(limit)), waiting.bytes());
        let (patience, before) = self.patience.get_or_insert_with(begin);
        while patience.as_mut().poll(cx).is_ready() {
            patience.as_mut().reset(later(Instant::now(), limit));
            let held = std::mem::replace(before, waiting.bytes());
            if !waiting.is_held_back() || *before >= held {
                return true;
            }
        }
        false
    }

    /// The channel for whose sake nothing is read.
    fn in_the_way(&self) -> Option<InstanceId> {
        if let Some(stalled) = &self.stalled {
            return Some(stalled.0);
        }
        if self.multiplexer.is_congested() {
            return self.multiplexer.oldest_awaited();
        }
        let (link, channels) = (&self.link, self.channels.iter());
        let most = channels.max_by_key(|(_, it)| it.inbox.held_bytes());
        let is_much = link.waiting.is_too_much(link.config.waiting_bytes);
        most.filter(|_| is_much || link.waiting.is_held_back())
            .map(|(id, _)| *id)
    }
}

fn position(channels: &[(InstanceId, Running)], id: InstanceId) -> Option<usize> {
    channels.binary_search_by_key(&id, |(id, _)| *id).ok()
}

/// A session that ends without having been told, by a crash of its own, takes its channels along.
impl Drop for SocketSession {
    fn drop(&mut self) {
        self.link.counters.disconnected.add_one();
        self.close_channels(&Terminated::Faulted);
    }
}

impl Task {
    fn abort(&self) {
        match self {
            Self::Own(task) => task.abort(),
            Self::Awaited(task) => task.abort(),
        }
    }
}

/// Others than whoever names a socket's id may close with its code as well.
fn terminated(reason: &CloseReason, is_disconnected: bool) -> Terminated {
    match reason {
        CloseReason::Client(_) | CloseReason::Lost => Terminated::Closed,
        CloseReason::Idle => Terminated::Idle,
        CloseReason::Closed(close) => match close.code {
            CloseCode::GOING_AWAY if is_disconnected => Terminated::Disconnected,
            CloseCode::GOING_AWAY | CloseCode::RESTART => Terminated::Draining,
            _ => Terminated::Faulted,
        },
    }
}
