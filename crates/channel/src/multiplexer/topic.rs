//! One topic of a connection: the join that owns it, and those that it replaced.
//!
//! Pure: no clock, no I/O, no tasks.

use bytestring::ByteString;

use super::effect::{Effect, End, InstanceId, JoinRefs, Wait};
use crate::transport::{Field, Payload, ServerMessage};
use crate::wire::{self, reason};

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) current: Instance,
    /// Oldest first.
    pub(super) superseded: Vec<Instance>,
}

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) id: InstanceId,
    pub(super) refs: JoinRefs,
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Unanswered. `reference` is the join's own; `leaving` says that a leave waits in the inbox.
    Joining {
        reference: Option<Field>,
        leaving: bool,
    },
    /// Answered with ok.
    Joined,
    /// A leave is on its way through the inbox.
    Leaving,
}

impl Instance {
    pub(super) fn is_answered(&self) -> bool {
        !matches!(self.phase, Phase::Joining { .. })
    }

    /// How long the join waits that takes its place.
    pub(super) fn wait(&self) -> Wait {
        match self.phase {
            Phase::Joining { .. } => Wait::Joining,
            Phase::Joined | Phase::Leaving => Wait::Ending,
        }
    }

    /// What it is told then. One whose client leaves has that in its inbox, and what goes with a leave is not to be lost.
    pub(super) fn make_way<R>(&self) -> Option<Effect<R>> {
        match self.phase {
            Phase::Joining { .. } => Some(Effect::Supersede(self.id)),
            Phase::Joined => Some(Effect::Abort(self.id)),
            Phase::Leaving => None,
        }
    }

    /// The answer to its join. It leaves the phase that ends with that.
    pub(super) fn answer(
        &mut self,
        topic: &ByteString,
        status: &'static str,
        response: Payload,
    ) -> ServerMessage {
        let (join_ref, reference) = (self.refs.sent.clone(), self.take_reference());
        let (topic, status) = (Field::Text(topic.clone()), ByteString::from_static(status));
        wire::reply(join_ref, reference, topic, status, response)
    }

    fn take_reference(&mut self) -> Option<Field> {
        match std::mem::replace(&mut self.phase, Phase::Joined) {
            Phase::Joining { reference, leaving } => {
                if leaving {
                    self.phase = Phase::Leaving;
                }
                reference
            }
            answered => {
                self.phase = answered;
                None
            }
        }
    }
}

impl Topic {
    pub(super) fn all(&self) -> impl Iterator<Item = &Instance> {
        self.superseded.iter().chain([&self.current])
    }

    pub(super) fn find(&mut self, id: InstanceId) -> Option<&mut Instance> {
        let all = self.superseded.iter_mut().chain([&mut self.current]);
        all.into_iter().find(|instance| instance.id == id)
    }

    /// The join that waits for this one.
    pub(super) fn next(&self, id: InstanceId) -> Option<InstanceId> {
        let mut ids = self.all().map(|instance| instance.id);
        ids.find(|other| *other > id)
    }

    pub(super) fn unanswered(&mut self, id: InstanceId) -> Option<&mut Instance> {
        self.find(id).filter(|instance| !instance.is_answered())
    }

    /// Now that the join `id` is answered, tells the client of the accepted joins that an answered newer one
    /// replaced, and forgets them. Returns how many.
    pub(super) fn close_replaced<R>(
        &mut self,
        id: InstanceId,
        topic: &ByteString,
        effects: &mut Vec<Effect<R>>,
    ) -> usize {
        let newest = self
            .all()
            .filter(|instance| instance.is_answered())
            .map(|instance| instance.id);
        let newest = newest.max().map_or(id, |newest| newest.max(id));
        let before = self.superseded.len();
        self.superseded.retain(|instance| {
            let is_over = instance.is_answered() && instance.id < newest;
            if is_over {
                effects.push(Effect::Send(ending(&instance.refs, topic, End::Close)));
                if matches!(instance.phase, Phase::Leaving) {
                    effects.push(Effect::Dismiss(instance.id));
                }
            }
            !is_over
        });
        before - self.superseded.len()
    }
}
/// What a client is told whose channel is over.
pub(super) fn ending(refs: &JoinRefs, topic: &ByteString, end: End) -> ServerMessage {
    let (event, payload) = match end {
        End::Close => (wire::CLOSE, Payload::object()),
        End::Error => (wire::CRASH, reason("channel_crash")),
    };
    ServerMessage::Push {
        join_ref: refs.sent.clone(),
        reference: refs.sent.clone(),
        topic: Field::Text(topic.clone()),
        event: ByteString::from_static(event),
        payload,
    }
}
