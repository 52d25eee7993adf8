//! The WebSocket handshake, checked in a fixed order, and the hand-over to the connection's task.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode, Version,
    header::{
        CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tungstenite::handshake::derive_accept_key;

use crate::{
    admission::Admitted,
    connect::Rejection,
    head::Head,
    http_service::{HttpConfig, HttpService},
    session::{Handler, Session},
    subprotocol::Agreed,
    websocket::{MAX_OUTGOING_BYTES, WEBSOCKET, WebSocket},
};

/// Answers a request for a WebSocket.
pub(crate) async fn answer<H: Handler>(
    service: HttpService<H>,
    head: Head,
    on_upgrade: OnUpgrade,
) -> Response<Full<Bytes>> {
    let answered = shake(&service, &head, on_upgrade).await;
    answered.unwrap_or_else(Rejection::into_response)
}

/// The checks stand in the order in which they decide.
async fn shake<H: Handler>(
    service: &HttpService<H>,
    head: &Head,
    on_upgrade: OnUpgrade,
) -> Result<Response<Full<Bytes>>, Rejection> {
    if head.method != Method::GET {
        service.tell_no_handshake("the method must be `GET`");
        return Err(Rejection::empty(StatusCode::BAD_REQUEST));
    }
    let params = service.params(head)?;
    if !service.allows_origin(head) {
        return Err(Rejection::forbidden());
    }
    let forbidden = |_| Rejection::forbidden();
    let Agreed { spoken, token } = service.agree(head).map_err(forbidden)?;
    let info = service
        .connect_info(WEBSOCKET, params, head, token)
        .map_err(|_unknown| Rejection::forbidden())?;
    let limits = &service.config().limits;
    let admitted = service
        .admit(head, info, limits, MAX_OUTGOING_BYTES)
        .await?;
    match accept_key(head) {
        Ok(accept) => {
            tokio::spawn(upgrade(on_upgrade, admitted, service.shared_config()));
            Ok(switching_protocols(accept, spoken))
        }
        Err(problem) => {
            admitted.abandon();
            service.tell_no_handshake(problem);
            Err(Rejection::new(StatusCode::BAD_REQUEST, problem))
        }
    }
}

/// Waits for the upgrade, and then starts the connection's own task, which is the only one that stays.
async fn upgrade<S: Session>(
    on_upgrade: OnUpgrade,
    admitted: Admitted<S>,
    config: Arc<HttpConfig>,
) {
    let time = config.limits.handshake_timeout;
    match timeout(time, on_upgrade).await {
        Ok(Ok(upgraded)) => {
            let websocket = WebSocket::accept(TokioIo::new(upgraded), &config.websocket);
            tokio::spawn(admitted.drive(websocket));
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "the connection was gone before its upgrade");
            admitted.abandon();
        }
        Err(_elapsed) => {
            admitted.counters().handshake_timeouts.add_one();
            admitted.abandon();
        }
    }
}

/// Checks the headers of the upgrade, and answers the client's key, or says what is wrong.
fn accept_key(head: &Head) -> Result<HeaderValue, &'static str> {
    let headers = &head.headers;
    if head.version != Version::HTTP_11 {
        return Err("a WebSocket handshake needs HTTP/1.1");
    }
    if !names_token(headers, UPGRADE.as_str(), WEBSOCKET) {
        return Err("header `upgrade` must be `websocket`");
    }
    if !names_token(headers, CONNECTION.as_str(), "upgrade") {
        return Err("header `connection` must name `upgrade`");
    }
    if !names_token(headers, SEC_WEBSOCKET_VERSION.as_str(), "13") {
        return Err("header `sec-websocket-version` must be `13`");
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    let key = key.ok_or("header `sec-websocket-key` must be 16 bytes in base64")?;
    let accept = derive_accept_key(key.as_bytes());
    Ok(HeaderValue::try_from(accept).expect("base64 is a header value"))
}

fn switching_protocols(accept: HeaderValue, spoken: Option<HeaderValue>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(spoken) = spoken {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, spoken);
    }
    response
}

/// Whether one of the comma-separated tokens of a header is this one, in any case.
fn names_token(headers: &HeaderMap, name: &str, token: &str) -> bool {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// 16 bytes in base64: 22 characters and their padding.
fn is_key(key: &HeaderValue) -> bool {
    let bytes = key.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    bytes.len() == 24 && bytes[..22].iter().all(plain) && bytes.ends_with(b"==")
}

#[cfg(test)]
mod tests {
    use hyper::upgrade::Upgraded;

    use super::*;
    use crate::{Close, Frame, Output};

    /// What the task of one connection may take, in bytes, beside its session: every idle socket pays for it.
    const CONNECTION_FUTURE_BYTES: usize = 768;

    struct Nothing;

    impl Session for Nothing {
        type Mail = ();

        fn handle_in(&mut self, _: Frame, _: &mut Output) -> Result<(), Close> {
            Ok(())
        }

        fn handle_mail(&mut self, (): (), _: &mut Output) -> Result<(), Close> {
            Ok(())
        }
    }

    fn size_of_future<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_task_of_a_connection_stays_small() {
        let drive = Admitted::<Nothing>::drive::<WebSocket<TokioIo<Upgraded>>>;
        let bytes = size_of_future(drive);
        assert!(bytes <= CONNECTION_FUTURE_BYTES, "{bytes} bytes");
    }
}
