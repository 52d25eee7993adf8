//! `/health/live` and `/health/ready`.

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;

use crate::answer::{Json, Refusal};
use crate::readiness::Phase;
use crate::server::Server;

/// What a healthy node answers.
#[derive(Debug, Serialize)]
pub(crate) struct Health {
    status: &'static str,
}

/// `GET /health/live`: the process serves HTTP.
pub(crate) async fn live() -> Json<Health> {
    Json(Health { status: "live" })
}

/// `GET /health/ready`: clients are welcome.
pub(crate) async fn ready(State(server): State<Server>) -> Result<Json<Health>, Refusal> {
    match server.readiness.phase() {
        Phase::Ready => Ok(Json(Health { status: "ready" })),
        Phase::Starting => Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the node is starting; ask again in a moment",
        )),
        Phase::Draining => Err(draining()),
    }
}

/// What a node that is going away answers.
pub(crate) fn draining() -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "the node is draining; use another one",
    )
}
