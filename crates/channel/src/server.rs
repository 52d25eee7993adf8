//! The task of one channel: its join, its messages one at a time, its end. Whatever happens in here ends this channel
//! only.

mod notice;

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytestring::ByteString;
use futures::future::{Either, select};
use tokio::task::{JoinHandle, coop};
use tokio::time::{Instant, timeout};

use crate::assigns::Assigns;
use crate::channel::{Channel, Terminated};
use crate::channel_type::ChannelType;
use crate::config::REPLACED_CHANNEL_WAIT;
use crate::event::{EventError, ParamsError, decode_event, decode_params};
use crate::fastlane::Lane;
use crate::handling::{Broken, Callback};
use crate::inbox::{InboxReceiver, InboxSender, Item, Takes};
use crate::link::{Fate, Link};
use crate::multiplexer::{End, InstanceId, JoinRefs, Refusal, Request, Wait};
use crate::pubsub::{Lagged, SinkSubscription};
use crate::pusher::Join;
use crate::socket::{Parts, Socket};
use crate::spans::{channel_span, event_span, kept};
use crate::transport::{Field, Payload, ServerMessage};
use crate::{Flow, Refused, Reply, wire};
use notice::Notice;

/// Starts channels of one type.
pub(crate) trait Route: Send + Sync {
    /// Starts one in a task of its own.
    fn spawn(&self, seat: Seat) -> JoinHandle<()>;
}

/// The channels of type `C` of one application.
pub(crate) struct ChannelRoute<App, C> {
    /// Shared and not cloned: what a clone does is the user's, and the task of a connection starts its joins.
    app: Arc<App>,
    assigns: Assigns,
    channel: PhantomData<fn() -> C>,
}

impl<App, C> ChannelRoute<App, C> {
    pub(crate) fn new(app: App, assigns: Assigns) -> Self {
        Self {
            app: Arc::new(app),
            assigns,
            channel: PhantomData,
        }
    }
}

impl<App, C> Route for ChannelRoute<App, C>
where
    App: Send + Sync + 'static,
    C: Channel<App>,
{
    fn spawn(&self, mut seat: Seat) -> JoinHandle<()> {
        seat.assigns.merge(&self.assigns);
        // Boxed apart, so that what a join needs is given back when the join is over.
        let joining = Box::pin(join::<App, C>(Arc::clone(&self.app), seat));
        tokio::spawn(serve::<App, C, _>(joining))
    }
}

/// What a session prepares for a channel.
pub(crate) struct Seat {
    pub(crate) link: Arc<Link>,
    pub(crate) id: InstanceId,
    pub(crate) topic: ByteString,
    pub(crate) refs: JoinRefs,
    /// The join's own, which its answer carries.
    pub(crate) reference: Option<Field>,
    pub(crate) payload: Payload,
    pub(crate) assigns: Assigns,
    pub(crate) inbox: (InboxSender, InboxReceiver),
    /// The channel that has to be gone first.
    pub(crate) replaces: Option<Replaced>,
    /// When an earlier join of the topic was told to end.
    pub(crate) earlier_ended: Option<Instant>,
}

/// The channel whose place a join takes.
pub(crate) struct Replaced {
    pub(crate) task: JoinHandle<()>,
    pub(crate) wait: Wait,
    pub(crate) inbox: InboxSender,
}

/// The whole life of a channel. While it waits it holds little more than the channel and its socket: a joined socket that
/// does nothing should cost next to nothing.
async fn serve<App, C, J>(joining: Pin<Box<J>>)
where
    C: Channel<App>,
    J: Future<Output = Option<(Server, C)>>,
{
    let Some((mut server, mut channel)) = joining.await else {
        return;
    };
    if server.inbox.is_superseded() && !server.inbox.is_leaving() {
        return;
    }
    let ending = server.work::<App, C>(&mut channel).await;
    Box::pin(server.end::<App, C>(channel, ending)).await;
}

async fn join<App, C>(app: Arc<App>, mut seat: Seat) -> Option<(Server, C)>
where
    App: Send + Sync + 'static,
    C: Channel<App>,
{
    if let Some(Replaced { task, wait, inbox }) = seat.replaces.take() {
        let (own, receiver) = &mut seat.inbox;
        let hastened = poll_fn(|cx| own.poll_hastened(cx));
        let gone = gone(task, wait, hastened, || inbox.dismiss());
        // Once the connection is gone nobody will read the answer. What the client sent is not kept for that long.
        before(pin!(gone), |cx| receiver.poll_closed(cx)).await?;
    }
    if seat.inbox.1.is_closed() {
        return None;
    }
    let answer = AnswerRefs {
        join_ref: seat.refs.sent,
        reference: seat.reference,
    };
    let (payload, (sender, inbox)) = (seat.payload, seat.inbox);
    let span = kept(channel_span(&seat.link, &seat.topic, &payload));
    let join = Join {
        id: seat.id,
        channel_type: ChannelType::of::<App, C>(),
    };
    let socket = Socket::new(Parts {
        link: Arc::clone(&seat.link),
        topic: seat.topic.clone(),
        join_ref: seat.refs.push,
        assigns: seat.assigns,
        inbox: sender.clone(),
        join,
        earlier_join_ended: seat.earlier_ended,
    });
    let server = Server {
        lane: None,
        socket,
        inbox,
        timer_was_last: false,
        lacks_room: false,
        notice: Notice {
            number: seat.link.watch.enter(&seat.topic),
            link: seat.link,
            topic: seat.topic,
            id: seat.id,
            inbox: sender.clone(),
            is_joined: false,
            is_told: false,
            span,
        },
    };
    server
        .join::<App, C>(app, payload, join, answer, sender)
        .await
}

/// Runs it until that, and no further. `None` if that was ready first.
async fn before<F: Future>(
    mut future: Pin<&mut F>,
    mut poll_that: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> Option<F::Output> {
    poll_fn(|cx| match poll_that(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => future.as_mut().poll(cx).map(Some),
    })
    .await
}

/// Waits for the channel that this one replaces. `dismiss` tells whether one that takes too long has something left to say.
async fn gone(
    mut task: JoinHandle<()>,
    wait: Wait,
    hastened: impl Future<Output = ()>,
    dismiss: impl FnOnce() -> bool,
) {
    if wait == Wait::Joining
        && let Either::Left(_) = select(&mut task, pin!(hastened)).await
    {
        return;
    }
    // How it ended does not matter, and a channel that blocks its thread is not waited for any longer.
    let is_late = timeout(REPLACED_CHANNEL_WAIT, &mut task).await.is_err();
    if is_late && dismiss() {
        // That is to come before whatever its successor says.
        let _ = timeout(REPLACED_CHANNEL_WAIT, task).await;
    }
}

/// The refs that the answer to a join carries.
struct AnswerRefs {
    join_ref: Option<Field>,
    reference: Option<Field>,
}

/// One channel's task, without the channel itself. Fields are dropped in this order, also when the task is aborted: what
/// the channel owned is gone before the session hears of its end.
struct Server {
    lane: Option<SinkSubscription>,
    socket: Socket,
    inbox: InboxReceiver,
    timer_was_last: bool,
    /// The client does not read what it asked for before, and further requests of its wait.
    lacks_room: bool,
    notice: Notice,
}

/// Why a channel's work is over.
enum Ending {
    Left { reference: Option<Field> },
    Stop,
    Kicked,
    Overrun,
    Fail(String),
    Crash,
    Closed(Terminated),
}

impl Server {
    /// Runs the join. `None` if it was refused or crashed; the session knows then.
    async fn join<App, C>(
        mut self,
        app: Arc<App>,
        payload: Payload,
        join: Join,
        answer: AnswerRefs,
        sender: InboxSender,
    ) -> Option<(Self, C)>
    where
        App: Send + Sync + 'static,
        C: Channel<App>,
    {
        self.notice.link.counters.joins.add_one();
        let joined = {
            let socket = &mut self.socket;
            // The program's types may take as long to read as its callbacks.
            let joining = pin!(async {
                let params = decode_params::<C::Params>(payload)?;
                Ok::<_, ParamsError>(C::join(&app, socket, params).await)
            });
            self.notice.handling(Callback::Join, joining).await
        };
        let crash = match joined {
            Ok(Ok(Ok(channel))) => match self.accept(join, answer, sender).await {
                Ok(()) => return Some((self, channel)),
                Err(error) => error,
            },
            Ok(Ok(Err(refused))) => match self.refusal(refused, answer).await {
                Ok(refusal) => return self.refuse(Some(refusal)),
                Err(error) => error,
            },
            Ok(Err(error)) => error.to_string(),
            Err(Broken::Panicked(panic)) => {
                self.notice.log_panic(Callback::Join, &panic);
                return self.refuse(None);
            }
            Err(Broken::CutOff) => {
                self.notice.log_cut_off(Callback::Join);
                return None;
            }
        };
        self.notice.log_join_crash(&crash);
        self.refuse(None)
    }

    /// Subscribes, answers, and lets broadcasts follow the answer, but for those that are to wait longer. Nothing in here waits once
    /// there is room for the answer.
    async fn accept(
        &mut self,
        join: Join,
        answer: AnswerRefs,
        sender: InboxSender,
    ) -> Result<(), String> {
        let response = self.socket.joined().map_err(|error| error.to_string())?;
        if !self.can_answer(answer, wire::OK, &response) {
            return Err("its answer cannot be sent to this client".to_owned());
        }
        self.room_for(&response).await;
        let link = &self.notice.link;
        let held_events = self.socket.take_held_events();
        let is_holding = !held_events.is_empty();
        let lane = Arc::new(Lane::new(Arc::clone(link), sender, join, held_events));
        let topic = self.notice.topic.clone();
        let publisher = self.socket.publisher();
        let subscription = publisher.subscribe_sink(topic, Arc::<Lane>::clone(&lane));
        self.lane = Some(subscription.map_err(|error| error.to_string())?);
        link.counters.joined.add_one();
        self.notice.is_joined = true;
        link.tell(
            &self.notice.topic,
            self.notice.id,
            Fate::Joined { response },
        );
        self.inbox.done();
        lane.answered();
        if is_holding {
            self.socket.open_after_join(lane);
        }
        Ok(())
    }

    /// What the client is answered whom the channel refuses.
    async fn refusal(
        &mut self,
        Refused {
            response,
            is_final,
            cause,
        }: Refused,
        answer: AnswerRefs,
    ) -> Result<Refusal, String> {
        let response = response.map_err(|error| error.to_string())?;
        if !self.can_answer(answer, wire::ERROR, &response) {
            return Err("its refusal cannot be sent to this client".to_owned());
        }
        self.notice.log_cause(cause);
        self.room_for(&response).await;
        Ok(Refusal { response, is_final })
    }

    /// Waits until the client has read what it was sent before, or is gone: the answers to many joins at once close no connection whose
    /// client reads them.
    async fn room_for(&mut self, response: &Payload) {
        self.inbox.hold(response.len());
        self.notice.link.outbox.room().await;
    }

    /// Whether the client's version of the wire carries this answer; JSON always is.
    fn can_answer(
        &self,
        AnswerRefs {
            join_ref,
            reference,
        }: AnswerRefs,
        status: &'static str,
        response: &Payload,
    ) -> bool {
        matches!(response, Payload::Json(_)) || {
            let (topic, response) = (&self.notice.topic, response.clone());
            let message: ServerMessage = wire::reply(join_ref, reference, topic, status, response);
            self.notice.link.serializer.encode(&message).is_ok()
        }
    }

    /// Without a refusal it is a crash.
    fn refuse<C>(self, refusal: Option<Refusal>) -> Option<(Self, C)> {
        let Self {
            lane,
            socket,
            inbox,
            notice,
            ..
        } = self;
        drop((lane, socket));
        if refusal.is_none() {
            notice.link.counters.crashes.add_one();
        }
        notice.tell(Fate::Refused {
            refusal: refusal.unwrap_or_else(Refusal::crashed),
            unread: inbox,
        });
        None
    }

    /// Handles what comes until the channel's work is over.
    async fn work<App, C>(&mut self, channel: &mut C) -> Ending
    where
        C: Channel<App>,
    {
        let mut is_greeting = true;
        loop {
            let is_greeting = std::mem::take(&mut is_greeting);
            if let Some(ending) = self.after_join(channel, is_greeting).await {
                return ending;
            }
            // A channel with a full inbox still lets others run.
            coop::consume_budget().await;
            let item = match poll_fn(|cx| self.poll_item(cx)).await {
                Ok(item) => item,
                Err(ending) => return ending,
            };
            if let Some(ending) = Box::pin(self.handle::<App, C>(channel, item)).await {
                return ending;
            }
        }
    }

    /// An end that does not wait for what is in the inbox.
    fn ordered(&self) -> Option<Ending> {
        if self.inbox.is_kicked() {
            return Some(Ending::Kicked);
        }
        self.inbox.is_overrun().then_some(Ending::Overrun)
    }

    /// What comes next: from the inbox and from timers in turn, where both have something.
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Result<Item, Ending>> {
        if let Some(ending) = self.ordered() {
            return Poll::Ready(Err(ending));
        }
        let inbox_first = std::mem::take(&mut self.timer_was_last);
        if inbox_first && let Poll::Ready(received) = self.poll_inbox(cx) {
            return Poll::Ready(received);
        }
        if let Poll::Ready(info) = self.socket.poll_timer(cx) {
            self.timer_was_last = true;
            return Poll::Ready(Ok(Item::Info(info)));
        }
        self.poll_inbox(cx)
    }

    /// What a client asks for waits until it has read what it asked for before: then it is never closed for reading answers
    /// no faster than its network lets it. Everything else goes on.
    fn poll_inbox(&mut self, cx: &mut Context<'_>) -> Poll<Result<Item, Ending>> {
        let outbox = &self.notice.link.outbox;
        loop {
            self.lacks_room = self.lacks_room && outbox.poll_room(cx).is_pending();
            let takes = match self.lacks_room {
                true => Takes::NoEvents,
                false => Takes::All,
            };
            match ready!(self.inbox.poll_recv(cx, takes)) {
                // Mostly there is room, and then nobody has to know whom to wake.
                Some(Item::Request(request @ Request::Event { .. }))
                    if outbox.poll_room(cx).is_pending() =>
                {
                    if let Some(request) = self.inbox.put_back(request) {
                        return Poll::Ready(Ok(Item::Request(request)));
                    }
                    self.lacks_room = true;
                }
                Some(item) => return Poll::Ready(Ok(item)),
                None => return Poll::Ready(Err(Ending::Closed(self.inbox.closed()))),
            }
        }
    }

    async fn handle<App, C>(&mut self, channel: &mut C, item: Item) -> Option<Ending>
    where
        C: Channel<App>,
    {
        match item {
            Item::Request(Request::Leave { reference, .. }) => Some(Ending::Left { reference }),
            Item::Request(Request::Event {
                event,
                reference,
                payload,
            }) => {
                self.handle_in::<App, C>(channel, event, reference, payload)
                    .await
            }
            Item::Out(broadcast) => {
                let flow = {
                    let socket = &mut self.socket;
                    let handling = pin!(async { channel.handle_out(socket, broadcast).await });
                    self.notice.handling(Callback::HandleOut, handling).await
                };
                self.flow(Callback::HandleOut, flow)
            }
            Item::Info(info) => {
                let flow = {
                    let socket = &mut self.socket;
                    let handling = pin!(async { info(channel, socket).await });
                    self.notice.handling(Callback::HandleInfo, handling).await
                };
                self.flow(Callback::HandleInfo, flow)
            }
            Item::Lost(lost) => {
                let flow = {
                    let socket = &mut self.socket;
                    let lagged = Lagged(lost);
                    let handling = pin!(async { channel.handle_lagged(socket, lagged).await });
                    self.notice.handling(Callback::HandleLagged, handling).await
                };
                self.flow(Callback::HandleLagged, flow)
            }
        }
    }

    /// Does what was put off, until the client has given the join up or the channel is to end: then it is dropped where it waits.
    async fn after_join<C: Send + 'static>(
        &mut self,
        channel: &mut C,
        is_greeting: bool,
    ) -> Option<Ending> {
        loop {
            if let Some(ending) = self.ordered() {
                return Some(ending);
            }
            if self.inbox.is_given_up() {
                // A client takes no snapshot of a join that it has given up, but may keep the changes for its next one.
                self.socket.keep_holding();
            }
            // One of them may put off more.
            let put_off = self.socket.take_after_join();
            if put_off.is_empty() {
                return None;
            }
            for then in put_off {
                if is_greeting {
                    self.room_to_greet().await;
                }
                if let Some(ending) = self.ordered() {
                    return Some(ending);
                }
                if self.inbox.is_given_up() {
                    break;
                }
                let (notice, socket, channel) = (&self.notice, &mut self.socket, &mut *channel);
                let mut handling = Box::pin(async move {
                    let running = pin!(async { then(channel, socket).await });
                    notice.handling(Callback::AfterJoin, running).await
                });
                let inbox = &mut self.inbox;
                let flow = before(handling.as_mut(), |cx| inbox.poll_not_wanted(cx)).await;
                drop(handling);
                if let Some(ending) = flow.and_then(|flow| self.flow(Callback::AfterJoin, flow)) {
                    return Some(ending);
                }
            }
        }
    }

    /// Waits until the client has read what it was sent before, unless there is something else to do: the lists that many joins push at
    /// once close no connection whose client reads them.
    async fn room_to_greet(&mut self) {
        poll_fn(|cx| {
            if self.inbox.poll_not_wanted(cx).is_ready() {
                return Poll::Ready(());
            }
            self.notice.link.outbox.poll_room(cx)
        })
        .await;
    }

    /// Waits until the client has read what it was sent before, unless the channel is to end: the answers of many channels that waited
    /// for the same close no connection whose client reads them.
    async fn room_to_answer(&mut self) {
        poll_fn(|cx| {
            if self.inbox.poll_closed(cx).is_ready() || self.ordered().is_some() {
                return Poll::Ready(());
            }
            self.notice.link.outbox.poll_room(cx)
        })
        .await;
    }

    async fn handle_in<App, C>(
        &mut self,
        channel: &mut C,
        event: Field,
        reference: Option<Field>,
        payload: Payload,
    ) -> Option<Ending>
    where
        C: Channel<App>,
    {
        let span = event_span(self.notice.span.as_deref(), &event, &payload);
        self.socket.begin(reference);
        let mut has_waited = false;
        let reply = {
            let socket = &mut self.socket;
            // The program's types may take as long to read as its callbacks.
            let handling = pin!(async {
                let event = decode_event::<C::Event>(&event, payload)?;
                Ok::<_, EventError>(channel.handle_in(socket, event).await)
            });
            let handling = self.notice.handling(Callback::HandleIn, handling);
            let mut handling = pin!(handling.of(&event, &span));
            poll_fn(|cx| {
                let polled = handling.as_mut().poll(cx);
                has_waited |= polled.is_pending();
                polled
            })
            .await
        };
        let reference = self.socket.finish();
        match reply {
            Ok(Ok(reply)) => {
                // The room that there was before may be others' by now.
                if has_waited && reply.answer.is_some() {
                    self.room_to_answer().await;
                }
                self.reply(reference, reply)
            }
            Ok(Err(error)) => {
                if let Some(left_out) = self.notice.lines().crashed.pass() {
                    tracing::warn!(topic = self.notice.shown_topic(), %error, left_out, "a channel crashed");
                }
                Some(Ending::Crash)
            }
            Err(broken) => self.flow(Callback::HandleIn, Err(broken)),
        }
    }

    fn reply(&self, reference: Option<Field>, reply: Reply) -> Option<Ending> {
        let Reply {
            answer,
            flow,
            cause,
        } = reply;
        self.notice.log_cause(cause);
        let sent = match answer {
            None => Ok(()),
            Some(Err(error)) => Err(error.into()),
            Some(Ok((status, response))) => self.socket.reply(reference, status, response),
        };
        match sent {
            Ok(()) => self.flow(Callback::HandleIn, Ok(flow)),
            Err(error) => {
                if let Some(left_out) = self.notice.lines().crashed.pass() {
                    tracing::warn!(topic = self.notice.shown_topic(), %error, left_out, "a channel crashed: its reply cannot be sent");
                }
                Some(Ending::Crash)
            }
        }
    }

    /// What a callback's outcome means for the channel.
    fn flow(&self, callback: Callback, flow: Result<Flow, Broken>) -> Option<Ending> {
        match flow {
            Ok(Flow::Continue) => None,
            Ok(Flow::Stop) => Some(Ending::Stop),
            Ok(Flow::Fail(reason)) => {
                if let Some(left_out) = self.notice.lines().failed.pass() {
                    tracing::warn!(
                        topic = self.notice.shown_topic(),
                        callback = callback.name(),
                        reason,
                        left_out,
                        "a channel failed"
                    );
                }
                Some(Ending::Fail(reason))
            }
            Err(Broken::Panicked(panic)) => {
                self.notice.log_panic(callback, &panic);
                Some(Ending::Crash)
            }
            Err(Broken::CutOff) => {
                let reason = self.inbox.closed();
                match reason {
                    Terminated::Left => self.notice.log_overdue_leave(callback),
                    _ => self.notice.log_cut_off(callback),
                }
                Some(Ending::Closed(reason))
            }
        }
    }

    /// After a leave or an orderly stop the client hears of it first; after a crash what `terminate` pushes comes first.
    async fn end<App, C>(mut self, channel: C, ending: Ending)
    where
        C: Channel<App>,
    {
        // Nothing is kept, or taken in, that nobody will work off.
        let at = self.inbox.end();
        self.notice.count_out();
        let reason = self.ended(ending, at);
        let is_on_purpose = reason.is_on_purpose();
        self.terminate::<App, C>(channel, reason).await;
        if is_on_purpose {
            self.tell_leave_hooks().await;
        }
        let Self {
            lane,
            socket,
            inbox,
            mut notice,
            ..
        } = self;
        drop((lane, socket, inbox));
        // It crashed where nothing was said above, and nobody is left to hear it where the connection has ended.
        notice.tell_if_untold(Fate::Ended {
            end: End::Error,
            at,
        });
    }

    /// Tells the client, counts, and says what `terminate` is to be told.
    fn ended(&mut self, ending: Ending, at: Instant) -> Terminated {
        let closed = Fate::Ended {
            end: End::Close,
            at,
        };
        let (fate, reason) = match ending {
            Ending::Left { reference } => (Fate::Left { reference }, Terminated::Left),
            Ending::Stop => (closed, Terminated::Stopped),
            Ending::Kicked => (closed, Terminated::Kicked),
            Ending::Fail(reason) => {
                self.notice.link.counters.crashes.add_one();
                return Terminated::Failed(reason);
            }
            Ending::Crash => {
                self.notice.link.counters.crashes.add_one();
                return Terminated::Crashed;
            }
            Ending::Overrun => return Terminated::Overrun,
            Ending::Closed(reason) => {
                self.lane = None;
                return reason;
            }
        };
        self.lane = None;
        self.notice.tell_now(fate);
        reason
    }

    async fn tell_leave_hooks(&mut self) {
        for hook in self.socket.take_leave_hooks() {
            let socket = &self.socket;
            let leaving = pin!(async { hook.left(socket).await });
            self.notice.last_words(leaving).await;
        }
    }

    async fn terminate<App, C>(&mut self, mut channel: C, reason: Terminated)
    where
        C: Channel<App>,
    {
        let socket = &mut self.socket;
        let terminating = pin!(async { channel.terminate(socket, reason).await });
        self.notice.last_words(terminating).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::RawEvent;

    struct Big;

    impl Channel<()> for Big {
        type Params = ();
        type Event = RawEvent;

        async fn join(_: &(), _: &mut Socket, (): ()) -> Result<Self, Refused> {
            let held = [1u8; 10_000];
            tokio::task::yield_now().await;
            Err(Refused::because(held.len().to_string()))
        }

        async fn handle_in(&mut self, _: &mut Socket, _: RawEvent) -> Reply {
            let held = [1u8; 10_000];
            tokio::task::yield_now().await;
            Reply::ok(&held.len())
        }
    }

    /// One that blocks its thread cannot be ended, and is not waited for any longer; one that joins is, until it has joined.
    #[tokio::test(start_paused = true)]
    async fn d2_a_replaced_channel_that_does_not_end_is_waited_for_so_long() {
        async fn waits(wait: Wait, is_hastened: bool, is_leaving: bool) -> Option<Duration> {
            let (start, stuck) = (Instant::now(), tokio::spawn(std::future::pending()));
            let hastened = poll_fn(|_| match is_hastened {
                true => Poll::Ready(()),
                false => Poll::Pending,
            });
            let gone = gone(stuck, wait, hastened, || is_leaving);
            let waited = timeout(10 * REPLACED_CHANNEL_WAIT, gone).await;
            waited.is_ok().then(|| start.elapsed())
        }
        let once = Some(REPLACED_CHANNEL_WAIT);
        assert_eq!(waits(Wait::Ending, false, false).await, once);
        assert_eq!(waits(Wait::Joining, false, false).await, None);
        assert_eq!(waits(Wait::Joining, true, false).await, once);
        let twice = Some(2 * REPLACED_CHANNEL_WAIT);
        assert_eq!(waits(Wait::Ending, false, true).await, twice);
    }

    /// What callbacks hold while they wait does not count.
    #[test]
    fn an_idle_channels_task_is_small() {
        fn size<J, F: Future>(_: impl Fn(Pin<Box<J>>) -> F) -> usize {
            size_of::<F>()
        }
        type Joining = futures::future::Ready<Option<(Server, Big)>>;
        let bytes = size(serve::<(), Big, Joining>);
        assert!(bytes <= 640, "{bytes} bytes");
    }
}
