//! Writing: each queue to its own stream.

use std::time::Instant;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use matryoshka_pubsub::TrafficClass;
use quinn::SendStream;

use super::{Fault, LinkTask, Outgoing};
use crate::proto::codec::Codec;
use crate::proto::frame::Frame;
use crate::proto::lane::{LANES, class_of};

/// What goes first when there is more to send than the network takes: the cluster's own words, then users' messages, each lane
/// in its turn, then what can wait.
const URGENT: i32 = 1;
const USUAL: i32 = 0;
const PATIENT: i32 = -1;

/// The stream broke, so the connection did or is about to.
struct Broken;

impl LinkTask {
    /// Writes all queues, each to its own stream, until they are closed and empty. Then says so to the peer, which
    /// closes the connection once it has read everything.
    pub(super) async fn write_all(&self, mut control: SendStream) -> Fault {
        let lanes = write_lanes(&self.outgoing);
        let written = tokio::try_join!(self.write_control(&mut control), lanes);
        let Ok(((), lanes)) = written else {
            return Fault::Lost;
        };
        if let Some(finished) = self.codec().encode(&Frame::Finished { lanes }) {
            // If this fails the connection is gone, which is what is waited for.
            let _ = control.write_chunk(finished).await;
        }
        self.outgoing.connection().closed().await;
        Fault::Lost
    }

    /// What the mesh says goes first; what the router says is asked for only when nothing waits before it, so that it is as fresh
    /// as can be.
    async fn write_control(&self, stream: &mut SendStream) -> Result<(), Broken> {
        stream.set_priority(URGENT).map_err(|_| Broken)?;
        let mut batch = Vec::new();
        loop {
            let ended = self.outgoing.has_ended();
            self.outgoing.take_control(&mut batch);
            // With what was just taken, if there was any: a heartbeat and what goes with it are one packet.
            batch.extend(self.poll_router());
            if !batch.is_empty() {
                write(stream, &mut batch).await?;
            } else if ended {
                return Ok(());
            } else {
                self.outgoing.signals.control.notified().await;
            }
        }
    }

    fn poll_router(&self) -> Option<Bytes> {
        let raise = self.raised.borrow().clone()?;
        let mut take_edges = || raise.inbound.take_edges();
        let link = raise.origin.link;
        let frame = self
            .shared
            .with_traffic(|traffic| traffic.poll_control(link, &mut take_edges, Instant::now()));
        raise.terms.codec.encode(&frame?)
    }

    fn codec(&self) -> Codec {
        let raised = self.raised.borrow();
        raised
            .as_ref()
            .map_or(Codec::NEWEST, |raise| raise.terms.codec)
    }
}

/// Gives how many lanes were opened.
async fn write_lanes(outgoing: &Outgoing) -> Result<u16, Broken> {
    let mut writers: FuturesUnordered<_> =
        (0..LANES).map(|lane| write_lane(outgoing, lane)).collect();
    let mut opened = 0;
    while let Some(written) = writers.next().await {
        opened += u16::from(written?);
    }
    Ok(opened)
}

/// Opens the lane's stream when there is something to write. Gives whether there was.
async fn write_lane(outgoing: &Outgoing, lane: u16) -> Result<bool, Broken> {
    let mut batch = Vec::new();
    if !next_batch(outgoing, lane, &mut batch).await {
        return Ok(false);
    }
    let stream = outgoing.connection().open_uni().await;
    let mut stream = stream.map_err(|_| Broken)?;
    let priority = match class_of(lane) {
        TrafficClass::Control | TrafficClass::Tracker => URGENT,
        TrafficClass::User => USUAL,
        TrafficClass::Bulk => PATIENT,
    };
    stream.set_priority(priority).map_err(|_| Broken)?;
    loop {
        write(&mut stream, &mut batch).await?;
        if !next_batch(outgoing, lane, &mut batch).await {
            break;
        }
    }
    stream.finish().map_err(|_| Broken)?;
    Ok(true)
}

/// Waits for bytes and moves some, oldest first, to `batch`. False: the queue is closed and empty.
async fn next_batch(outgoing: &Outgoing, lane: u16, batch: &mut Vec<Bytes>) -> bool {
    loop {
        let ended = outgoing.has_ended();
        if outgoing.take(lane, batch) {
            return true;
        }
        if ended {
            return false;
        }
        outgoing.signals.lanes[usize::from(lane)].notified().await;
    }
}

async fn write(stream: &mut SendStream, batch: &mut Vec<Bytes>) -> Result<(), Broken> {
    let written = stream.write_all_chunks(batch).await;
    batch.clear();
    written.map_err(|_| Broken)
}
