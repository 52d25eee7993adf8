//! A link as subscriber: what its peer has to be told of this node's interest, and what was heard from the peer.
//! Pure: no clock, no I/O, no tasks.

use std::collections::BTreeSet;

use super::frame::Interest;
use super::wanted::Wanted;
use crate::TopicName;

/// What an [`Interest`] counts beside its topics, and a topic beside its name, in bytes.
const FRAME_BYTES: usize = 32;
const TOPIC_BYTES: usize = 4;

/// All of it is new with each link.
#[derive(Debug, Default)]
pub(super) struct Mentions {
    /// The peer had published so many when it last said anything, on whatever stream. It says nothing of what has arrived.
    heard: u64,
    /// To be mentioned, as they stand when written.
    pending: BTreeSet<TopicName>,
    todo: Option<Todo>,
    /// The next frame is the first of a sync.
    begin: bool,
    /// The peer asked how far it was heard.
    answer: bool,
    seq: u64,
    #[cfg(test)]
    pub(super) wrong: wrong::Wrong,
}

#[cfg(test)]
mod wrong;

/// The cursor of a sync over the live set of wanted topics, not over a copy: all up to this one are written.
#[derive(Debug)]
struct Todo {
    written: Option<TopicName>,
}

impl Mentions {
    pub(super) fn heard(&self) -> u64 {
        self.heard
    }

    /// The number of the last frame.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// Whether there is something to write.
    pub(super) fn is_due(&self) -> bool {
        self.begin || self.answer || self.todo.is_some() || !self.pending.is_empty()
    }

    pub(super) fn handle_heard(&mut self, pos: u64) {
        self.heard = self.heard.max(pos);
    }

    pub(super) fn handle_position(&mut self, pos: u64) {
        self.handle_heard(pos);
        self.answer = true;
    }

    /// The peer lost track. What it lost is in the sync that has not yet begun, if there is one.
    pub(super) fn handle_resync(&mut self) {
        if !self.begin {
            self.begin();
        }
    }

    /// All is to be told anew.
    pub(super) fn begin(&mut self) {
        self.begin = true;
        self.pending.clear();
        self.todo = Some(Todo { written: None });
    }

    /// That topic is to be mentioned. If too many are, all is told anew.
    pub(super) fn mention(&mut self, topic: &TopicName, max_pending: usize) {
        self.pending.insert(topic.clone());
        if self.pending.len() > max_pending {
            self.begin();
        }
    }

    /// The next frame. `heard` was read before the edges were taken that `wanted` stands for.
    pub(super) fn write(&mut self, wanted: &Wanted, heard: u64, max_bytes: usize) -> Interest {
        self.seq += 1;
        #[cfg(test)]
        if self.wrong.is_wrong() {
            return self.write_wrongly(wanted, heard, max_bytes);
        }
        let mut frame = Interest {
            seq: self.seq,
            begin: std::mem::take(&mut self.begin),
            ..Interest::default()
        };
        let mut room = Room(max_bytes.saturating_sub(FRAME_BYTES));
        self.write_pending(wanted, &mut frame, &mut room);
        self.write_todo(wanted, &mut frame, &mut room);
        // Only a frame behind which nothing is left may say this: one that is left may be of before that time.
        if self.pending.is_empty() && self.todo.is_none() {
            frame.heard = Some(heard);
            self.answer = false;
        }
        frame
    }

    /// Each as it stands now: the last mention of a topic wins, and every later change causes another.
    fn write_pending(&mut self, wanted: &Wanted, frame: &mut Interest, room: &mut Room) {
        while let Some(topic) = self.pending.first() {
            if !room.take(topic, frame) {
                return;
            }
            let topic = self.pending.pop_first().expect("it is the first");
            if wanted.contains(&topic) {
                frame.wanted.push(topic);
            } else {
                frame.gone.push(topic);
            }
        }
    }

    fn write_todo(&mut self, wanted: &Wanted, frame: &mut Interest, room: &mut Room) {
        let Some(todo) = &mut self.todo else {
            return;
        };
        let mut behind = wanted.after(todo.written.as_ref()).peekable();
        let mut last = None;
        while let Some(topic) = behind.peek() {
            if !room.take(topic, frame) {
                break;
            }
            frame.wanted.push((*topic).clone());
            last = behind.next();
        }
        frame.end = behind.peek().is_none();
        if frame.end {
            self.todo = None;
        } else if last.is_some() {
            todo.written = last.cloned();
        }
    }
}

/// What is left of a frame, in bytes.
struct Room(usize);

impl Room {
    /// Whether that topic still goes in; the first one always does.
    fn take(&mut self, topic: &TopicName, frame: &Interest) -> bool {
        let bytes = topic.len() + TOPIC_BYTES;
        let fits = bytes <= self.0 || (frame.gone.is_empty() && frame.wanted.is_empty());
        if fits {
            self.0 = self.0.saturating_sub(bytes);
        }
        fits
    }
}
