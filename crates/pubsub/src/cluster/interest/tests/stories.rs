//! Small cases told by hand: one router, its peer played by the test.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::{
    Config, ControlFrame, HashKey, Interest, LaneFrame, Lanes, Published, Router, To,
};
use crate::{Edge, Envelope, Kind, LinkId, TopicName, TrafficClass};

const LINK: LinkId = LinkId(7);

/// All lanes as one list, with room for so many frames.
struct Wire {
    frames: Vec<String>,
    room: usize,
}

impl Lanes for Wire {
    fn push(&mut self, link: LinkId, lane: u16, frames: &[LaneFrame]) -> bool {
        let fits = self.frames.len() + frames.len() <= self.room;
        if fits {
            self.frames.extend(frames.iter().map(|frame| match frame {
                LaneFrame::Gap(lost) => format!("{link}/{lane} gap {lost}"),
                LaneFrame::Message { pos, envelope } => {
                    format!("{link}/{lane} {} {pos}", envelope.topic)
                }
            }));
        }
        fits
    }
}

struct Story {
    router: Router,
    wire: Wire,
    now: Instant,
}

impl Story {
    fn new(config: Config) -> Self {
        let wire = Wire {
            frames: Vec::new(),
            room: usize::MAX,
        };
        Self {
            router: Router::new(config),
            now: Instant::now(),
            wire,
        }
    }

    /// With a peer that has told what it wants.
    fn routed(config: Config, wanted: &[&str]) -> Self {
        let mut story = Self::new(config);
        story.router.handle_up(LINK, true);
        story.hear(Interest {
            begin: true,
            end: true,
            ..interest(1, wanted, &[], Some(0))
        });
        story.write();
        story
    }

    fn publish(&mut self, topic: &str) -> Published {
        self.publish_of(topic, TrafficClass::User)
    }

    fn publish_of(&mut self, topic: &str, class: TrafficClass) -> Published {
        let envelope = Envelope {
            topic: topic.into(),
            kind: Kind::RAW,
            class,
            lane: 0,
            payload: Bytes::new(),
        };
        self.router
            .publish(To::All, 0, Arc::new(envelope), self.now, &mut self.wire)
    }

    fn hear(&mut self, frame: Interest) {
        let frame = ControlFrame::Interest(frame);
        self.router.handle_control(LINK, frame, &mut self.wire);
    }

    fn edge(&mut self, topic: &str, interested: bool) {
        let topic = topic.into();
        self.router
            .handle_edges([Edge { topic, interested }], self.now);
    }

    /// All control frames that are due.
    fn write(&mut self) -> Vec<ControlFrame> {
        let mut frames = Vec::new();
        while let Some(link) = self.router.poll_ready() {
            while let Some(frame) = self.router.poll_control(link, &mut Vec::new, self.now) {
                frames.push(frame);
            }
        }
        frames
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.router.handle_timeout(self.now);
    }

    fn sent(&mut self) -> Vec<String> {
        std::mem::take(&mut self.wire.frames)
    }
}

fn config() -> Config {
    Config::new(HashKey([3; 16]))
}

fn names(topics: &[&str]) -> Vec<TopicName> {
    topics.iter().map(|topic| (*topic).into()).collect()
}

fn interest(seq: u64, wanted: &[&str], gone: &[&str], heard: Option<u64>) -> Interest {
    Interest {
        seq,
        wanted: names(wanted),
        gone: names(gone),
        heard,
        ..Interest::default()
    }
}

#[test]
fn what_waits_is_sent_oldest_first_when_its_topic_is_wanted() {
    let mut story = Story::routed(config(), &["a"]);
    let topics = ["a", "b", "c", "b"];
    let sent: Vec<_> = topics.map(|topic| story.publish(topic).sent).to_vec();
    assert_eq!(sent, [1, 0, 0, 0]);
    assert_eq!(story.sent(), ["7/0 a 1"]);
    story.hear(interest(2, &["b"], &[], Some(3)));
    assert_eq!(story.sent(), ["7/0 b 2", "7/0 b 4"]);
    assert_eq!(story.router.ring(), (0, 0));
    story.publish("b");
    assert_eq!(story.sent(), ["7/0 b 5"]);
    assert_eq!(story.router.counters().trimmed, 1);
}

#[test]
fn a_peer_gets_everything_until_it_has_told_all() {
    let mut story = Story::new(config());
    assert_eq!(story.publish("a"), Published::default());
    story.router.handle_up(LINK, true);
    story.publish("a");
    story.hear(Interest {
        begin: true,
        ..interest(1, &["b"], &[], None)
    });
    story.publish("a");
    story.hear(Interest {
        end: true,
        ..interest(2, &["c"], &[], Some(0))
    });
    assert_eq!(story.publish("a").held, 1);
    assert_eq!(story.sent(), ["7/0 a 2", "7/0 a 3"]);
}

#[test]
fn a_full_ring_sends_its_oldest() {
    let mut story = Story::routed(
        Config {
            ring_entries: 2,
            ..config()
        },
        &[],
    );
    for topic in ["a", "b", "c"] {
        story.publish(topic);
    }
    assert_eq!(story.sent(), ["7/0 a 1"]);
    let counters = story.router.counters();
    assert_eq!((counters.flooded(), counters.held), (1, 3));
}

#[test]
fn a_message_larger_than_the_ring_goes_behind_all_that_waits() {
    let mut story = Story::routed(
        Config {
            ring_bytes: Config::ENTRY_BYTES + 1,
            ..config()
        },
        &[],
    );
    story.publish("a");
    story.publish("long topic");
    assert_eq!(story.sent(), ["7/0 a 1", "7/0 long topic 2"]);
    assert_eq!(story.router.ring(), (0, 0));
}

#[test]
fn other_classes_than_users_always_go() {
    let mut story = Story::routed(config(), &[]);
    for class in [
        TrafficClass::Control,
        TrafficClass::Tracker,
        TrafficClass::Bulk,
    ] {
        assert_eq!(story.publish_of("a", class).sent, 1);
    }
}

#[test]
fn an_old_peer_gets_everything_and_no_control_frame() {
    let mut story = Story::new(config());
    story.router.handle_up(LINK, false);
    story.edge("a", true);
    assert_eq!(story.publish("b").sent, 1);
    story.hear(interest(1, &[], &[], Some(1)));
    story.router.handle_heartbeat(LINK, &mut story.wire);
    assert_eq!(story.write(), []);
    assert_eq!(story.router.counters().flooded_old_peer, 1);
}

#[test]
fn a_position_is_due_after_a_time_and_after_a_quarter_of_the_ring() {
    let mut story = Story::routed(config(), &[]);
    assert_eq!(story.router.poll_timeout(), None);
    story.publish("a");
    let due = story.now + Duration::from_millis(100);
    assert_eq!(story.router.poll_timeout(), Some(due));
    assert_eq!(story.write(), []);
    story.pass(Duration::from_millis(60));
    story.publish("a");
    story.pass(Duration::from_millis(40));
    assert_eq!(story.write(), [ControlFrame::Position(2)]);
    story.pass(Duration::from_secs(1));
    assert_eq!(story.write(), []);

    let quarter = 4 * (Config::ENTRY_BYTES + 1);
    let mut story = Story::routed(
        Config {
            ring_bytes: 4 * quarter,
            ..config()
        },
        &[],
    );
    for _ in 0..3 {
        story.publish("a");
    }
    assert_eq!(story.write(), []);
    story.publish("a");
    assert_eq!(story.write(), [ControlFrame::Position(4)]);
}

#[test]
fn while_an_entry_waits_each_heartbeat_announces() {
    let mut story = Story::routed(config(), &[]);
    story.router.handle_heartbeat(LINK, &mut story.wire);
    assert_eq!(story.write(), [ControlFrame::Last(1)]);
    story.publish("a");
    story.router.handle_heartbeat(LINK, &mut story.wire);
    let expected = [ControlFrame::Position(1), ControlFrame::Last(1)];
    assert_eq!(story.write(), expected);
}

#[test]
fn a_position_is_answered_with_what_was_heard() {
    let mut story = Story::routed(config(), &[]);
    let position = ControlFrame::Position(9);
    story.router.handle_control(LINK, position, &mut story.wire);
    story.router.handle_message(LINK, 4, &"a".into(), 1);
    let answer = ControlFrame::Interest(interest(2, &[], &[], Some(9)));
    assert_eq!(story.write(), [answer]);
}

#[test]
fn a_missing_frame_is_found_by_the_next_and_by_last() {
    for frame in [
        ControlFrame::Interest(interest(3, &[], &[], Some(1))),
        ControlFrame::Last(2),
    ] {
        let mut story = Story::routed(config(), &[]);
        story.publish("a");
        story.router.handle_control(LINK, frame, &mut story.wire);
        assert_eq!(story.sent(), ["7/0 a 1"]);
        assert_eq!(story.write(), [ControlFrame::Resync]);
        story.router.handle_heartbeat(LINK, &mut story.wire);
        let again = [ControlFrame::Resync, ControlFrame::Last(1)];
        assert_eq!(story.write(), again);
        assert_eq!(story.publish("a").sent, 1);
        story.hear(Interest {
            begin: true,
            end: true,
            ..interest(9, &[], &[], Some(0))
        });
        assert_eq!(story.publish("a").held, 1);
    }
}

#[test]
fn a_frame_that_came_before_is_not_taken_again() {
    for seq in [1, 2] {
        let mut story = Story::routed(config(), &[]);
        story.hear(interest(2, &["a"], &[], None));
        assert_eq!(story.publish("b").held, 1);
        story.hear(interest(seq, &[], &["a"], Some(1)));
        assert_eq!(story.sent(), ["7/0 b 1"], "it may not have heard of it");
        assert_eq!(story.write(), [ControlFrame::Resync]);
        assert_eq!(story.publish("a").sent, 1);
    }
}

#[test]
fn one_who_wants_too_much_gets_everything_for_as_long_as_the_link_lives() {
    let mut story = Story::routed(
        Config {
            peer_topics: 2,
            ..config()
        },
        &["a", "b"],
    );
    story.publish("c");
    story.hear(interest(2, &["d"], &[], None));
    assert_eq!(story.sent(), ["7/0 c 1"]);
    story.hear(interest(3, &[], &["a", "b", "d"], Some(1)));
    story.publish("c");
    story.hear(Interest {
        begin: true,
        end: true,
        ..interest(4, &["a"], &[], Some(1))
    });
    story.publish("c");
    assert_eq!(story.sent(), ["7/0 c 2", "7/0 c 3"]);
    assert_eq!(story.router.counters().flooded_over_limit, 2);
    assert_eq!(story.router.topics().1, 0);
}

#[test]
fn what_a_full_lane_drops_is_told_with_the_next_message_or_the_heartbeat() {
    let mut story = Story::routed(config(), &["a"]);
    story.wire.room = 0;
    let published = story.publish("a");
    assert_eq!(published.dropped, [LINK]);
    story.publish("a");
    story.wire.room = 3;
    story.publish("a");
    assert_eq!(story.sent(), ["7/0 gap 2", "7/0 a 3"]);
    story.wire.room = 0;
    story.publish("a");
    story.router.handle_heartbeat(LINK, &mut story.wire);
    story.wire.room = 3;
    story.router.handle_heartbeat(LINK, &mut story.wire);
    assert_eq!(story.sent(), ["7/0 gap 1"]);
    let counters = story.router.counters();
    assert_eq!((counters.dropped, counters.gaps), (3, 2));
}

#[test]
fn each_link_counts_for_itself_and_what_it_counted_outlives_it_in_the_sum() {
    let other = LinkId(8);
    let mut story = Story::routed(config(), &["a"]);
    story.router.handle_up(other, false);
    story.publish("a");
    story.publish("b");
    let (wanting, old) = (
        story.router.link_counters(LINK).unwrap(),
        story.router.link_counters(other).unwrap(),
    );
    assert_eq!((wanting.sent, wanting.held, wanting.flooded()), (1, 1, 0));
    assert_eq!((old.sent, old.held, old.flooded_old_peer), (0, 0, 2));
    let mut sum = wanting;
    sum += old;
    assert_eq!((story.router.counters(), sum.taken()), (sum, 3));
    story.router.handle_down(other);
    assert_eq!(story.router.link_counters(other), None);
    assert_eq!(story.router.counters(), sum);
}

#[test]
fn before_a_link_is_closed_its_peer_gets_what_it_waits_for_and_all_that_follows() {
    let mut story = Story::routed(config(), &["a"]);
    story.publish("b");
    story.publish("c");
    assert_eq!(story.sent(), [""; 0]);
    story.router.handle_closing(LINK, &mut story.wire);
    story.publish("d");
    assert_eq!(story.sent(), ["7/0 b 1", "7/0 c 2", "7/0 d 3"]);
    assert_eq!(story.router.ring(), (0, 0));
}

#[test]
fn a_message_that_full_mailboxes_lost_did_not_arrive_for_nobody() {
    let mut story = Story::routed(config(), &[]);
    story.edge("a", true);
    story.router.handle_message(LINK, 1, &"a".into(), 0);
    story.router.handle_message(LINK, 2, &"b".into(), 0);
    assert_eq!(story.router.counters().arrived_for_nobody, 1);
}

#[test]
fn a_topic_lingers_for_a_while_and_for_some_messages() {
    let mut story = Story::routed(config(), &[]);
    story.edge("a", true);
    assert_eq!(story.write().len(), 1);
    for _ in 0..3 {
        story.edge("a", false);
        story.pass(Duration::from_millis(1_900));
        story.edge("a", true);
        assert_eq!(story.write(), []);
    }
    story.edge("a", false);
    story.pass(Duration::from_secs(2));
    let gone = ControlFrame::Interest(interest(3, &[], &["a"], Some(0)));
    assert_eq!(story.write(), [gone]);

    story.edge("a", true);
    story.edge("a", false);
    for pos in 1..=15 {
        story.router.handle_message(LINK, pos, &"a".into(), 0);
    }
    let wanted = ControlFrame::Interest(interest(4, &["a"], &[], Some(15)));
    assert_eq!(story.write(), [wanted]);
    story.router.handle_message(LINK, 16, &"a".into(), 0);
    let gone = ControlFrame::Interest(interest(5, &[], &["a"], Some(16)));
    assert_eq!(story.write(), [gone]);
    assert_eq!(story.router.counters().arrived_for_nobody, 16);
}

#[test]
fn a_sync_goes_in_frames_of_bounded_size_and_says_heard_with_the_last() {
    let mut story = Story::new(config());
    for n in 0..10_000 {
        story.edge(&format!("topic number {n:05}"), true);
    }
    story.router.handle_up(LINK, true);
    let frames = story.write();
    let frames: Vec<_> = frames
        .into_iter()
        .map(|frame| match frame {
            ControlFrame::Interest(frame) => frame,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(frames.len(), 4);
    let bytes = |frame: &Interest| {
        frame
            .wanted
            .iter()
            .map(|topic| topic.len() + 4)
            .sum::<usize>()
    };
    assert!(frames.iter().all(|frame| bytes(frame) <= 64 * 1024));
    let count: usize = frames.iter().map(|frame| frame.wanted.len()).sum();
    assert_eq!(count, 10_000);
    for (n, frame) in frames.iter().enumerate() {
        let (first, last) = (n == 0, n == 3);
        assert_eq!((frame.begin, frame.end), (first, last));
        assert_eq!(frame.heard.is_some(), last);
    }
}

#[test]
fn a_sync_that_must_tell_too_much_beside_begins_anew() {
    let mut story = Story::routed(
        Config {
            pending_topics: 2,
            ..config()
        },
        &[],
    );
    for topic in ["a", "b", "c"] {
        story.edge(topic, true);
    }
    let sync = ControlFrame::Interest(Interest {
        begin: true,
        end: true,
        ..interest(2, &["a", "b", "c"], &[], Some(0))
    });
    assert_eq!(story.write(), [sync]);
}

#[test]
fn edges_are_taken_after_the_heard_position_was_read() {
    let mut story = Story::routed(config(), &[]);
    let position = ControlFrame::Position(5);
    story.router.handle_control(LINK, position, &mut story.wire);
    let mut take_edges = || {
        vec![Edge {
            topic: "a".into(),
            interested: true,
        }]
    };
    let frame = story.router.poll_control(LINK, &mut take_edges, story.now);
    let answer = ControlFrame::Interest(interest(2, &["a"], &[], Some(5)));
    assert_eq!(frame, Some(answer));
}

#[test]
fn nothing_that_a_peer_says_out_of_order_or_beyond_reason_breaks_anything() {
    let mut story = Story::routed(config(), &[]);
    story.hear(interest(2, &[], &["never wanted"], Some(u64::MAX)));
    assert_eq!(story.publish("a").held, 1);
    story.hear(interest(3, &["a"], &[], Some(u64::MAX)));
    assert_eq!(story.sent(), ["7/0 a 1"]);
    let stranger = LinkId(1);
    let frame = ControlFrame::Last(u64::MAX);
    story
        .router
        .handle_control(stranger, frame.clone(), &mut story.wire);
    story.router.handle_control(LINK, frame, &mut story.wire);
    story.router.handle_down(stranger);
    story.router.handle_message(stranger, 1, &"a".into(), 1);
    assert_eq!(story.write(), [ControlFrame::Resync]);
}

#[test]
fn nothing_waits_for_a_link_that_is_down() {
    let mut story = Story::routed(config(), &[]);
    story.publish("a");
    story.router.handle_down(LINK);
    assert_eq!(story.router.ring(), (0, 0));
    assert_eq!(story.publish("a"), Published::default());
    assert_eq!(story.sent(), Vec::<String>::new());
}
