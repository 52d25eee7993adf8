//! Clients that say numbered messages at a steady pace and listen to all others, each in a thread of its own.
//!
//! A voice says `shout` to a lab topic, `{"by": voice, "n": number, "padding": ...}`, numbers from 0, and notes what it hears of
//! every voice. It ends with its node; whoever ended the node says so by `gone`, and then it is no failure.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::failure::{Explain, Outcome, fail};
use crate::integration::client::Client;
use crate::integration::hearing::{Heard, Hearing};
use crate::integration::stage::Stage;
use crate::integration::witness::{self, Metrics};

/// How long a silent voice waits for the next message before it looks at its orders.
const LISTEN_FOR: Duration = Duration::from_millis(20);
/// How many messages one turn says at most: a voice that was held up catches up in steps, and listens between them.
const MAX_AT_ONCE: u32 = 50;
/// A voice that is further behind than this goes on from now: what a machine cannot do is not asked of it for ever.
const MAX_BEHIND: Duration = Duration::from_secs(1);

/// All voices of one topic. Dropped, they end.
pub(crate) struct Voices {
    topic: String,
    /// How many bytes each message of later voices has beside its numbers.
    pub(crate) padding: usize,
    all: Vec<Voice>,
}

/// A voice by its number.
pub(crate) type VoiceId = usize;

struct Voice {
    /// Its node: index on the stage, name, and the log of that life.
    node: usize,
    name: String,
    log: PathBuf,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Outcome>>,
    joined: Instant,
    began: Option<Instant>,
    gone: bool,
}

/// What a voice's thread is told, and what it tells.
#[derive(Default)]
struct Shared {
    /// Messages a second; 0 is silence.
    pace: AtomicU32,
    over: AtomicBool,
    said: AtomicU64,
    hearing: Mutex<Hearing>,
}

/// What all voices said and heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Account {
    pub(crate) said: u64,
    pub(crate) heard: u64,
    /// Lost on links that broke, or dropped for a slow peer; all of it was told.
    pub(crate) told_missing: u64,
}

impl Voices {
    pub(crate) fn new(topic: &str) -> Self {
        Voices {
            topic: topic.to_owned(),
            padding: 0,
            all: Vec::new(),
        }
    }

    /// A further voice, on this node; it listens, and is silent for now.
    pub(crate) fn join(&mut self, stage: &Stage, node: usize) -> Outcome<VoiceId> {
        let id = self.all.len();
        let at = &stage.nodes[node];
        let mut client = Client::connect(at.http, &format!("voice-{id}"))?;
        client.join(&self.topic)?;
        let shared = Arc::new(Shared::default());
        let thread = Speaker {
            client,
            topic: self.topic.clone(),
            id,
            shared: shared.clone(),
            padding: "x".repeat(self.padding),
        };
        let thread = thread::Builder::new()
            .name(format!("voice-{id}"))
            .spawn(move || thread.run())
            .explain("starting a voice")?;
        self.all.push(Voice {
            node,
            name: at.name.clone(),
            log: at.log.clone(),
            shared,
            thread: Some(thread),
            joined: Instant::now(),
            began: None,
            gone: false,
        });
        Ok(id)
    }

    /// From now on each of these says so many messages a second, together with the others `per_second`.
    pub(crate) fn speak(&mut self, ids: &[VoiceId], per_second: u32) {
        let each = per_second / u32::try_from(ids.len().max(1)).unwrap_or(u32::MAX);
        for id in ids {
            let voice = &mut self.all[*id];
            voice.began.get_or_insert_with(Instant::now);
            voice.shared.pace.store(each, Ordering::Relaxed);
        }
    }

    /// Every voice that there ever was.
    pub(crate) fn all(&self) -> Vec<VoiceId> {
        (0..self.all.len()).collect()
    }

    /// The voices of all nodes that are still there.
    pub(crate) fn present(&self) -> Vec<VoiceId> {
        let all = self.all.iter().enumerate();
        all.filter(|(_, voice)| !voice.gone)
            .map(|(id, _)| id)
            .collect()
    }

    /// The voices on these nodes that are still there.
    pub(crate) fn on(&self, nodes: &[usize]) -> Vec<VoiceId> {
        let mut present = self.present();
        present.retain(|id| nodes.contains(&self.all[*id].node));
        present
    }

    /// These voices have lost their node, or their node is about to go: no more is expected of them.
    pub(crate) fn gone(&mut self, ids: &[VoiceId]) {
        for id in ids {
            let voice = &mut self.all[*id];
            voice.gone = true;
            voice.shared.over.store(true, Ordering::Relaxed);
        }
    }

    /// This voice has said enough and heard enough: it leaves properly.
    pub(crate) fn leave(&mut self, id: VoiceId) -> Outcome {
        self.all[id].end()?;
        self.all[id].gone = true;
        Ok(())
    }

    /// How many messages a voice has said so far: the number of its next one.
    pub(crate) fn said(&self, id: VoiceId) -> u64 {
        self.all[id].shared.said.load(Ordering::Relaxed)
    }

    /// What one voice has heard so far of another.
    pub(crate) fn heard(&self, listener: VoiceId, speaker: VoiceId) -> Option<Heard> {
        self.all[listener].hearing().of(speaker as u64).cloned()
    }

    /// Fails if a voice that should still be there has ended.
    pub(crate) fn check(&mut self) -> Outcome {
        for voice in self.all.iter_mut().filter(|voice| !voice.gone) {
            if voice.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                voice.end()?;
                fail!("a voice on {} ended by itself", voice.name);
            }
        }
        Ok(())
    }

    /// Silences all, and waits until all that each present voice said has been heard by all of them.
    pub(crate) fn settle(&mut self, stage: &mut Stage, within: Duration) -> Outcome {
        for voice in &self.all {
            voice.shared.pace.store(0, Ordering::Relaxed);
        }
        let present = self.present();
        let what = "the last words to be heard";
        stage.until(what, Instant::now(), within, |_| {
            self.check()?;
            Ok(self.unheard(&present))
        })?;
        Ok(())
    }

    /// Names the pairs in which the last word has not been heard.
    fn unheard(&self, ids: &[VoiceId]) -> String {
        let mut unheard = String::new();
        for (listener, speaker) in pairs(ids) {
            let said = self.said(speaker);
            let heard = self.heard(listener, speaker).map_or(0, |heard| heard.next);
            if heard < said {
                unheard += &format!(
                    " {} has heard {heard} of {said} of {};",
                    self.all[listener].name, self.all[speaker].name
                );
            }
        }
        unheard
    }

    /// Fails if one of these misses anything between the first and the last that it heard of another, or the first
    /// words of one that began after it had joined. Voices that are gone count up to their end. With `settle` before,
    /// all that the present ones said has come.
    pub(crate) fn lost_nothing(&self, ids: &[VoiceId]) -> Outcome {
        for (listener, speaker) in pairs(ids) {
            let (l, s) = (&self.all[listener], &self.all[speaker]);
            let hearing = l.hearing();
            let Some(heard) = hearing.of(speaker as u64) else {
                continue;
            };
            let from_the_start = s.began.is_some_and(|began| l.joined <= began);
            if heard.missing() > 0 || (from_the_start && heard.first > 0) {
                fail!(
                    "{} lost messages of {}, to which its link never broke: {heard:?}; log: {}",
                    l.name,
                    s.name,
                    l.log.display()
                );
            }
        }
        Ok(())
    }

    /// Ends all voices and judges all of what was heard: nothing twice, nothing out of order, and whatever is missing
    /// was told to the one who misses it: by a link that is down, or by a counted gap.
    pub(crate) fn judge(&mut self, stage: &Stage) -> Outcome<Account> {
        for voice in &mut self.all {
            voice.end()?;
        }
        let mut account = Account::default();
        for voice in &self.all {
            account.said += voice.shared.said.load(Ordering::Relaxed);
            account.heard += voice.hearing().total();
        }
        for (listener, speaker) in pairs(&self.all()) {
            account.told_missing += self.judge_pair(stage, listener, speaker)?;
        }
        Ok(account)
    }

    fn judge_pair(&self, stage: &Stage, listener: VoiceId, speaker: VoiceId) -> Outcome<u64> {
        let (l, s) = (&self.all[listener], &self.all[speaker]);
        let hearing = l.hearing();
        let Some(heard) = hearing.of(speaker as u64) else {
            return Ok(0);
        };
        if heard.again > 0 || heard.late > 0 {
            fail!(
                "{} heard {} twice or out of order: {heard:?}; log: {}",
                l.name,
                s.name,
                l.log.display()
            );
        }
        if heard.holes() == 0 {
            return Ok(0);
        }
        let downs = witness::downs(&l.log, &s.name)?;
        let gaps = match stage.nodes.get(l.node).filter(|node| node.log == l.log) {
            Some(node) => Metrics::of(node)?.peer_counter("quic_peer_lost", &s.name),
            None => 0,
        };
        if heard.holes() > downs && heard.missing() > gaps {
            fail!(
                "{} misses {} messages of {} in {} places, and was told of {downs} downs and {gaps} lost; log: {}",
                l.name,
                heard.missing(),
                s.name,
                heard.holes(),
                l.log.display()
            );
        }
        Ok(heard.missing())
    }
}

impl Drop for Voices {
    fn drop(&mut self) {
        for voice in &mut self.all {
            let _ = voice.end();
        }
    }
}

/// Listener and speaker, each pair of different ones in both roles.
fn pairs(ids: &[VoiceId]) -> impl Iterator<Item = (VoiceId, VoiceId)> {
    let speakers = |listener: VoiceId| ids.iter().map(move |speaker| (listener, *speaker));
    let all = ids.iter().flat_map(move |listener| speakers(*listener));
    all.filter(|(listener, speaker)| listener != speaker)
}

impl Voice {
    fn hearing(&self) -> Hearing {
        self.shared.hearing().clone()
    }

    /// Ends the thread; what went wrong in it counts only if the voice should still be there.
    fn end(&mut self) -> Outcome {
        self.shared.over.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        match thread.join() {
            Ok(Err(failure)) if !self.gone => Err(failure),
            Ok(_) => Ok(()),
            Err(_) => fail!("the voice on {} panicked", self.name),
        }
    }
}

impl Shared {
    fn hearing(&self) -> std::sync::MutexGuard<'_, Hearing> {
        self.hearing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A voice's thread.
struct Speaker {
    client: Client,
    topic: String,
    id: VoiceId,
    shared: Arc<Shared>,
    padding: String,
}

impl Speaker {
    fn run(mut self) -> Outcome {
        let mut due = Instant::now();
        while !self.shared.over.load(Ordering::Relaxed) {
            let wait = match self.shared.pace.load(Ordering::Relaxed) {
                0 => {
                    due = Instant::now();
                    LISTEN_FOR
                }
                pace => {
                    due = due.max(before(Instant::now(), MAX_BEHIND));
                    due = self.say_what_is_due(due, Duration::from_secs(1) / pace)?;
                    LISTEN_FOR.min(due.saturating_duration_since(Instant::now()))
                }
            };
            self.listen(wait)?;
        }
        Ok(())
    }

    /// Gives the time at which the next message is due.
    fn say_what_is_due(&mut self, mut due: Instant, every: Duration) -> Outcome<Instant> {
        let now = Instant::now();
        for _ in 0..MAX_AT_ONCE {
            if due > now {
                break;
            }
            let number = self.shared.said.load(Ordering::Relaxed);
            let message = json!({"by": self.id, "n": number, "padding": self.padding});
            self.client.send(&self.topic, "shout", message)?;
            self.shared.said.store(number + 1, Ordering::Relaxed);
            due += every;
        }
        Ok(due)
    }

    fn listen(&mut self, at_most: Duration) -> Outcome {
        let Some(frame) = self.client.next(at_most)? else {
            return Ok(());
        };
        if frame.event != "shout" {
            return Ok(());
        }
        match (frame.payload["by"].as_u64(), frame.payload["n"].as_u64()) {
            (Some(by), Some(number)) => {
                self.shared.hearing().take(by, number);
                Ok(())
            }
            _ => fail!("a voice heard {}", frame.payload),
        }
    }
}

fn before(now: Instant, time: Duration) -> Instant {
    now.checked_sub(time).unwrap_or(now)
}
