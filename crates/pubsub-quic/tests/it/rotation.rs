//! A cluster changes its secret, or its certificates, and no link notices.

use matryoshka_pubsub_quic::pubsub::cluster::MemberEvent;
use matryoshka_pubsub_quic::{Builder, Fingerprint, QuicAdapter, RotateError, Secret};

use crate::ca::Ca;
use crate::cluster::{DEADLINE, Node, meet, pki};
use crate::log::Log;

fn secrets(all: &[&Secret]) -> Secret {
    let lines: Vec<String> = all.iter().map(|secret| secret.to_hex()).collect();
    Secret::parse(&lines.join("\n")).unwrap()
}

/// Three nodes that know each other, made as `builder` says.
async fn three(builder: impl Fn(&str) -> Builder) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for name in ["n1", "n2", "n3"] {
        let joined = nodes.iter().fold(builder(name), |builder, node| {
            builder.join(node.adapter.local_addr())
        });
        nodes.push(Node::start(joined).await);
    }
    meet(&mut nodes).await;
    nodes
}

/// A new node comes and goes: each of `nodes` in turn is the one that it joins at, so each has to accept it, and it
/// has to accept each. Nobody else may go meanwhile.
async fn a_guest_meets_all(nodes: &mut [Node], guest: Builder, name: &str) {
    let guest = nodes.iter().fold(guest, |builder, node| {
        builder.join(node.adapter.local_addr())
    });
    let mut guest = Node::start(guest).await;
    for node in nodes.iter_mut() {
        guest
            .event(|event| matches!(event, MemberEvent::Up(_)))
            .await;
        match node.event(|_| true).await {
            MemberEvent::Up(member) => assert_eq!(member.node, name),
            other => panic!("unexpected {other:?}"),
        }
    }
    guest.adapter.shutdown().await;
    for node in nodes.iter_mut() {
        let gone = node.event(|event| matches!(event, MemberEvent::Forgotten(_)));
        match gone.await {
            MemberEvent::Forgotten(gone) => assert_eq!(gone, name),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_linked(nodes);
}

/// All have the links with which they began, and a message still gets from each to each.
fn assert_linked(nodes: &[Node]) {
    for node in nodes {
        let peers = node.adapter.peers();
        assert_eq!(peers.len(), nodes.len() - 1);
        for peer in peers {
            assert_eq!(peer.links, 1, "{peer:?}");
        }
        assert_eq!(
            node.pubsub.broadcast("x", "y").unwrap().peers,
            nodes.len() - 1
        );
    }
}

/// A node that nobody lets in, and that lets nobody in.
async fn a_guest_is_refused(nodes: &mut [Node], guest: Builder, log: &Log, words: &str) {
    let guest = nodes.iter().fold(guest, |builder, node| {
        builder.join(node.adapter.local_addr())
    });
    let guest = Node::start(guest).await;
    let mut look = tokio::time::interval(std::time::Duration::from_millis(20));
    let refused = async {
        while guest.adapter.stats().dials < 2 * nodes.len() as u64
            || log.with(words).len() < 2 * nodes.len()
        {
            look.tick().await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, refused).await;
    waited.unwrap_or_else(|_| panic!("{:#?}", log.lines()));
    assert!(guest.adapter.peers().is_empty());
    guest.adapter.shutdown().await;
    assert_linked(nodes);
}

fn fingerprints(nodes: &[Node]) -> Vec<Fingerprint> {
    let identities = nodes.iter().map(|node| node.adapter.identity());
    identities.map(|identity| identity.fingerprint).collect()
}

#[tokio::test]
async fn a_secret_is_replaced_in_three_steps_while_all_links_stay() {
    let log = Log::collect();
    let (old, new) = (Secret::generate(), Secret::generate());
    let mut nodes = three(|name| Node::builder(name, &old)).await;
    let guest = |name: &str, secret: &Secret| Node::builder(name, secret);

    // The new one is accepted everywhere; nobody issues with it yet. Between the nodes of one step all is well, too.
    let step = secrets(&[&old, &new]);
    for at in 0..nodes.len() {
        nodes[at].adapter.set_secret(&step).unwrap();
        let name = format!("between-{at}");
        a_guest_meets_all(&mut nodes, guest(&name, &old), &name).await;
    }
    assert_eq!(nodes[0].adapter.identity().authorities, 2);
    a_guest_meets_all(&mut nodes, guest("both-1", &step), "both-1").await;

    // The new one issues everywhere.
    let step = secrets(&[&new, &old]);
    for at in 0..nodes.len() {
        nodes[at].adapter.set_secret(&step).unwrap();
        let name = format!("amid-{at}");
        let both = secrets(&[&old, &new]);
        a_guest_meets_all(&mut nodes, guest(&name, &both), &name).await;
    }
    a_guest_meets_all(&mut nodes, guest("new-2", &new), "new-2").await;
    assert!(log.lines().is_empty(), "{:#?}", log.lines());

    // The old one is given up everywhere.
    for at in 0..nodes.len() {
        nodes[at].adapter.set_secret(&new).unwrap();
        let name = format!("late-{at}");
        a_guest_meets_all(&mut nodes, guest(&name, &new), &name).await;
    }
    assert_eq!(nodes[0].adapter.identity().authorities, 1);
    assert!(log.lines().is_empty(), "{:#?}", log.lines());
    let words = "different cluster secrets";
    a_guest_is_refused(&mut nodes, guest("too-late", &old), &log, words).await;
}

#[tokio::test]
async fn an_authority_is_replaced_in_three_steps_while_all_links_stay() {
    let log = Log::collect();
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let both = old.roots.clone() + &new.roots;
    let guest = |name: &str, ca: &Ca, bundle: &str| {
        let mut papers = ca.papers(name);
        papers.ca = bundle.to_owned();
        QuicAdapter::builder(name).tls(pki(&papers))
    };
    let mut nodes = three(|name| guest(name, &old, &old.roots)).await;
    let give = |node: &Node, ca: &Ca, bundle: &str| {
        let mut papers = ca.papers(node.pubsub.node().as_str());
        papers.ca = bundle.to_owned();
        node.adapter.set_tls(pki(&papers)).unwrap();
    };
    let mut shown = fingerprints(&nodes);
    for (step, (ca, bundle)) in [(&old, &both), (&new, &both), (&new, &new.roots)]
        .into_iter()
        .enumerate()
    {
        for node in &nodes {
            give(node, ca, bundle);
        }
        let now = fingerprints(&nodes);
        assert!(now.iter().zip(&shown).all(|(now, before)| now != before));
        shown = now;
        let name = format!("guest-{step}");
        a_guest_meets_all(&mut nodes, guest(&name, ca, bundle), &name).await;
    }
    assert!(log.lines().is_empty(), "{:#?}", log.lines());
    let late = guest("too-late", &old, &both);
    // It accepts them; they do not accept it.
    a_guest_is_refused(&mut nodes, late, &log, "CA bundle").await;
}

#[tokio::test]
async fn what_cannot_be_used_changes_nothing() {
    let ca = Ca::new("ours");
    let with_pki = QuicAdapter::builder("n1").tls(pki(&ca.papers("n1")));
    let with_pki = with_pki.start().await.unwrap();
    let before = with_pki.identity();
    let error = with_pki.set_tls(pki(&ca.papers("n2"))).unwrap_err();
    assert!(matches!(error, RotateError::Pki(_)), "{error}");
    assert!(error.to_string().contains("is for \"n2\""), "{error}");
    let error = with_pki.set_secret(&Secret::generate()).unwrap_err();
    assert!(matches!(
        error,
        RotateError::OtherKind { has_secret: false }
    ));
    assert!(error.to_string().contains("start it again"), "{error}");
    assert_eq!(with_pki.identity(), before);

    let with_secret = Node::builder("n1", &Secret::generate()).start().await;
    let with_secret = with_secret.unwrap();
    let before = with_secret.identity();
    let error = with_secret.set_tls(pki(&ca.papers("n1"))).unwrap_err();
    assert!(matches!(error, RotateError::OtherKind { has_secret: true }));
    assert_eq!(with_secret.identity(), before);
}
