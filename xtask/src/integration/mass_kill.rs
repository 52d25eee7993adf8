//! A node killed with many users in a room, and some in another one, again and again: how long until no other list has any of them, and in
//! how many diffs of each room they went.

use std::time::{Duration, Instant};

use crate::failure::{Outcome, fail};
use crate::integration::client::COMES_WITHIN;
use crate::integration::crowd::{Crowd, Diffs, Seen};
use crate::integration::figures::Worst;
use crate::integration::people::Places;
use crate::integration::stage::Stage;
use crate::integration::{MOMENT_WITHIN, NOTICED_WITHIN, RoomSize};
use crate::progress::seconds;

const ROOM: &str = "room:doomed";
/// A second room, so that each is seen to have a diff of its own.
const SMALL_ROOM: &str = "room:beside";
/// Those in it who are on the node that is killed.
const SMALL: u32 = 20;
/// Users of each other node in each room, all of whom hold the list.
const READERS: usize = 5;
/// Several periods in which changes of a list are told: what comes late has come by then.
const AFTERWARDS: Duration = Duration::from_millis(250);

pub(crate) fn run(stage: &mut Stage, room: RoomSize, rounds: u32) -> Outcome<String> {
    let RoomSize { nodes, users, .. } = room;
    stage.raise(nodes)?;
    let victim = stage.dice.index(nodes);
    // The small one first: what is waited for in the large one is then there already, and read.
    let mut doomed = [
        Doomed::new(SMALL_ROOM, SMALL, victim, stage, room),
        Doomed::new(ROOM, users, victim, stage, room),
    ];
    for room in &mut doomed {
        room.survivors_enter(stage)?;
    }
    let (mut lists, mut readers) = (Worst::default(), Worst::default());
    for round in 1..=rounds {
        for room in &mut doomed {
            room.fill(stage, round)?;
        }
        let moment = stage.dice.duration_below(MOMENT_WITHIN);
        for room in &mut doomed {
            room.crowd.stay(stage, moment + AFTERWARDS)?;
            room.before = room.crowd.diffs(&room.others);
        }
        let killed = Instant::now();
        stage.nodes[victim].kill()?;
        for room in &mut doomed {
            room.crowd.bereave(victim);
        }
        for room in &mut doomed {
            let seen = room.are_gone(stage, killed)?;
            lists.note(seen.nodes);
            readers.note(seen.readers);
            stage.tell(format_args!(
                "kill {round} of {rounds}, {} users: gone from the other nodes after {}, from all readers' lists after {}",
                room.users,
                seconds(seen.nodes),
                seconds(seen.readers)
            ));
        }
        stage.restart(victim)?;
        stage.nodes[victim].ready()?;
        stage.met()?;
        for room in &mut doomed {
            room.crowd.stay(stage, AFTERWARDS)?;
            room.was_told_once()?;
        }
    }
    let worst = lists.worst.max(readers.worst);
    let figures = format!(
        "{rounds} kills of one of {nodes} nodes with {users} users in a room and {SMALL} in another: the slowest gone from the other nodes after {}, from all readers' lists after {}, each in one diff of its room",
        seconds(lists.worst),
        seconds(readers.worst)
    );
    if worst > NOTICED_WITHIN {
        fail!("too late: {figures}");
    }
    Ok(figures)
}

/// A room with users on the node that is killed.
struct Doomed {
    crowd: Crowd,
    /// Those on that node.
    users: u32,
    victim: usize,
    all: Vec<usize>,
    others: Vec<usize>,
    /// Of each other node.
    readers: usize,
    /// What each reader had got before the kill.
    before: Vec<Diffs>,
}

impl Doomed {
    fn new(name: &str, users: u32, victim: usize, stage: &Stage, room: RoomSize) -> Self {
        Doomed {
            crowd: Crowd::new(name, room.at_the_door),
            users,
            victim,
            all: room.all_nodes(),
            others: stage.others(victim),
            readers: room.readers.unwrap_or(READERS),
            before: Vec::new(),
        }
    }

    fn survivors(&self) -> impl Iterator<Item = String> + use<> {
        (1..=self.others.len() * self.readers).map(|number| format!("s{number}"))
    }

    /// Those who are listed when the node is gone.
    fn remaining(&self) -> Places {
        self.survivors().map(|name| (name, 1)).collect()
    }

    fn survivors_enter(&mut self, stage: &Stage) -> Outcome {
        let (names, readers) = (self.survivors(), self.readers);
        self.crowd.connect(stage, &self.others, names, readers)?;
        self.crowd.enter(stage)?;
        self.are_gone(stage, Instant::now())?;
        Ok(())
    }

    /// Users come in by the node that will be killed, and all lists have them.
    fn fill(&mut self, stage: &Stage, round: u32) -> Outcome {
        let doomed = || (1..=self.users).map(|number| format!("u{round}-{number}"));
        let mut everybody = self.remaining();
        everybody.extend(doomed().map(|name| (name, 1)));
        self.crowd.connect(stage, &[self.victim], doomed(), 0)?;
        let entrance = self.crowd.enter(stage)?;
        let (crowd, all) = (&mut self.crowd, &self.all);
        crowd.lists_become(stage, all, &everybody, entrance.last, COMES_WITHIN)?;
        Ok(())
    }

    /// All lists of the other nodes have none but the survivors.
    fn are_gone(&mut self, stage: &Stage, since: Instant) -> Outcome<Seen> {
        let remaining = self.remaining();
        let (crowd, others) = (&mut self.crowd, &self.others);
        crowd.lists_become(stage, others, &remaining, since, COMES_WITHIN)
    }

    /// Since the kill each reader got one diff with leaves, and none with joins.
    fn was_told_once(&self) -> Outcome {
        let one = Diffs {
            with_joins: 0,
            with_leaves: 1,
        };
        let after = self.crowd.diffs(&self.others);
        for (before, after) in self.before.iter().zip(&after) {
            let since = Diffs {
                with_joins: after.with_joins - before.with_joins,
                with_leaves: after.with_leaves - before.with_leaves,
            };
            if since != one {
                let users = self.users;
                fail!(
                    "from the kill of {users} until the node was back a reader got {since:?}, and not {one:?}"
                );
            }
        }
        Ok(())
    }
}
