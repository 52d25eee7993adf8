//! The in-memory mesh, and what faults do to it.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use matryoshka_pubsub::cluster::MemberEvent;
use matryoshka_pubsub::memory::MemoryMesh;
use matryoshka_pubsub::{Delivery, DirectError, LinkId, Message, NodeName, PubSub, Sink};

use crate::held;

fn pair() -> (MemoryMesh, PubSub, PubSub) {
    let mesh = MemoryMesh::new();
    let (a, b) = (PubSub::with(mesh.node("a")), PubSub::with(mesh.node("b")));
    (mesh, a, b)
}

fn name(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

#[test]
fn a_cut_link_carries_nothing_until_it_is_healed() {
    let (mesh, a, b) = pair();
    let c = PubSub::with(mesh.node("c"));
    let [mut at_b, mut at_c] = [&b, &c].map(|node| node.subscribe("t").unwrap());
    mesh.cut("a", "b");
    assert_eq!(a.broadcast("t", "1").unwrap().peers, 1);
    let cut = a.direct_broadcast(&name("b"), "t", "2").unwrap_err();
    assert!(matches!(cut, DirectError::NotUp(to) if to == "b"));
    assert_eq!(c.broadcast("t", "3").unwrap().peers, 2);
    mesh.heal("b", "a");
    assert_eq!(a.broadcast("t", "4").unwrap().peers, 2);
    assert_eq!(held(&mut at_b), ["3", "4"]);
    assert_eq!(held(&mut at_c), ["1", "3", "4"]);
}

#[test]
fn a_new_link_has_a_higher_number() {
    let (mesh, a, b) = pair();
    let mut at_b = b.subscribe("t").unwrap();
    let mut link = |text: &'static str| -> LinkId {
        a.broadcast("t", text).unwrap();
        at_b.try_next().unwrap().unwrap().origin().unwrap().link
    };
    let first = link("1");
    assert_eq!(link("2"), first);
    mesh.cut("a", "b");
    mesh.heal("a", "b");
    assert!(link("3") > first);
    assert_eq!(b.members().now()[0].link, link("4"));
}

#[test]
fn healing_what_is_whole_changes_nothing() {
    let (mesh, a, _b) = pair();
    let before = a.members().now();
    mesh.heal("a", "b");
    mesh.heal("a", "nobody");
    assert_eq!(a.members().now(), before);
}

#[test]
fn a_killed_node_is_mute_and_deaf_and_a_restarted_one_is_newer() {
    let (mesh, a, b) = pair();
    let (mut at_a, mut at_b) = (a.subscribe("t").unwrap(), b.subscribe("t").unwrap());
    mesh.kill("b");
    assert_eq!(a.broadcast("t", "1").unwrap().peers, 0);
    assert_eq!(b.broadcast("t", "2").unwrap().peers, 0);
    assert_eq!(held(&mut at_b), ["2"], "what is left of it talks to itself");
    let again = PubSub::with(mesh.node("b"));
    assert!(again.incarnation() > b.incarnation());
    let mut at_again = again.subscribe("t").unwrap();
    drop((b, at_b));
    a.broadcast("t", "3").unwrap();
    again.broadcast("t", "4").unwrap();
    assert_eq!(held(&mut at_again), ["3", "4"]);
    assert_eq!(held(&mut at_a), ["1", "3", "4"]);
    assert_eq!(a.members().now()[0].incarnation, again.incarnation());
}

#[test]
fn q7_an_old_life_delivers_nothing_after_a_newer_one() {
    let (mesh, a, old) = pair();
    let mut at_a = a.subscribe("t").unwrap();
    mesh.kill("b");
    let new = PubSub::with(mesh.node("b"));
    old.broadcast("t", "old").unwrap();
    new.broadcast("t", "new").unwrap();
    assert_eq!(held(&mut at_a), ["new"]);
    let unlinked = old.direct_broadcast(&name("a"), "t", "old").unwrap_err();
    assert!(matches!(unlinked, DirectError::NotUp(_)));
}

#[test]
fn a_dropped_pubsub_is_a_node_that_went() {
    let (mesh, a, b) = pair();
    let subscription = b.subscribe("t").unwrap();
    drop(b);
    assert_eq!(
        a.broadcast("t", "1").unwrap().peers,
        1,
        "a subscription keeps it up"
    );
    drop(subscription);
    assert_eq!(a.broadcast("t", "2").unwrap().peers, 0);
    let b = PubSub::with(mesh.node("b"));
    assert_eq!(a.broadcast("t", "3").unwrap().peers, 1);
    drop(b);
}

#[test]
#[should_panic(expected = "runs already")]
fn a_running_name_is_taken() {
    let (mesh, _a, _b) = pair();
    drop(mesh.node("b"));
}

#[test]
#[should_panic(expected = "take 1 to 64 characters of a-z")]
fn what_is_no_name_is_told_what_would_be() {
    drop(MemoryMesh::new().node("Node 1"));
}

#[test]
fn a_name_that_was_refused_leaves_the_mesh_as_it_was() {
    let (mesh, a, _b) = pair();
    let refused = thread::spawn({
        let mesh = mesh.clone();
        move || drop(mesh.node("b"))
    });
    assert!(refused.join().is_err());
    assert_eq!(a.broadcast("t", "1").unwrap().peers, 1);
    let _c = PubSub::with(mesh.node("c"));
    assert_eq!(a.broadcast("t", "2").unwrap().peers, 2);
}

/// Bytes that publish as they are dropped, and say so when they have.
struct LastWords(PubSub, mpsc::Sender<()>);

impl AsRef<[u8]> for LastWords {
    fn as_ref(&self) -> &[u8] {
        b"hello"
    }
}

impl Drop for LastWords {
    fn drop(&mut self) {
        self.0.broadcast("last words", "farewell").unwrap();
        self.1.send(()).unwrap();
    }
}

#[test]
fn payloads_are_dropped_where_they_may_publish() {
    let losing: [fn(&MemoryMesh); 4] = [
        |mesh| mesh.cut("a", "b"),
        |mesh| mesh.kill("b"),
        |mesh| mesh.lose("a", "b", 0),
        |mesh| {
            mesh.duplicate("a", "b", 0);
            (0..2).for_each(|_| mesh.carry("a", "b", 0));
        },
    ];
    for lose in losing {
        let (mesh, a, _b) = pair();
        let (dropped, was_dropped) = mpsc::channel();
        mesh.hold("a", "b");
        let payload = Bytes::from_owner(LastWords(a.clone(), dropped));
        a.broadcast("t", payload).unwrap();
        assert!(was_dropped.try_recv().is_err(), "it is under way");
        let thread = thread::spawn(move || lose(&mesh));
        was_dropped.recv_timeout(Duration::from_secs(10)).unwrap();
        thread.join().unwrap();
    }
}

#[test]
fn meshes_are_apart() {
    let (first, second) = (MemoryMesh::new(), MemoryMesh::new());
    let (a, b) = (
        PubSub::with(first.node("a")),
        PubSub::with(second.node("b")),
    );
    let mut at_b = b.subscribe("t").unwrap();
    assert_eq!(a.broadcast("t", "1").unwrap().peers, 0);
    assert_eq!(held(&mut at_b), [""; 0]);
}

#[test]
fn whoever_answers_an_up_is_heard_after_the_other_up() {
    let (mesh, a, b) = pair();
    let log = Arc::new(Mutex::new(Vec::new()));
    let greet = a.clone();
    let _greeter = a.watch_members(Arc::new(move |event: &MemberEvent| {
        if let MemberEvent::Up(member) = event {
            greet
                .direct_broadcast(&member.node, "greeting", "welcome")
                .unwrap();
        }
    }));
    let up = log.clone();
    let _watch = b.watch_members(Arc::new(move |event: &MemberEvent| {
        let word = format!("{event:?}");
        up.lock()
            .unwrap()
            .push(word.split('(').next().unwrap().to_owned());
    }));
    let _greetings = b
        .subscribe_sink("greeting", Arc::new(Log(log.clone())))
        .unwrap();
    for _ in 0..3 {
        mesh.cut("b", "a");
        mesh.heal("b", "a");
    }
    let expected = ["Up"]
        .into_iter()
        .chain(["Down", "Up", "welcome"].repeat(3));
    assert!(log.lock().unwrap().iter().eq(expected));
}

struct Log(Arc<Mutex<Vec<String>>>);

impl Sink for Log {
    fn deliver(&self, message: &Message) -> Delivery {
        let text = String::from_utf8(message.payload().to_vec()).unwrap();
        self.0.lock().unwrap().push(text);
        Delivery::Delivered
    }
}

#[test]
fn a_node_may_go_in_the_midst_of_being_told() {
    let (mesh, a, b) = pair();
    let victim = Arc::new(Mutex::new(Some(PubSub::with(mesh.node("victim")))));
    let shot = Arc::clone(&victim);
    let _watch = a.watch_members(Arc::new(move |event: &MemberEvent| {
        if matches!(event, MemberEvent::Down(member) if member.node == "b") {
            drop(shot.lock().unwrap().take());
        }
    }));
    drop(b);
    let states: Vec<_> = a
        .members()
        .now()
        .into_iter()
        .map(|member| member.state.is_linked())
        .collect();
    assert_eq!(states, [false, false]);
    assert_eq!(a.broadcast("t", "1").unwrap().peers, 0);
}
