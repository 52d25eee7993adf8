//! From a broadcast to the clients' mailboxes without waking their channels.
//!
//! A channel subscribes to its topic with a [`Lane`]: the way to its socket, the socket's version of the wire, and the
//! events that the channel wants to see first. [`Fastlane`] runs in whatever thread broadcasts, or received from another
//! node; it encodes the event once per version and hands the same frame to every lane, also where a huge topic is served
//! in parts.

use std::ptr;
use std::sync::Arc;

use bytestring::ByteString;

use crate::Broadcast;
use crate::channel_type::{ChannelType, within};
use crate::gate::{Gate, Held, MAX_HELD_BYTES, MAX_HELD_FRAMES, Passed};
use crate::inbox::InboxSender;
use crate::link::{Link, Mail};
use crate::log_lines::LogLines;
use crate::pubsub::mailbox::Pushed;
use crate::pubsub::{Delivery, Dispatcher, Memo, Message, Sink, Subscriber, Subscribers};
use crate::pusher::Join;
use crate::stats::Counters;
use crate::transport::{Outbox, Serializer, ServerMessage, SharedFrame, WhenSlow};
use matryoshka_transport::excerpt;

/// Delivers broadcasts of the kind [`KIND`](crate::KIND), to all subscribers at once or in parts.
pub(crate) struct Fastlane;

impl Dispatcher for Fastlane {
    fn dispatch(&self, subscribers: Subscribers<'_>, message: &Message) -> usize {
        FanOut::of(message).deliver(subscribers, message)
    }

    fn dispatch_part(
        &self,
        part: Subscribers<'_>,
        message: &Message,
        memo: &mut Memo,
    ) -> Option<usize> {
        let fan_out = memo.get_or_insert_with(|| FanOut::of(message));
        Some(fan_out.deliver(part, message))
    }
}

/// What is known of one message from its first subscriber to its last.
enum FanOut {
    Broadcast(Encodings),
    Malformed,
    OtherKind,
}

impl FanOut {
    fn of(message: &Message) -> Self {
        match Broadcast::from_message(message) {
            Some(Ok(broadcast)) => Self::Broadcast(Encodings::new(broadcast)),
            Some(Err(error)) => {
                tracing::warn!(topic = excerpt(message.topic()), %error, "a broadcast is dropped");
                Self::Malformed
            }
            None => Self::OtherKind,
        }
    }

    /// How many of these got it.
    fn deliver(&mut self, subscribers: Subscribers<'_>, message: &Message) -> usize {
        let encodings = match self {
            Self::Broadcast(encodings) => encodings,
            Self::Malformed => return 0,
            Self::OtherKind => return subscribers.deliver(message),
        };
        let mut delivered = 0;
        let mut subscribers = subscribers.iter();
        while let Some(first) = subscribers.next() {
            let mut piece = [None; PIECE];
            piece[0] = Some(Target::of(first));
            let rest = piece[1..].iter_mut().zip(&mut subscribers);
            rest.for_each(|(target, subscriber)| *target = Some(Target::of(subscriber)));
            let event = encodings.broadcast.event();
            let ways = piece.map(|target| target?.lane.map(|lane| (lane, lane.way(event))));
            let ways = ways.map(|way| way.map(|(lane, way)| (lane, lane.unless_closed(way))));
            for (target, way) in piece.into_iter().zip(ways) {
                let Some(target) = target else { break };
                let delivery = match way {
                    Some((lane, way)) => lane.broadcast(way, encodings),
                    None => target.subscriber.deliver(message),
                };
                delivered += usize::from(delivery == Delivery::Delivered);
            }
        }
        delivered
    }
}

/// How many subscribers are looked at before the first of them gets the message.
///
/// What is known of a subscriber lies in several places, each found through the one before it, and mostly none is in the processor's
/// near memory. While nothing is written it waits for those of many subscribers at once, where each step looks at one place of each;
/// each lock that is taken makes it wait for everything before it.
const PIECE: usize = 32;

#[derive(Clone, Copy)]
struct Target<'a> {
    subscriber: Subscriber<'a>,
    /// Where it leads, if it is a channel's.
    lane: Option<&'a Lane>,
}

impl<'a> Target<'a> {
    fn of(subscriber: Subscriber<'a>) -> Self {
        let lane = subscriber.sink_as();
        Self { subscriber, lane }
    }
}

/// Where a lane takes a broadcast. What is seen to be open or closed stays so.
#[derive(Clone, Copy)]
enum Way {
    /// The channel wants to see it first.
    Inbox,
    /// It may have to wait.
    Gate,
    /// The gate is open.
    Outbox,
    /// So is the gate, but the connection has ended.
    Nowhere,
}

/// A channel's subscription to its own topic. What a fan-out looks at stands first, and together.
#[repr(C)]
pub(crate) struct Lane {
    gate: Gate,
    join: Join,
    /// The link's: a fan-out that had to look there for each socket would wait for one more place in memory.
    outbox: Outbox<Mail>,
    /// As well.
    serializer: &'static dyn Serializer,
    link: Arc<Link>,
    inbox: InboxSender,
}

impl Lane {
    /// One that holds these events back for as long as what the join put off is not done.
    pub(crate) fn new(
        link: Arc<Link>,
        inbox: InboxSender,
        join: Join,
        held_events: Vec<ByteString>,
    ) -> Self {
        Self {
            outbox: link.outbox.clone(),
            serializer: link.serializer,
            link,
            inbox,
            join,
            gate: Gate::new(held_events),
        }
    }

    /// The connection that it leads to.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// The join's answer is on its way: what came since the subscription follows it, but for the events that are held back.
    pub(crate) fn answered(&self) {
        self.gate.answered(|frame| {
            self.put(frame);
        });
    }

    /// What the join put off is done: the events that were held back for it follow.
    pub(crate) fn open(&self) {
        self.gate.open(|frame| {
            self.put(frame);
        });
    }

    /// Writes nothing and takes no lock.
    fn way(&self, event: &str) -> Way {
        if self.join.channel_type.intercept.contains(&event) {
            Way::Inbox
        } else if self.gate.is_open() {
            Way::Outbox
        } else {
            Way::Gate
        }
    }

    /// As well.
    fn unless_closed(&self, way: Way) -> Way {
        match way {
            Way::Outbox if self.outbox.is_closed() => Way::Nowhere,
            way => way,
        }
    }

    fn broadcast(&self, way: Way, encodings: &mut Encodings) -> Delivery {
        match way {
            Way::Inbox => return self.intercepted(encodings.broadcast.clone()),
            Way::Nowhere => return Delivery::Closed,
            Way::Gate | Way::Outbox => {}
        }
        let when_slow = encodings.when_slow(self.join.channel_type, &self.link);
        let when_slow = within(when_slow, self.join.id);
        let Some(frame) = encodings.frame(self.serializer) else {
            self.link.counters.unencodable.add_one();
            encodings.pass_over(&self.link.counters);
            return Delivery::Dropped;
        };
        if let Way::Outbox = way {
            return delivery(self.outbox.shared_frame(frame, when_slow));
        }
        let frame = Held {
            frame: frame.frame().clone(),
            when_slow,
        };
        match self.pass(encodings.broadcast.event(), frame) {
            Passed::Open(frame) => delivery(self.put(frame)),
            Passed::Held => Delivery::Delivered,
            Passed::Dropped => {
                self.count_dropped(&encodings.broadcast);
                Delivery::Dropped
            }
        }
    }

    /// So much in the moment before a join's answer is worth a line.
    fn count_dropped(&self, broadcast: &Broadcast) {
        self.link.counters.inbox_dropped.add_one();
        if let Some(left_out) = self.link.counters.lines.before_answer.pass_now() {
            tracing::warn!(
                topic = excerpt(broadcast.topic()),
                frames = MAX_HELD_FRAMES,
                bytes = MAX_HELD_BYTES,
                left_out,
                "broadcasts are dropped for one client: so many, or so much, wait for the answer to its join"
            );
        }
    }

    fn pass(&self, event: &str, frame: Held) -> Passed {
        self.gate.pass(event, frame, |frame| {
            self.put(frame);
        })
    }

    fn put(&self, Held { frame, when_slow }: Held) -> Pushed {
        self.outbox
            .shared_frame(&mut SharedFrame::new(frame), when_slow)
    }

    fn intercepted(&self, broadcast: Broadcast) -> Delivery {
        self.inbox.intercepted(broadcast, |broadcast| {
            let (topic, event) = (broadcast.topic(), broadcast.event());
            let channel_type = self.join.channel_type;
            let lines = &self.link.counters.lines;
            channel_type.when_slow(topic, event, broadcast.payload(), lines)
        })
    }
}

/// Reached only by messages of other kinds, which mean nothing to a client.
impl Sink for Lane {
    fn deliver(&self, _message: &Message) -> Delivery {
        Delivery::Dropped
    }
}

pub(crate) fn delivery(pushed: Pushed) -> Delivery {
    match pushed {
        Pushed::Queued => Delivery::Delivered,
        Pushed::Dropped => Delivery::Dropped,
        Pushed::Closed => Delivery::Closed,
    }
}

/// One broadcast in each version of the wire that its subscribers speak, encoded when first asked for. Dropped after the
/// last subscriber, it says in one line how many were passed over.
struct Encodings {
    broadcast: Broadcast,
    /// There are two versions, and perhaps one of the application's, so a list beats a map. `None` is a version that cannot carry it.
    done: Vec<(&'static str, Option<SharedFrame>)>,
    /// What the first type of channel says of it that was asked. Those on one topic are mostly of one.
    when_slow: Option<(&'static ChannelType, WhenSlow)>,
    /// What others say.
    when_slow_of_others: Vec<(&'static ChannelType, WhenSlow)>,
    misfits: usize,
    /// Of one of the misfits.
    counters: Option<Arc<Counters>>,
}

impl Encodings {
    fn new(broadcast: Broadcast) -> Self {
        Self {
            broadcast,
            done: Vec::new(),
            when_slow: None,
            when_slow_of_others: Vec::new(),
            misfits: 0,
            counters: None,
        }
    }

    /// What that type says of it. The link is looked at only where the type is asked, which it mostly was already: see [`PIECE`].
    fn when_slow(&mut self, channel_type: &'static ChannelType, link: &Arc<Link>) -> WhenSlow {
        match self.when_slow {
            Some((known, when_slow)) if ptr::eq(known, channel_type) => when_slow,
            Some(_) => self.when_slow_of_another(channel_type, link),
            None => {
                let when_slow = self.ask(channel_type, &link.counters.lines);
                self.when_slow = Some((channel_type, when_slow));
                when_slow
            }
        }
    }

    fn when_slow_of_another(
        &mut self,
        channel_type: &'static ChannelType,
        link: &Arc<Link>,
    ) -> WhenSlow {
        let mut others = self.when_slow_of_others.iter();
        if let Some((_, when_slow)) = others.find(|(known, _)| ptr::eq(*known, channel_type)) {
            return *when_slow;
        }
        let when_slow = self.ask(channel_type, &link.counters.lines);
        self.when_slow_of_others.push((channel_type, when_slow));
        when_slow
    }

    fn ask(&self, channel_type: &ChannelType, lines: &LogLines) -> WhenSlow {
        let (topic, event) = (self.broadcast.topic(), self.broadcast.event());
        channel_type.when_slow(topic, event, self.broadcast.payload(), lines)
    }

    fn frame(&mut self, serializer: &'static dyn Serializer) -> Option<&mut SharedFrame> {
        let vsn = serializer.vsn();
        // Mostly the very same text, and then its bytes need not be compared.
        let is_it = |done: &'static str| ptr::eq(done, vsn) || done == vsn;
        let index = match self.done.iter().position(|(done, _)| is_it(done)) {
            Some(index) => index,
            None => {
                let frame = serializer.encode(&message(&self.broadcast)).ok();
                self.done.push((vsn, frame.map(SharedFrame::new)));
                self.done.len() - 1
            }
        };
        self.done[index].1.as_mut()
    }

    /// A client's version of the wire cannot carry it.
    fn pass_over(&mut self, counters: &Arc<Counters>) {
        self.misfits += 1;
        self.counters.get_or_insert_with(|| Arc::clone(counters));
    }
}

impl Drop for Encodings {
    fn drop(&mut self) {
        let lines = self.counters.as_ref().map(|counters| &counters.lines);
        if let Some(left_out) = lines.and_then(|lines| lines.misfit.pass_now()) {
            let topic = excerpt(self.broadcast.topic());
            let event = excerpt(self.broadcast.event());
            let clients = self.misfits;
            tracing::warn!(
                topic,
                event,
                clients,
                left_out,
                "a broadcast does not fit these clients' version of the wire"
            );
        }
    }
}

fn message(broadcast: &Broadcast) -> ServerMessage {
    ServerMessage::Broadcast {
        topic: broadcast.topic().as_byte_string().clone(),
        event: broadcast.event_text().clone(),
        payload: broadcast.payload().clone(),
    }
}
