//! What a node hears that another one has no right to say, and what that may change.

use super::*;

impl World {
    /// A node hears from another one what that has no right to say.
    pub(super) fn hear_lie(&mut self, node: Index, liar: Index, lie: &Message) {
        self.lied_to = true;
        self.hear(node, liar, &lie.encode());
        self.running(node).shard.assert_consistent();
    }

    /// What was taken for true may show only when time has passed, or a link is new.
    pub(super) fn break_and_heal(&mut self, links: [(Index, Index); 2]) {
        for (a, b) in links {
            self.cut(a, b);
        }
        self.pass(SETTLING);
        self.heal_all();
        self.pass(SETTLING);
    }

    /// What a node lists of those that tell the truth.
    pub(super) fn list_without(
        &self,
        node: Index,
        liar: Index,
    ) -> BTreeMap<PresenceRef, Arc<Entry>> {
        let mut list = self.list(node);
        list.retain(|_, entry| entry.node != self.names[liar]);
        list
    }
}
