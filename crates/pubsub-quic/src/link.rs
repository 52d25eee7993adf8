//! One connection: its queues, and the task that writes them out, reads what comes in and hands it on.
//!
//! A slow peer stalls only its own queues. A lane's reader is a task of its own, so lanes do not wait for each
//! other; they all end before the link's task does, which is how nothing is handed on after `Down`.

mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use matryoshka_pubsub::cluster::MemberEvent;
use matryoshka_pubsub::{Envelope, Inbound, Kind, Origin, TopicName, TrafficClass};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use self::queue::{Entry, Pushed, Queue};
use crate::adapter::Shared;
use crate::config::{
    BULK_LANE_BYTES, CONTROL_STREAM_BYTES, TRACKER_LANE_BYTES, USER_LANE_BYTES, USER_LANES,
};
use crate::connect::explain;
use crate::proto::close::Close;
use crate::proto::frame::{
    Frame, FrameDecoder, Lane, MAX_CONTROL_FRAME_BYTES, MAX_LANE_FRAME_BYTES, MessageFrame,
};
use crate::proto::mesh::Ended;
use crate::proto::peer::ConnectionId;
use crate::stats::PeerCounters;

/// How much is read from a stream at once.
const READ_BYTES: usize = 64 * 1024;
/// Payloads up to this size are copied together before they are written; larger ones go as they are.
const COPY_PAYLOAD_BYTES: usize = 1024;
/// How much is copied together at most.
const COPY_CHUNK_BYTES: usize = 32 * 1024;

/// What became of a message that was to go to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handed {
    /// It waits to be written.
    Queued,
    /// There was no room; the peer will be told, or the link is being closed.
    Dropped,
    /// The link has ended.
    Closed,
}

/// The sending side of a connection, for whoever publishes and for the driver.
pub(crate) struct Lanes {
    connection: Connection,
    control_stream: Queue,
    control: Queue,
    tracker: Queue,
    bulk: Queue,
    user: Vec<Queue>,
}

impl Lanes {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            connection,
            control_stream: Queue::new(CONTROL_STREAM_BYTES),
            control: Queue::new(TRACKER_LANE_BYTES),
            tracker: Queue::new(TRACKER_LANE_BYTES),
            bulk: Queue::new(BULK_LANE_BYTES),
            user: (0..USER_LANES)
                .map(|_| Queue::new(USER_LANE_BYTES))
                .collect(),
        }
    }

    /// Queues a message in its class's lane. Never waits.
    pub(crate) fn hand(&self, envelope: &Envelope, head: Bytes) -> Handed {
        let payload = envelope.payload.clone();
        let entry = Entry { head, payload };
        let pushed = match envelope.class {
            TrafficClass::Control => self.push_or_close(&self.control, entry),
            TrafficClass::Tracker => self.push_or_close(&self.tracker, entry),
            TrafficClass::Bulk => self.bulk.push_or_lose(entry),
            TrafficClass::User => self.user_lane(envelope.lane).push_or_lose(entry),
        };
        match pushed {
            Pushed::Queued => Handed::Queued,
            Pushed::Full => Handed::Dropped,
            Pushed::Closed => Handed::Closed,
        }
    }

    /// Queues a frame of the protocol's own.
    pub(crate) fn send(&self, frame: &Frame) {
        self.push_or_close(&self.control_stream, Entry::of(frame));
    }

    /// Ends the connection now; what still waits is lost.
    pub(crate) fn close(&self, close: &Close) {
        self.connection
            .close(VarInt::from_u32(close.code()), &close.reason());
        self.finish();
    }

    /// Takes nothing more, and ends the connection once everything has arrived.
    pub(crate) fn finish(&self) {
        self.queues().for_each(Queue::close);
    }

    fn push_or_close(&self, queue: &Queue, entry: Entry) -> Pushed {
        let pushed = queue.push(entry);
        if pushed == Pushed::Full {
            tracing::warn!(
                peer = %self.connection.remote_address(),
                "the link is closed: what must not be lost did not fit into its queue, the peer is too slow"
            );
            self.close(&Close::Overflow);
        }
        pushed
    }

    fn user_lane(&self, lane: u64) -> &Queue {
        // Publishers count up and topics are hashed: the remainder spreads both.
        &self.user[(lane % USER_LANES as u64) as usize]
    }

    fn queues(&self) -> impl Iterator<Item = &Queue> {
        [&self.control_stream, &self.control, &self.tracker]
            .into_iter()
            .chain(&self.user)
            .chain([&self.bulk])
    }
}

/// A connection on which both sides can talk.
pub(crate) struct Established {
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    pub(crate) receive: RecvStream,
    pub(crate) certified: Vec<String>,
}

/// What makes the link's task hand on what it receives.
pub(crate) struct Raise {
    pub(crate) origin: Arc<Origin>,
    pub(crate) inbound: Inbound,
    pub(crate) counters: Arc<PeerCounters>,
}

/// What a link's task works with.
pub(crate) struct LinkTask {
    pub(crate) id: ConnectionId,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) shared: Arc<Shared>,
    /// Grows with everything that arrives.
    pub(crate) activity: Arc<AtomicU64>,
    pub(crate) frames: mpsc::Sender<(ConnectionId, Frame)>,
    pub(crate) raise: oneshot::Receiver<Raise>,
}

impl LinkTask {
    /// Runs until the connection has ended and nothing of it is handed on any more.
    pub(crate) async fn run(self, send: SendStream, receive: RecvStream) -> Ended {
        let Self {
            id,
            lanes,
            shared,
            activity,
            frames,
            raise,
        } = self;
        let mut readers = JoinSet::new();
        let control = Reader {
            activity: activity.clone(),
            shared: shared.clone(),
            decoder: FrameDecoder::new(MAX_CONTROL_FRAME_BYTES),
            stream: receive,
        };
        let fault = tokio::select! {
            fault = write_all(&lanes, send) => fault,
            fault = read_control(control, id, &frames, &lanes.connection) => fault,
            fault = read_lanes(&lanes.connection, raise, &activity, &shared, &mut readers) => fault,
        };
        lanes.close(&match &fault {
            Fault::Flushed => Close::Leaving,
            Fault::Lost => Close::Silent,
            Fault::Protocol(text) => Close::Protocol { text: text.clone() },
        });
        readers.shutdown().await;
        ended(&lanes.connection, fault)
    }
}

/// Why a link's task stops.
enum Fault {
    /// All queues were closed, and everything has arrived.
    Flushed,
    /// The connection is gone; it knows why.
    Lost,
    /// The peer sent what it must not.
    Protocol(String),
}

fn ended(connection: &Connection, fault: Fault) -> Ended {
    if let Fault::Protocol(text) = fault {
        let text = format!("it broke the protocol: {text}");
        return Ended::Broken { text };
    }
    match connection.close_reason() {
        None | Some(ConnectionError::LocallyClosed) => Ended::ClosedHere,
        Some(ConnectionError::ApplicationClosed(close)) => {
            Ended::ClosedByPeer(Close::read(close.error_code.into_inner(), &close.reason))
        }
        Some(error) => Ended::Broken {
            text: explain(&error),
        },
    }
}

/// Writes all queues, each to its own stream, until they are closed and empty.
async fn write_all(lanes: &Lanes, control_stream: SendStream) -> Fault {
    let mut writers = FuturesUnordered::new();
    let mut streams = vec![Some(control_stream)];
    for (number, queue) in lanes.queues().enumerate() {
        let stream = streams.pop().flatten();
        writers.push(write_queue(lanes, number, queue, stream));
    }
    while let Some(written) = writers.next().await {
        if written.is_err() {
            return Fault::Lost;
        }
    }
    Fault::Flushed
}

/// The stream broke, so the connection did or is about to.
struct Broken;

async fn write_queue(
    lanes: &Lanes,
    number: usize,
    queue: &Queue,
    mut stream: Option<SendStream>,
) -> Result<(), Broken> {
    let mut batch = Vec::new();
    while queue.next_batch(&mut batch).await {
        if stream.is_none() {
            stream = Some(lanes.connection.open_uni().await.map_err(|_| Broken)?);
            let lane = number as u16;
            batch.insert(0, Entry::of(&Frame::Lane(Lane { lane })));
        }
        let Some(stream) = &mut stream else {
            return Err(Broken);
        };
        // The first queues matter most, and the last one can wait.
        stream.set_priority(-(number as i32)).map_err(|_| Broken)?;
        let mut chunks = chunks(&mut batch);
        stream
            .write_all_chunks(&mut chunks)
            .await
            .map_err(|_| Broken)?;
    }
    if let Some(mut stream) = stream {
        stream.finish().map_err(|_| Broken)?;
        stream.stopped().await.map_err(|_| Broken)?;
    }
    Ok(())
}

/// Small parts copied together, large ones as they are.
fn chunks(batch: &mut Vec<Entry>) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    let mut small = BytesMut::new();
    for entry in batch.drain(..) {
        if small.len() + entry.head.len() > COPY_CHUNK_BYTES {
            chunks.push(small.split().freeze());
        }
        small.extend_from_slice(&entry.head);
        if entry.payload.len() <= COPY_PAYLOAD_BYTES {
            small.extend_from_slice(&entry.payload);
        } else {
            chunks.push(small.split().freeze());
            chunks.push(entry.payload);
        }
    }
    if !small.is_empty() {
        chunks.push(small.freeze());
    }
    chunks
}

/// Frames of one stream.
struct Reader {
    activity: Arc<AtomicU64>,
    shared: Arc<Shared>,
    decoder: FrameDecoder,
    stream: RecvStream,
}

impl Reader {
    /// The next frame; `None` when the other side has finished the stream.
    async fn next(&mut self) -> Result<Option<Frame>, Fault> {
        loop {
            let before = self.decoder.skipped();
            let frame = self.decoder.next();
            let skipped = self.decoder.skipped() - before;
            if skipped > 0 {
                self.shared.counters.skipped_frames.add(skipped);
            }
            match frame {
                Ok(None) => {}
                Ok(frame) => return Ok(frame),
                Err(error) => return Err(Fault::Protocol(error.to_string())),
            }
            let chunk = self.stream.read_chunk(READ_BYTES, true).await;
            let Some(chunk) = chunk.map_err(|_| Fault::Lost)? else {
                return Ok(None);
            };
            self.activity.fetch_add(1, Ordering::Relaxed);
            self.decoder.feed(&chunk.bytes);
        }
    }
}

async fn read_control(
    mut control: Reader,
    id: ConnectionId,
    frames: &mpsc::Sender<(ConnectionId, Frame)>,
    connection: &Connection,
) -> Fault {
    loop {
        match control.next().await {
            Ok(Some(frame)) => {
                if frames.send((id, frame)).await.is_err() {
                    return Fault::Lost;
                }
            }
            Ok(None) => {
                // It has said all it had to say and closes as soon as it knows that everything arrived.
                connection.closed().await;
                return Fault::Lost;
            }
            Err(fault) => return fault,
        }
    }
}

/// Once raised, takes in the peer's lanes, each in a task of its own.
async fn read_lanes(
    connection: &Connection,
    raise: oneshot::Receiver<Raise>,
    activity: &Arc<AtomicU64>,
    shared: &Arc<Shared>,
    readers: &mut JoinSet<Result<(), Fault>>,
) -> Fault {
    let Ok(raise) = raise.await else {
        // Not raised and never will be: whoever dropped the other end also closes the connection.
        connection.closed().await;
        return Fault::Lost;
    };
    let raise = Arc::new(raise);
    loop {
        tokio::select! {
            stream = connection.accept_uni() => {
                let Ok(stream) = stream else { return Fault::Lost };
                let reader = Reader {
                    activity: activity.clone(),
                    shared: shared.clone(),
                    decoder: FrameDecoder::new(MAX_LANE_FRAME_BYTES),
                    stream,
                };
                readers.spawn(read_lane(reader, raise.clone()));
            }
            Some(read) = readers.join_next() => match read {
                Ok(Ok(())) => {}
                Ok(Err(fault)) => return fault,
                Err(panic) => return Fault::Protocol(format!("a lane's reader failed: {panic}")),
            }
        }
    }
}

async fn read_lane(mut lane: Reader, raise: Arc<Raise>) -> Result<(), Fault> {
    match lane.next().await? {
        Some(Frame::Lane(_)) => {}
        None => return Ok(()),
        Some(other) => {
            let text = format!("a lane begins with {}", other.label());
            return Err(Fault::Protocol(text));
        }
    }
    while let Some(frame) = lane.next().await? {
        match frame {
            Frame::Message(message) => raise.deliver(message),
            Frame::Gap(gap) => raise.tell_gap(gap.lost),
            other => {
                let text = format!("unexpected {} in a lane", other.label());
                return Err(Fault::Protocol(text));
            }
        }
        tokio::task::coop::consume_budget().await;
    }
    Ok(())
}

impl Raise {
    fn deliver(&self, message: MessageFrame) {
        self.counters.received.add(1);
        self.counters
            .received_bytes
            .add(message.payload.len() as u64);
        let topic = TopicName::from(message.topic);
        self.inbound
            .deliver(&self.origin, topic, Kind(message.kind), message.payload);
    }

    fn tell_gap(&self, lost: u64) {
        self.counters.lost.add(lost);
        self.inbound.member(MemberEvent::Gap {
            node: self.origin.node.clone(),
            link: self.origin.link,
            lost,
        });
    }
}

#[cfg(test)]
mod tests;
