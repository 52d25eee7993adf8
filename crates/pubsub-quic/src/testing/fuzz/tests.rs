//! The stored corpus, arbitrary bytes, and streams that are right but for one place.

use std::fs;
use std::path::Path;

use bytes::BytesMut;
use matryoshka_pubsub::cluster::interest::{ControlFrame, Interest};
use matryoshka_pubsub::{Envelope, Kind, TrafficClass};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::proto::frame::{Hello, MemberAddress};
use crate::proto::lane::Encoded;

type Target = fn(&[u8]);
const TARGETS: [(&str, Target); 3] = [("control", control), ("lane", lane), ("close", close)];

#[test]
fn what_the_fuzzer_stored_holds() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let inputs = fs::read_dir(folder.join(name)).expect("a stored corpus");
        let paths: Vec<_> = inputs.map(|input| input.unwrap().path()).collect();
        assert!(paths.len() > 10, "the corpus of {name} is missing");
        for path in paths {
            target(&fs::read(path).unwrap());
        }
    }
}

fn member(n: u16) -> MemberAddress {
    MemberAddress {
        name: format!("n{n}"),
        incarnation: n.into(),
        address: format!("10.0.0.{n}:5000"),
    }
}

/// A frame of each kind that a control stream has.
fn control_stream(codec: Codec) -> Vec<u8> {
    let hello = Hello {
        protocol: codec.version(),
        oldest: 1,
        capabilities: vec!["interest".into()],
        cluster: "blue".into(),
        name: "n1".into(),
        clock_ms: Some(1),
        ..Hello::default()
    };
    let interest = Interest {
        seq: 1,
        begin: true,
        wanted: vec!["room:1".into(), "room:2".into()],
        gone: vec!["room:3".into()],
        heard: Some(7),
        ..Interest::default()
    };
    let frames = [
        Frame::Hello(hello),
        Frame::Welcome,
        Frame::Accept,
        Frame::Addresses(vec![member(1), member(2)]),
        Frame::Heartbeat,
        Frame::Routing(ControlFrame::Interest(interest)),
        Frame::Routing(ControlFrame::Position(9)),
        Frame::Routing(ControlFrame::Resync),
        Frame::Routing(ControlFrame::Last(1)),
        Frame::Goodbye {
            restart_within_ms: Some(5_000),
        },
        Frame::Finished { lanes: 3 },
    ];
    let encoded = frames.iter().filter_map(|frame| codec.encode(frame));
    encoded.flatten().collect()
}

/// A lane with a gap, small messages, and one in parts where the version has those.
fn lane_stream(codec: Codec) -> Vec<u8> {
    let mut encoded = Encoded::default();
    codec.put_lane(3, &mut encoded);
    codec.put_gap(12, &mut encoded);
    for (pos, bytes) in [(1, 10), (2, 0), (3, 7_000)] {
        let envelope = Envelope {
            topic: "room:1".into(),
            kind: Kind(1),
            class: TrafficClass::User,
            lane: 3,
            payload: vec![7; bytes].into(),
        };
        codec.put_message(pos, &envelope, &mut encoded);
    }
    let mut stream = BytesMut::from(&encoded.concat()[..]);
    // Longer than this node takes.
    stream.extend_from_slice(&encoded.concat()[encoded.bytes() - 7_000..]);
    stream.to_vec()
}

fn streams() -> impl Strategy<Value = (Target, Vec<u8>)> {
    let codec = prop_oneof![Just(Codec::V1), Just(Codec::V2)];
    (codec, any::<bool>()).prop_map(|(codec, is_lane)| {
        if is_lane {
            (lane as Target, lane_stream(codec))
        } else {
            (control as Target, control_stream(codec))
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_hold(bytes in vec(any::<u8>(), 0..600)) {
        for (_, target) in TARGETS {
            target(&bytes);
        }
    }

    #[test]
    fn a_stream_that_is_wrong_in_one_place_holds(
        (target, mut stream) in streams(),
        choice in any::<u8>(),
        place in any::<Index>(),
        change in any::<u8>(),
    ) {
        let place = place.index(stream.len());
        stream[place] = change;
        target(&[&[choice], &stream[..]].concat());
    }

    #[test]
    fn a_stream_that_is_cut_holds(
        (target, stream) in streams(),
        choice in any::<u8>(),
        end in any::<Index>(),
    ) {
        target(&[&[choice], &stream[..end.index(stream.len())]].concat());
    }
}

#[test]
fn right_streams_are_read_to_their_ends() {
    for codec in [Codec::V1, Codec::V2] {
        let (frames, error) = control_frames(codec, true, [&control_stream(codec)[..]]);
        let expected = if codec == Codec::V2 { 11 } else { 7 };
        assert_eq!((frames.len(), error), (expected, None));
        let (events, _) = lane_events(codec, [&lane_stream(codec)[..]]);
        assert_eq!(events.len(), 4);
    }
}
