//! Whether nodes forget: how far each sees the others, from input to input.

use super::*;

impl World {
    /// Those are no longer heard who were before.
    pub(super) fn note_who_is_lost(&mut self, before: &[Seen], after: &[Seen]) {
        for (other, (before, after)) in before.iter().zip(after).enumerate() {
            let generation = |seen: &Seen| self.generations.get(&(other, seen.heard()?)).copied();
            if let Some(was) = generation(before)
                && generation(after) != Some(was)
            {
                self.truth.lost_sight((other, was), self.now);
            }
        }
    }

    /// I4: an input never lowers what a node knows of another, and a copy is only dropped for a reason.
    pub(super) fn know(
        &mut self,
        (node, running): (Index, &Running),
        before: &[Seen],
        after: &[Seen],
    ) {
        for (other, (before, after)) in before.iter().zip(after).enumerate() {
            if before.link.is_some() && after.link.is_none() {
                self.unlinked.insert((node, other), self.now);
            }
            let Some(had) = before.copy else { continue };
            let what = match after.copy {
                None if !running.members.knows(&self.names[other]) => {
                    "copy dropped: its node was forgotten"
                }
                None => self.why_dropped((node, running), other, had),
                Some(has) if has.life > had.life => "copy of a later life",
                Some(has) => {
                    let kept = has.life == had.life && has.seq >= had.seq;
                    assert!(kept, "I4: {has:?} of n{other} at n{node} after {had:?}");
                    if has.seq == had.seq {
                        continue;
                    }
                    "copy moved on"
                }
            };
            self.report.count(what);
        }
    }

    fn why_dropped(
        &self,
        (node, running): (Index, &Running),
        other: Index,
        had: Position,
    ) -> &'static str {
        let of = &self.nodes[other];
        let runs = of.running.is_some() && of.goodbye != Some(Goodbye::Leaving);
        let present = self.generations.get(&(other, had.life)) == Some(&of.generation);
        if !(runs && present) {
            return "copy dropped: its tracker is over";
        }
        if of.draining.is_some() {
            return "copy dropped: its tracker announced a restart";
        }
        let unlinked = self.unlinked.get(&(node, other));
        let absent = unlinked.is_some_and(|since| {
            let until = running.clock(*since) + self.settings.permdown_period;
            until <= running.clock(self.now)
        });
        assert!(
            absent,
            "I4: n{node} dropped {had:?} of n{other}, which is alive"
        );
        "copy dropped: away for the permdown period"
    }
}
