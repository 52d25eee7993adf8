//! What a long-poll client has posted and the session has not taken yet.
//!
//! Posts are taken one after the other, message by message. A post is done when the session asks for what comes after its last
//! message: only then has the session dealt with all of it. Messages are cut from a body when their turn comes, so that a body of many
//! small ones takes no more than its own bytes.
//!
//! Pure: no clock, no I/O, no tasks.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::body::{BadLine, Messages, Part};

/// How many posts of one long-poll session may wait at a time, those included that are being read: 1,024, since old clients send one for
/// each message. One more is answered 408.
pub const MAX_WAITING_POSTS: usize = 1024;

/// Posts on their way to the session. `T` is whoever waits for the end of one.
#[derive(Debug)]
pub(super) struct Upstream<T> {
    /// The first one is being taken.
    posts: VecDeque<Post<T>>,
    /// How many are still being read.
    coming: usize,
    /// Of all of them.
    bytes: usize,
    bound_bytes: usize,
    next: u64,
    /// How long the client has been slowed, and is going to be.
    slowed: Duration,
    slowed_until: Option<Instant>,
    ended: bool,
}

#[derive(Debug)]
struct Post<T> {
    id: PostId,
    /// How long the client had been slowed when it came.
    slowed_before: Duration,
    messages: Messages,
    bytes: usize,
    waiting: T,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PostId(u64);

/// What became of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Posted {
    /// The session has dealt with every message of it.
    Taken,
    /// It has dealt with those before this line.
    BadLine(BadLine),
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

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<T> {
    /// A message for the session.
    Part(Part),
    /// Before that, somebody is to be told what became of a post. Ask again.
    Done(T, Posted),
    /// Nothing waits.
    Nothing,
}

impl<T> Upstream<T> {
    /// Nothing waits yet. Posts of `bound_bytes` in all may wait or be read; one larger post fits when there is no other.
    pub(super) fn new(bound_bytes: usize) -> Self {
        Self {
            posts: VecDeque::new(),
            coming: 0,
            bytes: 0,
            bound_bytes,
            next: 0,
            slowed: Duration::ZERO,
            slowed_until: None,
            ended: false,
        }
    }

    /// A post begins to come: [`put`](Self::put) it when all is there, or [`leave`](Self::leave).
    pub(super) fn enter(&mut self) -> Result<(), NotTaken> {
        if self.ended {
            return Err(NotTaken::Gone);
        }
        if self.posts.len() + self.coming >= MAX_WAITING_POSTS {
            return Err(NotTaken::Full);
        }
        self.coming += 1;
        Ok(())
    }

    /// Whether so many bytes more of a post that is being read have room.
    fn could_grow(&self, bytes: usize) -> Result<(), NotTaken> {
        let is_alone = self.posts.is_empty() && self.coming <= 1;
        let fits = self.bytes.saturating_add(bytes) <= self.bound_bytes;
        match (self.ended, fits || is_alone) {
            (true, _) => Err(NotTaken::Gone),
            (false, true) => Ok(()),
            (false, false) => Err(NotTaken::Full),
        }
    }

    /// So many bytes more of a post have been read, or are going to be.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), NotTaken> {
        self.could_grow(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// A post which has so many bytes comes no further.
    pub(super) fn leave(&mut self, bytes: usize) {
        self.coming -= 1;
        self.bytes -= bytes;
    }

    /// All of a post is there.
    pub(super) fn put(
        &mut self,
        messages: Messages,
        bytes: usize,
        waiting: T,
        now: Instant,
    ) -> Result<PostId, T> {
        if self.ended {
            self.leave(bytes);
            return Err(waiting);
        }
        self.coming -= 1;
        let id = PostId(self.next);
        self.next += 1;
        self.posts.push_back(Post {
            id,
            slowed_before: self.slowed - self.still_slowed(now),
            messages,
            bytes,
            waiting,
        });
        Ok(id)
    }

    /// The session is done with what it was given, and asks for the next.
    pub(super) fn step(&mut self) -> Step<T> {
        let Some(first) = self.posts.front_mut() else {
            return Step::Nothing;
        };
        let posted = match first.messages.next() {
            Some(Ok(part)) => return Step::Part(part),
            Some(Err(bad)) => Posted::BadLine(bad),
            None => Posted::Taken,
        };
        let done = self.posts.pop_front().expect("it was looked at");
        self.bytes -= done.bytes;
        Step::Done(done.waiting, posted)
    }

    /// Nothing is taken before then, as the client has sent too much.
    pub(super) fn slow_until(&mut self, until: Instant, now: Instant) {
        let known = now + self.still_slowed(now);
        self.slowed += until.saturating_duration_since(known);
        self.slowed_until = Some(until.max(known));
    }

    /// How long it goes on.
    fn still_slowed(&self, now: Instant) -> Duration {
        let until = self.slowed_until.unwrap_or(now);
        until.saturating_duration_since(now)
    }

    /// How long a post has been kept waiting in this way, and is going to be. None if it is done.
    pub(super) fn slowed(&self, id: PostId) -> Option<Duration> {
        let at = self.posts.binary_search_by_key(&id, |post| post.id).ok()?;
        Some(self.slowed - self.posts[at].slowed_before)
    }

    /// The client was told that its post came too late: what is left of it is not to be handed on. None if it was done before.
    pub(super) fn give_up(&mut self, id: PostId) -> Option<T> {
        let at = self.posts.binary_search_by_key(&id, |post| post.id).ok()?;
        let post = self.posts.remove(at)?;
        self.bytes -= post.bytes;
        Some(post.waiting)
    }

    /// The session has ended. Gives back who waits: their posts are lost.
    #[must_use = "they are to be told"]
    pub(super) fn end(&mut self) -> Vec<T> {
        self.ended = true;
        let lost = std::mem::take(&mut self.posts);
        self.bytes -= lost.iter().map(|post| post.bytes).sum::<usize>();
        lost.into_iter().map(|post| post.waiting).collect()
    }
}

#[cfg(test)]
mod tests;
