//! Whose certificate is accepted, and for how long.
//!
//! Each rule below was broken by hand, one at a time, and these tests noticed:
//!
//! | What was broken | The test that noticed |
//! |---|---|
//! | a certificate out of its time is accepted | `a_leaf_counts_from_a_day_before_to_a_week_after_its_issue` |
//! | a certificate for one side only is accepted | `a_leaf_for_one_side_only_is_refused` |
//! | a certificate of another authority is accepted | `nodes_with_one_secret_accept_each_other_and_nobody_else` |
//! | a stranger is told the time or purpose of its certificate | `of_a_strangers_certificate_neither_time_nor_purpose_is_told` |

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, PKCS_ED25519};
use rustls::pki_types::CertificateDer;

use super::authority::{Authority, leaf_params, seed};
use super::certificate::{Certificate, Naming};
use super::trust::Distrust;
use super::validity::{VALID_AFTER, VALID_BEFORE};
use super::*;
use crate::clock::Clock;
use crate::secret::Secret;

const MINUTE: Duration = Duration::from_secs(60);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn secret(byte: u8) -> Secret {
    Secret::parse(&format!("{byte:02x}").repeat(32)).unwrap()
}

fn credentials(secret: &Secret, name: &str) -> Credentials {
    Credentials::derive(secret, name, now()).unwrap()
}

/// What `judge` says of the leaf of `node` at `time`.
fn judged(judge: &Credentials, node: &Credentials, time: SystemTime) -> Result<(), Distrust> {
    judge.trust().judge(&node.key().cert[0], &[], time)
}

/// A leaf of the authority of `secret(1)`, changed in some way.
fn odd_leaf(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let authority = Authority::of(&[1; 32]).unwrap();
    let mut params = leaf_params("two", now()).unwrap();
    change(&mut params);
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let leaf = params.signed_by(&key, &authority.issuer).unwrap();
    leaf.der().clone()
}

#[test]
fn nodes_with_one_secret_accept_each_other_and_nobody_else() {
    let (one, two) = (
        credentials(&secret(1), "one"),
        credentials(&secret(1), "two"),
    );
    assert_eq!(judged(&one, &two, now()), Ok(()));
    assert_eq!(judged(&two, &one, now()), Ok(()));
    let stranger = credentials(&secret(2), "two");
    assert_eq!(judged(&one, &stranger, now()), Err(Distrust::NotOurs));
}

#[test]
fn the_leaf_carries_the_nodes_name() {
    let one = credentials(&secret(1), "n_1.a-b");
    assert_eq!(one.certificate().names(Naming::Uri), ["n_1.a-b"]);
    assert_eq!(
        Certificate::read(&one.key().cert[0]).as_ref(),
        Some(one.certificate())
    );
}

#[test]
fn a_leaf_counts_from_a_day_before_to_a_week_after_its_issue() {
    let (one, two) = (
        credentials(&secret(1), "one"),
        credentials(&secret(1), "two"),
    );
    assert_eq!(judged(&one, &two, now() - VALID_BEFORE + MINUTE), Ok(()));
    assert_eq!(judged(&one, &two, now() + VALID_AFTER - MINUTE), Ok(()));
    let early = now() - VALID_BEFORE - MINUTE;
    assert_eq!(judged(&one, &two, early), Err(Distrust::Time));
    let late = now() + VALID_AFTER + MINUTE;
    assert_eq!(judged(&one, &two, late), Err(Distrust::Time));
    let two = two.renewed("two", late).unwrap().expect("it is time");
    assert_eq!(judged(&one, &two, late), Ok(()));
}

#[test]
fn a_machine_whose_clock_was_never_set_has_a_readable_leaf() {
    let start = SystemTime::UNIX_EPOCH + MINUTE;
    let one = Credentials::derive(&secret(1), "one", start).unwrap();
    assert_eq!(judged(&one, &one, start), Ok(()));
    assert_eq!(one.certificate().valid_from, SystemTime::UNIX_EPOCH);
}

#[test]
fn with_several_secrets_the_first_issues_and_all_are_accepted() {
    let both = Secret::parse(&format!("{}\n{}", secret(1).to_hex(), secret(2).to_hex())).unwrap();
    let moving = credentials(&both, "moving");
    let (old, new) = (
        credentials(&secret(2), "old"),
        credentials(&secret(1), "new"),
    );
    assert_eq!(judged(&moving, &old, now()), Ok(()));
    assert_eq!(judged(&moving, &new, now()), Ok(()));
    assert_eq!(judged(&new, &moving, now()), Ok(()));
    assert!(judged(&old, &moving, now()).is_err());
}

#[test]
fn a_leaf_for_one_side_only_is_refused() {
    let one = credentials(&secret(1), "one");
    let judge = |purposes: Vec<ExtendedKeyUsagePurpose>| {
        let leaf = odd_leaf(|params| params.extended_key_usages = purposes);
        one.trust().judge(&leaf, &[], now())
    };
    let (serve, dial) = (
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    );
    assert_eq!(judge(vec![serve.clone()]), Err(Distrust::Purpose));
    assert_eq!(judge(vec![dial.clone()]), Err(Distrust::Purpose));
    assert_eq!(judge(vec![]), Err(Distrust::Purpose));
    assert_eq!(
        judge(vec![ExtendedKeyUsagePurpose::Any]),
        Err(Distrust::Purpose)
    );
    assert_eq!(judge(vec![dial, serve]), Ok(()));
}

#[test]
fn of_a_strangers_certificate_neither_time_nor_purpose_is_told() {
    let one = credentials(&secret(2), "one");
    let late = now() + VALID_AFTER + MINUTE;
    let leaf = odd_leaf(|params| params.extended_key_usages.clear());
    assert_eq!(one.trust().judge(&leaf, &[], now()), Err(Distrust::NotOurs));
    assert_eq!(one.trust().judge(&leaf, &[], late), Err(Distrust::NotOurs));
    let junk = CertificateDer::from(vec![1, 2, 3]);
    assert_eq!(
        one.trust().judge(&junk, &[], now()),
        Err(Distrust::Unreadable)
    );
}

#[test]
fn a_leaf_cannot_issue_another() {
    let one = credentials(&secret(1), "one");
    let authority = Authority::of(&[1; 32]).unwrap();
    let middle_key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let params = leaf_params("middle", now()).unwrap();
    let middle = params.signed_by(&middle_key, &authority.issuer).unwrap();
    let issuer = Issuer::new(params, middle_key);
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let forged = leaf_params("root", now()).unwrap().signed_by(&key, &issuer);
    let chain = [middle.der().clone()];
    let judged = one.trust().judge(forged.unwrap().der(), &chain, now());
    assert_eq!(judged, Err(Distrust::NotOurs));
}

#[test]
fn the_authority_depends_on_the_decoded_secret_alone() {
    assert_eq!(seed(&[1; 32]), seed(&[1; 32]));
    assert_ne!(seed(&[1; 32]), seed(&[2; 32]));
    // A change here splits clusters of old and new versions apart.
    let seed: String = seed(&[7; 32])
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        seed,
        "1dd9d35492e6b07351476e324f1de5226ae0fa6a1e5d94ca761b6694b71782cc"
    );
}

#[test]
fn nothing_secret_is_shown() {
    let credentials = credentials(&secret(1), "one");
    let identity = Identity::new("one".to_owned(), Clock::system(), credentials.clone());
    let shown = format!("{credentials:?} {identity:?}");
    assert!(shown.contains("Secret") && shown.contains("one"), "{shown}");
    assert!(!shown.contains(&secret(1).to_hex()[..8]), "{shown}");
    assert!(!shown.to_lowercase().contains("private"), "{shown}");
}
