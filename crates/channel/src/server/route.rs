//! What starts a channel, and what it is started with.

use std::marker::PhantomData;
use std::sync::Arc;

use bytestring::ByteString;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::joining::take_seat;
use super::serve;
use crate::assigns::Assigns;
use crate::channel::Channel;
use crate::inbox::{InboxReceiver, InboxSender};
use crate::link::Link;
use crate::multiplexer::{InstanceId, JoinRefs, Wait};
use crate::transport::{Field, Payload};

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
        let joining = Box::pin(take_seat::<App, C>(Arc::clone(&self.app), seat));
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
