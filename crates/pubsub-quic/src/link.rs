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
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use self::queue::{Entry, Pushed, Queue};
use crate::adapter::Shared;
use crate::config::{
    BULK_LANE_BYTES, CONTROL_STREAM_BYTES, TRACKER_LANE_BYTES, USER_LANE_BYTES, USER_LANES,
};
use crate::connect::explain;
use crate::driver::LOG_TARGET;
use crate::proto::close::Close;
use crate::proto::frame::{
    Finished, Frame, FrameDecoder, Lane, MAX_CONTROL_FRAME_BYTES, MAX_LANE_FRAME_BYTES,
    MessageFrame,
};
use crate::proto::mesh::Ended;
use crate::proto::peer::{Certified, ConnectionId};
use crate::stats::PeerCounters;
use crate::tls::Handshake;

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

    /// Takes nothing more; the connection ends once the peer has read everything.
    pub(crate) fn finish(&self) {
        self.control_stream.close();
        self.lanes().for_each(Queue::close);
    }

    fn push_or_close(&self, queue: &Queue, entry: Entry) -> Pushed {
        let pushed = queue.push(entry);
        if pushed == Pushed::Full {
            tracing::warn!(
                target: LOG_TARGET,
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

    /// The queues that have a stream of their own, in the order of their urgency.
    fn lanes(&self) -> impl Iterator<Item = &Queue> {
        [&self.control, &self.tracker]
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
    /// What the certificates of both sides say.
    pub(crate) certified: Certified,
    /// How it came about, to explain its end if that belongs to it.
    pub(crate) handshake: Arc<Handshake>,
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
    pub(crate) handshake: Arc<Handshake>,
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
            handshake,
        } = self;
        let mut readers = JoinSet::new();
        let control = Reader {
            activity: activity.clone(),
            shared: shared.clone(),
            decoder: FrameDecoder::new(MAX_CONTROL_FRAME_BYTES),
            stream: receive,
        };
        let (finished, has_finished) = watch::channel(None);
        let lane_readers = LaneReaders {
            connection: &lanes.connection,
            activity: &activity,
            shared: &shared,
            readers: &mut readers,
            finished: has_finished,
        };
        let fault = tokio::select! {
            fault = write_all(&lanes, send) => fault,
            fault = read_control(control, id, &frames, &finished, &lanes.connection) => fault,
            fault = lane_readers.run(raise) => fault,
        };
        let ended = ended(&lanes.connection, &fault, &handshake);
        lanes.close(&match fault {
            Fault::Finished => Close::Leaving,
            Fault::Lost => Close::Silent,
            Fault::Protocol(text) => Close::Protocol { text },
        });
        readers.shutdown().await;
        ended
    }
}

/// Why a link's task stops.
enum Fault {
    /// The peer has said that it sends nothing more, and all it sent was read.
    Finished,
    /// The connection is gone; it knows why.
    Lost,
    /// The peer sent what it must not.
    Protocol(String),
}

/// How the connection ended. To be asked before closing it, which makes it forget.
fn ended(connection: &Connection, fault: &Fault, handshake: &Handshake) -> Ended {
    if let Fault::Protocol(text) = fault {
        let text = format!("it broke the protocol: {text}");
        return Ended::Broken { text };
    }
    match connection.close_reason() {
        None | Some(ConnectionError::LocallyClosed) => Ended::ClosedHere,
        Some(ConnectionError::ApplicationClosed(close)) => {
            Ended::ClosedByPeer(Close::read(close.error_code.into_inner(), &close.reason))
        }
        // The side that dialled is refused only after its own half of the handshake.
        Some(error) => Ended::Failed(explain(&error, handshake)),
    }
}

/// Writes all queues, each to its own stream, until they are closed and empty. Then says so to the peer, which
/// closes the connection once it has read everything.
async fn write_all(lanes: &Lanes, mut control_stream: SendStream) -> Fault {
    let written = tokio::try_join!(
        write_control(lanes, &mut control_stream),
        write_lanes(lanes)
    );
    let Ok(((), lanes_opened)) = written else {
        return Fault::Lost;
    };
    let finished = Frame::Finished(Finished {
        lanes: lanes_opened,
    });
    // If this fails the connection is gone, which is what is waited for.
    let _ = control_stream.write_chunk(finished.encode()).await;
    lanes.connection.closed().await;
    Fault::Lost
}

/// The stream broke, so the connection did or is about to.
struct Broken;

async fn write_control(lanes: &Lanes, stream: &mut SendStream) -> Result<(), Broken> {
    stream.set_priority(1).map_err(|_| Broken)?;
    let mut batch = Vec::new();
    while lanes.control_stream.next_batch(&mut batch).await {
        write_batch(stream, &mut batch).await?;
    }
    Ok(())
}

/// Gives how many lanes were opened.
async fn write_lanes(lanes: &Lanes) -> Result<u16, Broken> {
    let mut writers: FuturesUnordered<_> = lanes
        .lanes()
        .enumerate()
        .map(|(number, queue)| write_lane(&lanes.connection, number as u16, queue))
        .collect();
    let mut opened = 0;
    while let Some(written) = writers.next().await {
        opened += u16::from(written?);
    }
    Ok(opened)
}

/// Opens the lane's stream when there is something to write. Gives whether there was.
async fn write_lane(connection: &Connection, lane: u16, queue: &Queue) -> Result<bool, Broken> {
    let mut batch = Vec::new();
    if !queue.next_batch(&mut batch).await {
        return Ok(false);
    }
    let mut stream = connection.open_uni().await.map_err(|_| Broken)?;
    // The first lanes matter most, and the last one can wait.
    stream.set_priority(-i32::from(lane)).map_err(|_| Broken)?;
    batch.insert(0, Entry::of(&Frame::Lane(Lane { lane })));
    write_batch(&mut stream, &mut batch).await?;
    while queue.next_batch(&mut batch).await {
        write_batch(&mut stream, &mut batch).await?;
    }
    stream.finish().map_err(|_| Broken)?;
    Ok(true)
}

async fn write_batch(stream: &mut SendStream, batch: &mut Vec<Entry>) -> Result<(), Broken> {
    let mut chunks = chunks(batch);
    let written = stream.write_all_chunks(&mut chunks).await;
    written.map_err(|_| Broken)
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
    finished: &watch::Sender<Option<u16>>,
    connection: &Connection,
) -> Fault {
    loop {
        match control.next().await {
            Ok(Some(Frame::Finished(end))) => {
                finished.send_replace(Some(end.lanes));
            }
            Ok(Some(frame)) => {
                if frames.send((id, frame)).await.is_err() {
                    return Fault::Lost;
                }
            }
            Ok(None) => {
                connection.closed().await;
                return Fault::Lost;
            }
            Err(fault) => return fault,
        }
    }
}

/// Takes in the peer's lanes, each in a task of its own.
struct LaneReaders<'a> {
    connection: &'a Connection,
    activity: &'a Arc<AtomicU64>,
    shared: &'a Arc<Shared>,
    readers: &'a mut JoinSet<Result<(), Fault>>,
    finished: watch::Receiver<Option<u16>>,
}

impl LaneReaders<'_> {
    /// Begins when raised.
    async fn run(mut self, raise: oneshot::Receiver<Raise>) -> Fault {
        let Ok(raise) = raise.await else {
            // Not raised and never will be: whoever dropped the other end also closes the connection.
            self.connection.closed().await;
            return Fault::Lost;
        };
        let raise = Arc::new(raise);
        let mut read_to_the_end = 0;
        loop {
            if *self.finished.borrow() == Some(read_to_the_end) {
                return Fault::Finished;
            }
            tokio::select! {
                stream = self.connection.accept_uni() => {
                    let Ok(stream) = stream else { return Fault::Lost };
                    self.start(stream, &raise);
                }
                Some(read) = self.readers.join_next() => match read {
                    Ok(Ok(())) => read_to_the_end += 1,
                    Ok(Err(fault)) => return fault,
                    Err(panic) => return Fault::Protocol(format!("a reader failed: {panic}")),
                },
                Ok(()) = self.finished.changed() => {}
            }
        }
    }

    fn start(&mut self, stream: RecvStream, raise: &Arc<Raise>) {
        let reader = Reader {
            activity: self.activity.clone(),
            shared: self.shared.clone(),
            decoder: FrameDecoder::new(MAX_LANE_FRAME_BYTES),
            stream,
        };
        self.readers.spawn(read_lane(reader, raise.clone()));
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
