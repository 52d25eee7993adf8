//! Every HTTP path on the one port, and what each refusal says.
//!
//! | path | file |
//! | --- | --- |
//! | `/`, `/chat.css`, `/chat.js`, `/assets/<file>`, `/api/page` | `page.rs` |
//! | `/socket/websocket`, `/socket/longpoll` | the channel crate, with `lab.rs` and `room.rs` |
//! | `GET /api/presence/<topic>` | `presence_api.rs` |
//! | `POST /api/broadcast/<topic>/<event>`, `POST /api/disconnect/<user>` | `broadcast_api.rs` |
//! | `GET /api/cluster` | `cluster_api.rs` |
//! | `GET /health/live`, `GET /health/ready` | `health.rs` |
//! | `GET /metrics` | `metrics.rs` |

use std::borrow::Cow;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::UPGRADE;
use http::uri::Scheme;
use http::{HeaderMap, Method, StatusCode, Uri};
use matryoshka_presence::channel::transport::{PeerAddr, excerpt};
use percent_encoding::percent_decode_str;
use tokio::time::timeout;
use tower::Service;

use crate::answer::Refusal;
use crate::page::Page;
use crate::server::Server;
use crate::{broadcast_api, cluster_api, health, metrics, presence_api};

/// The largest body that a `POST` may have: 1 MiB. A larger one is answered with 413.
pub(crate) const MAX_BODY_BYTES: usize = 1024 * 1024;

/// How long a `POST` may take, its body included. One that takes longer is answered with 408.
const POST_LIMIT: Duration = Duration::from_secs(10);

/// All paths of this node.
pub(crate) fn router(server: Server) -> Router {
    let posts = Router::new()
        .route("/api/broadcast/{*target}", post(broadcast_api::broadcast))
        .route("/api/disconnect/{*user}", post(broadcast_api::disconnect))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(answer_in_time))
        .layer(middleware::from_fn_with_state(
            server.clone(),
            refuse_strange_origins,
        ));
    Router::new()
        .route("/", get(index))
        .route("/chat.css", get(async || Page::style()))
        .route("/chat.js", get(async || Page::script()))
        .route("/assets/{*file}", get(asset))
        .route("/api/page", get(about))
        .route("/api/presence/{*topic}", get(presence_api::list))
        .route("/api/cluster", get(cluster_api::cluster))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(metrics::show))
        .merge(posts)
        .nest_service("/socket", server.sockets.clone())
        .fallback(elsewhere)
        .method_not_allowed_fallback(wrong_method)
        .with_state(server)
}

/// What stands in the request's path behind `prefix`, still percent-encoded.
pub(crate) fn behind<'a>(uri: &'a Uri, prefix: &str) -> &'a str {
    uri.path().strip_prefix(prefix).unwrap_or_default()
}

/// One part of a path, decoded.
///
/// # Errors
///
/// 400 if it is not UTF-8.
pub(crate) fn decoded<'a>(part: &'a str, what: &str) -> Result<Cow<'a, str>, Refusal> {
    percent_decode_str(part).decode_utf8().map_err(|_| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            format!(
                "the {what} {part:?} is not UTF-8 once decoded: percent-encode its UTF-8 bytes"
            ),
        )
    })
}

async fn index(State(server): State<Server>, headers: HeaderMap) -> Response {
    server.page.index(&headers)
}

async fn asset(State(server): State<Server>, uri: Uri) -> Response {
    server.page.asset(behind(&uri, "/assets/")).await
}

async fn about(State(server): State<Server>) -> Response {
    server.page.about()
}

/// What no path of the router fits.
async fn elsewhere(State(server): State<Server>, mut request: Request) -> Response {
    // Host with a slash and path with a slash, put together, are `//socket`. The router takes that for a path of its own, Phoenix does not.
    if let Some(uri) = below_sockets(request.uri()) {
        *request.uri_mut() = uri;
        let answer = server.sockets.clone().call(request).await;
        return answer.into_response();
    }
    nowhere(&server, request.headers(), request.uri()).into_response()
}

/// What `nest_service` makes of a path, for one that begins with more slashes than one.
fn below_sockets(uri: &Uri) -> Option<Uri> {
    let path = uri.path().trim_start_matches('/').strip_prefix("socket")?;
    if !path.starts_with('/') {
        return None;
    }
    let target = match uri.query() {
        Some(query) => Cow::Owned(format!("{path}?{query}")),
        None => Cow::Borrowed(path),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn nowhere(server: &Server, headers: &HeaderMap, uri: &Uri) -> Refusal {
    let is_sockets = headers.contains_key(UPGRADE)
        || uri.path().ends_with("/websocket")
        || uri.path().ends_with("/longpoll");
    // A browser hides the answer to a handshake.
    if is_sockets && let Some(left_out) = server.lost_sockets.pass_now() {
        tracing::warn!(
            path = excerpt(uri.path()),
            left_out,
            "no socket is served at this path: give the client /socket, and it adds the rest by itself"
        );
    }
    Refusal::new(
        StatusCode::NOT_FOUND,
        format!(
            "nothing is served at {}; there are /, /socket/websocket, /socket/longpoll, /api/presence/<topic>, \
             /api/broadcast/<topic>/<event>, /api/disconnect/<user>, /api/cluster, /api/page, \
             /health/live, /health/ready and /metrics",
            uri.path()
        ),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!(
            "{method} is not what {} takes; the allow header says what is",
            uri.path()
        ),
    )
}

/// A body that never ends would hold its connection for ever.
async fn answer_in_time(request: Request, next: Next) -> Response {
    let answered = timeout(POST_LIMIT, next.run(request)).await;
    answered.unwrap_or_else(|_| {
        let text = format!("the body did not come within {} s", POST_LIMIT.as_secs());
        Refusal::new(StatusCode::REQUEST_TIMEOUT, text).into_response()
    })
}

/// Any page that a browser shows can post to a server on the same machine, so what changes
/// something is only for the origins that may open a socket.
async fn refuse_strange_origins(
    State(server): State<Server>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<PeerAddr>();
    let said = peer.and_then(|peer| server.trusted_proxies.scheme(peer.0, request.headers()));
    let scheme = said.unwrap_or(Scheme::HTTP);
    if server.origins.allows_over(&scheme, request.headers()) {
        return next.run(request).await;
    }
    let origin = request.headers().get(http::header::ORIGIN);
    let origin = String::from_utf8_lossy(origin.map_or(b"", |origin| origin.as_bytes()));
    Refusal::new(
        StatusCode::FORBIDDEN,
        format!(
            "the origin {origin} is not allowed here; start the node with --allow-origin {origin} to allow it (or \
             --only-origin, where origins are given by that)"
        ),
    )
    .into_response()
}
