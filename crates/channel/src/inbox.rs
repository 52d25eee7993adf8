//! What waits for a channel, and what its session tells it past that.

mod lines;
mod receiver;
mod sender;

use std::any::Any;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::link::Link;
use crate::multiplexer::Request;
use crate::{Broadcast, Flow, Socket, Terminated};
use lines::Lines;
pub(crate) use lines::{Takes, bytes_of};
pub(crate) use receiver::InboxReceiver;
pub(crate) use sender::InboxSender;

/// How much waits for one channel: of its client's, and as much again from elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// What an inbox entry costs besides what the client or the broadcast brought, in bytes.
pub(crate) const ITEM_BYTES: usize = 64;

/// One entry of a channel's inbox.
pub(crate) enum Item {
    /// From the client.
    Request(Request),
    /// A broadcast on the channel's topic that it intercepts.
    Out(Broadcast),
    /// For `handle_info`.
    Info(Info),
    /// So many messages of topics that the channel has subscribed are missing here.
    Lost(u64),
}

/// A message for `handle_info`, together with the call: the inbox does not know its type. Also what a join has put off.
pub(crate) type Info =
    Box<dyn for<'a> FnOnce(&'a mut (dyn Any + Send), &'a mut Socket) -> BoxFuture<'a, Flow> + Send>;

/// What the two ends share.
struct Shared {
    link: Arc<Link>,
    orders: Orders,
    state: Mutex<State>,
}

struct State {
    lines: Lines,
    /// Bytes of the client's that the channel is not done with though they wait no longer: its join's parameters and the answer to
    /// it, and then the request that it handles.
    in_hand: usize,
    /// The channel's task.
    receiver: Option<Waker>,
    /// It waits for its connection to end, and not for what comes in.
    only_the_end_matters: bool,
    /// The session waits for room.
    is_awaited: bool,
    is_closed: bool,
    /// Boxed, since it comes once.
    over: Option<Box<Over>>,
    /// The session has been told of the channel's end.
    is_told: bool,
}

enum Over {
    /// The connection has ended for the channel.
    Connection {
        reason: Terminated,
        /// From then on nothing of what the channel does is waited for any longer, but its last words.
        deadline: Instant,
    },
    /// The channel itself has, at that moment.
    Channel { at: Instant },
}

/// What is said to a channel past its inbox.
#[derive(Debug, Default)]
struct Orders {
    superseded: AtomicBool,
    leaving: AtomicBool,
    hastened: AtomicBool,
    kicked: AtomicBool,
    /// A broadcast found no room that its client is not to miss without knowing.
    overrun: AtomicBool,
}

/// An inbox for a channel of this connection, whose join brought so many bytes.
pub(crate) fn inbox(link: &Arc<Link>, join_bytes: usize) -> (InboxSender, InboxReceiver) {
    link.waiting.add(join_bytes);
    let shared = Arc::new(Shared {
        link: Arc::clone(link),
        orders: Orders::default(),
        state: Mutex::new(State {
            lines: Lines::default(),
            in_hand: join_bytes,
            receiver: None,
            is_awaited: false,
            is_closed: false,
            only_the_end_matters: false,
            over: None,
            is_told: false,
        }),
    });
    let sender = InboxSender(Arc::clone(&shared));
    (sender, InboxReceiver(shared))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing inside calls foreign code, so a poisoned lock guards sound data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many bytes of the client's are kept no longer.
    fn release(&self, bytes: usize) {
        let limit = self.link.config.waiting_bytes;
        self.link.waiting.release(bytes, limit);
    }

    fn bound(&self) -> Bound {
        self.link.config.inbox()
    }

    /// Has the channel's task woken for what is said past the inbox, and not for what comes in.
    fn wait_for_the_end(&self, cx: &Context<'_>) {
        let old = self.lock().wait(true, cx);
        drop(old);
    }

    fn wake_channel(&self) {
        let receiver = self.lock().receiver.take();
        wake(receiver);
    }

    /// Takes nothing more in, and gives away what is inside.
    fn empty(&self) -> Lines {
        let mut state = self.lock();
        state.is_closed = true;
        let lines = std::mem::take(&mut state.lines);
        let is_awaited = std::mem::take(&mut state.is_awaited);
        let receiver = state.receiver.take();
        drop(state);
        self.release(lines.request_bytes());
        self.link.counters.inbox_out.add(lines.len() as u64);
        if is_awaited {
            self.link.waiting.wake();
        }
        wake(receiver);
        lines
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

impl State {
    /// Notes whom to wake, and for what. Gives back who was noted before.
    fn wait(&mut self, only_the_end_matters: bool, cx: &Context<'_>) -> Option<Waker> {
        self.only_the_end_matters = only_the_end_matters;
        match &self.receiver {
            Some(known) if known.will_wake(cx.waker()) => None,
            _ => self.receiver.replace(cx.waker().clone()),
        }
    }

    /// Whether the channel may take nothing out any more.
    fn is_late(&self) -> bool {
        let deadline = self.deadline();
        deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    fn deadline(&self) -> Option<Instant> {
        match self.over.as_deref()? {
            Over::Connection { deadline, .. } => Some(*deadline),
            Over::Channel { .. } => None,
        }
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request(_) => "Request(..)",
            Self::Out(_) => "Out(..)",
            Self::Info(_) => "Info(..)",
            Self::Lost(_) => "Lost(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::mpsc;

    use super::*;
    use crate::pubsub::PubSub;
    use crate::testing::TestSockets;
    use crate::transport::{Field, Payload};
    use crate::{Channel, RawEvent, Refused, Reply, Sockets};

    /// Shows its connection.
    struct Show;

    impl Channel<mpsc::Sender<Arc<Link>>> for Show {
        type Params = ();
        type Event = RawEvent;

        async fn join(
            links: &mpsc::Sender<Arc<Link>>,
            socket: &mut Socket,
            (): (),
        ) -> Result<Self, Refused> {
            let links = links.clone();
            socket.after_join(move |socket| {
                links.send(socket.pusher().link).expect("the test waits");
                Box::pin(async { Flow::Stop })
            });
            Ok(Self)
        }

        async fn handle_in(&mut self, _: &mut Socket, _: RawEvent) -> Reply {
            Reply::none()
        }
    }

    async fn link() -> Arc<Link> {
        let (sender, links) = mpsc::channel();
        let sockets = Sockets::new(&PubSub::local(), sender).channel::<Show>("*");
        let socket = TestSockets::new(sockets)
            .connect(serde_json::json!({}))
            .await
            .unwrap();
        socket.join("t", ()).await.unwrap();
        crate::testing::settle().await;
        links.recv().unwrap()
    }

    /// It would come out again at once: a channel that waits for its client to read would take it and put it back for ever.
    #[tokio::test(start_paused = true)]
    async fn a_closed_inbox_takes_nothing_back() {
        let event = Request::Event {
            event: "say".into(),
            reference: None,
            payload: Payload::object(),
        };
        let (sender, mut receiver) = inbox(&link().await, 0);
        let next = async |receiver: &mut InboxReceiver| match poll_fn(|cx| {
            receiver.poll_recv(cx, Takes::All)
        })
        .await
        {
            Some(Item::Request(request)) => Some(request),
            _ => None,
        };
        assert_eq!(sender.offer(event.clone()), None);
        let taken = next(&mut receiver).await.unwrap();
        assert_eq!(receiver.put_back(taken), None);
        let taken = next(&mut receiver).await.unwrap();
        sender.close(Terminated::Closed);
        assert_eq!(receiver.put_back(taken), Some(event));
        assert_eq!(next(&mut receiver).await, None);
    }

    #[test]
    fn all_that_a_client_wrote_counts_against_the_bound() {
        let long = Some(Field::from("r".repeat(100)));
        let event = Request::Event {
            event: "e".repeat(1_000).into(),
            reference: long.clone(),
            payload: Payload::object(),
        };
        assert_eq!(bytes_of(&event), ITEM_BYTES + 1_000 + 100 + 2);
        let leave = Request::Leave {
            join_ref: long.clone(),
            reference: long,
        };
        assert_eq!(bytes_of(&leave), ITEM_BYTES + 200);
    }
}
