//! What does not belong to the cluster: a second node of one name, a stranger with another secret, a secret
//! that is too short. Each gets one clear line, and the others go on as before.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster;
use crate::failure::{Outcome, fail};
use crate::integration::people::Places;
use crate::integration::stage::Stage;
use crate::node::{Node, READY_WITHIN};
use crate::progress::seconds;

const ROOM: &str = "room:names";
/// Two nodes of one name settle it within this time: a refused one asks for 5 s and then leaves.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);
/// Nothing may change for this long afterwards: both would come and go, if they flapped.
const STAYS_FOR: Duration = Duration::from_secs(3);
/// A stranger has been refused by then at the latest, and has said so.
const REFUSED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(crate) fn run(stage: &mut Stage) -> Outcome<String> {
    stage.raise(2)?;
    stage.enter(0, "anna", ROOM)?;
    stage.enter(1, "ben", ROOM)?;
    unharmed(stage)?;
    too_short_a_secret(stage)?;
    a_wrong_secret(stage)?;
    unharmed(stage)?;
    let settled = two_of_one_name(stage)?;
    Ok(format!(
        "two nodes of one name settled after {}",
        seconds(settled)
    ))
}

/// Both nodes see each other, both lists are whole, and a message crosses.
fn unharmed(stage: &mut Stage) -> Outcome {
    stage.met()?;
    let both = Places::from([("anna".to_owned(), 1), ("ben".to_owned(), 1)]);
    stage.lists_become(ROOM, &both, &[0, 1], Instant::now(), REFUSED_WITHIN)?;
    stage.clients[0][0].push(ROOM, "new_msg", json!({"body": "still here?"}))?;
    for client in stage.clients.iter_mut().flatten() {
        client.event(ROOM, "new_msg")?;
    }
    Ok(())
}

fn too_short_a_secret(stage: &mut Stage) -> Outcome {
    let mut flags = stage.flags("short");
    flags.secret = Some("tooshort".to_owned());
    let mut node = stage.start(&flags)?;
    let status = node.wait(READY_WITHIN)?;
    if status.code() != Some(2) {
        fail!("a node with too short a secret ended with {status}, not with status 2");
    }
    let log = node.log_text();
    if log.lines().count() != 1 || !log.contains("at least 32") {
        fail!("a node with too short a secret said: {log}");
    }
    Ok(())
}

fn a_wrong_secret(stage: &mut Stage) -> Outcome {
    let mut flags = stage.flags("stranger");
    flags.secret = Some(cluster::fresh_secret(&stage.program)?);
    let mut stranger = stage.start(&flags)?;
    stranger.ready()?;
    let began = Instant::now();
    while !stranger.log_text().contains("secret") {
        if began.elapsed() > REFUSED_WITHIN {
            fail!(
                "a node with another secret does not say so; its log is {}",
                stranger.log.display()
            );
        }
        stage.pause(LOOK_EVERY)?;
    }
    let peers = cluster::peers_up(&stranger).unwrap_or_default();
    if !peers.is_empty() {
        fail!("a node with another secret sees {peers:?} as up");
    }
    if cluster::peers_up(&stage.nodes[0]).is_ok_and(|up| up != ["n2"]) {
        fail!("n1 took a node with another secret for a peer");
    }
    Ok(())
}

/// A second n2: one of the two leaves the cluster with a line that names the other, and n1 keeps exactly one.
fn two_of_one_name(stage: &mut Stage) -> Outcome<Duration> {
    let began = Instant::now();
    let flags = stage.flags("n2");
    let mut second = stage.start(&flags)?;
    second.ready()?;
    // ben's connection is to the first n2, which may be the one to leave.
    stage.clients.pop();
    stage.nodes.push(second);
    while !leaves(&stage.nodes[1], &stage.nodes[2]) && !leaves(&stage.nodes[2], &stage.nodes[1]) {
        if began.elapsed() > SETTLED_WITHIN {
            let seconds = SETTLED_WITHIN.as_secs();
            fail!(
                "after {seconds} s neither of two nodes called n2 has left with a line that names the other"
            );
        }
        stage.pause(LOOK_EVERY)?;
    }
    let settled = began.elapsed();
    exactly_one_stays(stage)?;
    Ok(settled)
}

/// Whether this node has said that it leaves, and where the other of its name is.
fn leaves(node: &Node, other: &Node) -> bool {
    let address = other
        .quic
        .map(|address| address.to_string())
        .unwrap_or_default();
    let words = ["leaves the cluster", other.name.as_str(), address.as_str()];
    node.log_text()
        .lines()
        .any(|line| words.iter().all(|word| line.contains(word)))
}

/// n1 sees one n2, all the time, and one of the two sees nobody.
fn exactly_one_stays(stage: &mut Stage) -> Outcome {
    let began = Instant::now();
    while began.elapsed() < STAYS_FOR {
        match cluster::peers_up(&stage.nodes[0]) {
            Ok(up) if up == ["n2"] => stage.pause(LOOK_EVERY)?,
            other => fail!("n1 should see n2 and nobody else, but it sees {other:?}"),
        }
    }
    let sights = stage.nodes[1..]
        .iter()
        .map(|node| cluster::peers_up(node).unwrap_or_default());
    let alone = sights.filter(Vec::is_empty).count();
    if alone != 1 {
        fail!("of two nodes called n2, {alone} see nobody; it should be the one that left");
    }
    Ok(())
}
