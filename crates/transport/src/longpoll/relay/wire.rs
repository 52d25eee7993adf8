//! What nodes say to each other about long polling.
//!
//! A message is its version, its kind, the number of the request it belongs to, and fields, each behind its length. A kind
//! that is not known, and fields behind the known ones, are skipped: a later version may have them.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use crate::longpoll::body::Layout;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 1 + 1 + 8;

/// A request to the node that has the session, or its answer. The number is the asking node's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) request: u64,
    pub(super) word: Word,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Asks for messages.
    Poll { token: ByteString, window: Duration },
    /// Brings a body.
    Post {
        token: ByteString,
        window: Duration,
        layout: Layout,
        body: Bytes,
    },
    /// Asks whether the session of a token is there, before a post for it is read: anybody can make up a token.
    Knock { token: ByteString },
    /// Nobody waits any more for the answer to a request: it is to be given at once.
    Cancel,
    /// The client of a poll has gone away without its answer: if that was messages, the session is not to go on.
    Left { token: ByteString },
    /// What a poll was answered never reached its client: the session is not to go on.
    Lost { token: ByteString },
    /// Answers a poll with messages.
    Messages(Vec<ByteString>),
    /// Answers a poll: nothing came.
    Nothing,
    /// Answers a knock: the session is here.
    Here,
    /// Answers all three: there is no such session.
    Gone,
    /// Answers a post: every message was taken.
    Taken,
    /// Answers a post: not all of it was taken in time.
    Late,
    /// Answers a post: the line of this number is neither text nor base64.
    BadLine(u32),
}

mod kind {
    pub(super) const POLL: u8 = 1;
    pub(super) const POST: u8 = 2;
    pub(super) const CANCEL: u8 = 3;
    pub(super) const MESSAGES: u8 = 4;
    pub(super) const NOTHING: u8 = 5;
    pub(super) const GONE: u8 = 6;
    pub(super) const TAKEN: u8 = 7;
    pub(super) const LATE: u8 = 8;
    pub(super) const BAD_LINE: u8 = 9;
    pub(super) const KNOCK: u8 = 10;
    pub(super) const HERE: u8 = 11;
    pub(super) const LOST: u8 = 12;
    pub(super) const LEFT: u8 = 13;
}

impl Said {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEAD_BYTES + self.word.bytes());
        out.put_u8(VERSION);
        out.put_u8(self.word.kind());
        out.put_u64(self.request);
        match &self.word {
            Word::Poll { token, window } => {
                put(&mut out, token.as_bytes());
                put(&mut out, &millis(*window));
            }
            Word::Post {
                token,
                window,
                layout,
                body,
            } => {
                put(&mut out, token.as_bytes());
                put(&mut out, &millis(*window));
                put(&mut out, &[u8::from(*layout == Layout::Lines)]);
                put(&mut out, body);
            }
            Word::Messages(messages) => {
                for message in messages {
                    put(&mut out, message.as_bytes());
                }
            }
            Word::Knock { token } | Word::Left { token } | Word::Lost { token } => {
                put(&mut out, token.as_bytes());
            }
            Word::BadLine(number) => put(&mut out, &number.to_be_bytes()),
            Word::Cancel | Word::Nothing | Word::Here | Word::Gone | Word::Taken | Word::Late => {}
        }
        out.freeze()
    }

    /// None for what this version does not know, and for what is none of it.
    pub(super) fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < HEAD_BYTES || bytes.get_u8() != VERSION {
            return None;
        }
        let kind = bytes.get_u8();
        let request = bytes.get_u64();
        let mut fields = Fields(bytes);
        let word = match kind {
            kind::POLL => Word::Poll {
                token: fields.text()?,
                window: fields.millis()?,
            },
            kind::POST => Word::Post {
                token: fields.text()?,
                window: fields.millis()?,
                layout: match fields.next()?.first()? {
                    0 => Layout::One,
                    _ => Layout::Lines,
                },
                body: fields.next()?,
            },
            kind::KNOCK => Word::Knock {
                token: fields.text()?,
            },
            kind::CANCEL => Word::Cancel,
            kind::LEFT => Word::Left {
                token: fields.text()?,
            },
            kind::LOST => Word::Lost {
                token: fields.text()?,
            },
            kind::MESSAGES => {
                let mut messages = Vec::new();
                while !fields.0.is_empty() {
                    messages.push(fields.text()?);
                }
                Word::Messages(messages)
            }
            kind::NOTHING => Word::Nothing,
            kind::HERE => Word::Here,
            kind::GONE => Word::Gone,
            kind::TAKEN => Word::Taken,
            kind::LATE => Word::Late,
            kind::BAD_LINE => Word::BadLine(fields.number()?),
            _ => return None,
        };
        Some(Self { request, word })
    }
}

impl Word {
    fn kind(&self) -> u8 {
        match self {
            Self::Poll { .. } => kind::POLL,
            Self::Post { .. } => kind::POST,
            Self::Knock { .. } => kind::KNOCK,
            Self::Cancel => kind::CANCEL,
            Self::Left { .. } => kind::LEFT,
            Self::Lost { .. } => kind::LOST,
            Self::Messages(_) => kind::MESSAGES,
            Self::Nothing => kind::NOTHING,
            Self::Here => kind::HERE,
            Self::Gone => kind::GONE,
            Self::Taken => kind::TAKEN,
            Self::Late => kind::LATE,
            Self::BadLine(_) => kind::BAD_LINE,
        }
    }

    /// About what its fields take.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Messages(messages) => messages.iter().map(|message| message.len() + 4).sum(),
            Self::Post { token, body, .. } => token.len() + body.len() + 32,
            Self::Poll { token, .. }
            | Self::Knock { token }
            | Self::Left { token }
            | Self::Lost { token } => token.len() + 16,
            _ => 8,
        }
    }
}

fn put(out: &mut BytesMut, field: &[u8]) {
    // Bodies and answers are far below 4 GiB: a payload between nodes ends at 16 MiB.
    out.put_u32(field.len() as u32);
    out.put_slice(field);
}

fn millis(window: Duration) -> [u8; 4] {
    u32::try_from(window.as_millis())
        .unwrap_or(u32::MAX)
        .to_be_bytes()
}

/// What is left of a message's fields.
struct Fields(Bytes);

impl Fields {
    fn next(&mut self) -> Option<Bytes> {
        let len = self.0.try_get_u32().ok()? as usize;
        (len <= self.0.len()).then(|| self.0.split_to(len))
    }

    fn text(&mut self) -> Option<ByteString> {
        ByteString::try_from(self.next()?).ok()
    }

    fn number(&mut self) -> Option<u32> {
        self.next()?.try_get_u32().ok()
    }

    fn millis(&mut self) -> Option<Duration> {
        self.number()
            .map(|millis| Duration::from_millis(millis.into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = ByteString> {
        ".{0,20}".prop_map(ByteString::from)
    }

    fn word() -> impl Strategy<Value = Word> {
        let window = || any::<u32>().prop_map(|millis| Duration::from_millis(millis.into()));
        let layout = prop_oneof![Just(Layout::One), Just(Layout::Lines)];
        let body = prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        prop_oneof![
            (text(), window()).prop_map(|(token, window)| Word::Poll { token, window }),
            (text(), window(), layout, body).prop_map(|(token, window, layout, body)| {
                Word::Post {
                    token,
                    window,
                    layout,
                    body,
                }
            }),
            prop::collection::vec(text(), 0..5).prop_map(Word::Messages),
            text().prop_map(|token| Word::Knock { token }),
            text().prop_map(|token| Word::Left { token }),
            text().prop_map(|token| Word::Lost { token }),
            any::<u32>().prop_map(Word::BadLine),
            Just(Word::Here),
            Just(Word::Cancel),
            Just(Word::Nothing),
            Just(Word::Gone),
            Just(Word::Taken),
            Just(Word::Late),
        ]
    }

    proptest! {
        #[test]
        fn what_is_said_is_understood_cut_short_it_is_not_misread(request in any::<u64>(), word in word()) {
            let said = Said { request, word };
            let bytes = said.encode();
            prop_assert_eq!(Said::decode(bytes.clone()), Some(said.clone()));
            for end in 0..bytes.len() {
                let read = Said::decode(bytes.slice(..end));
                let is_shorter_list = matches!(&read, Some(Said { word: Word::Messages(_), .. }));
                prop_assert!(read.is_none() || is_shorter_list);
            }
        }

        #[test]
        fn fields_of_a_later_version_are_skipped(request in any::<u64>(), word in word()) {
            prop_assume!(!matches!(word, Word::Messages(_)));
            let said = Said { request, word };
            let mut later = BytesMut::from(&said.encode()[..]);
            put(&mut later, b"more");
            prop_assert_eq!(Said::decode(later.freeze()), Some(said));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Said::decode(bytes.into());
        }
    }

    #[test]
    fn kinds_and_versions_that_are_not_known_are_nothing() {
        let mut bytes = BytesMut::from(
            &Said {
                request: 1,
                word: Word::Gone,
            }
            .encode()[..],
        );
        bytes[1] = 200;
        assert_eq!(Said::decode(bytes.clone().freeze()), None);
        (bytes[0], bytes[1]) = (2, kind::GONE);
        assert_eq!(Said::decode(bytes.freeze()), None);
    }
}
