//! Requests that other nodes ask for.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::future::{self, abortable};
use matryoshka_pubsub::{DirectError, NodeName};
use tokio::{
    task,
    time::{Instant, sleep, timeout_at},
};

use super::{
    LOOKUP_LIMIT, Relay, after,
    wire::{Said, Word},
};
use crate::longpoll::{
    RETRY,
    body::{Layout, Messages},
    budget::{Budget, Charge},
    downstream::Polled,
    session::{Asker, Coming, PostAnswer, Shared, Window},
    upstream::NotTaken,
};

/// The requests being served, each by a task of its own. Polls are bounded by their sessions, at each of which two wait, and while their answers
/// have no room by what the nodes that asked may have under way.
pub(super) struct Serving {
    /// How many others there are, and whose.
    slots: Arc<Budget>,
    tasks: Mutex<HashMap<Asker, Task>>,
}

struct Task {
    /// Its work, without the answer.
    work: future::AbortHandle,
    all: task::AbortHandle,
}

impl Serving {
    pub(super) fn new(most: usize) -> Self {
        Self {
            slots: Budget::new(most),
            tasks: Mutex::default(),
        }
    }

    /// The client of a request has gone away. It is answered all the same, so that its node knows whether there was something for it.
    pub(super) fn cancel(&self, asker: &Asker) {
        if let Some(task) = self.tasks().get(asker) {
            task.work.abort();
        }
    }

    /// The node that asked is down.
    pub(super) fn lose(&self, node: &NodeName) {
        self.tasks().retain(|asker, task| {
            let goes_on = asker.node != *node;
            if !goes_on {
                task.all.abort();
            }
            goes_on
        });
    }

    fn end(&self, asker: &Asker) {
        self.tasks().remove(asker);
    }

    /// Room for one more request for that session. Its client leaves as much to others as it has.
    fn slot(&self, session: &Shared) -> Option<Charge> {
        let mut slot = self.slots.charge(Some(session.holder().clone()));
        slot.grow(1).then_some(slot)
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<Asker, Task>> {
        // Nothing panics while the lock is held, and each step leaves the table whole.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<PostAnswer> for Word {
    fn from(answer: PostAnswer) -> Self {
        match answer {
            PostAnswer::Taken => Self::Taken,
            PostAnswer::BadLine(bad) => Self::BadLine(bad.number.try_into().unwrap_or(u32::MAX)),
            PostAnswer::Late => Self::Late,
            PostAnswer::Gone => Self::Gone,
        }
    }
}

impl From<Polled> for Word {
    fn from(polled: Polled) -> Self {
        match polled {
            Polled::Messages(messages) => Self::Messages(messages),
            Polled::Nothing => Self::Nothing,
            Polled::Gone => Self::Gone,
        }
    }
}

impl Relay {
    /// Says whether a session is here.
    pub(super) fn serve_knock(self: &Arc<Self>, asker: Asker, token: &str) {
        let Some(session) = self.find_for(&asker, token) else {
            return;
        };
        let told = self.say(&asker.node, asker.request, Word::Here);
        if let Err(DirectError::QueueFull(_)) = told
            && let Some(slot) = self.serving.slot(&session)
        {
            let work = async { Some(Word::Here) };
            self.start(asker, &session, Duration::ZERO, Some(slot), work);
        }
    }

    /// Asks a session for messages.
    pub(super) fn serve_poll(self: &Arc<Self>, asker: Asker, token: &str, window: Duration) {
        self.sessions.counters().served.add_one();
        let Some(session) = self.find_for(&asker, token) else {
            return;
        };
        let window = window.min(self.sessions.config().window);
        let (relay, to, polled) = (Arc::clone(self), asker.clone(), Arc::clone(&session));
        let work = async move { relay.poll_here(&to, &polled, window).await };
        self.start(asker, &session, window, None, work);
    }

    /// Hands a post to its session, if what others brought leaves room for it.
    pub(super) fn serve_post(
        self: &Arc<Self>,
        asker: Asker,
        token: &str,
        window: Duration,
        layout: Layout,
        body: Bytes,
    ) {
        self.sessions.counters().served.add_one();
        let Some(session) = self.find_for(&asker, token) else {
            return;
        };
        let (slot, bytes) = (self.serving.slot(&session), body.len());
        let mut charge = self.served.charge(Some(session.holder().clone()));
        let Some(slot) = slot.filter(|_| charge.grow(bytes)) else {
            let limit = "LongPollConfig::max_forwarded or max_forwarded_bytes";
            self.sessions.refuse_post(limit);
            // A node that cannot be told is down, or gives up.
            let _ = self.say(&asker.node, asker.request, Word::Late);
            return;
        };
        let window = window.min(self.sessions.config().window);
        let (messages, to) = (layout.messages(body), Arc::clone(&session));
        let opened = Window::open(window);
        let work = async move { Some(take_in(&to, messages, bytes, charge, opened).await) };
        self.start(asker, &session, window.saturating_mul(2), Some(slot), work);
    }

    /// The session of a token. A node that asks in vain is told so: it opens a new one itself, as it does if it hears nothing.
    fn find_for(&self, asker: &Asker, token: &str) -> Option<Arc<Shared>> {
        let session = self.sessions.find_here(token);
        if session.is_none() {
            let _ = self.say(&asker.node, asker.request, Word::Gone);
        }
        session
    }

    /// Does the work, and tells what comes of it: as soon as there is room on the way, and until the node that asked has given up. What is none
    /// has been told.
    fn start(
        self: &Arc<Self>,
        asker: Asker,
        session: &Shared,
        window: Duration,
        slot: Option<Charge>,
        work: impl Future<Output = Option<Word>> + Send + 'static,
    ) {
        let limit = after(window.saturating_add(LOOKUP_LIMIT));
        let (work, of_work) = abortable(work);
        let (relay, to) = (Arc::clone(self), asker.clone());
        let task = async move {
            let Asker { node, request } = &to;
            if let Some(word) = work.await.unwrap_or(Some(Word::Nothing)) {
                let said = Said {
                    request: *request,
                    word,
                };
                // A node that cannot be told is down, or gives up.
                let _ = timeout_at(limit, relay.tell_at_last(node, &said)).await;
            }
            relay.serving.end(&to);
            drop(slot);
        };
        let mut tasks = self.serving.tasks();
        // Under the lock, so that the task's end finds its entry.
        let task = Task {
            work: of_work,
            all: session.runtime().spawn(task).abort_handle(),
        };
        if let Some(old) = tasks.insert(asker, task) {
            old.all.abort();
        }
    }

    /// Tells what there is for the client, and gives back what is to be told instead. Messages for which the queue to that node has no room
    /// wait in their session as before, and are told a little later. Those that can never be told end it: it must not go on without them.
    async fn poll_here(&self, asker: &Asker, session: &Shared, window: Duration) -> Option<Word> {
        // One poll all the while: the client may have a newer one by now, on another way.
        let poll = session.relayed_poll(window, asker.clone());
        loop {
            let messages = match poll.answer().await {
                Polled::Messages(messages) => messages,
                nothing => return Some(nothing.into()),
            };
            let said = Said {
                request: asker.request,
                word: Word::Messages(messages),
            };
            match (self.tell(&asker.node, &said), said.word) {
                (Ok(()), _) => {
                    poll.passed(Vec::new());
                    return None;
                }
                (Err(DirectError::QueueFull(_)), Word::Messages(messages)) => {
                    poll.passed(messages);
                }
                _ => {
                    self.lose(&asker.node, session);
                    poll.passed(Vec::new());
                    return Some(Word::Gone);
                }
            }
            if timeout_at(poll.deadline(), sleep(RETRY)).await.is_err() {
                return Some(Word::Nothing);
            }
        }
    }

    /// The client of a poll has gone away without its answer. If that was the last that the session had for another node, it is lost; of
    /// an earlier one the node says so once it is there.
    pub(super) fn leave(&self, asker: &Asker, token: &str) {
        if let Some(session) = self.sessions.find_here(token)
            && session.was_passed_to(asker)
        {
            self.lose(&asker.node, &session);
        }
    }

    pub(super) fn lose(&self, node: &NodeName, session: &Shared) {
        let lines = self.sessions.lines();
        if let Some(left_out) = lines.not_passed_on.pass_now() {
            tracing::warn!(%node, left_out, "a long-poll session ends: what it had for its client could not be passed on");
        }
        session.lose();
    }
}

/// Hands a post to its session, once that has room for it.
async fn take_in(
    session: &Arc<Shared>,
    messages: Messages,
    bytes: usize,
    charge: Charge,
    window: Window,
) -> Word {
    match room(session, bytes, window).await {
        Ok(coming) => coming.post(messages, charge, window).await.into(),
        Err(not_taken) => PostAnswer::from(not_taken).into(),
    }
}

async fn room(session: &Shared, bytes: usize, window: Window) -> Result<Coming<'_>, NotTaken> {
    let mut coming = session.enter()?;
    loop {
        match coming.grow(bytes) {
            Err(NotTaken::Full) if Instant::now().into_std() < window.end => sleep(RETRY).await,
            grown => return grown.map(|()| coming),
        }
    }
}
