//! Certificates and mutual authentication: from the cluster's secret to the two QUIC configurations.
//!
//! Each secret gives, by HKDF-SHA256, the Ed25519 key of a certificate authority. The authority's certificate is
//! never sent and never compared: every node makes it afresh and uses it as its own trust anchor. A node issues
//! itself a leaf that carries its name as a URI. Chains are verified without a name, since an address does not
//! say who is to be met; the name is compared once the peer has said hello.

mod authority;
mod leaf;
mod verifier;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rcgen::{Issuer, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;

use self::authority::{anchor, authority, issue};
use self::leaf::Leaf;
use self::verifier::ChainVerifier;
use crate::secret::Secret;

/// What a leaf's URI starts with; the node's name follows.
const NODE_URI: &str = "matryoshka:node/";
/// The server name that a dialling node puts where TLS wants one. It is neither sent nor checked.
pub(crate) const ANY_NODE: &str = "matryoshka.invalid";
const ALPN: &[u8] = b"matryoshka-mesh/1";
/// After how long a leaf is replaced by a fresh one; open connections are not touched by that.
pub(crate) const RENEW_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60 / 2);

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

fn configure(error: impl fmt::Display) -> TlsError {
    TlsError::Configure(error.to_string())
}

#[cfg(test)]
mod tests;
