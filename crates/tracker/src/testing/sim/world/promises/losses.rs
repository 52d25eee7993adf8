//! The promise that lost messages alone hide nobody: I30.

use super::*;

/// What one node was told of its link to another one, and what it listed of it since.
#[derive(Debug, Default)]
struct Since {
    link: Option<LinkId>,
    up: Duration,
    whole: bool,
}

/// Messages are lost, doubled and overtaken all the time, and now and then a link ends and another comes up. Whoever's link is up and
/// whose entries were whole stays whole, whatever is lost; whoever's link is down is not listed; and over the new link it is whole again.
#[test]
fn i30_lost_messages_alone_hide_nobody() {
    let met = [
        "message lost",
        "listed over a link that loses messages",
        "hidden by the end of a link",
        "whole again over a new link",
        "one side was told that the link is down, the other not yet",
    ];
    let breaks = prop::collection::vec((any::<u64>(), 0..8u8), 5..20);
    holds(24, &met, (history(), breaks), |(history, more), tally| {
        let mut world = steady(history);
        let count = world.nodes.len();
        let whole: Vec<_> = (0..count).map(|node| world.tracked(node)).collect();
        let mut since: BTreeMap<(Index, Index), Since> = BTreeMap::new();
        for (viewer, of) in (0..count).flat_map(|a| (0..count).map(move |b| (a, b))) {
            if viewer != of {
                let link = world.running(viewer).links.get(&of).map(|view| view.link);
                let (up, whole) = (world.now, true);
                since.insert((viewer, of), Since { link, up, whole });
            }
        }
        world.weather = Weather::Foul;
        let lost = |world: &World| world.report.counts.get(met[0]).copied().unwrap_or(0);
        let before = lost(&world);
        for (chance, what) in more {
            world.step += 1;
            world.random = Random::new(chance);
            let (node, other) = (world.random.below(count), world.random.below(count));
            let slot = slot_at(apart(chance % 4));
            match what {
                0 | 1 => world.break_link(node),
                2 if node != other => world.part(node, other),
                3 | 4 => world.heal_all(),
                _ => world.act(node, |world, running, now| {
                    if let Ok((_, entry)) = running.shard.track(&slot, Bytes::new(), now) {
                        world.written(node, &entry);
                    }
                }),
            }
            let time = if what < 5 { 1_500 } else { 250 };
            world.watch(Duration::from_millis(time), |world| {
                for ((viewer, of), since) in &mut since {
                    let link = world.running(*viewer).links.get(of).map(|view| view.link);
                    if link != since.link {
                        *since = Since {
                            link,
                            up: world.now,
                            whole: false,
                        };
                    }
                    let there = world.running(*of).links.contains_key(viewer);
                    tally.note(met[4], link.is_none() && there);
                    let list = world.list(*viewer);
                    let listed = whole[*of]
                        .keys()
                        .filter(|one| list.contains_key(one))
                        .count();
                    if link.is_none() {
                        assert_eq!(listed, 0, "n{viewer} is told that n{of} is down");
                        tally.note(met[2], !whole[*of].is_empty());
                        continue;
                    }
                    let all = listed == whole[*of].len();
                    tally.note(met[3], all && !since.whole && listed > 0);
                    assert!(all || !since.whole, "n{of} was hidden at n{viewer}");
                    let late = since.up + SETTLING < world.now;
                    assert!(
                        all || !late,
                        "n{viewer} does not list n{of}, whose link is up"
                    );
                    since.whole = all;
                    tally.add(met[1], listed);
                }
            });
        }
        tally.add(met[0], (lost(&world) - before) as usize);
        Ok(())
    });
}
