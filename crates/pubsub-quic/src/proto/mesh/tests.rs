//! Stories of nodes that meet, die, come back and quarrel, told to the simulator.

use std::time::{Duration, Instant};

use matryoshka_pubsub::cluster::{MemberEvent, MemberState};
use matryoshka_pubsub::{Goodbye, Incarnation, NodeName};
use rand::Rng;

use super::super::address::RECENT;
use super::super::close::Close;
use super::super::frame::Frame;
use super::super::notice::{Allowance, Level};
use super::super::peer::{ConnectionId, HELLO_LIMIT};
use super::super::terms::Offer;
use super::super::trouble::Trouble;
use super::{Effect, Ended, MAX_LINKS, MAX_PEERS, Mesh, MeshConfig};
use crate::testing::sim::World;

const SECOND: Duration = Duration::from_secs(1);
/// Long enough for every time limit of the protocol, save the ten minutes.
const SETTLED: Duration = Duration::from_secs(20);

fn name(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

/// n1, n2, ...: each joins at the one before.
fn chain(seed: u64, nodes: usize) -> World {
    let mut world = World::new(seed);
    for index in 0..nodes {
        let join: Vec<usize> = index.checked_sub(1).into_iter().collect();
        world.add(&format!("n{}", index + 1), &join);
    }
    world
}

/// When `node` was told that `other` is down, first after `since`.
fn down_at(world: &World, node: usize, other: &str, since: Duration) -> Option<Duration> {
    world.nodes[node]
        .events
        .iter()
        .filter(|(at, _)| *at >= since)
        .find(|(_, event)| matches!(event, MemberEvent::Down(member) if member.node == other))
        .map(|(at, _)| *at)
}

fn downs(world: &World) -> usize {
    let all = world.nodes.iter().flat_map(|node| &node.events);
    all.filter(|(_, event)| matches!(event, MemberEvent::Down(_)))
        .count()
}

#[test]
fn nodes_that_join_at_any_other_find_all() {
    for seed in 0..20 {
        let mut world = chain(seed, 8);
        world.run(3 * SECOND);
        world.assert_settled_with_nothing_besides();
        assert_eq!(downs(&world), 0, "a link was given up needlessly");
    }
}

#[test]
fn nodes_that_all_dial_each_other_settle_on_one_link_without_a_gap() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        for index in 0..5 {
            let others: Vec<usize> = (0..5).filter(|other| *other != index).collect();
            world.add(&format!("n{index}"), &others);
        }
        world.run(3 * SECOND);
        world.assert_settled_with_nothing_besides();
        assert_eq!(downs(&world), 0, "a settled link was given up for another");
    }
}

#[test]
fn a_killed_node_is_down_within_three_seconds_and_comes_back() {
    for seed in 0..50 {
        let mut world = chain(seed, 3);
        world.run(SETTLED);
        let wait = world.rng.random_range(0..2_000);
        world.run(Duration::from_millis(wait));
        let victim = world.rng.random_range(0..3);
        let killed = world.clock();
        world.kill(victim);
        world.run(4 * SECOND);
        for other in (0..3).filter(|other| *other != victim) {
            let victim = format!("n{}", victim + 1);
            let down = down_at(&world, other, &victim, killed).expect("noticed");
            let after = down - killed;
            assert!(
                after > SECOND && after <= 3 * SECOND,
                "noticed after {after:?}"
            );
            let told = format!("{victim} is down: nothing was heard of it for too long");
            let mut notices = world.nodes[other].notices.iter();
            assert!(
                notices.any(|(_, text)| text.starts_with(&told)),
                "no {told:?}"
            );
        }
        world.restart(victim);
        world.run(4 * SECOND);
        world.assert_settled();
    }
}

#[test]
fn a_node_restarted_at_once_replaces_its_earlier_life_at_once() {
    let mut world = chain(3, 3);
    world.run(SETTLED);
    world.kill(2);
    world.restart(2);
    let before = world.clock();
    world.run(SECOND);
    world.assert_settled();
    assert!(down_at(&world, 0, "n3", before).is_some());
}

#[test]
fn a_node_that_stood_still_finds_nobody_dead_by_itself() {
    let mut world = chain(5, 3);
    world.run(SETTLED);
    // Shorter than others take for dead, so what is told is all its own doing.
    for _ in 0..20 {
        world.pause(1);
        world.run(Duration::from_millis(1_200));
        world.resume(1);
        world.run(Duration::from_millis(700));
    }
    assert_eq!(downs(&world), 0);
    world.pause(1);
    world.run(30 * SECOND);
    let before = world.clock();
    world.resume(1);
    world.run(4 * SECOND);
    world.assert_settled();
    let told_by_others = |(_, text): &(Level, String)| text.contains("it closed the link");
    assert!(world.nodes[1].notices.iter().any(told_by_others));
    assert!(down_at(&world, 1, "n1", before).is_some());
}

#[test]
fn a_partition_heals_within_three_seconds() {
    for seed in 0..20 {
        let mut world = chain(seed, 4);
        world.run(SETTLED);
        for (one, other) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
            world.cut(one, other);
        }
        world.run(10 * SECOND);
        let states: Vec<_> = world.nodes[0].table.now();
        let down = states.iter().filter(|m| m.state == MemberState::Down);
        assert_eq!(down.count(), 2);
        world.heal_all();
        world.run(3 * SECOND);
        world.assert_settled();
    }
}

#[test]
fn silence_is_suspicious_first_and_may_end() {
    let mut world = chain(9, 2);
    world.run(SETTLED);
    world.cut(0, 1);
    world.run(Duration::from_millis(2_000));
    assert_eq!(
        world.nodes[0].table.get(&name("n2")).unwrap().state,
        MemberState::Suspect
    );
    world.heal_all();
    world.run(SECOND);
    assert_eq!(
        world.nodes[0].table.get(&name("n2")).unwrap().state,
        MemberState::Up
    );
    assert_eq!(downs(&world), 0);
}

#[test]
fn two_heartbeats_lost_in_a_row_are_no_alarm_and_three_are() {
    for seed in 0..20 {
        let mut world = chain(seed, 3);
        let phase = Duration::from_millis(37 * seed);
        world.run(SETTLED + phase);
        world.lose_heartbeats(2);
        world.run(5 * SECOND);
        let suspects = |event: &&(_, _)| matches!(event.1, MemberEvent::Suspect(_));
        for node in &world.nodes {
            let suspected = node.events.iter().filter(suspects).count();
            assert_eq!(suspected, 2, "each was silent for long enough");
        }
        assert_eq!(downs(&world), 0);
        world.assert_settled();
        world.lose_heartbeats(3);
        world.run(5 * SECOND);
        assert!(downs(&world) > 0, "this is what down means");
    }
}

#[test]
fn handshakes_that_never_go_on_are_ended_in_time_and_disturb_nobody() {
    for seed in 0..20 {
        let mut world = chain(seed, 3);
        world.run(SETTLED);
        let silent = (0..10).map(|_| world.add_intruder(2));
        let silent: Vec<usize> = silent.collect();
        let mut most = 0;
        for _ in 0..100 {
            world.run(SECOND / 10);
            let mesh = world.nodes[0].mesh.as_ref();
            most = most.max(mesh.map_or(0, Mesh::connections));
        }
        assert!(most > 10, "they were not there");
        for index in silent {
            world.kill(index);
        }
        world.run(HELLO_LIMIT + SECOND);
        world.assert_settled_with_nothing_besides();
        assert_eq!(downs(&world), 0);
    }
}

#[test]
fn a_clock_that_went_back_is_overcome_with_a_higher_number() {
    for seed in 0..20 {
        let mut world = chain(seed, 3);
        world.run(SETTLED);
        let known = world.nodes[0].table.get(&name("n3")).unwrap().incarnation;
        world.kill(2);
        world.start(2, 7);
        world.run(8 * SECOND);
        world.assert_settled();
        assert_eq!(world.nodes[2].left, None);
        for node in 0..2 {
            let now = world.nodes[node].table.get(&name("n3")).unwrap();
            assert_eq!(now.incarnation, known.next());
        }
        let renumbered = MemberEvent::Renumbered(known.next());
        let events = &world.nodes[2].events;
        assert!(events.iter().any(|(_, event)| *event == renumbered));
    }
}

#[test]
fn of_two_nodes_with_one_name_the_older_leaves_and_stays_out() {
    for seed in 0..20 {
        let mut world = chain(seed, 3);
        world.run(SETTLED);
        let twin = world.add("n2", &[0]);
        world.run(SETTLED);
        world.assert_settled();
        let reason = world.nodes[1].left.clone().expect("the older one left");
        assert!(reason.contains("10.0.0.1:5003"), "{reason}");
        assert_eq!(world.nodes[twin].left, None);
        let errors = world.nodes[1].notices.iter();
        let errors = errors.filter(|(level, _)| *level == Level::Error);
        assert_eq!(errors.count(), 1, "one line, not one for each try");
        let settled = world.clock();
        world.run(3 * SETTLED);
        assert_eq!(down_at(&world, 0, "n2", settled), None, "the two flap");
    }
}

#[test]
fn a_twin_with_an_older_clock_leaves_by_itself() {
    let mut world = chain(4, 3);
    world.run(SETTLED);
    let twin = world.add("n2", &[0]);
    world.start(twin, 7);
    let before = world.clock();
    world.run(SETTLED);
    assert!(world.nodes[twin].left.is_some());
    assert_eq!(world.nodes[1].left, None);
    assert_eq!(
        down_at(&world, 0, "n2", before),
        None,
        "it disturbed nobody"
    );
    world.assert_settled();
}

#[test]
fn twins_that_meet_only_each_other_settle_it_as_well() {
    let mut world = World::new(1);
    world.add("n1", &[]);
    world.run(SECOND);
    let newer = world.add("n1", &[0]);
    world.run(SETTLED);
    assert!(world.nodes[0].left.is_some());
    assert_eq!(world.nodes[newer].left, None);
}

#[test]
fn a_node_that_joins_at_itself_stays_alone_in_peace() {
    for knows_its_address in [true, false] {
        let mut world = World::new(1);
        let node = world.add("n1", &[0]);
        let incarnation = world.wall_clock();
        world.start_as(node, incarnation, |config| {
            if !knows_its_address {
                config.own.clear();
            }
        });
        world.run(SETTLED);
        let mesh = world.nodes[node].mesh.as_ref().unwrap();
        assert_eq!(mesh.connections(), 0);
        assert!(mesh.last_connection <= 2, "it goes on dialling itself");
        assert_eq!(world.nodes[node].notices, []);
    }
}

/// A connection that n2 makes, from 10.0.0.2:5000.
fn n2_comes(mesh: &mut Mesh, now: Instant, incarnation: u64) -> ConnectionId {
    let remote = "10.0.0.2:5000".parse().unwrap();
    let id = mesh.handle_accepted(now, remote, vec!["n2".to_owned()]);
    let mut hello = mesh.hello();
    (hello.name, hello.incarnation) = ("n2".to_owned(), incarnation);
    mesh.handle_frame(now, id, Frame::Hello(hello));
    mesh.handle_frame(now, id, Frame::Welcome);
    id
}

/// What the log is told.
fn told(mesh: &mut Mesh) -> Vec<String> {
    let effects = std::iter::from_fn(|| mesh.poll_effect());
    effects
        .filter_map(|effect| match effect {
            Effect::Notice(notice) => Some(notice.text),
            _ => None,
        })
        .collect()
}

#[test]
fn of_one_that_is_down_the_log_says_why_and_not_who_closed_first() {
    let now = Instant::now();
    for (grace, why) in [
        (None, "n2 is down: it has left"),
        (Some(5_000), "n2 is down: it restarts"),
    ] {
        let mut mesh = Mesh::new(config("n1"), now);
        let id = n2_comes(&mut mesh, now, 1);
        let goodbye = Frame::Goodbye {
            restart_within_ms: grace,
        };
        mesh.handle_frame(now, id, goodbye);
        mesh.handle_ended(now, id, Ended::ClosedHere);
        assert_eq!(told(&mut mesh).pop().as_deref(), Some(why));
    }

    let mut mesh = Mesh::new(config("n1"), now);
    let id = n2_comes(&mut mesh, now, 1);
    mesh.leave(Goodbye::Leaving);
    mesh.handle_ended(now, id, Ended::ClosedByPeer(Close::Leaving));
    let why = "n2 is down: this node leaves the cluster";
    assert_eq!(told(&mut mesh).pop().as_deref(), Some(why));
}

#[test]
fn one_that_came_by_itself_meanwhile_is_not_said_to_give_no_answer() {
    let start = Instant::now();
    for (comes, lines) in [(true, 0), (false, 1)] {
        let mut config = config("n1");
        config.seeds.push("10.0.0.2:5000".into());
        let mut mesh = Mesh::new(config, start);
        mesh.handle_tick(start);
        let id = comes.then(|| n2_comes(&mut mesh, start, 1));
        for tick in 1..=5 {
            let now = start + tick * SECOND / 2;
            if let Some(id) = id {
                mesh.handle_frame(now, id, Frame::Heartbeat);
            }
            mesh.handle_tick(now);
        }
        let unanswered = told(&mut mesh).into_iter();
        let unanswered = unanswered.filter(|text| text.starts_with("no answer"));
        assert_eq!(unanswered.count(), lines, "comes: {comes}");
    }
}

#[test]
fn a_connection_that_waits_for_an_earlier_one_does_not_come_up_once_it_is_closed() {
    let now = Instant::now();
    let mut mesh = Mesh::new(config("n1"), now);
    let earlier = n2_comes(&mut mesh, now, 1);
    let later = n2_comes(&mut mesh, now, 2);
    mesh.leave(Goodbye::Leaving);
    while mesh.poll_effect().is_some() {}
    mesh.handle_ended(now, earlier, Ended::ClosedHere);
    mesh.handle_ended(now, later, Ended::ClosedHere);
    let effects: Vec<Effect> = std::iter::from_fn(|| mesh.poll_effect()).collect();
    let told = effects
        .iter()
        .filter(|effect| !matches!(effect, Effect::Notice(_)));
    let told: Vec<&Effect> = told.collect();
    assert!(
        matches!(told[..], [Effect::Member(MemberEvent::Down(_))]),
        "{told:?}"
    );
    assert_eq!(mesh.connections(), 0);
}

#[test]
fn one_that_is_leaving_dials_nobody_and_lets_nobody_in() {
    let now = Instant::now();
    let mut config = config("n1");
    config.seeds.push("10.0.0.2:5000".into());
    let mut mesh = Mesh::new(config, now);
    mesh.leave(Goodbye::Leaving);
    mesh.handle_tick(now);
    assert_eq!(mesh.poll_effect(), None);
    mesh.handle_accepted(now, "10.0.0.2:5000".parse().unwrap(), Vec::new());
    let closes = |effect| {
        matches!(
            effect,
            Effect::Close {
                close: Close::Leaving,
                ..
            }
        )
    };
    assert!(mesh.poll_effect().is_some_and(closes));
    assert_eq!(mesh.poll_effect(), None);
}

#[test]
fn further_members_than_there_is_room_for_are_refused() {
    let now = Instant::now();
    let mut mesh = Mesh::new(config("a"), now);
    for n in 0..=MAX_PEERS {
        let name = format!("n{n}");
        let remote = "10.0.0.2:5000".parse().unwrap();
        let id = mesh.handle_accepted(now, remote, vec![name.clone()]);
        let mut hello = mesh.hello();
        hello.name = name;
        mesh.handle_frame(now, id, Frame::Hello(hello));
        mesh.handle_frame(now, id, Frame::Welcome);
    }
    let effects = std::iter::from_fn(|| mesh.poll_effect());
    let full = effects.filter(|effect| {
        matches!(
            effect,
            Effect::Close {
                close: Close::Full,
                ..
            }
        )
    });
    assert_eq!(full.count(), 1);
    assert_eq!(mesh.peers().count(), MAX_PEERS);
}

#[test]
fn further_connections_than_there_is_room_for_are_closed() {
    let now = Instant::now();
    let mut mesh = Mesh::new(config("a"), now);
    for _ in 0..MAX_LINKS + 5 {
        mesh.handle_accepted(now, "10.0.0.2:5000".parse().unwrap(), Vec::new());
    }
    let effects = std::iter::from_fn(|| mesh.poll_effect());
    let full = effects.filter(|effect| {
        matches!(
            effect,
            Effect::Close {
                close: Close::Full,
                ..
            }
        )
    });
    assert_eq!(full.count(), 5);
}

fn config(node: &str) -> MeshConfig {
    MeshConfig {
        name: name(node),
        incarnation: Incarnation(1),
        instance: 7,
        cluster: "sim".into(),
        advertise: None,
        own: Vec::new(),
        seeds: Vec::new(),
        offer: Offer::default(),
        rng_seed: 1,
    }
}

#[test]
fn one_that_says_goodbye_is_leaving_then_down_then_forgotten() {
    let mut world = chain(6, 3);
    world.run(SETTLED);
    world.nodes[2]
        .mesh
        .as_mut()
        .unwrap()
        .leave(Goodbye::Leaving);
    world.run(SECOND);
    let state = |world: &World| world.nodes[0].table.get(&name("n3")).map(|m| m.state);
    assert_eq!(state(&world), Some(MemberState::Leaving));
    world.kill(2);
    world.run(4 * SECOND);
    assert_eq!(state(&world), None);
    world.run(SETTLED);
    let told = world.nodes[0].notices.iter();
    let told = told.filter(|(_, text)| text.contains("no answer"));
    assert_eq!(told.count(), 0, "it is still dialled");
    world.restart(2);
    world.run(4 * SECOND);
    world.assert_settled();
}

#[test]
fn a_restarting_node_tells_how_long_it_means_to_be_away() {
    let mut world = chain(6, 2);
    world.run(SETTLED);
    let grace = Duration::from_secs(30);
    let mesh = world.nodes[1].mesh.as_mut().unwrap();
    mesh.leave(Goodbye::Restarting { grace });
    mesh.leave(Goodbye::Leaving);
    world.run(SECOND);
    let told = world.nodes[0].events.iter().any(|(_, event)| {
        matches!(event, MemberEvent::Restarting(member, told) if member.node == "n2" && *told == grace)
    });
    assert!(told);
    let left = |(_, event): &(Duration, MemberEvent)| matches!(event, MemberEvent::Leaving(_));
    assert!(!world.nodes[0].events.iter().any(left));
}

#[test]
fn a_member_gone_for_ten_minutes_is_forgotten_and_left_alone_unless_it_is_a_seed() {
    let mut world = chain(2, 3);
    world.run(SETTLED);
    world.kill(0);
    world.kill(2);
    world.run(RECENT + SETTLED);
    // n2 joined at n1, and was joined by n3.
    let table = &world.nodes[1].table;
    assert_eq!(table.get(&name("n1")).unwrap().state, MemberState::Down);
    assert_eq!(table.get(&name("n3")), None);
    let dials = |world: &World| (world.dials(1, 0), world.dials(1, 2));
    let before = dials(&world);
    world.run(RECENT);
    let after = dials(&world);
    assert!(after.0 > before.0 + 100, "a seed is dialled for ever");
    assert_eq!(after.1, before.1, "who is forgotten is not dialled");
    world.restart(0);
    world.run(2 * SETTLED);
    world.assert_settled();
}

#[test]
fn two_that_forgot_each_other_meet_again_by_way_of_a_third() {
    let mut world = World::new(3);
    for (node, join) in [("n1", &[][..]), ("n2", &[0]), ("n3", &[0])] {
        world.add(node, join);
    }
    world.run(SETTLED);
    world.cut(1, 2);
    world.run(RECENT + SETTLED);
    assert_eq!(world.nodes[1].table.get(&name("n3")), None);
    world.heal_all();
    world.run(3 * SETTLED);
    world.assert_settled();
}

/// What `world`'s first node says of a second one made by `change`, and the other way round.
fn notices_of_a_pair(change: impl FnOnce(&mut MeshConfig)) -> [Vec<String>; 2] {
    let mut world = World::new(1);
    world.add("n1", &[]);
    let other = world.add("n2", &[0]);
    let incarnation = world.wall_clock();
    world.start_as(other, incarnation, change);
    world.run(SETTLED);
    let warnings = |node: usize| {
        let notices = world.nodes[node].notices.iter();
        let warnings = notices.filter(|(level, _)| *level == Level::Warn);
        warnings.map(|(_, text)| text.clone()).collect()
    };
    [warnings(0), warnings(1)]
}

#[test]
fn a_node_of_another_cluster_is_told_once_on_each_side() {
    let [here, there] = notices_of_a_pair(|config| config.cluster = "green".into());
    for text in here.iter().chain(&there) {
        assert!(text.contains("give both the same cluster name"), "{text}");
        assert!(text.contains("green") && text.contains("sim"), "{text}");
    }
    assert!(!here.is_empty() || !there.is_empty());
    assert!(here.len() <= 1 && there.len() <= 1, "{here:?} {there:?}");
}

#[test]
fn of_strangers_one_line_of_each_kind_and_address_is_told_and_not_too_many() {
    let now = Instant::now();
    let mut mesh = Mesh::new(config("n1"), now);
    let told = |mesh: &mut Mesh, address: &str, kind: &'static str, text: &str| {
        let trouble = Trouble::new(kind, text);
        mesh.handle_intruder(now, address.parse().unwrap(), &trouble);
        std::iter::from_fn(|| mesh.poll_effect()).count()
    };
    assert_eq!(told(&mut mesh, "10.0.0.1:1", "time", "at ten"), 1);
    // Another port and another time are the same stranger with the same fault.
    assert_eq!(told(&mut mesh, "10.0.0.1:2", "time", "at eleven"), 0);
    assert_eq!(told(&mut mesh, "10.0.0.1:1", "issuer", "unknown"), 1);
    assert_eq!(told(&mut mesh, "10.0.0.2:1", "time", "at ten"), 1);
    // Invented addresses are as many as one likes; the lines about them are not.
    let lines: usize = (0..5_000)
        .map(|n| {
            let address = format!("10.1.{}.{}:1", n / 250, n % 250);
            told(&mut mesh, &address, "slow", "too long")
        })
        .sum();
    assert_eq!(lines + 3, Allowance::MOST as usize);
}

#[test]
fn a_name_that_is_not_certified_is_refused_with_both_names() {
    let [here, _] = notices_of_a_pair(|config| config.name = name("n7"));
    assert_eq!(here.len(), 1, "{here:?}");
    assert!(here[0].contains("n7") && here[0].contains("n2"), "{here:?}");
    assert!(here[0].contains("certificate"), "{here:?}");
}
