//! The requests of long polling: which answer each gets.
//!
//! The status that clients look at stands in the body; the HTTP status is 200 for all that follows the protocol.

use std::{future::Future, net::SocketAddr};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL, CONTENT_TYPE,
    },
};
use http_body_util::Full;
use tokio::time::Instant;

use super::{
    LONGPOLL, LongPolling, body,
    body::{BadLine, Layout},
    budget::Holder,
    downstream::Polled,
    intake::{NotRead, Room, read},
    relay,
    session::{LongPollConnection, PostAnswer, Unread, Window},
    sessions::{NoSeat, Place},
    token::Token,
    upstream::NotTaken,
};
use crate::{
    admission::NotAdmitted,
    connect::Rejection,
    connections::Connections,
    head::Head,
    http_service::{HttpService, RequestBody},
    later::later,
    params::{Params, ParamsError},
    session::Handler,
    subprotocol::AuthToken,
};

/// Where a client may put its token beside the parameter `token`. The header wins.
const TOKEN_HEADER: &str = "x-phoenix-longpoll-token";
const TOKEN_PARAM: &str = "token";

/// Where a client puts its user's token, as it is.
const AUTH_TOKEN_HEADER: &str = "x-phoenix-authtoken";

/// How long a browser may keep the answer to a preflight, in seconds.
const PREFLIGHT_AGE: &str = "3600";

/// Answers one request.
pub(crate) async fn answer<H: Handler, B: RequestBody>(
    service: HttpService<H>,
    polling: LongPolling,
    head: Head,
    body: B,
) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::POST, Method::OPTIONS].contains(&head.method) {
        return plain(StatusCode::BAD_REQUEST, "");
    }
    let params = match service.params(&head) {
        Ok(params) => params,
        Err(error) => return plain(Rejection::from(error).status, ""),
    };
    if !service.allows_origin(&head) {
        return refused_origin(&head.method);
    }
    match head.method {
        Method::GET => get(&service, &polling, params, &head).await,
        Method::POST => {
            let client = service.client(&head);
            let connections = service.connections();
            post(&polling, connections, client, &params, &head.headers, body).await
        }
        _ => preflight(&head.headers),
    }
}

async fn get<H: Handler>(
    service: &HttpService<H>,
    polling: &LongPolling,
    params: Params,
    head: &Head,
) -> Response<Full<Bytes>> {
    let Some(token) = token(&head.headers, &params).filter(|token| is_of_a_session(token)) else {
        return open(service, polling, params, head).await;
    };
    let holder = Holder::of(service.client(head), token);
    let drained = service.connections().drained();
    let Some((polled, until_read)) = polling.poll(token, holder, drained).await else {
        polling.sessions.refuse_poll();
        return fault(StatusCode::SERVICE_UNAVAILABLE);
    };
    match polled {
        Polled::Messages(messages) => {
            let body = body::polled(200, token, &messages);
            json(until_read.hold(body))
        }
        Polled::Nothing => json(body::polled(204, token, &[])),
        Polled::Gone if takes_410_for_an_opening(&head.headers) => status(500),
        Polled::Gone => match params_without(token, head.query()) {
            Ok(params) => open(service, polling, params, head).await,
            Err(_) => plain(StatusCode::BAD_REQUEST, ""),
        },
    }
}

/// Whether it has the form of our tokens. A parameter of that name may as well be the user's own, which stands alone where a session begins.
fn is_of_a_session(token: &str) -> bool {
    Token::read(token).is_some()
}

/// Clients of the years before they had to be told that a session is gone go on with the new one, without their channels. They
/// start over when told of a fault, and are known by stating the type of a content that their request does not have.
fn takes_410_for_an_opening(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_TYPE)
}

async fn open<H: Handler>(
    service: &HttpService<H>,
    polling: &LongPolling,
    params: Params,
    head: &Head,
) -> Response<Full<Bytes>> {
    let token = service
        .config()
        .auth_token
        .then(|| auth_token(&head.headers));
    let Ok(info) = service.connect_info(LONGPOLL, params, head, token.flatten()) else {
        return status(403);
    };
    let seat = match polling.sessions.take_seat(service.client(head)) {
        Ok(seat) => seat,
        Err(no_seat) => return put_off(polling, no_seat),
    };
    let limits = service.config().limits.clone();
    let limits = limits.with_idle_timeout(polling.config().idle_timeout);
    let largest_frame = polling.config().max_frame_bytes;
    match service.admit(head, info, &limits, largest_frame).await {
        Ok(admitted) => {
            let (session, token) = seat.open();
            tokio::spawn(admitted.drive(LongPollConnection::new(session, seat)));
            json(body::polled(410, &token, &[]))
        }
        Err(NotAdmitted::Refused(_)) => status(403),
        Err(not_admitted) => fault(not_admitted.status()),
    }
}

/// The answer to a client for which there is no session now.
fn put_off(polling: &LongPolling, no_seat: NoSeat) -> Response<Full<Bytes>> {
    let lines = polling.sessions.lines();
    match no_seat {
        NoSeat::Full => {
            if let Some(left_out) = lines.no_seat.pass_now() {
                tracing::warn!(
                    sessions = polling.config().max_sessions,
                    left_out,
                    "a client was put off: all long-poll sessions are in use"
                );
            }
            fault(StatusCode::SERVICE_UNAVAILABLE)
        }
        NoSeat::Address => {
            if let Some(left_out) = lines.no_seat_for_address.pass_now() {
                tracing::warn!(
                    limit = "LongPollConfig::max_sessions_per_address",
                    left_out,
                    "a client was put off: its address has as many long-poll sessions as it may; raise the limit, or name the proxy by \
                     which all come (HttpConfig::with_trusted_proxies)"
                );
            }
            fault(StatusCode::TOO_MANY_REQUESTS)
        }
    }
}

async fn post<B: RequestBody>(
    polling: &LongPolling,
    connections: &Connections,
    client: Option<SocketAddr>,
    params: &Params,
    headers: &HeaderMap,
    body: B,
) -> Response<Full<Bytes>> {
    let Some(token) = token(headers, params) else {
        return status(410);
    };
    let place = polling.sessions.find(token);
    let holder = Holder::of(client, token);
    if let Place::There(node) = &place
        && let Err(answer) = polling.relay.find(node, token, &holder).await
    {
        return posted(polling, answer);
    }
    let mut room = match polling.room(&place, holder.clone()) {
        Ok(room) => room,
        Err(not_taken) => return posted(polling, not_taken.into()),
    };
    let body = match read(body, polling.config(), &mut room).await {
        Ok(body) => body,
        Err(not_read) => return refuse(polling, not_read),
    };
    let layout = Layout::of(headers);
    let answer = match (&place, room.session) {
        (Place::There(node), _) => {
            // It is here, and not to be lost with this node.
            let _under_way = connections.begin_request();
            let relay = &polling.relay;
            relay
                .post(node, token, layout, body, room.node, &holder)
                .await
        }
        (_, Some(coming)) => {
            let window = Window::open(polling.config().window);
            coming.post(layout.messages(body), room.node, window).await
        }
        (_, None) => PostAnswer::Gone,
    };
    posted(polling, answer)
}

fn posted(polling: &LongPolling, answer: PostAnswer) -> Response<Full<Bytes>> {
    match answer {
        PostAnswer::Taken => status(200),
        PostAnswer::Late => status(408),
        PostAnswer::Gone => status(410),
        PostAnswer::BadLine(BadLine { number }) => {
            let why = format!(
                "line {number} is neither a message in JSON, which starts with `[`, nor one in base64"
            );
            if let Some(left_out) = polling.sessions.lines().bad_line.pass_now() {
                tracing::warn!(
                    why,
                    left_out,
                    "a post was refused; a client of version 1 posts one message at a time, as application/json"
                );
            }
            plain(StatusCode::INTERNAL_SERVER_ERROR, &why)
        }
    }
}

/// The answer to a post whose body was not read, or not to its end.
fn refuse(polling: &LongPolling, not_read: NotRead) -> Response<Full<Bytes>> {
    let why = match not_read {
        NotRead::TooLarge(most) => format!("the body has more than {most} bytes"),
        NotRead::TooSlow(time) => format!("the body did not come within {time:?}"),
        // Its client is gone, and no limit of ours is why.
        NotRead::Broken => return plain(StatusCode::BAD_REQUEST, "the body ended too early"),
        NotRead::NotTaken(not_taken) => return posted(polling, not_taken.into()),
        NotRead::NoRoom => {
            let limit = "LongPollConfig::max_posted_bytes, for other nodes max_forwarded_bytes";
            polling.sessions.refuse_post(limit);
            return fault(StatusCode::SERVICE_UNAVAILABLE);
        }
    };
    if let Some(left_out) = polling.sessions.lines().not_read.pass_now() {
        tracing::warn!(
            why,
            left_out,
            "a post was refused; LongPollConfig::max_body_bytes and body_timeout are the limits, and half of max_posted_bytes, for \
             other nodes of max_forwarded_bytes"
        );
    }
    plain(StatusCode::BAD_REQUEST, &why)
}

impl LongPolling {
    /// None if too much came from other nodes that clients have not read. A poll for another node does not wait much longer once this one is
    /// drained: it ends before that session does.
    async fn poll(
        &self,
        token: &str,
        holder: Holder,
        drained: impl Future<Output = ()>,
    ) -> Option<(Polled, UntilRead)> {
        let window = self.config().window;
        match self.sessions.find(token) {
            Place::Here(session) => {
                let (polled, unread) = session.poll(window).await;
                Some((polled, UntilRead::Here { _unread: unread }))
            }
            Place::There(node) => {
                let polled = self.relay.poll(&node, token, window, holder, drained);
                let (polled, unread) = polled.await?;
                let until_read = unread.map_or(UntilRead::Nothing, UntilRead::There);
                Some((polled, until_read))
            }
            Place::Nowhere => Some((Polled::Gone, UntilRead::Nothing)),
        }
    }

    /// The room for a post to the session in that place, before any of it is read.
    fn room<'a>(&self, place: &'a Place, holder: Holder) -> Result<Room<'a>, NotTaken> {
        let (session, budget) = match place {
            Place::Here(session) => (Some(session.enter()?), self.sessions.posted()),
            Place::There(_) => (None, self.relay.asked()),
            Place::Nowhere => return Err(NotTaken::Gone),
        };
        let node = budget.charge(Some(holder));
        let end = later(Instant::now().into_std(), self.config().window).into();
        Ok(Room { session, node, end })
    }
}

/// What an answer takes until its client has read it.
enum UntilRead {
    /// Of a session of this node.
    Here {
        _unread: Unread,
    },
    /// Of what came from other nodes.
    There(relay::Unread),
    Nothing,
}

impl UntilRead {
    /// The body, with which this is dropped: that is when the HTTP server has written it.
    fn hold(mut self, body: Vec<u8>) -> Bytes {
        if let Self::There(unread) = &mut self {
            unread.settle(body.len());
        }
        Bytes::from_owner(Held {
            body,
            _until_read: self,
        })
    }
}

struct Held {
    body: Vec<u8>,
    _until_read: UntilRead,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

fn token<'a>(headers: &'a HeaderMap, params: &'a Params) -> Option<&'a str> {
    let header = headers.get(TOKEN_HEADER);
    let header = header.and_then(|value| value.to_str().ok());
    let token = header.or_else(|| params.get(TOKEN_PARAM));
    token.filter(|token| !token.is_empty())
}

/// What connects anew by the query of a poll: the session's token stands behind a parameter of that name which the user gave, and hides it.
fn params_without(token: &str, query: &str) -> Result<Params, ParamsError> {
    let is_it = |pair: &str| pair.split_once('=') == Some((TOKEN_PARAM, token));
    let pairs: Vec<&str> = query.split('&').filter(|pair| !is_it(pair)).collect();
    Params::parse(&pairs.join("&"))
}

/// The token that official clients send with each poll; the one that opens the session counts.
fn auth_token(headers: &HeaderMap) -> Option<AuthToken> {
    let token = headers.get(AUTH_TOKEN_HEADER)?;
    Some(AuthToken::new(token.to_str().ok()?))
}

/// Every origin may ask, since each is checked when it does.
fn preflight(headers: &HeaderMap) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let answer = response.headers_mut();
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    answer.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("get, post, options"),
    );
    answer.insert(
        ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static(PREFLIGHT_AGE),
    );
    answer.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for asked in headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.append(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    response
}

/// A page that may not ask is told so, but the headers that let a browser go on are not for it to see.
fn refused_origin(method: &Method) -> Response<Full<Bytes>> {
    let mut response = status(403);
    if *method == Method::OPTIONS {
        response.headers_mut().remove(ACCESS_CONTROL_ALLOW_ORIGIN);
    }
    response
}

fn status(status: u16) -> Response<Full<Bytes>> {
    json(body::status(status))
}

/// A fault as proxies and clients each understand it: the clients look at the body only, and start over.
fn fault(http_status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = status(500);
    *response.status_mut() = http_status;
    response
}

fn json(body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer outside of the protocol, for people.
fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text.to_owned()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}
