//! Nodes with certificates of the user's own authority.

use std::time::Duration;

use matryoshka_pubsub_quic::{PkiPart, QuicAdapter, Secret, StartError};

use crate::ca::{Ca, Papers, dns};
use crate::cluster::{DEADLINE, Node, meet, pki};
use crate::log::Log;

#[tokio::test]
async fn nodes_meet_whether_their_names_are_uris_or_dns_names() {
    let ca = Ca::new("ours");
    let by_dns = |name: &str| {
        let names = vec![dns("somewhere.internal"), dns(name)];
        ca.papers_with(name, |params| params.subject_alt_names = names)
    };
    let beneath = ca.beneath("middle", &[]);
    let mut nodes: Vec<Node> = Vec::new();
    for (name, papers) in [
        ("n1", ca.papers("n1")),
        ("n2", by_dns("n2")),
        ("n3", beneath.papers("n3")),
    ] {
        let builder = QuicAdapter::builder(name).tls(pki(&papers));
        let builder = nodes.iter().fold(builder, |builder, node| {
            builder.join(node.adapter.local_addr())
        });
        nodes.push(Node::start(builder).await);
    }
    meet(&mut nodes).await;
    let mut news = nodes[2].pubsub.subscribe("news").unwrap();
    nodes[0].pubsub.broadcast("news", "hello").unwrap();
    let message = tokio::time::timeout(DEADLINE, news.next()).await.unwrap();
    assert_eq!(message.unwrap().unwrap().payload(), "hello");
}

#[tokio::test]
async fn a_node_that_cannot_prove_its_name_does_not_start() {
    let ca = Ca::new("ours");
    let start = async |papers: &Papers| {
        let builder = QuicAdapter::builder("n1").tls(pki(papers));
        match builder.start().await {
            Err(StartError::Pki(error)) => error,
            other => panic!("unexpected {other:?}"),
        }
    };
    let error = start(&ca.papers("n2")).await;
    assert_eq!(error.part, PkiPart::Certificate);
    assert!(error.to_string().contains("matryoshka:node/n1"), "{error}");

    let both = QuicAdapter::builder("n1")
        .tls(pki(&ca.papers("n1")))
        .secret(Secret::generate());
    let error = both.start().await.unwrap_err();
    assert!(matches!(error, StartError::TwoIdentities), "{error}");
}

/// Starts `other` so that it joins at a node with a certificate of `ca`; gives what the two say, and their
/// fingerprints, once the other has tried several times.
async fn refusal(ca: &Ca, other: QuicAdapter) -> ([String; 2], [String; 2]) {
    let log = Log::collect();
    let one = QuicAdapter::builder("one")
        .tls(pki(&ca.papers("one")))
        .join(other.local_addr());
    let (one, two) = (Node::start(one).await, Node::run(other));
    let told = |name: &str| log.with(&format!("node={name}"));
    let both_told = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while told("one").is_empty() || told("two").is_empty() || one.adapter.stats().dials < 3 {
            look.tick().await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, both_told).await;
    waited.unwrap_or_else(|_| panic!("{:#?}", log.lines()));
    let lines = ["one", "two"].map(|name| {
        let lines = told(name);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        lines[0].clone()
    });
    let shown = [&one, &two].map(|node| node.adapter.identity().fingerprint.to_string());
    assert!(one.known().is_empty() && two.known().is_empty());
    (lines, shown)
}

#[tokio::test]
async fn another_authoritys_node_is_told_so_on_both_sides_with_fingerprints() {
    let (ours, theirs) = (Ca::new("ours"), Ca::new("theirs"));
    let other = QuicAdapter::builder("two").tls(pki(&theirs.papers("two")));
    let ([one, two], [ours, theirs]) = refusal(&ours, other.start().await.unwrap()).await;
    assert!(
        one.contains("no authority in this node's CA bundle"),
        "{one}"
    );
    assert!(one.contains(&theirs), "{one}");
    assert!(two.contains("does not accept the authority"), "{two}");
    assert!(two.contains(&theirs), "{two}");
    // The one that was dialled has not seen the other's certificate.
    assert!(!two.contains(&ours), "{two}");
}

#[tokio::test]
async fn a_secret_and_certificates_do_not_meet() {
    let other = Node::builder("two", &Secret::generate()).start().await;
    let ([one, two], [_, derived]) = refusal(&Ca::new("ours"), other.unwrap()).await;
    assert!(one.contains("CA bundle") && one.contains(&derived), "{one}");
    assert!(
        two.contains("cluster secrets") && two.contains(&derived),
        "{two}"
    );
}
