//! All lines, who is at which place, and what waits to leave.
//!
//! Pure: no clock, no I/O, no tasks.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use crate::dice::Dice;
use crate::faults::Faults;
use crate::line::{Fate, Line};
use crate::tally::Tally;

/// One node's address as the others know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub(crate) usize);

/// A datagram that is to leave now, as it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Onward {
    /// From this place's socket: the speaker's.
    pub through: Place,
    /// To the node that is spoken to.
    pub to: SocketAddr,
}

/// A datagram that has waited and is to leave now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// Where it goes.
    pub onward: Onward,
    /// What it is.
    pub datagram: Vec<u8>,
}

/// Somebody else was taken for the node at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mistaken {
    /// Who was taken for it.
    pub taken: SocketAddr,
    /// Where it really is.
    pub real: SocketAddr,
}

/// See the module.
#[derive(Debug)]
pub struct Switch {
    seed: u64,
    /// The node at each place, once it is known.
    nodes: Vec<Option<SocketAddr>>,
    expected: Option<Place>,
    lines: BTreeMap<(Place, Place), Line>,
    everywhere: Faults,
    waiting: BinaryHeap<Reverse<Waiting>>,
    held: u64,
    strangers: u64,
}

#[derive(Debug)]
struct Waiting {
    at: Instant,
    /// Of two that leave at the same time, the one that was held first goes first.
    order: u64,
    from: Place,
    to: Place,
    number: u64,
    datagram: Vec<u8>,
}

impl Switch {
    /// No places yet; the chances of all lines come from this seed.
    pub fn new(seed: u64) -> Self {
        Switch {
            seed,
            nodes: Vec::new(),
            expected: None,
            lines: BTreeMap::new(),
            everywhere: Faults::NONE,
            waiting: BinaryHeap::new(),
            held: 0,
            strangers: 0,
        }
    }

    /// A further place, with lines to and from all earlier ones, on which is wrong what is wrong everywhere.
    pub fn add(&mut self) -> Place {
        let place = Place(self.nodes.len());
        self.nodes.push(None);
        for other in (0..place.0).map(Place) {
            for (from, to) in [(place, other), (other, place)] {
                let mut line = Line::new(seed_of(self.seed, from, to));
                line.set(self.everywhere);
                self.lines.insert((from, to), line);
            }
        }
        place
    }

    /// Whoever speaks next and is not known is the node at this place.
    pub fn expect(&mut self, place: Place) {
        self.expected = Some(place);
    }

    /// The node at this place is here.
    ///
    /// # Errors
    ///
    /// [`Mistaken`] if [`expect`](Self::expect) has taken somebody else for it; that is corrected then.
    pub fn settle(&mut self, place: Place, node: SocketAddr) -> Result<(), Mistaken> {
        if self.expected == Some(place) {
            self.expected = None;
        }
        match self.nodes[place.0].replace(node) {
            Some(taken) if taken != node => Err(Mistaken { taken, real: node }),
            _ => Ok(()),
        }
    }

    /// The line between two places, in this direction.
    ///
    /// # Panics
    ///
    /// If they are the same place.
    pub fn line(&mut self, from: Place, to: Place) -> &mut Line {
        self.lines
            .get_mut(&(from, to))
            .expect("two different places of this switch")
    }

    /// From now on this is wrong with all lines, later ones too.
    pub fn set_everywhere(&mut self, faults: Faults) {
        self.everywhere = faults;
        self.lines.values_mut().for_each(|line| line.set(faults));
    }

    /// A datagram came in at this place's socket. Gives where to send it at once, if it is not lost or held back.
    pub fn receive(
        &mut self,
        now: Instant,
        at: Place,
        source: SocketAddr,
        datagram: &[u8],
    ) -> Option<Onward> {
        let Some((from, node)) = self.speaker(source).zip(self.nodes[at.0]) else {
            self.strangers += 1;
            return None;
        };
        // A node that dials itself has no line; nothing is wrong between it and itself either.
        let Some(line) = self.lines.get_mut(&(from, at)) else {
            return Some(Onward {
                through: from,
                to: node,
            });
        };
        let others_wait = line.is_waiting();
        let Fate::Leaves {
            number,
            at: leaves,
            again,
        } = line.arrive(now, datagram.len())
        else {
            return None;
        };
        let at_once = leaves <= now && !others_wait && line.leave(number, datagram.len());
        for time in (!at_once).then_some(leaves).into_iter().chain(again) {
            self.hold(time, from, at, number, datagram.to_vec());
        }
        at_once.then_some(Onward {
            through: from,
            to: node,
        })
    }

    /// When something is to leave next.
    pub fn next_at(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse(first)| first.at)
    }

    /// The next that is to leave by now, in order.
    pub fn poll_departure(&mut self, now: Instant) -> Option<Departure> {
        while self.next_at().is_some_and(|at| at <= now) {
            let Reverse(first) = self.waiting.pop()?;
            let leaves = self
                .line(first.from, first.to)
                .leave(first.number, first.datagram.len());
            if let Some(to) = self.nodes[first.to.0].filter(|_| leaves) {
                let onward = Onward {
                    through: first.from,
                    to,
                };
                let datagram = first.datagram;
                return Some(Departure { onward, datagram });
            }
        }
        None
    }

    /// What became of everything on all lines.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.lines.values().for_each(|line| total += line.tally());
        total
    }

    /// Datagrams from somebody who is not known, or to a place where nobody is yet.
    pub fn strangers(&self) -> u64 {
        self.strangers
    }

    fn speaker(&mut self, source: SocketAddr) -> Option<Place> {
        let known = self.nodes.iter().position(|node| *node == Some(source));
        if let Some(index) = known {
            return Some(Place(index));
        }
        let expected = self.expected.take()?;
        self.nodes[expected.0] = Some(source);
        Some(expected)
    }

    fn hold(&mut self, at: Instant, from: Place, to: Place, number: u64, datagram: Vec<u8>) {
        self.held += 1;
        self.waiting.push(Reverse(Waiting {
            at,
            order: self.held,
            from,
            to,
            number,
            datagram,
        }));
    }
}

/// A line's chances are its own: how many datagrams pass on others changes nothing.
fn seed_of(seed: u64, from: Place, to: Place) -> u64 {
    let pair = ((from.0 as u64) << 32) | to.0 as u64;
    Dice::new(seed ^ Dice::new(pair).roll()).roll()
}

impl Waiting {
    fn key(&self) -> (Instant, u64) {
        (self.at, self.order)
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl fmt::Display for Mistaken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mistaken { taken, real } = self;
        write!(out, "{taken} was taken for the node that is at {real}")
    }
}

impl std::error::Error for Mistaken {}

#[cfg(test)]
mod tests;
