//! A message that is there as a whole and in one frame, as nearly all of clients are: it is read from the bytes as they came, without the
//! codec and its buffers.
//!
//! Pure: no clock, no I/O, no tasks.

use bytes::Bytes;
use bytestring::ByteString;

use crate::frame::Frame;

/// The first byte of a text in one frame, without any extension.
const TEXT: u8 = 0x81;

/// The same of bytes.
const BINARY: u8 = 0x82;

/// The bit of the second byte that says that there is a mask, as of every client.
const MASKED: u8 = 0x80;

/// In place of a length that comes in the next two bytes.
const LONGER: u8 = 126;

/// In place of one that comes in the next eight.
const LONGEST: u8 = 127;

/// Reads the message with which `bytes` begin, and tells how many of these it took. None if they begin with anything else than one of at
/// most so many bytes, and without a fault: all else, and what is wrong with it, is the codec's.
pub(super) fn whole_message(bytes: &[u8], most: Option<usize>) -> Option<(Frame, usize)> {
    let (&[kind, second], rest) = bytes.split_first_chunk()?;
    let (len, rest) = match second.checked_sub(MASKED)? {
        LONGEST => return None,
        LONGER => {
            let (len, rest) = rest.split_first_chunk()?;
            (u16::from_be_bytes(*len).into(), rest)
        }
        len => (usize::from(len), rest),
    };
    let (mask, rest) = rest.split_first_chunk()?;
    let (payload, behind) = rest.split_at_checked(len)?;
    if most.is_some_and(|most| len > most) {
        return None;
    }
    let message = match kind {
        TEXT => Frame::Text(ByteString::try_from(unmasked(payload, *mask)).ok()?),
        BINARY => Frame::Binary(unmasked(payload, *mask)),
        _ => return None,
    };
    Some((message, bytes.len() - behind.len()))
}

/// A copy of its own: kept for long, it keeps nothing else.
fn unmasked(payload: &[u8], mask: [u8; 4]) -> Bytes {
    let mut bytes = payload.to_vec();
    let (words, rest) = bytes.as_chunks_mut();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use tungstenite::{
        Message,
        protocol::{Role, WebSocketConfig, WebSocketContext},
    };

    use super::*;

    const MOST: usize = 300;

    /// What the codec reads first, and how many bytes it has not looked at. None if it has to wait, or finds a fault.
    fn by_the_codec(bytes: &[u8]) -> Option<Message> {
        let config = WebSocketConfig::default().max_message_size(Some(MOST));
        let mut context = WebSocketContext::new(Role::Server, Some(config));
        context.read(&mut Cursor::new(bytes.to_vec())).ok()
    }

    fn length_bytes() -> impl Strategy<Value = Vec<u8>> {
        let long = |len: u64| {
            let mut bytes = vec![0xff];
            bytes.extend(len.to_be_bytes());
            bytes
        };
        prop_oneof![
            4 => (0..8_u8).prop_map(|len| vec![MASKED | len]),
            1 => (0..8_u8).prop_map(|len| vec![len]),
            4 => (0..400_u16).prop_map(|len| [&[MASKED | LONGER][..], &len.to_be_bytes()].concat()),
            1 => (0..8_u64).prop_map(long),
        ]
    }

    proptest! {
        /// Nothing is taken that the codec would not take, nor taken for something else; and all is that it reads from one such frame.
        #[test]
        fn it_reads_what_the_codec_reads(
            kind in prop_oneof![4 => prop::sample::select(vec![TEXT, BINARY]), 1 => any::<u8>()],
            length in length_bytes(),
            mask in any::<[u8; 4]>(),
            text in "[a-zé]{0,400}",
            noise in prop_oneof![4 => Just(None), 1 => (0..400_usize, any::<u8>()).prop_map(Some)],
        ) {
            let mut payload = text.into_bytes();
            if let Some((at, byte)) = noise && let Some(there) = payload.get_mut(at) {
                *there = byte;
            }
            let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
            let head = [&[kind][..], &length, &mask].concat();
            let bytes: Vec<u8> = head.iter().copied().chain(masked).collect();
            let whole = whole_message(&bytes, Some(MOST));
            let expected = by_the_codec(&bytes).filter(|_| matches!(kind, TEXT | BINARY) && length[0] != MASKED | LONGEST);
            let read = whole.as_ref().map(|(frame, _)| match frame {
                Frame::Text(text) => Message::text(text.to_string()),
                Frame::Binary(bytes) => Message::binary(bytes.clone()),
            });
            prop_assert_eq!(&read, &expected);
            if let Some((frame, taken)) = whole {
                prop_assert_eq!(taken, head.len() + frame.len());
            }
        }
    }
}
