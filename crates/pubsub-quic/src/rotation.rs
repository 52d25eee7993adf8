//! Changing who a node is while it runs.

use std::time::SystemTime;

use crate::adapter::QuicAdapter;
use crate::error::RotateError;
use crate::secret::Secret;
use crate::tls::{Fingerprint, Kind, Pki};

/// What a node shows of itself in handshakes, and how much it accepts. Holds nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdentityInfo {
    /// The node's certificate.
    pub fingerprint: Fingerprint,
    /// From when on it is valid.
    pub valid_from: SystemTime,
    /// Until when it is valid. One from a secret is renewed long before.
    pub valid_until: SystemTime,
    /// How many secrets are accepted, or authorities in case of certificates of one's own.
    pub authorities: usize,
}

impl QuicAdapter {
    /// This node's certificate as of now.
    #[must_use]
    pub fn identity(&self) -> IdentityInfo {
        let credentials = self.shared().identity.credentials();
        let certificate = credentials.certificate();
        IdentityInfo {
            fingerprint: certificate.fingerprint,
            valid_from: certificate.valid_from,
            valid_until: certificate.valid_until,
            authorities: credentials.authorities(),
        }
    }

    /// Takes other secrets: from the return on, the first one issues this node's certificate, all are accepted, and
    /// those that are no longer among them are refused. Links that are up stay up.
    ///
    /// To replace a secret in a whole cluster without an interruption, take three steps, each on every node before the
    /// next: add the new one behind the old, move it to the front, remove the old one.
    ///
    /// # Errors
    ///
    /// [`RotateError`], and everything stays as it was, if the node was started with certificates ([`set_tls`](Self::set_tls)
    /// is for those) or no certificate could be issued.
    pub fn set_secret(&self, secret: &Secret) -> Result<(), RotateError> {
        self.check_kind(Kind::Secret)?;
        Ok(self.shared().identity.set_secret(secret)?)
    }

    /// Takes other certificates of the user's: from the return on they are shown, and the authorities in them are
    /// accepted. Links that are up stay up.
    ///
    /// # Errors
    ///
    /// [`RotateError`], and everything stays as it was, if the node was started with a secret ([`set_secret`](Self::set_secret)
    /// is for those) or the certificates cannot be used for this node.
    pub fn set_tls(&self, pki: Pki) -> Result<(), RotateError> {
        self.check_kind(Kind::Pki)?;
        Ok(self.shared().identity.set_pki(pki)?)
    }

    fn check_kind(&self, wanted: Kind) -> Result<(), RotateError> {
        let kind = self.shared().identity.credentials().kind();
        if kind == wanted {
            return Ok(());
        }
        let has_secret = kind == Kind::Secret;
        Err(RotateError::OtherKind { has_secret })
    }
}

#[cfg(test)]
mod tests;
