//! The certificate authority that is derived from a secret, and the leaves it issues.
//!
//! The authority's certificate is never sent and never compared: every node makes it afresh and uses it as its own
//! trust anchor.

use std::time::SystemTime;

use hkdf::Hkdf;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, SanType,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, TrustAnchor};
use rustls::sign::CertifiedKey;
use sha2::Sha256;

use super::certificate::NODE_URI;
use super::validity::{VALID_AFTER, VALID_BEFORE};
use super::{TlsError, configure};

const COMMON_NAME: &str = "Matryoshka cluster authority";
const HKDF_SALT: &[u8] = b"matryoshka cluster secret";
const HKDF_INFO: &[u8] = b"certificate authority, ed25519 seed, 1";

/// The authority of one secret.
pub(super) struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    /// The one of `secret`, given as the decoded bytes.
    pub(super) fn of(secret: &[u8]) -> Result<Self, TlsError> {
        let key = PrivatePkcs8KeyDer::from(pkcs8(&seed(secret)));
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ED25519)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, COMMON_NAME);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key)?.der().clone();
        let issuer = Issuer::new(params, key);
        Ok(Self {
            issuer,
            certificate,
        })
    }

    /// What makes its leaves accepted.
    pub(super) fn anchor(&self) -> Result<TrustAnchor<'static>, TlsError> {
        webpki::anchor_from_trusted_cert(&self.certificate)
            .map(|anchor| anchor.to_owned())
            .map_err(configure)
    }

    /// A leaf for the node called `name`, with a key of its own.
    pub(super) fn issue(
        &self,
        provider: &CryptoProvider,
        name: &str,
        now: SystemTime,
    ) -> Result<CertifiedKey, TlsError> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let certificate = leaf_params(name, now)?.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(configure)?;
        Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
    }
}

pub(super) fn seed(secret: &[u8]) -> [u8; 32] {
    let mut seed = [0; 32];
    Hkdf::<Sha256>::new(Some(HKDF_SALT), secret)
        .expand(HKDF_INFO, &mut seed)
        .expect("32 bytes are within what HKDF-SHA256 can expand to");
    seed
}

/// An Ed25519 seed in the fixed PKCS#8 (version 1) envelope of RFC 8410.
fn pkcs8(seed: &[u8; 32]) -> Vec<u8> {
    const HEAD: [u8; 16] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    [&HEAD[..], &seed[..]].concat()
}

pub(super) fn leaf_params(name: &str, now: SystemTime) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Matryoshka node");
    params.subject_alt_names = vec![SanType::URI(format!("{NODE_URI}{name}").try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    // Certificates know no time before that, but a machine whose clock was not set yet may start then.
    let from = now.checked_sub(VALID_BEFORE);
    let from = from.map_or(SystemTime::UNIX_EPOCH, |from| {
        from.max(SystemTime::UNIX_EPOCH)
    });
    params.not_before = from.into();
    params.not_after = (now + VALID_AFTER).into();
    Ok(params)
}
