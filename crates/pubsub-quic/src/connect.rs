//! From an address, or a knock at the door, to a connection on which both sides can talk.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, Incoming};
use rustls::pki_types::CertificateDer;

use crate::link::Established;
use crate::tls::{ANY_NODE, certified_names};

/// How long somebody who connects may take for the handshake and for opening the control stream.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(3);
/// From this code on, QUIC's transport errors are TLS alerts.
const CRYPTO_ERRORS: u64 = 0x100;

/// Looks `address` up and connects; of several addresses takes number `attempt`, counted round. The caller limits
/// the time.
pub(crate) async fn dial(
    endpoint: Endpoint,
    config: ClientConfig,
    address: String,
    attempt: u32,
) -> Result<Established, String> {
    let remote = look_up(&endpoint, &address, attempt).await?;
    let connecting = endpoint
        .connect_with(config, remote, ANY_NODE)
        .map_err(|error| format!("cannot dial: {error}"))?;
    let connection = connecting.await.map_err(|error| explain(&error))?;
    let streams = connection.open_bi().await;
    let (send, receive) = streams.map_err(|error| explain(&error))?;
    Ok(established(connection, send, receive))
}

/// Completes the handshake of somebody who connects.
pub(crate) async fn accept(incoming: Incoming) -> Result<Established, String> {
    let handshake = async {
        let connecting = incoming.accept().map_err(|error| explain(&error))?;
        let connection = connecting.await.map_err(|error| explain(&error))?;
        let streams = connection.accept_bi().await;
        let (send, receive) = streams.map_err(|error| explain(&error))?;
        Ok(established(connection, send, receive))
    };
    let limited = tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await;
    limited.unwrap_or_else(|_| Err("the handshake took too long".to_owned()))
}

/// What broke a connection, in words that say what to do about it.
pub(crate) fn explain(error: &ConnectionError) -> String {
    let code = match error {
        ConnectionError::TransportError(error) => u64::from(error.code),
        ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
        ConnectionError::TimedOut => {
            return "no answer: is the node running, and is UDP let through to it?".to_owned();
        }
        error => return error.to_string(),
    };
    match code.checked_sub(CRYPTO_ERRORS) {
        Some(45) => {
            "a certificate has expired or is not valid yet: compare the clocks of the two nodes"
        }
        Some(43) => {
            "a certificate is not for both sides of a connection (serverAuth and clientAuth)"
        }
        Some(42 | 46 | 48 | 51) => {
            "the two have different cluster secrets: give every node the same one"
        }
        Some(116) => "the other side has no certificate: it is no node of a cluster",
        Some(120) => "the other side speaks another protocol: it is no Matryoshka node",
        _ => return error.to_string(),
    }
    .to_owned()
}

fn established(
    connection: Connection,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
) -> Established {
    let certified = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .map(|chain| certified_names(&chain))
        .unwrap_or_default();
    Established {
        connection,
        send,
        receive,
        certified,
        certificate_end: None,
    }
}

async fn look_up(endpoint: &Endpoint, address: &str, attempt: u32) -> Result<SocketAddr, String> {
    let found = tokio::net::lookup_host(address)
        .await
        .map_err(|error| format!("the name cannot be looked up: {error}"))?;
    let local = endpoint
        .local_addr()
        .map_err(|error| format!("the socket is gone: {error}"))?;
    // A socket for IPv4 reaches no IPv6 address; one for IPv6 may reach both.
    let mut found: Vec<SocketAddr> = found
        .filter(|remote| local.is_ipv6() || remote.is_ipv4())
        .collect();
    found.sort();
    let Some(at) = (attempt as usize).checked_rem(found.len()) else {
        return Err("the name has no address that this node's listener can reach".to_owned());
    };
    Ok(found[at])
}
