//! What a node shows of itself and accepts of others, at one time.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::sign::CertifiedKey;

use super::authority::Authority;
use super::certificate::{Certificate, Naming};
use super::own::{Pki, PkiError};
use super::trust::{Intermediates, Trust};
use super::validity::is_renewal_due;
use super::{TlsError, configure, provider};
use crate::secret::Secret;

/// A node's certificate, where it is from, and those that are accepted. Replaced whole, never changed.
#[derive(Clone)]
pub(crate) struct Credentials {
    source: Source,
    trust: Arc<Trust>,
    key: Arc<CertifiedKey>,
    certificate: Certificate,
}

#[derive(Clone)]
enum Source {
    Secret {
        secret: Secret,
        authority: Arc<Authority>,
        issued: SystemTime,
    },
    Pki(Pki),
}

/// Where a cluster's certificates come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// From the secret that all nodes share.
    Secret,
    /// From an authority of the user's.
    Pki,
}

impl Credentials {
    /// Derives the authorities and issues a leaf for the node called `name`.
    pub(crate) fn derive(secret: &Secret, name: &str, now: SystemTime) -> Result<Self, TlsError> {
        let authorities = secret
            .keys()
            .map(Authority::of)
            .collect::<Result<Vec<_>, _>>()?;
        let anchors = authorities
            .iter()
            .map(Authority::anchor)
            .collect::<Result<Vec<_>, _>>()?;
        let algorithms = provider().signature_verification_algorithms;
        let trust = Trust::new(anchors, algorithms, Intermediates::None);
        let mut authorities = authorities.into_iter();
        let authority = authorities.next().expect("a secret has at least one key");
        let (key, certificate) = issue(&authority, name, now)?;
        Ok(Self {
            source: Source::Secret {
                secret: secret.clone(),
                authority: Arc::new(authority),
                issued: now,
            },
            trust: Arc::new(trust),
            key,
            certificate,
        })
    }

    /// Takes certificates of the user's for the node called `name`.
    pub(crate) fn own(pki: Pki, name: &str, now: SystemTime) -> Result<Self, PkiError> {
        let trust = pki.trust(&provider());
        let certificate = pki.certificate_of(name, &trust, now)?;
        Ok(Self {
            trust: Arc::new(trust),
            key: pki.key().clone(),
            certificate,
            source: Source::Pki(pki),
        })
    }

    /// The same with a fresh leaf, if it is time for one.
    pub(super) fn renewed(&self, name: &str, now: SystemTime) -> Result<Option<Self>, TlsError> {
        let Source::Secret {
            secret,
            authority,
            issued,
        } = &self.source
        else {
            return Ok(None);
        };
        if !is_renewal_due(*issued, now) {
            return Ok(None);
        }
        let (key, certificate) = issue(authority, name, now)?;
        Ok(Some(Self {
            source: Source::Secret {
                secret: secret.clone(),
                authority: authority.clone(),
                issued: now,
            },
            trust: self.trust.clone(),
            key,
            certificate,
        }))
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.source {
            Source::Secret { .. } => Kind::Secret,
            Source::Pki(_) => Kind::Pki,
        }
    }

    /// Whether they come from exactly this secret.
    pub(super) fn are_of_secret(&self, other: &Secret) -> bool {
        matches!(&self.source, Source::Secret { secret, .. } if secret == other)
    }

    /// Whether they are exactly these.
    pub(super) fn are_of_pki(&self, other: &Pki) -> bool {
        matches!(&self.source, Source::Pki(pki) if pki == other)
    }

    pub(super) fn trust(&self) -> &Trust {
        &self.trust
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// What the own certificate says.
    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// How many secrets or authorities are accepted.
    pub(crate) fn authorities(&self) -> usize {
        self.trust.authorities()
    }
}

impl Kind {
    pub(crate) fn naming(self) -> Naming {
        match self {
            Self::Secret => Naming::Uri,
            Self::Pki => Naming::UriOrDns,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("kind", &self.kind())
            .field("authorities", &self.authorities())
            .field("certificate", &self.certificate.fingerprint)
            .finish_non_exhaustive()
    }
}

fn issue(
    authority: &Authority,
    name: &str,
    now: SystemTime,
) -> Result<(Arc<CertifiedKey>, Certificate), TlsError> {
    let key = authority.issue(&provider(), name, now)?;
    let certificate = key.cert.first().and_then(Certificate::read);
    let certificate =
        certificate.ok_or_else(|| configure("the fresh certificate is unreadable"))?;
    Ok((Arc::new(key), certificate))
}
