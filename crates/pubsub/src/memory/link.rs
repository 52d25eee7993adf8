//! One direction of a link between two nodes of a [`MemoryMesh`](super::MemoryMesh).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use super::lock;
use crate::cluster::{Member, MemberEvent};
use crate::{Envelope, Inbound, Origin};

/// Messages that wait while the two ends of a new link are introduced. Beyond, the newest are dropped and told to the sender.
const WAITING_MESSAGES: usize = 1_024;

pub(super) struct Link {
    /// How the receiver sees the sender.
    origin: Arc<Origin>,
    inbound: Inbound,
    gate: Mutex<Gate>,
}

enum Gate {
    /// The ends are being introduced: what is sent waits.
    Shut(VecDeque<Envelope>),
    Open,
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
            Gate::Open | Gate::Closed => None,
        }
    }

    pub(super) fn close(&self) {
        *self.gate() = Gate::Closed;
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        lock(&self.gate)
    }
}
