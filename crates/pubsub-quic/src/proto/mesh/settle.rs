//! From a hello to the one link between two nodes.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Instant;

use matryoshka_pubsub::cluster::{Alive, Member, MemberEvent, MemberState, Refusal};
use matryoshka_pubsub::{LinkId, NodeName, Origin};

use super::super::close::Close;
use super::super::frame::{Frame, Hello, MAX_ADDRESSES, MemberAddress};
use super::super::liveness::{HEARTBEAT, SUSPECT_AFTER};
use super::super::notice::Level;
use super::super::peer::{ConnectionId, Guest, Link, Peer, Stage, check_hello};
use super::{Effect, MAX_PEERS, Mesh, REINTRODUCE_EVERY};

impl Mesh {
    pub(super) fn handle_hello(&mut self, now: Instant, id: ConnectionId, hello: Hello) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let Some(remote) = link.remote else { return };
        let guest = match check_hello(&hello, &self.config, &link.certified.names, remote) {
            Ok(guest) => guest,
            Err(close) => return self.refuse_hello(id, &hello, close),
        };
        if guest.name == self.config.name {
            return self.meet_namesake(now, id, guest);
        }
        if !self.peers.contains_key(&guest.name) && self.peers.len() >= MAX_PEERS {
            return self.refuse_hello(id, &hello, Close::Full);
        }
        self.receive(now, id, guest);
    }

    /// A node that says this node's name: itself, or a twin.
    pub(super) fn meet_namesake(&mut self, now: Instant, id: ConnectionId, guest: Guest) {
        if guest.instance == self.config.instance {
            let dialled = self.links.get(&id).and_then(|link| link.dialled.clone());
            if let Some(address) = dialled {
                self.book.is_myself(&address, now);
            }
            return self.close(id, Close::Myself);
        }
        if guest.life() < (self.renumbering.own(), self.config.instance) {
            let address = self.own_address();
            let text = format!(
                "another node called {} is at {}; it is the older one and has to go: give every node a name of its own",
                guest.name, guest.address
            );
            self.tell_once(&guest.address, Level::Warn, text);
            let incarnation = self.renumbering.own().0;
            return self.close(
                id,
                Close::Older {
                    incarnation,
                    alive: Alive::Yes,
                    address,
                },
            );
        }
        self.close(id, Close::Twin);
        let refusal = Refusal {
            newest: guest.incarnation,
            alive: Alive::Yes,
        };
        self.refused(now, refusal, &guest.address);
    }

    /// A proper guest: newer, older or the same life as the one known.
    pub(super) fn receive(&mut self, now: Instant, id: ConnectionId, guest: Guest) {
        if let Some(address) = self.links.get(&id).and_then(|link| link.dialled.as_ref()) {
            self.book.led_to(address, &guest.name, guest.incarnation);
        }
        if let Some(close) = self.older_than_known(now, &guest) {
            return self.refuse_older(id, &guest, close);
        }
        self.supersede(&guest);
        let name = guest.name.clone();
        if let Some(link) = self.links.get_mut(&id) {
            link.guest = Some(guest);
            link.stage = Stage::Waiting;
        }
        if !self.settles_with(&name) {
            let frame = Frame::Welcome;
            self.effects.push_back(Effect::Send {
                connection: id,
                frame,
            });
        }
    }

    /// What to say to a guest of whom a later life is known: one that is or was linked, or one that only said hello so far.
    fn older_than_known(&self, now: Instant, guest: &Guest) -> Option<Close> {
        let known = self.peers.get(&guest.name);
        let known = known.map(|peer| (&peer.guest, self.is_alive(now, peer)));
        let open = self.links.values().filter(|link| link.is_open());
        let greeted = open.filter_map(|link| link.guest.as_ref());
        let greeted = greeted.filter(|other| other.name == guest.name);
        let greeted = greeted.map(|other| (other, Alive::Unsure));
        let (newest, alive) = greeted.chain(known).max_by_key(|(other, _)| other.life())?;
        (newest.life() > guest.life()).then(|| Close::Older {
            incarnation: newest.incarnation.0,
            alive,
            address: newest.address.clone(),
        })
    }

    fn is_alive(&self, now: Instant, peer: &Peer) -> Alive {
        let link = peer.link.and_then(|link| self.links.get(&link));
        match link {
            // Not by its state: after a pause of this node a peer may be long dead and not even suspected.
            Some(link) if link.stage == Stage::Up && now < link.heard_at + SUSPECT_AFTER => {
                Alive::Yes
            }
            Some(_) => Alive::Unsure,
            None if now < peer.may_return_until => Alive::Unsure,
            None => Alive::No,
        }
    }

    /// Ends all connections of earlier lives of `guest`, and remembers the new one.
    pub(super) fn supersede(&mut self, guest: &Guest) {
        let close = Close::Older {
            incarnation: guest.incarnation.0,
            alive: Alive::Yes,
            address: guest.address.clone(),
        };
        let earlier = |link: &Link| {
            link.guest
                .as_ref()
                .is_some_and(|other| other.name == guest.name && other.life() < guest.life())
        };
        self.close_where(earlier, &close);
        if let Some(peer) = self.peers.get_mut(&guest.name) {
            peer.guest.instance = guest.instance;
            peer.guest.incarnation = guest.incarnation;
            peer.next = None;
        }
    }

    /// Whether this node says which connection to `name` is kept.
    pub(super) fn settles_with(&self, name: &NodeName) -> bool {
        self.config.name < *name
    }

    /// The other side has nothing against this node; the first such connection is kept.
    pub(super) fn handle_welcome(&mut self, now: Instant, id: ConnectionId) {
        let guest = self.links.get(&id).and_then(|link| link.guest.as_ref());
        let Some(name) = guest.map(|guest| guest.name.clone()) else {
            return;
        };
        if !self.settles_with(&name) {
            let text = "welcome from the node with the smaller name".to_owned();
            return self.refuse(id, Close::Protocol { text });
        }
        let taken = self.peers.get(&name).is_some_and(|peer| {
            let alive = |link: &Link| link.stage == Stage::Up;
            peer.next.is_some()
                || peer
                    .link
                    .and_then(|link| self.links.get(&link))
                    .is_some_and(alive)
        });
        if taken {
            self.close(id, Close::Duplicate);
        } else {
            self.settle(now, id, &name);
        }
    }

    /// The other side has settled on this connection, so it has seen the end of any earlier one.
    pub(super) fn handle_accept(&mut self, now: Instant, id: ConnectionId) {
        let guest = self.links.get(&id).and_then(|link| link.guest.clone());
        let Some(guest) = guest else { return };
        if self.settles_with(&guest.name) {
            let text = "accept from the node with the larger name".to_owned();
            return self.refuse(id, Close::Protocol { text });
        }
        let earlier = self
            .peers
            .get(&guest.name)
            .map(|peer| (peer.link, peer.next));
        let (link, next) = earlier.unwrap_or_default();
        for earlier in [link, next].into_iter().flatten() {
            self.close(earlier, Close::Duplicate);
        }
        self.settle(now, id, &guest.name);
    }

    /// This connection is the one. It becomes the link as soon as an earlier one has ended.
    pub(super) fn settle(&mut self, now: Instant, id: ConnectionId, name: &NodeName) {
        match self.peers.get_mut(name) {
            Some(peer) if peer.link.is_some() => peer.next = Some(id),
            _ => self.promote(now, id),
        }
    }

    pub(super) fn promote(&mut self, now: Instant, id: ConnectionId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let Some(guest) = link.guest.clone() else {
            return;
        };
        if link.stage != Stage::Waiting {
            return;
        }
        self.last_link += 1;
        let number = LinkId(self.last_link);
        link.stage = Stage::Up;
        link.number = Some(number);
        link.heartbeat_at = now + HEARTBEAT;
        link.heard_at = now;
        let member = Member::up(guest.name.clone(), guest.incarnation, number);
        let place = link.place();
        let dialled = link.dialled.clone();
        let incarnation = guest.incarnation;
        self.book.met(
            (&guest.name, incarnation),
            &guest.address,
            dialled.as_deref(),
            now,
        );
        let machine = link.remote.map(|remote| remote.ip().to_string());
        let places = [Some(place), dialled, Some(guest.address.clone()), machine];
        for place in places.into_iter().flatten() {
            self.notices.settle(&place);
        }
        let name = guest.name.clone();
        let origin = Origin {
            node: name.clone(),
            incarnation: guest.incarnation,
            link: number,
        };
        let peer = Peer {
            guest,
            state: MemberState::Up,
            link: Some(id),
            next: None,
            gone_since: now,
            may_return_until: now,
        };
        let event = MemberEvent::Up(member);
        let text = format!("{name} is up, at {}", peer.guest.address);
        self.peers.insert(name.clone(), peer);
        if self.settles_with(&name) {
            let frame = Frame::Accept;
            self.effects.push_back(Effect::Send {
                connection: id,
                frame,
            });
        }
        self.effects.push_back(Effect::Up {
            connection: id,
            origin,
            event,
        });
        self.tell(Level::Info, text);
        self.introduce(id, &name);
    }

    /// Tells the new link of all others, and all others of the new link.
    pub(super) fn introduce(&mut self, id: ConnectionId, name: &NodeName) {
        self.tell_of_all_but(id, name);
        let newcomer: Vec<MemberAddress> =
            self.peers.get(name).map(address_of).into_iter().collect();
        for link in self.up_links() {
            if link != id {
                self.tell_addresses(link, newcomer.clone());
            }
        }
    }

    /// Tells the next link in turn of all others, if it is time to.
    pub(super) fn reintroduce(&mut self, now: Instant) {
        if now < self.reintroduce_at {
            return;
        }
        self.reintroduce_at = now + REINTRODUCE_EVERY;
        let up = self.up_links();
        let later = up.iter().find(|id| Some(**id) > self.reintroduced);
        let Some(id) = later.or(up.first()).copied() else {
            return;
        };
        self.reintroduced = Some(id);
        let guest = self.links.get(&id).and_then(|link| link.guest.as_ref());
        if let Some(name) = guest.map(|guest| guest.name.clone()) {
            self.tell_of_all_but(id, &name);
        }
    }

    fn tell_of_all_but(&mut self, id: ConnectionId, name: &NodeName) {
        let linked = self.peers.values().filter(|peer| peer.link.is_some());
        let others: Vec<MemberAddress> = linked
            .filter(|peer| peer.guest.name != *name)
            .map(address_of)
            .collect();
        for members in others.chunks(MAX_ADDRESSES) {
            self.tell_addresses(id, members.to_vec());
        }
    }

    fn tell_addresses(&mut self, connection: ConnectionId, members: Vec<MemberAddress>) {
        let frame = Frame::Addresses(members);
        self.effects.push_back(Effect::Send { connection, frame });
    }
}

fn address_of(peer: &Peer) -> MemberAddress {
    MemberAddress {
        name: peer.guest.name.to_string(),
        incarnation: peer.guest.incarnation.0,
        address: peer.guest.address.clone(),
    }
}
