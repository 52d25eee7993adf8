//! Following the other nodes.

use std::sync::{Arc, Mutex};

use futures::FutureExt;
use matryoshka_pubsub::cluster::{Member, MemberEvent, MemberState};
use matryoshka_pubsub::memory::MemoryMesh;
use matryoshka_pubsub::{Goodbye, Members, PubSub};

/// An event in two words.
fn word(event: &MemberEvent) -> String {
    let (what, member) = match event {
        MemberEvent::Up(member) => ("up", member),
        MemberEvent::Suspect(member) => ("suspect", member),
        MemberEvent::Down(member) => ("down", member),
        MemberEvent::Leaving(member) => ("leaving", member),
        MemberEvent::Restarting(member, _) => ("restarting", member),
        other => panic!("unexpected {other:?}"),
    };
    format!("{what} {}", member.node)
}

/// What is told now.
fn told(members: &mut Members) -> Vec<String> {
    std::iter::from_fn(|| members.next().now_or_never())
        .map(|event| word(&event))
        .collect()
}

fn states(members: &Members) -> Vec<(String, MemberState)> {
    let now = members.now().into_iter();
    now.map(|Member { node, state, .. }| (node.to_string(), state))
        .collect()
}

fn mesh_of(names: &[&str]) -> (MemoryMesh, Vec<PubSub>) {
    let mesh = MemoryMesh::new();
    let nodes = names
        .iter()
        .map(|name| PubSub::with(mesh.node(name)))
        .collect();
    (mesh, nodes)
}

#[test]
fn a_node_alone_has_no_members() {
    let mut members = PubSub::local().members();
    assert_eq!((members.now(), told(&mut members)), (vec![], vec![]));
}

#[test]
fn they_are_told_as_they_come_and_go() {
    let (mesh, mut nodes) = mesh_of(&["a", "b"]);
    let mut members = nodes[0].members();
    assert_eq!(told(&mut members), ["up b"]);
    nodes.push(PubSub::with(mesh.node("c")));
    mesh.suspect("a", "c");
    mesh.recover("a", "c");
    nodes[2].leave();
    drop(nodes.pop());
    assert_eq!(
        told(&mut members),
        ["up c", "suspect c", "up c", "leaving c", "down c"]
    );
    let expected = [
        ("b".into(), MemberState::Up),
        ("c".into(), MemberState::Down),
    ];
    assert_eq!(states(&members), expected);
}

#[test]
fn a_watch_begins_with_who_is_up_and_ends_with_its_guard() {
    let (mesh, nodes) = mesh_of(&["a", "b", "c"]);
    mesh.kill("b");
    nodes[2].leave_with(Goodbye::Restarting {
        grace: std::time::Duration::from_secs(1),
    });
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let heard = Arc::clone(&heard);
        move |event: &MemberEvent| heard.lock().unwrap().push(word(event))
    };
    let watch = nodes[0].watch_members(Arc::new(sink));
    assert_eq!(*heard.lock().unwrap(), ["up c", "restarting c"]);
    mesh.cut("a", "c");
    drop(watch);
    mesh.heal("a", "c");
    assert_eq!(*heard.lock().unwrap(), ["up c", "restarting c", "down c"]);
    assert_eq!(Arc::strong_count(&heard), 1);
}

#[test]
fn a_panicking_watcher_costs_itself() {
    let (mesh, nodes) = mesh_of(&["a", "b"]);
    let _watch = nodes[0].watch_members(Arc::new(|event: &MemberEvent| {
        assert_ne!(word(event), "down b", "a watcher that panics");
    }));
    let mut members = nodes[0].members();
    mesh.cut("a", "b");
    mesh.heal("a", "b");
    assert_eq!(told(&mut members), ["up b", "down b", "up b"]);
}

#[test]
fn who_does_not_read_for_long_is_told_what_leads_to_now() {
    let (mesh, mut nodes) = mesh_of(&["a", "b", "c", "d"]);
    let mut members = nodes[0].members();
    assert_eq!(told(&mut members), ["up b", "up c", "up d"]);
    drop(nodes.pop());
    for _ in 0..1_000 {
        mesh.cut("a", "b");
        mesh.heal("a", "b");
    }
    mesh.suspect("a", "c");
    let mut brief = told(&mut members);
    brief.sort();
    assert_eq!(brief, ["down b", "down d", "suspect c", "up b"]);
    mesh.cut("a", "b");
    assert_eq!(told(&mut members), ["down b"]);
}

#[test]
fn a_watcher_may_ask_and_publish() {
    let (mesh, nodes) = mesh_of(&["a"]);
    let (a, members) = (nodes[0].clone(), nodes[0].members());
    let _watch = nodes[0].watch_members(Arc::new(move |event: &MemberEvent| {
        assert!(!members.now().is_empty());
        if let MemberEvent::Up(member) = event {
            a.direct_broadcast(&member.node, "greeting", "welcome")
                .unwrap();
        }
    }));
    let b = PubSub::with(mesh.node("b"));
    let mut greetings = b.subscribe("greeting").unwrap();
    mesh.cut("a", "b");
    mesh.heal("a", "b");
    assert_eq!(crate::held(&mut greetings), ["welcome"]);
    assert_eq!(nodes[0].stats().panics, 0);
}
