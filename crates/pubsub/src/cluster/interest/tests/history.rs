//! A history: random steps, then rest, then judgement.

use std::time::Duration;

use super::pipe::End;
use super::watch;
use super::world::{Kept, World, id};
use crate::cluster::interest::To;

/// Random steps of a history.
const STEPS: usize = 500;
/// Rounds of rest, each long enough for a heartbeat; all together much longer than a linger and three repairs.
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(700);

impl World {
    /// Plays all of it.
    pub(super) fn play(&mut self) -> Kept {
        for node in 1..self.setup.nodes {
            if self.random.chance(70) {
                let other = self.random.below(node);
                self.connect(node, other);
            }
        }
        for step in 0..STEPS {
            self.step()?;
            if step % 16 == 0 {
                watch::at_any_time(self)?;
            }
        }
        self.finish()
    }

    /// Lets everything come to rest, and judges.
    pub(super) fn finish(&mut self) -> Kept {
        self.come_to_rest()?;
        watch::at_rest(self)
    }

    fn step(&mut self) -> Kept {
        let node = self.random.below(self.setup.nodes);
        let topic = self.random.below(self.setup.topics);
        match self.random.below(1_000) {
            0..220 => self.publish_something(node),
            220..290 => self.subscribe(node, topic),
            290..360 => self.unsubscribe(node, topic),
            360..400 => self.follow_hint(node),
            400..700 => return self.read_something(),
            700..890 => self.write_something(),
            890..925 => {
                let time = self.random.pick(&[1, 40, 120, 600]);
                self.pass(Duration::from_millis(time));
            }
            925..945 => self.heartbeat(node),
            945..955 => self.nodes[node].registry.let_late_edges_in(),
            _ => self.change_links(),
        }
        Ok(())
    }

    fn publish_something(&mut self, node: usize) {
        let topic = self.random.below(self.setup.topics + 1);
        let lane = self.random.below(self.setup.lanes);
        let bytes = match self.random.below(40) {
            0 => self.setup.config.ring_bytes.min(5_000),
            _ => self.random.below(100),
        };
        let links: Vec<_> = self.nodes[node].current.values().copied().collect();
        let to = match links.is_empty() || self.random.chance(85) {
            true => To::All,
            false => To::Link(id(self.random.pick(&links))),
        };
        self.publish(node, topic, lane, bytes, to);
    }

    fn read_something(&mut self) -> Kept {
        let Some((link, side)) = self.some_end() else {
            return Ok(());
        };
        for _ in 0..=self.random.below(3) {
            match self.random.below(3) {
                0 => self.read_control(link, side, true),
                1 if self.random.chance(50) => self.read_heard(link, side),
                _ => {
                    let lane = self.random.below(self.setup.lanes + 1);
                    self.read_lane(link, side, lane)?;
                }
            }
        }
        Ok(())
    }

    fn write_something(&mut self) {
        if let Some((link, side)) = self.some_end() {
            self.write_control(link, side, true);
        }
    }

    /// Connects, lets ends come up, breaks links at one end, lets the other end notice, and restarts nodes.
    fn change_links(&mut self) {
        let calm = if self.setup.restless { 1 } else { 5 };
        match self.random.below(10) {
            0 => {
                let node = self.random.below(self.setup.nodes);
                let other = self.random.below(self.setup.nodes);
                let linked = self.nodes[node].current.contains_key(&other);
                if node != other && (!linked || self.random.below(4 * calm) == 0) {
                    self.connect(node, other);
                }
            }
            1 if self.random.below(2 * calm) == 0 => {
                if let Some((link, side)) = self.some_end() {
                    self.pipes[link].broken = true;
                    self.end_down(link, side);
                }
            }
            2 if self.random.below(6 * calm) == 0 => {
                let node = self.random.below(self.setup.nodes);
                self.restart(node);
            }
            3 | 4 => self.notice_down(),
            _ => self.let_one_up(),
        }
    }

    fn let_one_up(&mut self) {
        let coming = self.ends(|own, other| own == End::Coming && other != End::Down);
        if !coming.is_empty() {
            let (link, side) = self.random.pick(&coming);
            self.end_up(link, side);
        }
    }

    fn notice_down(&mut self) {
        let gone = self.ends(|own, other| own != End::Down && other == End::Down);
        if !gone.is_empty() {
            let (link, side) = self.random.pick(&gone);
            self.end_down(link, side);
        }
    }

    /// All that is under way arrives, what is broken is noticed, and time passes.
    pub(super) fn come_to_rest(&mut self) -> Kept {
        for (link, side) in self.ends(|own, _| own == End::Coming) {
            self.end_up(link, side);
        }
        for (link, side) in self.ends(|own, other| own != End::Down && other == End::Down) {
            self.end_down(link, side);
        }
        for _ in 0..ROUNDS {
            self.pass(ROUND);
            for node in 0..self.nodes.len() {
                self.nodes[node].registry.let_late_edges_in();
                self.follow_hint(node);
                self.heartbeat(node);
            }
            self.settle()?;
        }
        Ok(())
    }

    pub(super) fn settle(&mut self) -> Kept {
        // Enough for a sync of one topic a frame, a lost frame's repair, and an answer to each position.
        for _ in 0..20 {
            for (link, side) in self.ends(|own, _| own == End::Up) {
                for _ in 0..3 {
                    self.write_control(link, side, false);
                }
                for lane in 0..=self.setup.lanes {
                    while !self.pipes[link].ways[side].lanes[lane].is_empty()
                        && self.pipes[link].is_live()
                    {
                        self.read_lane(link, side, lane)?;
                    }
                }
                for _ in 0..3 {
                    self.read_control(link, side, false);
                    self.read_heard(link, side);
                }
            }
        }
        Ok(())
    }

    fn some_end(&mut self) -> Option<(usize, usize)> {
        let up = self.ends(|own, _| own == End::Up);
        (!up.is_empty()).then(|| self.random.pick(&up))
    }

    fn ends(&self, which: impl Fn(End, End) -> bool) -> Vec<(usize, usize)> {
        let pipes = self.pipes.iter().enumerate();
        let ends = pipes.flat_map(|(link, pipe)| {
            let which = &which;
            [0, 1]
                .into_iter()
                .filter(move |side| which(pipe.ends[*side], pipe.ends[1 - side]))
                .map(move |side| (link, side))
        });
        ends.collect()
    }
}
