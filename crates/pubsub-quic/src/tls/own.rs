//! A public key infrastructure of the user's own, instead of a secret: PEM in, checked, out as what TLS needs.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor};
use rustls::sign::CertifiedKey;

use super::certificate::{Certificate, NODE_URI, Naming, listed};
use super::provider;
use super::trust::{Distrust, Intermediates, Trust};
use crate::clock::Utc;

/// Certificates of your own authority, in place of a shared secret.
///
/// Every node has a certificate for its own name, with that name as the URI `matryoshka:node/NAME` or as a DNS name
/// among its subject alternative names, for both sides of a TLS connection (`serverAuth` and `clientAuth`). Whoever
/// has such a certificate from one of the authorities is a full member of the cluster, so take an authority
/// that issues to nothing else. `Debug` shows no key.
#[derive(Clone)]
pub struct Pki {
    anchors: Vec<TrustAnchor<'static>>,
    key: Arc<CertifiedKey>,
    paths: Option<Paths>,
}

#[derive(Clone)]
struct Paths {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Pki {
    /// Takes the authorities' certificates (one or more), the node's certificate (first) with those between it and an
    /// authority (if there are any), and the certificate's key (PKCS#8, SEC1 or PKCS#1, not encrypted), all as PEM.
    /// RSA, ECDSA (P-256 and P-384) and Ed25519 are understood.
    ///
    /// # Errors
    ///
    /// [`PkiError`] names the part that cannot be used, why, and what to do. Whether the certificate is for this node and
    /// valid is looked at when it is used.
    pub fn from_pem(ca: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self, PkiError> {
        let anchors = certificates(ca, PkiPart::Ca)?
            .iter()
            .enumerate()
            .map(|(index, certificate)| anchor(certificate, index + 1))
            .collect::<Result<Vec<_>, _>>()?;
        let chain = certificates(certificate, PkiPart::Certificate)?;
        let key = certified_key(chain, private_key(key)?)?;
        Ok(Self {
            anchors,
            key: Arc::new(key),
            paths: None,
        })
    }

    /// As [`from_pem`](Self::from_pem), from three files. Errors name the file.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem), and when a file cannot be read.
    pub fn from_files(
        ca: impl AsRef<Path>,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, PkiError> {
        let paths = Paths {
            ca: ca.as_ref().to_owned(),
            certificate: certificate.as_ref().to_owned(),
            key: key.as_ref().to_owned(),
        };
        let read = |part: PkiPart| {
            std::fs::read(paths.of(part)).map_err(|error| PkiFault::Unreadable(error).of(part))
        };
        let made = || {
            let (ca, certificate) = (read(PkiPart::Ca)?, read(PkiPart::Certificate)?);
            Self::from_pem(&ca, &certificate, &read(PkiPart::Key)?)
        };
        match made() {
            Ok(pki) => Ok(Self {
                paths: Some(paths),
                ..pki
            }),
            Err(error) => Err(error.of_files(Some(&paths))),
        }
    }

    pub(super) fn trust(&self, provider: &CryptoProvider) -> Trust {
        Trust::new(
            self.anchors.clone(),
            provider.signature_verification_algorithms,
            Intermediates::Some,
        )
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// What the node's certificate says, if other nodes will accept it as that of the node called `name`.
    pub(super) fn certificate_of(
        &self,
        name: &str,
        trust: &Trust,
        now: SystemTime,
    ) -> Result<Certificate, PkiError> {
        self.checked(name, trust, now)
            .map_err(|fault| fault.of(PkiPart::Certificate).of_files(self.paths.as_ref()))
    }

    fn checked(&self, name: &str, trust: &Trust, now: SystemTime) -> Result<Certificate, PkiFault> {
        let [leaf, chain @ ..] = self.key.cert.as_slice() else {
            return Err(PkiFault::Empty);
        };
        let certificate = Certificate::read(leaf).ok_or(PkiFault::NoCertificate { number: 1 })?;
        let names = certificate.names(Naming::UriOrDns);
        match trust.judge(leaf, chain, now) {
            Ok(()) if names.iter().any(|certified| certified == name) => Ok(certificate),
            Ok(()) => Err(PkiFault::OtherName {
                name: name.to_owned(),
                names,
            }),
            Err(Distrust::Time) => Err(PkiFault::NotNow {
                from: certificate.valid_from,
                until: certificate.valid_until,
                now,
            }),
            Err(Distrust::Purpose) => Err(PkiFault::Purpose),
            Err(Distrust::NotOurs) => Err(PkiFault::NotIssued),
            Err(Distrust::Unreadable) => Err(PkiFault::NoCertificate { number: 1 }),
        }
    }
}

impl PartialEq for Pki {
    /// Whether both have the same certificates; where they came from does not matter.
    fn eq(&self, other: &Self) -> bool {
        self.anchors == other.anchors && self.key.cert == other.key.cert
    }
}

impl Eq for Pki {}

impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pki")
            .field("authorities", &self.anchors.len())
            .field("chain", &self.key.cert.len())
            .finish_non_exhaustive()
    }
}

impl Paths {
    fn of(&self, part: PkiPart) -> &Path {
        match part {
            PkiPart::Ca => &self.ca,
            PkiPart::Certificate => &self.certificate,
            PkiPart::Key => &self.key,
        }
    }
}

/// Which of the three parts of a [`Pki`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PkiPart {
    /// The certificates of the authorities.
    Ca,
    /// The node's certificate, with those between it and an authority.
    Certificate,
    /// The certificate's private key.
    Key,
}

impl fmt::Display for PkiPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ca => "the CA bundle",
            Self::Certificate => "the certificate",
            Self::Key => "the private key",
        })
    }
}

/// Why certificates of one's own cannot be used. Nothing was changed; correct the part that it names.
#[derive(Debug)]
#[non_exhaustive]
pub struct PkiError {
    /// What to correct.
    pub part: PkiPart,
    /// Its file, if it came from one.
    pub path: Option<PathBuf>,
    /// What is wrong with it.
    pub fault: PkiFault,
}

impl PkiError {
    fn of_files(mut self, paths: Option<&Paths>) -> Self {
        self.path = paths.map(|paths| paths.of(self.part).to_owned());
        self
    }
}

impl fmt::Display for PkiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{} ({}) {}", self.part, path.display(), self.fault),
            None => write!(f, "{} {}", self.part, self.fault),
        }
    }
}

impl std::error::Error for PkiError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            PkiFault::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}

/// What is wrong with a part of a [`Pki`]; its text goes on from the part's name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiFault {
    /// Its file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is text of another kind.
    #[error(
        "is no proper PEM: it takes text with -----BEGIN and -----END lines, as `openssl` and `step` write it"
    )]
    NoPem,
    /// It has nothing in it of what it should hold.
    #[error("holds nothing of the kind: are the three parts in their right order?")]
    Empty,
    /// One of its certificates is none.
    #[error("has no readable certificate as number {number}")]
    NoCertificate {
        /// Which one, counted from 1.
        number: usize,
    },
    /// The key needs a password.
    #[error(
        "is encrypted: take the password off with `openssl pkey -in FILE -out FILE` and protect the file instead"
    )]
    Encrypted,
    /// There is more than one key.
    #[error("holds {0} keys: leave only the certificate's")]
    SeveralKeys(usize),
    /// The key is of a kind that is not understood.
    #[error("cannot be used: it takes a key of RSA, ECDSA (P-256 or P-384) or Ed25519")]
    UnusableKey,
    /// The key belongs to another certificate.
    #[error("does not fit the certificate: give the two that were made together")]
    KeyMismatch,
    /// The certificate is another node's.
    #[error(
        "is for {}, and this node is called {name:?}: issue one that has the URI {NODE_URI}{name} or the DNS name {name} \
         among its subject alternative names",
        listed(.names)
    )]
    OtherName {
        /// This node's name.
        name: String,
        /// The names of nodes in the certificate.
        names: Vec<String>,
    },
    /// The certificate has expired or is not valid yet.
    #[error(
        "is valid from {} until {} (and each one between it and its authority has such a time), and this node's clock \
         says {}: renew it, or set the clock right",
        Utc(*.from), Utc(*.until), Utc(*.now)
    )]
    NotNow {
        /// From when on it is valid.
        from: SystemTime,
        /// Until when.
        until: SystemTime,
        /// This node's clock.
        now: SystemTime,
    },
    /// The certificate is not for both sides of a connection.
    #[error(
        "is not for both sides of a connection: issue one whose extended key usage has serverAuth and clientAuth"
    )]
    Purpose,
    /// No authority of the bundle stands behind the certificate.
    #[error(
        "was not issued by an authority of the CA bundle: put that authority into the bundle, and what stands between \
         the two into the certificate's file, behind the certificate"
    )]
    NotIssued,
}

impl PkiFault {
    fn of(self, part: PkiPart) -> PkiError {
        PkiError {
            part,
            path: None,
            fault: self,
        }
    }
}

fn certificates(text: &[u8], part: PkiPart) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let found = CertificateDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, pem::Error>>()
        .map_err(|_| PkiFault::NoPem.of(part))?;
    if found.is_empty() {
        return Err(PkiFault::Empty.of(part));
    }
    Ok(found)
}

fn anchor(
    certificate: &CertificateDer<'_>,
    number: usize,
) -> Result<TrustAnchor<'static>, PkiError> {
    webpki::anchor_from_trusted_cert(certificate)
        .map(|anchor| anchor.to_owned())
        .map_err(|_| PkiFault::NoCertificate { number }.of(PkiPart::Ca))
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, PkiError> {
    let fault = |fault: PkiFault| Err(fault.of(PkiPart::Key));
    let mut found =
        match PrivateKeyDer::pem_slice_iter(text).collect::<Result<Vec<_>, pem::Error>>() {
            // What an encrypted key of the old form holds beside base64 is no PEM to the reader.
            Err(_) if is_encrypted(text) => return fault(PkiFault::Encrypted),
            Err(_) => return fault(PkiFault::NoPem),
            Ok(found) => found,
        };
    match (found.pop(), found.len()) {
        (Some(key), 0) => Ok(key),
        (Some(_), others) => fault(PkiFault::SeveralKeys(others + 1)),
        (None, _) if is_encrypted(text) => fault(PkiFault::Encrypted),
        (None, _) => fault(PkiFault::Empty),
    }
}

fn is_encrypted(text: &[u8]) -> bool {
    const MARKS: [&str; 2] = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];
    let text = String::from_utf8_lossy(text);
    MARKS.iter().any(|mark| text.contains(mark))
}

fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, PkiError> {
    if let Some(unreadable) = chain
        .iter()
        .position(|certificate| webpki::EndEntityCert::try_from(certificate).is_err())
    {
        let number = unreadable + 1;
        return Err(PkiFault::NoCertificate { number }.of(PkiPart::Certificate));
    }
    let key = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|_| PkiFault::UnusableKey.of(PkiPart::Key))?;
    let certified = CertifiedKey::new(chain, key);
    certified
        .keys_match()
        .map_err(|_| PkiFault::KeyMismatch.of(PkiPart::Key))?;
    Ok(certified)
}

#[cfg(test)]
mod tests;
