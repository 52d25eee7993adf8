//! Messages that a channel sends to itself, later.

use std::time::Duration;

use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::testing::{TestChannel, TestSockets, advance, json};
use matryoshka_channel::{
    Channel, Flow, HandleInfo, MAX_TIMERS, Refused, Reply, Socket, Sockets, Timer, assert_push,
    assert_reply, refute_push,
};
use serde::Deserialize;
use tokio::time::Instant;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

struct Clock {
    start: Instant,
    timer: Option<Timer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    After { seconds: u64, what: String },
    Every { millis: u64, what: String },
    Cancel,
    Fill,
    Nothing,
}

/// Comes back as a push, or takes its time, or ends the channel.
#[derive(Clone)]
struct Tick(String);

impl Channel<()> for Clock {
    type Params = ();
    type Event = Event;

    async fn join(_: &(), socket: &mut Socket, (): ()) -> Result<Self, Refused> {
        socket
            .send_after::<Self, _>(Duration::ZERO, Tick("joined".into()))
            .unwrap();
        Ok(Self {
            start: Instant::now(),
            timer: None,
        })
    }

    async fn handle_in(&mut self, socket: &mut Socket, event: Event) -> Reply {
        match event {
            Event::After { seconds, what } => {
                let after = Duration::from_secs(seconds);
                self.timer = socket.send_after::<Self, _>(after, Tick(what)).ok();
            }
            Event::Every { millis, what } => {
                let period = Duration::from_millis(millis);
                self.timer = socket.send_every::<Self, _>(period, Tick(what)).ok();
            }
            Event::Cancel => {
                let cancelled = self.timer.is_some_and(|timer| socket.cancel(timer));
                return Reply::ok(&cancelled);
            }
            Event::Fill => {
                for _ in 0..MAX_TIMERS {
                    socket
                        .send_after::<Self, _>(seconds(60), Tick("more".into()))
                        .unwrap();
                }
                return match socket.send_after::<Self, _>(seconds(60), Tick("no".into())) {
                    Ok(_) => Reply::ok_empty(),
                    Err(error) => error.into(),
                };
            }
            Event::Nothing => {}
        }
        Reply::ok_empty()
    }
}

impl HandleInfo<Tick> for Clock {
    async fn handle_info(&mut self, socket: &mut Socket, Tick(what): Tick) -> Flow {
        match &*what {
            "stop" => return Flow::Stop,
            // tidy: sleep because the handler is meant to be slow
            "busy" => tokio::time::sleep(Duration::from_millis(20)).await,
            _ => {}
        }
        let at = self.start.elapsed().as_secs();
        socket
            .push("tick", &json!({ "what": what, "at": at }))
            .into()
    }
}

async fn joined() -> TestChannel {
    let sockets = Sockets::new(&PubSub::local(), ()).channel::<Clock>("clock");
    let socket = TestSockets::new(sockets).connect(json!({})).await.unwrap();
    let clock = socket.join("clock", json!({})).await.unwrap();
    assert_push!(clock, "tick", { "what": "joined", "at": 0 });
    clock
}

async fn after(clock: &TestChannel, seconds: u64, what: &str) {
    let set = clock
        .push("after", json!({ "seconds": seconds, "what": what }))
        .await;
    assert_reply!(set, ok, {});
}

#[tokio::test(start_paused = true)]
async fn they_come_when_they_are_due_the_earliest_first() {
    let clock = joined().await;
    after(&clock, 3, "c").await;
    after(&clock, 1, "a").await;
    after(&clock, 1, "b").await;
    refute_push!(clock, "tick");
    advance(seconds(5)).await;
    for (what, at) in [("a", 1), ("b", 1), ("c", 3)] {
        let tick = assert_push!(clock, "tick");
        assert_eq!(tick, json!({ "what": what, "at": at }));
    }
    refute_push!(clock);
}

#[tokio::test(start_paused = true)]
async fn they_come_again_and_again_until_they_are_taken_back() {
    let clock = joined().await;
    clock
        .push("every", json!({ "millis": 2_000, "what": "a" }))
        .await;
    advance(seconds(7)).await;
    for at in [2, 4, 6] {
        assert_push!(clock, "tick", { "what": "a", "at": at });
    }
    let cancelled = clock.push("cancel", json!({})).await;
    assert_reply!(cancelled, ok, true);
    let cancelled = clock.push("cancel", json!({})).await;
    assert_reply!(cancelled, ok, false);
    advance(seconds(60)).await;
    refute_push!(clock);
}

#[tokio::test(start_paused = true)]
async fn they_end_with_their_channel() {
    let clock = joined().await;
    after(&clock, 1, "stop").await;
    after(&clock, 2, "late").await;
    assert_push!(clock, "phx_close");
    advance(seconds(5)).await;
    refute_push!(clock);
}

/// A timer that is always due leaves every other turn to the client, and the other way round.
#[tokio::test(start_paused = true)]
async fn neither_timers_nor_clients_shut_the_other_out() {
    let clock = joined().await;
    clock
        .push("every", json!({ "millis": 0, "what": "busy" }))
        .await;
    for _ in 0..10 {
        let asked = clock.push("nothing", json!({})).await;
        assert_reply!(asked, ok, {});
    }
    let ticks = advance_and_count(&clock).await;
    assert!(
        (1..=100).contains(&ticks),
        "{ticks} in a second, of 20 ms each"
    );
}

async fn advance_and_count(clock: &TestChannel) -> usize {
    advance(seconds(1)).await;
    let mut ticks = 0;
    while clock.check_silence().await.is_err() && ticks < 100 {
        assert_push!(clock, "tick");
        ticks += 1;
    }
    ticks
}

#[tokio::test(start_paused = true)]
async fn one_channel_has_so_many_and_no_more() {
    let clock = joined().await;
    let filled = clock.push("fill", json!({})).await;
    assert_reply!(filled, error, { "reason": "too many timers" });
}
