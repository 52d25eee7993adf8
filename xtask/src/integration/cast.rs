//! Who is on stage in the scenarios of faults: on every node one user in a room, whom every list has to show or not,
//! and one voice. And a ledger of which links have to have broken, so that one too many is noticed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::failure::{Outcome, fail};
use crate::integration::client::COMES_WITHIN;
use crate::integration::people::Places;
use crate::integration::stage::Stage;
use crate::integration::voices::{Account, Voices};
use crate::integration::witness;

/// See the module.
pub(crate) struct Cast {
    pub(crate) room: String,
    pub(crate) voices: Voices,
    /// Which life of each node this is, from 1.
    lives: Vec<u32>,
    /// How often the node at the first index must have lost its link to the second, in its present life.
    breaks: BTreeMap<(usize, usize), usize>,
}

impl Cast {
    /// For a stage without nodes.
    pub(crate) fn new(name: &str) -> Self {
        Cast {
            room: format!("room:{name}"),
            voices: Voices::new(&format!("lab:{name}")),
            lives: Vec::new(),
            breaks: BTreeMap::new(),
        }
    }

    /// Starts this many nodes behind the relay, and everybody enters.
    pub(crate) fn raise(name: &str, stage: &mut Stage, size: usize) -> Outcome<Self> {
        Cast::new(name).raised(stage, size)
    }

    /// The same for a cast of which something is special.
    pub(crate) fn raised(self, stage: &mut Stage, size: usize) -> Outcome<Self> {
        let mut cast = self;
        stage.raise_relayed(size)?;
        for node in 0..size {
            cast.enter(stage, node)?;
        }
        cast.all_here(stage)?;
        Ok(cast)
    }

    /// The user and the voice of this node's present life enter.
    pub(crate) fn enter(&mut self, stage: &mut Stage, node: usize) -> Outcome {
        if node == self.lives.len() {
            self.lives.push(1);
        }
        stage.enter(node, &self.user(node), &self.room)?;
        self.voices.join(stage, node).map(drop)
    }

    /// SIGKILL; the others lose their links to it. Gives the moment.
    pub(crate) fn kill(&mut self, stage: &mut Stage, node: usize) -> Outcome<Instant> {
        self.bereave(stage, node);
        self.break_once(&stage.others(node), &[node]);
        let killed = Instant::now();
        stage.nodes[node].kill()?;
        Ok(killed)
    }

    /// Waits until the lists of the others show nobody of this node; gives how long after `since` that was.
    pub(crate) fn noticed(
        &self,
        stage: &mut Stage,
        node: usize,
        since: Instant,
        within: Duration,
    ) -> Outcome<Duration> {
        let others = stage.others(node);
        stage.lists_become(&self.room, &self.users(&others), &others, since, within)
    }

    /// Waits until a node that was just started again has met the others; then its user and its voice enter.
    pub(crate) fn welcome(&mut self, stage: &mut Stage, node: usize) -> Outcome {
        stage.nodes[node].ready()?;
        stage.met()?;
        self.enter(stage, node)?;
        self.all_here(stage)
    }

    /// This node's life is over, or is about to be: its clients are no more, and the next ones have other names.
    pub(crate) fn bereave(&mut self, stage: &mut Stage, node: usize) {
        let gone = self.voices.on(&[node]);
        self.voices.gone(&gone);
        stage.clients[node].clear();
        self.lives[node] += 1;
        self.breaks.retain(|(at, _), _| *at != node);
    }

    /// The user of a node's present life.
    pub(crate) fn user(&self, node: usize) -> String {
        format!("u{}-{}", node + 1, self.lives[node])
    }

    /// The users of these nodes, each in one place.
    pub(crate) fn users(&self, nodes: &[usize]) -> Places {
        nodes.iter().map(|node| (self.user(*node), 1)).collect()
    }

    /// Waits until every list shows everybody.
    pub(crate) fn all_here(&self, stage: &mut Stage) -> Outcome {
        self.whole(stage, Instant::now(), COMES_WITHIN).map(drop)
    }

    /// The same within a time; gives how long after `began` it was so.
    pub(crate) fn whole(
        &self,
        stage: &mut Stage,
        began: Instant,
        within: Duration,
    ) -> Outcome<Duration> {
        let all: Vec<usize> = (0..stage.nodes.len()).collect();
        stage.lists_become(&self.room, &self.users(&all), &all, began, within)
    }

    /// Each of these nodes is to lose its link to each of those, once.
    pub(crate) fn break_once(&mut self, at: &[usize], of: &[usize]) {
        for (at, of) in at.iter().flat_map(|at| of.iter().map(move |of| (*at, *of))) {
            *self.breaks.entry((at, of)).or_default() += 1;
        }
    }

    /// Fails if any node that lives has lost a link more often, or less often, than it had to.
    pub(crate) fn check_breaks(&self, stage: &Stage) -> Outcome {
        for (at, node) in stage.nodes.iter().enumerate() {
            for of in stage.others(at) {
                let peer = &stage.nodes[of].name;
                let wanted = self.breaks.get(&(at, of)).copied().unwrap_or_default();
                let lost = witness::downs(&node.log, peer)?;
                if lost != wanted {
                    fail!(
                        "{} lost its link to {peer} {lost} times, and had reason to {wanted} times; its log is {}",
                        node.name,
                        node.log.display()
                    );
                }
            }
        }
        Ok(())
    }

    /// Waits for the last words and judges everything: see [`Voices::judge`]. No link may have broken without reason.
    pub(crate) fn judge(&mut self, stage: &mut Stage) -> Outcome<Account> {
        self.voices.settle(stage, COMES_WITHIN)?;
        self.check_breaks(stage)?;
        self.voices.judge(stage)
    }
}
