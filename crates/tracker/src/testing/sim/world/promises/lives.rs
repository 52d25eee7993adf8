//! The promises about lives that end, for good or for long: I15, I18, I19 and I20.

use super::*;

#[test]
fn i15_no_entry_of_an_old_life_beside_the_new_ones() {
    let met = [
        "the old life is still listed elsewhere",
        "the new life is listed elsewhere",
    ];
    let given = (history(), 0..5usize);
    holds(48, &met, given, |(history, which), tally| {
        let mut world = steady(history);
        let node = which % world.nodes.len();
        world.tracks_something(node);
        let old: BTreeSet<PresenceRef> = world.tracked(node).into_keys().collect();
        prop_assert!(!old.is_empty());
        let name = world.names[node].clone();
        world.crash(node);
        world.start(node);
        world.track(node);
        let mut over = vec![false; world.nodes.len()];
        world.watch(Duration::from_secs(8), |world| {
            for (viewer, over) in over.iter_mut().enumerate() {
                let list = world
                    .list(viewer)
                    .into_values()
                    .filter(|entry| entry.node == name);
                let (before, now): (Vec<_>, Vec<_>) =
                    list.partition(|entry| old.contains(&entry.reference));
                assert!(
                    before.is_empty() || now.is_empty(),
                    "two lives at once: {before:?} {now:?}"
                );
                assert!(before.is_empty() || !*over, "it came back: {before:?}");
                *over |= before.is_empty();
                tally.note(met[0], viewer != node && !before.is_empty());
                tally.note(met[1], viewer != node && !now.is_empty());
            }
        });
        prop_assert!(over.into_iter().all(|over| over));
        let anew = world.tracked(node);
        for viewer in world.alive() {
            let list = world.list(viewer);
            prop_assert!(anew.iter().all(|(r, entry)| list.get(r) == Some(entry)));
        }
        Ok(())
    });
}

proptest! {
    #![proptest_config(repeatable(48))]

    #[test]
    fn i18_restarts_leave_nothing_behind(history in history(), restarts in 1..12usize) {
        let mut world = played(history);
        world.become_quiet();
        for _ in 0..restarts {
            world.crash(0);
            world.start(0);
            world.track(0);
            world.pass(Duration::from_secs(3));
        }
        world.become_quiet();
        // The memory of a life lasts for two permdown periods.
        world.pass(world.settings.permdown_period * 3);
        for node in world.alive() {
            let shard = &world.running(node).shard;
            let stats = shard.stats();
            prop_assert!(stats.remembered_peers < world.nodes.len() as u64);
            // Of a peer that took a higher number, the former ones are remembered as long as it tells of them.
            let others = world.alive().into_iter().filter(|other| *other != node);
            let told: usize = others.map(|other| world.running(other).shard.former_numbers()).sum();
            prop_assert_eq!(stats.held_sets_now, 0);
            prop_assert!(shard.ended_lives() <= told, "{} lives", shard.ended_lives());
        }
        world.finish();
    }

    #[test]
    fn i19_a_life_that_was_forgotten_comes_back_whole(history in history(), which in 0..5usize) {
        let mut world = steady(history);
        let (count, away) = (world.nodes.len(), which % world.nodes.len());
        world.tracks_something(away);
        prop_assert!(!world.tracked(away).is_empty());
        let whole = world.tracked_by(&world.alive());
        for other in (0..count).filter(|other| *other != away) {
            world.part(away, other);
        }
        world.pass(world.settings.permdown_period + Duration::from_secs(4));
        for other in (0..count).filter(|other| *other != away) {
            prop_assert!(world.running(other).shard.have(&world.names[away]).is_none(), "I18: forgotten");
        }
        world.heal_all();
        world.pass(SETTLING);
        for node in 0..count {
            prop_assert_eq!(&world.list(node), &whole, "node {}", node);
        }
    }

    /// All that an earlier life said arrives over the link of the later one.
    #[test]
    fn i20_an_older_life_is_not_heard(history in history(), which in 0..5usize) {
        let mut world = steady(history);
        let node = which % world.nodes.len();
        world.crash(node);
        let said: Vec<_> = world.said.iter().filter(|(from, _, _)| *from == node).cloned().collect();
        world.start(node);
        world.heal_all();
        world.pass(SETTLING);
        let truth = world.lists();
        prop_assert!(!said.is_empty());
        for (from, to, bytes) in said {
            let refused = world.running(to).shard.stats().refused_lives;
            let message = Message::decode(&bytes).unwrap().unwrap();
            world.hear(to, from, &bytes);
            prop_assert_eq!(&world.lists()[to], &truth[to]);
            if matches!(message, Message::Ops(_) | Message::Part(_) | Message::Vector(_) | Message::Hello(_)) {
                prop_assert!(world.running(to).shard.stats().refused_lives > refused, "{:?}", message);
            }
        }
    }
}
