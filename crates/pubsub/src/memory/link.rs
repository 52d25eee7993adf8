//! One direction of a link between two nodes of a [`MemoryMesh`](super::MemoryMesh).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use super::lock;
#[cfg(feature = "test-util")]
use super::wire::{Arrival, Content, Wire};
use crate::cluster::{Member, MemberEvent};
use crate::{Envelope, Inbound, Origin};

/// Messages that wait while the two ends of a new link are introduced. Beyond, the newest are dropped and told to the sender.
const WAITING_MESSAGES: usize = 1_024;

pub(super) struct Link {
    /// How the receiver sees the sender.
    origin: Arc<Origin>,
    inbound: Inbound,
    /// The innermost lock of a mesh. Nothing is delivered, told or dropped inside.
    gate: Mutex<Gate>,
}

enum Gate {
    /// The ends are being introduced: what is sent waits.
    Shut(VecDeque<Envelope>),
    Open,
    /// What is sent stays under way.
    #[cfg(feature = "test-util")]
    Held(Wire),
    Closed,
}

/// What became of a message sent.
pub(super) enum Taken {
    Yes,
    Full,
    Closed,
}

impl Link {
    pub(super) fn new(origin: Arc<Origin>, inbound: Inbound) -> Self {
        Self {
            origin,
            inbound,
            gate: Mutex::new(Gate::Shut(VecDeque::new())),
        }
    }

    /// The sender as a member that is up.
    pub(super) fn sender(&self) -> Member {
        let Origin {
            node,
            incarnation,
            link,
        } = &*self.origin;
        Member::up(node.clone(), *incarnation, *link)
    }

    pub(super) fn send(&self, envelope: &Envelope) -> Taken {
        match &mut *self.gate() {
            Gate::Closed => return Taken::Closed,
            Gate::Shut(waiting) if waiting.len() >= WAITING_MESSAGES => return Taken::Full,
            Gate::Shut(waiting) => {
                waiting.push_back(envelope.clone());
                return Taken::Yes;
            }
            #[cfg(feature = "test-util")]
            Gate::Held(wire) => {
                return match wire.send(envelope.clone()) {
                    true => Taken::Yes,
                    false => Taken::Full,
                };
            }
            Gate::Open => {}
        }
        self.deliver(envelope.clone());
        Taken::Yes
    }

    fn deliver(&self, envelope: Envelope) {
        let Envelope {
            topic,
            kind,
            payload,
            ..
        } = envelope;
        self.inbound.deliver(&self.origin, topic, kind, payload);
    }

    /// Tells the receiver that the sender is up.
    pub(super) fn introduce(&self) {
        self.tell(MemberEvent::Up(self.sender()));
    }

    /// Tells the receiver something of the sender.
    pub(super) fn tell(&self, event: MemberEvent) {
        self.inbound.member(event);
    }

    /// Delivers what waited, in order, and from then on at once.
    pub(super) fn open(&self) {
        while let Some(waiting) = self.take_waiting() {
            waiting
                .into_iter()
                .for_each(|envelope| self.deliver(envelope));
        }
    }

    /// What waits; `None`, and the gate is open, if nothing does.
    fn take_waiting(&self) -> Option<VecDeque<Envelope>> {
        let mut gate = self.gate();
        match &mut *gate {
            Gate::Shut(waiting) if !waiting.is_empty() => Some(std::mem::take(waiting)),
            Gate::Shut(_) => {
                *gate = Gate::Open;
                None
            }
            _ => None,
        }
    }

    /// Nothing goes through any more, and what was inside is lost.
    pub(super) fn close(&self) {
        let inside = std::mem::replace(&mut *self.gate(), Gate::Closed);
        drop(inside);
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        lock(&self.gate)
    }
}

#[cfg(feature = "test-util")]
impl Link {
    pub(super) fn hold(&self) {
        let mut gate = self.gate();
        if matches!(*gate, Gate::Open) {
            *gate = Gate::Held(Wire::default());
        }
    }

    pub(super) fn release(&self) {
        while let Some(arrival) = self.take_held() {
            self.hand_on(arrival);
        }
    }

    /// What is under way; `None`, and the gate is open, if nothing is.
    fn take_held(&self) -> Option<Arrival> {
        let mut gate = self.gate();
        let Gate::Held(wire) = &mut *gate else {
            return None;
        };
        let arrival = wire.carry_all();
        if arrival.is_empty() {
            *gate = Gate::Open;
            return None;
        }
        Some(arrival)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.on_wire(|wire| wire.in_flight())
    }

    pub(super) fn carry(&self, index: usize) {
        let arrival = self.on_wire(|wire| wire.carry(index));
        self.hand_on(arrival);
    }

    pub(super) fn duplicate(&self, index: usize) {
        self.on_wire(|wire| wire.duplicate(index));
    }

    pub(super) fn lose(&self, index: usize) {
        let lost = self.on_wire(|wire| wire.lose(index));
        drop(lost);
    }

    fn on_wire<R: Default>(&self, act: impl FnOnce(&mut Wire) -> R) -> R {
        match &mut *self.gate() {
            Gate::Held(wire) => act(wire),
            _ => R::default(),
        }
    }

    fn hand_on(&self, arrival: Arrival) {
        for content in arrival.in_turn {
            match content {
                Content::Message(envelope) => self.deliver(envelope),
                Content::Gap(lost) => self.tell(MemberEvent::Gap {
                    node: self.origin.node.clone(),
                    link: self.origin.link,
                    lost,
                }),
            }
        }
    }
}
