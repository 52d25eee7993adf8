//! Certificates and mutual authentication: from the cluster's secret to the two QUIC configurations.
//!
//! Each secret gives, by HKDF-SHA256, the Ed25519 key of a certificate authority. The authority's certificate is
//! never sent and never compared: every node makes it afresh and uses it as its own trust anchor. A node issues
//! itself a leaf that carries its name as a URI. Chains are verified without a name, since an address does not
//! say who is to be met; the name is compared once the peer has said hello.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use hkdf::Hkdf;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, SanType,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, TrustAnchor, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, PeerIncompatible, SignatureScheme,
};
use sha2::Sha256;

use crate::secret::Secret;

/// What a leaf's URI starts with; the node's name follows.
const NODE_URI: &str = "matryoshka:node/";
/// The server name that a dialling node puts where TLS wants one. It is neither sent nor checked.
pub(crate) const ANY_NODE: &str = "matryoshka.invalid";
const ALPN: &[u8] = b"matryoshka-mesh/1";
const AUTHORITY: &str = "Matryoshka cluster authority";
const HKDF_SALT: &[u8] = b"matryoshka cluster secret";
const HKDF_INFO: &[u8] = b"certificate authority, ed25519 seed, 1";

/// How long before its issue a leaf is valid already: clocks of two nodes may differ by that much.
const VALID_BEFORE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long after its issue a leaf is valid.
const VALID_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// After how long a leaf is replaced by a fresh one; open connections are not touched by that.
pub(crate) const RENEW_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60 / 2);

// DER bodies of the object identifiers 1.3.6.1.5.5.7.3.1 and .2.
const SERVER_AUTH: &[u8] = &[43, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u8] = &[43, 6, 1, 5, 5, 7, 3, 2];

/// Why the TLS set-up of this node could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Deriving or issuing a certificate failed.
    #[error("cannot issue this node's certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// The TLS library refused keys or parameters.
    #[error("cannot configure TLS: {0}")]
    Configure(String),
}

/// This node's certificate, its authority, and those it trusts.
pub(crate) struct Credentials {
    authority: Issuer<'static, KeyPair>,
    subject: String,
    provider: Arc<CryptoProvider>,
    verifier: Arc<ChainVerifier>,
    leaf: Arc<Leaf>,
}

impl Credentials {
    /// Derives the authorities and issues a first leaf for the node called `name`.
    pub(crate) fn new(secret: &Secret, name: &str, now: SystemTime) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut anchors = Vec::new();
        let mut issuing = None;
        for key in secret.keys() {
            let (authority, certificate) = authority(key)?;
            anchors.push(anchor(&certificate)?);
            issuing.get_or_insert(authority);
        }
        let authority = issuing.expect("a secret has at least one key");
        let leaf = Leaf(RwLock::new(issue(&authority, &provider, name, now)?));
        let verifier = ChainVerifier {
            anchors,
            algorithms: provider.signature_verification_algorithms,
        };
        Ok(Self {
            authority,
            subject: name.to_owned(),
            provider,
            verifier: Arc::new(verifier),
            leaf: Arc::new(leaf),
        })
    }

    /// Issues a fresh leaf, used by every handshake from now on.
    pub(crate) fn renew(&self, now: SystemTime) -> Result<(), TlsError> {
        let fresh = issue(&self.authority, &self.provider, &self.subject, now)?;
        *self.leaf.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// The configuration for dialling.
    pub(crate) fn client_config(&self) -> Result<quinn::ClientConfig, TlsError> {
        let mut config = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(configure)?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier.clone())
            .with_client_cert_resolver(self.leaf.clone());
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        config.enable_sni = false;
        let quic = QuicClientConfig::try_from(config).map_err(configure)?;
        Ok(quinn::ClientConfig::new(Arc::new(quic)))
    }

    /// The configuration for listening.
    pub(crate) fn server_config(&self) -> Result<quinn::ServerConfig, TlsError> {
        let mut config = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(configure)?
            .with_client_cert_verifier(self.verifier.clone())
            .with_cert_resolver(self.leaf.clone());
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        let quic = QuicServerConfig::try_from(config).map_err(configure)?;
        Ok(quinn::ServerConfig::with_crypto(Arc::new(quic)))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("subject", &self.subject)
            .field("authorities", &self.verifier.anchors.len())
            .finish_non_exhaustive()
    }
}

/// The node names that a verified peer certificate was issued for.
pub(crate) fn certified_names(chain: &[CertificateDer<'_>]) -> Vec<String> {
    let Some(leaf) = chain.first() else {
        return Vec::new();
    };
    let Ok(leaf) = webpki::EndEntityCert::try_from(leaf) else {
        return Vec::new();
    };
    leaf.valid_uri_names()
        .filter_map(|uri| uri.strip_prefix(NODE_URI))
        .map(str::to_owned)
        .collect()
}

/// The leaf that handshakes present; swapped whole when it is renewed.
#[derive(Debug)]
struct Leaf(RwLock<Arc<CertifiedKey>>);

impl Leaf {
    fn current(&self) -> Arc<CertifiedKey> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ResolvesServerCert for Leaf {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Leaf {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Accepts what one of our authorities signed for both sides of a connection, whatever its name.
#[derive(Debug)]
struct ChainVerifier {
    anchors: Vec<TrustAnchor<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ChainVerifier {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let leaf = webpki::EndEntityCert::try_from(leaf).map_err(refusal)?;
        for purpose in [SERVER_AUTH, CLIENT_AUTH] {
            leaf.verify_for_usage(
                self.algorithms.all,
                &self.anchors,
                chain,
                now,
                webpki::KeyUsage::required(purpose),
                None,
                None,
            )
            .map_err(refusal)?;
        }
        Ok(())
    }

    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }
}

impl ServerCertVerifier for ChainVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(end_entity, intermediates, now)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for ChainVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(end_entity, intermediates, now)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The authority of one secret: its key as an issuer, and its certificate to make the trust anchor of.
fn authority(
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

fn seed(secret: &[u8]) -> [u8; 32] {
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

fn anchor(certificate: &CertificateDer<'_>) -> Result<TrustAnchor<'static>, TlsError> {
    webpki::anchor_from_trusted_cert(certificate)
        .map(|anchor| anchor.to_owned())
        .map_err(configure)
}

fn issue(
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

fn leaf_params(name: &str, now: SystemTime) -> Result<CertificateParams, TlsError> {
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

/// What TLS tells both sides when a chain does not verify. A certificate of another cluster fails by its
/// signature, as all authorities have one subject; TLS has a better word for that: an unknown issuer.
fn refusal(error: webpki::Error) -> rustls::Error {
    let error = match error {
        webpki::Error::BadDer | webpki::Error::BadDerTime => CertificateError::BadEncoding,
        webpki::Error::CertExpired { .. } => CertificateError::Expired,
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        webpki::Error::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        _ => CertificateError::UnknownIssuer,
    };
    error.into()
}

fn configure(error: impl fmt::Display) -> TlsError {
    TlsError::Configure(error.to_string())
}

#[cfg(test)]
mod tests;
