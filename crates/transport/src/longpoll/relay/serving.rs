//! Requests that other nodes ask for.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use matryoshka_pubsub::{DirectError, NodeName};
use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{Instant, sleep, timeout_at},
};

use super::{
    Relay,
    wire::{Said, Word},
};
use crate::{
    later::later,
    longpoll::{
        body::{Layout, Messages},
        budget::{Charge, Holder},
        downstream::Polled,
        session::{PostAnswer, Shared},
    },
};

/// How long messages wait before they are told again that had no room in the queue to their client's node.
const RETRY: Duration = Duration::from_millis(100);

/// The requests being served, each by a task of its own.
pub(super) struct Serving {
    most: usize,
    tasks: Mutex<HashMap<(NodeName, u64), AbortHandle>>,
}

impl Serving {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            tasks: Mutex::default(),
        }
    }

    /// The node that asked needs no answer any more.
    pub(super) fn cancel(&self, node: &NodeName, request: u64) {
        let task = self.tasks().remove(&(node.clone(), request));
        if let Some(task) = task {
            task.abort();
        }
    }

    /// The node that asked is down.
    pub(super) fn lose(&self, node: &NodeName) {
        self.tasks().retain(|(asking, _), task| {
            let goes_on = asking != node;
            if !goes_on {
                task.abort();
            }
            goes_on
        });
    }

    /// Runs the work in a task, unless there are too many.
    fn start(
        &self,
        key: (NodeName, u64),
        runtime: &Handle,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> bool {
        let mut tasks = self.tasks();
        if tasks.len() >= self.most {
            return false;
        }
        // Under the lock, so that the task's end finds its entry.
        let task = runtime.spawn(work).abort_handle();
        if let Some(old) = tasks.insert(key, task) {
            old.abort();
        }
        true
    }

    fn end(&self, node: &NodeName, request: u64) {
        self.tasks().remove(&(node.clone(), request));
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<(NodeName, u64), AbortHandle>> {
        // Nothing panics while the lock is held, and each step leaves the table whole.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is asked for.
pub(super) enum Work {
    Poll,
    /// With its bytes, and what holds room for them.
    Post(Messages, usize, Charge),
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
    /// As [`serve`](Self::serve), if what others brought leaves room for it.
    pub(super) fn serve_post(
        self: &Arc<Self>,
        node: &NodeName,
        request: u64,
        token: &str,
        window: Duration,
        layout: Layout,
        body: Bytes,
    ) {
        let (bytes, mut charge) = (
            body.len(),
            self.served.charge(Some(Holder::of(None, token))),
        );
        if !charge.grow(bytes) {
            self.sessions.counters().posts_refused.add_one();
            // As in `serve`.
            let _ = self.say(node, request, Word::Late);
            return;
        }
        let work = Work::Post(layout.messages(body), bytes, charge);
        self.serve(node, request, token, window, work);
    }

    /// Does what another node asks for, if the session is here, and answers.
    pub(super) fn serve(
        self: &Arc<Self>,
        node: &NodeName,
        request: u64,
        token: &str,
        window: Duration,
        work: Work,
    ) {
        self.sessions.counters().served.add_one();
        let started = self.sessions.find_here(token).is_some_and(|session| {
            let runtime = session.runtime().clone();
            let window = window.min(self.sessions.config().window);
            let (relay, asker) = (Arc::clone(self), node.clone());
            let task = async move {
                let answer = match work {
                    Work::Poll => relay.serve_poll(&asker, request, &session, window).await,
                    Work::Post(messages, bytes, charge) => {
                        Some(take_in(&session, messages, bytes, charge, window).await)
                    }
                };
                relay.serving.end(&asker, request);
                if let Some(answer) = answer {
                    // A node that cannot be told is down, or gives up.
                    let _ = relay.say(&asker, request, answer);
                }
            };
            self.serving.start((node.clone(), request), &runtime, task)
        });
        if !started {
            // The node that asked then opens a new session itself, and one that cannot be told is down.
            let _ = self.say(node, request, Word::Gone);
        }
    }

    /// Tells what there is for the client, and gives back what is to be told instead. Messages for which the queue to that node has no room
    /// wait in their session as before, and are told a little later. Those that can never be told end it: it must not go on without them.
    async fn serve_poll(
        &self,
        node: &NodeName,
        request: u64,
        session: &Arc<Shared>,
        window: Duration,
    ) -> Option<Word> {
        let end = Instant::from(later(Instant::now().into_std(), window));
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // What other nodes hold for their clients is theirs to bound, by session too.
            let messages = match session.poll(left).await.0 {
                Polled::Messages(messages) => messages,
                nothing => return Some(nothing.into()),
            };
            let said = Said {
                request,
                word: Word::Messages(messages),
            };
            match (self.tell(node, &said), said.word) {
                (Ok(()), _) => return None,
                (Err(DirectError::QueueFull(_)), Word::Messages(messages)) => {
                    session.put_back(messages);
                }
                _ => {
                    self.lose(node, session);
                    return Some(Word::Gone);
                }
            }
            if timeout_at(end, sleep(RETRY)).await.is_err() {
                return Some(Word::Nothing);
            }
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

/// Hands a post to its session.
async fn take_in(
    session: &Arc<Shared>,
    messages: Messages,
    bytes: usize,
    charge: Charge,
    window: Duration,
) -> Word {
    let taken_in = session.enter().and_then(|mut coming| {
        coming.grow(bytes)?;
        Ok(coming)
    });
    match taken_in {
        Ok(coming) => coming.post(messages, charge, window).await.into(),
        Err(not_taken) => PostAnswer::from(not_taken).into(),
    }
}
