//! A node killed with many users in a room, again and again: how long until no other list has any of them, and in how many diffs they went.

use std::time::{Duration, Instant};

use crate::failure::{Outcome, fail};
use crate::integration::client::COMES_WITHIN;
use crate::integration::crowd::{Crowd, Diffs};
use crate::integration::figures::Worst;
use crate::integration::people::Places;
use crate::integration::stage::Stage;
use crate::integration::{MOMENT_WITHIN, NOTICED_WITHIN, RoomSize};
use crate::progress::seconds;

const ROOM: &str = "room:doomed";
/// Users of each other node, all of whom hold the list.
const READERS: usize = 5;
/// Several periods in which changes of a list are told: what comes late has come by then.
const AFTERWARDS: Duration = Duration::from_millis(250);

pub(crate) fn run(stage: &mut Stage, room: RoomSize, rounds: u32) -> Outcome<String> {
    let RoomSize { nodes, users, .. } = room;
    let each = room.readers.unwrap_or(READERS);
    stage.raise(nodes)?;
    let victim = stage.dice.index(nodes);
    let (all, others) = (room.all_nodes(), stage.others(victim));
    let mut crowd = Crowd::new(ROOM, room.at_the_door);
    let survivors = || (1..=others.len() * each).map(|number| format!("s{number}"));
    let remaining: Places = survivors().map(|name| (name, 1)).collect();
    crowd.connect(stage, &others, survivors(), each)?;
    crowd.enter(stage)?;
    crowd.lists_become(stage, &others, &remaining, Instant::now(), COMES_WITHIN)?;
    let (mut lists, mut readers) = (Worst::default(), Worst::default());
    for round in 1..=rounds {
        let doomed = || (1..=users).map(|number| format!("u{round}-{number}"));
        let mut everybody = remaining.clone();
        everybody.extend(doomed().map(|name| (name, 1)));
        crowd.connect(stage, &[victim], doomed(), 0)?;
        let entrance = crowd.enter(stage)?;
        crowd.lists_become(stage, &all, &everybody, entrance.last, COMES_WITHIN)?;
        let moment = stage.dice.duration_below(MOMENT_WITHIN);
        crowd.stay(stage, moment)?;

        crowd.stay(stage, AFTERWARDS)?;
        let before = crowd.diffs(&others);
        let killed = Instant::now();
        stage.nodes[victim].kill()?;
        crowd.bereave(victim);
        let seen = crowd.lists_become(stage, &others, &remaining, killed, COMES_WITHIN)?;
        crowd.stay(stage, AFTERWARDS)?;
        lists.note(seen.nodes);
        readers.note(seen.readers);
        stage.tell(format_args!(
            "kill {round} of {rounds}: gone from the other nodes after {}, from all readers' lists after {}",
            seconds(seen.nodes),
            seconds(seen.readers)
        ));
        stage.restart(victim)?;
        stage.nodes[victim].ready()?;
        stage.met()?;
        crowd.stay(stage, AFTERWARDS)?;
        let after = crowd.diffs(&others);
        let since = before.iter().zip(&after).map(|(before, after)| Diffs {
            with_joins: after.with_joins - before.with_joins,
            with_leaves: after.with_leaves - before.with_leaves,
        });
        let one = Diffs {
            with_joins: 0,
            with_leaves: 1,
        };
        if let Some(other) = since.into_iter().find(|since| *since != one) {
            fail!("from the kill until the node was back a reader got {other:?}, and not {one:?}");
        }
    }
    let worst = lists.worst.max(readers.worst);
    let figures = format!(
        "{rounds} kills of one of {nodes} nodes with {users} users: the slowest gone from the other nodes after {}, from all readers' lists after {}, each in one diff",
        seconds(lists.worst),
        seconds(readers.worst)
    );
    if worst > NOTICED_WITHIN {
        fail!("too late: {figures}");
    }
    Ok(figures)
}
