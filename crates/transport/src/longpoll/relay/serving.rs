//! Requests that other nodes ask for.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use matryoshka_pubsub::NodeName;
use tokio::{runtime::Handle, task::AbortHandle, time::Instant};

use super::{Relay, wire::Word};
use crate::longpoll::{
    body::{Layout, Messages},
    budget::Charge,
    downstream::Polled,
    session::{PostAnswer, Shared},
};

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

impl Work {
    async fn run(self, session: &Arc<Shared>, window: Duration) -> Word {
        match self {
            // What other nodes hold for their clients is theirs to bound.
            Self::Poll => session.poll(window).await.0.into(),
            Self::Post(messages, bytes, charge) => {
                let taken_in = session.enter().and_then(|mut coming| {
                    coming.grow(bytes)?;
                    Ok(coming)
                });
                match taken_in {
                    Ok(coming) => coming.post(messages, charge, window).await.into(),
                    Err(not_taken) => PostAnswer::from(not_taken).into(),
                }
            }
        }
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
        let (bytes, mut charge) = (body.len(), self.served.charge());
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
                let answer = work.run(&session, window).await;
                relay.serving.end(&asker, request);
                relay.reply(&asker, request, answer, &session);
            };
            self.serving.start((node.clone(), request), &runtime, task)
        });
        if !started {
            // The node that asked then opens a new session itself, and one that cannot be told is down.
            let _ = self.say(node, request, Word::Gone);
        }
    }

    /// Messages that cannot be told end their session: it must not go on without them.
    fn reply(&self, node: &NodeName, request: u64, answer: Word, session: &Shared) {
        let has_messages = matches!(answer, Word::Messages(_));
        if self.say(node, request, answer).is_err() && has_messages {
            let lines = self.sessions.lines();
            if let Some(left_out) = lines.not_passed_on.pass(Instant::now().into_std()) {
                tracing::warn!(%node, left_out, "a long-poll session ends: what it had for its client could not be passed on");
            }
            session.lose();
            let _ = self.say(node, request, Word::Gone);
        }
    }
}
