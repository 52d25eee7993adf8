//! Who is not let in, or lets this node not in: what is said of it, and what follows.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Instant;

use matryoshka_pubsub::Incarnation;
use matryoshka_pubsub::cluster::{Alive, Refusal, Renumbering, Step};

use super::super::close::Close;
use super::super::codec::OLDEST_PROTOCOL;
use super::super::frame::Hello;
use super::super::notice::Level;
use super::super::peer::{Certified, ConnectionId, Guest, Link, Stage};
use super::super::trouble::Trouble;
use super::{Effect, Mesh, MeshConfig};
use crate::tls::listed;

impl Mesh {
    pub(super) fn closed_by_peer(&mut self, now: Instant, link: &Link, close: &Close) {
        match close {
            Close::Older {
                incarnation,
                alive,
                address,
            } => {
                if let Some(dialled) = &link.dialled {
                    self.book.answered(dialled);
                }
                let refusal = Refusal {
                    newest: Incarnation(*incarnation),
                    alive: *alive,
                };
                self.refused(now, refusal, address);
            }
            Close::Myself => {
                if let Some(address) = &link.dialled {
                    self.book.is_myself(address, now);
                }
            }
            // Normal life: another connection, a restart, a namesake that will go by itself.
            Close::Duplicate | Close::Twin | Close::Renumbered | Close::Leaving => {}
            _ if link.stage == Stage::Up => {}
            close => {
                let text = format!(
                    "{} refuses this node: {close}{}",
                    link.label(),
                    cure(close, &self.config, &link.certified)
                );
                self.tell_refusal(&link.place(), text);
            }
        }
    }

    pub(super) fn failed(&mut self, link: &Link, text: &str) {
        let text = format!("no connection with {}: {text}", link.label());
        self.tell_once(&link.place(), Level::Warn, text);
    }

    pub(super) fn not_met(&mut self, link: &Link, trouble: &Trouble) {
        let text = format!("no connection with {}: {trouble}", link.label());
        self.tell_once_of(&link.place(), &trouble.kind, text);
    }

    pub(super) fn give_up_dialling(&mut self, id: ConnectionId) {
        let who = self.links.get(&id).map(Link::label).unwrap_or_default();
        // A node that was started again may have come by itself while this side still asked its earlier life.
        if !self.is_up_at(&who) {
            let text =
                format!("no answer from {who}: is the node running, and is UDP let through to it?");
            self.tell_once(&who, Level::Warn, text);
        }
        self.close(id, Close::TooSlow);
    }

    fn is_up_at(&self, address: &str) -> bool {
        let is_there = |guest: &Guest| guest.address == address;
        self.links
            .values()
            .any(|link| link.stage == Stage::Up && link.guest.as_ref().is_some_and(is_there))
    }

    /// Somebody knows a newer life under this node's name, at `address`.
    pub(super) fn refused(&mut self, now: Instant, refusal: Refusal, address: &str) {
        if self.left || self.renumber.is_some() {
            return;
        }
        let name = &self.config.name;
        match self.renumbering.handle_refusal(refusal, now) {
            Step::AskAgain => {
                let text = format!(
                    "refused: a newer node called {name} is known at {address}; asking again for {} s",
                    Renumbering::PATIENCE.as_secs()
                );
                self.tell_once(address, Level::Warn, text);
            }
            Step::Renumber(incarnation) => {
                let text = format!(
                    "the others know a newer life of this node that is gone: taking incarnation {incarnation} (did the clock go back?)"
                );
                self.tell(Level::Warn, text);
                self.renumber = Some(incarnation);
                self.close_where(|_| true, &Close::Renumbered);
                self.renumber_if_alone(now);
            }
            Step::Leave => self.leave_to_twin(address),
        }
    }

    /// The new number is taken between two sets of links: every peer sees an end, then a new life.
    pub(super) fn renumber_if_alone(&mut self, now: Instant) {
        if !self.links.is_empty() {
            return;
        }
        if let Some(incarnation) = self.renumber.take() {
            self.effects.push_back(Effect::Renumber(incarnation));
            self.book.retry_all(now, &mut self.rng);
        }
    }

    pub(super) fn leave_to_twin(&mut self, address: &str) {
        let text = format!(
            "this node leaves the cluster: a newer node with the same name {} is alive at {address}; give each node a name of its own and start this one again",
            self.config.name
        );
        self.left = true;
        self.close_where(|_| true, &Close::Leaving);
        self.tell(Level::Error, text.clone());
        self.effects.push_back(Effect::Left(text));
    }

    /// Closes, and says so in the log.
    pub(super) fn refuse(&mut self, id: ConnectionId, close: Close) {
        let who = self.links.get(&id).map(Link::label).unwrap_or_default();
        let text = format!(
            "refused {who}: {close}{}",
            cure(&close, &self.config, &self.certified(id))
        );
        self.tell_once(&self.place(id), Level::Warn, text);
        self.close(id, close);
    }

    pub(super) fn refuse_older(&mut self, id: ConnectionId, guest: &Guest, close: Close) {
        let what_to_do = match &close {
            Close::Older {
                alive: Alive::No, ..
            } => "; it will take a higher incarnation",
            _ => "; if both are alive, give each a name of its own",
        };
        let text = format!("refused {}: {close}{what_to_do}", guest.label());
        self.tell_once(&guest.address, Level::Warn, text);
        self.close(id, close);
    }

    /// As [`refuse`](Self::refuse), in words that speak of the other side.
    pub(super) fn refuse_hello(&mut self, id: ConnectionId, hello: &Hello, close: Close) {
        let who = self.links.get(&id).map(Link::label).unwrap_or_default();
        let why = match &close {
            Close::OtherCluster { .. } => format!(
                "it belongs to cluster {:?}, this node to {:?}: give both the same cluster name",
                hello.cluster, self.config.cluster
            ),
            Close::NameNotCertified => format!(
                "it says it is {:?}, but its certificate is for {}: let it use the name of its certificate{}",
                hello.name,
                listed(&self.certified(id).names),
                self.certified(id).in_words()
            ),
            Close::Version { .. } => format!(
                "it speaks protocol versions {} to {}, this node {OLDEST_PROTOCOL} to {}: upgrade the older one",
                hello.oldest,
                hello.protocol,
                self.config.offer.newest.version()
            ),
            close => close.to_string(),
        };
        self.tell_refusal(&self.place(id), format!("refused {who}: {why}"));
        self.close(id, close);
    }

    pub(super) fn place(&self, id: ConnectionId) -> String {
        self.links.get(&id).map(Link::place).unwrap_or_default()
    }

    fn certified(&self, id: ConnectionId) -> Certified {
        let link = self.links.get(&id);
        link.map(|link| link.certified.clone()).unwrap_or_default()
    }

    pub(super) fn own_address(&self) -> String {
        let advertised = self.config.advertise.as_ref();
        let own = advertised.or(self.config.own.first());
        own.cloned()
            .unwrap_or_else(|| "an address of its own".to_owned())
    }

    /// Both sides may find the same fault with each other, in either order: one line is enough.
    pub(super) fn tell_refusal(&mut self, place: &str, text: String) {
        if self.notices.is_news(place, "refusal") {
            self.tell(Level::Warn, text);
        }
    }
}

/// What the operator of the refused node can do about it.
fn cure(close: &Close, config: &MeshConfig, certified: &Certified) -> String {
    match close {
        Close::OtherCluster { .. } => format!(
            ", this node to {:?}: give both the same cluster name",
            config.cluster
        ),
        Close::NameNotCertified => format!(
            ": {:?} must be the name in this node's certificate{}",
            config.name.as_str(),
            certified.in_words()
        ),
        Close::Version { .. } => format!(
            ", this node {OLDEST_PROTOCOL} to {}: upgrade the older one",
            config.offer.newest.version()
        ),
        _ => String::new(),
    }
}
