//! Random histories of one topic, its teller, and clients whose frames are on their way for a while.

use std::collections::VecDeque;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::extras::Extras;
use crate::list::{PresenceDiff, PresenceState};
use crate::testing::entry_of;

#[path = "../../../tests/it/js_client.rs"]
mod js_client;
use js_client::{JsPresence, held, sorted};

/// One thing that happens, in any order.
#[derive(Clone, Debug)]
enum Happens {
    Track {
        key: usize,
    },
    Update {
        which: usize,
    },
    Untrack {
        which: usize,
    },
    /// A node's link breaks: some entries are hidden. Broken again, it heals: the same entries are back.
    Break,
    /// The tracker ends a step: its lists show it, and its diff is queued for the broadcaster.
    Step,
    /// The queue overflows: everything in it becomes one resync.
    Overflow,
    /// The broadcaster takes one item from the queue.
    Notice,
    /// Time passes, and the broadcaster starts one thing that is due.
    Work {
        ms: u64,
    },
    /// What is fetched for a difference has come: it is told.
    Tell,
    /// What is fetched for a list has come: it is on its way to those who wait.
    Greet,
    /// A client joins (again) and asks for the list. Whether what is told meanwhile is held back for it.
    Join {
        client: usize,
        is_held_back: bool,
    },
    /// It asks for the list again, within its join.
    Refresh {
        client: usize,
    },
    /// It leaves, and its connection stays.
    Leave {
        client: usize,
    },
    /// The next thing that a client has sent is read.
    Read {
        client: usize,
    },
    /// A list is pushed to the client.
    Push {
        client: usize,
    },
    /// So many frames come to the client.
    Deliver {
        client: usize,
        frames: usize,
    },
    /// A client's connection breaks; what it holds it keeps.
    Lose {
        client: usize,
    },
}

fn happens() -> impl Strategy<Value = Happens> {
    let client = || 0..CLIENTS;
    prop_oneof![
        4 => (0..4usize).prop_map(|key| Happens::Track { key }),
        2 => any::<usize>().prop_map(|which| Happens::Update { which }),
        2 => any::<usize>().prop_map(|which| Happens::Untrack { which }),
        1 => Just(Happens::Break),
        4 => Just(Happens::Step),
        1 => Just(Happens::Overflow),
        4 => Just(Happens::Notice),
        6 => (0..80u64).prop_map(|ms| Happens::Work { ms }),
        3 => Just(Happens::Tell),
        3 => Just(Happens::Greet),
        3 => (client(), 0..4).prop_map(|(client, n)| Happens::Join { client, is_held_back: n > 0 }),
        1 => client().prop_map(|client| Happens::Refresh { client }),
        2 => client().prop_map(|client| Happens::Leave { client }),
        6 => client().prop_map(|client| Happens::Read { client }),
        4 => client().prop_map(|client| Happens::Push { client }),
        4 => (client(), 1..6usize).prop_map(|(client, frames)| Happens::Deliver { client, frames }),
        1 => client().prop_map(|client| Happens::Lose { client }),
    ]
}

const CLIENTS: usize = 2;
const KEYS: [&str; 4] = ["anna", "ben", "__proto__", "constructor"];

/// The client, and the join of it that waits.
type Waiter = (usize, u64);

/// What a client says, in order.
#[derive(Debug)]
enum Said {
    Join { join: u64, is_held_back: bool },
    Refresh,
    Leave,
}

/// What it is sent, in order. What names a join is dropped by the client in any other one.
#[derive(Debug)]
enum Frame {
    State(u64, Value),
    Missed(u64, Value),
    Diff(Value),
    Count(Option<u64>, Count),
}

#[derive(Default)]
struct Client {
    presence: JsPresence,
    /// Its last join, as it counts, and whether it has not left that.
    join: u64,
    is_joined: bool,
    count: Option<Count>,
    said: VecDeque<Said>,
    sent: VecDeque<Frame>,
    /// What the node has of it.
    seat: Option<Seat>,
    /// When its connection's earlier joins ended: the first of them, and the last.
    earlier: Option<(Duration, Duration)>,
    /// Lists that its channels are about to push.
    greetings: Vec<(u64, Arc<Greeting>, Option<u64>)>,
}

/// A join that hears broadcasts.
struct Seat {
    join: u64,
    is_back: bool,
    /// What waits until the list is pushed.
    held: Option<Vec<Value>>,
}

impl Client {
    fn read(&mut self, now: Duration) -> Option<(u64, Wish)> {
        match self.said.pop_front()? {
            Said::Leave => {
                self.end(now);
                None
            }
            Said::Refresh => {
                let join = self.seat.as_ref()?.join;
                let heard_until = self.earlier.map(|(first, _)| first);
                Some((
                    join,
                    Wish {
                        is_held_back: false,
                        heard_until,
                    },
                ))
            }
            Said::Join { join, is_held_back } => {
                self.end(now);
                let heard_until = self.earlier.map(|(first, _)| first);
                self.seat = Some(Seat {
                    join,
                    is_back: heard_until.is_some(),
                    held: is_held_back.then(Vec::new),
                });
                Some((
                    join,
                    Wish {
                        is_held_back,
                        heard_until,
                    },
                ))
            }
        }
    }

    fn end(&mut self, now: Duration) {
        if self.seat.take().is_some() {
            let first = self.earlier.map_or(now, |(first, _)| first);
            self.earlier = Some((first, now));
        }
    }

    fn push(&mut self, join: u64, greeting: &Greeting) {
        let Some(seat) = self.seat.as_mut().filter(|seat| seat.join == join) else {
            return;
        };
        let Some(list) = &greeting.list else { return };
        let state = PresenceState::new(list.iter().cloned()).to_json();
        self.sent.push_back(Frame::State(join, state.to().unwrap()));
        let missed = greeting.missed();
        if seat.is_back && !missed.is_empty() {
            self.sent.push_back(Frame::Missed(join, value(missed)));
        }
        let held = seat.held.take().into_iter().flatten();
        self.sent.extend(held.map(Frame::Diff));
    }

    fn deliver(&mut self) {
        match self.sent.pop_front() {
            Some(Frame::State(join, state)) if join == self.join => {
                self.presence.handle_state(join, &state);
            }
            Some(Frame::Missed(join, diff)) if join == self.join => {
                self.presence.handle_diff(join, &diff);
            }
            Some(Frame::Diff(diff)) => self.presence.handle_diff(self.join, &diff),
            Some(Frame::Count(join, count)) if join.is_none_or(|join| join == self.join) => {
                self.count = Some(count);
            }
            _ => {}
        }
    }

    /// What waits for a list would be kept too, but that is one of the limits: nobody knows of it.
    fn lose(&mut self) {
        self.said.clear();
        self.sent.clear();
        (self.seat, self.earlier) = (None, None);
        self.is_joined = false;
        self.presence.lose_what_waits();
    }
}

fn value(news: Difference) -> Value {
    let diff = PresenceDiff::new(news, &Extras::default());
    diff.to_json().to().unwrap()
}

/// A tracker, a teller, and clients of one topic.
struct World {
    mode: Mode,
    teller: Teller<Waiter>,
    now: Duration,
    /// Whether it can be seen now, and which.
    tracked: Vec<(bool, Arc<Entry>)>,
    is_broken: bool,
    list: Entries,
    queue: Vec<bool>, // true: resync
    telling: Option<Telling>,
    greet: Option<Greet<Waiter>>,
    numbers: u64,
    clients: [Client; CLIENTS],
    handled: Entries,
}

impl World {
    fn new(mode: Mode, has_handler: bool) -> Self {
        let mut teller = teller(mode);
        teller.settings.has_handler = has_handler;
        Self {
            mode,
            teller,
            now: Duration::ZERO,
            tracked: Vec::new(),
            is_broken: false,
            list: Entries::default(),
            queue: Vec::new(),
            telling: None,
            greet: None,
            numbers: 0,
            clients: Default::default(),
            handled: Entries::default(),
        }
    }

    fn happen(&mut self, what: &Happens) {
        match *what {
            Happens::Track { key } => {
                let added = self.entry(KEYS[key], None);
                self.tracked.push((self.numbers.is_multiple_of(2), added));
            }
            Happens::Update { which } => {
                let Some(at) = which.checked_rem(self.tracked.len()) else {
                    return;
                };
                let (far, old) = self.tracked[at].clone();
                self.tracked[at] = (far, self.entry(&old.key, Some(&old)));
            }
            Happens::Untrack { which } => {
                if let Some(at) = which.checked_rem(self.tracked.len()) {
                    self.tracked.remove(at);
                }
            }
            Happens::Break => self.is_broken = !self.is_broken,
            Happens::Step => self.step(),
            Happens::Overflow => self.queue = vec![true],
            Happens::Notice => self.notice(),
            Happens::Work { ms } => {
                self.now += Duration::from_millis(ms);
                self.work();
            }
            Happens::Tell => self.tell(),
            Happens::Greet => self.greet(),
            Happens::Join {
                client,
                is_held_back,
            } => self.join(client, is_held_back),
            Happens::Refresh { client } => self.say(client, Said::Refresh),
            Happens::Leave { client } => {
                self.say(client, Said::Leave);
                self.clients[client].is_joined = false;
            }
            Happens::Read { client } => self.read(client),
            Happens::Push { client } => self.push(client),
            Happens::Deliver { client, frames } => {
                (0..frames).for_each(|_| self.clients[client].deliver());
            }
            Happens::Lose { client } => self.clients[client].lose(),
        }
        // One appointment for each topic, at most.
        assert!(self.teller.due.len() <= self.teller.topics.len());
    }

    fn join(&mut self, client: usize, is_held_back: bool) {
        let client = &mut self.clients[client];
        client.join += 1;
        client.is_joined = true;
        let join = client.join;
        client.said.push_back(Said::Join { join, is_held_back });
    }

    fn say(&mut self, client: usize, said: Said) {
        let client = &mut self.clients[client];
        if client.is_joined {
            client.said.push_back(said);
        }
    }

    fn read(&mut self, client: usize) {
        if let Some((join, wish)) = self.clients[client].read(self.now) {
            self.teller.wanted(&topic(), (client, join), wish);
        }
    }

    fn entry(&mut self, key: &str, old: Option<&Arc<Entry>>) -> Arc<Entry> {
        self.numbers += 1;
        match old {
            Some(old) => entry_of(key, self.numbers, old.owner, Some(old.reference)),
            None => entry(key, self.numbers),
        }
    }

    fn step(&mut self) {
        let seen = self
            .tracked
            .iter()
            .filter(|(is_far, _)| !is_far || !self.is_broken);
        let list: Entries = seen.map(|(_, entry)| Arc::clone(entry)).collect();
        if !list.iter().eq(self.list.iter()) {
            self.list = list;
            self.queue.push(false);
        }
    }

    fn notice(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        match self.queue.remove(0) {
            true => {
                // The snapshot that follows a loss names no topic where nobody is.
                let topic = topic();
                let listed = Some(&topic).filter(|_| !self.list.is_empty());
                self.teller.all_changed(listed.into_iter());
            }
            false => self.teller.changed(&topic()),
        }
    }

    fn work(&mut self) {
        let seen = Seen {
            list: self.list.clone(),
            is_watched: self.clients.iter().any(|client| client.seat.is_some()),
        };
        match self.teller.next(self.now, &seen) {
            Some(Job::Tell(telling)) => assert!(self.telling.replace(telling).is_none()),
            Some(Job::Greet(greet)) => assert!(self.greet.replace(greet).is_none()),
            None => {}
        }
    }

    fn tell(&mut self) {
        let Some(telling) = self.telling.take() else {
            return;
        };
        let diff = (!telling.news.is_empty()).then(|| value(telling.news));
        for client in &mut self.clients {
            let Some(seat) = &mut client.seat else {
                continue;
            };
            match (&mut seat.held, diff.clone()) {
                (Some(held), Some(diff)) => held.push(diff),
                (None, Some(diff)) => client.sent.push_back(Frame::Diff(diff)),
                (_, None) => {}
            }
            let count = telling.count.map(|count| Frame::Count(None, count));
            client.sent.extend(count);
        }
        self.handled = telling.handled.unwrap_or_else(|| self.handled.clone());
        self.teller.told(&topic(), self.now);
    }

    fn greet(&mut self) {
        if let Some(greet) = self.greet.take() {
            let (shared, way) = (Arc::new(greet.greeting), greet.way);
            for (client, join) in greet.waiters {
                let client = &mut self.clients[client];
                if client.seat.as_ref().is_some_and(|seat| seat.join == join) {
                    let count = shared.count.map(|count| Frame::Count(Some(join), count));
                    client.sent.extend(count);
                }
                client.greetings.push((join, Arc::clone(&shared), way));
            }
            self.teller.greeted(&topic(), shared.count);
        }
    }

    fn push(&mut self, client: usize) {
        for (join, greeting, way) in std::mem::take(&mut self.clients[client].greetings) {
            self.clients[client].push(join, &greeting);
            let last = Arc::strong_count(&greeting) == 1;
            if let Some(way) = way.filter(|_| last) {
                self.teller.arrived(&topic(), way);
            }
        }
    }

    /// Nothing happens any more, and everything on its way arrives.
    fn settle(&mut self) {
        self.step();
        for _ in 0..20 {
            for client in 0..CLIENTS {
                while !self.clients[client].said.is_empty() {
                    self.read(client);
                }
            }
            while !self.queue.is_empty() {
                self.notice();
            }
            self.tell();
            self.greet();
            for client in 0..CLIENTS {
                self.push(client);
                while !self.clients[client].sent.is_empty() {
                    self.clients[client].deliver();
                }
            }
            self.now += COUNT_PERIOD;
            self.work();
        }
        assert!(self.telling.is_none() && self.greet.is_none());
    }
}

fn modes() -> impl Strategy<Value = Mode> {
    prop_oneof![
        Just(Mode::Full),
        Just(Mode::Count),
        (0..4usize).prop_map(Mode::Window)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_048))]

    #[test]
    fn in_the_end_every_client_holds_what_its_mode_says_of_the_servers_list(
        mode in modes(),
        has_handler in any::<bool>(),
        history in proptest::collection::vec(happens(), 0..160),
    ) {
        let mut world = World::new(mode, has_handler);
        for what in &history {
            world.happen(what);
        }
        for client in 0..CLIENTS {
            if !world.clients[client].is_joined {
                world.join(client, true);
            }
        }
        world.settle();
        let view = PresenceState::new(world.mode.view(&world.list).iter().cloned());
        let view = sorted(held(&view.to_json().to().unwrap()));
        for client in &world.clients {
            if mode.lists() {
                prop_assert_eq!(client.presence.list(), view.clone());
            }
            if mode.counts() {
                prop_assert_eq!(client.count, Some(Count::of(&world.list)));
            }
        }
        if has_handler {
            prop_assert!(world.handled.iter().eq(world.list.iter()));
        }
        // Whatever else there was is forgotten.
        let is_known = has_handler || mode.counts();
        let is_told = !mode.view(&world.list).is_empty() || (is_known && !world.list.is_empty());
        prop_assert_eq!(world.teller.topics.len(), usize::from(is_told));
    }
}
