//! A channel with types of its own, as most users write it.

use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::{Channel, Refused, Reply, Socket, Sockets};
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

fn sockets() -> Sockets<()> {
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
        let lines = lines.take();
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
    let lines = lines.take();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("missing field `user`") && !lines[0].contains("xyzzy"),
        "{lines:?}"
    );
}
