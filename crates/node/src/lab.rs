//! `lab:*`: one event for each thing that a channel can do.
//!
//! | event in | what happens |
//! | --- | --- |
//! | `echo`, `fail` | reply ok, error, with the same payload |
//! | `later` `{"ms": n}` | reply ok with the payload, n ms later, from another task |
//! | `quiet` | nothing |
//! | `shout`, `whisper` | broadcast `shout` with the payload to all, to all but the sender |
//! | `push_me` | push `pushed` with the payload to this client |
//! | `count` | reply ok `{"count": n}`, counting from 1 in this channel |
//! | `tell_secret` | broadcast `secret`; each channel adds `"seen_by": <its user>` on the way out |
//! | `crash` | the channel panics |
//! | `stop` | reply ok `{}`, then the channel stops |
//!
//! Payloads may be any JSON or bytes, and go back as they came; only a secret is an object.

pub(crate) mod late;

use std::collections::BTreeMap;
use std::time::Duration;

use matryoshka_presence::channel::transport::{Json, JsonError, Payload};
use matryoshka_presence::channel::{
    Broadcast, Channel, Flow, RawEvent, RawParams, Refused, Reply, Socket,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::user::{App, User};
use late::{LateReplies, TooMuch};

/// What [`Lab::handle_in`] knows, for who misspells one.
const EVENTS: &str =
    "echo, fail, later, quiet, shout, whisper, push_me, count, tell_secret, crash and stop";

/// How much of an event's name stands in the log.
const SHOWN_CHARACTERS: usize = 100;

/// The longest that a late reply may be put off: one hour.
const LATEST: Duration = Duration::from_secs(60 * 60);

/// One client on one `lab:*` topic.
pub(crate) struct Lab {
    count: u64,
}

/// What a join may ask for beside being let in.
#[derive(Deserialize)]
struct Wishes {
    #[serde(default, deserialize_with = "present")]
    deny: Option<Box<RawValue>>,
    #[serde(default)]
    crash: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct Joined<'a> {
    topic: &'a str,
    params: Box<RawValue>,
}

#[derive(Serialize)]
struct Denied {
    reason: Box<RawValue>,
}

#[derive(Serialize)]
struct Count {
    count: u64,
}

#[derive(Deserialize)]
struct Later {
    ms: u64,
}

impl Channel<App> for Lab {
    type Params = RawParams;
    type Event = RawEvent;
    const INTERCEPT: &'static [&'static str] = &["secret"];

    async fn join(_: &App, socket: &mut Socket, params: RawParams) -> Result<Self, Refused> {
        let Payload::Json(params) = params.0 else {
            return Err(Refused::because("join with JSON"));
        };
        if let Some(wishes) = wishes(&params) {
            if let Some(reason) = wishes.deny {
                return Err(Refused::with(&Denied { reason }));
            }
            assert!(
                wishes.crash != Some(true.into()),
                "the client asked this join to crash"
            );
        }
        let params = params
            .to()
            .map_err(|error| Refused::because(error.to_string()))?;
        let topic = socket.topic().to_owned();
        socket.set_join_reply(&Joined {
            topic: &topic,
            params,
        });
        Ok(Self { count: 0 })
    }

    async fn handle_in(&mut self, socket: &mut Socket, event: RawEvent) -> Reply {
        let RawEvent { name, payload } = event;
        match &*name {
            "echo" => Reply::payload("ok", payload),
            "fail" => Reply::payload("error", payload),
            "later" => reply_later(socket, payload),
            "quiet" => Reply::none(),
            "shout" => silently(socket.broadcast_payload("shout", payload)),
            "whisper" => silently(socket.broadcast_payload_from("shout", payload)),
            "push_me" => silently(socket.push_payload("pushed", payload)),
            "count" => {
                self.count += 1;
                Reply::ok(&Count { count: self.count })
            }
            "tell_secret" => tell_secret(socket, payload),
            "crash" => panic!("the client asked this channel to crash"),
            "stop" => Reply::ok_empty().then(Flow::Stop),
            _ => {
                let shown: String = name.chars().take(SHOWN_CHARACTERS).collect();
                Reply::fail(format!("lab has no event {shown:?}; it has {EVENTS}"))
            }
        }
    }

    async fn handle_out(&mut self, socket: &mut Socket, broadcast: Broadcast) -> Flow {
        let user = socket
            .get::<User>()
            .expect("every socket of this server has a user");
        match seen_by(&broadcast, &user.0) {
            Ok(secret) => socket.push("secret", &secret).into(),
            // It comes from somebody else, so this channel is not to end for it.
            Err(error) => {
                tracing::warn!(%error, "a secret is not passed on: it is no JSON object");
                Flow::Continue
            }
        }
    }
}

/// What is too much is answered with an error; too many replies end the channel.
fn reply_later(socket: &Socket, payload: Payload) -> Reply {
    let wait = match &payload {
        Payload::Json(json) if json.is_object() => json.to::<Later>(),
        _ => return Reply::fail("later takes {\"ms\": n}"),
    };
    let wait = match wait {
        Ok(Later { ms }) => Duration::from_millis(ms).min(LATEST),
        Err(error) => return Reply::fail(format!("later takes {{\"ms\": n}}: {error}")),
    };
    let replies = socket
        .get::<LateReplies>()
        .expect("every socket of this server has them");
    let reason = match replies.owe(wait, socket.reply_later(), payload) {
        Ok(()) => return Reply::none(),
        Err(TooMuch::Replies) => {
            return Reply::fail(format!("over {} late replies are owed", late::REPLIES));
        }
        Err(TooMuch::Bytes) => format!("over {} bytes of late replies are owed", late::BYTES),
        Err(TooMuch::BytesOfAll) => "late replies of too many bytes are owed by this node".into(),
    };
    Reply::error(&BTreeMap::from([("reason", reason)]))
}

/// What a join's payload asks for; one that is no object wishes nothing.
fn wishes(params: &Json) -> Option<Wishes> {
    params.is_object().then(|| params.to().ok())?
}

/// Tells a field that is null from one that is not there.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(deserializer).map(Some)
}

/// No reply to what went well; what did not ends the channel, as it does in Phoenix.
fn silently<T, E: Into<Flow>>(sent: Result<T, E>) -> Reply {
    match sent {
        Ok(_) => Reply::none(),
        Err(error) => Reply::none().then(error.into()),
    }
}

/// What the channels of all others cannot read ends the channel of whoever sends it.
fn tell_secret(socket: &mut Socket, payload: Payload) -> Reply {
    match &payload {
        Payload::Json(json) if json.is_object() => {
            silently(socket.broadcast_payload("secret", payload))
        }
        _ => Reply::fail("a secret is a JSON object"),
    }
}

/// The payload with one more field.
fn seen_by(
    broadcast: &Broadcast,
    user: &str,
) -> Result<BTreeMap<String, Box<RawValue>>, JsonError> {
    let mut secret: BTreeMap<String, Box<RawValue>> = broadcast.to()?;
    let user = Json::of(user)?.to()?;
    secret.insert("seen_by".to_owned(), user);
    Ok(secret)
}
