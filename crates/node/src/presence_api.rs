//! `GET /api/presence/<topic>`: who this node believes is on a topic.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Uri;

use crate::answer::{Json, Refusal};
use crate::http::{behind, decoded};
use crate::server::Server;

/// The list, as `{key: {"metas": [...]}}`.
pub(crate) async fn list(State(server): State<Server>, uri: Uri) -> Result<Response, Refusal> {
    let topic = decoded(behind(&uri, "/api/presence/"), "topic")?;
    Ok(Json(server.presence.list(&topic)).into_response())
}
