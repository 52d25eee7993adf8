//! The frames of the control stream against all that may come: right, cut, unknown, damaged and hostile bytes, in both versions.

use bytes::BufMut;
use matryoshka_pubsub::cluster::interest::{ControlFrame, Interest};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde::Serialize;

use super::super::control::ControlReader;
use super::super::frame::MemberAddress;
use super::super::terms::Offer;
use super::*;

const BOTH: [Codec; 2] = [Codec::V1, Codec::V2];

fn reader(codec: Codec) -> ControlReader {
    ControlReader::new(codec)
}

fn read_all(reader: &mut ControlReader) -> Result<Vec<Frame>, FrameError> {
    std::iter::from_fn(|| reader.next(true).transpose()).collect()
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..max)
}

fn member() -> impl Strategy<Value = MemberAddress> {
    (".{0,20}", any::<u64>(), ".{0,40}").prop_map(|(name, incarnation, address)| MemberAddress {
        name,
        incarnation,
        address,
    })
}

/// Of a node that would speak that version with one that speaks all.
fn hello(codec: Codec) -> impl Strategy<Value = Frame> {
    let texts = (
        ".{0,20}",
        ".{0,20}",
        option::of(".{0,40}"),
        vec(".{0,9}", 0..3),
    );
    let numbers = (any::<u64>(), any::<u64>(), any::<u16>());
    let later = (option::of(any::<u64>()), option::of(any::<u64>()));
    (texts, numbers, later).prop_map(move |(texts, numbers, later)| {
        let later = if codec == Codec::V1 {
            (None, None)
        } else {
            later
        };
        Frame::Hello(Hello {
            protocol: codec.version(),
            oldest: OLDEST_PROTOCOL,
            cluster: texts.0,
            name: texts.1,
            advertise: texts.2,
            capabilities: texts.3,
            incarnation: numbers.0,
            instance: numbers.1,
            lanes: numbers.2,
            clock_ms: later.0,
            max_message_bytes: later.1,
        })
    })
}

fn topics() -> impl Strategy<Value = Vec<TopicName>> {
    vec(".{0,30}".prop_map(TopicName::from), 0..20)
}

fn routing() -> impl Strategy<Value = Frame> {
    let interest = (
        any::<u64>(),
        any::<(bool, bool)>(),
        topics(),
        topics(),
        option::of(any::<u64>()),
    );
    let interest = interest.prop_map(|(seq, (begin, end), gone, wanted, heard)| {
        ControlFrame::Interest(Interest {
            seq,
            begin,
            end,
            gone,
            wanted,
            heard,
        })
    });
    prop_oneof![
        interest,
        any::<u64>().prop_map(ControlFrame::Position),
        Just(ControlFrame::Resync),
        any::<u64>().prop_map(ControlFrame::Last),
    ]
    .prop_map(Frame::Routing)
}

/// A frame that both versions have a word for.
fn old_frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        Just(Frame::Welcome),
        Just(Frame::Accept),
        vec(member(), 0..5).prop_map(Frame::Addresses),
        Just(Frame::Heartbeat),
        option::of(any::<u64>()).prop_map(|restart_within_ms| Frame::Goodbye { restart_within_ms }),
        any::<u16>().prop_map(|lanes| Frame::Finished { lanes }),
    ]
}

/// Frames, each with an unknown one behind it or not.
type Frames = Vec<(Frame, Option<Vec<u8>>)>;

fn frames() -> impl Strategy<Value = (Codec, Frames)> {
    let v1 = prop_oneof![hello(Codec::V1), old_frame()].boxed();
    let v2 = prop_oneof![hello(Codec::V2), old_frame(), routing()].boxed();
    let of = |codec, frame: BoxedStrategy<Frame>| {
        vec((frame, option::of(unknown())), 1..8).prop_map(move |frames| (codec, frames))
    };
    prop_oneof![of(Codec::V1, v1), of(Codec::V2, v2)]
}

/// A frame of a kind that does not exist, with what it holds.
fn unknown() -> impl Strategy<Value = Vec<u8>> {
    (1000_u16.., bytes(3_000)).prop_map(|(kind, body)| raw(kind, &body))
}

fn raw(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.put_u16(kind);
    frame.put_u32(body.len() as u32);
    frame.extend_from_slice(body);
    frame
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn frames_are_read_back_as_written_however_they_are_cut(
        (codec, frames) in frames(),
        cut in 1_usize..5_000,
    ) {
        let mut written = Vec::new();
        for (frame, unknown) in &frames {
            written.extend_from_slice(&codec.encode(frame).unwrap());
            written.extend(unknown.iter().flatten());
        }
        let (mut reader, mut read) = (reader(codec), Vec::new());
        for piece in written.chunks(cut) {
            reader.feed(Bytes::copy_from_slice(piece));
            read.extend(read_all(&mut reader).unwrap());
        }
        let expected: Vec<Frame> = frames.iter().map(|(frame, _)| frame.clone()).collect();
        prop_assert_eq!(read, expected);
        let unknown = frames.iter().filter(|(_, unknown)| unknown.is_some()).count();
        let skipped = Skipped { frames: unknown as u64, fields: 0 };
        prop_assert_eq!(reader.take_skipped(), skipped);
    }

    #[test]
    fn a_truncated_frame_is_waited_for(
        frame in prop_oneof![hello(Codec::V2), old_frame(), routing()],
        at in any::<prop::sample::Index>(),
    ) {
        let written = Codec::V2.encode(&frame).unwrap();
        let mut reader = reader(Codec::V2);
        reader.feed(written.slice(..at.index(written.len())));
        prop_assert_eq!(reader.next(true), Ok(None));
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(junk in bytes(4_000), cut in 1_usize..500) {
        for codec in BOTH {
            let mut reader = reader(codec);
            for piece in junk.chunks(cut) {
                reader.feed(Bytes::copy_from_slice(piece));
                if read_all(&mut reader).is_err() {
                    break;
                }
            }
        }
    }

    #[test]
    fn a_damaged_body_is_a_frame_or_an_error(
        frame in prop_oneof![hello(Codec::V2), old_frame(), routing()],
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let mut written = Codec::V2.encode(&frame).unwrap().to_vec();
        let at = HEADER_BYTES + at.index(written.len() - HEADER_BYTES);
        written[at] ^= flip;
        let mut reader = reader(Codec::V2);
        reader.feed(written.into());
        // Either is fine, as long as it ends.
        let _ = read_all(&mut reader);
    }

    #[test]
    fn to_the_version_before_what_routers_say_is_unknown_and_unsayable(frame in routing()) {
        prop_assert_eq!(Codec::V1.encode(&frame), None);
        let mut reader = reader(Codec::V1);
        reader.feed(Codec::V2.encode(&frame).unwrap());
        prop_assert_eq!(read_all(&mut reader), Ok(Vec::new()));
        prop_assert_eq!(reader.take_skipped().frames, 1);
    }

    #[test]
    fn what_routers_say_is_kept_back_until_the_link_is_up(frame in routing(), cut in 1_usize..50) {
        let mut reader = reader(Codec::V2);
        let written = [
            Codec::V2.encode(&frame).unwrap(),
            Codec::V2.encode(&Frame::Heartbeat).unwrap(),
        ];
        for piece in written.concat().chunks(cut) {
            reader.feed(Bytes::copy_from_slice(piece));
            prop_assert_eq!(reader.next(false), Ok(None));
        }
        prop_assert!(reader.is_held());
        prop_assert_eq!(read_all(&mut reader), Ok(vec![frame, Frame::Heartbeat]));
        prop_assert!(!reader.is_held());
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_by_its_header_alone() {
    for codec in BOTH {
        let (bytes, limit) = (codec.max_control_bytes() + 1, codec.max_control_bytes());
        let mut header = Vec::new();
        header.put_u16(9_999);
        header.put_u32(bytes as u32);
        let mut reader = reader(codec);
        reader.feed(header.into());
        assert_eq!(reader.next(true), Err(FrameError::TooLong { bytes, limit }));
    }
}

#[test]
fn the_largest_interest_fits_whatever_its_topics() {
    for bytes in [0, 1, 24, 255, 256, TopicName::MAX_BYTES] {
        let topic = TopicName::from("t".repeat(bytes));
        // As the router counts: four bytes beside the name, and one always fits.
        let count = (MAX_INTEREST_BYTES / (bytes + 4)).max(1);
        let interest = Interest {
            wanted: vec![topic; count],
            heard: Some(u64::MAX),
            ..Interest::default()
        };
        let frame = Frame::Routing(ControlFrame::Interest(interest));
        let mut reader = reader(Codec::V2);
        reader.feed(Codec::V2.encode(&frame).unwrap());
        assert_eq!(reader.next(true), Ok(Some(frame)));
    }
}

#[test]
fn the_hello_of_a_newer_node_tells_the_older_what_it_needs() {
    let hello = Hello {
        clock_ms: Some(1),
        ..Offer::default().hello()
    };
    let mut reader = reader(Codec::V1);
    reader.feed(Codec::V2.encode(&Frame::Hello(hello.clone())).unwrap());
    let older = Hello {
        clock_ms: None,
        max_message_bytes: None,
        ..hello
    };
    assert_eq!(reader.next(true), Ok(Some(Frame::Hello(older))));
    let skipped = Skipped {
        frames: 0,
        fields: 2,
    };
    assert_eq!(reader.take_skipped(), skipped);
}

#[test]
fn after_a_hello_the_agreed_version_is_read() {
    let mut older = Offer::default().hello();
    older.protocol = 1;
    let mut reader = reader(Codec::V2);
    reader.feed(Codec::V1.encode(&Frame::Hello(older)).unwrap());
    assert!(matches!(reader.next(true), Ok(Some(Frame::Hello(_)))));
    let later = Frame::Routing(ControlFrame::Resync);
    reader.feed(Codec::V2.encode(&later).unwrap());
    assert_eq!(reader.next(true), Ok(None));
    assert_eq!(reader.take_skipped().frames, 1);
}

#[test]
fn fields_of_a_later_version_are_stepped_over_and_counted() {
    #[derive(Serialize)]
    struct LaterLast {
        seq: u64,
        mood: &'static str,
        deep: Vec<(u8, String)>,
    }
    let later = LaterLast {
        seq: 3,
        mood: "sunny",
        deep: vec![(1, "x".into())],
    };
    let mut reader = reader(Codec::V2);
    reader.feed(named_frame(kind::LAST, &later));
    let last = Frame::Routing(ControlFrame::Last(3));
    assert_eq!(reader.next(true), Ok(Some(last)));
    assert_eq!(reader.take_skipped().fields, 2);
}

#[test]
fn what_belongs_into_a_lane_is_refused_on_the_control_stream() {
    for (codec, kinds) in [
        (Codec::V1, kind::LANE..=kind::MESSAGE),
        (Codec::V2, kind::LANE..=kind::CHUNK),
    ] {
        for kind in kinds {
            let mut reader = reader(codec);
            reader.feed(raw(kind, &[]).into());
            assert_eq!(reader.next(true), Err(FrameError::Misplaced { kind }));
        }
    }
}

#[test]
fn an_unknown_frame_is_not_held_in_memory() {
    let mut cutter = super::super::cutter::Cutter::default();
    let mut left = 10_000_000;
    while left > 0 {
        cutter.feed(vec![0; 1_000].into());
        left = cutter.skip(left);
        assert_eq!(cutter.held(), 0);
    }
}
