//! What must be true at rest.

use std::collections::BTreeSet;

use super::pipe::Pipe;
use super::registry::{Sub, name};
use super::world::{Broken, Kept, World, id};

/// All properties that do not show in a single delivery.
pub(super) fn at_rest(world: &World) -> Kept {
    links_are_settled(world)?;
    for (index, sub) in world.subs.iter().enumerate() {
        for link in 0..world.pipes.len() {
            got_what_is_owed(world, index, sub, link)?;
        }
    }
    gaps_are_told(world)?;
    sets_are_right(world)?;
    rings_are_empty(world)
}

/// What a router says of itself agrees with what it holds, and its bounds are kept.
pub(super) fn at_any_time(world: &World) -> Kept {
    let wrong = world.nodes.iter().find_map(|node| node.router.disagrees());
    wrong.map_or(Ok(()), |how| broken("router agrees with itself", how))
}

fn broken(property: &'static str, how: String) -> Kept {
    Err(Broken { property, how })
}

/// Both ends of a pair of nodes have the same link, or none; it is the youngest, unless that broke.
fn links_are_settled(world: &World) -> Kept {
    for (link, pipe) in world.pipes.iter().enumerate() {
        let between = |other: &&Pipe| pipe.nodes.iter().all(|node| other.nodes.contains(node));
        let is_youngest = !world.pipes[link + 1..].iter().any(|other| between(&other));
        if is_youngest && !pipe.broken && !pipe.is_live() {
            return broken("at rest", format!("link {link} is the youngest and gone"));
        }
    }
    for (node, state) in world.nodes.iter().enumerate() {
        for (peer, link) in &state.current {
            if world.nodes[*peer].current.get(&node) != Some(link) {
                return broken("at rest", format!("link {link} of {node} and {peer}"));
            }
        }
    }
    Ok(())
}

/// Exactly what flooding would have delivered: all of it on a link that lives, a beginning of it per lane on one that broke.
fn got_what_is_owed(world: &World, index: usize, sub: &Sub, link: usize) -> Kept {
    let pipe = &world.pipes[link];
    if !pipe.nodes.contains(&sub.node) {
        return Ok(());
    }
    let way = &pipe.ways[1 - pipe.side_of(sub.node)];
    let until = sub.until.unwrap_or(world.published.len());
    let got: BTreeSet<_> = sub
        .got
        .iter()
        .filter(|got| got.1 == link)
        .map(|got| got.0)
        .collect();
    for lane in 0..=world.setup.lanes {
        let mut missing = None;
        for number in sub.since..until {
            let publication = &world.published[number];
            let owed = publication.topic == sub.topic
                && publication.lane == lane
                && publication.node != sub.node
                && publication.links.contains(&link)
                && !way.refused.contains(&publication.pos);
            match (owed, got.contains(&number)) {
                (true, false) => {
                    missing.get_or_insert(number);
                }
                (true, true) => {
                    if let Some(missing) = missing {
                        let how = format!("subscription {index}: {number} and not {missing}");
                        return broken("no holes", how);
                    }
                }
                (false, _) => {}
            }
        }
        if let Some(missing) = missing
            && pipe.is_live()
            && sub.until.is_none()
        {
            return broken("nothing lost", format!("subscription {index}: {missing}"));
        }
    }
    Ok(())
}

/// What a full lane dropped was told, on every link that lives.
fn gaps_are_told(world: &World) -> Kept {
    for (link, pipe) in world.pipes.iter().enumerate() {
        for way in &pipe.ways {
            if pipe.is_live() && way.refused_by_lane != way.told_by_lane {
                let (refused, told) = (&way.refused_by_lane, &way.told_by_lane);
                return broken(
                    "gaps told",
                    format!("link {link}: {refused:?}, told {told:?}"),
                );
            }
        }
    }
    Ok(())
}

/// Every publisher sends what its peer wants and nothing else, and every node wants what it has subscribers of.
fn sets_are_right(world: &World) -> Kept {
    for (node, state) in world.nodes.iter().enumerate() {
        for topic in 0..world.setup.topics {
            let subscribed = !state.registry.subscribers(topic).is_empty();
            if subscribed != state.router.wants(&name(topic)) {
                return broken("sets right", format!("{node} itself of t{topic}"));
            }
        }
        for (peer, link) in &state.current {
            let router = &state.router;
            if !world.pipes[*link].capable || router.is_over(id(*link)) {
                continue;
            }
            if !router.routes(id(*link)) {
                return broken("routes at rest", format!("{node} floods {peer}"));
            }
            for topic in 0..world.setup.topics {
                let wanted = world.nodes[*peer].router.wants(&name(topic));
                if wanted != router.sends(id(*link), &name(topic)) {
                    return broken("sets right", format!("{node} of {peer}, t{topic}"));
                }
            }
        }
    }
    Ok(())
}

/// Nothing waits for ever.
fn rings_are_empty(world: &World) -> Kept {
    for (node, state) in world.nodes.iter().enumerate() {
        if state.router.ring() != (0, 0) {
            return broken("ring empty", format!("{node}: {:?}", state.router.ring()));
        }
    }
    Ok(())
}
