//! The beginning of a channel: it waits for the one that it replaces, runs its join, and has the client answered.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use bytestring::ByteString;
use futures::future::{Either, select};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::notice::Notice;
use super::route::{Replaced, Seat};
use super::{Server, before};
use crate::channel::Channel;
use crate::channel_type::ChannelType;
use crate::config::REPLACED_CHANNEL_WAIT;
use crate::event::{ParamsError, decode_params};
use crate::fastlane::Lane;
use crate::handling::{Broken, Callback};
use crate::inbox::InboxSender;
use crate::link::Fate;
use crate::multiplexer::{Refusal, Wait};
use crate::pusher::Join;
use crate::socket::{Parts, Socket};
use crate::spans::{channel_span, kept};
use crate::transport::{Field, Payload};
use crate::{Refused, wire};

/// Waits until the place is free, and joins. `None` if nothing came of it; the session knows then.
pub(super) async fn take_seat<App, C>(app: Arc<App>, mut seat: Seat) -> Option<(Server, C)>
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
            Ok(Ok(Err(refused))) => match self.refusal(refused, answer) {
                Ok(refusal) => return self.refuse(refusal).await,
                Err(error) => error,
            },
            Ok(Err(error)) => error.to_string(),
            Err(Broken::Panicked(panic)) => {
                self.notice.log_panic(Callback::Join, &panic);
                return self.crash();
            }
            Err(Broken::CutOff) => {
                self.notice.log_cut_off(Callback::Join);
                return None;
            }
        };
        self.notice.log_join_crash(&crash);
        self.crash()
    }

    /// Subscribes, answers, and lets broadcasts follow the answer, but for those that are to wait longer. It is subscribed only where there
    /// seems to be room for the answer: what is broadcast between the two has to be held.
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
        self.inbox.hold(response.len());
        self.notice.room().await;
        let held_events = self.socket.take_held_events();
        let is_holding = !held_events.is_empty();
        self.notice.link.counters.joined.add_one();
        self.notice.is_joined = true;
        let mut fate = Fate::Joined { response };
        let lane = loop {
            let lane = self.subscribe(sender.clone(), join, held_events.clone())?;
            match self.notice.tell_if_room(fate) {
                Ok(()) => break lane,
                Err(untold) => fate = untold,
            }
            // The answer of another channel, which looked at the same time, took the room. Nobody knows of this join yet, so what it has
            // heard is nobody's.
            self.lane = None;
            self.notice.room().await;
        };
        self.inbox.done();
        lane.answered();
        if is_holding {
            self.socket.open_after_join(lane);
        }
        Ok(())
    }

    fn subscribe(
        &mut self,
        sender: InboxSender,
        join: Join,
        held_events: Vec<ByteString>,
    ) -> Result<Arc<Lane>, String> {
        let link = Arc::clone(&self.notice.link);
        let lane = Arc::new(Lane::new(link, sender, join, held_events));
        let topic = self.notice.topic.clone();
        let publisher = self.socket.publisher();
        let subscription = publisher.subscribe_sink(topic, Arc::<Lane>::clone(&lane));
        self.lane = Some(subscription.map_err(|error| error.to_string())?);
        Ok(lane)
    }

    /// What the client is answered whom the channel refuses.
    fn refusal(
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
        self.inbox.hold(response.len());
        Ok(Refusal { response, is_final })
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
            let topic = Field::Text(self.notice.topic.clone());
            let status = ByteString::from_static(status);
            let message = wire::reply(join_ref, reference, topic, status, response.clone());
            self.notice.link.serializer.encode(&message).is_ok()
        }
    }

    async fn refuse<C>(self, refusal: Refusal) -> Option<(Self, C)> {
        let (notice, fate) = self.ended_with(refusal);
        notice.tell_when_room(fate).await;
        None
    }

    fn crash<C>(self) -> Option<(Self, C)> {
        let (notice, fate) = self.ended_with(Refusal::crashed());
        notice.link.counters.crashes.add_one();
        notice.tell(fate);
        None
    }

    /// What the channel owns is gone, and what its client asked for is the session's to answer.
    fn ended_with(self, refusal: Refusal) -> (Notice, Fate) {
        let Self {
            lane,
            socket,
            inbox,
            notice,
            ..
        } = self;
        drop((lane, socket));
        let unread = inbox;
        (notice, Fate::Refused { refusal, unread })
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

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
}
