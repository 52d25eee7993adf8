//! The task of one channel: its join, its messages one at a time, its end. Whatever happens in here ends this channel
//! only.

mod joining;
mod notice;
mod route;

use std::future::{poll_fn, ready};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use tokio::task::coop;
use tokio::time::Instant;

use crate::channel::{Channel, Terminated};
use crate::event::{EventError, decode_event};
use crate::handling::{Broken, Callback};
use crate::inbox::{InboxReceiver, Item, Takes};
use crate::link::Fate;
use crate::multiplexer::{End, Request};
use crate::pubsub::{Lagged, SinkSubscription};
use crate::socket::Socket;
use crate::spans::event_span;
use crate::transport::{Field, Frame, Payload};
use crate::{Flow, Reply};
use notice::Notice;
pub(crate) use route::{ChannelRoute, Replaced, Route, Seat};

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
    /// Handles what comes until the channel's work is over.
    async fn work<App, C>(&mut self, channel: &mut C) -> Ending
    where
        C: Channel<App>,
    {
        let mut is_greeting = true;
        loop {
            let is_greeting = std::mem::take(&mut is_greeting);
            if self.socket.has_put_off()
                && let Some(ending) = self.after_join(channel, is_greeting).await
            {
                return ending;
            }
            // A channel with a full inbox still lets others run.
            coop::consume_budget().await;
            let item = match poll_fn(|cx| self.poll_item(cx)).await {
                Ok(item) => item,
                Err(ending) => return ending,
            };
            if let Some(ending) = self.handle::<App, C>(channel, item).await {
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

    /// What handles an item, in a box of its own: a channel that waits keeps no room for it. And one for each kind, as a future is moved
    /// into its box with all the room it has.
    fn handle<'a, App, C>(
        &'a mut self,
        channel: &'a mut C,
        item: Item,
    ) -> BoxFuture<'a, Option<Ending>>
    where
        App: 'a,
        C: Channel<App>,
    {
        match item {
            Item::Request(Request::Leave { reference, .. }) => {
                Box::pin(ready(Some(Ending::Left { reference })))
            }
            Item::Request(Request::Event {
                event,
                reference,
                payload,
            }) => Box::pin(self.handle_in::<App, C>(channel, event, reference, payload)),
            Item::Out(broadcast) => Box::pin(async move {
                let event = broadcast.event_text().clone();
                let flow = {
                    let socket = &mut self.socket;
                    let handling = pin!(async { channel.handle_out(socket, broadcast).await });
                    let handling = self.notice.handling(Callback::HandleOut, handling);
                    handling.of(Some(&event)).await
                };
                self.flow(Callback::HandleOut, flow)
            }),
            Item::Info(info) => Box::pin(async move {
                let flow = {
                    let socket = &mut self.socket;
                    let handling = pin!(async { info(channel, socket).await });
                    self.notice.handling(Callback::HandleInfo, handling).await
                };
                self.flow(Callback::HandleInfo, flow)
            }),
            Item::Lost(lost) => Box::pin(async move {
                let flow = {
                    let socket = &mut self.socket;
                    let lagged = Lagged(lost);
                    let handling = pin!(async { channel.handle_lagged(socket, lagged).await });
                    self.notice.handling(Callback::HandleLagged, handling).await
                };
                self.flow(Callback::HandleLagged, flow)
            }),
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

    /// Handles a message of the client's. Not an `async fn`: that would keep every argument twice.
    fn handle_in<'a, App, C>(
        &'a mut self,
        channel: &'a mut C,
        event: Field,
        reference: Option<Field>,
        payload: Payload,
    ) -> impl Future<Output = Option<Ending>> + Send + use<'a, App, C>
    where
        C: Channel<App>,
    {
        let span = event_span(self.notice.span.as_deref(), &event, &payload);
        self.socket.begin(reference);
        async move {
            let reply = {
                let socket = &mut self.socket;
                // The program's types may take as long to read as its callbacks.
                let handling = pin!(async {
                    let event = decode_event::<C::Event>(&event, payload)?;
                    Ok::<_, EventError>(channel.handle_in(socket, event).await)
                });
                let handling = self.notice.handling(Callback::HandleIn, handling);
                handling.of(event.as_text()).within(&span).await
            };
            let reference = self.socket.finish();
            match reply {
                Ok(Ok(reply)) => self.reply(reference, reply).await,
                Ok(Err(error)) => {
                    if let Some(left_out) = self.notice.lines().crashed.pass_now() {
                        tracing::warn!(topic = self.notice.shown_topic(), %error, left_out, "a channel crashed");
                    }
                    Some(Ending::Crash)
                }
                Err(broken) => self.flow(Callback::HandleIn, Err(broken)),
            }
        }
    }

    async fn reply(&mut self, reference: Option<Field>, reply: Reply) -> Option<Ending> {
        let Reply {
            answer,
            flow,
            cause,
        } = reply;
        self.notice.log_cause(cause);
        let sent = match answer {
            None => Ok(()),
            Some(Err(error)) => Err(error.into()),
            Some(Ok((status, response))) => {
                match self.socket.reply_frame(reference, status, response) {
                    Ok(frame) => {
                        self.answer(frame).await;
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }
        };
        match sent {
            Ok(()) => self.flow(Callback::HandleIn, Ok(flow)),
            Err(error) => {
                if let Some(left_out) = self.notice.lines().crashed.pass_now() {
                    tracing::warn!(topic = self.notice.shown_topic(), %error, left_out, "a channel crashed: its reply cannot be sent");
                }
                Some(Ending::Crash)
            }
        }
    }

    /// Puts an answer where there is room for it. Of channels that have one at the same time each looks and puts in one step, or those of many
    /// threads would fill the outbox together.
    async fn answer(&mut self, frame: Frame) {
        let mut put = self.notice.link.outbox.frame_if_room(frame);
        while let Err(frame) = put {
            self.room_to_answer().await;
            let outbox = &self.notice.link.outbox;
            put = match self.inbox.is_closed() || self.ordered().is_some() {
                true => Ok(outbox.frame(frame)),
                false => outbox.frame_if_room(frame),
            };
        }
    }

    /// What a callback's outcome means for the channel.
    fn flow(&self, callback: Callback, flow: Result<Flow, Broken>) -> Option<Ending> {
        match flow {
            Ok(Flow::Continue) => None,
            Ok(Flow::Stop) => Some(Ending::Stop),
            Ok(Flow::Fail(reason)) => {
                if let Some(left_out) = self.notice.lines().failed.pass_now() {
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
    use super::*;
    use crate::{RawEvent, Refused};

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
