//! One handshake: what this node shows and accepts in it, and what it learns of the other side.
//!
//! Each handshake has a TLS configuration of its own, so that what its verifier saw can be asked for afterwards: TLS
//! itself passes on an error without the certificate that caused it. The note lives as long as the handshake and the
//! connection, whose number is bounded.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, PeerIncompatible, SignatureScheme};

use super::certificate::Certificate;
use super::credentials::Kind;
use super::identity::Identity;
use super::trust::Distrust;
use super::{TlsError, configure, provider};
use crate::proto::peer::Certified;

const ALPN: &[u8] = b"matryoshka-mesh/1";

/// See the module.
pub(crate) struct Handshake {
    identity: Arc<Identity>,
    note: Mutex<Note>,
}

/// What is known after a handshake, whether it came about or not.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    /// Where certificates come from here.
    pub(crate) kind: Kind,
    /// What was shown to the other side, if it came to that.
    pub(crate) own: Option<Certificate>,
    /// What the other side showed, if it did and it could be read.
    pub(crate) peer: Option<Certificate>,
    /// What this node has against it, and what its clock said then.
    pub(crate) distrust: Option<(Distrust, SystemTime)>,
}

impl Note {
    /// The part that outlives the handshake.
    pub(crate) fn certified(&self) -> Certified {
        let peer = self.peer.as_ref();
        let names = peer.map(|peer| peer.names(self.kind.naming()));
        Certified {
            names: names.unwrap_or_default(),
            until: peer.map(|peer| peer.valid_until),
            peer: peer.map(|peer| peer.fingerprint),
            own: self.own.as_ref().map(|own| own.fingerprint),
        }
    }
}

impl Handshake {
    pub(crate) fn new(identity: Arc<Identity>) -> Arc<Self> {
        let note = Note {
            kind: identity.credentials().kind(),
            own: None,
            peer: None,
            distrust: None,
        };
        Arc::new(Self {
            identity,
            note: Mutex::new(note),
        })
    }

    /// What is known by now.
    pub(crate) fn note(&self) -> Note {
        self.lock().clone()
    }

    /// What this node's clock says.
    pub(crate) fn now(&self) -> SystemTime {
        self.identity.clock().now()
    }

    /// The configuration for dialling.
    pub(crate) fn client_config(self: &Arc<Self>) -> Result<quinn::ClientConfig, TlsError> {
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(configure)?
            .dangerous()
            .with_custom_certificate_verifier(self.clone())
            .with_client_cert_resolver(self.clone());
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        config.enable_sni = false;
        let quic = QuicClientConfig::try_from(config).map_err(configure)?;
        Ok(quinn::ClientConfig::new(Arc::new(quic)))
    }

    /// What the configuration for listening needs of TLS.
    pub(crate) fn server_crypto(self: &Arc<Self>) -> Result<Arc<QuicServerConfig>, TlsError> {
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(configure)?
            .with_client_cert_verifier(self.clone())
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        let quic = QuicServerConfig::try_from(config).map_err(configure)?;
        Ok(Arc::new(quic))
    }

    fn lock(&self) -> MutexGuard<'_, Note> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self) -> Arc<CertifiedKey> {
        let credentials = self.identity.credentials();
        self.lock().own = Some(credentials.certificate().clone());
        credentials.key().clone()
    }

    /// By the credentials of this moment: a secret that was given up while the handshake ran counts no more.
    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
    ) -> Result<(), rustls::Error> {
        let (credentials, now) = (self.identity.credentials(), self.now());
        let judged = credentials.trust().judge(certificate, chain, now);
        let mut note = self.lock();
        note.peer = Certificate::read(certificate);
        note.distrust = judged.err().map(|distrust| (distrust, now));
        judged.map_err(|distrust| distrust.for_tls().into())
    }

    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let credentials = self.identity.credentials();
        let algorithms = credentials.trust().algorithms();
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.identity
            .credentials()
            .trust()
            .algorithms()
            .supported_schemes()
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handshake")
    }
}

impl ResolvesServerCert for Handshake {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.show())
    }
}

impl ResolvesClientCert for Handshake {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.show())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ServerCertVerifier for Handshake {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge(end_entity, intermediates)
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
        self.schemes()
    }
}

impl ClientCertVerifier for Handshake {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.judge(end_entity, intermediates)
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
        self.schemes()
    }
}
