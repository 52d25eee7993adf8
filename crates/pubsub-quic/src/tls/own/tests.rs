//! What is taken as certificates of one's own, and how the rest is refused.

use std::time::Duration;

use rcgen::{ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

use super::*;
use crate::ca::{Ca, Papers, dns, uri};
use crate::tls::Credentials;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn pki(papers: &Papers) -> Result<Pki, PkiError> {
    let Papers {
        ca,
        certificate,
        key,
    } = papers;
    Pki::from_pem(ca.as_bytes(), certificate.as_bytes(), key.as_bytes())
}

/// What the node called `n1` says to these papers.
fn started(papers: &Papers) -> Result<Credentials, PkiError> {
    Credentials::own(pki(papers)?, "n1", SystemTime::now())
}

/// The refusal names the part, and its words hold all of these.
#[track_caller]
fn refused(papers: &Papers, part: PkiPart, words: &[&str]) {
    let error = started(papers).expect_err("these papers are wrong");
    assert_eq!(error.part, part, "{error}");
    let text = error.to_string();
    assert!(text.starts_with(&part.to_string()), "{text}");
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn a_name_may_be_a_uri_or_a_dns_name() {
    let ca = Ca::new("ours");
    assert!(started(&ca.papers("n1")).is_ok());
    let by_dns = |names: &[&str]| {
        let names = names.iter().map(|name| dns(name)).collect();
        ca.papers_with("", |params| params.subject_alt_names = names)
    };
    assert!(started(&by_dns(&["n1"])).is_ok());
    assert!(started(&by_dns(&["other", "N1"])).is_ok());
    refused(
        &by_dns(&["n2", "n1.internal", "*"]),
        PkiPart::Certificate,
        &["is for \"n2\", \"n1.internal\"", "called \"n1\""],
    );
}

#[test]
fn the_name_of_another_node_is_refused_with_the_cure() {
    let ca = Ca::new("ours");
    refused(
        &ca.papers("n2"),
        PkiPart::Certificate,
        &["is for \"n2\"", "matryoshka:node/n1", "subject alternative"],
    );
    let nameless = ca.papers_with("", |params| {
        params.subject_alt_names = vec![uri("https://n1")]
    });
    refused(&nameless, PkiPart::Certificate, &["is for no node"]);
}

#[test]
fn a_certificate_out_of_its_time_is_refused_with_both_clocks() {
    let ca = Ca::new("ours");
    let now = SystemTime::now();
    let ended = ca.papers_with("n1", |params| params.not_after = (now - HOUR).into());
    let words = ["until", &Utc(now - HOUR).to_string(), "clock says", "renew"];
    refused(&ended, PkiPart::Certificate, &words);
    let to_come = ca.papers_with("n1", |params| params.not_before = (now + HOUR).into());
    let words = ["from", &Utc(now + HOUR).to_string(), "clock"];
    refused(&to_come, PkiPart::Certificate, &words);
}

#[test]
fn a_certificate_for_one_side_only_is_refused() {
    let ca = Ca::new("ours");
    for purpose in [
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ] {
        let papers = ca.papers_with("n1", |params| params.extended_key_usages = vec![purpose]);
        refused(
            &papers,
            PkiPart::Certificate,
            &["serverAuth and clientAuth"],
        );
    }
}

#[test]
fn what_stands_between_an_authority_and_a_node_need_not_say_what_it_is_for() {
    let middle = Ca::new("ours").beneath("middle", &[]).beneath("lower", &[]);
    let papers = middle.papers("n1");
    assert_eq!(papers.certificate.matches("BEGIN").count(), 3);
    assert!(started(&papers).is_ok());
    // Nor does that make up for what the leaf does not say.
    let mute = middle.papers_with("n1", |params| params.extended_key_usages.clear());
    refused(&mute, PkiPart::Certificate, &["serverAuth"]);
    // Without those in between, nobody can follow the chain.
    let end = papers
        .certificate
        .find("-----END CERTIFICATE-----\n")
        .unwrap();
    let mut torn = papers.clone();
    torn.certificate
        .truncate(end + "-----END CERTIFICATE-----\n".len());
    refused(
        &torn,
        PkiPart::Certificate,
        &["CA bundle", "behind the certificate"],
    );
}

#[test]
fn what_stands_in_between_may_forbid_one_of_the_two_sides() {
    let ca = Ca::new("ours");
    let (serve, dial) = (
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    );
    for purpose in [&serve, &dial] {
        let middle = ca.beneath("middle", std::slice::from_ref(purpose));
        refused(
            &middle.papers("n1"),
            PkiPart::Certificate,
            &["serverAuth and clientAuth"],
        );
    }
    let both = ca.beneath("middle", &[serve, dial]);
    assert!(started(&both.papers("n1")).is_ok());
}

#[test]
fn a_bundle_may_hold_several_authorities_and_has_to_hold_the_right_one() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let mut papers = new.papers("n1");
    papers.ca = old.roots.clone() + &new.roots;
    assert_eq!(started(&papers).unwrap().authorities(), 2);
    papers.ca = old.roots;
    refused(&papers, PkiPart::Certificate, &["CA bundle"]);
}

#[test]
fn keys_of_all_kinds_are_taken_if_they_fit() {
    let ca = Ca::new("ours");
    let papers = ca.papers("n1");
    assert!(papers.key.contains("BEGIN PRIVATE KEY"));
    for algorithm in [&PKCS_ED25519, &PKCS_ECDSA_P384_SHA384] {
        let mut other = papers.clone();
        other.key = KeyPair::generate_for(algorithm).unwrap().serialize_pem();
        refused(&other, PkiPart::Key, &["does not fit the certificate"]);
    }
    let both = Papers {
        certificate: papers.key.clone() + &papers.certificate,
        ..papers
    };
    assert!(
        started(&both).is_ok(),
        "the key may stand in one file with the certificate"
    );
}

#[test]
fn each_part_has_to_hold_what_it_is_named_for() {
    let ca = Ca::new("ours");
    let papers = ca.papers("n1");
    for (text, word) in [
        (String::new(), "right order"),
        ("-----BEGIN CERTIFICATE-----\nhello".to_owned(), "PEM"),
        (papers.key.clone(), "right order"),
    ] {
        let mut other = papers.clone();
        other.ca = text.clone();
        refused(&other, PkiPart::Ca, &[word]);
        let mut other = papers.clone();
        other.certificate = text;
        refused(&other, PkiPart::Certificate, &[word]);
    }
    let with_key = |key: &str| Papers {
        key: key.to_owned(),
        ..papers.clone()
    };
    refused(
        &with_key(&papers.certificate),
        PkiPart::Key,
        &["right order"],
    );
    let two = papers.key.repeat(2);
    refused(&with_key(&two), PkiPart::Key, &["holds 2 keys"]);
    let encrypted = papers.key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    refused(
        &with_key(&encrypted),
        PkiPart::Key,
        &["encrypted", "openssl pkey"],
    );
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    refused(&with_key(old), PkiPart::Key, &["encrypted"]);
    let junk = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    refused(&with_key(junk), PkiPart::Key, &["RSA, ECDSA", "Ed25519"]);
    let junk = junk.replace("PRIVATE KEY", "CERTIFICATE");
    let mut other = papers.clone();
    other.ca += &junk;
    refused(&other, PkiPart::Ca, &["number 2"]);
    let mut other = papers;
    other.certificate += &junk;
    refused(&other, PkiPart::Certificate, &["number 2"]);
}

#[test]
fn files_are_named_in_what_is_wrong_with_them() {
    let folder = std::env::temp_dir().join(format!("matryoshka-pki-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let papers = Ca::new("ours").papers("n2");
    let path = |name: &str| folder.join(name);
    std::fs::write(path("ca.pem"), &papers.ca).unwrap();
    std::fs::write(path("n.pem"), &papers.certificate).unwrap();
    let from_files = || Pki::from_files(path("ca.pem"), path("n.pem"), path("n.key"));
    let missing = from_files().unwrap_err();
    assert!(matches!(missing.fault, PkiFault::Unreadable(_)));
    assert!(
        missing.to_string().contains("n.key) cannot be read"),
        "{missing}"
    );
    std::fs::write(path("n.key"), &papers.key).unwrap();
    let pki = from_files().unwrap();
    let other_name = Credentials::own(pki, "n1", SystemTime::now()).unwrap_err();
    assert_eq!(other_name.path, Some(path("n.pem")));
    assert!(other_name.to_string().contains("n.pem) is for \"n2\""));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn no_key_is_shown() {
    let papers = Ca::new("ours").papers("n1");
    let shown = format!(
        "{:?} {:?}",
        pki(&papers).unwrap(),
        started(&papers).unwrap()
    );
    let key: Vec<&str> = papers
        .key
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    for line in key {
        assert!(!shown.contains(line), "{shown}");
    }
    assert!(shown.len() < 500, "{shown}");
}
