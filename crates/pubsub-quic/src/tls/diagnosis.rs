//! A failed handshake in words, for the log of either side.
//!
//! The side that refuses has seen the other's certificate and says what is wrong with it. The side that is refused is
//! told a single number, so it says what it means and what this node itself can contribute: its own certificate, its own
//! clock. Both show fingerprints, so that two operators can tell whether they look at the same thing.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::SystemTime;

use super::certificate::Certificate;
use super::credentials::Kind;
use super::handshake::Note;
use super::trust::Distrust;
use super::validity::{VALID_AFTER, VALID_BEFORE};
use crate::clock::Utc;
use crate::proto::trouble::Trouble;

// TLS alerts, by their numbers in RFC 8446.
const UNSUPPORTED_CERTIFICATE: u8 = 43;
const CERTIFICATE_EXPIRED: u8 = 45;
const DECRYPT_ERROR: u8 = 51;
const CERTIFICATE_REQUIRED: u8 = 116;
const NO_APPLICATION_PROTOCOL: u8 = 120;
/// What stands for "I do not accept your certificate", whoever wrote the TLS at the other end.
const DISTRUSTED: [u8; 5] = [42, 44, 46, 48, 49];

/// Why this side ended a handshake with `alert`.
pub(crate) fn refused_here(alert: u8, note: &Note) -> Option<Trouble> {
    if let Some((distrust, now)) = note.distrust {
        let (kind, text) = distrusted(distrust, note, now);
        return Some(Trouble::new(kind, text + &note.certified().in_words()));
    }
    let (kind, text) = match alert {
        CERTIFICATE_REQUIRED => (
            "here: no certificate",
            "the other side has no certificate: it is no node of a cluster",
        ),
        NO_APPLICATION_PROTOCOL => ("here: other protocol", OTHER_PROTOCOL),
        DECRYPT_ERROR => (
            "here: signature",
            "the other side does not hold the key of the certificate that it shows",
        ),
        _ => return None,
    };
    Some(Trouble::new(kind, text))
}

/// Why the other side ended a handshake with `alert`; this node's clock says `now`.
pub(crate) fn refused_there(alert: u8, note: &Note, now: SystemTime) -> Option<Trouble> {
    let (kind, text) = match alert {
        CERTIFICATE_EXPIRED => ("there: time", too_early_or_late(note, now)),
        UNSUPPORTED_CERTIFICATE => (
            "there: purpose",
            "it says that this node's certificate is not for both sides of a connection: issue one with serverAuth \
             and clientAuth"
                .to_owned(),
        ),
        NO_APPLICATION_PROTOCOL => ("there: other protocol", OTHER_PROTOCOL.to_owned()),
        CERTIFICATE_REQUIRED => (
            "there: no certificate",
            "it wants a certificate of another kind than this node has".to_owned(),
        ),
        alert if DISTRUSTED.contains(&alert) || alert == DECRYPT_ERROR => (
            "there: issuer",
            match note.kind {
                Kind::Secret => format!("it does not accept this node's certificate: {SECRETS}"),
                Kind::Pki => format!(
                    "it does not accept the authority of this node's certificate: {AUTHORITIES}"
                ),
            },
        ),
        _ => return None,
    };
    Some(Trouble::new(kind, text + &note.certified().in_words()))
}

const SECRETS: &str = "the two have different cluster secrets, so give every node the same one";
const AUTHORITIES: &str =
    "give both nodes certificates of one authority, and its certificate in their CA bundles";
const OTHER_PROTOCOL: &str = "the other side speaks another protocol: it is no Matryoshka node";

fn distrusted(distrust: Distrust, note: &Note, now: SystemTime) -> (&'static str, String) {
    match (distrust, note.kind) {
        (Distrust::NotOurs, Kind::Secret) => (
            "here: issuer",
            format!("its certificate is not of this cluster: {SECRETS}"),
        ),
        (Distrust::NotOurs, Kind::Pki) => (
            "here: issuer",
            format!("its certificate is of no authority in this node's CA bundle: {AUTHORITIES}"),
        ),
        (Distrust::Time, _) => ("here: time", not_now(note, now)),
        (Distrust::Purpose, _) => (
            "here: purpose",
            "its certificate is not for both sides of a connection: issue one with serverAuth and clientAuth"
                .to_owned(),
        ),
        (Distrust::Unreadable, _) => (
            "here: unreadable",
            "its certificate cannot be read".to_owned(),
        ),
    }
}

fn not_now(note: &Note, now: SystemTime) -> String {
    let clock = format!("this node's clock says {}", Utc(now));
    match &note.peer {
        Some(peer) if !peer.is_valid_at(now) => format!(
            "its certificate is {}, but {clock}: {}",
            validity(peer, note.kind, "its"),
            cure(note.kind)
        ),
        _ => format!(
            "a certificate between its own and its authority's has expired or is not valid yet, as {clock}: {}",
            cure(note.kind)
        ),
    }
}

fn too_early_or_late(note: &Note, now: SystemTime) -> String {
    let own = match &note.own {
        Some(own) => format!(" It is {},", validity(own, note.kind, "this node's")),
        None => String::new(),
    };
    format!(
        "by the other side's clock this node's certificate has expired or is not valid yet.{own} and this node's clock \
         says {}: compare it with the clock there (`date -u`), and {}",
        Utc(now),
        cure(note.kind)
    )
}

fn cure(kind: Kind) -> &'static str {
    match kind {
        Kind::Secret => "set the clock that is wrong",
        Kind::Pki => "set the clock that is wrong, or renew the certificate",
    }
}

/// From when until when it is valid and, where that can be known, what its node's clock said when it was made.
fn validity(certificate: &Certificate, kind: Kind, whose: &str) -> String {
    let (from, until) = (certificate.valid_from, certificate.valid_until);
    let valid = format!("valid from {} until {}", Utc(from), Utc(until));
    let is_self_issued = until.duration_since(from).ok() == Some(VALID_BEFORE + VALID_AFTER);
    match kind {
        Kind::Secret if is_self_issued => format!(
            "{valid} ({whose} clock said {} when it was issued)",
            Utc(from + VALID_BEFORE)
        ),
        Kind::Secret | Kind::Pki => valid,
    }
}
