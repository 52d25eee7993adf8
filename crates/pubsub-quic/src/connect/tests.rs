//! Which address is dialled, and what is said when nobody is met there.

use std::net::UdpSocket;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use matryoshka_pubsub::PubSub;
use matryoshka_pubsub::cluster::MemberEvent;

use super::*;
use crate::{QuicAdapter, Secret};

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn of_several_addresses_each_has_its_turn() {
    let local = "0.0.0.0:5000".parse().unwrap();
    let one_way = ["10.0.0.2:5000", "10.0.0.1:5000", "[2001:db8::1]:5000"];
    let other_way = ["10.0.0.1:5000", "[2001:db8::1]:5000", "10.0.0.2:5000"];
    let turns: Vec<SocketAddr> = (0..4)
        .filter_map(|attempt| {
            let found = if attempt % 2 == 0 { one_way } else { other_way };
            choose(addresses(&found), local, &[], attempt)
        })
        .collect();
    let expected = ["10.0.0.1:5000", "10.0.0.2:5000"].repeat(2);
    assert_eq!(turns, addresses(&expected));
    let local = "[::]:5000".parse().unwrap();
    let sixth = choose(addresses(&one_way), local, &[], 2);
    assert_eq!(sixth, addresses(&["[2001:db8::1]:5000"]).pop());
}

#[test]
fn a_name_without_a_reachable_address_is_told() {
    let local = "127.0.0.1:5000".parse().unwrap();
    assert_eq!(choose(Vec::new(), local, &[], 3), None);
    assert_eq!(choose(addresses(&["[::1]:5000"]), local, &[], 0), None);
}

#[test]
fn where_nobody_is_known_yet_goes_before() {
    let local = "[::]:5000".parse().unwrap();
    let found = ["10.0.0.1:5000", "10.0.0.2:5000", "10.0.0.3:5000"];
    let known = addresses(&["[::ffff:10.0.0.1]:5000", "10.0.0.3:5000"]);
    for attempt in 0..3 {
        let chosen = choose(addresses(&found), local, &known, attempt);
        assert_eq!(chosen, addresses(&["10.0.0.2:5000"]).pop());
    }
    let chosen = choose(addresses(&found[..1]), local, &known, 7);
    assert_eq!(chosen, addresses(&found[..1]).pop());
}

#[test]
fn only_tls_alerts_are_read_as_such() {
    assert_eq!(alert(0x100 + 48), Some(48));
    assert_eq!(alert(0x200), None);
    assert_eq!(alert(0x0c), None);
}

#[tokio::test]
async fn a_name_is_looked_up_at_each_try_and_each_of_its_addresses_has_its_turn() {
    let secret = Secret::generate();
    let one = QuicAdapter::builder("one").secret(secret.clone());
    let one = one.start().await.unwrap();
    let _one = PubSub::with(one.clone());
    // Nothing is heard at these; a later answer of the name server has the right one too.
    let silent = [
        UdpSocket::bind("127.0.0.1:0").unwrap(),
        UdpSocket::bind("127.0.0.1:0").unwrap(),
    ];
    let silent = silent.map(|socket| (socket.local_addr().unwrap(), socket));
    let looked_up = Arc::new(AtomicUsize::new(0));
    let answers = {
        let (looked_up, right) = (looked_up.clone(), one.local_addr());
        let (first, second) = (silent[0].0, silent[1].0);
        move |name: String| -> LookingUp {
            assert_eq!(name, "seeds.internal:5000");
            let answer = match looked_up.fetch_add(1, Ordering::Relaxed) {
                0 => Err(io::Error::other("no such name yet")),
                1 => Ok(vec![first]),
                _ => Ok(vec![first, right, second]),
            };
            Box::pin(async move { answer })
        }
    };
    let two = QuicAdapter::builder("two")
        .secret(secret)
        .join("seeds.internal:5000")
        .look_up(Arc::new(answers));
    let two = PubSub::with(two.start().await.unwrap());
    let mut members = two.members();
    let met = async { while !matches!(members.next().await, MemberEvent::Up(_)) {} };
    tokio::time::timeout(Duration::from_secs(20), met)
        .await
        .unwrap();
    let tries = looked_up.load(Ordering::Relaxed);
    assert!((3..=6).contains(&tries), "{tries}");
}

#[tokio::test]
async fn nodes_that_stand_behind_a_name_later_are_met_though_one_is_linked() {
    let secret = Secret::generate();
    let alone = |name| QuicAdapter::builder(name).secret(secret.clone());
    let one = alone("one").start().await.unwrap();
    let three = alone("three").start().await.unwrap();
    let (_one, _three) = (PubSub::with(one.clone()), PubSub::with(three.clone()));
    // Nobody tells of the third one: it is alone, and behind the name only from now on.
    let answer = Arc::new(Mutex::new(vec![one.local_addr()]));
    let answers = {
        let answer = answer.clone();
        move |_: String| -> LookingUp {
            let answer = answer.lock().unwrap().clone();
            Box::pin(async move { Ok(answer) })
        }
    };
    let two = alone("two")
        .join("nodes.internal:5000")
        .look_up(Arc::new(answers))
        .look_again_every(Duration::from_millis(200));
    let two = PubSub::with(two.start().await.unwrap());
    let mut members = two.members();
    for (name, later) in [
        ("one", vec![three.local_addr(), one.local_addr()]),
        ("three", vec![]),
    ] {
        let met = async {
            loop {
                match members.next().await {
                    MemberEvent::Up(member) if member.node == name => return,
                    MemberEvent::Down(member) => panic!("lost {member:?}"),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), met)
            .await
            .unwrap();
        *answer.lock().unwrap() = later;
    }
}
