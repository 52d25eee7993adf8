//! `POST /api/broadcast/<topic>/<event>` and `POST /api/disconnect/<user>`: both reach every node.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use http::{StatusCode, Uri};
use matryoshka_presence::channel::transport::Json;
use matryoshka_presence::channel::{
    Broadcast, BroadcastError, disconnect as disconnect_everywhere,
};

use crate::answer::Refusal;
use crate::http::{MAX_BODY_BYTES, behind, decoded};
use crate::server::Server;
use crate::user;

/// Broadcasts the body to the topic, everywhere.
pub(crate) async fn broadcast(
    State(server): State<Server>,
    uri: Uri,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Refusal> {
    let (topic, event) = behind(&uri, "/api/broadcast/")
        .rsplit_once('/')
        .filter(|(topic, event)| !topic.is_empty() && !event.is_empty())
        .ok_or_else(|| {
            Refusal::new(
                StatusCode::NOT_FOUND,
                "the path is /api/broadcast/<topic>/<event>, both percent-encoded and not empty",
            )
        })?;
    let (topic, event) = (decoded(topic, "topic")?, decoded(event, "event")?);
    let payload = object(whole(body)?)?;
    let broadcast =
        Broadcast::with_payload(&*topic, &*event, payload).map_err(|error| not_sent(&error))?;
    let sent = broadcast.send_yielding(&server.pubsub).await;
    sent.map_err(|error| not_sent(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Closes every socket of the user, everywhere.
pub(crate) async fn disconnect(
    State(server): State<Server>,
    uri: Uri,
) -> Result<StatusCode, Refusal> {
    let name = decoded(behind(&uri, "/api/disconnect/"), "user")?;
    disconnect_everywhere(&server.pubsub, user::socket_id(&name))
        .map_err(|error| not_sent(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Refusal> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body may have at most {MAX_BODY_BYTES} bytes"),
        ),
        status => Refusal::new(status, format!("the body did not arrive: {rejection}")),
    })
}

/// The body as the JSON object that a payload must be; its text is passed on as it came.
fn object(body: Bytes) -> Result<Json, Refusal> {
    let refused = |why: String| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            format!("the body must be one JSON object such as {{\"body\": \"hi\"}}: {why}"),
        )
    };
    let text = String::from_utf8(body.into()).map_err(|error| refused(error.to_string()))?;
    let json = Json::parse(text).map_err(|error| refused(error.to_string()))?;
    if json.as_str().starts_with('{') {
        return Ok(json);
    }
    Err(refused("it is JSON, but no object".to_owned()))
}

fn not_sent(error: &BroadcastError) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, format!("not sent: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_is_a_payload_and_its_text_is_kept() {
        let kept = object(Bytes::from_static(b" {\"n\":1.0, \"n\":2}\n")).unwrap();
        assert_eq!(kept.as_str(), "{\"n\":1.0, \"n\":2}");
        for body in ["", "{", "[]", "null", "1", "\"{}\"", "{}{}"] {
            let refusal = object(Bytes::from_static(body.as_bytes())).unwrap_err();
            assert!(format!("{refusal:?}").contains("one JSON object"), "{body}");
        }
    }
}
