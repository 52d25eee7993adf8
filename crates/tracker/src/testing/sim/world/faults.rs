//! What befalls the ways between nodes, and their clocks.

use super::super::network::SILENCE;
use super::*;

impl World {
    pub(super) fn partition(&mut self, node: Index) {
        let other = self.random.below(self.nodes.len());
        if other != node {
            self.report.count("partition");
            self.part(node, other);
        }
    }

    /// From now on these two cannot reach each other.
    pub(super) fn part(&mut self, a: Index, b: Index) {
        self.network.block(a, b);
        self.cut(a, b);
    }

    /// Ends the connection of two nodes.
    pub(super) fn cut(&mut self, a: Index, b: Index) {
        let ends = [a, b].map(|node| (node, self.nodes[node].rate));
        self.network.cut(ends, self.now, &mut self.random);
    }

    pub(super) fn break_link(&mut self, node: Index) {
        let other = self.random.below(self.nodes.len());
        if self.network.connection(node, other).is_some() {
            self.report.count("link broken");
            self.cut(node, other);
        }
    }

    pub(super) fn heal_all(&mut self) {
        for a in 0..self.nodes.len() {
            for b in 0..a {
                self.heal(a, b);
            }
        }
        self.connect_all();
    }

    pub(super) fn connect_all(&mut self) {
        for a in 0..self.nodes.len() {
            for b in 0..a {
                let alive = [a, b].iter().all(|node| {
                    let node = &self.nodes[*node];
                    let open = node.running.is_some() && node.goodbye.is_none();
                    open && node.paused_until <= self.now
                });
                if alive && self.network.can_connect(a, b) {
                    let ends = [a, b].map(|node| (node, self.nodes[node].incarnation));
                    let when = (self.now, self.step);
                    self.network
                        .connect(ends[0], ends[1], when, &mut self.random);
                }
            }
        }
    }

    /// Nothing more comes from another node, which goes on hearing this one, until this one gives the link up and says so: what was
    /// under way is lost then. As long as one way is cut no link comes up. If it works again in time, all was only late.
    pub(super) fn deafen(&mut self, node: Index) {
        let other = self.random.below(self.nodes.len());
        // The last heartbeat was a while ago.
        let silence = self.nodes[node].rate.takes(SILENCE);
        let until = self.now + silence - self.random.millis(700);
        if other != node && self.network.silence(other, node, until) {
            self.truth.delayed(self.now, until);
            self.report.count("partition, one-sided");
            let running = self.nodes[node].running.as_ref();
            if running.is_some_and(|running| running.shard.asks_for(&self.names[other]).is_some()) {
                self.report.count("held set on its way, its way was cut");
            }
        }
    }

    /// Who heard nothing for too long gives the link up.
    pub(super) fn give_up(&mut self) {
        while let Some((from, to)) = self.network.verdict(self.now) {
            let lost = self.network.waiting(from, to) as u64;
            self.report.add_to("message lost, its way was cut", lost);
            self.report
                .count("partition, one-sided: the deaf side gave up first");
            self.network.give_up((from, to), self.now, &mut self.random);
        }
    }

    /// Two cannot reach each other, and a third hears both.
    pub(super) fn part_beside_third(&mut self, node: Index) {
        let count = self.nodes.len();
        let other = (node + 1 + self.random.below(count - 1)) % count;
        let third = self.random.below(count);
        if third == node || third == other {
            return;
        }
        self.part(node, other);
        self.heal(node, third);
        self.heal(third, other);
        self.connect_all();
        let time = self.random.millis(2_000);
        self.pass(time);
        let hears = |at: Index, whom: Index| {
            let running = self.nodes[at].running.as_ref();
            running.is_some_and(|running| {
                let shown = running.shard.shown_life(&self.names[whom]);
                running.links.contains_key(&whom) && shown.is_some()
            })
        };
        let both = |at: Index| hears(at, node) && hears(at, other);
        if both(third) && hears(node, third) && hears(other, third) {
            let deaf = !hears(node, other) && !hears(other, node);
            if deaf {
                self.report.count("partition that is not transitive");
            }
        }
    }

    fn heal(&mut self, a: Index, b: Index) {
        for (from, to) in [(a, b), (b, a)] {
            if self.network.is_silent(from, to) {
                self.report.count("partition, one-sided: healed in time");
                let late = self.network.waiting(from, to) as u64;
                self.report.add_to("message late, its way was cut", late);
            }
        }
        self.network.unblock(a, b);
    }

    /// What a node's wall clock says, in microseconds.
    pub(super) fn clock(&self, node: Index) -> u64 {
        let passed = self.nodes[node].rate.shows(self.now);
        let micros = (1 << 50) + passed.as_micros() as u64;
        micros.saturating_add_signed(self.nodes[node].clock)
    }

    /// What it says as a tracker starts, which takes longer than a microsecond: no two of one process start at the same time.
    pub(super) fn start_time(&mut self, node: Index) -> u64 {
        let incarnation = self.nodes[node].life.incarnation;
        loop {
            let started = self.clock(node);
            let life = Life {
                incarnation,
                started,
            };
            if !self.generations.contains_key(&(node, life)) {
                return started;
            }
            self.nodes[node].clock += 1;
        }
    }

    /// Somebody sets a node's wall clock, by anything up to months.
    pub(super) fn jump_clock(&mut self, node: Index) {
        let digits = self.random.below(44) as u32;
        let by = (self.random.below(1 << 20) as i64) << (digits.saturating_sub(20));
        let by = if self.random.one_in(2) { by } else { -by };
        self.set_clock(node, by);
    }

    /// Sets a wall clock forward or back. No two are further apart than a tracker believes that a clock may be wrong.
    pub(super) fn set_clock(&mut self, node: Index, by: i64) {
        let clock = &mut self.nodes[node].clock;
        let before = *clock;
        *clock = clock.saturating_add(by).clamp(-CLOCK_ERROR, CLOCK_ERROR);
        match (*clock).cmp(&before) {
            Ordering::Greater => self.report.count("clock set forward"),
            Ordering::Less => self.report.count("clock set back"),
            Ordering::Equal => {}
        }
    }
}

/// So far off may a wall clock be: 170 days of microseconds.
const CLOCK_ERROR: i64 = 170 * 24 * 60 * 60 * 1_000_000;
