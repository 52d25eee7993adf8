//! Reading: the control stream for the mesh and the router, each lane for the pubsub.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use matryoshka_pubsub::cluster::MemberEvent;
use quinn::RecvStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Fault, LinkTask, Raise};
use crate::adapter::Shared;
use crate::proto::control::ControlReader;
use crate::proto::frame::Frame;
use crate::proto::lane::{LaneEvent, LaneReader, Received};
use crate::proto::traffic::Receipt;

/// How much of the control stream is read at once.
const CONTROL_BYTES: usize = 64 * 1024;
/// How many pieces of a lane, each about a packet, are read at once.
const PIECES: usize = 64;

impl LinkTask {
    /// Hands the mesh's frames to the driver, the router's to the router.
    pub(super) async fn read_control(
        &self,
        mut stream: RecvStream,
        finished: watch::Sender<Option<u16>>,
    ) -> Fault {
        let mut reader = ControlReader::new(self.shared.newest());
        let mut raised = self.raised.clone();
        loop {
            let up = raised.borrow_and_update().clone();
            let frame = reader.next(up.is_some());
            self.shared.counters.skipped(reader.take_skipped());
            match (frame, up) {
                (Err(error), _) => return Fault::Protocol(error.to_string()),
                (Ok(Some(Frame::Finished { lanes })), _) => {
                    finished.send_replace(Some(lanes));
                }
                (Ok(Some(Frame::Routing(frame))), Some(raise)) => {
                    let link = raise.origin.link;
                    self.shared
                        .with_traffic(|traffic| traffic.handle_control(link, frame));
                }
                (Ok(Some(frame)), _) => {
                    if self.frames.send((self.id, frame)).await.is_err() {
                        return Fault::Lost;
                    }
                }
                (Ok(None), None) if reader.is_held() => {
                    if raised.changed().await.is_err() {
                        return self.lost().await;
                    }
                }
                (Ok(None), _) => {
                    let chunk = stream.read_chunk(CONTROL_BYTES, true).await;
                    match chunk {
                        Ok(Some(chunk)) => reader.feed(chunk.bytes),
                        Ok(None) => return self.lost().await,
                        Err(_) => return Fault::Lost,
                    }
                    self.activity.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Takes in the peer's lanes, each in a task of its own. Begins when the link is raised.
    pub(super) async fn read_lanes(
        &self,
        readers: &mut JoinSet<Result<(), Fault>>,
        mut finished: watch::Receiver<Option<u16>>,
    ) -> Fault {
        let mut raised = self.raised.clone();
        let waited = raised.wait_for(Option::is_some).await;
        let raise = waited.ok().and_then(|raise| raise.clone());
        let Some(raise) = raise else {
            // Not raised and never will be: whoever dropped the other end also closes the connection.
            return self.lost().await;
        };
        let mut read_to_the_end = 0;
        loop {
            if *finished.borrow() == Some(read_to_the_end) {
                return Fault::Finished;
            }
            tokio::select! {
                stream = self.outgoing.connection().accept_uni() => {
                    let Ok(stream) = stream else { return Fault::Lost };
                    readers.spawn(self.lane(stream, &raise).run());
                }
                Some(read) = readers.join_next() => match read {
                    Ok(Ok(())) => read_to_the_end += 1,
                    Ok(Err(fault)) => return fault,
                    Err(panic) => return Fault::Protocol(format!("a reader failed: {panic}")),
                },
                Ok(()) = finished.changed() => {}
            }
        }
    }

    /// The connection ends by itself; waits for that, so that its reason is known.
    async fn lost(&self) -> Fault {
        self.outgoing.connection().closed().await;
        Fault::Lost
    }

    fn lane(&self, stream: RecvStream, raise: &Arc<Raise>) -> Lane {
        let limit = self.shared.max_message_bytes();
        Lane {
            stream,
            reader: LaneReader::new(raise.terms.codec, limit),
            receipt: Receipt::default(),
            raise: Arc::clone(raise),
            shared: Arc::clone(&self.shared),
            activity: Arc::clone(&self.activity),
            messages: 0,
            bytes: 0,
        }
    }
}

/// One lane of the peer's.
struct Lane {
    stream: RecvStream,
    reader: LaneReader,
    receipt: Receipt,
    raise: Arc<Raise>,
    shared: Arc<Shared>,
    activity: Arc<AtomicU64>,
    /// Not yet counted elsewhere.
    messages: u64,
    bytes: u64,
}

impl Lane {
    async fn run(mut self) -> Result<(), Fault> {
        let mut pieces = vec![Bytes::new(); PIECES];
        loop {
            let read = self.stream.read_chunks(&mut pieces).await;
            let Some(count) = read.map_err(|_| Fault::Lost)? else {
                return Ok(());
            };
            self.activity.fetch_add(1, Ordering::Relaxed);
            for piece in &mut pieces[..count] {
                self.reader.feed(std::mem::take(piece));
                self.hand_on().await?;
            }
            self.settle();
        }
    }

    async fn hand_on(&mut self) -> Result<(), Fault> {
        loop {
            let event = self.reader.next();
            match event.map_err(|error| Fault::Protocol(error.to_string()))? {
                Some(LaneEvent::Message(received)) => self.deliver(received).await,
                Some(LaneEvent::Gap(lost)) => self.tell_gap(lost),
                None => return Ok(()),
            }
            tokio::task::coop::consume_budget().await;
        }
    }

    async fn deliver(&mut self, received: Received) {
        let Received {
            pos,
            kind,
            topic,
            payload,
        } = received;
        self.messages += 1;
        self.bytes += payload.len() as u64;
        let (inbound, origin) = (&self.raise.inbound, &self.raise.origin);
        let delivered = inbound.deliver_yielding(origin, topic.clone(), kind, payload);
        if delivered.await == 0 {
            self.receipt.unwanted.push(topic);
        }
        self.receipt.heard = self.receipt.heard.max(pos);
    }

    fn tell_gap(&self, lost: u64) {
        self.shared.counters.lost(&self.raise.counters, lost);
        let origin = &self.raise.origin;
        self.raise.inbound.member(MemberEvent::Gap {
            node: origin.node.clone(),
            link: origin.link,
            lost,
        });
    }

    /// Counts what was handed on and tells the router, once for all that was read together: it may be told late.
    fn settle(&mut self) {
        let counters = &self.shared.counters;
        counters.skipped(self.reader.take_skipped());
        counters.received(&self.raise.counters, self.messages, self.bytes);
        (self.messages, self.bytes) = (0, 0);
        if self.receipt.heard > 0 || !self.receipt.unwanted.is_empty() {
            let (link, receipt) = (self.raise.origin.link, std::mem::take(&mut self.receipt));
            self.shared
                .with_traffic(|traffic| traffic.handle_received(link, &receipt));
        }
    }
}
