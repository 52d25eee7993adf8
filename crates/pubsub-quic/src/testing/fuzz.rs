//! What must hold for any bytes that come from another node. `cargo xtask fuzz` looks for a counterexample; the tests run what it
//! has stored, and bytes of their own.

use bytes::Bytes;

use crate::proto::close::{Close, MAX_REASON_BYTES};
use crate::proto::codec::Codec;
use crate::proto::control::ControlReader;
use crate::proto::frame::{Frame, FrameError};
use crate::proto::lane::{LaneEvent, LaneReader, Received};

/// Small, so that messages that are too large are found soon.
const MAX_MESSAGE_BYTES: usize = 8 * 1024;

/// A control stream. The first byte chooses version, state of the link and how the rest arrives.
///
/// # Panics
///
/// If frames depend on how the bytes arrive, or if a frame is not written and read again as it is.
pub fn control(data: &[u8]) {
    let Some((choice, stream)) = data.split_first() else {
        return;
    };
    let (codec, up) = (codec(*choice), choice & 2 != 0);
    let whole = control_frames(codec, up, [stream]);
    let pieces = control_frames(codec, up, stream.chunks(piece(*choice)));
    assert_eq!(whole, pieces, "frames depend on how the bytes arrive");
    for frame in &whole.0 {
        assert_written_as_read(frame);
    }
}

/// A lane. The first byte chooses version and how the rest arrives.
///
/// # Panics
///
/// If messages depend on how the bytes arrive, or if one is larger than allowed or than what arrived.
pub fn lane(data: &[u8]) {
    let Some((choice, stream)) = data.split_first() else {
        return;
    };
    let codec = codec(*choice);
    let whole = lane_events(codec, [stream]);
    let pieces = lane_events(codec, stream.chunks(piece(*choice)));
    assert_eq!(whole, pieces, "messages depend on how the bytes arrive");
    let payloads = whole.0.iter().filter_map(|event| match event {
        LaneEvent::Message(Received { payload, .. }) => Some(payload.len()),
        LaneEvent::Gap(_) => None,
    });
    let mut sum = 0;
    for bytes in payloads {
        assert!(bytes <= MAX_MESSAGE_BYTES, "a message of {bytes} bytes");
        sum += bytes;
    }
    assert!(sum <= stream.len(), "more came out than went in");
}

/// What a connection was closed with: the code in the first eight bytes, then the reason.
///
/// # Panics
///
/// If what was read, written again, does not fit into a packet or is read as something else.
pub fn close(data: &[u8]) {
    let Some((code, reason)) = data.split_first_chunk() else {
        return;
    };
    let close = Close::read(u64::from_be_bytes(*code), reason);
    let again = close.reason();
    assert!(again.len() <= MAX_REASON_BYTES);
    let read = Close::read(close.code().into(), &again);
    // Long texts are cut when they are written; what was written once is not changed again.
    assert_eq!(Close::read(read.code().into(), &read.reason()), read);
}

fn codec(choice: u8) -> Codec {
    if choice & 1 == 0 {
        Codec::V2
    } else {
        Codec::V1
    }
}

fn piece(choice: u8) -> usize {
    usize::from(choice >> 2) + 1
}

fn control_frames<'a>(
    codec: Codec,
    up: bool,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Frame>, Option<FrameError>) {
    let (mut reader, mut frames) = (ControlReader::new(codec), Vec::new());
    for piece in pieces {
        reader.feed(Bytes::copy_from_slice(piece));
        loop {
            match reader.next(up) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        if reader.is_held() {
            break;
        }
    }
    (frames, None)
}

fn lane_events<'a>(
    codec: Codec,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<LaneEvent>, Option<FrameError>) {
    let mut reader = LaneReader::new(codec, MAX_MESSAGE_BYTES);
    let mut events = Vec::new();
    for piece in pieces {
        reader.feed(Bytes::copy_from_slice(piece));
        loop {
            match reader.next() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
    }
    (events, None)
}

fn assert_written_as_read(frame: &Frame) {
    for codec in [Codec::V1, Codec::V2] {
        // What an older version has no word for, or no field, it loses.
        let Some(written) = codec.encode(frame) else {
            continue;
        };
        let (again, error) = control_frames(codec, true, [&written[..]]);
        assert_eq!(error, None, "{frame:?} cannot be read again");
        if codec == Codec::NEWEST {
            assert_eq!(again, std::slice::from_ref(frame));
        }
    }
}

#[cfg(test)]
mod tests;
