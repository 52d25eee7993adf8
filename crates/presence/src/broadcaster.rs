//! The task that tells this node's clients who is here.
//!
//! One task decides everything, so a list that is given and the differences that are told have one order. Every node hears of
//! every change from its own tracker and tells its own clients: a `presence_diff` never crosses to another node.

use std::sync::Arc;

use futures::FutureExt;
use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::transport::{Json, excerpt};
use matryoshka_channel::{Broadcast, Pusher};
use matryoshka_tracker::{DiffEvent, Diffs, Entries, Tracker};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::events::Events;
use crate::extras::Extras;
use crate::fetching::Fetching;
use crate::greeting::{Arrival, Greeting, UnderWay, count_json};
use crate::handling::HandlerQueue;
use crate::stats::Counters;
use crate::teller::{Greet, Job, Source, Teller, Wish};
use crate::writing::{Writing, Written};

/// Somebody who wants the list of a topic.
pub(crate) struct Wanted {
    pub(crate) topic: Arc<str>,
    pub(crate) waiter: Waiter,
    /// Whether the differences that are told meanwhile come to it after the list.
    pub(crate) is_held_back: bool,
    /// When an earlier join of its connection ended ([`Socket::earlier_join_ended`]).
    ///
    /// [`Socket::earlier_join_ended`]: matryoshka_channel::Socket::earlier_join_ended
    pub(crate) earlier_ended: Option<Instant>,
}

/// A channel that waits for its greeting.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// For the count: a client takes the last one that comes for the newest, so all are sent from here.
    pub(crate) pusher: Pusher,
    /// For the list, which a client can put into its place among the differences.
    pub(crate) reply: oneshot::Sender<Arc<Greeting>>,
}

pub(crate) struct Broadcaster {
    pub(crate) pubsub: PubSub,
    pub(crate) tracker: Tracker,
    pub(crate) diffs: Diffs,
    pub(crate) asked: mpsc::Receiver<Wanted>,
    /// Lists that were under way.
    pub(crate) arrived: mpsc::UnboundedReceiver<Arrival>,
    pub(crate) arrivals: mpsc::UnboundedSender<Arrival>,
    pub(crate) teller: Teller<Waiter>,
    pub(crate) fetching: Option<Fetching<Waiter>>,
    pub(crate) writing: Writing,
    pub(crate) handler: Option<Arc<HandlerQueue>>,
    pub(crate) events: Arc<Events>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) started: Instant,
}

impl Broadcaster {
    /// Runs until the tracker ends.
    pub(crate) async fn run(mut self) {
        loop {
            let is_done = self.work();
            let wake_at = self.teller.poll_timeout().map(|at| self.started + at);
            let fetched = async {
                match &mut self.fetching {
                    Some(fetching) => fetching.done().await,
                    None => std::future::pending().await,
                }
            };
            let slept = async {
                match wake_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = self.diffs.next() => match event {
                    Some(event) => self.changed(&event),
                    None => return,
                },
                Some(asked) = self.asked.recv() => self.hear(asked),
                Some((topic, way)) = self.arrived.recv() => self.teller.arrived(&topic, way),
                (job, extras) = fetched => self.finish(job, extras),
                Some(written) = self.writing.done() => self.tell(written),
                () = slept => {}
            }
            self.take_what_waits();
            // A burst must not keep the thread from everyone else.
            match is_done {
                true => tokio::task::consume_budget().await,
                false => tokio::task::yield_now().await,
            }
        }
    }

    /// Takes in what is there already, so that it goes into one look at each topic.
    fn take_what_waits(&mut self) {
        for _ in 0..BATCH {
            match self.diffs.next().now_or_never() {
                Some(Some(event)) => self.changed(&event),
                // Its end is seen again.
                Some(None) | None => break,
            }
        }
        for _ in 0..BATCH {
            match self.asked.try_recv() {
                Ok(asked) => self.hear(asked),
                Err(_) => break,
            }
        }
        while let Ok((topic, way)) = self.arrived.try_recv() {
            self.teller.arrived(&topic, way);
        }
    }

    fn changed(&mut self, event: &DiffEvent) {
        match event {
            DiffEvent::Diff(diff) => self.teller.changed(&diff.topic),
            DiffEvent::Resync(snapshot) => {
                self.counters.resyncs.add_one();
                if let Some(left_out) = self.counters.lines.fell_behind.pass_now() {
                    tracing::warn!(
                        left_out,
                        "presence fell behind its tracker; all lists are compared"
                    );
                }
                self.teller
                    .all_changed(snapshot.topics().map(|(topic, _)| topic));
            }
        }
    }

    fn hear(&mut self, wanted: Wanted) {
        let ended = wanted.earlier_ended;
        let wish = Wish {
            is_held_back: wanted.is_held_back,
            heard_until: ended.map(|at| at.saturating_duration_since(self.started)),
        };
        self.teller.wanted(&wanted.topic, wanted.waiter, wish);
    }

    /// Does what is due, and not more of it than a turn has room for: after changes were lost that may be all topics there are. Whether
    /// that was all.
    fn work(&mut self) -> bool {
        let mut looks = LOOKS;
        loop {
            let here = Here {
                pubsub: &self.pubsub,
                tracker: &self.tracker,
            };
            let job = self.teller.poll(self.started.elapsed(), &here, &mut looks);
            let Some(job) = job else { break };
            let plain = match &mut self.fetching {
                Some(fetching) if job.needs_fetch() => fetching.start(job),
                _ => Some(job),
            };
            if let Some(job) = plain {
                self.finish(job, Extras::default());
            }
        }
        self.counters.looked(self.teller.looked());
        looks > 0
    }

    fn finish(&mut self, job: Job<Waiter>, extras: Extras) {
        match job {
            Job::Tell(telling) => {
                if let Some(written) = self.writing.start(telling, extras) {
                    self.tell(written);
                }
            }
            Job::Greet(greet) => self.greet(greet, extras),
        }
    }

    fn tell(&mut self, mut written: Written) {
        let topic = &written.telling.topic;
        if let Some(diff) = written.diff.take() {
            self.counters.diffs.add_one();
            self.send(topic, &self.events.diff, diff);
        }
        if !written.rest.is_empty() {
            return self.writing.go_on(written);
        }
        let (telling, extras) = (written.telling, written.extras);
        let topic = &telling.topic;
        if let Some(count) = telling.count {
            self.counters.counts.add_one();
            self.send(topic, &self.events.count, count_json(count));
        }
        if let (Some(handler), Some(list)) = (&self.handler, telling.handled) {
            handler.feed(topic, list, Arc::unwrap_or_clone(extras));
        }
        self.teller.told(&telling.topic, self.started.elapsed());
    }

    fn greet(&mut self, greet: Greet<Waiter>, extras: Extras) {
        let mut greeting = greet.greeting;
        greeting.extras = extras;
        greeting.under_way = greet.way.map(|way| UnderWay {
            topic: Arc::clone(&greet.topic),
            way,
            arrived: self.arrivals.clone(),
        });
        let greeting = Arc::new(greeting);
        for waiter in greet.waiters {
            // Whoever has gone meanwhile needs neither.
            if let Some(count) = greeting.count {
                let _ = waiter
                    .pusher
                    .push_payload(self.events.count.clone(), count_json(count));
            }
            let _ = waiter.reply.send(Arc::clone(&greeting));
        }
        self.teller.greeted(&greet.topic, greeting.count);
    }

    fn send(&self, topic: &str, event: &str, payload: Json) {
        let sent = Broadcast::with_payload(topic, event, payload)
            .and_then(|broadcast| broadcast.send_local(&self.pubsub));
        if let Err(error) = sent
            && let Some(left_out) = self.counters.lines.not_sent.pass_now()
        {
            let topic = excerpt(topic);
            tracing::error!(topic, event, %error, left_out, "not sent; this topic's clients are wrong until they join again");
        }
    }
}

/// This node's topics.
struct Here<'a> {
    pubsub: &'a PubSub,
    tracker: &'a Tracker,
}

impl Source for Here<'_> {
    fn list(&self, topic: &str) -> Entries {
        self.tracker.entries(topic)
    }

    fn is_watched(&self, topic: &str) -> bool {
        self.pubsub.subscriptions(topic) > 0
    }
}

/// Changes and wishes taken in at a time.
const BATCH: usize = 256;

/// Looks at topics in one turn: what else is due waits for the next one, so that other tasks get theirs.
const LOOKS: usize = 256;

/// What channels say that may wait. Beyond, they wait.
pub(crate) const ASKED: usize = 1_024;
