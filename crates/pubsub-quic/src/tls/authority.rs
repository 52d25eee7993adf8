//! The certificate authority that is derived from a secret, and the leaves it issues.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hkdf::Hkdf;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, SanType,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, TrustAnchor};
use rustls::sign::CertifiedKey;
use sha2::Sha256;

use super::{NODE_URI, TlsError, configure};

const AUTHORITY: &str = "Matryoshka cluster authority";
const HKDF_SALT: &[u8] = b"matryoshka cluster secret";
const HKDF_INFO: &[u8] = b"certificate authority, ed25519 seed, 1";

/// How long before its issue a leaf is valid already: clocks of two nodes may differ by that much.
pub(super) const VALID_BEFORE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long after its issue a leaf is valid.
pub(super) const VALID_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The authority of one secret: its key as an issuer, and its certificate to make the trust anchor of.
pub(super) fn authority(
    secret: &[u8],
) -> Result<(Issuer<'static, KeyPair>, CertificateDer<'static>), TlsError> {
    let key = PrivatePkcs8KeyDer::from(pkcs8(&seed(secret)));
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ED25519)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let certificate = params.self_signed(&key)?.der().clone();
    Ok((Issuer::new(params, key), certificate))
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

pub(super) fn anchor(certificate: &CertificateDer<'_>) -> Result<TrustAnchor<'static>, TlsError> {
    webpki::anchor_from_trusted_cert(certificate)
        .map(|anchor| anchor.to_owned())
        .map_err(configure)
}

pub(super) fn issue(
    authority: &Issuer<'static, KeyPair>,
    provider: &CryptoProvider,
    name: &str,
    now: SystemTime,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let certificate = leaf_params(name, now)?.signed_by(&key, authority)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(configure)?;
    Ok(Arc::new(CertifiedKey::new(
        vec![certificate.der().clone()],
        key,
    )))
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
    params.not_before = (now - VALID_BEFORE).into();
    params.not_after = (now + VALID_AFTER).into();
    Ok(params)
}
