//! What a certificate says: its names, its validity, its fingerprint.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;
use std::time::{Duration, SystemTime};

use matryoshka_pubsub::NodeName;
use rustls::pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};

/// What the URI of a node's certificate starts with; the node's name follows.
pub(super) const NODE_URI: &str = "matryoshka:node/";
/// How many names of a certificate are shown in a line of the log.
const SHOWN_NAMES: usize = 4;

/// The SHA-256 of a certificate, by which two operators can tell whether they speak of the same one.
///
/// It shows as `openssl x509 -noout -fingerprint -sha256` does: pairs of hex digits with colons between.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// The 32 bytes of the hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// The parts of a certificate that matter here. Says nothing of whether it is to be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// The node names among its URIs. Anything that is no node name is left out, so these are safe to log.
    by_uri: Vec<String>,
    /// The same of its DNS names.
    by_dns: Vec<String>,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) valid_from: SystemTime,
    pub(crate) valid_until: SystemTime,
}

/// Which of a certificate's names are names of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// `matryoshka:node/NAME` only: no authority but this crate's own issues those.
    Uri,
    /// DNS names too, as an authority of the user's issues them.
    UriOrDns,
}

impl Certificate {
    /// `None` if it is no certificate that can be read.
    pub(crate) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let read = webpki::EndEntityCert::try_from(der).ok()?;
        let (valid_from, valid_until) = validity(&read)?;
        let by_uri = read.valid_uri_names();
        let by_uri = by_uri.filter_map(|uri| uri.strip_prefix(NODE_URI).map(str::to_owned));
        let by_dns = read.valid_dns_names().map(str::to_ascii_lowercase);
        Some(Self {
            by_uri: by_uri.filter(is_node_name).collect(),
            by_dns: by_dns.filter(is_node_name).collect(),
            fingerprint: Fingerprint::of(der),
            valid_from,
            valid_until,
        })
    }

    /// The names of nodes that it was issued for.
    pub(crate) fn names(&self, naming: Naming) -> Vec<String> {
        let by_dns = match naming {
            Naming::Uri => &[],
            Naming::UriOrDns => self.by_dns.as_slice(),
        };
        self.by_uri.iter().chain(by_dns).cloned().collect()
    }

    pub(super) fn is_valid_at(&self, time: SystemTime) -> bool {
        (self.valid_from..=self.valid_until).contains(&time)
    }
}

/// Names as a line of the log has them.
pub(crate) fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "no node".to_owned();
    }
    let shown: Vec<String> = names
        .iter()
        .take(SHOWN_NAMES)
        .map(|name| format!("{name:?}"))
        .collect();
    match names.len().saturating_sub(SHOWN_NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn is_node_name(name: &String) -> bool {
    NodeName::new(name).is_ok()
}

/// From when until when it is valid. webpki shows neither, but says both when it refuses a time beyond.
fn validity(certificate: &webpki::EndEntityCert<'_>) -> Option<(SystemTime, SystemTime)> {
    let refusal_at = |seconds| {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let usage = webpki::KeyUsage::client_auth();
        let verified = certificate.verify_for_usage(&[], &[], &[], time, usage, None, None);
        verified.err()
    };
    let from = match refusal_at(0)? {
        webpki::Error::CertNotValidYet { not_before, .. } => not_before.as_secs(),
        // There is no earlier time that could be refused.
        webpki::Error::CertExpired { .. } | webpki::Error::UnknownIssuer => 0,
        _ => return None,
    };
    let until = match refusal_at(u64::MAX)? {
        webpki::Error::CertExpired { not_after, .. } => not_after.as_secs(),
        _ => return None,
    };
    let time = |seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    Some((time(from)?, time(until)?))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SanType};

    use super::*;

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        change(&mut params);
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    #[test]
    fn names_of_nodes_are_told_from_others() {
        let der = certificate(|params| {
            params.subject_alt_names = vec![
                dns("N2.internal"),
                dns("*.internal"),
                uri("matryoshka:node/n1"),
                uri("matryoshka:node/no\nname"),
                uri("https://n3"),
            ];
        });
        let read = Certificate::read(&der).unwrap();
        assert_eq!(read.names(Naming::Uri), ["n1"]);
        assert_eq!(read.names(Naming::UriOrDns), ["n1", "n2.internal"]);
    }

    #[test]
    fn the_validity_is_read_to_the_second() {
        let time = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (from, until) in [
            (0, 1),
            (1_800_000_000, 1_800_000_001),
            (1_800_000_000, 253_402_300_799),
        ] {
            let der = certificate(|params| {
                params.not_before = time(from).into();
                params.not_after = time(until).into();
            });
            let read = Certificate::read(&der).unwrap();
            assert_eq!(read.valid_from, time(from));
            assert_eq!(read.valid_until, time(until));
            assert!(read.is_valid_at(time(from)) && read.is_valid_at(time(until)));
            assert!(!read.is_valid_at(time(until + 1)));
        }
    }

    #[test]
    fn the_fingerprint_is_the_hash_of_the_whole() {
        let der = CertificateDer::from(b"abc".to_vec());
        assert_eq!(
            Fingerprint::of(&der).to_string(),
            "BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:\
             B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD"
        );
        assert!(Certificate::read(&der).is_none());
    }

    #[test]
    fn a_line_shows_a_few_names_only() {
        let names = |count| (0..count).map(|n| format!("n{n}")).collect::<Vec<_>>();
        assert_eq!(listed(&[]), "no node");
        assert_eq!(listed(&names(2)), r#""n0", "n1""#);
        assert_eq!(listed(&names(50)), r#""n0", "n1", "n2", "n3" and 46 more"#);
    }
}
