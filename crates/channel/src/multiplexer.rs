//! The conversations of one connection: which message starts, reaches, leaves or misses which channel.
//!
//! A [`Multiplexer`] holds one [`Instance`] for each join that is not over. The newest join of a topic owns the
//! topic; those it replaced are *superseded* and stay only until the client has been told about them. The session
//! hands in what the client sent (`handle_message`) and what became of its channels (`handle_joined`,
//! `handle_refused`, `handle_left`, `handle_ended`, `handle_stalled`), and carries out the effects in the order in which they come.
//!
//! Two promises hold whatever arrives: each join is answered exactly once, and each accepted join is followed by
//! either one `phx_close` or one `phx_error`, unless the connection ends first.
//!
//! Pure: no clock, no I/O, no tasks.

mod effect;
mod past;
mod topic;
mod topics;

use std::time::Instant;

use bytestring::ByteString;

use crate::transport::{ClientMessage, Field, Payload, ServerMessage};
use crate::wire::{self, reason};
pub(crate) use effect::{
    Effect, End, InstanceId, JoinLimits, JoinRefs, Limit, Refusal, Request, Start, Wait,
};
use past::Past;
use topic::{Instance, Phase, Topic, ending};
use topics::Topics;

/// How many superseded joins one connection may have before it reads no further frame: 100.
///
/// They only pile up when a client joins one topic again and again while the first join is still at work; reading
/// on would let it start any number of tasks.
pub const MAX_SUPERSEDED_JOINS: usize = 100;

/// The joins of one connection. See the [module](self).
#[derive(Debug)]
pub(crate) struct Multiplexer {
    topics: Topics<Topic>,
    past: Past,
    next_id: u64,
    limits: JoinLimits,
    superseded: usize,
}

impl Multiplexer {
    pub(crate) fn new(limits: JoinLimits) -> Self {
        Self {
            topics: Topics::new(),
            past: Past::default(),
            next_id: 0,
            limits,
            superseded: 0,
        }
    }

    /// Whether so many joins are superseded but unsettled that no further frame should be read.
    pub(crate) fn is_congested(&self) -> bool {
        self.superseded >= MAX_SUPERSEDED_JOINS
    }

    /// The oldest join that others of its topic wait for, be it one that was superseded or the one that did so.
    pub(crate) fn oldest_awaited(&self) -> Option<InstanceId> {
        let entries = self.topics.iter().map(|(_, entry)| entry);
        let awaited = entries.filter(|entry| !entry.superseded.is_empty());
        let unanswered = awaited.flat_map(Topic::all).filter(|it| !it.is_answered());
        unanswered.map(|it| it.id).min()
    }

    /// One message from the client. `route` finds what serves a topic and is asked for joins only.
    pub(crate) fn handle_message<R>(
        &mut self,
        message: ClientMessage,
        now: Instant,
        route: impl FnOnce(&str) -> Option<R>,
        effects: &mut Vec<Effect<R>>,
    ) {
        match (&message.topic, message.event.as_text()) {
            (Field::Json(_), _) => effects.push(Effect::Send(no_such_topic(message))),
            (Field::Text(topic), Some(wire::JOIN)) => {
                self.join(topic.clone(), message, now, route, effects);
            }
            (Field::Text(topic), Some(wire::LEAVE)) => {
                self.leave(&topic.clone(), message, now, effects);
            }
            (Field::Text(topic), Some(wire::HEARTBEAT)) if topic == wire::HEARTBEAT_TOPIC => {
                effects.push(Effect::Send(wire::ok(
                    None,
                    message.reference,
                    message.topic,
                )));
            }
            (Field::Text(_), _) => self.event(message, effects),
        }
    }

    fn join<R>(
        &mut self,
        topic: ByteString,
        message: ClientMessage,
        now: Instant,
        route: impl FnOnce(&str) -> Option<R>,
        effects: &mut Vec<Effect<R>>,
    ) {
        let ClientMessage {
            join_ref,
            reference,
            topic: field,
            payload,
            ..
        } = message;
        let Some(route) = route(&topic) else {
            let refused = wire::error(None, reference, field, reason("unmatched topic"));
            return effects.push(Effect::Send(refused));
        };
        if let Some((limit, response)) = self.over_limit(&topic) {
            let refused = wire::error(join_ref, reference, field, response);
            return effects.extend([Effect::Send(refused), Effect::Report(topic, limit)]);
        }
        let refs = JoinRefs {
            push: join_ref.clone().or_else(|| reference.clone()),
            sent: join_ref,
        };
        let instance = self.instance(refs.clone(), reference.clone());
        let id = instance.id;
        let replaced = self.own_topic(&topic, instance);
        let after = replaced.map(|old| (old.id, old.wait()));
        let make_way = replaced.and_then(Instance::make_way);
        if after.is_some() {
            self.note_end(&topic, now);
        }
        effects.push(Effect::Start(Start {
            id,
            earlier_ended: self.past.of(&topic, now),
            topic,
            refs,
            reference,
            route,
            payload,
            after,
        }));
        effects.extend(make_way);
    }

    /// A join of this topic was told to end, or ended by itself, at that moment.
    fn note_end(&mut self, topic: &ByteString, at: Instant) {
        self.past.note(topic, at, self.limits.max_channels);
    }

    /// Which limit a join of this topic would break, and what the client is told.
    fn over_limit(&self, topic: &ByteString) -> Option<(Limit, Payload)> {
        let JoinLimits {
            max_channels,
            topic_bytes,
        } = self.limits;
        if topic.len() > topic_bytes {
            let bytes = topic.len();
            let told = format!("topic too long: {bytes} bytes, at most {topic_bytes} are allowed");
            return Some((Limit::TopicBytes, reason(&told)));
        }
        let is_full = self.topics.len() >= max_channels && self.topics.get(topic).is_none();
        is_full.then(|| (Limit::Channels, reason("too many channels joined")))
    }

    fn instance(&mut self, refs: JoinRefs, reference: Option<Field>) -> Instance {
        let id = InstanceId(self.next_id);
        self.next_id += 1;
        Instance {
            id,
            refs,
            phase: Phase::Joining {
                reference,
                leaving: false,
            },
        }
    }

    /// Makes `instance` the topic's owner. Returns the owner it took the place of.
    fn own_topic(&mut self, topic: &ByteString, instance: Instance) -> Option<&Instance> {
        if self.topics.get(topic).is_none() {
            let entry = Topic {
                current: instance,
                superseded: Vec::new(),
            };
            self.topics.insert(topic.clone(), entry);
            return None;
        }
        let entry = self.topics.get_mut(topic)?;
        let old = std::mem::replace(&mut entry.current, instance);
        entry.superseded.push(old);
        self.superseded += 1;
        entry.superseded.last()
    }

    fn leave<R>(
        &mut self,
        topic: &ByteString,
        message: ClientMessage,
        now: Instant,
        effects: &mut Vec<Effect<R>>,
    ) {
        let ClientMessage {
            join_ref,
            reference,
            topic: field,
            ..
        } = message;
        let Some(entry) = self.topics.get_mut(topic) else {
            return effects.push(Effect::Send(wire::ok(join_ref, reference, field)));
        };
        let instance = &mut entry.current;
        if is_stale(&join_ref, &instance.refs) {
            return;
        }
        match &mut instance.phase {
            Phase::Leaving => return,
            Phase::Joining { leaving, .. } => *leaving = true,
            phase @ Phase::Joined => *phase = Phase::Leaving,
        }
        effects.push(Effect::Deliver(
            instance.id,
            Request::Leave {
                join_ref,
                reference,
            },
        ));
        self.note_end(topic, now);
    }

    fn event<R>(&self, message: ClientMessage, effects: &mut Vec<Effect<R>>) {
        let ClientMessage {
            join_ref,
            reference,
            topic,
            event,
            payload,
        } = message;
        let entry = topic.as_text().and_then(|topic| self.topics.get(topic));
        let Some(entry) = entry else {
            let response = reason("unmatched topic");
            return effects.push(Effect::Send(wire::error(None, reference, topic, response)));
        };
        let instance = &entry.current;
        if is_stale(&join_ref, &instance.refs) || matches!(instance.phase, Phase::Leaving) {
            return;
        }
        let request = Request::Event {
            event,
            reference,
            payload,
        };
        effects.push(Effect::Deliver(instance.id, request));
    }

    /// The join that owns a topic, unless its client is leaving.
    pub(crate) fn owner(&self, topic: &str) -> Option<InstanceId> {
        let instance = &self.topics.get(topic)?.current;
        let is_leaving = matches!(
            instance.phase,
            Phase::Leaving | Phase::Joining { leaving: true, .. }
        );
        (!is_leaving).then_some(instance.id)
    }

    /// The topic of a join that is not over.
    pub(crate) fn topic(&self, id: InstanceId) -> Option<&ByteString> {
        let is_its = |entry: &Topic| entry.all().any(|instance| instance.id == id);
        let found = self.topics.iter().find(|(_, entry)| is_its(entry));
        found.map(|(topic, _)| topic)
    }

    /// What a push on a topic carries as its `join_ref`. `None` if the client has not been told that it joined, or is
    /// leaving.
    pub(crate) fn push_ref(&self, topic: &str) -> Option<Option<Field>> {
        let instance = &self.topics.get(topic)?.current;
        matches!(instance.phase, Phase::Joined).then(|| instance.refs.push.clone())
    }

    /// The channel's join was accepted, with this response.
    pub(crate) fn handle_joined<R>(
        &mut self,
        topic: &ByteString,
        id: InstanceId,
        response: Payload,
        effects: &mut Vec<Effect<R>>,
    ) {
        let Some(entry) = self.topics.get_mut(topic) else {
            return;
        };
        let Some(instance) = entry.unanswered(id) else {
            return;
        };
        let joined = instance.answer(topic, wire::OK, response);
        let make_way = instance.make_way();
        effects.push(Effect::Send(joined));
        if let Some(next) = entry.next(id) {
            effects.extend(make_way);
            effects.push(Effect::Hasten(next));
        }
        self.superseded -= entry.close_replaced(id, topic, effects);
    }

    /// The channel's join was refused or crashed, with this answer. `unread` is what waited in its inbox.
    pub(crate) fn handle_refused<R>(
        &mut self,
        topic: &ByteString,
        id: InstanceId,
        Refusal { response, is_final }: Refusal,
        unread: impl IntoIterator<Item = Request>,
        effects: &mut Vec<Effect<R>>,
    ) {
        let Some(entry) = self.topics.get_mut(topic) else {
            return;
        };
        let Some(instance) = entry.unanswered(id) else {
            return;
        };
        let refused = instance.answer(topic, wire::ERROR, response);
        effects.push(Effect::Send(refused));
        let is_superseded = entry.current.id != id;
        // A client that has joined anew meanwhile waits for that answer, and one of version 1 could not tell whose end this is.
        if is_final && !is_superseded {
            let refs = &entry.current.refs;
            effects.push(Effect::Send(ending(refs, topic, End::Close)));
        }
        if is_superseded {
            entry.superseded.retain(|instance| instance.id != id);
            self.superseded -= 1;
        }
        self.superseded -= entry.close_replaced(id, topic, effects);
        if !is_superseded {
            self.free(topic, effects);
        }
        effects.push(Effect::Forget(id));
        effects.extend(
            unread
                .into_iter()
                .map(|request| Effect::Send(miss(request, topic))),
        );
    }

    /// The channel has worked off a leave.
    pub(crate) fn handle_left<R>(
        &mut self,
        topic: &ByteString,
        id: InstanceId,
        reference: Option<Field>,
        effects: &mut Vec<Effect<R>>,
    ) {
        let Some(instance) = self.topics.get_mut(topic).and_then(|entry| entry.find(id)) else {
            return;
        };
        let push_ref = instance.refs.push.clone();
        effects.push(Effect::Send(wire::ok(
            push_ref,
            reference,
            Field::Text(topic.clone()),
        )));
        self.over(topic, id, End::Close, effects);
    }

    /// The channel ended at that moment, or a little later, for any reason but a leave or a refused join.
    pub(crate) fn handle_ended<R>(
        &mut self,
        topic: &ByteString,
        id: InstanceId,
        end: End,
        at: Instant,
        effects: &mut Vec<Effect<R>>,
    ) {
        // It may have ended before it was told to.
        self.note_end(topic, at);
        self.over(topic, id, end, effects);
    }

    fn over<R>(
        &mut self,
        topic: &ByteString,
        id: InstanceId,
        end: End,
        effects: &mut Vec<Effect<R>>,
    ) {
        let Some(entry) = self.topics.get_mut(topic) else {
            return;
        };
        let is_current = entry.current.id == id;
        let Some(instance) = entry.find(id) else {
            return;
        };
        if !instance.is_answered() {
            return self.handle_refused(topic, id, Refusal::crashed(), [], effects);
        }
        // The end of a superseded channel is told when the newer join is answered.
        if is_current {
            effects.push(Effect::Send(ending(&instance.refs, topic, end)));
            self.free(topic, effects);
            effects.push(Effect::Forget(id));
        }
    }

    /// The channel has taken nothing for too long: it ends where it stands. `unread` is what waits for it.
    pub(crate) fn handle_stalled<R>(
        &mut self,
        topic: &ByteString,
        id: InstanceId,
        unread: impl IntoIterator<Item = Request>,
        now: Instant,
        effects: &mut Vec<Effect<R>>,
    ) {
        let Some(instance) = self.topics.get_mut(topic).and_then(|entry| entry.find(id)) else {
            return;
        };
        let (effect, end) = match instance.phase {
            Phase::Joining { .. } => {
                effects.push(Effect::Abort(id));
                return self.handle_refused(topic, id, Refusal::crashed(), unread, effects);
            }
            Phase::Joined => (Effect::Abort(id), End::Error),
            Phase::Leaving => (Effect::Dismiss(id), End::Close),
        };
        effects.push(effect);
        let unread = unread.into_iter();
        effects.extend(unread.map(|request| Effect::Send(miss(request, topic))));
        self.handle_ended(topic, id, end, now, effects);
    }

    /// Frees a topic whose owner is over. No older join is left waiting for its answer.
    fn free<R>(&mut self, topic: &ByteString, effects: &mut Vec<Effect<R>>) {
        let Some(entry) = self.topics.remove(topic) else {
            return;
        };
        self.superseded -= entry.superseded.len();
        for mut instance in entry.superseded {
            let Refusal { response, .. } = Refusal::crashed();
            let refused = instance.answer(topic, wire::ERROR, response);
            effects.extend([Effect::Send(refused), Effect::Abort(instance.id)]);
        }
    }
}

/// A message without a `join_ref` is for whichever join there is.
fn is_stale(join_ref: &Option<Field>, refs: &JoinRefs) -> bool {
    join_ref.is_some() && *join_ref != refs.sent
}

/// The answer to a message whose topic is not a string, and so was never joined.
fn no_such_topic(message: ClientMessage) -> ServerMessage {
    let ClientMessage {
        join_ref,
        reference,
        topic,
        event,
        ..
    } = message;
    match event.as_text() {
        Some(wire::LEAVE) => wire::ok(join_ref, reference, topic),
        _ => wire::error(None, reference, topic, reason("unmatched topic")),
    }
}

/// The answer to a request that no channel will handle.
fn miss(request: Request, topic: &ByteString) -> ServerMessage {
    let topic = Field::Text(topic.clone());
    match request {
        Request::Event { reference, .. } => {
            wire::error(None, reference, topic, reason("unmatched topic"))
        }
        Request::Leave {
            join_ref,
            reference,
        } => wire::ok(join_ref, reference, topic),
    }
}

#[cfg(test)]
mod tests;
