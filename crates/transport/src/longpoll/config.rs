//! What long polling may cost. Every default stands here once.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

use matryoshka_pubsub::Payload;

use crate::limits::MAX_MESSAGE_BYTES;

/// Defaults that hang together.
const BUFFER_BYTES: usize = 256 * 1024;
const MAX_FRAME_BYTES: usize = 12 * 1024 * 1024;

/// What a client may send comes back to others with topic, event and more around it, and must not be too large for them. And an answer
/// between two nodes has to be a message that they can exchange.
const _: () = assert!(MAX_MESSAGE_BYTES + 1024 * 1024 <= MAX_FRAME_BYTES);
const _: () = assert!(BUFFER_BYTES + MAX_FRAME_BYTES + 1024 * 1024 <= Payload::MAX_BYTES);

/// Limits of long polling.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct LongPollConfig {
    /// How long a request waits: a poll for messages, a post for the session to take what it brought; default 10 s. The
    /// official clients give up after 20 s. Time in which a client is slowed ([`inbound_bytes`](crate::Limits::inbound_bytes)) is not
    /// taken from its posts, which have twice the window at most.
    pub window: Duration,
    /// How long a session lives on without a poll; default 15 s. Then it is closed as an idle connection is.
    pub idle_timeout: Duration,
    /// How old a session may become; default 14 days. Then its client has to open a new one.
    pub token_age: Duration,
    /// The largest body of a post, and how much of posts may wait for one session or be read for it; default 8,000,000 bytes. A larger
    /// body is answered with HTTP 400, before it is read if it states its length, and what finds no room
    /// for it within [`window`](Self::window) with 408.
    pub max_body_bytes: usize,
    /// How long a body may take to arrive; default 15 s. A slower one is answered with HTTP 400.
    pub body_timeout: Duration,
    /// What posts hold, in bytes and of all sessions together; default 64 MiB. When it is full, or one client has
    /// [its share](crate#who-gives-way), a post waits for room, for [`window`](Self::window) at most; then it is answered with HTTP 503 and status 500, and its client
    /// starts over.
    ///
    /// Bytes count from when they were read until their post is answered. One client has half at most: a larger body is answered at once as one
    /// over [`max_body_bytes`](Self::max_body_bytes).
    pub max_posted_bytes: usize,
    /// How many bytes of messages wait for the next poll before the session's outbox fills up; default 256 KiB. So much and
    /// one frame is the most that one poll is answered with. While answers hold as much that their client has not read, it gets no more.
    pub buffer_bytes: usize,
    /// The largest frame to a client; default 12 MiB, which has room for the broadcast that the largest message from a client becomes. A
    /// larger broadcast passes the session over ([`frames_unwritable`](crate::Stats::frames_unwritable)); any other larger frame
    /// closes it with 1011.
    pub max_frame_bytes: usize,
    /// How many sessions this node has at most; default 10,000. One more client is told to come back later.
    pub max_sessions: usize,
    /// How many of them may be of clients from one address, if the server knows it; default 1,000, so that no address takes all. None is no
    /// limit of its own. Addresses count as in [`max_per_address`](crate::ConnectionLimits::max_per_address). One more client is told to come
    /// back later.
    pub max_sessions_per_address: Option<usize>,
    /// How many requests may be under way to other nodes, and how many posts from them; default 10,000 each. They are shared as
    /// [`max_posted_bytes`](Self::max_posted_bytes) is, on the node that is asked by the addresses from which the sessions were opened: one client
    /// has half at most, and less than two are none. A poll beyond waits for room, as many again at most, and is answered 204 if there is none for
    /// as long as it may wait; a post is answered 408.
    pub max_forwarded: usize,
    /// How many bytes of posts may be under way to other nodes, and how many of posts from other nodes; default 32 MiB each, shared as
    /// [`max_posted_bytes`](Self::max_posted_bytes) is: so one client may have two of the largest bodies under way. A post beyond waits and is
    /// answered as one beyond [`max_posted_bytes`](Self::max_posted_bytes), or with 408 at once where the other node has no room: there it would
    /// wait in the memory that it is to wait for. Bytes count until their post is answered. Polls and
    /// their answers share the queue between two nodes (32 MiB over QUIC) with posts, so it should not be much more.
    pub max_forwarded_bytes: usize,
    /// What answers to polls hold that came from other nodes and that clients have not read, in bytes and of all sessions together; default
    /// 64 MiB. When it is full, or one client has [its share](crate#who-gives-way) and one answer more, a poll for a session of another node is
    /// answered with HTTP 503 and status 500.
    ///
    /// One session has no more of it than [`buffer_bytes`](Self::buffer_bytes) and what two polls bring: until its client has read some, its
    /// further polls wait.
    pub max_answer_bytes: usize,
}

impl Default for LongPollConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(15),
            token_age: Duration::from_secs(14 * 24 * 60 * 60),
            max_body_bytes: MAX_MESSAGE_BYTES,
            body_timeout: Duration::from_secs(15),
            max_posted_bytes: 64 * 1024 * 1024,
            buffer_bytes: BUFFER_BYTES,
            max_frame_bytes: MAX_FRAME_BYTES,
            max_sessions: 10_000,
            max_sessions_per_address: Some(1_000),
            max_forwarded: 10_000,
            max_forwarded_bytes: 32 * 1024 * 1024,
            max_answer_bytes: 64 * 1024 * 1024,
        }
    }
}

impl LongPollConfig {
    /// Sets [`window`](Self::window).
    pub fn with_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets [`idle_timeout`](Self::idle_timeout).
    pub fn with_idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle_timeout = idle_timeout;
        self
    }

    /// Sets [`token_age`](Self::token_age).
    pub fn with_token_age(mut self, token_age: Duration) -> Self {
        self.token_age = token_age;
        self
    }

    /// Sets [`max_body_bytes`](Self::max_body_bytes).
    pub fn with_max_body_bytes(mut self, max_body_bytes: usize) -> Self {
        self.max_body_bytes = max_body_bytes;
        self
    }

    /// Sets [`body_timeout`](Self::body_timeout).
    pub fn with_body_timeout(mut self, body_timeout: Duration) -> Self {
        self.body_timeout = body_timeout;
        self
    }

    /// Sets [`max_posted_bytes`](Self::max_posted_bytes).
    pub fn with_max_posted_bytes(mut self, max_posted_bytes: usize) -> Self {
        self.max_posted_bytes = max_posted_bytes;
        self
    }

    /// Sets [`buffer_bytes`](Self::buffer_bytes).
    pub fn with_buffer_bytes(mut self, buffer_bytes: usize) -> Self {
        self.buffer_bytes = buffer_bytes;
        self
    }

    /// Sets [`max_frame_bytes`](Self::max_frame_bytes). Between nodes an answer has at most 16 MiB.
    pub fn with_max_frame_bytes(mut self, max_frame_bytes: usize) -> Self {
        self.max_frame_bytes = max_frame_bytes;
        self
    }

    /// Sets [`max_sessions`](Self::max_sessions).
    pub fn with_max_sessions(mut self, max_sessions: usize) -> Self {
        self.max_sessions = max_sessions;
        self
    }

    /// Sets [`max_sessions_per_address`](Self::max_sessions_per_address).
    pub fn with_max_sessions_per_address(mut self, most: Option<usize>) -> Self {
        self.max_sessions_per_address = most;
        self
    }

    /// Sets [`max_forwarded`](Self::max_forwarded).
    pub fn with_max_forwarded(mut self, max_forwarded: usize) -> Self {
        self.max_forwarded = max_forwarded;
        self
    }

    /// Sets [`max_forwarded_bytes`](Self::max_forwarded_bytes).
    pub fn with_max_forwarded_bytes(mut self, max_forwarded_bytes: usize) -> Self {
        self.max_forwarded_bytes = max_forwarded_bytes;
        self
    }

    /// Sets [`max_answer_bytes`](Self::max_answer_bytes).
    pub fn with_max_answer_bytes(mut self, max_answer_bytes: usize) -> Self {
        self.max_answer_bytes = max_answer_bytes;
        self
    }
}
