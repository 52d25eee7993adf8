//! From an address, or a knock at the door, to a connection on which both sides can talk.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use quinn::{
    Connection, ConnectionError, Endpoint, Incoming, RecvStream, SendStream, ServerConfig,
    TransportConfig, TransportErrorCode,
};

use crate::link::Established;
use crate::proto::close::Close;
use crate::proto::trouble::{Trouble, foreign};
use crate::tls::{ANY_NODE, Handshake, Identity, TlsError, refused_here, refused_there};

/// How long somebody who connects may take for the handshake and for opening the control stream.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(3);
/// Before the handshake is done QUIC says no more than that the other side wants no connection any more: mostly since it has waited
/// for too long, and its attempts still lie here when this node goes on.
const GAVE_UP: &str = "it gave up before the handshake was done, as it does when a node stood still or is too busy to answer; \
     it tries again by itself, so there is nothing to do unless no link comes about";
/// QUIC's transport errors with these codes are TLS alerts.
const CRYPTO_ERRORS: std::ops::Range<u64> = 0x100..0x200;

/// What both ways to a connection need.
pub(crate) struct Connector {
    endpoint: Endpoint,
    identity: Arc<Identity>,
    /// For listening; each handshake puts its own TLS into a copy.
    server: ServerConfig,
    transport: Arc<TransportConfig>,
    look_up: LookUp,
}

impl Connector {
    pub(crate) fn new(
        endpoint: Endpoint,
        identity: Arc<Identity>,
        server: ServerConfig,
        transport: Arc<TransportConfig>,
        look_up: LookUp,
    ) -> Self {
        Self {
            endpoint,
            identity,
            server,
            transport,
            look_up,
        }
    }

    /// Looks `address` up and connects; of several addresses takes number `attempt`, counted round, of those that are not `known`,
    /// or of all if all are. The caller limits the time.
    pub(crate) async fn dial(
        self: Arc<Self>,
        address: String,
        attempt: u32,
        known: Vec<SocketAddr>,
    ) -> Result<Established, Trouble> {
        let remote = self.find(&address, attempt, &known).await?;
        let handshake = Handshake::new(self.identity.clone());
        let mut config = handshake.client_config().map_err(|error| no_tls(&error))?;
        config.transport_config(self.transport.clone());
        let connecting = self
            .endpoint
            .connect_with(config, remote, ANY_NODE)
            .map_err(|error| Trouble::new("dial", format!("cannot dial: {error}")))?;
        let explain = |error| explain(&error, &handshake);
        let connection = connecting.await.map_err(explain)?;
        let (send, receive) = connection.open_bi().await.map_err(explain)?;
        Ok(established(connection, send, receive, handshake))
    }

    /// Completes the handshake of somebody who connects.
    pub(crate) async fn accept(
        self: Arc<Self>,
        incoming: Incoming,
    ) -> Result<Established, Trouble> {
        let handshake = Handshake::new(self.identity.clone());
        let mut config = self.server.clone();
        config.crypto = handshake.server_crypto().map_err(|error| no_tls(&error))?;
        let accepting = async {
            let explain = |error| explain(&error, &handshake);
            let connecting = incoming.accept_with(Arc::new(config)).map_err(explain)?;
            let connection = connecting.await.map_err(explain)?;
            let (send, receive) = connection.accept_bi().await.map_err(explain)?;
            Ok((connection, send, receive))
        };
        let limited = tokio::time::timeout(HANDSHAKE_LIMIT, accepting).await;
        let slow = |_| Err(Trouble::new("slow", "the handshake took too long"));
        let (connection, send, receive) = limited.unwrap_or_else(slow)?;
        Ok(established(connection, send, receive, handshake))
    }

    async fn find(
        &self,
        address: &str,
        attempt: u32,
        known: &[SocketAddr],
    ) -> Result<SocketAddr, Trouble> {
        let failed = |text| Trouble::new("name", text);
        let found = (self.look_up)(address.to_owned())
            .await
            .map_err(|error| failed(format!("the name cannot be looked up: {error}")))?;
        let local = self
            .endpoint
            .local_addr()
            .map_err(|error| failed(format!("the socket is gone: {error}")))?;
        choose(found, local, known, attempt).ok_or_else(|| {
            failed("the name has no address that this node's listener can reach".to_owned())
        })
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

/// Finds the addresses that a host name means at the moment.
pub(crate) type LookUp = Arc<dyn Fn(String) -> LookingUp + Send + Sync>;
type LookingUp = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Asks the system, each time anew.
pub(crate) fn system_look_up() -> LookUp {
    Arc::new(|address| {
        Box::pin(async move { Ok(tokio::net::lookup_host(address).await?.collect()) })
    })
}

/// What broke a connection, in words that say what to do about it.
pub(crate) fn explain(error: &ConnectionError, handshake: &Handshake) -> Trouble {
    match error {
        ConnectionError::TransportError(error) => {
            let alert = alert(error.code.into());
            let refused = alert.and_then(|alert| refused_here(alert, &handshake.note()));
            refused.unwrap_or_else(|| {
                let kind = format!("here: {}", u64::from(error.code));
                let text = foreign(&error.to_string());
                Trouble::new(kind, format!("what it sends is no proper QUIC: {text}"))
            })
        }
        ConnectionError::ConnectionClosed(close) => {
            let alert = alert(close.error_code.into());
            let refused =
                alert.and_then(|alert| refused_there(alert, &handshake.note(), handshake.now()));
            refused.unwrap_or_else(|| match close.error_code {
                TransportErrorCode::CONNECTION_REFUSED => {
                    Trouble::new("there: no room", "it takes no handshake now: it stops, or has too many others; it is asked again")
                }
                TransportErrorCode::APPLICATION_ERROR => Trouble::new("there: gave up", GAVE_UP),
                _ => Trouble::new("there", foreign(&close.to_string())),
            })
        }
        ConnectionError::ApplicationClosed(close) => {
            let close = Close::read(close.error_code.into_inner(), &close.reason);
            let kind = match &close {
                Close::Unknown { .. } => "there: unknown".to_owned(),
                close => format!("there: close {}", close.code()),
            };
            Trouble::new(kind, foreign(&close.to_string()))
        }
        ConnectionError::TimedOut => Trouble::new(
            "no answer",
            "no answer: is the node running, and is UDP let through to it?",
        ),
        error => Trouble::new("connection", error.to_string()),
    }
}

fn alert(code: u64) -> Option<u8> {
    let alert = CRYPTO_ERRORS.contains(&code).then_some(code & 0xff)?;
    u8::try_from(alert).ok()
}

fn no_tls(error: &TlsError) -> Trouble {
    Trouble::new("tls", error.to_string())
}

fn established(
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
    handshake: Arc<Handshake>,
) -> Established {
    Established {
        certified: handshake.note().certified(),
        connection,
        send,
        receive,
        handshake,
    }
}

/// Number `attempt`, counted round, of those that a socket bound to `local` reaches: one for IPv4 reaches no IPv6
/// address; one for IPv6 may reach both. Those at which nobody is known yet go before.
fn choose(
    mut found: Vec<SocketAddr>,
    local: SocketAddr,
    known: &[SocketAddr],
    attempt: u32,
) -> Option<SocketAddr> {
    found.retain(|remote| local.is_ipv6() || remote.is_ipv4());
    // Name servers shuffle their answers, which must not make the same address come up again and again.
    found.sort();
    found.dedup();
    let is_new = |at: &SocketAddr| !known.iter().any(|known| is_same(known, at));
    if found.iter().any(is_new) {
        found.retain(is_new);
    }
    let at = (attempt as usize).checked_rem(found.len())?;
    Some(found[at])
}

/// An IPv4 address may be written as an IPv6 one, by a socket that is for both.
fn is_same(one: &SocketAddr, other: &SocketAddr) -> bool {
    (one.ip().to_canonical(), one.port()) == (other.ip().to_canonical(), other.port())
}

#[cfg(test)]
mod tests;
