//! What the shards of a tracker say to each other, and how that looks on the wire.
//!
//! A message is a header of six bytes, its kind (`u16`) and the length of its body (`u32`), both big-endian, and the
//! body: MessagePack with named fields. So that neighbouring versions share a cluster, a kind that is not known is
//! skipped, as is an unknown field; a field that a later version adds has a default; an operation of an unknown kind
//! counts as done and changes nothing. Anything else that is not exactly a message is malformed and changes nothing.
//!
//! These are wire types: what the shard keeps has types of its own.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use rmp_serde::decode::Error;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::life::Life;
use crate::owner_log::FORMER_LIVES;
use crate::reference::PresenceRef;

/// One message from a shard to the shard of the same number on other nodes. All are about the sender itself, but for the
/// hints of a vector and for held sets: of a life that is over and said so, whoever has its entries may pass them on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    /// First on a link, from both ends.
    Hello(Hello),
    /// Now and then, to all: how far the sender is.
    Vector(Vector),
    /// What the sender's entries went through, from one sequence number on.
    Ops(Ops),
    /// Please tell me what I lack of yours.
    Pull(Pull),
    /// A part of all the sender's entries at one sequence number.
    Part(Part),
    /// That part is here, the next ones may come.
    PartTaken(PartTaken),
    /// The sender ends, for good or for a restart.
    Goodbye(Goodbye),
    /// Please tell me that held set, from one entry on.
    HeldPull(HeldPull),
    /// A part of a held set.
    HeldPart(HeldPart),
    /// Please say when you have what I did up to here.
    Confirm(Confirm),
    /// The receiver's entries are here, up to there.
    Confirmed(Confirm),
}

/// How far somebody is: a life, and the number of operations in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) life: Life,
    pub(crate) seq: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The sender.
    pub(crate) at: Position,
    /// What the sender holds of the receiver's entries; nothing: send all.
    #[serde(default)]
    pub(crate) have: Option<Position>,
    /// The least life of the receiver that the sender listens to. A receiver below it is taken for a ghost of itself.
    #[serde(default)]
    pub(crate) least: Option<Life>,
    /// Lives that the sender had before it took a higher number. What is held of one of them is its own at that number.
    #[serde(default, deserialize_with = "former")]
    pub(crate) formerly: Vec<Life>,
    /// The goodbye that the sender has already said, for those who came too late for it.
    #[serde(default)]
    pub(crate) goodbye: Option<Farewell>,
    /// The held sets that the sender has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) held: Vec<Offer>,
    /// The other nodes that the sender hears, by name: a receiver that starts waits for them as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hears: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Vector {
    pub(crate) at: Position,
    /// How far the sender sees others that it hears directly.
    #[serde(default)]
    pub(crate) heard: Vec<Heard>,
    /// Lives that the sender had before it took a higher number, should the hello that said so have been lost.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "former"
    )]
    pub(crate) formerly: Vec<Life>,
    /// The goodbye that the sender has already said, should it have been lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) goodbye: Option<Farewell>,
    /// The held sets that the sender has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) held: Vec<Offer>,
}

/// A held set that somebody has: what a node tracked in a life that ended in a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    #[serde(rename = "n")]
    pub(crate) node: String,
    #[serde(rename = "at")]
    pub(crate) at: Position,
    /// Milliseconds until it is over.
    #[serde(rename = "l")]
    pub(crate) left: u64,
    /// Lives that its node had before it took a higher number: what is held of one of them is this set, at most as new.
    #[serde(
        rename = "f",
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "former"
    )]
    pub(crate) formerly: Vec<Life>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HeldPull {
    pub(crate) node: String,
    pub(crate) life: Life,
    /// The entries after this number; nothing: from the first one on.
    #[serde(default)]
    pub(crate) after: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HeldPart {
    pub(crate) set: Offer,
    /// The entries after this number, as they were asked for; 0: from the first one on. Earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<u64>,
    /// In the order of their numbers.
    pub(crate) entries: Vec<HeldValue>,
    /// Whether entries follow that have to be asked for.
    pub(crate) more: bool,
}

/// A held entry. Whoever passes it on may not know the life in which it was put, so the reference itself is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HeldValue {
    #[serde(rename = "t", deserialize_with = "name")]
    pub(crate) topic: Arc<str>,
    #[serde(rename = "k", deserialize_with = "name")]
    pub(crate) key: Arc<str>,
    #[serde(rename = "m")]
    pub(crate) meta: Bytes,
    #[serde(rename = "w")]
    pub(crate) owner: u64,
    #[serde(rename = "r")]
    pub(crate) reference: PresenceRef,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<PresenceRef>,
    /// The tracked entries under its topic and key beside which the sender lists it: other places of its user. Beside any else the user
    /// is back.
    #[serde(rename = "b", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) beside: Vec<PresenceRef>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Heard {
    #[serde(rename = "n")]
    pub(crate) node: String,
    #[serde(rename = "at")]
    pub(crate) at: Position,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ops {
    pub(crate) life: Life,
    /// The sequence number before the first operation. The first one has the next, and so on without a gap.
    pub(crate) from: u64,
    pub(crate) ops: Vec<Op>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pull {
    /// What the asking node holds of the receiver; nothing: send all.
    #[serde(default)]
    pub(crate) have: Option<Position>,
    /// The last part that it has of a state on its way: no more than the parts after that are needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) taken: Option<PartTaken>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// The state that the parts together are.
    pub(crate) at: Position,
    /// Counted from 0.
    pub(crate) part: u32,
    pub(crate) parts: u32,
    pub(crate) entries: Vec<Stored>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PartTaken {
    pub(crate) at: Position,
    pub(crate) part: u32,
}

/// How far the asking node is, or the copy of its entries that answers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Confirm {
    pub(crate) at: Position,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Goodbye {
    pub(crate) life: Life,
    pub(crate) farewell: Farewell,
}

/// In which way a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Farewell {
    /// One of the kinds below; other numbers are an ordinary end of the link to whoever does not know them.
    pub(crate) kind: u8,
    /// With a restart: for how many milliseconds its entries are held after its end.
    #[serde(default)]
    pub(crate) grace: u64,
}

impl Farewell {
    /// It ends for good, and all its entries with it.
    const LEAVING: u8 = 1;
    /// It will end, and be back soon.
    const RESTARTING: u8 = 2;
    /// That end is now.
    const RESTARTED: u8 = 3;

    pub(crate) fn leaving() -> Self {
        Self {
            kind: Self::LEAVING,
            grace: 0,
        }
    }

    pub(crate) fn restarting(grace: Duration) -> Self {
        Self {
            kind: Self::RESTARTING,
            grace: millis(grace),
        }
    }

    pub(crate) fn restarted(grace: Duration) -> Self {
        Self {
            kind: Self::RESTARTED,
            grace: millis(grace),
        }
    }

    pub(crate) fn is_leaving(self) -> bool {
        self.kind == Self::LEAVING
    }

    pub(crate) fn is_over(self) -> bool {
        self.kind == Self::RESTARTED
    }

    /// For how long entries are held after a restart's end.
    pub(crate) fn grace(self) -> Option<Duration> {
        let restarts = matches!(self.kind, Self::RESTARTING | Self::RESTARTED);
        restarts.then(|| Duration::from_millis(self.grace))
    }
}

/// Whole milliseconds, as they are sent.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// One operation. Only the fields of its kind are there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Op {
    #[serde(rename = "o")]
    pub(crate) kind: u8,
    /// What is put.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Value>,
    /// The number of the entry that goes or is held: with a put, the one it replaces.
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    pub(crate) gone: Option<u64>,
}

impl Op {
    /// An entry comes, perhaps in place of another.
    pub(crate) const PUT: u8 = 1;
    /// An entry goes.
    pub(crate) const DELETE: u8 = 2;
    /// The connection of an entry ended, and its user may come back: it stays until another entry takes its place.
    pub(crate) const HOLD: u8 = 3;

    /// Whether it holds the entry of that number.
    pub(crate) fn holds(&self, put_seq: u64) -> bool {
        self.kind == Self::HOLD && self.gone == Some(put_seq)
    }
}

/// What an entry says. Its node is the sender, its number that of the operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Value {
    #[serde(rename = "t", deserialize_with = "name")]
    pub(crate) topic: Arc<str>,
    #[serde(rename = "k", deserialize_with = "name")]
    pub(crate) key: Arc<str>,
    #[serde(rename = "m")]
    pub(crate) meta: Bytes,
    #[serde(rename = "w")]
    pub(crate) owner: u64,
    /// The life in which it was put, if that is not the one it is sent in: its reference stays what it was.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub(crate) born: Option<Life>,
    /// The number of the value that it replaced.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<u64>,
    /// The life in which that one was put, if another than the one it is sent in.
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous_born: Option<Life>,
}

/// An entry with its number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stored {
    #[serde(rename = "s")]
    pub(crate) put_seq: u64,
    #[serde(rename = "v")]
    pub(crate) value: Value,
    /// Whether it is only held.
    #[serde(rename = "h", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) held: bool,
}

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("{0} bytes are shorter than a header")]
    NoHeader(usize),
    #[error("{0} bytes are more than any message has")]
    TooLarge(usize),
    #[error("the header says {said} bytes of body, there are {there}")]
    Length { said: usize, there: usize },
    #[error("the body of kind {kind} is not what that kind has")]
    Body {
        kind: u16,
        #[source]
        source: rmp_serde::decode::Error,
    },
    #[error("something follows the body's value")]
    Trailing,
    #[error("the numbers in it contradict each other")]
    Numbers,
}

impl Message {
    /// The bytes of this message.
    pub(crate) fn encode(&self) -> Bytes {
        match self {
            Self::Hello(body) => frame(kind::HELLO, body),
            Self::Vector(body) => frame(kind::VECTOR, body),
            Self::Ops(body) => frame(kind::OPS, body),
            Self::Pull(body) => frame(kind::PULL, body),
            Self::Part(body) => frame(kind::PART, body),
            Self::PartTaken(body) => frame(kind::PART_TAKEN, body),
            Self::Goodbye(body) => frame(kind::GOODBYE, body),
            Self::HeldPull(body) => frame(kind::HELD_PULL, body),
            Self::HeldPart(body) => frame(kind::HELD_PART, body),
            Self::Confirm(body) => frame(kind::CONFIRM, body),
            Self::Confirmed(body) => frame(kind::CONFIRMED, body),
        }
    }

    /// Reads a message; nothing if it is of a kind that this version does not know.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let (kind, body) = split(bytes)?;
        if body.len() > MAX_BODY_BYTES {
            return Err(Malformed::TooLarge(body.len()));
        }
        let message = match kind {
            kind::HELLO => Self::Hello(read(kind, body)?),
            kind::VECTOR => Self::Vector(read(kind, body)?),
            kind::OPS => Self::Ops(read(kind, body)?),
            kind::PULL => Self::Pull(read(kind, body)?),
            kind::PART => Self::Part(read(kind, body)?),
            kind::PART_TAKEN => Self::PartTaken(read(kind, body)?),
            kind::GOODBYE => Self::Goodbye(read(kind, body)?),
            kind::HELD_PULL => Self::HeldPull(read(kind, body)?),
            kind::HELD_PART => Self::HeldPart(read(kind, body)?),
            kind::CONFIRM => Self::Confirm(read(kind, body)?),
            kind::CONFIRMED => Self::Confirmed(read(kind, body)?),
            _ => return Ok(None),
        };
        message.check()?;
        Ok(Some(message))
    }

    /// Whether losing it would not be made good by a later message: such a one has room kept for it in the inbox.
    pub(crate) fn must_arrive(bytes: &[u8]) -> bool {
        split(bytes).is_ok_and(|(kind, _)| kind == kind::HELLO || kind == kind::GOODBYE)
    }

    fn check(&self) -> Result<(), Malformed> {
        let offers = |held: &[Offer]| held.iter().all(|offer| offer.at.fits());
        let sound = match self {
            Self::Hello(hello) => {
                hello.at.fits() && hello.have.is_none_or(Position::fits) && offers(&hello.held)
            }
            Self::Vector(vector) => {
                let heard = vector.heard.iter().all(|heard| heard.at.fits());
                vector.at.fits() && heard && offers(&vector.held)
            }
            Self::Ops(ops) => {
                let to = ops.from.checked_add(ops.ops.len() as u64);
                to.is_some_and(fits) && ops.ops.iter().all(Op::fits)
            }
            Self::Pull(pull) => {
                let taken = pull.taken.as_ref().map(|taken| taken.at);
                pull.have.is_none_or(Position::fits) && taken.is_none_or(Position::fits)
            }
            Self::Part(part) => {
                let covered = |entry: &Stored| entry.put_seq <= part.at.seq && entry.value.fits();
                part.part < part.parts && part.at.fits() && part.entries.iter().all(covered)
            }
            Self::PartTaken(taken) => taken.at.fits(),
            Self::Goodbye(_) => true,
            Self::HeldPull(pull) => pull.after.is_none_or(fits),
            Self::HeldPart(part) => part.set.at.fits() && part.after.is_none_or(fits),
            Self::Confirm(confirm) | Self::Confirmed(confirm) => confirm.at.fits(),
        };
        if sound {
            Ok(())
        } else {
            Err(Malformed::Numbers)
        }
    }
}

/// Whether a reference has room for that number: of a larger one it would keep a part, and name another entry.
fn fits(seq: u64) -> bool {
    seq < PresenceRef::NUMBERS
}

impl Position {
    fn fits(self) -> bool {
        fits(self.seq)
    }
}

impl Op {
    fn fits(&self) -> bool {
        self.gone.is_none_or(fits) && self.value.as_ref().is_none_or(Value::fits)
    }
}

impl Value {
    fn fits(&self) -> bool {
        self.previous.is_none_or(fits)
    }
}

impl Ops {
    /// The sequence number of the last operation.
    pub(crate) fn to(&self) -> u64 {
        self.from + self.ops.len() as u64
    }
}

fn frame(kind: u16, body: &impl Serialize) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u16(kind);
    bytes.put_u32(0);
    let mut writer = bytes.writer();
    rmp_serde::encode::write_named(&mut writer, body).expect("a wire type always has an encoding");
    let mut bytes = writer.into_inner();
    let length = u32::try_from(bytes.len() - HEADER).expect("a message stays far below 4 GiB");
    bytes[2..HEADER].copy_from_slice(&length.to_be_bytes());
    bytes.freeze()
}

fn split(bytes: &[u8]) -> Result<(u16, &[u8]), Malformed> {
    let Some((&[k0, k1, l0, l1, l2, l3], body)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(Malformed::NoHeader(bytes.len()));
    };
    let said = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if said != body.len() {
        let there = body.len();
        return Err(Malformed::Length { said, there });
    }
    Ok((u16::from_be_bytes([k0, k1]), body))
}

fn read<'a, T: Deserialize<'a>>(kind: u16, body: &'a [u8]) -> Result<T, Malformed> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(body);
    deserializer.set_max_depth(MAX_DEPTH);
    let value =
        T::deserialize(&mut deserializer).map_err(|source| Malformed::Body { kind, source })?;
    // The reader of borrowed bytes does not say where it is: whether more follows shows when more is read.
    match IgnoredAny::deserialize(&mut deserializer) {
        Err(Error::InvalidMarkerRead(end)) if end.kind() == ErrorKind::UnexpectedEof => Ok(value),
        _ => Err(Malformed::Trailing),
    }
}

/// A name, copied once: of a string of its own it would be a second time.
fn name<'a, D: Deserializer<'a>>(from: D) -> Result<Arc<str>, D::Error> {
    <&str>::deserialize(from).map(Arc::from)
}

/// The first of the lives that are named: nobody has told of more than are kept, and a longer list, of whoever makes one up, would be
/// passed on with each offer.
fn former<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<Life>, D::Error> {
    from.deserialize_seq(Former)
}

struct Former;

impl<'a> Visitor<'a> for Former {
    type Value = Vec<Life>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence of lives")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut from: A) -> Result<Vec<Life>, A::Error> {
        let mut lives = Vec::new();
        while lives.len() < FORMER_LIVES {
            let Some(life) = from.next_element()? else {
                return Ok(lives);
            };
            lives.push(life);
        }
        while from.next_element::<IgnoredAny>()?.is_some() {}
        Ok(lives)
    }
}

/// The numbers of the kinds. 16 to 31 are for entries that are held through a restart of their node.
mod kind {
    pub(super) const HELLO: u16 = 1;
    pub(super) const VECTOR: u16 = 2;
    pub(super) const OPS: u16 = 3;
    pub(super) const PULL: u16 = 4;
    pub(super) const PART: u16 = 5;
    pub(super) const PART_TAKEN: u16 = 6;
    pub(super) const GOODBYE: u16 = 7;
    pub(super) const HELD_PULL: u16 = 16;
    pub(super) const HELD_PART: u16 = 17;
    pub(super) const CONFIRM: u16 = 18;
    pub(super) const CONFIRMED: u16 = 19;
}

/// The longest body that is read. What is read takes many times the room that it has on the wire, if whoever wrote it so wishes. Ours stay
/// below 256 KiB (`CHUNK_BYTES`): only a hello that names thousands of nodes has more.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Bytes of kind and length.
const HEADER: usize = 6;

/// How deep values may nest in a body; ours need seven, a later version's unknown field may need more.
const MAX_DEPTH: usize = 32;

/// What an entry or an operation needs on the wire beside its topic, key and meta, at most.
pub(crate) const OP_OVERHEAD_BYTES: usize = 160;

#[cfg(test)]
mod tests;
