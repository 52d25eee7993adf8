//! A channel with types of its own, as most users write it.

use bytes::Bytes;
use matryoshka_channel::pubsub::{Message, PubSub};
use matryoshka_channel::{
    Broadcast, Channel, Flow, HandleInfo, Refused, Reply, Socket, Sockets, Terminated, broadcast,
};
use serde::{Deserialize, Serialize};

use crate::client::{Client, Vsn};
use crate::log::Lines;

#[derive(Deserialize)]
struct Room {
    user: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    NewMsg { body: String },
    Typing,
}

#[derive(Serialize)]
struct Said<'a> {
    user: &'a str,
    body: &'a str,
}

impl Channel<()> for Room {
    type Params = Room;
    type Event = Event;

    async fn join(_: &(), _: &mut Socket, room: Room) -> Result<Self, Refused> {
        match room.user.is_empty() {
            true => Err(Refused::because("empty user")),
            false => Ok(room),
        }
    }

    async fn handle_in(&mut self, socket: &mut Socket, event: Event) -> Reply {
        match event {
            Event::NewMsg { body } => {
                let said = Said {
                    user: &self.user,
                    body: &body,
                };
                socket.broadcast("new_msg", &said).into()
            }
            Event::Typing => socket.broadcast_from("typing", &()).into(),
        }
    }
}

pub(crate) fn sockets() -> Sockets<()> {
    Sockets::new(&PubSub::local(), ()).channel::<Room>("room:*")
}

#[tokio::test(start_paused = true)]
async fn events_and_params_are_the_users_types() {
    Client::connect(&sockets(), Vsn::V2)
        .await
        .play(
            r#"
            > ["1","1","room:1","phx_join",{"user":""}]
            < ["1","1","room:1","phx_reply",{"status":"error","response":{"reason":"empty user"}}]
            > ["2","2","room:1","phx_join",{"user":"anna"}]
            < ["2","2","room:1","phx_reply",{"status":"ok","response":{}}]
            > ["2","3","room:1","new_msg",{"body":"hi"}]
            < [null,null,"room:1","new_msg",{"user":"anna","body":"hi"}]
            < ["2","3","room:1","phx_reply",{"status":"ok","response":{}}]
            > ["2","4","room:1","typing",{}]
            < ["2","4","room:1","phx_reply",{"status":"ok","response":{}}]
            .
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn m4_an_unknown_event_crashes_with_one_line_that_names_the_known_ones() {
    for (event, payload, expected) in [
        ("new_mgs", r#"{"body":"xyzzy"}"#, "new_msg, typing"),
        ("new_msg", r#"{"text":"xyzzy"}"#, "missing field `body`"),
        ("new_msg", r#"{"body":{"xyzzy":"xyzzy"}}"#, "does not fit"),
    ] {
        let lines = Lines::collect();
        let script = r#"
            > ["1","1","room:1","phx_join",{"user":"anna"}]
            < ["1","1","room:1","phx_reply",{"status":"ok","response":{}}]
            > ["1","2","room:1","EVENT",PAYLOAD]
            < ["1","1","room:1","phx_error",{"reason":"channel_crash"}]
            "#;
        let mut client = Client::connect(&sockets(), Vsn::V2).await;
        client
            .play(&script.replace("EVENT", event).replace("PAYLOAD", payload))
            .await;
        let lines = lines.take_timeless();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].contains(expected) && !lines[0].contains("xyzzy"),
            "{lines:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn params_that_do_not_fit_crash_the_join_with_one_line() {
    let lines = Lines::collect();
    Client::connect(&sockets(), Vsn::V2)
        .await
        .play(
            r#"
            > ["1","1","room:1","phx_join",{"name":"xyzzy"}]
            < ["1","1","room:1","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]
            "#,
        )
        .await;
    let lines = lines.take_timeless();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("missing field `user`") && !lines[0].contains("xyzzy"),
        "{lines:?}"
    );
}

/// Does no more than end badly.
struct Brittle;

impl Drop for Brittle {
    fn drop(&mut self) {
        panic!("told to");
    }
}

impl Channel<()> for Brittle {
    type Params = ();
    type Event = Event;

    async fn join(_: &(), socket: &mut Socket, (): ()) -> Result<Self, Refused> {
        socket
            .subscribe::<Self>("news")
            .map_err(|error| Refused::because(error.to_string()))?;
        Ok(Self)
    }

    async fn handle_in(&mut self, _: &mut Socket, _: Event) -> Reply {
        Reply::fail("told to")
    }
}

impl HandleInfo<Message> for Brittle {
    async fn handle_info(&mut self, _: &mut Socket, _: Message) -> Flow {
        Flow::Continue
    }
}

#[tokio::test(start_paused = true)]
async fn x5_x6_a_task_that_ends_without_a_word_is_reported_once_and_cleaned_up() {
    let pubsub = PubSub::local();
    let sockets = Sockets::new(&pubsub, ()).channel::<Brittle>("room:*");
    let mut client = Client::connect(&sockets, Vsn::V2).await;
    for (event, end) in [
        (
            "typing",
            r#"< ["1","1","room:1","phx_error",{"reason":"channel_crash"}]"#,
        ),
        (
            "phx_leave",
            r#"
            < ["1","2","room:1","phx_reply",{"status":"ok","response":{}}]
            < ["1","1","room:1","phx_close",{}]
            "#,
        ),
    ] {
        client
            .play(
                r#"
                > ["1","1","room:1","phx_join",{}]
                < ["1","1","room:1","phx_reply",{"status":"ok","response":{}}]
                "#,
            )
            .await;
        client
            .play(&format!(r#"> ["1","2","room:1","{event}",{{}}]"#))
            .await;
        client.play(end).await;
        client.play(".").await;
        assert_eq!(
            (pubsub.subscriptions("room:1"), pubsub.subscriptions("news")),
            (0, 0)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_clients_text_never_breaks_a_line_of_the_log() {
    let lines = Lines::collect();
    let topic = format!(r"other\n{}", "x".repeat(1000));
    let script = r#"
        > ["1","1","TOPIC","phx_join",{}]
        < [null,"1","TOPIC","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        "#;
    let mut client = Client::connect(&sockets(), Vsn::V2).await;
    client.play(&script.replace("TOPIC", &topic)).await;
    let lines = lines.take_timeless();
    assert_eq!(lines.len(), 1);
    assert!(
        !lines[0].contains('\n') && lines[0].len() < 300,
        "{lines:?}"
    );
}

/// A type whose own `Deserialize` panics.
struct Fragile;

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match bool::deserialize(deserializer)? {
            true => Ok(Self),
            false => panic!("told to"),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FragileEvent {
    Check(Fragile),
}

struct Shelf;

impl Channel<()> for Shelf {
    type Params = Fragile;
    type Event = FragileEvent;

    async fn join(_: &(), _: &mut Socket, _: Fragile) -> Result<Self, Refused> {
        Ok(Self)
    }

    async fn handle_in(&mut self, _: &mut Socket, FragileEvent::Check(_): FragileEvent) -> Reply {
        Reply::ok_empty()
    }

    async fn terminate(&mut self, socket: &mut Socket, reason: Terminated) {
        assert_eq!(reason, Terminated::Crashed);
        socket.push("last_words", &()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn j4_x4_a_panic_of_a_users_deserialize_is_a_crash_like_any_other() {
    let sockets = Sockets::new(&PubSub::local(), ()).channel::<Shelf>("shelf:*");
    Client::connect(&sockets, Vsn::V2)
        .await
        .play(
            r#"
            > ["1","1","shelf:a","phx_join",false]
            > ["1","2","shelf:a","check",true]
            < ["1","1","shelf:a","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]
            < [null,"2","shelf:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
            > ["3","3","shelf:a","phx_join",true]
            < ["3","3","shelf:a","phx_reply",{"status":"ok","response":{}}]
            > ["3","4","shelf:a","check",false]
            < ["3",null,"shelf:a","last_words",{}]
            < ["3","3","shelf:a","phx_error",{"reason":"channel_crash"}]
            "#,
        )
        .await;
    assert_eq!(sockets.stats().crashes, 2);
}

/// Intercepts, and leaves it at what is provided.
struct Relay;

impl Channel<()> for Relay {
    type Params = ();
    type Event = FragileEvent;
    const INTERCEPT: &'static [&'static str] = &["file"];

    async fn join(_: &(), _: &mut Socket, (): ()) -> Result<Self, Refused> {
        Ok(Self)
    }

    async fn handle_in(&mut self, _: &mut Socket, FragileEvent::Check(_): FragileEvent) -> Reply {
        Reply::ok_empty()
    }
}

#[tokio::test(start_paused = true)]
async fn the_provided_handle_out_passes_over_a_client_whose_version_carries_no_bytes() {
    let pubsub = PubSub::local();
    let sockets = Sockets::new(&pubsub, ()).channel::<Relay>("relay:*");
    let join = r#"
        > ["1","1","relay:a","phx_join",{}]
        < ["1","1","relay:a","phx_reply",{"status":"ok","response":{}}]
        "#;
    let mut old = Client::connect(&sockets, Vsn::V1).await;
    let mut new = Client::connect(&sockets, Vsn::V2).await;
    old.play(join).await;
    new.play(join).await;
    let bytes = Broadcast::with_payload("relay:a", "file", Bytes::from_static(&[7])).unwrap();
    bytes.send(&pubsub).unwrap();
    new.play(r#"< 00 01 07 04 "1" "relay:a" "file" 07"#).await;
    old.play(".").await;
    assert_eq!(sockets.stats().unencodable, 1);
    broadcast(&pubsub, "relay:a", "file", &()).unwrap();
    old.play(r#"< ["1",null,"relay:a","file",{}]"#).await;
}
