//! Every node of a cluster restarted in turn, with a grace: whoever comes back by another node is never seen to leave.
//!
//! What counts as leaving, for one who holds the list: after a `presence_diff` as a whole, or in a `presence_state` after a join
//! anew, somebody is missing who was there before. In JavaScript that is `onLeave` with no metas that remain. Nor is anybody seen in
//! two places instead of one: the end of the old one is in the diff that has the new one. Some have two sockets, on one node or on two: of those
//! none is seen to lose a place without the new one either.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::failure::{Outcome, fail};
use crate::integration::RoomSize;
use crate::integration::client::COMES_WITHIN;
use crate::integration::crowd::{Crowd, Guest};
use crate::integration::people::Places;
use crate::integration::stage::Stage;
use crate::node::{READY_WITHIN, STOP_WITHIN};
use crate::progress::seconds;

const ROOM: &str = "room:rolling";
/// In a larger room than this a few users of each node hold the list, else all.
const ALL_READ: u32 = 300;
const READERS: usize = 5;
/// So many users of each node have a second socket on the same node, and as many on another one.
const TWICE: usize = 5;
/// Of those on a node that is about to restart: who will not come back.
const LOST: usize = 3;
/// And who leave on purpose while it closes sockets.
const QUITTERS: usize = 5;
const GRACE: Duration = Duration::from_secs(5);
/// The grace counts from the node's last word, of which we see only the end of its process, on a busy machine over a second later.
const GRACE_BEGINS_WITHIN: Duration = Duration::from_secs(2);
/// How long after its end the grace may be noticed everywhere.
const GRACE_ENDS_WITHIN: Duration = Duration::from_secs(1);
/// How long somebody who left on purpose may stay in a list.
const GONE_WITHIN: Duration = Duration::from_secs(1);
/// Between two looks at everybody.
const LOOK_EVERY: Duration = Duration::from_millis(5);

pub(crate) fn run(stage: &mut Stage, room: RoomSize) -> Outcome<String> {
    // A node closes its sockets within about a second.
    let rate = (room.users / room.nodes as u32).max(1).to_string();
    let grace = GRACE.as_secs().to_string();
    stage.more_flags = ["--restart-grace", &grace, "--drain-rate", &rate]
        .map(str::to_owned)
        .to_vec();
    stage.raise(room.nodes)?;
    let mut roll = Roll::new(stage, room)?;
    let mut next = room.all_nodes();
    stage.dice.shuffle(&mut next);
    for node in next {
        roll.restart(stage, node)?;
    }
    roll.outlast_graces(stage)?;
    let everybody = roll.everybody();
    let end = Instant::now();
    let (crowd, all) = (&mut roll.crowd, &roll.all);
    crowd.lists_become(stage, all, &everybody, end, COMES_WITHIN)?;
    roll.figures(room)
}

/// The users, and what may be seen of them.
struct Roll {
    crowd: Crowd,
    /// Who has two sockets.
    twice: BTreeSet<String>,
    /// The indices of all nodes.
    all: Vec<usize>,
    /// Who must never be seen to leave.
    steady: BTreeSet<String>,
    quitters: BTreeSet<String>,
    /// Who has left on purpose, and since when that is answered; no longer here once no list has them.
    left: BTreeMap<String, Instant>,
    left_in_all: usize,
    /// Who will not come back, told to go.
    lost: BTreeSet<String>,
    /// Of those who did not: when their node ended.
    held: BTreeMap<String, Option<Instant>>,
    held_in_all: usize,
    slowest_leave: Duration,
    /// From the end of a node to the first and the last moment in which a reader saw somebody of it go who did not come back.
    grace_seen: Option<(Duration, Duration)>,
}

impl Roll {
    fn new(stage: &mut Stage, room: RoomSize) -> Outcome<Self> {
        let names = || (1..=room.users).map(|number| format!("u{number}"));
        let readers = room.readers.unwrap_or(match room.users <= ALL_READ {
            true => ALL_READ as usize,
            false => READERS,
        });
        let second = TWICE * room.nodes;
        let mut roll = Roll {
            crowd: Crowd::new(ROOM, room.at_the_door),
            twice: names().take(2 * second).collect(),
            all: room.all_nodes(),
            steady: names().collect(),
            quitters: BTreeSet::new(),
            left: BTreeMap::new(),
            left_in_all: 0,
            lost: BTreeSet::new(),
            held: BTreeMap::new(),
            held_in_all: 0,
            slowest_leave: Duration::ZERO,
            grace_seen: None,
        };
        roll.crowd.connect(stage, &roll.all, names(), readers)?;
        let mut elsewhere = roll.all.clone();
        elsewhere.rotate_left(1);
        let here = names().take(second);
        roll.crowd.connect(stage, &roll.all, here, 0)?;
        let apart = names().skip(second).take(second);
        roll.crowd.connect(stage, &elsewhere, apart, 0)?;
        roll.crowd.shuffle(&mut stage.dice);
        roll.crowd.enter(stage)?;
        Ok(roll)
    }

    fn restart(&mut self, stage: &mut Stage, node: usize) -> Outcome {
        let others = stage.others(node);
        let other = others[stage.dice.index(others.len())];
        self.assemble(stage, node, other)?;
        stage.nodes[node].ask_to_end();
        self.drain(stage, node, &others)?;
        stage.restart(node)?;
        let began = Instant::now();
        while !stage.nodes[node].poll_ready(Duration::ZERO)? {
            if began.elapsed() > READY_WITHIN {
                fail!("{} is not ready again", stage.nodes[node].name);
            }
            self.look(stage, &others)?;
        }
        self.welcome(stage, node)?;
        self.look_until(stage, |roll| roll.left.is_empty())?;
        stage.met()
    }

    /// Those come who will not stay, most of them to the node that is about to restart.
    fn assemble(&mut self, stage: &mut Stage, node: usize, other: usize) -> Outcome {
        let name = &stage.nodes[node].name;
        let named = |what: &str, count| -> Vec<String> {
            (1..=count).map(|n| format!("{what}-{name}-{n}")).collect()
        };
        let (lost, quitters) = (named("lost", LOST), named("quitter", QUITTERS));
        let elsewhere = named("quitter-elsewhere", 1);
        let here = lost.iter().chain(&quitters).cloned();
        self.crowd.connect(stage, &[node], here, 0)?;
        self.crowd
            .connect(stage, &[other], elsewhere.iter().cloned(), 0)?;
        self.crowd.enter(stage)?;
        self.lost = lost.into_iter().collect();
        self.quitters = quitters.into_iter().chain(elsewhere).collect();
        Ok(())
    }

    /// The node closes its sockets and ends; meanwhile some leave on purpose.
    fn drain(&mut self, stage: &mut Stage, node: usize, others: &[usize]) -> Outcome {
        let (asked, before) = (Instant::now(), self.crowd.moves());
        let status = loop {
            self.look(stage, others)?;
            if self.crowd.moves() > before && !self.quitters.is_empty() {
                let quitters = std::mem::take(&mut self.quitters);
                self.crowd.leave(&quitters)?;
                // Who is told to go before the node has read it does not come back either.
                self.lost.extend(quitters);
            }
            if let Some(status) = stage.nodes[node].ended()? {
                break status;
            }
            if asked.elapsed() > STOP_WITHIN {
                fail!("{} does not end", stage.nodes[node].name);
            }
        };
        if !status.success() {
            return Err(stage.nodes[node].died(status));
        }
        let ended = Instant::now();
        for since in self.held.values_mut() {
            since.get_or_insert(ended);
        }
        stage.tell(format_args!(
            "{} ended after {}; {} came back by other nodes",
            stage.nodes[node].name,
            seconds(ended - asked),
            self.crowd.moves() - before
        ));
        Ok(())
    }

    /// Takes what comes, and judges it.
    fn look(&mut self, stage: &mut Stage, up: &[usize]) -> Outcome {
        let lost = self.crowd.follow(stage, up, &self.lost)?;
        self.held_in_all += lost.len();
        for name in lost {
            self.lost.remove(&name);
            self.held.insert(name, None);
        }
        let now = Instant::now();
        for name in self.crowd.take_left() {
            self.lost.remove(&name);
            self.left_in_all += 1;
            self.left.insert(name, now);
        }
        for (reader, user) in self.crowd.take_gone() {
            self.judge(&reader, &user, now)?;
        }
        self.expire(now)?;
        stage.pause(LOOK_EVERY)
    }

    fn judge(&mut self, reader: &str, user: &str, now: Instant) -> Outcome {
        if self.steady.contains(user) {
            fail!("{reader} saw {user} leave, who came back");
        }
        match self.held.get(user) {
            Some(None) => fail!("{reader} saw {user} leave while its node was there to hold it"),
            Some(Some(ended)) => {
                let after = now - *ended;
                if after + GRACE_BEGINS_WITHIN < GRACE {
                    fail!(
                        "{reader} saw {user} leave {} after its node's end",
                        seconds(after)
                    );
                }
                let (first, last) = self.grace_seen.unwrap_or((after, after));
                self.grace_seen = Some((first.min(after), last.max(after)));
            }
            None => {}
        }
        Ok(())
    }

    /// Nobody is on a list for longer than they may.
    fn expire(&mut self, now: Instant) -> Outcome {
        for (user, since) in std::mem::take(&mut self.left) {
            match self.crowd.holder(&user) {
                Some(holder) if now - since > GONE_WITHIN => {
                    fail!("{holder} still has {user}, who left on purpose");
                }
                Some(_) => drop(self.left.insert(user, since)),
                None => self.slowest_leave = self.slowest_leave.max(now - since),
            }
        }
        for (user, ended) in std::mem::take(&mut self.held) {
            let is_over = ended.is_some_and(|ended| now - ended > GRACE + GRACE_ENDS_WITHIN);
            match self.crowd.holder(&user) {
                Some(holder) if is_over => {
                    fail!("{holder} still has {user}, whose grace is over");
                }
                Some(_) => drop(self.held.insert(user, ended)),
                None => {}
            }
        }
        Ok(())
    }

    /// A node that is ready has everybody at once: over HTTP, and for the first who comes.
    fn welcome(&mut self, stage: &mut Stage, node: usize) -> Outcome {
        let listed = self.crowd.listed(stage, node)?;
        if let Some(missing) = self.steady.iter().find(|name| !listed.contains_key(*name)) {
            fail!("{} is ready without {missing}", stage.nodes[node].name);
        }
        self.look_until(stage, |roll| roll.crowd.is_in())?;
        let newcomer = format!("newcomer-{}", stage.nodes[node].name);
        let crowd = &mut self.crowd;
        crowd.connect(stage, &[node], [newcomer.clone()].into_iter(), 1)?;
        crowd.enter(stage)?;
        let list = crowd.guest(&newcomer).and_then(Guest::places);
        let list = list.unwrap_or_default();
        if let Some(missing) = self.steady.iter().find(|name| !list.contains_key(*name)) {
            fail!("{newcomer} got a list without {missing}");
        }
        self.steady.insert(newcomer);
        Ok(())
    }

    fn outlast_graces(&mut self, stage: &mut Stage) -> Outcome {
        self.look_until(stage, |roll| roll.held.is_empty())
    }

    /// `done` comes true by what [`look`](Self::look) sets a time to, or for which a client waits.
    fn look_until(&mut self, stage: &mut Stage, done: impl Fn(&Self) -> bool) -> Outcome {
        let (began, all) = (Instant::now(), self.all.clone());
        while !done(self) {
            if began.elapsed() > COMES_WITHIN {
                fail!("not everybody came back within {COMES_WITHIN:?}");
            }
            self.look(stage, &all)?;
        }
        Ok(())
    }

    /// Who is there, and in how many places.
    fn everybody(&self) -> Places {
        let passing = self.lost.iter().chain(&self.quitters);
        let all = self.steady.iter().chain(passing);
        let places = |name: &String| 1 + usize::from(self.twice.contains(name));
        all.map(|name| (name.clone(), places(name))).collect()
    }

    fn figures(&self, room: RoomSize) -> Outcome<String> {
        let RoomSize { nodes, users, .. } = room;
        if self.left_in_all < nodes || self.held_in_all < nodes * LOST {
            fail!(
                "too few left on purpose ({}) or stayed away ({}) to say anything",
                self.left_in_all,
                self.held_in_all
            );
        }
        if let Some((reader, user)) = self.crowd.apart().next() {
            let times = self.crowd.apart().count();
            fail!(
                "{reader} saw {user} lose a place in a diff without the new one; in all lists that happened {times} times"
            );
        }
        if self.crowd.returns() == 0 {
            fail!("nobody came back by the node that was restarted");
        }
        let (first, last) = self.grace_seen.unwrap_or_default();
        Ok(format!(
            "{users} users, {nodes} restarts, {} ways back by another node and {} by the restarted one, {} users with two sockets: nobody who came back was seen to leave, or a place of theirs without the new one; \
             {} left on purpose, the slowest gone from all lists after {}; {} stayed away and went {} to {} after their node's end (grace {})",
            self.crowd.moves(),
            self.crowd.returns(),
            self.twice.len(),
            self.left_in_all,
            seconds(self.slowest_leave),
            self.held_in_all,
            seconds(first),
            seconds(last),
            seconds(GRACE)
        ))
    }
}
