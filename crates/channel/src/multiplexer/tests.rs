//! Short conversations by hand, and random ones with what must hold for all of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::transport::Json;

/// What the multiplexer wants done, as short text: `send`s as V2 would write them, the rest by name.
struct Bench {
    multiplexer: Multiplexer,
    now: Instant,
    effects: Vec<Effect<()>>,
}

impl Bench {
    fn new(max_channels: usize) -> Self {
        Self {
            multiplexer: Multiplexer::new(limits(max_channels)),
            now: Instant::now(),
            effects: Vec::new(),
        }
    }

    fn message(
        &mut self,
        join_ref: &str,
        reference: &str,
        topic: &str,
        event: &str,
    ) -> Vec<String> {
        let field = |text: &str| (text != "-").then(|| Field::from(text));
        let message = ClientMessage {
            join_ref: field(join_ref),
            reference: field(reference),
            topic: topic.into(),
            event: event.into(),
            payload: Payload::object(),
        };
        let route = |topic: &str| (!topic.starts_with("no")).then_some(());
        self.multiplexer
            .handle_message(message, self.now, route, &mut self.effects);
        self.shown()
    }

    fn joined(&mut self, topic: &str, id: u64) -> Vec<String> {
        let (topic, id) = (topic.into(), InstanceId(id));
        self.multiplexer
            .handle_joined(&topic, id, Payload::object(), &mut self.effects);
        self.shown()
    }

    fn refused(&mut self, topic: &str, id: u64, unread: Vec<Request>) -> Vec<String> {
        self.refused_with(topic, id, unread, false)
    }

    fn refused_for_good(&mut self, topic: &str, id: u64) -> Vec<String> {
        self.refused_with(topic, id, vec![], true)
    }

    fn refused_with(
        &mut self,
        topic: &str,
        id: u64,
        unread: Vec<Request>,
        is_final: bool,
    ) -> Vec<String> {
        let (topic, id) = (topic.into(), InstanceId(id));
        let response = reason("no");
        let refusal = Refusal { response, is_final };
        self.multiplexer
            .handle_refused(&topic, id, refusal, unread, &mut self.effects);
        self.shown()
    }

    fn left(&mut self, topic: &str, id: u64, reference: &str) -> Vec<String> {
        let (topic, id) = (topic.into(), InstanceId(id));
        self.multiplexer
            .handle_left(&topic, id, Some(reference.into()), &mut self.effects);
        self.shown()
    }

    fn ended(&mut self, topic: &str, id: u64, end: End) -> Vec<String> {
        let (topic, id) = (topic.into(), InstanceId(id));
        self.multiplexer
            .handle_ended(&topic, id, end, self.now, &mut self.effects);
        self.shown()
    }

    fn shown(&mut self) -> Vec<String> {
        self.effects.drain(..).map(|effect| show(&effect)).collect()
    }
}

fn limits(max_channels: usize) -> JoinLimits {
    JoinLimits {
        max_channels,
        topic_bytes: 10,
    }
}

fn show(effect: &Effect<()>) -> String {
    let show_ref = |field: &Option<Field>| match field {
        Some(Field::Text(text)) => text.to_string(),
        Some(Field::Json(json)) => json.as_str().to_owned(),
        None => "-".to_owned(),
    };
    match effect {
        Effect::Send(ServerMessage::Reply {
            join_ref,
            reference,
            status,
            response,
            ..
        }) => {
            let Payload::Json(json) = response else {
                panic!("binary")
            };
            let (join_ref, reference) = (show_ref(join_ref), show_ref(reference));
            format!("{join_ref} {reference} {status} {}", json.as_str())
        }
        Effect::Send(ServerMessage::Push {
            join_ref,
            reference,
            event,
            ..
        }) => {
            assert_eq!(join_ref, reference);
            format!("{} {event}", show_ref(join_ref))
        }
        Effect::Send(ServerMessage::Broadcast { .. }) => panic!("a broadcast is not its business"),
        Effect::Start(start) => match start.after {
            Some((old, wait)) => format!("start {} after {} {wait:?}", start.id.0, old.0),
            None => format!("start {}", start.id.0),
        },
        Effect::Deliver(id, Request::Event { .. }) => format!("event to {}", id.0),
        Effect::Deliver(id, Request::Leave { .. }) => format!("leave to {}", id.0),
        Effect::Supersede(id) => format!("supersede {}", id.0),
        Effect::Abort(id) => format!("abort {}", id.0),
        Effect::Dismiss(id) => format!("dismiss {}", id.0),
        Effect::Hasten(id) => format!("hasten {}", id.0),
        Effect::Forget(id) => format!("forget {}", id.0),
        Effect::Report(topic, limit) => format!("report {limit:?} of {topic}"),
    }
}

#[test]
fn j8_a_join_without_a_join_ref_lends_its_ref_to_pushes_only() {
    let mut bench = Bench::new(9);
    assert_eq!(bench.message("-", "1", "t", "phx_join"), ["start 0"]);
    assert_eq!(bench.joined("t", 0), ["- 1 ok {}"]);
    assert_eq!(
        bench.message("1", "2", "t", "x"),
        [""; 0],
        "its own ref counts as stale"
    );
    assert_eq!(bench.message("-", "3", "t", "phx_leave"), ["leave to 0"]);
    assert_eq!(
        bench.left("t", 0, "3"),
        ["1 3 ok {}", "- phx_close", "forget 0"]
    );
}

#[test]
fn j10_a_leave_and_a_second_join_wait_for_a_slow_join() {
    let mut bench = Bench::new(9);
    bench.message("1", "1", "t", "phx_join");
    assert_eq!(bench.message("1", "2", "t", "phx_leave"), ["leave to 0"]);
    let second = bench.message("3", "3", "t", "phx_join");
    assert_eq!(second, ["start 1 after 0 Joining", "supersede 0"]);
    assert_eq!(bench.message("3", "4", "t", "x"), ["event to 1"]);
    assert_eq!(bench.joined("t", 0), ["1 1 ok {}", "hasten 1"]);
    assert_eq!(bench.left("t", 0, "2"), ["1 2 ok {}"]);
    let closed = ["3 3 ok {}", "1 phx_close", "dismiss 0"];
    assert_eq!(bench.joined("t", 1), closed);
}

#[test]
fn l8_a_join_behind_a_leave_waits_for_it() {
    let mut bench = Bench::new(9);
    bench.message("1", "1", "t", "phx_join");
    bench.joined("t", 0);
    bench.message("1", "2", "t", "phx_leave");
    let second = bench.message("3", "3", "t", "phx_join");
    assert_eq!(second, ["start 1 after 0 Ending"]);
    // It waited no longer, and was faster.
    let closed = ["3 3 ok {}", "1 phx_close", "dismiss 0"];
    assert_eq!(bench.joined("t", 1), closed);
    assert_eq!(bench.left("t", 0, "2"), [""; 0]);
}

#[test]
fn a_join_that_took_the_place_of_one_at_work_waits_for_it_a_short_while_once_that_has_joined() {
    let mut bench = Bench::new(9);
    for join in ["1", "2", "3"] {
        bench.message(join, join, "t", "phx_join");
    }
    let first = bench.joined("t", 0);
    assert_eq!(first, ["1 1 ok {}", "abort 0", "hasten 1"]);
    let second = bench.joined("t", 1);
    let closed = ["2 2 ok {}", "abort 1", "hasten 2", "1 phx_close"];
    assert_eq!(second, closed);
}

#[test]
fn l5_a_leave_that_waited_for_its_join_ends_the_conversation_too() {
    let mut bench = Bench::new(9);
    bench.message("1", "1", "t", "phx_join");
    bench.message("1", "2", "t", "phx_leave");
    assert_eq!(
        bench.message("1", "3", "t", "x"),
        ["event to 0"],
        "it may still be refused"
    );
    bench.joined("t", 0);
    assert_eq!(bench.message("1", "4", "t", "x"), [""; 0]);
    assert_eq!(bench.message("1", "5", "t", "phx_leave"), [""; 0]);
    assert_eq!(
        bench.left("t", 0, "2"),
        ["1 2 ok {}", "1 phx_close", "forget 0"]
    );
}

#[test]
fn d4_the_reply_comes_first_then_the_close_of_the_old_join() {
    let mut bench = Bench::new(9);
    bench.message("1", "1", "t", "phx_join");
    bench.joined("t", 0);
    assert_eq!(
        bench.message("2", "2", "t", "phx_join"),
        ["start 1 after 0 Ending", "abort 0"]
    );
    assert_eq!(bench.joined("t", 1), ["2 2 ok {}", "1 phx_close"]);
}

#[test]
fn d5_a_refused_second_join_closes_the_first_all_the_same() {
    let mut bench = Bench::new(9);
    bench.message("1", "1", "t", "phx_join");
    bench.joined("t", 0);
    bench.message("2", "2", "t", "phx_join");
    let refused = bench.refused("t", 1, Vec::new());
    assert_eq!(
        refused,
        [r#"2 2 error {"reason":"no"}"#, "1 phx_close", "forget 1"]
    );
    assert_eq!(
        bench.message("-", "3", "t", "x"),
        [r#"- 3 error {"reason":"unmatched topic"}"#]
    );
}

#[test]
fn d6_an_end_not_noticed_before_the_second_join_is_told_once_as_close() {
    let mut bench = Bench::new(9);
    bench.message("1", "1", "t", "phx_join");
    bench.joined("t", 0);
    bench.message("2", "2", "t", "phx_join");
    assert_eq!(bench.ended("t", 0, End::Error), [""; 0]);
    assert_eq!(bench.joined("t", 1), ["2 2 ok {}", "1 phx_close"]);
    assert_eq!(bench.ended("t", 0, End::Error), [""; 0]);
}

#[test]
fn a_refused_join_hands_its_unread_messages_back() {
    let mut bench = Bench::new(9);
    bench.message("1", "1", "t", "phx_join");
    let event = Request::Event {
        event: "x".into(),
        reference: Some("2".into()),
        payload: Payload::object(),
    };
    let leave = Request::Leave {
        join_ref: Some("1".into()),
        reference: Some("3".into()),
    };
    let refused = bench.refused("t", 0, vec![event, leave]);
    assert_eq!(
        refused,
        [
            r#"1 1 error {"reason":"no"}"#,
            "forget 0",
            r#"- 2 error {"reason":"unmatched topic"}"#,
            "1 3 ok {}"
        ]
    );
}

#[test]
fn j7_the_limit_counts_topics_and_spares_those_joined() {
    let mut bench = Bench::new(1);
    bench.message("1", "1", "a", "phx_join");
    let refused = bench.message("2", "2", "b", "phx_join");
    assert_eq!(
        refused,
        [
            r#"2 2 error {"reason":"too many channels joined"}"#,
            "report Channels of b"
        ]
    );
    assert_eq!(
        bench.message("3", "3", "no", "phx_join").len(),
        1,
        "routing comes first"
    );
    assert_eq!(
        bench.message("4", "4", "a", "phx_join").len(),
        2,
        "a rejoin is fine"
    );
}

#[test]
fn a_topic_over_the_limit_starts_no_channel() {
    let mut bench = Bench::new(1);
    let refused = bench.message("1", "1", "12345678901", "phx_join");
    let told = "topic too long: 11 bytes, at most 10 are allowed";
    assert_eq!(
        refused,
        [
            format!(r#"1 1 error {{"reason":"{told}"}}"#),
            "report TopicBytes of 12345678901".to_owned()
        ]
    );
    assert_eq!(bench.message("2", "2", "no34567890x", "phx_join").len(), 1);
    assert_eq!(bench.message("3", "3", "1234567890", "phx_join").len(), 1);
}

#[test]
fn a_refusal_for_good_is_closed_too() {
    let mut bench = Bench::new(9);
    bench.message("1", "1", "a", "phx_join");
    let refused = bench.refused_for_good("a", 0);
    assert_eq!(
        refused,
        [r#"1 1 error {"reason":"no"}"#, "1 phx_close", "forget 0"]
    );
    // Without a `join_ref` the close has none either.
    bench.message("-", "2", "a", "phx_join");
    let refused = bench.refused_for_good("a", 1);
    assert_eq!(
        refused,
        [r#"- 2 error {"reason":"no"}"#, "- phx_close", "forget 1"]
    );
    // The newer join decides.
    bench.message("3", "3", "a", "phx_join");
    bench.message("4", "4", "a", "phx_join");
    let refused = bench.refused_for_good("a", 2);
    assert_eq!(refused, [r#"3 3 error {"reason":"no"}"#, "forget 2"]);
}

#[test]
fn r6_a_topic_that_is_no_string_is_never_joined() {
    let mut bench = Bench::new(9);
    let mut send = |event: &str| {
        let message = ClientMessage {
            join_ref: Some("1".into()),
            reference: Some("2".into()),
            topic: Field::Json(Json::parse("7").unwrap()),
            event: event.into(),
            payload: Payload::object(),
        };
        bench
            .multiplexer
            .handle_message(message, bench.now, |_| Some(()), &mut bench.effects);
        bench.shown()
    };
    let unmatched = r#"- 2 error {"reason":"unmatched topic"}"#;
    assert_eq!(send("phx_join"), [unmatched]);
    assert_eq!(send("x"), [unmatched]);
    assert_eq!(send("phx_leave"), ["1 2 ok {}"]);
}

#[test]
fn a_flood_of_joins_for_one_topic_stops_the_reading() {
    let mut bench = Bench::new(9);
    for n in 0..=MAX_SUPERSEDED_JOINS {
        assert!(!bench.multiplexer.is_congested());
        bench.message("-", &n.to_string(), "t", "phx_join");
    }
    assert!(bench.multiplexer.is_congested());
    bench.joined("t", 0);
    assert!(
        bench.multiplexer.is_congested(),
        "answered, but not yet closed"
    );
    bench.joined("t", 1);
    assert!(!bench.multiplexer.is_congested());
}

/// What a client or a channel does next. Numbers pick among what there is.
#[derive(Clone, Debug)]
enum Step {
    Join {
        topic: usize,
        with_ref: bool,
    },
    Leave {
        topic: usize,
        join: Option<usize>,
    },
    Event {
        topic: usize,
        join: Option<usize>,
    },
    Heartbeat,
    Accept(usize),
    Refuse {
        pick: usize,
        for_good: bool,
    },
    End {
        pick: usize,
        end: End,
    },
    Stall {
        pick: usize,
        joins: bool,
    },
    /// A task that was aborted says its last.
    Echo(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let topic = 0..3usize;
    let join = proptest::option::of(0..8usize);
    prop_oneof![
        4 => (topic.clone(), any::<bool>()).prop_map(|(topic, with_ref)| Step::Join { topic, with_ref }),
        2 => (topic.clone(), join.clone()).prop_map(|(topic, join)| Step::Leave { topic, join }),
        2 => (topic, join).prop_map(|(topic, join)| Step::Event { topic, join }),
        1 => Just(Step::Heartbeat),
        4 => (0..8usize).prop_map(Step::Accept),
        1 => (0..8usize, any::<bool>()).prop_map(|(pick, for_good)| Step::Refuse { pick, for_good }),
        2 => (0..8usize, any::<bool>()).prop_map(|(pick, close)| {
            Step::End { pick, end: if close { End::Close } else { End::Error } }
        }),
        1 => (0..8usize).prop_map(Step::Echo),
        1 => (0..8usize, any::<bool>()).prop_map(|(pick, joins)| Step::Stall { pick, joins }),
    ]
}

/// The client and its channels, and what each has been told.
#[derive(Default)]
struct World {
    next_ref: usize,
    /// Instances whose join is at work, and those at work after it: id to topic and pending leaves.
    joining: BTreeMap<InstanceId, ByteString>,
    joined: BTreeMap<InstanceId, ByteString>,
    leaves: BTreeMap<InstanceId, Vec<Field>>,
    aborted: Vec<(InstanceId, ByteString)>,
    /// By the join's ref, which is unique.
    join_refs: BTreeMap<String, bool>,
    answers: BTreeMap<String, Vec<String>>,
    ends: BTreeMap<String, usize>,
    /// The `join_ref`s of the joins refused for good that no newer one has replaced.
    refused_for_good: Vec<Option<Field>>,
    /// Joins without a `join_ref`: their ends carry none, so they are counted together.
    nameless_ends: usize,
    gone: BTreeSet<InstanceId>,
}

impl World {
    fn run(&mut self, multiplexer: &mut Multiplexer, step: Step) {
        let (mut effects, now) = (Vec::new(), Instant::now());
        match step {
            Step::Join { topic, with_ref } => {
                let reference = self.fresh();
                self.join_refs.insert(reference.clone(), with_ref);
                let join_ref = with_ref.then(|| reference.as_str().into());
                let message = client(join_ref, &reference, topic, wire::JOIN);
                multiplexer.handle_message(message, now, |_| Some(()), &mut effects);
            }
            Step::Leave { topic, join } => {
                let (join_ref, reference) = (self.pick_ref(join), self.fresh());
                let message = client(join_ref, &reference, topic, wire::LEAVE);
                multiplexer.handle_message(message, now, |_| Some(()), &mut effects);
            }
            Step::Event { topic, join } => {
                let (join_ref, reference) = (self.pick_ref(join), self.fresh());
                let message = client(join_ref, &reference, topic, "x");
                multiplexer.handle_message(message, now, |_| Some(()), &mut effects);
            }
            Step::Heartbeat => {
                let mut message = client(None, "h", 0, wire::HEARTBEAT);
                message.topic = wire::HEARTBEAT_TOPIC.into();
                multiplexer.handle_message(message, now, |_| Some(()), &mut effects);
            }
            Step::Accept(pick) => {
                if let Some((id, topic)) = take(&mut self.joining, pick) {
                    self.joined.insert(id, topic.clone());
                    multiplexer.handle_joined(&topic, id, Payload::object(), &mut effects);
                }
            }
            Step::Refuse { pick, for_good } => {
                if let Some((id, topic)) = take(&mut self.joining, pick) {
                    self.gone.insert(id);
                    let current = &multiplexer.topics.get(&topic).unwrap().current;
                    if for_good && current.id == id {
                        self.refused_for_good.push(current.refs.sent.clone());
                    }
                    let refusal = Refusal {
                        response: reason("no"),
                        is_final: for_good,
                    };
                    multiplexer.handle_refused(&topic, id, refusal, [], &mut effects);
                }
            }
            Step::End { pick, end } => {
                if let Some((id, topic)) = take(&mut self.joined, pick) {
                    self.gone.insert(id);
                    let leave = self.leaves.entry(id).or_default().pop();
                    match leave {
                        Some(reference) => {
                            multiplexer.handle_left(&topic, id, Some(reference), &mut effects);
                        }
                        None => multiplexer.handle_ended(&topic, id, end, now, &mut effects),
                    }
                }
            }
            Step::Stall { pick, joins } => {
                let from = if joins { &self.joining } else { &self.joined };
                let picked = pick
                    .checked_rem(from.len())
                    .and_then(|index| from.iter().nth(index));
                if let Some((&id, topic)) = picked {
                    let topic = topic.clone();
                    assert_eq!(multiplexer.topic(id), Some(&topic));
                    multiplexer.handle_stalled(&topic, id, [], now, &mut effects);
                }
            }
            Step::Echo(pick) => {
                if !self.aborted.is_empty() {
                    let (id, topic) = self.aborted.remove(pick % self.aborted.len());
                    multiplexer.handle_ended(&topic, id, End::Error, now, &mut effects);
                }
            }
        }
        effects.into_iter().for_each(|effect| self.effect(effect));
    }

    fn fresh(&mut self) -> String {
        self.next_ref += 1;
        self.next_ref.to_string()
    }

    /// A ref near the newest, so that some match, some are stale, some unknown.
    fn pick_ref(&self, join: Option<usize>) -> Option<Field> {
        join.map(|back| Field::from(self.next_ref.saturating_sub(back).to_string()))
    }

    fn effect(&mut self, effect: Effect<()>) {
        match effect {
            Effect::Start(start) => {
                self.joining.insert(start.id, start.topic);
            }
            Effect::Deliver(id, request) => {
                assert!(
                    !self.gone.contains(&id),
                    "delivered to a channel known to be gone"
                );
                if let Request::Leave { reference, .. } = request {
                    self.leaves.entry(id).or_default().extend(reference);
                }
            }
            Effect::Supersede(id) => assert!(self.joining.contains_key(&id)),
            Effect::Abort(id) | Effect::Dismiss(id) => {
                let topic = self.joined.remove(&id).or_else(|| self.joining.remove(&id));
                self.aborted.extend(topic.map(|topic| (id, topic)));
                self.gone.insert(id);
            }
            Effect::Forget(id) => {
                self.gone.insert(id);
            }
            Effect::Send(message) => self.sent(message),
            Effect::Hasten(_) | Effect::Report(..) => {}
        }
    }

    fn sent(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Reply {
                reference: Some(Field::Text(reference)),
                status,
                ..
            } => {
                let reference = reference.to_string();
                if self.join_refs.contains_key(&reference) {
                    self.answers
                        .entry(reference)
                        .or_default()
                        .push(status.to_string());
                }
            }
            ServerMessage::Push {
                join_ref: Some(Field::Text(join_ref)),
                ..
            } => {
                let join_ref = join_ref.to_string();
                let answers = self.answers.get(&join_ref).map_or(0, Vec::len);
                assert_eq!(answers, 1, "ended before it was answered");
                *self.ends.entry(join_ref).or_default() += 1;
            }
            ServerMessage::Push { join_ref: None, .. } => self.nameless_ends += 1,
            other => panic!("unexpected {other:?}"),
        }
    }
}

fn client(join_ref: Option<Field>, reference: &str, topic: usize, event: &str) -> ClientMessage {
    ClientMessage {
        join_ref,
        reference: Some(reference.into()),
        topic: format!("t{topic}").into(),
        event: event.into(),
        payload: Payload::object(),
    }
}

fn take(
    from: &mut BTreeMap<InstanceId, ByteString>,
    pick: usize,
) -> Option<(InstanceId, ByteString)> {
    let index = pick.checked_rem(from.len())?;
    let id = *from.keys().nth(index)?;
    from.remove_entry(&id)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_join_is_answered_once_and_every_accepted_one_ends_once(steps in vec(step(), 0..60)) {
        let mut multiplexer = Multiplexer::new(limits(2));
        let mut world = World::default();
        for step in steps {
            world.run(&mut multiplexer, step);
        }
        // Then every channel comes to its end.
        while !world.joining.is_empty() {
            world.run(&mut multiplexer, Step::Accept(0));
        }
        while !world.joined.is_empty() {
            world.run(&mut multiplexer, Step::End { pick: 0, end: End::Error });
        }
        while !world.aborted.is_empty() {
            world.run(&mut multiplexer, Step::Echo(0));
        }
        let mut nameless = 0;
        for (join, with_ref) in &world.join_refs {
            let answers = world.answers.get(join).cloned().unwrap_or_default();
            prop_assert_eq!(answers.len(), 1, "join {} was answered {:?}", join, answers);
            let join_ref = with_ref.then(|| Field::from(join.as_str()));
            let for_good = join_ref.is_some() && world.refused_for_good.contains(&join_ref);
            let ended = usize::from(answers[0] == "ok" || for_good);
            match with_ref {
                true => prop_assert_eq!(world.ends.get(join).copied().unwrap_or(0), ended),
                false => nameless += ended,
            }
        }
        nameless += world.refused_for_good.iter().filter(|join_ref| join_ref.is_none()).count();
        prop_assert_eq!(world.nameless_ends, nameless);
        prop_assert!(multiplexer.topics.len() == 0);
        prop_assert_eq!(multiplexer.superseded, 0);
    }
}
