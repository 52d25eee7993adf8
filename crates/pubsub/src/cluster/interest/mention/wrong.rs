//! Ways to write an interest frame that look right and are not.

use std::collections::BTreeMap;

use super::super::frame::Interest;
use super::super::variant::Variant;
use super::super::wanted::Wanted;
use super::{Mentions, Room};
use crate::TopicName;

#[derive(Debug, Default)]
pub(in super::super) struct Wrong {
    pub(in super::super) variant: Variant,
    /// Whether each pending topic was wanted when it was queued.
    queued: BTreeMap<TopicName, bool>,
    /// What is left of the copy that a sync walks.
    snapshot: Vec<TopicName>,
}

impl Wrong {
    pub(super) fn is_wrong(&self) -> bool {
        use Variant::{
            HeardWithPending, SyncFromSnapshot, SyncIntoNewSet, SyncWithoutLingering,
            WrittenAsQueued,
        };
        matches!(
            self.variant,
            HeardWithPending
                | SyncFromSnapshot
                | SyncIntoNewSet
                | SyncWithoutLingering
                | WrittenAsQueued
        )
    }

    pub(in super::super) fn note_queued(&mut self, topic: &TopicName, wanted: bool) {
        self.queued.entry(topic.clone()).or_insert(wanted);
    }
}

impl Mentions {
    /// As [`Mentions::write`], with one difference.
    pub(super) fn write_wrongly(
        &mut self,
        wanted: &Wanted,
        heard: u64,
        max_bytes: usize,
    ) -> Interest {
        let variant = self.wrong.variant;
        let mut frame = Interest {
            seq: self.seq,
            begin: std::mem::take(&mut self.begin),
            ..Interest::default()
        };
        if frame.begin {
            self.wrong.snapshot = wanted.after(None).cloned().collect();
        }
        let mut room = Room(max_bytes.saturating_sub(super::FRAME_BYTES));
        while let Some(topic) = self.pending.first().cloned() {
            if !room.take(&topic, &frame) {
                break;
            }
            self.pending.remove(&topic);
            let queued = self.wrong.queued.remove(&topic);
            let now = wanted.contains(&topic);
            let value = match variant {
                Variant::WrittenAsQueued => queued.unwrap_or(now),
                _ => now,
            };
            if value {
                frame.wanted.push(topic);
            } else {
                frame.gone.push(topic);
            }
        }
        if self.todo.is_some() {
            self.write_todo_wrongly(wanted, &mut frame, &mut room);
        }
        let all_said = self.pending.is_empty() && self.todo.is_none();
        if all_said || variant == Variant::HeardWithPending {
            frame.heard = Some(heard);
            self.answer = false;
        }
        frame
    }

    fn write_todo_wrongly(&mut self, wanted: &Wanted, frame: &mut Interest, room: &mut Room) {
        let variant = self.wrong.variant;
        let written = self.todo.as_ref().and_then(|todo| todo.written.clone());
        let source: Vec<TopicName> = match variant {
            Variant::SyncFromSnapshot => self.wrong.snapshot.clone(),
            _ => wanted.after(None).cloned().collect(),
        };
        let behind = source
            .iter()
            .filter(|topic| written.as_ref().is_none_or(|written| *topic > written))
            .filter(|topic| variant != Variant::SyncWithoutLingering || !wanted.lingers(topic));
        let mut behind = behind.peekable();
        let mut last = None;
        while let Some(topic) = behind.peek() {
            if !room.take(topic, frame) {
                break;
            }
            frame.chunk.push((*topic).clone());
            if variant != Variant::SyncIntoNewSet {
                frame.wanted.push((*topic).clone());
            }
            last = behind.next();
        }
        frame.end = behind.peek().is_none();
        self.todo = match (frame.end, last) {
            (true, _) => None,
            (false, last) => Some(super::Todo {
                written: last.cloned().or(written),
            }),
        };
    }
}
