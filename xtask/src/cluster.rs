//! Several nodes under one secret, and waiting until they have met.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::failure::{Explain, Failure, Outcome, fail};
use crate::http;
use crate::node::{Node, STOP_WITHIN};
use crate::signals::StopRequests;

/// How long nodes on one machine may take to meet; a second is usual.
pub(crate) const MEET_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A fresh secret, made by the node's own command.
pub(crate) fn fresh_secret(program: &Path) -> Outcome<String> {
    let output = Command::new(program)
        .arg("secret")
        .output()
        .explain(format!("starting {}", program.display()))?;
    let secret = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || secret.is_empty() {
        fail!("`{} secret` printed no secret", program.display());
    }
    Ok(secret)
}

/// Waits for every ready line, at once.
pub(crate) fn ready(
    nodes: &mut [Node],
    stop: &StopRequests,
    mut look: impl FnMut(usize),
) -> Outcome {
    let began = Instant::now();
    let mut waiting: Vec<&mut Node> = nodes.iter_mut().collect();
    while !waiting.is_empty() {
        let mut still = Vec::new();
        for node in waiting {
            if !node.poll_ready(Duration::ZERO)? {
                still.push(node);
            }
        }
        waiting = still;
        look(waiting.len());
        check(stop)?;
        if began.elapsed() > crate::node::READY_WITHIN {
            let Some(node) = waiting.first_mut() else {
                break;
            };
            return node.ready();
        }
    }
    Ok(())
}

/// Waits until every node sees all the others as up; `look` gets how many pairs are still missing.
pub(crate) fn met(nodes: &mut [Node], stop: &StopRequests, mut look: impl FnMut(usize)) -> Outcome {
    let began = Instant::now();
    loop {
        let mut missing = 0;
        for node in nodes.iter_mut() {
            if let Some(status) = node.ended()? {
                return Err(node.died(status));
            }
        }
        for node in nodes.iter() {
            let seen = peers_up(node).map_or(0, |peers| peers.len());
            missing += (nodes.len() - 1).saturating_sub(seen);
        }
        look(missing);
        if missing == 0 {
            return Ok(());
        }
        check(stop)?;
        if began.elapsed() > MEET_WITHIN {
            fail!(
                "after {} s the nodes still miss {missing} sights of each other",
                MEET_WITHIN.as_secs()
            );
        }
    }
}

/// The names of the nodes that this one sees as up.
pub(crate) fn peers_up(node: &Node) -> io::Result<Vec<String>> {
    let cluster = http::get_json(node.http, "/api/cluster")?;
    let peers = cluster["peers"].as_array().map_or(&[][..], Vec::as_slice);
    let up = peers.iter().filter(|peer| peer["state"] == "up");
    Ok(up
        .filter_map(|peer| Some(peer["name"].as_str()?.to_owned()))
        .collect())
}

/// Asks all nodes to end and waits for them, then kills what is left.
pub(crate) fn end(nodes: &mut [Node], stop: &StopRequests) -> Outcome {
    for node in nodes.iter_mut() {
        node.ask_to_end();
    }
    let began = Instant::now();
    while began.elapsed() < STOP_WITHIN {
        let mut running = 0;
        for node in nodes.iter_mut() {
            running += usize::from(node.ended()?.is_none());
        }
        if running == 0 {
            return Ok(());
        }
        if stop.wait(LOOK_EVERY).is_some() {
            break; // asked a second time: no more patience
        }
    }
    let mut killed = Vec::new();
    for node in nodes.iter_mut() {
        if node.ended()?.is_none() {
            node.kill()?;
            killed.push(node.name.clone());
        }
    }
    fail!(
        "{} did not end when asked to and had to be killed",
        killed.join(", ")
    )
}

fn check(stop: &StopRequests) -> Outcome {
    match stop.wait(LOOK_EVERY) {
        Some(request) => Err(Failure::stopped(request)),
        None => Ok(()),
    }
}
