//! When which topic's clients are told what. It decides; the broadcaster does it.
//!
//! The tracker's diffs only say that a topic has changed. What clients are told is the difference between the list now and
//! what they may hold: the list they were last told the way to, or one that was given to some of them since. So what
//! comes and goes between two looks costs nothing, lost diffs do no harm, and nobody keeps a ghost who was given a list in between.
//!
//! Why that is enough: a client is subscribed before it is given a list, so each later difference reaches it, before or after the list.
//! One that was made before the list may undo a part of it, but only to what was told then, which is one of the bases of
//! the next difference; and there is a next one, since the list was another than what was told.
//!
//! That is so of who joins: what is told meanwhile is held back for it. Whoever asks for a list later is told differences before it comes, and
//! has an older list after them. So such a list is *under way* until all have it, and then it is a base of one difference, which is told in
//! any case. Once is enough: what such a client holds by then and the list now has not was in that list, or it was told of it since and
//! it is in what was told; and what it does not hold was not in that list, or it was told of its end since.
//!
//! And of who joins on a connection that had joined before, if nothing of the earlier join is still on its way: a broadcast does not say of which
//! join it is. So it is told after its list what it [missed](Departed).
//!
//! A topic that nobody on this node is subscribed to has no clients who hold anything: what changes there is noted as told.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use matryoshka_channel::Router;
use matryoshka_tracker::{Entries, Entry};

use crate::departed::{Departed, KEPT};
use crate::difference::Difference;
use crate::greeting::Greeting;
use crate::mode::{Count, Counted, Mode};
use crate::topic_config::{TopicConfig, of_topic};

/// The least time between two counts of a topic.
pub(crate) const COUNT_PERIOD: Duration = Duration::from_secs(1);

/// How many lists may be given before clients are told the difference, those among them that are under way. Who wants a further one waits
/// for that; whoever is told differences only after it does not wait for those under way.
const BASES: usize = 8;

/// What a teller goes by.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The least time between two differences of a topic, and between two lists.
    pub(crate) period: Duration,
    pub(crate) rules: Router<TopicConfig>,
    /// Whether a handler is to have every change.
    pub(crate) has_handler: bool,
}

/// Something to be done now.
#[derive(Debug)]
pub(crate) enum Job<W> {
    Tell(Telling),
    Greet(Greet<W>),
}

/// What to tell the clients of a topic, and its handler. [`Teller::told`] is owed.
#[derive(Debug)]
pub(crate) struct Telling {
    pub(crate) topic: Arc<str>,
    pub(crate) news: Difference,
    pub(crate) count: Option<Count>,
    /// The list for the handler, if it has changed.
    pub(crate) handled: Option<Entries>,
    /// Who is named in any of it, in order.
    pub(crate) keys: Vec<Arc<str>>,
}

/// What to give those who wait for a list. [`Teller::greeted`] is owed.
#[derive(Debug)]
pub(crate) struct Greet<W> {
    pub(crate) topic: Arc<str>,
    pub(crate) greeting: Greeting,
    pub(crate) waiters: Vec<W>,
    /// The number of the list if it is under way: [`Teller::arrived`] is owed too.
    pub(crate) way: Option<u64>,
}

/// What a teller sees when it looks at a topic.
pub(crate) trait Source {
    /// The list now.
    fn list(&self, topic: &str) -> Entries;

    /// Whether anybody on this node is subscribed. Asked only after the list was read: whoever subscribes later reads a list that is no
    /// older, and misses nothing that is not told.
    fn is_watched(&self, topic: &str) -> bool;
}

/// What is known of all topics, and who waits: `W` is whatever the greeting is to be given to.
#[derive(Debug)]
pub(crate) struct Teller<W> {
    settings: Settings,
    topics: BTreeMap<Arc<str>, Topic<W>>,
    /// When to look at which topic, each at most once.
    due: BTreeSet<(Duration, Arc<str>)>,
    looked: u64,
    /// How many lists have been under way.
    ways: u64,
    departed: Departed,
}

#[derive(Debug)]
struct Topic<W> {
    mode: Mode,
    /// The list that clients have been told the way to.
    told: Entries,
    /// What clients have been told of while nobody looked: it is the whole list, of which they would hold the view.
    told_is_whole: bool,
    /// Lists that some were given since.
    given: Vec<Entries>,
    /// Lists that some are given and may not have yet.
    under_way: BTreeMap<u64, Entries>,
    /// The number that all clients were last told; nothing if some were given another.
    told_count: Option<Count>,
    handled: Entries,
    counted: Counted,
    looked: u64,
    list_changed: bool,
    count_changed: bool,
    is_telling: bool,
    is_greeting: bool,
    /// Who leaves by the difference that is being told, if there is one.
    leaving: Option<Vec<Arc<Entry>>>,
    /// Whether anybody was subscribed then.
    is_watched: bool,
    /// When clients were last told a difference.
    heard_at: Option<Duration>,
    /// Those who wait and are told differences only after the list.
    held_back: Waiting<W>,
    /// Those who may be told differences before it: apart, so that lists which are under way keep nobody else from theirs.
    overtaken: Waiting<W>,
    /// Not before these times.
    tell_at: Duration,
    count_at: Duration,
    scheduled: Option<Duration>,
}

/// Some who wait for a list, and will share it.
#[derive(Debug)]
struct Waiting<W> {
    waiters: Vec<W>,
    /// Until when those of them heard differences who had joined before, the earliest of it.
    heard_until: Option<Duration>,
    /// Not before this time.
    greet_at: Duration,
}

impl<W> Teller<W> {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            topics: BTreeMap::new(),
            due: BTreeSet::new(),
            looked: 0,
            ways: 0,
            departed: Departed::default(),
        }
    }

    /// A topic's list may have changed.
    pub(crate) fn changed(&mut self, topic: &Arc<str>) {
        let has_handler = self.settings.has_handler;
        self.with(topic, |topic| {
            topic.list_changed |= topic.mode.lists() || has_handler;
            topic.count_changed |= topic.mode.counts();
        });
    }

    /// Changes were lost: any topic may have changed, and these have lists.
    pub(crate) fn all_changed<'a>(&mut self, listed: impl Iterator<Item = &'a Arc<str>>) {
        let mut all: BTreeSet<Arc<str>> = self.topics.keys().cloned().collect();
        all.extend(listed.cloned());
        all.iter().for_each(|topic| self.changed(topic));
    }

    /// Somebody is to have the list of a topic, as it will be when the greeting is made.
    pub(crate) fn wanted(&mut self, topic: &Arc<str>, waiter: W, wish: Wish) {
        self.with(topic, |topic| {
            let waiting = topic.waiting(!wish.is_held_back);
            waiting.waiters.push(waiter);
            let both = waiting.heard_until.into_iter().chain(wish.heard_until);
            waiting.heard_until = both.min();
        });
    }

    /// All who were given a list that was under way have it, or have gone.
    pub(crate) fn arrived(&mut self, topic: &Arc<str>, way: u64) {
        self.with(topic, |topic| {
            if let Some(list) = topic.under_way.remove(&way) {
                topic.given.push(list);
                topic.list_changed = true;
            }
        });
    }

    /// What was to be told has been, by now.
    pub(crate) fn told(&mut self, name: &Arc<str>, now: Duration) {
        let left = self.with(name, |topic| {
            topic.is_telling = false;
            let left = topic.leaving.take()?;
            if topic.is_watched {
                topic.heard_at = Some(now);
            }
            Some(left)
        });
        if let Some(left) = left {
            self.departed.note(now, name, left);
        }
    }

    /// What was to be given has been, with this count.
    pub(crate) fn greeted(&mut self, topic: &Arc<str>, count: Option<Count>) {
        self.with(topic, |topic| {
            topic.is_greeting = false;
            if count.is_some() && count != topic.told_count {
                // Not all have been told the same now.
                topic.told_count = None;
                topic.count_changed = true;
            }
        });
    }

    /// When there may be something to do; nothing: only when something happens.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let due = self.due_at().into_iter();
        due.chain(self.departed.over_at()).min()
    }

    fn due_at(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// At how many entries of lists it has looked so far, to find out what changed.
    pub(crate) fn looked(&self) -> u64 {
        self.looked
    }

    /// What is to be done now, if it is found in so many looks at topics; one less is left for each.
    pub(crate) fn poll(
        &mut self,
        now: Duration,
        source: &impl Source,
        looks: &mut usize,
    ) -> Option<Job<W>> {
        self.departed.forget(now);
        while *looks > 0 && self.due_at().is_some_and(|at| at <= now) {
            *looks -= 1;
            let (_, name) = self.due.pop_first()?;
            let topic = self.topics.get_mut(&name)?;
            topic.scheduled = None;
            // First the difference: who waits for a list is then given one that needs none after it.
            let telling = topic.due_telling(&name, now, &self.settings, source);
            let job = telling.map(Job::Tell).or_else(|| {
                let known = (&self.departed, &mut self.ways);
                let greet = topic.due_greet(&name, now, self.settings.period, source, known);
                greet.map(Job::Greet)
            });
            self.looked += std::mem::take(&mut topic.looked);
            if job.is_none() && topic.is_idle(now) {
                self.topics.remove(&name);
                continue;
            }
            self.with(&name, |_| ());
            if job.is_some() {
                return job;
            }
        }
        None
    }

    /// Changes a topic and sees to it that it is looked at in time.
    fn with<T>(&mut self, name: &Arc<str>, change: impl FnOnce(&mut Topic<W>) -> T) -> T {
        let topic = self
            .topics
            .entry(Arc::clone(name))
            .or_insert_with(|| Topic::new(of_topic(&self.settings.rules, name).mode));
        let outcome = change(topic);
        let due = topic.due();
        if due != topic.scheduled {
            if let Some(at) = topic.scheduled.take() {
                self.due.remove(&(at, Arc::clone(name)));
            }
            self.due.extend(due.map(|at| (at, Arc::clone(name))));
            topic.scheduled = due;
        }
        outcome
    }
}

/// How somebody is to be given a list.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    /// Whether the differences that are told meanwhile are held back until it has the list.
    pub(crate) is_held_back: bool,
    /// If its connection had joined the topic before: until when at least that join heard differences.
    pub(crate) heard_until: Option<Duration>,
}

/// A look at a topic.
struct Look<'a> {
    list: &'a Entries,
    is_watched: bool,
    now: Duration,
}

impl<W> Topic<W> {
    fn new(mode: Mode) -> Self {
        Self {
            mode,
            told: Entries::default(),
            told_is_whole: false,
            given: Vec::new(),
            under_way: BTreeMap::new(),
            told_count: None,
            handled: Entries::default(),
            counted: Counted::default(),
            looked: 0,
            list_changed: false,
            count_changed: false,
            is_telling: false,
            is_greeting: false,
            leaving: None,
            is_watched: false,
            heard_at: None,
            held_back: Waiting::new(),
            overtaken: Waiting::new(),
            tell_at: Duration::ZERO,
            count_at: Duration::ZERO,
            scheduled: None,
        }
    }

    fn waiting(&mut self, is_overtaken: bool) -> &mut Waiting<W> {
        match is_overtaken {
            true => &mut self.overtaken,
            false => &mut self.held_back,
        }
    }

    fn due_telling(
        &mut self,
        name: &Arc<str>,
        now: Duration,
        settings: &Settings,
        source: &impl Source,
    ) -> Option<Telling> {
        let tells_list = self.list_changed && self.tell_at <= now;
        let tells_count = self.count_changed && self.count_at <= now;
        if self.is_telling || !(tells_list || tells_count) {
            return None;
        }
        let list = source.list(name);
        let look = Look {
            list: &list,
            is_watched: source.is_watched(name),
            now,
        };
        let telling = self.tell(name, look, (tells_list, tells_count), settings);
        self.is_telling = telling.is_some();
        telling
    }

    fn due_greet(
        &mut self,
        name: &Arc<str>,
        now: Duration,
        period: Duration,
        source: &impl Source,
        (departed, ways): (&Departed, &mut u64),
    ) -> Option<Greet<W>> {
        let (_, is_overtaken) = self.next_greet().filter(|(at, _)| *at <= now)?;
        let way = (is_overtaken && self.mode.lists()).then(|| {
            *ways += 1;
            *ways
        });
        let mut greeting = self.greet(&source.list(name), way);
        let waiting = self.waiting(is_overtaken);
        waiting.greet_at = now + period;
        let waiters = std::mem::take(&mut waiting.waiters);
        if let Some(until) = waiting.heard_until.take() {
            let leaving = self.leaving.as_deref().unwrap_or_default();
            greeting.missed = departed.missed(name, until, leaving);
        }
        self.is_greeting = true;
        Some(Greet {
            topic: Arc::clone(name),
            greeting,
            waiters,
            way,
        })
    }

    /// When the next list may be given, and whether to those who may be told differences before it: both kinds take turns.
    fn next_greet(&self) -> Option<(Duration, bool)> {
        if self.is_greeting {
            return None;
        }
        let bases = self.given.len();
        let held_back = self.held_back.greet_at(bases);
        let overtaken = self.overtaken.greet_at(bases + self.under_way.len());
        let held_back = held_back.map(|at| (at, false));
        held_back
            .into_iter()
            .chain(overtaken.map(|at| (at, true)))
            .min()
    }

    fn tell(
        &mut self,
        name: &Arc<str>,
        look: Look<'_>,
        (tells_list, tells_count): (bool, bool),
        settings: &Settings,
    ) -> Option<Telling> {
        let mut telling = Telling {
            topic: Arc::clone(name),
            news: Difference::default(),
            count: None,
            handled: None,
            keys: Vec::new(),
        };
        if tells_list {
            self.list_changed = false;
            self.tell_at = look.now + settings.period;
            self.tell_list(&look, &mut telling);
            if settings.has_handler {
                self.hand_over(look.list, &mut telling);
            }
        }
        if tells_count {
            self.count_changed = false;
            self.count_at = look.now + COUNT_PERIOD;
            let count = Some(self.count(look.list));
            let is_news = std::mem::replace(&mut self.told_count, count) != count;
            telling.count = count.filter(|_| is_news && look.is_watched);
        }
        let is_something =
            self.leaving.is_some() || telling.count.is_some() || telling.handled.is_some();
        is_something.then_some(telling)
    }

    /// Where nobody is subscribed there is nothing to tell, and nobody holds a list. But who was subscribed a while ago may come back.
    fn tell_list(&mut self, look: &Look<'_>, telling: &mut Telling) {
        let was_heard = self.heard_at.is_some_and(|at| look.now < at + KEPT);
        if !look.is_watched && !was_heard {
            self.told = match self.mode.lists() {
                true => look.list.clone(),
                false => Entries::default(),
            };
            self.told_is_whole = true;
            return self.given.clear();
        }
        if std::mem::take(&mut self.told_is_whole) {
            self.told = self.view(&self.told.clone());
        }
        let view = self.view(look.list);
        let news = Difference::between(self.given.iter().chain([&self.told]), &view);
        self.looked += news.looked;
        self.given.clear();
        self.told = view;
        self.leaving = (!news.is_empty()).then(|| news.leaves.clone());
        self.is_watched = look.is_watched;
        if look.is_watched {
            telling.keys = news.keys();
            telling.news = news;
        }
    }

    /// The part of a list that clients hold.
    fn view(&mut self, list: &Entries) -> Entries {
        let view = self.mode.view(list);
        if let Mode::Window(_) = self.mode {
            self.looked += view.len() as u64;
        }
        view
    }

    fn hand_over(&mut self, list: &Entries, telling: &mut Telling) {
        let changes = Difference::between([&self.handled], list);
        self.looked += changes.looked;
        if !changes.is_empty() {
            telling.keys.extend(changes.keys());
            telling.keys.sort();
            telling.keys.dedup();
            telling.handled = Some(list.clone());
            self.handled = list.clone();
        }
    }

    fn greet(&mut self, list: &Entries, way: Option<u64>) -> Greeting {
        let view = self.mode.lists().then(|| self.view(list));
        let count = self.mode.counts().then(|| self.count(list));
        match (&view, way) {
            (Some(view), Some(way)) => drop(self.under_way.insert(way, view.clone())),
            (Some(view), None) => self.given.push(view.clone()),
            (None, _) => {}
        }
        self.list_changed |= self.given.len() >= BASES;
        Greeting::new(view, count)
    }

    fn count(&mut self, list: &Entries) -> Count {
        let (count, looked) = self.counted.follow(list);
        self.looked += looked;
        count
    }

    /// When to look at it again, if nothing happens.
    fn due(&self) -> Option<Duration> {
        let tell = (self.list_changed && !self.is_telling).then_some(self.tell_at);
        let count = (self.count_changed && !self.is_telling).then_some(self.count_at);
        let greet = self.next_greet().map(|(at, _)| at);
        let next = [tell, count, greet].into_iter().flatten().min();
        next.or_else(|| self.is_empty().then(|| self.quiet_at()))
    }

    /// Whether there is nothing to remember of it once it has been quiet for a while.
    fn is_empty(&self) -> bool {
        let is_waited_for = [&self.held_back, &self.overtaken]
            .iter()
            .any(|waiting| !waiting.waiters.is_empty());
        let is_under_way = is_waited_for || !self.under_way.is_empty();
        let is_busy = self.is_telling || self.is_greeting || is_under_way;
        let is_changed = self.list_changed || self.count_changed;
        !is_busy
            && !is_changed
            && self.told.is_empty()
            && self.handled.is_empty()
            && self.counted.is_empty()
            && self.holds_nobody()
    }

    /// Whether nobody was given a list that names somebody.
    fn holds_nobody(&self) -> bool {
        self.given.iter().all(Entries::is_empty)
    }

    fn quiet_at(&self) -> Duration {
        let greet_at = self.held_back.greet_at.max(self.overtaken.greet_at);
        self.tell_at.max(self.count_at).max(greet_at)
    }

    fn is_idle(&self, now: Duration) -> bool {
        self.is_empty() && self.quiet_at() <= now
    }
}

impl<W> Waiting<W> {
    fn new() -> Self {
        Self {
            waiters: Vec::new(),
            heard_until: None,
            greet_at: Duration::ZERO,
        }
    }

    /// When they may be given a list beside so many others; nothing if there is nobody, or are too many of those.
    fn greet_at(&self, bases: usize) -> Option<Duration> {
        (!self.waiters.is_empty() && bases < BASES).then_some(self.greet_at)
    }
}

#[cfg(any(test, feature = "test-util"))]
pub(crate) mod histories;
#[cfg(test)]
mod tests;
