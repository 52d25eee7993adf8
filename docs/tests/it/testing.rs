//! The chapter on testing: its channel and its tests, as they stand there.

use std::time::Duration;

use matryoshka_presence::channel::pubsub::PubSub;
use matryoshka_presence::channel::testing::{TestChannel, TestSockets, advance, json};
use matryoshka_presence::channel::{
    Channel, Flow, HandleInfo, Refused, Reply, Socket, Sockets, assert_broadcast, assert_push,
    assert_reply, refute_broadcast, refute_push,
};
use serde::{Deserialize, Serialize};

use crate::program::assert_shows;

const CHAPTER: &str = include_str!("../../src/testing.md");
const HERE: &str = include_str!("testing.rs");

/// A riddle: who answers it first, wins; who asks for a hint, waits.
struct Riddle;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Answer { text: String },
    Hint,
}

/// Sent by a channel to itself.
struct Hint;

#[derive(Serialize)]
struct Solved<'a> {
    answer: &'a str,
}

impl Channel<()> for Riddle {
    type Params = ();
    type Event = Event;

    async fn join(_: &(), socket: &mut Socket, (): ()) -> Result<Self, Refused> {
        match socket.topic() {
            "riddle:closed" => Err(Refused::because("closed").for_good()),
            _ => Ok(Self),
        }
    }

    async fn handle_in(&mut self, socket: &mut Socket, event: Event) -> Reply {
        match event {
            Event::Answer { text } if text == "a hole" => {
                let solved = Solved { answer: &text };
                socket.broadcast("solved", &solved).into()
            }
            Event::Answer { .. } => Refused::because("wrong").into(),
            Event::Hint => socket
                .send_after::<Self, _>(Duration::from_secs(30), Hint)
                .into(),
        }
    }
}

impl HandleInfo<Hint> for Riddle {
    async fn handle_info(&mut self, socket: &mut Socket, Hint: Hint) -> Flow {
        let hint = json!({ "text": "more of it weighs less" });
        socket.push("hint", &hint).into()
    }
}

pub(crate) fn sockets() -> Sockets<()> {
    Sockets::new(&PubSub::local(), ()).channel::<Riddle>("riddle:*")
}

async fn player(test: &TestSockets<()>) -> TestChannel {
    let socket = test.connect(json!({})).await.unwrap();
    socket.join("riddle:1", json!({})).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn all_hear_of_the_right_answer() {
    let test = TestSockets::new(sockets());
    let (anna, ben) = (player(&test).await, player(&test).await);
    let topic = test.subscribe("riddle:1");

    let wrong = ben.push("answer", json!({ "text": "a house" })).await;
    assert_reply!(wrong, error, { "reason": "wrong" });
    refute_broadcast!(topic, "solved");

    let right = anna.push("answer", json!({ "text": "a hole" })).await;
    assert_reply!(right, ok, {});
    assert_push!(ben, "solved", { "answer": "a hole" });
    assert_broadcast!(topic, "solved");
}

#[tokio::test(start_paused = true)]
async fn a_hint_takes_half_a_minute() {
    let test = TestSockets::new(sockets());
    let anna = player(&test).await;
    anna.push("hint", json!({})).await;
    advance(Duration::from_secs(29)).await;
    refute_push!(anna, "hint");
    advance(Duration::from_secs(1)).await;
    assert_push!(anna, "hint");
}

#[tokio::test(start_paused = true)]
async fn a_closed_riddle_is_not_joined() {
    let test = TestSockets::new(sockets());
    let socket = test.connect(json!({})).await.unwrap();
    let refused = socket.join("riddle:closed", json!({})).await.unwrap_err();
    assert_eq!(refused.response, json!({ "reason": "closed" }));
}

#[test]
fn the_chapter_shows_what_stands_here() {
    assert_shows(CHAPTER, 4, &[HERE]);
}
