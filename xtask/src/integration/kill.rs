//! A node killed at a random moment, again and again: the others notice in time, it comes back, no ghost stays.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::failure::{Outcome, fail};
use crate::integration::client::COMES_WITHIN;
use crate::integration::people::Places;
use crate::integration::stage::Stage;
use crate::integration::{MOMENT_WITHIN, NOTICED_WITHIN};
use crate::progress::seconds;

const NODES: usize = 3;
const USERS_PER_NODE: usize = 3;
/// How many things at most happen before a kill.
const MAX_ACTIONS: u64 = 30;
/// One kill in so many is followed by a restart before anyone can have noticed.
const AT_ONCE_EVERY: u64 = 3;
const ROOM: &str = "room:kill";
const LAB: &str = "lab:kill";

pub(crate) fn run(stage: &mut Stage, rounds: u32) -> Outcome<String> {
    stage.raise(NODES)?;
    for index in 0..NODES {
        populate(stage, index)?;
    }
    all_here(stage)?;
    let mut worst = Duration::ZERO;
    let turn = stage.dice.below(AT_ONCE_EVERY);
    for round in 1..=rounds {
        let victim = stage.dice.index(NODES);
        let at_once = u64::from(round) % AT_ONCE_EVERY == turn;
        let took = round_of(stage, victim, at_once)?;
        worst = worst.max(took);
        let how = if at_once {
            "restarted at once"
        } else {
            "restarted when noticed"
        };
        stage.tell(format_args!(
            "kill {round} of {rounds}: n{}, {how}; noticed after {}",
            victim + 1,
            seconds(took)
        ));
    }
    Ok(format!(
        "{rounds} kills, each noticed by all others; the slowest after {}",
        seconds(worst)
    ))
}

/// One kill and return; gives the time after which the victim's users were in no list.
fn round_of(stage: &mut Stage, victim: usize, at_once: bool) -> Outcome<Duration> {
    live_a_little(stage)?;
    let others: Vec<usize> = (0..NODES).filter(|index| *index != victim).collect();
    let remaining: Places = others
        .iter()
        .flat_map(|index| users_of(*index))
        .map(|user| (user, 1))
        .collect();
    let departed_before = departures(stage, &others)?;

    let killed = Instant::now();
    stage.nodes[victim].kill()?;
    stage.clients[victim].clear();
    if at_once {
        stage.restart(victim)?;
    }
    let took = stage.lists_become(ROOM, &remaining, &others, killed, NOTICED_WITHIN)?;
    one_diff_each(stage, &others, &departed_before)?;

    if !at_once {
        stage.restart(victim)?;
    }
    stage.nodes[victim].ready()?;
    stage.met()?;
    populate(stage, victim)?;
    all_here(stage)?;
    Ok(took)
}

fn users_of(index: usize) -> Vec<String> {
    (1..=USERS_PER_NODE)
        .map(|number| format!("u{}-{number}", index + 1))
        .collect()
}

fn populate(stage: &mut Stage, index: usize) -> Outcome {
    for user in users_of(index) {
        stage.enter(index, &user, ROOM)?;
    }
    for client in &mut stage.clients[index] {
        client.join(LAB)?;
    }
    Ok(())
}

/// Every list shows everybody, each in one place.
fn all_here(stage: &mut Stage) -> Outcome {
    let everyone: Places = (0..NODES)
        .flat_map(users_of)
        .map(|user| (user, 1))
        .collect();
    let everywhere: Vec<usize> = (0..NODES).collect();
    stage.lists_become(ROOM, &everyone, &everywhere, Instant::now(), COMES_WITHIN)?;
    Ok(())
}

/// Messages and status changes by random users, then a random pause: the kill hits at any point of the protocol.
fn live_a_little(stage: &mut Stage) -> Outcome {
    for _ in 0..stage.dice.below(MAX_ACTIONS) {
        let node = stage.dice.index(NODES);
        let user = stage.dice.index(USERS_PER_NODE);
        let choice = stage.dice.below(3);
        let client = &mut stage.clients[node][user];
        match choice {
            0 => client
                .push(ROOM, "new_msg", json!({"body": "still here"}))
                .map(drop)?,
            1 => client
                .push(ROOM, "status", json!({"status": "busy"}))
                .map(drop)?,
            _ => client.send(LAB, "shout", json!({})).map(drop)?,
        }
    }
    let moment = stage.dice.duration_below(MOMENT_WITHIN);
    stage.pause(moment)?;
    for client in stage.clients.iter_mut().flatten() {
        client.push(LAB, "echo", json!({}))?;
        client.forget_unread();
    }
    Ok(())
}

/// How many diffs took someone away, for each client of these nodes.
fn departures(stage: &mut Stage, of: &[usize]) -> Outcome<Vec<usize>> {
    let mut counts = Vec::new();
    for index in of {
        for client in &mut stage.clients[*index] {
            client.catch_up()?;
            counts.push(client.people(ROOM).map_or(0, |people| people.departures));
        }
    }
    Ok(counts)
}

/// All users of a killed node leave in one diff.
fn one_diff_each(stage: &mut Stage, of: &[usize], before: &[usize]) -> Outcome {
    let after = departures(stage, of)?;
    let grown: Vec<usize> = after
        .iter()
        .zip(before)
        .map(|(after, before)| after - before)
        .collect();
    if grown.iter().any(|departures| *departures != 1) {
        fail!("the users of the killed node left in more than one diff: {grown:?} per client");
    }
    Ok(())
}
