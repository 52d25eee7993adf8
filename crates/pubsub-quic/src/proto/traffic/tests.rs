//! Small cases: one node's traffic, its peers played by the test through the real codecs.

use matryoshka_pubsub::cluster::interest::{HashKey, Interest};
use matryoshka_pubsub::{Kind, TrafficClass};

use super::super::codec::Codec;
use super::super::lane::{LANES, LaneEvent, LaneReader, Received};
use super::super::outbox::{Bounds, CONTROL_STREAM_BYTES, TRACKER_LANE_BYTES, USER_LANE_BYTES};
use super::super::terms::{INTEREST, Offer};
use super::*;

/// A peer at the other end of a link.
struct Peer {
    id: LinkId,
    name: NodeName,
    codec: Codec,
    outbox: Arc<Outbox<()>>,
    lanes: Vec<LaneReader>,
}

impl Peer {
    /// One that is up; `interest` says whether it routes, and then it has told that it wants `wanted`.
    fn up(traffic: &mut Traffic<()>, number: u64, offer: Offer, wanted: Option<&[&str]>) -> Self {
        let terms = Offer::default().agree(&offer.hello()).unwrap();
        let outbox = Arc::new(Outbox::new(Bounds::default(), ()));
        let name = NodeName::new(format!("n{number}")).unwrap();
        let peer = Self {
            id: LinkId(number),
            name,
            codec: terms.codec,
            lanes: (0..LANES)
                .map(|_| LaneReader::new(terms.codec, USER_LANE_BYTES))
                .collect(),
            outbox,
        };
        traffic.link_up(peer.id, peer.name.clone(), terms, Arc::clone(&peer.outbox));
        if let Some(wanted) = wanted {
            peer.wants(traffic, wanted);
        }
        peer
    }

    fn wants(&self, traffic: &mut Traffic<()>, wanted: &[&str]) {
        let all = Interest {
            seq: 1,
            begin: true,
            end: true,
            wanted: wanted.iter().copied().map(TopicName::from).collect(),
            ..Interest::default()
        };
        traffic.handle_control(self.id, ControlFrame::Interest(all));
    }

    /// All that came on a lane since the last time.
    fn reads(&mut self, lane: u16) -> Vec<LaneEvent> {
        let reader = &mut self.lanes[usize::from(lane)];
        let (mut batch, mut events) = (Vec::new(), Vec::new());
        while self.outbox.take(lane, &mut batch) {
            for bytes in batch.drain(..) {
                reader.feed(bytes);
                events.extend(std::iter::from_fn(|| reader.next().unwrap()));
            }
        }
        events
    }

    fn texts(&mut self) -> Vec<String> {
        let lane = lane_of(TrafficClass::User, 0);
        let text = |event| match event {
            LaneEvent::Gap(lost) => format!("gap {lost}"),
            LaneEvent::Message(Received { pos, payload, .. }) => {
                format!("{pos} {}", String::from_utf8_lossy(&payload))
            }
        };
        self.reads(lane).into_iter().map(text).collect()
    }
}

fn traffic() -> Traffic<()> {
    Traffic::new(Config::new(HashKey([3; 16])))
}

fn v1() -> Offer {
    Offer {
        newest: Codec::V1,
        ..Offer::default()
    }
}

fn message(topic: &str, payload: impl Into<bytes::Bytes>) -> Envelope {
    Envelope {
        topic: topic.into(),
        kind: Kind(5),
        class: TrafficClass::User,
        lane: 0,
        payload: payload.into(),
    }
}

fn publish(traffic: &mut Traffic<()>, topic: &str, payload: &'static str) -> Reached {
    traffic.publish(To::All, &message(topic, payload), Instant::now())
}

fn lanes_woken(traffic: &mut Traffic<()>) -> Vec<u16> {
    let lane = |wake| match wake {
        Wake::Lane(_, lane) => Some(lane),
        _ => None,
    };
    traffic.take_wakes().into_iter().filter_map(lane).collect()
}

#[test]
fn a_message_is_written_once_for_each_version_whatever_the_number_of_peers() {
    let mut traffic = traffic();
    let mut peers: Vec<Peer> = (1..=6)
        .map(|number| {
            let offer = if number % 2 == 0 {
                v1()
            } else {
                Offer::default()
            };
            Peer::up(
                &mut traffic,
                number,
                offer,
                (number % 2 == 1).then_some(&["a"]),
            )
        })
        .collect();
    assert_eq!(publish(&mut traffic, "a", "hello").peers, 6);
    assert_eq!(publish(&mut traffic, "a", "again").peers, 6);
    assert_eq!(traffic.totals().encoded, 4);
    for peer in &mut peers {
        // Version 1 has no positions.
        let expected = match peer.codec {
            Codec::V1 => ["0 hello", "0 again"],
            Codec::V2 => ["1 hello", "2 again"],
        };
        assert_eq!(peer.texts(), expected);
    }
}

#[test]
fn what_nobody_asked_for_waits_and_goes_when_it_is_asked_for() {
    let mut traffic = traffic();
    let mut peer = Peer::up(&mut traffic, 1, Offer::default(), Some(&[]));
    let mut old = Peer::up(&mut traffic, 2, v1(), None);
    let reached = publish(&mut traffic, "a", "hello");
    assert_eq!((reached.peers, traffic.totals().ring_entries), (2, 1));
    assert_eq!(
        (peer.texts(), old.texts()),
        (vec![], vec!["0 hello".to_owned()])
    );
    let edge = Interest {
        seq: 2,
        wanted: vec!["a".into()],
        ..Interest::default()
    };
    traffic.handle_control(peer.id, ControlFrame::Interest(edge));
    assert_eq!(peer.texts(), ["1 hello"]);
    assert_eq!(traffic.sent_to(&peer.name).routing.replayed, 1);
    assert_eq!(traffic.sent_to(&old.name).routing.flooded_old_peer, 1);
}

#[test]
fn whoever_writes_is_woken_when_there_is_something_after_nothing() {
    let mut traffic = traffic();
    let mut peer = Peer::up(&mut traffic, 1, v1(), None);
    publish(&mut traffic, "a", "1");
    let lane = lane_of(TrafficClass::User, 0);
    assert_eq!(lanes_woken(&mut traffic), [lane]);
    publish(&mut traffic, "a", "2");
    assert_eq!(lanes_woken(&mut traffic), [0; 0]);
    assert_eq!(peer.texts().len(), 2);
    publish(&mut traffic, "a", "3");
    assert_eq!(lanes_woken(&mut traffic), [lane]);
}

#[test]
fn the_control_stream_is_filled_as_it_has_room_and_whoever_writes_it_is_woken() {
    let mut traffic = traffic();
    let peer = Peer::up(&mut traffic, 1, Offer::default(), None);
    let control = |traffic: &mut Traffic<()>| {
        let wakes = traffic.take_wakes();
        wakes.iter().any(|wake| matches!(wake, Wake::Control(_)))
    };
    assert!(control(&mut traffic), "a sync is due");
    let mut edges = vec![Edge {
        topic: "mine".into(),
        interested: true,
    }];
    let mut take_edges = || std::mem::take(&mut edges);
    let frame = traffic.poll_control(peer.id, &mut take_edges, Instant::now());
    match frame {
        Some(Frame::Routing(ControlFrame::Interest(interest))) => {
            assert_eq!((interest.begin, interest.end), (true, true));
            assert_eq!(interest.wanted.first(), Some(&"mine".into()));
        }
        other => panic!("unexpected {other:?}"),
    }
    assert_eq!(
        traffic.poll_control(peer.id, &mut Vec::new, Instant::now()),
        None
    );
    traffic.handle_control(peer.id, ControlFrame::Position(7));
    assert!(control(&mut traffic), "an answer is due");
    let old = Peer::up(&mut traffic, 2, v1(), None);
    assert!(!control(&mut traffic), "an old peer is told nothing");
    assert_eq!(
        traffic.poll_control(old.id, &mut Vec::new, Instant::now()),
        None
    );
}

fn alarms(traffic: &mut Traffic<()>) -> usize {
    let wakes = traffic.take_wakes();
    let alarms = wakes.iter().filter(|wake| matches!(wake, Wake::Alarm));
    alarms.count()
}

#[test]
fn what_is_held_brings_an_alarm_nearer_that_is_a_little_later() {
    let mut traffic = traffic();
    let _peer = Peer::up(&mut traffic, 1, Offer::default(), Some(&[]));
    let now = Instant::now();
    for interested in [true, false] {
        let topic = "lingers".into();
        traffic.handle_edges(vec![Edge { topic, interested }], now);
    }
    assert_eq!(traffic.set_alarm(), Some(now + Duration::from_secs(2)));
    traffic.take_wakes();
    let later = now + Duration::from_millis(1_850);
    traffic.publish(To::All, &message("a", "1"), later);
    assert_eq!(alarms(&mut traffic), 1, "a position is due before that");
    let due = later + Duration::from_millis(100);
    assert_eq!(traffic.set_alarm(), Some(due));
}

#[test]
fn what_is_held_sets_off_an_alarm_if_none_is_near() {
    let mut traffic = traffic();
    let _peer = Peer::up(&mut traffic, 1, Offer::default(), Some(&[]));
    assert_eq!(traffic.set_alarm(), None);
    traffic.take_wakes();
    let now = Instant::now();
    traffic.publish(To::All, &message("a", "1"), now);
    traffic.publish(To::All, &message("a", "2"), now);
    assert_eq!(alarms(&mut traffic), 1);
    assert_eq!(traffic.set_alarm(), Some(now + Duration::from_millis(100)));
    traffic.publish(To::All, &message("a", "3"), now);
    assert_eq!(alarms(&mut traffic), 0, "it is near enough");
    traffic.handle_timeout(now + Duration::from_millis(100));
    assert_eq!(
        traffic.set_alarm(),
        None,
        "a position is due and waits for room"
    );
}

#[test]
fn a_full_lane_of_users_drops_for_that_peer_and_tells_it() {
    let mut traffic = traffic();
    let mut slow = Peer::up(&mut traffic, 1, v1(), None);
    let mut quick = Peer::up(&mut traffic, 2, v1(), None);
    let payload = bytes::Bytes::from(vec![b'x'; 1_000_000]);
    let mut dropped = 0;
    for _ in 0..20 {
        let reached = traffic.publish(To::All, &message("a", payload.clone()), Instant::now());
        assert!(reached.dropped.iter().all(|name| *name == slow.name));
        dropped += reached.dropped.len();
        assert_eq!(quick.texts().len(), 1);
    }
    assert_eq!(dropped, 4, "sixteen fit into sixteen MiB");
    assert_eq!(slow.texts().len(), 16);
    publish(&mut traffic, "a", "small");
    assert_eq!(slow.texts(), ["gap 4", "0 small"]);
    let sent = traffic.sent_to(&slow.name);
    assert_eq!(
        (sent.routing.dropped, sent.routing.gaps, sent.bytes),
        (4, 1, 16_000_005)
    );
}

#[test]
fn a_gap_is_told_with_the_heartbeat_if_nothing_else_comes() {
    let mut traffic = traffic();
    let small = Offer {
        max_message_bytes: 100_000,
        ..Offer::default()
    };
    let mut peer = Peer::up(&mut traffic, 1, small, Some(&["a"]));
    let reached = traffic.publish(To::All, &message("a", vec![1; 100_001]), Instant::now());
    assert_eq!(reached.dropped, [peer.name.clone()]);
    assert_eq!(traffic.sent_to(&peer.name).too_large, 1);
    assert_eq!(peer.texts(), [""; 0]);
    traffic.handle_heartbeat(peer.id);
    assert_eq!(peer.texts(), ["gap 1"]);
}

#[test]
fn a_lane_that_must_not_lose_ends_the_link_instead() {
    let mut traffic = traffic();
    let peer = Peer::up(&mut traffic, 1, v1(), None);
    let mut tracker = message("a", vec![1; 1_000_000]);
    tracker.class = TrafficClass::Tracker;
    let mut overflows = 0;
    for _ in 0..TRACKER_LANE_BYTES / 1_000_000 + 2 {
        let reached = traffic.publish(To::All, &tracker, Instant::now());
        assert_eq!((reached.peers, reached.dropped), (1, Vec::new()));
        let wakes = traffic.take_wakes();
        overflows += wakes
            .iter()
            .filter(|wake| matches!(wake, Wake::Overflow(_)))
            .count();
    }
    assert_eq!((overflows, peer.outbox.has_ended()), (1, true));
}

#[test]
fn parts_arrive_whole_behind_one_beginning_of_the_lane() {
    let mut traffic = traffic();
    let mut peer = Peer::up(&mut traffic, 1, Offer::default(), Some(&["a"]));
    let large: Vec<u8> = (0..300_000).map(|n| (n % 251) as u8).collect();
    for _ in 0..2 {
        traffic.publish(To::All, &message("a", large.clone()), Instant::now());
    }
    let events = peer.reads(lane_of(TrafficClass::User, 0));
    let whole = events.iter().filter(|event| match event {
        LaneEvent::Message(received) => received.payload == large,
        LaneEvent::Gap(_) => false,
    });
    assert_eq!((whole.count(), events.len()), (2, 2));
}

#[test]
fn one_peer_alone_can_be_sent_to() {
    let mut traffic = traffic();
    let mut one = Peer::up(&mut traffic, 1, v1(), None);
    let mut other = Peer::up(&mut traffic, 2, v1(), None);
    let link = traffic.link_to(&one.name).unwrap();
    traffic.publish(To::Link(link), &message("a", "you"), Instant::now());
    assert_eq!((one.texts().len(), other.texts().len()), (1, 0));
    assert_eq!(traffic.link_to(&NodeName::new("n3").unwrap()), None);
}

#[test]
fn what_was_sent_outlives_the_link_and_in_the_sum_the_member_too() {
    let mut traffic = traffic();
    let first = Peer::up(&mut traffic, 1, v1(), None);
    publish(&mut traffic, "a", "hello");
    traffic.link_down(first.id);
    assert!(traffic.is_empty());
    assert_eq!(publish(&mut traffic, "a", "to nobody").peers, 0);
    let name = first.name;
    assert_eq!(traffic.sent_to(&name).routing.taken(), 1);
    let terms = Offer::default().agree(&v1().hello()).unwrap();
    let outbox = Arc::new(Outbox::new(Bounds::default(), ()));
    traffic.link_up(LinkId(9), name.clone(), terms, outbox);
    publish(&mut traffic, "a", "again");
    let sent = traffic.sent_to(&name);
    assert_eq!((sent.routing.taken(), sent.bytes), (2, 10));
    traffic.link_down(LinkId(9));
    traffic.forget(&name);
    assert_eq!(traffic.sent_to(&name), Sent::default());
    assert_eq!(traffic.totals().sent.routing.taken(), 2);
}

#[test]
fn before_all_links_are_closed_what_waits_goes_out() {
    let mut traffic = traffic();
    let mut peer = Peer::up(&mut traffic, 1, Offer::default(), Some(&[]));
    publish(&mut traffic, "a", "hello");
    traffic.handle_closing();
    assert_eq!(peer.texts(), ["1 hello"]);
}

#[test]
fn what_arrived_for_nobody_ends_a_linger_and_what_was_heard_is_answered() {
    let mut traffic = traffic();
    let peer = Peer::up(&mut traffic, 1, Offer::default(), Some(&[]));
    let now = Instant::now();
    let edge = |interested| {
        let topic = "a".into();
        vec![Edge { topic, interested }]
    };
    traffic.handle_edges(edge(true), now);
    traffic.handle_edges(edge(false), now);
    let receipt = Receipt {
        heard: 16,
        unwanted: vec!["a".into(); 16],
    };
    traffic.handle_received(peer.id, &receipt);
    assert_eq!(traffic.totals().topics_wanted, 0);
    let frame = traffic.poll_control(peer.id, &mut Vec::new, now);
    let Some(Frame::Routing(ControlFrame::Interest(interest))) = frame else {
        panic!("unexpected {frame:?}");
    };
    assert_eq!(interest.heard, Some(16));
    let heard = Receipt {
        heard: 20,
        unwanted: Vec::new(),
    };
    traffic.handle_received(peer.id, &heard);
    traffic.handle_control(peer.id, ControlFrame::Position(18));
    let frame = traffic.poll_control(peer.id, &mut Vec::new, now);
    let Some(Frame::Routing(ControlFrame::Interest(interest))) = frame else {
        panic!("unexpected {frame:?}");
    };
    assert_eq!(interest.heard, Some(20));
}

#[test]
fn the_control_streams_queue_is_bounded() {
    let outbox = Outbox::new(Bounds::default(), ());
    let mut pushed = 0;
    while outbox.push_control(Codec::V2, &Frame::Heartbeat) != Pushed::Full {
        pushed += 1;
        assert!(pushed < CONTROL_STREAM_BYTES);
    }
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while outbox.take_control(&mut batch) {
        bytes += batch.drain(..).map(|part| part.len()).sum::<usize>();
    }
    assert!(bytes <= CONTROL_STREAM_BYTES);
    outbox.end();
    assert_eq!(
        outbox.push_control(Codec::V2, &Frame::Heartbeat),
        Pushed::Closed
    );
}

#[test]
fn the_capability_is_what_a_hello_says() {
    let capabilities = |offer: Offer| offer.hello().capabilities;
    assert_eq!(capabilities(Offer::default()), [INTEREST]);
    assert_eq!(capabilities(v1()), [""; 0]);
}
