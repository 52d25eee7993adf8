//! Thousands of users of one room, of whom few read: cheap enough to share two cores with the nodes that they load.
//!
//! One thread looks at all sockets in turn and takes whatever has come. Of most frames it looks at the first bytes only; a few
//! users hold their list as a real client does.

mod guest;
mod socket;
mod travel;

use std::thread;
use std::time::{Duration, Instant};

use matryoshka_relay::Dice;

use crate::failure::{Failure, Outcome, fail};
use crate::http;
use crate::integration::client::COMES_WITHIN;
pub(crate) use crate::integration::crowd::guest::{Diffs, Guest};
use crate::integration::people::{Places, places};
use crate::integration::stage::Stage;

/// Between two looks at everybody.
const SWEEP_EVERY: Duration = Duration::from_millis(25);
/// Where nothing has come.
const REST: Duration = Duration::from_micros(200);
/// What is read from a socket at once.
const READ_BYTES: usize = 256 * 1024;
/// Once in each meta of a node's answer over HTTP.
const IN_EACH_META: &[u8] = b"\"phx_ref\":";

/// See the module.
pub(crate) struct Crowd {
    room: String,
    /// Users who are on their way in at the same time.
    door: usize,
    guests: Vec<Guest>,
    scratch: Vec<u8>,
    swept: Instant,
    moves: u32,
    returns: u32,
}

/// How a crowd came in.
pub(crate) struct Entrance {
    /// From the first join to the last answer.
    pub(crate) took: Duration,
    /// When the last one asked to come in.
    pub(crate) asked: Instant,
    /// When the last one was answered: when we read that, which is later than it came.
    pub(crate) last: Instant,
}

impl Crowd {
    /// Nobody yet.
    pub(crate) fn new(room: &str, door: usize) -> Self {
        Crowd {
            room: room.to_owned(),
            door,
            guests: Vec::new(),
            scratch: vec![0; READ_BYTES],
            swept: Instant::now(),
            moves: 0,
            returns: 0,
        }
    }

    /// Connects users u(`from`), ... to these nodes in turn, the first `readers` on each as readers. They have not joined then.
    pub(crate) fn connect(
        &mut self,
        stage: &Stage,
        nodes: &[usize],
        names: impl Iterator<Item = String>,
        readers: usize,
    ) -> Outcome {
        for (number, name) in names.enumerate() {
            let node = nodes[number % nodes.len()];
            let reads = number / nodes.len() < readers;
            self.guests
                .push(Guest::connect(stage.nodes[node].http, node, &name, reads)?);
            self.sweep_if_due()?;
        }
        Ok(())
    }

    /// From now on they are in another order: who joins first, and who is looked at first.
    pub(crate) fn shuffle(&mut self, dice: &mut Dice) {
        dice.shuffle(&mut self.guests);
    }

    /// All who have not joined do so, some at a time; each is in when it has the list.
    pub(crate) fn enter(&mut self, stage: &Stage) -> Outcome<Entrance> {
        let began = Instant::now();
        let mut waiting: Vec<usize> = (0..self.guests.len())
            .filter(|n| !self.guests[*n].has_joined())
            .collect();
        waiting.reverse();
        let (mut at_the_door, mut asked, mut last) = (Vec::new(), began, began);
        while !(waiting.is_empty() && at_the_door.is_empty()) {
            while at_the_door.len() < self.door
                && let Some(next) = waiting.pop()
            {
                self.guests[next].join(&self.room)?;
                asked = Instant::now();
                at_the_door.push((next, asked));
            }
            let before = at_the_door.len();
            for (guest, since) in &at_the_door {
                self.guests[*guest].read(&mut self.scratch)?;
                if since.elapsed() > COMES_WITHIN {
                    fail!(
                        "{} waits for its list for {} s",
                        self.guests[*guest].name,
                        COMES_WITHIN.as_secs()
                    );
                }
            }
            at_the_door.retain(|(guest, _)| {
                last = self.guests[*guest]
                    .answered
                    .map_or(last, |answered| last.max(answered));
                !self.guests[*guest].has_state
            });
            self.sweep_if_due()?;
            if at_the_door.len() == before {
                match stage.stop.wait(REST) {
                    Some(request) => return Err(Failure::stopped(request)),
                    None => thread::yield_now(),
                }
            }
        }
        Ok(Entrance {
            took: last - began,
            asked,
            last,
        })
    }

    /// For a while they only take what comes; at least what is there.
    pub(crate) fn stay(&mut self, stage: &Stage, time: Duration) -> Outcome {
        let until = Instant::now() + time;
        loop {
            self.sweep()?;
            if Instant::now() >= until {
                return Ok(());
            }
            stage.pause(SWEEP_EVERY)?;
        }
    }

    /// Waits until these nodes answer over HTTP with exactly these people, and all readers on them hold the same. Gives how long
    /// after `since` that was.
    pub(crate) fn lists_become(
        &mut self,
        stage: &Stage,
        at: &[usize],
        wanted: &Places,
        since: Instant,
        within: Duration,
    ) -> Outcome<Seen> {
        let (mut nodes, mut readers) = (None, None);
        loop {
            self.sweep()?;
            let readers_hold = self
                .readers(at)
                .all(|guest| guest.held() == Some(wanted.len()));
            if readers.is_none() && readers_hold {
                readers = Some(since.elapsed());
            }
            if nodes.is_none() && self.nodes_list(stage, at, wanted.values().sum())? {
                nodes = Some(since.elapsed());
            }
            if let (Some(nodes), Some(readers)) = (nodes, readers) {
                self.check(stage, at, wanted)?;
                return Ok(Seen { nodes, readers });
            }
            if since.elapsed() > within {
                let held: Vec<Option<usize>> = self.readers(at).map(Guest::held).collect();
                fail!(
                    "after {within:?} not everybody has {} people: nodes after {nodes:?}, readers {held:?}",
                    wanted.len()
                );
            }
        }
    }

    /// Those on these nodes who read.
    pub(crate) fn readers<'a>(&'a self, at: &'a [usize]) -> impl Iterator<Item = &'a Guest> {
        self.guests
            .iter()
            .filter(|guest| guest.reads() && at.contains(&guest.node))
    }

    /// The one of this name.
    pub(crate) fn guest(&self, name: &str) -> Option<&Guest> {
        self.guests.iter().find(|guest| guest.name == name)
    }

    /// What diffs each reader on these nodes has got so far.
    pub(crate) fn diffs(&self, at: &[usize]) -> Vec<Diffs> {
        self.readers(at).map(Guest::diffs).collect()
    }

    /// Bytes that all have got.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.guests.iter().map(|guest| guest.bytes_read()).sum()
    }

    /// That node is dead, and nobody of it can be heard.
    pub(crate) fn bereave(&mut self, node: usize) {
        self.guests.retain(|guest| guest.node != node);
    }

    fn nodes_list(&self, stage: &Stage, at: &[usize], wanted: usize) -> Outcome<bool> {
        for node in at {
            let list = self.ask(stage, *node)?;
            let metas = list
                .windows(IN_EACH_META.len())
                .filter(|window| *window == IN_EACH_META);
            if metas.count() != wanted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How the node answers over HTTP.
    pub(crate) fn listed(&self, stage: &Stage, node: usize) -> Outcome<Places> {
        use crate::failure::Explain;
        let list = self.ask(stage, node)?;
        let list = serde_json::from_slice(&list).explain("reading a list")?;
        Ok(places(&list))
    }

    fn ask(&self, stage: &Stage, node: usize) -> Outcome<Vec<u8>> {
        use crate::failure::Explain;
        let node = &stage.nodes[node];
        let path = format!("/api/presence/{}", self.room);
        http::get(node.http, &path).explain(format!("asking {} for {}", node.name, self.room))
    }

    /// Names and numbers, not only how many.
    fn check(&self, stage: &Stage, at: &[usize], wanted: &Places) -> Outcome {
        for node in at {
            if self.listed(stage, *node)? != *wanted {
                fail!("{} lists others than it should", stage.nodes[*node].name);
            }
        }
        for guest in self.readers(at) {
            if guest.places().as_ref() != Some(wanted) {
                fail!("{} lists others than it should", guest.name);
            }
        }
        Ok(())
    }

    fn sweep_if_due(&mut self) -> Outcome {
        if self.swept.elapsed() > SWEEP_EVERY {
            self.sweep()?;
        }
        Ok(())
    }

    /// Nobody is to be told to go.
    fn sweep(&mut self) -> Outcome {
        self.take()?;
        match self.guests.iter().find(|guest| guest.is_away()) {
            Some(guest) => fail!("{} was told to come back later", guest.name),
            None => Ok(()),
        }
    }

    fn take(&mut self) -> Outcome {
        for guest in &mut self.guests {
            guest.read(&mut self.scratch)?;
            guest.stay()?;
        }
        self.swept = Instant::now();
        Ok(())
    }
}

/// How long it took until lists were as wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Of all nodes, over HTTP.
    pub(crate) nodes: Duration,
    /// Of all readers.
    pub(crate) readers: Duration,
}

impl Seen {
    pub(crate) fn last(self) -> Duration {
        self.nodes.max(self.readers)
    }
}
