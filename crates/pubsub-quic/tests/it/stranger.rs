//! Somebody who is no node: connects in whatever way a test wants.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, ServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

use crate::ca::Papers;

/// What nodes speak.
pub(crate) const ALPN: &[u8] = b"matryoshka-mesh/1";

/// Who dials, and in which way.
pub(crate) struct Stranger {
    endpoint: Endpoint,
    config: ClientConfig,
}

impl Stranger {
    pub(crate) fn new(papers: Option<&Papers>, alpn: &[u8]) -> Self {
        let config = config(papers, alpn);
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { endpoint, config }
    }

    /// Connects, and waits until it is thrown out again.
    pub(crate) async fn knock(&self, at: SocketAddr) -> ConnectionError {
        match self.connect(at).await {
            Ok(connection) => connection.closed().await,
            Err(error) => error,
        }
    }

    /// Begins to connect, and gives up after a few turns of whoever else runs on this thread.
    pub(crate) async fn give_up(&self, at: SocketAddr, turns: usize) {
        let config = self.config.clone();
        let connecting = self.endpoint.connect_with(config, at, "anybody.invalid");
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        drop(connecting);
    }

    /// Connects; whether the other side agrees is not known yet.
    pub(crate) async fn connect(&self, at: SocketAddr) -> Result<Connection, ConnectionError> {
        let config = self.config.clone();
        let connecting = self.endpoint.connect_with(config, at, "anybody.invalid");
        connecting.unwrap().await
    }
}

/// A TLS that believes everybody, and shows these papers or none.
pub(crate) fn config(papers: Option<&Papers>, alpn: &[u8]) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous));
    let mut tls = match papers {
        None => builder.with_no_client_auth(),
        Some(papers) => {
            let (chain, key) = chain_and_key(papers);
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    tls.alpn_protocols = vec![alpn.to_vec()];
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

/// Somebody to be dialled, who shows these papers and believes everybody.
pub(crate) fn trap(papers: &Papers) -> (Endpoint, SocketAddr) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key) = chain_and_key(papers);
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let tls = QuicServerConfig::try_from(tls).unwrap();
    let config = ServerConfig::with_crypto(Arc::new(tls));
    let endpoint = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let at = endpoint.local_addr().unwrap();
    let accepting = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            // Whatever comes of it: nothing is done with it.
            drop(incoming.await);
        }
    });
    (endpoint, at)
}

fn chain_and_key(papers: &Papers) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(papers.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(papers.key.as_bytes()).unwrap();
    (chain.collect::<Result<_, _>>().unwrap(), key)
}

#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ED25519,
            SignatureScheme::ECDSA_NISTP256_SHA256,
        ]
    }
}
