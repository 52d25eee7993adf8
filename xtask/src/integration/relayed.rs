//! A stage on which every link between nodes goes through the relay: nodes know each other only by its places.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use matryoshka_relay::{Faults, Place, Relay};

use crate::failure::{Explain, Outcome, fail};
use crate::integration::client::HEARTBEAT_EVERY;
use crate::integration::stage::{Stage, any_port};
use crate::node::NodeFlags;

impl Stage<'_> {
    /// Starts nodes n1, n2, ... behind the relay and waits until they have met.
    pub(crate) fn raise_relayed(&mut self, size: usize) -> Outcome {
        for _ in 0..size {
            self.add_relayed(&[])?;
        }
        self.met()
    }

    /// Starts the next node behind the relay, with these flags too, and waits until it is ready.
    pub(crate) fn add_relayed(&mut self, more: &[&str]) -> Outcome {
        let place = self.new_place()?;
        self.places.push(place);
        let mut flags = self.relayed_flags(self.nodes.len(), Some(any_port()))?;
        // The first of them is enough: of the others it hears from there.
        flags.join.truncate(1);
        flags
            .more
            .extend(more.iter().map(|flag| (*flag).to_owned()));
        // Nobody else is starting, so whoever speaks now and is not known is this node.
        self.relay().expect(place);
        let mut node = self.start(&flags)?;
        node.ready()?;
        self.settle(place, node.quic)?;
        self.nodes.push(node);
        self.clients.push(Vec::new());
        Ok(())
    }

    /// Starts a new node of the same name while the old one may still be there: at another address, as on another
    /// machine. `replaced` has to follow; the old one is waited for at the end.
    pub(crate) fn replace(&mut self, index: usize) -> Outcome {
        let place = self.new_place()?;
        self.places[index] = place;
        let flags = self.relayed_flags(index, Some(any_port()))?;
        self.relay().expect(place);
        let node = self.start(&flags)?;
        let old = std::mem::replace(&mut self.nodes[index], node);
        self.leaving.push(old);
        Ok(())
    }

    /// Waits until the node that replaces another is ready.
    pub(crate) fn replaced(&mut self, index: usize) -> Outcome {
        self.nodes[index].ready()?;
        self.settle(self.places[index], self.nodes[index].quic)
    }

    /// Flags of the node at this index: it advertises its place, and joins the places of all others.
    pub(crate) fn relayed_flags(
        &self,
        index: usize,
        quic: Option<SocketAddr>,
    ) -> Outcome<NodeFlags> {
        let address = |place: Place| self.relay().address(place).explain("asking for a place");
        let others = self.others(index).into_iter();
        let join: Outcome<Vec<SocketAddr>> =
            others.map(|other| address(self.places[other])).collect();
        let name = match self.nodes.get(index) {
            Some(node) => node.name.clone(),
            None => format!("n{}", index + 1),
        };
        let mut flags = self.flags(&name);
        let advertised = address(self.places[index])?.to_string();
        flags.more.extend(["--advertise".to_owned(), advertised]);
        Ok(NodeFlags {
            quic,
            join: join?,
            ..flags
        })
    }

    /// The relay of a stage that was raised behind one.
    ///
    /// # Panics
    ///
    /// If it was not.
    pub(crate) fn relay(&self) -> &Relay {
        self.relay
            .as_ref()
            .expect("a stage raised behind the relay")
    }

    /// From now on this is wrong between two groups of nodes, both ways.
    pub(crate) fn between(&self, some: &[usize], others: &[usize], faults: Faults) {
        let places = |group: &[usize]| -> Vec<Place> {
            group.iter().map(|index| self.places[*index]).collect()
        };
        self.relay()
            .set_between(&places(some), &places(others), faults);
    }

    /// From now on this is wrong with what one node sends to another.
    pub(crate) fn one_way(&self, from: usize, to: usize, faults: Faults) {
        self.relay().set(self.places[from], self.places[to], faults);
    }

    /// Leaves everything as it is for a stated time; no client is closed for its silence meanwhile.
    pub(crate) fn hold(&mut self, time: Duration) -> Outcome {
        let until = Instant::now() + time;
        loop {
            for client in self.clients.iter_mut().flatten() {
                client.stay()?;
            }
            let left = until.saturating_duration_since(Instant::now());
            self.pause(left.min(HEARTBEAT_EVERY))?;
            if left <= HEARTBEAT_EVERY {
                return Ok(());
            }
        }
    }

    fn new_place(&mut self) -> Outcome<Place> {
        if self.relay.is_none() {
            let relay = Relay::start(self.dice.roll()).explain("starting the relay")?;
            self.relay = Some(relay);
        }
        let relay = self.relay.as_mut().expect("it was just started");
        relay.add().explain("giving a node its place on the relay")
    }

    fn settle(&self, place: Place, node: Option<SocketAddr>) -> Outcome {
        let Some(node) = node else {
            fail!("a node that was given a cluster address says it has none");
        };
        self.relay()
            .settle(place, node)
            .explain("giving a node its place on the relay")
    }
}
