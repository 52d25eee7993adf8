//! Who delivers a message to the subscribers of this node, and how.

use std::any::Any;
use std::fmt;
use std::iter::Take;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use matryoshka_registry::{EntriesIter, Entry, OwnerId};

use crate::Message;
use crate::mailbox::{Loss, MailboxSender, Pushed};
use crate::stats::Counters;

/// The place where messages of one subscription go.
///
/// Called in the thread that publishes, or that received from another node, under no lock: it must not block. A panic is
/// contained: it costs this one delivery.
pub trait Sink: Any + Send + Sync {
    /// Takes one message.
    fn deliver(&self, message: &Message) -> Delivery;
}

/// What became of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It arrived.
    Delivered,
    /// It was lost: the receiver is too slow, or its sink panicked.
    Dropped,
    /// The receiver is gone.
    Closed,
}

/// Delivers the messages of one [`Kind`](crate::Kind) to their subscribers, where plain delivery is not what is wanted:
/// to encode once for many, or to choose by subscriber.
pub trait Dispatcher: Any + Send + Sync {
    /// Delivers `message` to `subscribers`; how many got it.
    ///
    /// Called under no lock, in the thread that publishes or received; never without subscribers in the topic (the
    /// excluded publisher's may be the only ones, and then the iteration is empty). A panic is contained: it costs this one message.
    fn dispatch(&self, subscribers: Subscribers<'_>, message: &Message) -> usize;

    /// As [`dispatch`](Self::dispatch) for some of the subscribers, where a huge topic is served in parts; the other parts
    /// follow. `memo` is empty at the first part and kept for the next ones: what is encoded once belongs there.
    ///
    /// `None`, as here, says that this dispatcher cannot divide its work; nothing was delivered then, and `dispatch` serves
    /// all that are left, at once.
    fn dispatch_part(
        &self,
        part: Subscribers<'_>,
        message: &Message,
        memo: &mut Memo,
    ) -> Option<usize> {
        let _ = (part, message, memo);
        None
    }
}

/// What a [`Dispatcher`] keeps from one part of a fan-out to the next.
#[derive(Default)]
pub struct Memo(Option<Box<dyn Any + Send>>);

impl Memo {
    /// The `T` kept, made now if there is none.
    pub fn get_or_insert_with<T: Any + Send>(&mut self, make: impl FnOnce() -> T) -> &mut T {
        if !self.0.as_ref().is_some_and(|kept| kept.is::<T>()) {
            self.0 = Some(Box::new(make()));
        }
        let kept = self.0.as_mut().and_then(|kept| kept.downcast_mut());
        kept.expect("a T was put there above")
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo").finish_non_exhaustive()
    }
}

/// The subscribers of one message, without those of the publisher that is to be skipped. Iterate it, any number of times.
#[derive(Clone, Copy)]
pub struct Subscribers<'a> {
    entries: &'a EntriesIter<'a, SinkRef>,
    limit: usize,
    except: Option<OwnerId>,
    counters: &'a Counters,
}

impl<'a> Subscribers<'a> {
    pub(crate) fn new(
        entries: &'a EntriesIter<'a, SinkRef>,
        limit: usize,
        except: Option<OwnerId>,
        counters: &'a Counters,
    ) -> Self {
        Self {
            entries,
            limit,
            except,
            counters,
        }
    }

    /// Each subscriber, oldest first.
    pub fn iter(&self) -> SubscribersIter<'a> {
        SubscribersIter {
            entries: self.entries.clone().take(self.limit),
            except: self.except,
            counters: self.counters,
        }
    }

    /// Delivers the message as it is to each subscriber; how many got it. What is done for a kind without dispatcher.
    pub fn deliver(&self, message: &Message) -> usize {
        let got = |subscriber: Subscriber<'_>| subscriber.deliver(message) == Delivery::Delivered;
        self.iter()
            .map(|subscriber| usize::from(got(subscriber)))
            .sum()
    }
}

impl Subscribers<'_> {
    /// As [`deliver`](Self::deliver), with a message that the last one may keep: a clone less.
    pub(crate) fn give(&self, message: Message) -> usize {
        let mut subscribers = self.iter();
        let Some(mut subscriber) = subscribers.next() else {
            return 0;
        };
        let mut delivered = 0;
        for next in subscribers {
            delivered += usize::from(subscriber.deliver(&message) == Delivery::Delivered);
            subscriber = next;
        }
        delivered + usize::from(subscriber.give(message) == Delivery::Delivered)
    }
}

impl<'a> IntoIterator for Subscribers<'a> {
    type Item = Subscriber<'a>;
    type IntoIter = SubscribersIter<'a>;

    fn into_iter(self) -> SubscribersIter<'a> {
        self.iter()
    }
}

/// Iterates over [`Subscribers`], oldest first.
#[derive(Clone)]
pub struct SubscribersIter<'a> {
    entries: Take<EntriesIter<'a, SinkRef>>,
    except: Option<OwnerId>,
    counters: &'a Counters,
}

impl<'a> Iterator for SubscribersIter<'a> {
    type Item = Subscriber<'a>;

    #[inline]
    fn next(&mut self) -> Option<Subscriber<'a>> {
        let except = self.except;
        let entry = self.entries.find(|entry| Some(entry.owner()) != except)?;
        let counters = self.counters;
        Some(Subscriber { entry, counters })
    }
}

/// One subscription, as a [`Dispatcher`] sees it.
#[derive(Clone, Copy)]
pub struct Subscriber<'a> {
    entry: &'a Entry<SinkRef>,
    counters: &'a Counters,
}

impl<'a> Subscriber<'a> {
    /// Who subscribed.
    pub fn owner(&self) -> OwnerId {
        self.entry.owner()
    }

    /// The sink, if it is a `T`.
    #[inline]
    pub fn sink_as<T: Sink>(&self) -> Option<&'a T> {
        let sink: &'a dyn Any = match self.entry.value().inner() {
            SinkRef::Other(sink) => &**sink,
            SinkRef::Mailbox(sender) => sender,
            SinkRef::Tagged(_) => return None,
        };
        sink.downcast_ref()
    }

    /// The metadata given at subscription, if it is an `M`.
    pub fn metadata<M: Any>(&self) -> Option<&'a M> {
        self.entry.value().metadata()
    }

    /// Hands `message` to the sink. Its panic is contained and counted, and makes the delivery a dropped one.
    pub fn deliver(&self, message: &Message) -> Delivery {
        self.deliver_to_sink(self.entry.value(), message)
    }

    fn give(&self, message: Message) -> Delivery {
        match self.entry.value() {
            SinkRef::Mailbox(sender) if sender.on_overflow() != Loss::Latest => {
                self.push(sender, message)
            }
            sink => self.deliver_to_sink(sink, &message),
        }
    }

    fn deliver_to_sink(&self, sink: &SinkRef, message: &Message) -> Delivery {
        match sink {
            // The key is the user's, and so is its panic.
            SinkRef::Mailbox(sender) if sender.on_overflow() == Loss::Latest => {
                let push = || self.push(sender, message.clone());
                self.contained(push, || sender.lose())
            }
            SinkRef::Mailbox(sender) => self.push(sender, message.clone()),
            SinkRef::Other(sink) => self.deliver_to(&**sink, message),
            SinkRef::Tagged(tagged) => self.deliver_to_sink(&tagged.0, message),
        }
    }

    fn push(&self, sender: &MailboxSender<Message>, message: Message) -> Delivery {
        let (pushed, lost) = push(sender, message);
        if lost > 0 {
            self.counters.lost(sender.on_overflow(), lost);
        }
        delivery(pushed)
    }

    fn deliver_to(&self, sink: &dyn Sink, message: &Message) -> Delivery {
        let deliver = || {
            let delivery = sink.deliver(message);
            if delivery == Delivery::Dropped {
                self.counters.dropped.add(1);
            }
            delivery
        };
        self.contained(deliver, || {})
    }

    /// Runs what the user wrote; its panic makes the delivery a dropped one.
    fn contained(&self, deliver: impl FnOnce() -> Delivery, panicked: impl FnOnce()) -> Delivery {
        catch_unwind(AssertUnwindSafe(deliver)).unwrap_or_else(|_| {
            self.counters.panics.add(1);
            self.counters.dropped.add(1);
            tracing::error!("a sink panicked: this one delivery is lost");
            panicked();
            Delivery::Dropped
        })
    }
}

/// What stands in the registry. Plain mailboxes, the most common sink, are reached without another pointer between.
#[derive(Clone)]
pub(crate) enum SinkRef {
    Mailbox(MailboxSender<Message>),
    Other(Arc<dyn Sink>),
    /// With metadata; never one of these within.
    Tagged(Arc<(SinkRef, Metadata)>),
}

impl SinkRef {
    pub(crate) fn with(self, metadata: Metadata) -> Self {
        Self::Tagged(Arc::new((self, metadata)))
    }

    fn inner(&self) -> &Self {
        match self {
            Self::Tagged(tagged) => &tagged.0,
            sink => sink,
        }
    }

    pub(crate) fn metadata<M: Any>(&self) -> Option<&M> {
        match self {
            Self::Tagged(tagged) => tagged.1.0.downcast_ref(),
            _ => None,
        }
    }
}

/// What a subscriber said about its subscription.
pub(crate) struct Metadata(Box<dyn Any + Send + Sync>);

impl Metadata {
    pub(crate) fn new(metadata: impl Any + Send + Sync) -> Self {
        Self(Box::new(metadata))
    }
}

/// A mailbox takes messages as they are; their payload counts against its bound.
impl Sink for MailboxSender<Message> {
    fn deliver(&self, message: &Message) -> Delivery {
        delivery(push(self, message.clone()).0)
    }
}

fn push(mailbox: &MailboxSender<Message>, message: Message) -> (Pushed, u64) {
    let bytes = message.payload().len();
    mailbox.push_counted(message, bytes)
}

fn delivery(pushed: Pushed) -> Delivery {
    match pushed {
        Pushed::Queued => Delivery::Delivered,
        Pushed::Dropped => Delivery::Dropped,
        Pushed::Closed => Delivery::Closed,
    }
}
