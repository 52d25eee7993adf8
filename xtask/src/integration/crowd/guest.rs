//! One user of a crowd.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;

use crate::failure::{Explain, Outcome, fail};
use crate::integration::client::HEARTBEAT_EVERY;
use crate::integration::crowd::socket::Socket;
use crate::integration::people::{People, Places, references};

/// What a user who does not read looks at of each frame: the topic and the event are in it.
const HEAD_BYTES: usize = 128;

/// See the module.
pub(crate) struct Guest {
    pub(crate) name: String,
    /// Index of the node that it is connected to.
    pub(crate) node: usize,
    socket: Socket,
    joined: bool,
    /// When its join was answered.
    pub(crate) answered: Option<Instant>,
    /// Whether it has got the list.
    pub(crate) has_state: bool,
    reader: Option<Reader>,
    said: Instant,
}

/// The list of one who reads, and what diffs have said already.
#[derive(Default)]
struct Reader {
    people: People,
    joined: BTreeSet<String>,
    left: BTreeSet<String>,
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
            socket: Socket::connect(node, name, keeps)?,
            joined: false,
            answered: None,
            has_state: false,
            reader: reads.then(Reader::default),
            said: Instant::now(),
        })
    }

    pub(super) fn has_joined(&self) -> bool {
        self.joined
    }

    pub(super) fn join(&mut self, room: &str) -> Outcome {
        self.joined = true;
        self.said = Instant::now();
        self.socket
            .send(&format!(r#"["1","1","{room}","phx_join",{{}}]"#))
    }

    /// Says that it is still there, if it has said nothing for long.
    pub(super) fn stay(&mut self) -> Outcome {
        if self.said.elapsed() > HEARTBEAT_EVERY {
            self.said = Instant::now();
            self.socket.send(r#"[null,"2","phoenix","heartbeat",{}]"#)?;
        }
        Ok(())
    }

    /// Takes in what has come.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> Outcome {
        let Guest {
            socket,
            answered,
            has_state,
            reader,
            ..
        } = self;
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
                _ => fail!("got {}", String::from_utf8_lossy(head)),
            }
            Ok(())
        });
        read.map_err(|failure| failure.of(&self.name))
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

    /// How many diffs took somebody away.
    pub(crate) fn departures(&self) -> usize {
        self.reader
            .as_ref()
            .map_or(0, |reader| reader.people.departures)
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.socket.bytes_read
    }
}

impl Reader {
    fn state(&mut self, frame: &[u8]) -> Outcome {
        self.people.state(&payload(frame)?);
        Ok(())
    }

    /// No reference joins in two diffs, and none leaves in two.
    fn diff(&mut self, frame: &[u8]) -> Outcome {
        let diff = payload(frame)?;
        for (side, told) in [("joins", &mut self.joined), ("leaves", &mut self.left)] {
            for reference in references(&diff[side]).into_values().flatten() {
                if let Some(reference) = told.replace(reference) {
                    fail!("{reference} is among the {side} of two diffs");
                }
            }
        }
        self.people.diff(&diff);
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
    const EXPECTED: [&str; 3] = ["phx_reply", "presence_state", "presence_diff"];
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
