//! The codec against all that may come: right, cut, unknown, damaged and hostile bytes.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn decode_all(decoder: &mut FrameDecoder) -> Result<Vec<Frame>, FrameError> {
    std::iter::from_fn(|| decoder.next().transpose()).collect()
}

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

fn member() -> impl Strategy<Value = MemberAddress> {
    (".{0,20}", any::<u64>(), ".{0,40}").prop_map(|(name, incarnation, address)| MemberAddress {
        name,
        incarnation,
        address,
    })
}

fn hello() -> impl Strategy<Value = Frame> {
    let versions = (any::<u16>(), any::<u16>(), any::<u16>());
    let texts = (
        ".{0,20}",
        ".{0,20}",
        option::of(".{0,40}"),
        vec(".{0,9}", 0..3),
    );
    (versions, texts, any::<u64>(), any::<u64>()).prop_map(
        |(
            (protocol, oldest, lanes),
            (cluster, name, advertise, capabilities),
            incarnation,
            instance,
        )| {
            Frame::Hello(Hello {
                protocol,
                oldest,
                capabilities,
                cluster,
                name,
                incarnation,
                instance,
                advertise,
                lanes,
            })
        },
    )
}

fn message() -> impl Strategy<Value = Frame> {
    (any::<u16>(), ".{0,40}", bytes(10_000)).prop_map(|(kind, topic, payload)| {
        Frame::Message(MessageFrame {
            kind,
            topic: topic.into(),
            payload,
        })
    })
}

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        hello(),
        Just(Frame::Welcome(Welcome {})),
        Just(Frame::Accept(Accept {})),
        vec(member(), 0..5).prop_map(|members| Frame::Addresses(Addresses { members })),
        Just(Frame::Heartbeat(Heartbeat {})),
        option::of(any::<u64>())
            .prop_map(|restart_within_ms| Frame::Goodbye(GoodbyeFrame { restart_within_ms })),
        any::<u16>().prop_map(|lanes| Frame::Finished(Finished { lanes })),
        any::<u16>().prop_map(|lane| Frame::Lane(Lane { lane })),
        any::<u64>().prop_map(|lost| Frame::Gap(Gap { lost })),
        message(),
    ]
}

/// A frame of a kind that does not exist, with what it holds.
fn unknown() -> impl Strategy<Value = Vec<u8>> {
    (1000_u16.., bytes(3_000)).prop_map(|(kind, body)| {
        let mut frame = BytesMut::new();
        put_header(&mut frame, kind, body.len());
        frame.put_slice(&body);
        frame.to_vec()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn frames_are_read_back_as_written_however_they_are_cut(
        frames in vec((frame(), option::of(unknown())), 1..8),
        cut in 1_usize..5_000,
    ) {
        let mut written = Vec::new();
        for (frame, unknown) in &frames {
            written.extend_from_slice(&frame.encode());
            written.extend(unknown.iter().flatten());
        }
        let mut decoder = FrameDecoder::new(MAX_LANE_FRAME_BYTES);
        let mut read = Vec::new();
        for piece in written.chunks(cut) {
            decoder.feed(piece);
            read.extend(decode_all(&mut decoder).unwrap());
        }
        let expected: Vec<Frame> = frames.iter().map(|(frame, _)| frame.clone()).collect();
        prop_assert_eq!(read, expected);
        let unknown = frames.iter().filter(|(_, unknown)| unknown.is_some()).count();
        prop_assert_eq!(decoder.skipped(), unknown as u64);
    }

    #[test]
    fn a_truncated_frame_is_waited_for(frame in frame(), at in any::<prop::sample::Index>()) {
        let written = frame.encode();
        let mut decoder = FrameDecoder::new(MAX_LANE_FRAME_BYTES);
        decoder.feed(&written[..at.index(written.len())]);
        prop_assert_eq!(decoder.next(), Ok(None));
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(junk in bytes(4_000), cut in 1_usize..500) {
        let mut decoder = FrameDecoder::new(MAX_CONTROL_FRAME_BYTES);
        for piece in junk.chunks(cut) {
            decoder.feed(piece);
            if decode_all(&mut decoder).is_err() {
                break;
            }
        }
    }

    #[test]
    fn a_damaged_body_is_a_frame_or_an_error(
        frame in frame(),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let mut written = frame.encode().to_vec();
        if written.len() > HEADER_BYTES {
            let at = HEADER_BYTES + at.index(written.len() - HEADER_BYTES);
            written[at] ^= flip;
            let mut decoder = FrameDecoder::new(MAX_LANE_FRAME_BYTES);
            decoder.feed(&written);
            // Either is fine, as long as it ends.
            let _ = decode_all(&mut decoder);
        }
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_by_its_header_alone() {
    let mut decoder = FrameDecoder::new(MAX_CONTROL_FRAME_BYTES);
    let mut header = BytesMut::new();
    put_header(&mut header, 9_999, MAX_CONTROL_FRAME_BYTES + 1);
    decoder.feed(&header);
    assert_eq!(
        decoder.next(),
        Err(FrameError::TooLong {
            length: MAX_CONTROL_FRAME_BYTES + 1,
            limit: MAX_CONTROL_FRAME_BYTES
        })
    );
}

#[test]
fn the_largest_message_fits_into_a_lane() {
    let topic = "t".repeat(65_535);
    let head = message_head(2, topic.as_bytes(), MAX_PAYLOAD_BYTES);
    let mut decoder = FrameDecoder::new(MAX_LANE_FRAME_BYTES);
    decoder.feed(&head);
    decoder.feed(&vec![7; MAX_PAYLOAD_BYTES]);
    match decoder.next() {
        Ok(Some(Frame::Message(message))) => {
            assert_eq!(message.topic, *topic);
            assert_eq!(message.payload.len(), MAX_PAYLOAD_BYTES);
        }
        other => panic!(
            "unexpected {:?}",
            other.map(|frame| frame.map(|f| f.label()))
        ),
    }
}

#[test]
fn an_unknown_frame_is_not_held_in_memory() {
    let mut decoder = FrameDecoder::new(MAX_LANE_FRAME_BYTES);
    let mut header = BytesMut::new();
    put_header(&mut header, 9_999, 10_000_000);
    decoder.feed(&header);
    for _ in 0..10_000 {
        assert_eq!(decoder.next(), Ok(None));
        decoder.feed(&[0; 1_000]);
        assert!(decoder.buffer.len() <= 1_000);
    }
    decoder.feed(&Frame::Heartbeat(Heartbeat {}).encode());
    assert!(matches!(decoder.next(), Ok(Some(Frame::Heartbeat(_)))));
}

#[test]
fn fields_of_a_later_version_are_stepped_over() {
    #[derive(Serialize)]
    struct LaterGap {
        lost: u64,
        position: u64,
    }
    let later = encode_body(
        kind::GAP,
        &LaterGap {
            lost: 3,
            position: 9,
        },
    );
    let mut decoder = FrameDecoder::new(MAX_LANE_FRAME_BYTES);
    decoder.feed(&later);
    assert_eq!(decoder.next(), Ok(Some(Frame::Gap(Gap { lost: 3 }))));
}

#[test]
fn a_longer_message_head_of_a_later_version_is_stepped_over() {
    let mut later = BytesMut::new();
    put_header(&mut later, kind::MESSAGE, 4 + 6 + 16 + 2);
    later.put_u32(6 + 16);
    later.put_u16(300);
    later.put_u16(2);
    later.put_slice(b"hi");
    later.put_slice(&[9; 16]);
    later.put_slice(b"yo");
    let mut decoder = FrameDecoder::new(MAX_LANE_FRAME_BYTES);
    decoder.feed(&later);
    let message = MessageFrame {
        kind: 300,
        topic: "hi".into(),
        payload: Bytes::from_static(b"yo"),
    };
    assert_eq!(decoder.next(), Ok(Some(Frame::Message(message))));
}

#[test]
fn a_message_with_wrong_lengths_is_malformed() {
    let bodies: [&[u8]; 5] = [
        &[],
        &[0, 0, 0, 3, 0, 0, 0],
        &[0, 0, 0, 99, 0, 0, 0, 0],
        &[0, 0, 0, 4, 0, 0, 0, 1],
        &[0, 0, 0, 5, 0, 0, 0, 1, 0xff],
    ];
    for body in bodies {
        let mut frame = BytesMut::new();
        put_header(&mut frame, kind::MESSAGE, body.len());
        frame.put_slice(body);
        let mut decoder = FrameDecoder::new(MAX_LANE_FRAME_BYTES);
        decoder.feed(&frame);
        let malformed = FrameError::Malformed {
            kind: kind::MESSAGE,
        };
        assert_eq!(decoder.next(), Err(malformed), "{body:?}");
    }
}

#[test]
fn a_small_message_does_not_keep_its_neighbours_in_memory() {
    let small = MessageFrame {
        kind: 0,
        topic: "t".into(),
        payload: Bytes::from_static(b"small"),
    };
    let mut decoder = FrameDecoder::new(MAX_LANE_FRAME_BYTES);
    decoder.feed(&Frame::Message(small.clone()).encode());
    decoder.feed(&vec![0; 60_000]);
    match decoder.next() {
        Ok(Some(Frame::Message(read))) => {
            assert_eq!(read, small);
            // Its block is its own: alone in it, it can become mutable again without a copy.
            drop(read.topic);
            assert!(
                read.payload
                    .try_into_mut()
                    .is_ok_and(|block| block.capacity() < 100)
            );
        }
        other => panic!("unexpected {other:?}"),
    }
}
