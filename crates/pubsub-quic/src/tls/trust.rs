//! Whose certificate is accepted.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;
use std::time::SystemTime;

use rustls::CertificateError;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext,
};

use super::certificate::Certificate;

/// Why a certificate is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distrust {
    /// It cannot be read.
    Unreadable,
    /// None of the authorities trusted here has issued it, or the chain to one of them is broken.
    NotOurs,
    /// It, or a certificate between it and its authority, has expired or is not valid yet.
    Time,
    /// It is not for both sides of a connection.
    Purpose,
}

impl Distrust {
    /// What TLS tells the other side.
    pub(super) fn for_tls(self) -> CertificateError {
        match self {
            Self::Unreadable => CertificateError::BadEncoding,
            Self::NotOurs => CertificateError::UnknownIssuer,
            Self::Time => CertificateError::Expired,
            Self::Purpose => CertificateError::InvalidPurpose,
        }
    }
}

impl From<Error> for Distrust {
    /// A certificate of another cluster fails by its signature, as all authorities that are derived from a secret
    /// have one subject.
    fn from(error: Error) -> Self {
        match error {
            Error::BadDer | Error::BadDerTime => Self::Unreadable,
            Error::CertExpired { .. }
            | Error::CertNotValidYet { .. }
            | Error::InvalidCertValidity => Self::Time,
            Error::EmptyEkuExtension | Error::RequiredEkuNotFoundContext(_) => Self::Purpose,
            _ => Self::NotOurs,
        }
    }
}

/// The authorities whose certificates are accepted.
pub(super) struct Trust {
    anchors: Vec<TrustAnchor<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
    intermediates: Intermediates,
}

/// Whether others may stand between an authority and a node's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intermediates {
    /// The authority issues to nodes itself; nothing else that a peer sends is looked at.
    None,
    /// As many as webpki follows.
    Some,
}

impl Trust {
    pub(super) fn new(
        anchors: Vec<TrustAnchor<'static>>,
        algorithms: WebPkiSupportedAlgorithms,
        intermediates: Intermediates,
    ) -> Self {
        Self {
            anchors,
            algorithms,
            intermediates,
        }
    }

    /// How many authorities there are.
    pub(super) fn authorities(&self) -> usize {
        self.anchors.len()
    }

    pub(super) fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.algorithms
    }

    /// Whether the certificate is one for both sides of a connection, valid `now`, that one of the authorities
    /// stands behind. Its name is not asked for: an address does not say who is to be met.
    pub(super) fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<(), Distrust> {
        let leaf = EndEntityCert::try_from(certificate).map_err(|_| Distrust::Unreadable)?;
        let chain = match self.intermediates {
            Intermediates::None => &[],
            Intermediates::Some => chain,
        };
        self.verify(&leaf, chain, now, Purposes::BothIfLimited)
            .and_then(|()| is_for_both_sides(&leaf, now))
            .map_err(|distrust| self.deepest(distrust, certificate, &leaf, chain, now))
    }

    fn verify(
        &self,
        leaf: &EndEntityCert<'_>,
        chain: &[CertificateDer<'_>],
        time: SystemTime,
        purposes: Purposes,
    ) -> Result<(), Distrust> {
        let (algorithms, time) = (self.algorithms.all, unix(time));
        leaf.verify_for_usage(algorithms, &self.anchors, chain, time, purposes, None, None)?;
        Ok(())
    }

    /// webpki looks at times and purposes before signatures. Of a stranger's certificate, though, neither is worth
    /// telling, and an operator whose clock is right should not be sent to look at it.
    fn deepest(
        &self,
        found: Distrust,
        certificate: &CertificateDer<'_>,
        leaf: &EndEntityCert<'_>,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Distrust {
        if !matches!(found, Distrust::Time | Distrust::Purpose) {
            return found;
        }
        let time = match Certificate::read(certificate) {
            Some(read) if !read.is_valid_at(now) => read.valid_from,
            Some(_) => now,
            None => return Distrust::Unreadable,
        };
        match self.verify(leaf, chain, time, Purposes::Any) {
            Err(Distrust::NotOurs) => Distrust::NotOurs,
            Ok(()) | Err(_) => found,
        }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} authorities)", self.anchors.len())
    }
}

/// Looks at the leaf alone, with no authority to lead to: webpki makes no difference between a leaf, which has to
/// name its purposes, and what stands between it and its authority, which need not.
fn is_for_both_sides(leaf: &EndEntityCert<'_>, now: SystemTime) -> Result<(), Distrust> {
    let alone = leaf.verify_for_usage(&[], &[], &[], unix(now), Purposes::Both, None, None);
    match alone {
        Err(Error::UnknownIssuer) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Err(Distrust::NotOurs),
    }
}

/// What the certificates of a chain have to be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purposes {
    /// Both sides of a TLS connection.
    Both,
    /// The same, or whatever may be.
    BothIfLimited,
    /// No matter what.
    Any,
}

impl ExtendedKeyUsageValidator for Purposes {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let (mut serves, mut dials, mut limited) = (false, false, false);
        for purpose in purposes {
            let purpose = purpose?.to_decoded_oid();
            limited = true;
            serves |= purpose == KeyUsage::SERVER_AUTH_REPR;
            dials |= purpose == KeyUsage::CLIENT_AUTH_REPR;
        }
        let both = serves && dials;
        let are_right = match self {
            Self::Both => both,
            Self::BothIfLimited => both || !limited,
            Self::Any => true,
        };
        if are_right {
            Ok(())
        } else {
            Err(Error::RequiredEkuNotFoundContext(
                RequiredEkuNotFoundContext {
                    required: KeyUsage::client_auth(),
                    present: Vec::new(),
                },
            ))
        }
    }
}

pub(super) fn unix(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(
        time.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
    )
}
