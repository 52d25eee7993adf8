//! A node: what its tracker lists, its teller, what stands around that, and its clients.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use matryoshka_channel::Router;
use matryoshka_tracker::{Entries, Entry};
use serde_json::Value;

use super::client::{Client, Frame, How, Said};
use super::js_client::{held, sorted};
use super::script::Script;
use super::step::{Chance, Step, What};
use super::{Plan, TOPICS};
use crate::difference::Difference;
use crate::extras::Extras;
use crate::list::{PresenceDiff, PresenceState};
use crate::mode::Count;
use crate::parts::parts;
use crate::teller::{COUNT_PERIOD, Greet, Job, Settings, Source, Teller, Telling};
use crate::testing::{entry, entry_of};
use crate::topic_config::TopicConfig;

/// Some of them are names that every JavaScript object knows. The first are those of the clients.
const KEYS: [&str; 4] = ["anna", "__proto__", "ben", "constructor"];
const CLIENTS: usize = 3;

/// How long a node that restarts has those held who were connected to it.
const RESTART_GRACE: Duration = Duration::from_secs(10);

/// The client, and the join of it that waits.
type Waiter = (usize, u64);

/// Somebody who is tracked.
struct Tracked {
    entry: Arc<Entry>,
    /// Where a broken link hides it.
    is_far: bool,
    is_client: bool,
    held_until: Option<Duration>,
}

/// A difference that is being told: one part after the other.
struct Told {
    telling: Telling,
    parts: VecDeque<Difference>,
}

enum News {
    Changed(usize),
    Resync,
}

pub(super) struct World {
    plan: Plan,
    teller: Teller<Waiter>,
    now: Duration,
    tracked: [Vec<Tracked>; TOPICS.len()],
    is_broken: bool,
    lists: [Entries; TOPICS.len()],
    queue: VecDeque<News>,
    told: Vec<Told>,
    greets: Vec<Greet<Waiter>>,
    handled: [Entries; TOPICS.len()],
    clients: [Client; CLIENTS],
    numbers: u64,
}

impl World {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            teller: teller(plan),
            now: Duration::ZERO,
            tracked: Default::default(),
            is_broken: false,
            lists: Default::default(),
            queue: VecDeque::new(),
            told: Vec::new(),
            greets: Vec::new(),
            handled: Default::default(),
            clients: Default::default(),
            numbers: 0,
        }
    }

    pub(super) fn into_scripts(self) -> Vec<Script> {
        self.clients
            .into_iter()
            .map(|client| client.script)
            .collect()
    }

    pub(super) fn happen(&mut self, step: Step) -> Result<(), String> {
        let mut chance = step.chance();
        match step.what {
            What::Track | What::Update | What::Untrack => self.change(step.what, &mut chance),
            What::Break => self.is_broken = !self.is_broken,
            What::Show => self.show(),
            What::Overflow => self.queue = VecDeque::from([News::Resync]),
            What::Notice => self.notice(),
            What::Work => {
                self.pass(Duration::from_millis(chance.below(80) as u64));
                self.work();
            }
            What::Tell => self.tell(chance.below(self.told.len())),
            What::Greet => self.greet(chance.below(self.greets.len())),
            What::Pause => self.pause(&mut chance),
            What::Restart => self.restart(),
            _ => self.client(step.what, &mut chance)?,
        }
        // One appointment for each topic, at most.
        match self.teller.due.len() <= self.teller.topics.len() {
            true => Ok(()),
            false => Err("a topic has two appointments".to_owned()),
        }
    }

    fn client(&mut self, what: What, chance: &mut Chance) -> Result<(), String> {
        let (client, topic) = (chance.below(CLIENTS), chance.below(TOPICS.len()));
        let (one, now) = (&mut self.clients[client], self.now);
        match what {
            What::Join => {
                let how = How {
                    is_held_back: chance.below(4) > 0,
                    is_member: chance.below(3) > 0,
                };
                one.join(topic, how, now);
            }
            What::Refresh => one.refresh(topic, now),
            What::Leave => one.leave(topic, now),
            What::GiveUp => one.give_up(topic, now),
            What::Rejoin => one.rejoin(now),
            What::Connect => one.connect(now),
            What::Lose => self.lose(client),
            What::Crash => self.crash(client, topic),
            What::Read => (0..=chance.below(3)).for_each(|_| self.read(client)),
            What::Push => self.push(client),
            What::Deliver => {
                for _ in 0..=chance.below(6) {
                    one.deliver(now)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn change(&mut self, what: What, chance: &mut Chance) {
        let topic = chance.below(TOPICS.len());
        if let What::Track = what {
            let (key, is_far) = (KEYS[chance.below(KEYS.len())], chance.below(2) == 0);
            return self.track(topic, key, is_far, false);
        }
        let which = chance.below(self.tracked[topic].len());
        let Some(one) = self.tracked[topic].get(which) else {
            return;
        };
        if let What::Update = what {
            // What is held nobody owns who could.
            if one.held_until.is_none() {
                let old = Arc::clone(&one.entry);
                self.numbers += 1;
                let new = entry_of(&old.key, self.numbers, old.owner, Some(old.reference));
                self.tracked[topic][which].entry = new;
            }
        } else if !one.is_client {
            self.tracked[topic].remove(which);
        }
    }

    /// Whoever comes takes the place of one of that key that is held.
    fn track(&mut self, topic: usize, key: &str, is_far: bool, is_client: bool) {
        self.numbers += 1;
        let all = &mut self.tracked[topic];
        let gives_way = |one: &Tracked| one.held_until.is_some() && *one.entry.key == *key;
        if let Some(held) = all.iter().position(gives_way) {
            all.remove(held);
        }
        all.push(Tracked {
            entry: entry(key, self.numbers),
            is_far,
            is_client,
            held_until: None,
        });
    }

    fn show(&mut self) {
        for topic in 0..TOPICS.len() {
            let is_seen = |one: &&Tracked| !(one.is_far && self.is_broken);
            let seen = self.tracked[topic].iter().filter(is_seen);
            let list: Entries = seen.map(|one| Arc::clone(&one.entry)).collect();
            if !list.iter().eq(self.lists[topic].iter()) {
                self.lists[topic] = list;
                self.queue.push_back(News::Changed(topic));
            }
        }
    }

    fn notice(&mut self) {
        match self.queue.pop_front() {
            Some(News::Changed(topic)) => self.teller.changed(&name(topic)),
            Some(News::Resync) => {
                // The snapshot that follows a loss names no topic where nobody is.
                let all = (0..TOPICS.len()).filter(|topic| !self.lists[*topic].is_empty());
                let listed: Vec<Arc<str>> = all.map(name).collect();
                self.teller.all_changed(listed.iter());
            }
            None => {}
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let now = self.now;
        for tracked in &mut self.tracked {
            tracked.retain(|one| one.held_until.is_none_or(|until| now < until));
        }
    }

    fn work(&mut self) {
        let seen = Seen {
            lists: self.lists.clone(),
            is_watched: self.is_watched(),
        };
        while let Some(job) = self.teller.poll(self.now, &seen, &mut usize::MAX.clone()) {
            match job {
                Job::Greet(greet) => self.greets.push(greet),
                Job::Tell(mut telling) => {
                    let news = std::mem::take(&mut telling.news);
                    let parts = parts(news, &Extras::default(), self.plan.part_bytes).into();
                    self.told.push(Told { telling, parts });
                }
            }
        }
    }

    fn is_watched(&self) -> [bool; TOPICS.len()] {
        let sits = |topic: usize| {
            let mut places = self.clients.iter().map(|client| &client.places[topic]);
            places.any(|place| place.seat.is_some())
        };
        std::array::from_fn(sits)
    }

    /// The next part of a difference, and with the last one what else there is to be told.
    fn tell(&mut self, which: usize) {
        let Some(told) = self.told.get_mut(which) else {
            return;
        };
        let topic = number(&told.telling.topic);
        if let Some(part) = told.parts.pop_front() {
            let diff = value(part);
            for client in &mut self.clients {
                match client.places[topic]
                    .seat
                    .as_mut()
                    .map(|seat| &mut seat.held)
                {
                    Some(Some(held)) => held.push(diff.clone()),
                    Some(None) => client.send(topic, Frame::Diff(diff.clone()), self.now),
                    None => {}
                }
            }
        }
        if !told.parts.is_empty() {
            return;
        }
        let Told { telling, .. } = self.told.remove(which);
        if let Some(count) = telling.count {
            let listening = |client: &&mut Client| client.places[topic].seat.is_some();
            for client in self.clients.iter_mut().filter(listening) {
                client.send(topic, Frame::Count(None, count), self.now);
            }
        }
        if let Some(list) = telling.handled {
            self.handled[topic] = list;
        }
        self.teller.told(&telling.topic, self.now);
    }

    fn greet(&mut self, which: usize) {
        if which >= self.greets.len() {
            return;
        }
        let greet = self.greets.remove(which);
        let (topic, way) = (number(&greet.topic), greet.way);
        let greeting = Arc::new(greet.greeting);
        for (client, join) in greet.waiters {
            let client = &mut self.clients[client];
            let seat = client.places[topic].seat.as_ref();
            let count = greeting
                .count
                .filter(|_| seat.is_some_and(|seat| seat.join == join));
            if let Some(count) = count {
                client.send(topic, Frame::Count(Some(join), count), self.now);
            }
            let waiting = (join, Arc::clone(&greeting), way);
            client.places[topic].greetings.push(waiting);
        }
        self.teller.greeted(&greet.topic, greeting.count);
    }

    fn push(&mut self, client: usize) {
        for topic in 0..TOPICS.len() {
            let one = &mut self.clients[client];
            for (join, greeting, way) in std::mem::take(&mut one.places[topic].greetings) {
                let seat = one.places[topic].greeted(join);
                if let (Some(list), Some((is_back, held))) = (&greeting.list, seat) {
                    let state = state(list);
                    one.send(topic, Frame::State(join, state), self.now);
                    let missed = greeting.missed();
                    let missed = parts(missed, &Extras::default(), self.plan.part_bytes);
                    for part in missed.into_iter().filter(|_| is_back) {
                        one.send(topic, Frame::Missed(join, value(part)), self.now);
                    }
                    for diff in held {
                        one.send(topic, Frame::Diff(diff), self.now);
                    }
                }
                let is_last = Arc::strong_count(&greeting) == 1;
                if let Some(way) = way.filter(|_| is_last) {
                    self.teller.arrived(&name(topic), way);
                }
            }
        }
    }

    fn read(&mut self, client: usize) {
        let Some((topic, said)) = self.clients[client].hears() else {
            return;
        };
        match said {
            Said::Leave => self.end(client, topic, None),
            Said::Refresh => {
                let place = &self.clients[client].places[topic];
                let wish = place.wish(false, self.now);
                // Until then the channel is busy with that.
                if let Some(seat) = place.seat.as_ref().filter(|seat| seat.is_greeted) {
                    self.teller.wanted(&name(topic), (client, seat.join), wish);
                }
            }
            Said::Join { join, how } => {
                self.end(client, topic, self.grace());
                let number = how.is_member.then(|| {
                    self.track(topic, KEYS[client % 2], false, true);
                    self.numbers
                });
                let now = self.now;
                // It can be seen before the channel goes on.
                self.show();
                let one = &mut self.clients[client];
                one.places[topic].sit(join, number, how.is_held_back, now);
                one.send(topic, Frame::Joined(join), now);
                let wish = one.places[topic].wish(how.is_held_back, now);
                self.teller.wanted(&name(topic), (client, join), wish);
            }
        }
    }

    fn crash(&mut self, client: usize, topic: usize) {
        let seat = self.clients[client].places[topic].seat.as_ref();
        if let Some(join) = seat.map(|seat| seat.join) {
            self.end(client, topic, self.grace());
            self.clients[client].send(topic, Frame::Failed(join), self.now);
        }
    }

    fn lose(&mut self, client: usize) {
        for topic in 0..TOPICS.len() {
            self.end(client, topic, self.grace());
        }
        self.clients[client].lose();
    }

    fn grace(&self) -> Option<Duration> {
        Some(self.plan.drop_grace).filter(|grace| !grace.is_zero())
    }

    /// A channel ends, and whom it tracked is held for so long.
    fn end(&mut self, client: usize, topic: usize, grace: Option<Duration>) {
        let Some(seat) = self.clients[client].places[topic].end(self.now) else {
            return;
        };
        let until = grace.map(|grace| self.now + grace);
        self.tracked[topic].retain_mut(|one| {
            let is_its = one.is_client && seat.number == Some(one.entry.owner);
            if is_its {
                one.held_until = until;
            }
            !is_its || until.is_some()
        });
    }

    /// The lists stay as they are: the next process gets them from its peers before it lets anybody in.
    fn restart(&mut self) {
        for client in 0..CLIENTS {
            for topic in 0..TOPICS.len() {
                self.end(client, topic, Some(RESTART_GRACE));
            }
            self.clients[client].lose();
            for place in &mut self.clients[client].places {
                place.greetings.clear();
            }
        }
        (self.teller, self.queue) = (teller(self.plan), VecDeque::new());
        (self.told, self.greets) = (Vec::new(), Vec::new());
        self.handled = Default::default();
        // Its tracker tells what it was given.
        self.queue.push_back(News::Resync);
    }

    /// From a second to some minutes.
    fn pause(&mut self, chance: &mut Chance) {
        let seconds = [1, 2, 4, 8, 16, 32, 64, 150][chance.below(8)];
        let long = Duration::from_secs(seconds);
        let end = self.now + long;
        while self.now < end {
            // At first things may wait for the end of a period; later everything is done.
            let left = end - self.now;
            let step = if long - left < 3 * COUNT_PERIOD {
                left.min(COUNT_PERIOD)
            } else {
                left
            };
            self.finish();
            self.pass(step);
        }
        self.finish();
        for client in 0..CLIENTS {
            if self.clients[client].is_late(self.now) {
                self.lose(client);
            }
        }
    }

    /// The server does all that it can now.
    fn finish(&mut self) {
        self.show();
        for _ in 0..4 {
            while !self.queue.is_empty() {
                self.notice();
            }
            self.work();
            while !self.told.is_empty() {
                self.tell(0);
            }
            while !self.greets.is_empty() {
                self.greet(0);
            }
            (0..CLIENTS).for_each(|client| self.push(client));
        }
    }

    /// Nothing happens any more, everybody is in every topic, and everything on its way arrives. Then all is as it should be.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        for client in &mut self.clients {
            client.connect(self.now);
            client.rejoin(self.now);
            for topic in 0..TOPICS.len() {
                let how = How {
                    is_held_back: true,
                    is_member: false,
                };
                client.join(topic, how, self.now);
            }
        }
        for _ in 0..20 {
            for client in 0..CLIENTS {
                while self.clients[client].is_heard() {
                    self.read(client);
                }
            }
            self.finish();
            for client in &mut self.clients {
                while client.deliver(self.now)? {}
                // Whose channel had crashed.
                client.rejoin(self.now);
            }
            self.pass(COUNT_PERIOD);
        }
        let topics = (0..TOPICS.len()).map(|topic| self.judge(topic));
        let known = topics.sum::<Result<usize, String>>()?;
        self.is(known, self.teller.topics.len(), "topics known")
    }

    /// Whether everybody holds what the topic's mode says of its list. How many topics of it the teller has to know.
    fn judge(&mut self, topic: usize) -> Result<usize, String> {
        let (mode, list) = (self.plan.mode(topic), &self.lists[topic]);
        let (view, count) = (mode.view(list), Count::of(list));
        let shown = sorted(held(&state(&view)));
        for client in &mut self.clients {
            let place = &client.places[topic];
            if mode.lists() {
                let holds = place.presence.list();
                if holds != shown || place.presence.waits() {
                    let name = TOPICS[topic];
                    return Err(format!(
                        "{name}: a client holds {holds:?} and not {shown:?}"
                    ));
                }
                client.script.holds_list(topic, state(&view));
            }
            if mode.counts() {
                if place.count != Some(count) {
                    return Err(format!("counted {:?} and not {count:?}", place.count));
                }
                client.script.holds_count(topic, count);
            }
        }
        let handled = self.handled[topic].iter().eq(list.iter());
        if self.plan.has_handler && !handled {
            return Err(format!("{}: the handler has another list", TOPICS[topic]));
        }
        let is_known = self.plan.has_handler || mode.counts();
        let is_told = !view.is_empty() || (is_known && !list.is_empty());
        Ok(usize::from(is_told))
    }

    fn is(&self, wanted: usize, found: usize, what: &str) -> Result<(), String> {
        match wanted == found {
            true => Ok(()),
            false => Err(format!("{found} {what} and not {wanted}")),
        }
    }
}

struct Seen {
    lists: [Entries; TOPICS.len()],
    is_watched: [bool; TOPICS.len()],
}

impl Source for Seen {
    fn list(&self, topic: &str) -> Entries {
        self.lists[number(topic)].clone()
    }

    fn is_watched(&self, topic: &str) -> bool {
        self.is_watched[number(topic)]
    }
}

fn teller(plan: Plan) -> Teller<Waiter> {
    let mut rules = Router::new();
    for (topic, name) in TOPICS.iter().enumerate() {
        let config = TopicConfig::default().with_mode(plan.mode(topic));
        rules.add(name, config).expect("a topic is a pattern");
    }
    Teller::new(Settings {
        period: Duration::from_millis(50),
        rules,
        has_handler: plan.has_handler,
    })
}

fn name(topic: usize) -> Arc<str> {
    TOPICS[topic].into()
}

fn number(topic: &str) -> usize {
    let found = TOPICS.iter().position(|name| *name == topic);
    found.expect("one of the topics")
}

fn state(list: &Entries) -> Value {
    let state = PresenceState::new(list.iter().cloned());
    state.to_json().to().expect("it is JSON")
}

fn value(news: Difference) -> Value {
    let diff = PresenceDiff::new(news, &Extras::default());
    diff.to_json().to().expect("it is JSON")
}
