//! One user of a crowd.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;

use crate::failure::{Explain, Outcome, fail};
use crate::integration::client::HEARTBEAT_EVERY;
use crate::integration::crowd::socket::{Contact, Socket};
use crate::integration::people::{People, Places, references};

/// What a user who does not read looks at of each frame: the topic and the event are in it.
const HEAD_BYTES: usize = 128;
/// A node that restarts closes its sockets with this code.
const RESTART: u16 = 1012;

/// See the module.
pub(crate) struct Guest {
    pub(crate) name: String,
    /// Index of the node that it is connected to, or was before it was told to go.
    pub(crate) node: usize,
    /// Nothing once its node has told it to go.
    socket: Option<Socket>,
    joined: bool,
    /// Whether it has asked to leave, and whether that was answered.
    leaving: bool,
    pub(crate) has_left: bool,
    /// When its join was answered.
    pub(crate) answered: Option<Instant>,
    /// Whether it has got the list.
    pub(crate) has_state: bool,
    reader: Option<Reader>,
    said: Instant,
    /// How it comes back, told to go.
    pub(super) way_back: Option<WayBack>,
    /// On sockets of earlier nodes.
    bytes_before: u64,
}

/// Somebody on the way back.
#[derive(Clone, Copy)]
pub(super) struct WayBack {
    pub(super) told: Instant,
    pub(super) at: Instant,
    /// Whether it waits for its own node.
    pub(super) by_own_node: bool,
}

/// How many diffs named somebody as new, and how many as gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Diffs {
    pub(crate) with_joins: usize,
    pub(crate) with_leaves: usize,
}

/// The list of one who reads, and what diffs have said already.
#[derive(Default)]
struct Reader {
    people: People,
    joined: BTreeSet<String>,
    left: BTreeSet<String>,
    gone: Vec<String>,
    diffs: Diffs,
}

impl Guest {
    pub(super) fn connect(
        node: SocketAddr,
        index: usize,
        name: &str,
        reads: bool,
    ) -> Outcome<Self> {
        let keeps = if reads { usize::MAX } else { HEAD_BYTES };
        Ok(Guest {
            name: name.to_owned(),
            node: index,
            socket: Some(Socket::connect(node, name, keeps)?),
            joined: false,
            leaving: false,
            has_left: false,
            answered: None,
            has_state: false,
            reader: reads.then(Reader::default),
            said: Instant::now(),
            way_back: None,
            bytes_before: 0,
        })
    }

    pub(super) fn has_joined(&self) -> bool {
        self.joined
    }

    pub(super) fn join(&mut self, room: &str) -> Outcome {
        self.joined = true;
        self.send(&format!(r#"["1","1","{room}","phx_join",{{}}]"#))
    }

    /// Its node has told it to go: connects to another one and joins there.
    pub(super) fn move_to(&mut self, node: SocketAddr, index: usize, room: &str) -> Outcome {
        let keeps = if self.reads() { usize::MAX } else { HEAD_BYTES };
        self.socket = Some(Socket::connect(node, &self.name, keeps)?);
        self.node = index;
        self.has_state = false;
        if let Some(reader) = &mut self.reader {
            reader.rejoin();
        }
        self.join(room)
    }

    /// Leaves on purpose. It is out once that is answered, unless it is told to go before.
    pub(super) fn leave(&mut self, room: &str) -> Outcome {
        self.leaving = true;
        self.send(&format!(r#"["1","3","{room}","phx_leave",{{}}]"#))
    }

    /// Whether its node has told it to go.
    pub(crate) fn is_away(&self) -> bool {
        self.socket.is_none()
    }

    fn send(&mut self, text: &str) -> Outcome {
        self.said = Instant::now();
        match &mut self.socket {
            Some(socket) => socket.send(text),
            None => Ok(()),
        }
    }

    /// Says that it is still there, if it has said nothing for long.
    pub(super) fn stay(&mut self) -> Outcome {
        if self.said.elapsed() > HEARTBEAT_EVERY {
            self.send(r#"[null,"2","phoenix","heartbeat",{}]"#)?;
        }
        Ok(())
    }

    /// Takes in what has come.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> Outcome {
        let Guest {
            socket: Some(socket),
            answered,
            has_state,
            leaving,
            has_left,
            reader,
            ..
        } = self
        else {
            return Ok(());
        };
        let read = socket.read(scratch, |frame| {
            let head = &frame[..frame.len().min(HEAD_BYTES)];
            match event(head) {
                Some("phx_reply") => drop(answered.get_or_insert_with(Instant::now)),
                Some("presence_state") => {
                    *has_state = true;
                    if let Some(reader) = reader {
                        reader.state(frame)?;
                    }
                }
                Some("presence_diff") => {
                    if let Some(reader) = reader {
                        reader.diff(frame)?;
                    }
                }
                Some("phx_close") if *leaving => *has_left = true,
                _ => fail!("got {}", String::from_utf8_lossy(head)),
            }
            Ok(())
        });
        match read.map_err(|failure| failure.of(&self.name))? {
            Contact::Kept => Ok(()),
            Contact::Closed(RESTART) => {
                self.bytes_before += socket.bytes_read;
                self.socket = None;
                Ok(())
            }
            Contact::Closed(code) => fail!("`{}`: closed by the node with {code}", self.name),
        }
    }

    pub(crate) fn reads(&self) -> bool {
        self.reader.is_some()
    }

    /// How many people its list has; nothing before it has one, or if it does not read.
    pub(crate) fn held(&self) -> Option<usize> {
        self.reader.as_ref()?.people.len()
    }

    pub(crate) fn places(&self) -> Option<Places> {
        self.reader.as_ref()?.people.places()
    }

    /// What diffs it has got so far.
    pub(crate) fn diffs(&self) -> Diffs {
        let reader = self.reader.as_ref();
        reader.map(|reader| reader.diffs).unwrap_or_default()
    }

    /// Whether its list has this user; nobody's, while it is away or waits for one.
    pub(crate) fn holds(&self, user: &str) -> bool {
        let reader = self.reader.as_ref().filter(|_| !self.is_away());
        reader.is_some_and(|reader| !reader.people.is_joining() && reader.people.has(user))
    }

    /// Who went off its list since this was last asked, by a diff or by a list without them.
    pub(crate) fn take_gone(&mut self) -> Vec<String> {
        self.reader
            .as_mut()
            .map_or_else(Vec::new, |reader| std::mem::take(&mut reader.gone))
    }

    /// Users whose old place went in another diff than the one with the new place.
    pub(crate) fn apart(&self) -> &[String] {
        self.reader
            .as_ref()
            .map_or(&[], |reader| &reader.people.apart)
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        let now = self.socket.as_ref().map_or(0, |socket| socket.bytes_read);
        self.bytes_before + now
    }
}

impl Reader {
    /// What another node says is counted anew.
    fn rejoin(&mut self) {
        self.people.rejoin();
        self.joined.clear();
        self.left.clear();
    }

    fn state(&mut self, frame: &[u8]) -> Outcome {
        self.gone.extend(self.people.state(&payload(frame)?));
        Ok(())
    }

    /// No reference joins in two diffs, and none leaves in two.
    fn diff(&mut self, frame: &[u8]) -> Outcome {
        let diff = payload(frame)?;
        let names = |side: &str| usize::from(!references(&diff[side]).is_empty());
        self.diffs.with_joins += names("joins");
        self.diffs.with_leaves += names("leaves");
        for (side, told) in [("joins", &mut self.joined), ("leaves", &mut self.left)] {
            for reference in references(&diff[side]).into_values().flatten() {
                if let Some(reference) = told.replace(reference) {
                    fail!("{reference} is among the {side} of two diffs");
                }
            }
        }
        let gone = self.people.diff(&diff);
        self.gone.extend(gone);
        Ok(())
    }
}

fn payload(frame: &[u8]) -> Outcome<Value> {
    let fields: [Value; 5] = serde_json::from_slice(frame).explain("a frame that is none")?;
    let [.., payload] = fields;
    Ok(payload)
}

/// The event of a frame, if it is one that a user of a room expects: anything else ends the measurement, an error above all.
fn event(head: &[u8]) -> Option<&'static str> {
    const EXPECTED: [&str; 4] = ["phx_reply", "presence_state", "presence_diff", "phx_close"];
    let head = std::str::from_utf8(head).unwrap_or_default();
    let event = head.split(',').nth(3)?.trim_matches('"');
    EXPECTED.into_iter().find(|expected| *expected == event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_events_apart_by_their_first_bytes() {
        let state = br#"["1",null,"room:full","presence_state",{"u1":{"metas":[{"phx"#;
        assert_eq!(event(state), Some("presence_state"));
        assert_eq!(event(br#"["1","1","room:full","phx_error",{}]"#), None);
    }

    #[test]
    fn a_reference_in_two_diffs_is_noticed() {
        let diff = br#"[null,null,"room:full","presence_diff",{"joins":{"u":{"metas":[{"phx_ref":"a"}]}},"leaves":{}}]"#;
        let mut reader = Reader::default();
        assert!(reader.diff(diff).is_ok());
        assert!(reader.diff(diff).is_err());
    }
}
