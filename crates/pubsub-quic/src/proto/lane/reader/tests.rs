//! Lanes as they are, as they may be cut, and as a hostile peer may write them.

use bytes::BufMut;
use matryoshka_pubsub::{Envelope, TrafficClass};
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::Encoded;
use super::*;

const LIMIT: usize = 16 * 1024 * 1024;
const PART: usize = 64 * 1024;

#[derive(Debug, Clone)]
enum Said {
    Message(u64, Envelope),
    Gap(u64),
    Unknown(Vec<u8>),
}

fn envelope(topic: &str, payload: Vec<u8>) -> Envelope {
    Envelope {
        topic: topic.into(),
        kind: Kind(7),
        class: TrafficClass::User,
        lane: 0,
        payload: payload.into(),
    }
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 0_usize..200,
        2 => 3_000_usize..6_000,
        1 => PART - 2..PART + 3,
        1 => PART..4 * PART,
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let message = (1_u64.., "[ab]{0,2}|.{0,40}", size(), any::<u8>());
    prop_oneof![
        8 => message.prop_map(|(pos, topic, size, fill)| {
            Said::Message(pos, envelope(&topic, vec![fill; size]))
        }),
        1 => any::<u64>().prop_map(Said::Gap),
        1 => vec(any::<u8>(), 0..2_000).prop_map(Said::Unknown),
    ]
}

fn put(codec: Codec, said: &Said, into: &mut Encoded) {
    match said {
        Said::Message(pos, envelope) => codec.put_message(*pos, envelope, into),
        Said::Gap(lost) => codec.put_gap(*lost, into),
        Said::Unknown(body) => {
            into.put(&1_234_u16.to_be_bytes());
            into.put(&(body.len() as u32).to_be_bytes());
            into.put(body);
        }
    }
}

fn expected(codec: Codec, said: &Said) -> Option<LaneEvent> {
    match said {
        Said::Message(pos, envelope) => Some(LaneEvent::Message(Received {
            pos: if codec == Codec::V1 { 0 } else { *pos },
            kind: envelope.kind,
            topic: envelope.topic.clone(),
            payload: envelope.payload.clone(),
        })),
        Said::Gap(lost) => Some(LaneEvent::Gap(*lost)),
        Said::Unknown(_) => None,
    }
}

fn lane(codec: Codec, said: &[Said]) -> Bytes {
    let mut written = Encoded::default();
    codec.put_lane(3, &mut written);
    said.iter().for_each(|said| put(codec, said, &mut written));
    written.concat()
}

fn read_all(reader: &mut LaneReader) -> Result<Vec<LaneEvent>, FrameError> {
    std::iter::from_fn(|| reader.next().transpose()).collect()
}

/// What a reader makes of a lane of version 2 in one piece.
fn read(lane: impl Into<Bytes>, limit: usize) -> Result<Vec<LaneEvent>, FrameError> {
    let mut reader = LaneReader::new(Codec::V2, limit);
    reader.feed(lane.into());
    read_all(&mut reader)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_lane_is_read_as_written_however_it_is_cut(
        said in vec(said(), 1..12),
        cut in prop_oneof![1_usize..40, 1_000_usize..1_500, 1_usize..200_000],
    ) {
        for codec in [Codec::V1, Codec::V2] {
            let lane = lane(codec, &said);
            // A byte at a time takes long on a long lane.
            let cut = cut.max(lane.len() / 5_000);
            let (mut reader, mut events) = (LaneReader::new(codec, LIMIT), Vec::new());
            let mut rest = lane;
            while !rest.is_empty() {
                reader.feed(rest.split_to(cut.min(rest.len())));
                events.extend(read_all(&mut reader).unwrap());
            }
            let expected: Vec<_> = said.iter().filter_map(|said| expected(codec, said)).collect();
            prop_assert_eq!(events, expected);
            let unknown = said.iter().filter(|said| matches!(said, Said::Unknown(_))).count();
            let skipped = Skipped { frames: unknown as u64, fields: 0 };
            prop_assert_eq!(reader.take_skipped(), skipped);
            prop_assert_eq!(reader.cutter.held(), 0);
        }
    }

    #[test]
    fn any_bytes_are_events_or_an_error(junk in vec(any::<u8>(), 0..4_000), cut in 1_usize..500) {
        for codec in [Codec::V1, Codec::V2] {
            let mut reader = LaneReader::new(codec, LIMIT);
            reader.feed(lane(codec, &[]));
            for piece in junk.chunks(cut) {
                reader.feed(Bytes::copy_from_slice(piece));
                if read_all(&mut reader).is_err() {
                    break;
                }
            }
        }
    }

    /// Damage anywhere in a lane with parts: never more is held than what arrived, doubled, and a little.
    #[test]
    fn a_damaged_lane_costs_no_more_than_was_sent(
        said in vec(said(), 1..6),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut lane = lane(Codec::V2, &said).to_vec();
        for (at, byte) in damage {
            let at = at.index(lane.len());
            lane[at] = byte;
        }
        let mut reader = LaneReader::new(Codec::V2, LIMIT);
        let mut fed = 0;
        for piece in lane.chunks(1_400) {
            fed += piece.len();
            reader.feed(Bytes::copy_from_slice(piece));
            if read_all(&mut reader).is_err() {
                break;
            }
            let assembly = reader.assembly.as_ref();
            let held = assembly.map_or(0, |it| it.payload.capacity()) + reader.cutter.held();
            prop_assert!(held <= RESERVE_BYTES.max(2 * fed) + 2 * PART, "{held} for {fed}");
        }
    }

    /// Parts in any order: only the right one is a message.
    #[test]
    fn parts_out_of_order_are_refused(order in Just(vec![0, 1, 2]).prop_shuffle()) {
        let whole = lane(Codec::V2, &[Said::Message(5, envelope("t", vec![9; 3 * PART]))]);
        let starts = part_starts(&whole);
        let mut shuffled = whole[..starts[0]].to_vec();
        for part in &order {
            let end = starts.get(part + 1).copied().unwrap_or(whole.len());
            shuffled.extend_from_slice(&whole[starts[*part]..end]);
        }
        prop_assert_eq!(read(shuffled, LIMIT).is_ok(), order == [0, 1, 2]);
    }
}

/// Where the frames of kind chunk begin.
fn part_starts(lane: &[u8]) -> Vec<usize> {
    let (mut at, mut starts) = (0, Vec::new());
    while at < lane.len() {
        let (kind, bytes) = read_header(&lane[at..]).unwrap();
        if kind == kind::CHUNK {
            starts.push(at);
        }
        at += HEADER_BYTES + bytes;
    }
    starts
}

fn chunk(head: &[u8], data: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.put_u16(kind::CHUNK);
    frame.put_u32((4 + head.len() + data) as u32);
    frame.put_u32(head.len() as u32);
    frame.extend_from_slice(head);
    frame.resize(frame.len() + data, 1);
    frame
}

/// The head of a part: its place, and if it is the first a message's head.
fn place(offset: u32, total: u32) -> Vec<u8> {
    let mut head = Vec::new();
    head.put_u32(offset);
    head.put_u32(total);
    if offset == 0 {
        head.put_u16(0);
        head.put_u16(1);
        head.put_u8(b't');
        head.put_u64(9);
    }
    head
}

/// A lane with these frames.
fn lane_of(frames: &[Vec<u8>]) -> Bytes {
    [&lane(Codec::V2, &[])[..], &frames.concat()]
        .concat()
        .into()
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    let broken = |frames: &[Vec<u8>], at, got| {
        let read = read(lane_of(frames), LIMIT);
        assert_eq!(read, Err(FrameError::Broken { at, got }), "{frames:?}");
    };
    let begin = || chunk(&place(0, 100), 50);
    broken(&[chunk(&place(50, 100), 50)], 0, 50);
    broken(&[begin(), chunk(&place(40, 100), 50)], 50, 40);
    broken(&[begin(), chunk(&place(60, 100), 40)], 50, 60);
    broken(&[begin(), chunk(&place(50, 99), 49)], 50, 50);
    broken(&[begin(), chunk(&place(50, 100), 51)], 50, 50);
    broken(&[begin(), begin()], 50, 0);
    broken(&[chunk(&place(0, 100), 0)], 0, 0);
    broken(&[begin(), chunk(&place(50, 100), 0)], 50, 50);
    let mut message = Encoded::default();
    Codec::V2.put_message(1, &envelope("t", vec![]), &mut message);
    broken(&[begin(), message.concat().to_vec()], 50, 0);
    let mut gap = Encoded::default();
    Codec::V2.put_gap(1, &mut gap);
    broken(&[begin(), gap.concat().to_vec()], 50, 0);
}

#[test]
fn a_message_over_the_limit_is_refused_by_its_first_part() {
    let limit = 100_000;
    let lane = lane_of(&[chunk(&place(0, 100_001), 10)]);
    let bytes = 100_001;
    assert_eq!(
        read(lane, limit),
        Err(FrameError::TooLarge { bytes, limit })
    );
    let whole = lane_of(&[
        chunk(&place(0, 100_000), 60_000),
        chunk(&place(60_000, 100_000), 40_000),
    ]);
    assert_eq!(read(whole, limit).unwrap().len(), 1);
}

#[test]
fn malformed_parts_and_messages_are_refused() {
    for head in [&[][..], &[0, 0, 0, 1], &place(0, 9)[..12]] {
        let malformed = FrameError::Malformed { kind: kind::CHUNK };
        assert_eq!(read(lane_of(&[chunk(head, 3)]), LIMIT), Err(malformed));
    }
    let mut longer_head_than_body = chunk(&place(0, 9), 0);
    longer_head_than_body[HEADER_BYTES + 3] = 200;
    let malformed = FrameError::Malformed { kind: kind::CHUNK };
    assert_eq!(
        read(lane_of(&[longer_head_than_body]), LIMIT),
        Err(malformed)
    );
    let bodies: [&[u8]; 6] = [
        &[],
        &[0, 0, 0, 3, 0, 0, 0],
        &[0, 0, 0, 99, 0, 0, 0, 0],
        &[0, 0, 0, 4, 0, 0, 0, 1],
        &[0, 0, 0, 5, 0, 0, 0, 1, 0xff],
        &[0, 0, 0, 5, 0, 0, 0, 1, b'x'],
    ];
    for body in bodies {
        let mut frame = Vec::new();
        frame.put_u16(kind::MESSAGE);
        frame.put_u32(body.len() as u32);
        frame.extend_from_slice(body);
        let malformed = FrameError::Malformed {
            kind: kind::MESSAGE,
        };
        assert_eq!(read(lane_of(&[frame]), LIMIT), Err(malformed), "{body:?}");
    }
}

#[test]
fn a_lane_says_first_which_one_it_is_and_only_then() {
    let whole = lane(Codec::V2, &[Said::Gap(1)]);
    let (_, bytes) = read_header(&whole).unwrap();
    let gap = whole.slice(HEADER_BYTES + bytes..);
    let misplaced = FrameError::Misplaced { kind: kind::GAP };
    assert_eq!(read(gap, LIMIT), Err(misplaced));
    let twice = [&whole[..], &whole[..]].concat();
    let misplaced = FrameError::Misplaced { kind: kind::LANE };
    assert_eq!(read(twice, LIMIT), Err(misplaced));
    let mut heartbeat = Vec::new();
    heartbeat.put_u16(kind::HEARTBEAT);
    heartbeat.put_u32(0);
    let misplaced = FrameError::Misplaced {
        kind: kind::HEARTBEAT,
    };
    assert_eq!(read(lane_of(&[heartbeat]), LIMIT), Err(misplaced));
}

#[test]
fn a_longer_head_of_a_later_version_is_stepped_over_and_counted() {
    let mut head = place(0, 2);
    head.put_u64(77);
    let mut reader = LaneReader::new(Codec::V2, LIMIT);
    reader.feed(lane_of(&[chunk(&head, 2)]));
    assert_eq!(read_all(&mut reader).unwrap().len(), 1);
    assert_eq!(reader.take_skipped().fields, 1);
    // A message of version 2 is one of version 1 with more in its head.
    let mut reader = LaneReader::new(Codec::V1, LIMIT);
    let message = Said::Message(9, envelope("t", vec![1, 2]));
    reader.feed(lane(Codec::V2, std::slice::from_ref(&message)));
    let expected: Vec<_> = expected(Codec::V1, &message).into_iter().collect();
    assert_eq!(read_all(&mut reader), Ok(expected));
    assert_eq!(reader.take_skipped().fields, 1);
}

#[test]
fn the_largest_message_arrives_in_both_versions() {
    let topic = "t".repeat(TopicName::MAX_BYTES);
    let message = Said::Message(1, envelope(&topic, vec![7; LIMIT]));
    for codec in [Codec::V1, Codec::V2] {
        let mut reader = LaneReader::new(codec, LIMIT);
        reader.feed(lane(codec, std::slice::from_ref(&message)));
        match read_all(&mut reader).unwrap().as_slice() {
            [LaneEvent::Message(received)] => {
                assert_eq!(
                    (received.topic.len(), received.payload.len()),
                    (topic.len(), LIMIT)
                );
            }
            other => panic!("{} events", other.len()),
        }
    }
}

#[test]
fn a_small_message_does_not_keep_its_neighbours_in_memory() {
    let message = Said::Message(1, envelope("t", b"small".to_vec()));
    let mut reader = LaneReader::new(Codec::V2, LIMIT);
    reader.feed(
        [&lane(Codec::V2, &[message])[..], &vec![0; 60_000]]
            .concat()
            .into(),
    );
    match reader.next() {
        Ok(Some(LaneEvent::Message(read))) => {
            // Its block is its own: alone in it, it can become mutable again without a copy.
            let block = read.payload.try_into_mut();
            assert!(block.is_ok_and(|block| block.capacity() < 100));
        }
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn a_large_message_that_came_in_one_piece_is_not_copied() {
    let lane = lane(
        Codec::V2,
        &[Said::Message(1, envelope("t", vec![5; 50_000]))],
    );
    let within = lane.as_ptr_range();
    let events = read(lane.clone(), LIMIT).unwrap();
    match events.as_slice() {
        [LaneEvent::Message(read)] => assert!(within.contains(&read.payload.as_ptr())),
        other => panic!("unexpected {other:?}"),
    }
}
