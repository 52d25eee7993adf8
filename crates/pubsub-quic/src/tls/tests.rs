//! Whose certificate is accepted, and for how long.

use rcgen::{ExtendedKeyUsagePurpose, PKCS_ED25519};
use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use super::authority::{VALID_AFTER, VALID_BEFORE, leaf_params, seed};
use super::*;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn unix(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap())
}

fn secret(byte: u8) -> Secret {
    Secret::parse(&format!("{byte:02x}").repeat(32)).unwrap()
}

fn credentials(secret: &Secret, name: &str) -> Credentials {
    Credentials::new(secret, name, now()).unwrap()
}

/// What `judge` says of the leaf of `node` at `time`.
fn judged(judge: &Credentials, node: &Credentials, time: SystemTime) -> Result<(), rustls::Error> {
    let leaf = node.leaf.current();
    judge.verifier.verify(&leaf.cert[0], &[], unix(time))
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
    let unknown = CertificateError::UnknownIssuer.into();
    assert_eq!(judged(&one, &stranger, now()), Err(unknown));
}

#[test]
fn the_leaf_carries_the_nodes_name() {
    let one = credentials(&secret(1), "n_1.a-b");
    assert_eq!(certified_names(&one.leaf.current().cert), ["n_1.a-b"]);
    assert!(certified_names(&[]).is_empty());
    assert!(certified_names(&[CertificateDer::from(vec![1, 2, 3])]).is_empty());
}

#[test]
fn a_leaf_counts_from_a_day_before_to_a_week_after_its_issue() {
    let (one, two) = (
        credentials(&secret(1), "one"),
        credentials(&secret(1), "two"),
    );
    let minute = Duration::from_secs(60);
    assert_eq!(judged(&one, &two, now() - VALID_BEFORE + minute), Ok(()));
    assert_eq!(judged(&one, &two, now() + VALID_AFTER - minute), Ok(()));
    assert_eq!(
        judged(&one, &two, now() - VALID_BEFORE - minute),
        Err(CertificateError::NotValidYet.into())
    );
    let late = now() + VALID_AFTER + minute;
    assert_eq!(
        judged(&one, &two, late),
        Err(CertificateError::Expired.into())
    );
    two.renew(late).unwrap();
    assert_eq!(judged(&one, &two, late), Ok(()));
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
    for purpose in [
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ] {
        let mut params = leaf_params("two", now()).unwrap();
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let leaf = params.signed_by(&key, &one.authority).unwrap();
        assert_eq!(
            one.verifier.verify(leaf.der(), &[], unix(now())),
            Err(CertificateError::InvalidPurpose.into())
        );
    }
}

#[test]
fn a_leaf_cannot_issue_another() {
    let one = credentials(&secret(1), "one");
    let middle_key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let params = leaf_params("middle", now()).unwrap();
    let middle = params.signed_by(&middle_key, &one.authority).unwrap();
    let issuer = Issuer::new(params, middle_key);
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let forged = leaf_params("root", now()).unwrap().signed_by(&key, &issuer);
    let chain = [middle.der().clone()];
    let judged = one
        .verifier
        .verify(forged.unwrap().der(), &chain, unix(now()));
    assert!(judged.is_err());
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
    let shown = format!("{:?}", credentials(&secret(1), "one"));
    assert!(shown.contains("one") && shown.len() < 100, "{shown}");
}
