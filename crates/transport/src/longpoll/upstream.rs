//! What a long-poll client has posted and the session has not taken yet.
//!
//! Posts are taken one after the other, frame by frame. A post is done when the session asks for what comes after its last
//! frame: only then has the session dealt with all of it.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::VecDeque;

use crate::frame::Frame;

/// How many posts of one long-poll session may wait at a time: 1,024, since old clients send one for each message. One more is
/// answered 408.
pub const MAX_WAITING_POSTS: usize = 1024;

/// Frames on their way to the session.
#[derive(Debug)]
pub(super) struct Upstream {
    /// The first one is being taken.
    posts: VecDeque<Post>,
    bytes: usize,
    bound_bytes: usize,
    next: u64,
    ended: bool,
}

#[derive(Debug)]
struct Post {
    id: PostId,
    parts: VecDeque<Part>,
    bytes: usize,
}

/// One message of a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Frame(Frame),
    /// A text that is not UTF-8.
    NotUtf8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PostId(u64);

/// What became of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Posted {
    /// The session has dealt with every frame of it.
    Taken,
    /// The session ended before that.
    Lost,
}

/// Why a post is not taken in. Nothing of it was handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// The session has ended.
    Gone,
    /// Too much waits already.
    Full,
}

impl Upstream {
    /// Nothing waits yet. Posts of `bound_bytes` in all may wait; one larger post fits when no other does.
    pub(super) fn new(bound_bytes: usize) -> Self {
        Self {
            posts: VecDeque::new(),
            bytes: 0,
            bound_bytes,
            next: 0,
            ended: false,
        }
    }

    /// A post came.
    pub(super) fn begin(&mut self, parts: Vec<Part>) -> Result<PostId, NotTaken> {
        if self.ended {
            return Err(NotTaken::Gone);
        }
        let bytes = parts.iter().map(Part::bytes).sum();
        let fits = self.bytes + bytes <= self.bound_bytes && self.posts.len() < MAX_WAITING_POSTS;
        if !fits && !self.posts.is_empty() {
            return Err(NotTaken::Full);
        }
        let id = PostId(self.next);
        self.next += 1;
        self.bytes += bytes;
        let parts = parts.into();
        self.posts.push_back(Post { id, parts, bytes });
        Ok(id)
    }

    /// The session is done with what it was given, and asks for the next.
    pub(super) fn next(&mut self) -> Option<Part> {
        loop {
            if let Some(part) = self.posts.front_mut()?.parts.pop_front() {
                return Some(part);
            }
            let done = self.posts.pop_front()?;
            self.bytes -= done.bytes;
        }
    }

    /// What became of a post, once that is known.
    pub(super) fn outcome(&self, id: PostId) -> Option<Posted> {
        let waits = self.posts.iter().any(|post| post.id == id);
        match (waits, self.ended) {
            (false, _) => Some(Posted::Taken),
            (true, true) => Some(Posted::Lost),
            (true, false) => None,
        }
    }

    /// The client was told that its post came too late: what is left of it is not to be handed on.
    pub(super) fn give_up(&mut self, id: PostId) {
        let Some(at) = self.posts.iter().position(|post| post.id == id) else {
            return;
        };
        if let Some(post) = self.posts.remove(at) {
            self.bytes -= post.bytes;
        }
    }

    /// The session has ended.
    pub(super) fn end(&mut self) {
        self.ended = true;
        for post in &mut self.posts {
            // Which posts were not done is still asked for; what was in them is not.
            post.parts = VecDeque::new();
        }
    }
}

impl Part {
    fn bytes(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.len(),
            Self::NotUtf8 => 0,
        }
    }
}

#[cfg(test)]
mod tests;
