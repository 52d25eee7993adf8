//! When a certificate is replaced or its end is told, by a pretended clock.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::ca::{Ca, Papers};

const DAY: u64 = 24 * 60 * 60;

/// A clock some seconds ahead of the machine's.
#[derive(Clone, Default)]
struct Ahead(Arc<AtomicU64>);

impl Ahead {
    fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    fn clock(&self) -> Clock {
        let (start, ahead) = (SystemTime::now(), self.0.clone());
        Clock::pretended(move || start + Duration::from_secs(ahead.load(Ordering::Relaxed)))
    }
}

fn pki(papers: &Papers) -> Pki {
    let Papers {
        ca,
        certificate,
        key,
    } = papers;
    Pki::from_pem(ca.as_bytes(), certificate.as_bytes(), key.as_bytes()).unwrap()
}

#[test]
fn a_leaf_that_the_node_issued_is_renewed_and_that_is_told() {
    let ahead = Ahead::default();
    let clock = ahead.clock();
    let credentials = Credentials::derive(&Secret::generate(), "n1", clock.now()).unwrap();
    let identity = Identity::new("n1".to_owned(), clock, credentials);
    let first = identity.credentials().certificate().fingerprint;
    ahead.set(7 * DAY / 2 - 60);
    assert_eq!(identity.tend(), None);
    ahead.set(7 * DAY / 2);
    let told = identity.tend().expect("it is renewed");
    assert_eq!(told.level, Level::Info);
    let second = identity.credentials().certificate().fingerprint;
    assert_ne!(first, second);
    assert!(told.text.contains(&second.to_string()), "{told:?}");
    assert_eq!(identity.tend(), None);
}

#[test]
fn the_end_of_a_certificate_of_ones_own_is_told_a_week_and_a_day_before() {
    let ca = Ca::new("ours");
    let month = ca.papers("n1");
    let ahead = Ahead::default();
    let clock = ahead.clock();
    let credentials = Credentials::own(pki(&month), "n1", clock.now()).unwrap();
    let identity = Identity::new("n1".to_owned(), clock, credentials);
    assert_eq!(identity.tend(), None);
    ahead.set(23 * DAY);
    let week = identity.tend().expect("the first warning");
    assert_eq!(week.level, Level::Warn);
    assert!(week.text.contains("ends in 6 days"), "{week:?}");
    assert!(week.text.contains("read again"), "{week:?}");
    assert_eq!(identity.tend(), None);
    ahead.set(29 * DAY);
    let day = identity.tend().expect("the second warning");
    assert!(day.text.contains("ends in 23 hours"), "{day:?}");
    ahead.set(31 * DAY);
    let over = identity.tend().expect("the end");
    assert_eq!(over.level, Level::Error);
    assert!(over.text.contains("ended on"), "{over:?}");
    assert_eq!(identity.tend(), None);

    // What has ended is not taken again, and the one that is there stays.
    let before = identity.credentials().certificate().fingerprint;
    let again = identity.set_pki(pki(&month)).unwrap_err();
    assert!(again.to_string().contains("renew it"), "{again}");
    assert_eq!(identity.credentials().certificate().fingerprint, before);
    // Another one starts from the beginning.
    let end = identity.clock().now() + Duration::from_secs(30 * DAY);
    let next = ca.papers_with("n1", |params| params.not_after = end.into());
    identity.set_pki(pki(&next)).unwrap();
    assert_ne!(identity.credentials().certificate().fingerprint, before);
    assert_eq!(identity.tend(), None);
    ahead.set((31 + 29) * DAY);
    assert!(
        identity
            .tend()
            .expect("a new warning")
            .text
            .contains("hours")
    );
}

#[test]
fn what_was_set_meanwhile_is_not_overwritten_by_a_renewal() {
    let ahead = Ahead::default();
    let clock = ahead.clock();
    let (old, new) = (Secret::generate(), Secret::generate());
    let credentials = Credentials::derive(&old, "n1", clock.now()).unwrap();
    let identity = Identity::new("n1".to_owned(), clock.clone(), credentials);
    ahead.set(4 * DAY);
    let looked_at = identity.credentials();
    identity.set_secret(&new).unwrap();
    let set = identity.credentials().certificate().fingerprint;
    assert_eq!(identity.renew(&looked_at, clock.now()), None);
    assert_eq!(identity.credentials().certificate().fingerprint, set);
    // The same secret again changes nothing.
    identity.set_secret(&new).unwrap();
    assert_eq!(identity.credentials().certificate().fingerprint, set);
}
