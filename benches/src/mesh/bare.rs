//! Bare QUIC: two endpoints and one stream between them that carries the frames of a lane, batched as well as one would by hand.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use matryoshka_pubsub::Kind;
use matryoshka_pubsub_quic::Secret;
use matryoshka_pubsub_quic::testing::{BareQuic, head_of_message};
use quinn::{Connection, Endpoint, RecvStream, SendStream};

use super::load::{Arrived, GoingOn, TOPIC};
use super::meter::{Meter, Took};

/// A header's kind and length.
const HEADER_BYTES: usize = 6;
/// Small messages are written together up to so many bytes.
const BATCH_BYTES: usize = 64 * 1024;
/// From this size on a payload is written as it is, without copying it.
const LARGE_BYTES: usize = 16 * 1024;
const READ_BYTES: usize = 64 * 1024;

/// Two endpoints with a connection.
pub(super) struct BarePair {
    pub(super) dialler: Connection,
    pub(super) listener: Connection,
    _endpoints: [Endpoint; 2],
}

impl BarePair {
    pub(super) async fn connect() -> Self {
        let secret = Secret::generate();
        let (one, two) = (endpoint(&secret, "one"), endpoint(&secret, "two"));
        let to = two.local_addr().expect("it is bound");
        let dial = async {
            let connecting = one.connect(to, BareQuic::SERVER_NAME);
            connecting.expect("a good address").await
        };
        let accept = async { two.accept().await.expect("it is open").await };
        let (dialler, listener) = tokio::join!(dial, accept);
        Self {
            dialler: dialler.expect("both have the secret"),
            listener: listener.expect("both have the secret"),
            _endpoints: [one, two],
        }
    }
}

pub(super) fn endpoint(secret: &Secret, name: &str) -> Endpoint {
    let quic = BareQuic::new(secret, name).expect("a short name");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut endpoint = Endpoint::server(quic.server, any).expect("a free port");
    endpoint.set_default_client_config(quic.client);
    endpoint
}

/// The sending end of a stream of messages of one size.
pub(super) struct BareSender {
    stream: SendStream,
    head: Bytes,
    payload: Bytes,
    batch: BytesMut,
}

/// One whose other end counts.
pub(super) struct BareLoad {
    sender: BareSender,
    arrived: Arc<Arrived>,
    sent: u64,
}

impl BareSender {
    /// Opens a stream; the other end tells `arrived` of each batch of frames, the first of which is sent at once.
    pub(super) async fn open(
        pair: &BarePair,
        payload: Bytes,
        arrived: impl Fn(u64) + Send + 'static,
    ) -> Self {
        let stream = pair.dialler.open_uni().await.expect("it is up");
        let mut sender = Self {
            stream,
            head: head_of_message(Kind::RAW, &TOPIC.into(), payload.len()),
            payload,
            batch: BytesMut::new(),
        };
        // The other end sees the stream with its first bytes.
        sender.send().await;
        sender.flush().await;
        let receive = pair.listener.accept_uni().await.expect("it is up");
        tokio::spawn(read(receive, arrived));
        sender
    }

    /// Opens a stream whose other end counts.
    pub(super) async fn open_counting(pair: &BarePair, payload: Bytes) -> BareLoad {
        let arrived = Arc::<Arrived>::default();
        let counted = Arc::clone(&arrived);
        let sender = Self::open(pair, payload, move |frames| counted.add(frames)).await;
        arrived.wait_for(1).await;
        BareLoad {
            sender,
            arrived,
            sent: 1,
        }
    }

    pub(super) async fn send(&mut self) {
        if self.payload.len() >= LARGE_BYTES {
            let mut chunks = [self.head.clone(), self.payload.clone()];
            let written = self.stream.write_all_chunks(&mut chunks).await;
            return written.expect("it is up");
        }
        self.batch.extend_from_slice(&self.head);
        self.batch.extend_from_slice(&self.payload);
        if self.batch.len() >= BATCH_BYTES {
            self.flush().await;
        }
    }

    pub(super) async fn flush(&mut self) {
        if !self.batch.is_empty() {
            let batch = self.batch.split().freeze();
            let written = self.stream.write_chunk(batch).await;
            written.expect("it is up");
        }
    }
}

impl BareLoad {
    /// Sends so many and waits until they have arrived, in a task of its own.
    pub(super) async fn send_all(mut self, messages: u64) -> (Self, Took) {
        let meter = Meter::start();
        let sending = tokio::spawn(async move {
            for _ in 0..messages {
                self.sender.send().await;
            }
            self.sent += messages;
            self.wait().await;
            self
        });
        let back = sending.await.expect("it does not panic");
        (back, meter.stop())
    }

    /// Sends until it is stopped.
    pub(super) fn go_on(mut self) -> GoingOn {
        let stopped = Arc::<AtomicBool>::default();
        let stop = Arc::clone(&stopped);
        let task = tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                self.sender.send().await;
                self.sent += 1;
            }
            self.wait().await;
        });
        GoingOn { stopped, task }
    }

    async fn wait(&mut self) {
        self.sender.flush().await;
        self.arrived.wait_for(self.sent).await;
    }
}

/// Cuts frames out of what arrives and counts them.
async fn read(mut stream: RecvStream, arrived: impl Fn(u64)) {
    let mut buffer = BytesMut::new();
    while let Ok(Some(chunk)) = stream.read_chunk(READ_BYTES, true).await {
        buffer.extend_from_slice(&chunk.bytes);
        let mut frames = 0;
        while let Some(frame) = next_frame(&mut buffer) {
            std::hint::black_box(frame);
            frames += 1;
        }
        if frames > 0 {
            arrived(frames);
        }
    }
}

fn next_frame(buffer: &mut BytesMut) -> Option<BytesMut> {
    let mut header = buffer.get(..HEADER_BYTES)?;
    header.advance(2);
    let frame_bytes = HEADER_BYTES + header.get_u32() as usize;
    (buffer.len() >= frame_bytes).then(|| buffer.split_to(frame_bytes))
}
