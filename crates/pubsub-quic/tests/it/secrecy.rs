//! No secret and no key ever shows, whatever goes wrong and however much is logged.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use matryoshka_pubsub_quic::{Pki, QuicAdapter, Secret, SecretError};
use tracing::Level;

use crate::ca::{Ca, Papers};
use crate::cluster::{DEADLINE, Node, meet, pki};
use crate::log::Log;

/// A secret of `byte`, of which no part looks like anything else in a log.
fn secret(byte: u8) -> (Secret, Vec<u8>) {
    let bytes: Vec<u8> = (0..32).map(|n: u8| byte ^ n.wrapping_mul(37)).collect();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (Secret::parse(&hex).unwrap(), bytes)
}

/// The ways in which a few bytes of a secret could show.
fn traces(bytes: &[u8]) -> Vec<Vec<u8>> {
    let start = &bytes[..9];
    let hex: String = start.iter().map(|byte| format!("{byte:02x}")).collect();
    let listed = format!("{start:?}");
    vec![
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        STANDARD_NO_PAD.encode(start).into_bytes(),
        URL_SAFE_NO_PAD.encode(start).into_bytes(),
        listed.trim_matches(['[', ']']).as_bytes().to_vec(),
        // As text that is no UTF-8 ends up in a log.
        String::from_utf8_lossy(start).into_owned().into_bytes(),
    ]
}

/// The lines of a key's PEM.
fn traces_of_key(papers: &Papers) -> Vec<Vec<u8>> {
    let lines = papers.key.lines().filter(|line| !line.starts_with('-'));
    lines.map(|line| line.as_bytes().to_vec()).collect()
}

/// Waits until both have tried in vain some times.
async fn tried(one: &Node, two: &Node) {
    let tries = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while one.adapter.stats().dials < 2 || two.adapter.stats().dials < 2 {
            look.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, tries).await.unwrap();
    assert!(one.known().is_empty() && two.known().is_empty());
}

#[tokio::test]
async fn no_failure_shows_a_secret_or_a_key() {
    let log = Log::collect_from(Level::TRACE);
    let mut shown = String::new();
    let ((ours, our_bytes), (theirs, their_bytes)) = (secret(0x5c), secret(0xa3));

    // Nodes that do not let each other in, each of which dials the other.
    let place = Node::start(Node::builder("two", &theirs)).await;
    let address = place.adapter.local_addr();
    place.adapter.shutdown().await;
    let one = Node::start(Node::builder("one", &ours).join(address)).await;
    let two = Node::builder("two", &theirs).listen(address);
    let two = Node::start(two.join(one.adapter.local_addr())).await;
    tried(&one, &two).await;
    // A node that comes with its certificates instead.
    let ca = Ca::new("ours");
    let papers = ca.papers("three");
    let three = QuicAdapter::builder("three").tls(pki(&papers));
    shown += &format!("{three:?} {:?}", Node::builder("x", &ours));
    let three = Node::start(three.join(address).join(one.adapter.local_addr())).await;
    tried(&three, &two).await;

    // What changes while it runs, and what does not.
    let both = Secret::parse(&format!("{},{}", theirs.to_hex(), ours.to_hex())).unwrap();
    one.adapter.set_secret(&both).unwrap();
    let mut pair = [one, two];
    meet(&mut pair).await;
    let [one, two] = &pair;
    shown += &format!("{:?}", one.adapter.set_tls(pki(&papers)).unwrap_err());
    shown += &format!("{:?}", three.adapter.set_secret(&ours).unwrap_err());
    let others = ca.papers("other");
    let error = three.adapter.set_tls(pki(&others)).unwrap_err();
    shown += &format!(
        "{error} {error:?} {both:?} {:?} {two:?}",
        one.adapter,
        two = two.adapter
    );
    shown += &format!("{:?} {:?}", one.adapter.identity(), one.adapter.peers());

    // Texts that are no secrets or keys, but near enough to give one away.
    let half = &ours.to_hex()[..31];
    for text in [
        half.to_owned(),
        format!("{half}!"),
        format!("{}x", ours.to_hex()),
    ] {
        let error: SecretError = Secret::parse(&text).unwrap_err();
        shown += &format!("{error} {error:?}");
    }
    let broken = papers.key.replace("-----END", "-----ENDE");
    for key in [
        broken.as_str(),
        &papers.key[..100],
        &papers.key.repeat(2),
        &others.key,
    ] {
        let (ca, certificate) = (papers.ca.as_bytes(), papers.certificate.as_bytes());
        let error = Pki::from_pem(ca, certificate, key.as_bytes()).unwrap_err();
        shown += &format!("{error} {error:?}");
    }

    shown += &log.lines().join("\n");
    assert!(
        shown.len() > 10_000,
        "it was not much to look at: {}",
        shown.len()
    );
    for place in ["refused a connection", "no connection with", "SHA-256"] {
        assert!(shown.contains(place), "no {place:?}");
    }
    let keys = traces_of_key(&papers)
        .into_iter()
        .chain(traces_of_key(&others));
    let all = traces(&our_bytes)
        .into_iter()
        .chain(traces(&their_bytes))
        .chain(keys);
    for trace in all {
        let found = shown
            .as_bytes()
            .windows(trace.len())
            .any(|part| part == trace);
        assert!(!found, "{:?} shows", String::from_utf8_lossy(&trace));
    }
}
