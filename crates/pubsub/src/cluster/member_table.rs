//! The other nodes as told by a stream of events.
//! Pure: no clock, no I/O, no tasks.

use std::collections::BTreeMap;
use std::time::Duration;

use super::member::{Member, MemberEvent, MemberState};
use crate::{LinkId, NodeName};

/// The members as told by a stream of events.
///
/// It also guards the stream: stale and repeated events have no effect, and what an event leaves out is put in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberTable {
    rows: BTreeMap<NodeName, Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    member: Member,
    /// Of a restarting member: what it asked for.
    grace: Duration,
}

impl MemberTable {
    /// A table without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// All members, by name; those that are down too, until they are forgotten.
    pub fn now(&self) -> Vec<Member> {
        self.rows.values().map(|row| row.member.clone()).collect()
    }

    /// One member.
    pub fn get(&self, node: &NodeName) -> Option<&Member> {
        self.rows.get(node).map(|row| &row.member)
    }

    /// Whether that link is the one over which messages of that node come now.
    pub fn is_current(&self, node: &NodeName, link: LinkId) -> bool {
        self.get(node)
            .is_some_and(|member| member.link == link && member.state.is_linked())
    }

    /// Takes an event in, and returns what is news: nothing of a stale or repeated event; for the `Up` of a new link while
    /// the old one was not down, first the old one's `Down`.
    ///
    /// Only the current link of a member can become anything but up, and what is down comes back with a higher link only.
    pub fn handle(&mut self, event: MemberEvent) -> Vec<MemberEvent> {
        match event {
            MemberEvent::Up(member) => self.handle_up(member),
            MemberEvent::Forgotten(node) => self.handle_forgotten(node),
            MemberEvent::Suspect(member) => {
                self.handle_change(member, MemberState::Suspect, Duration::ZERO)
            }
            MemberEvent::Down(member) => {
                self.handle_change(member, MemberState::Down, Duration::ZERO)
            }
            MemberEvent::Leaving(member) => {
                self.handle_change(member, MemberState::Leaving, Duration::ZERO)
            }
            MemberEvent::Restarting(member, grace) => {
                self.handle_change(member, MemberState::Restarting, grace)
            }
            MemberEvent::Gap { ref node, link, .. } if !self.is_current(node, link) => Vec::new(),
            MemberEvent::Gap { .. } | MemberEvent::Renumbered(_) => vec![event],
        }
    }

    fn handle_up(&mut self, member: Member) -> Vec<MemberEvent> {
        let member = Member {
            state: MemberState::Up,
            ..member
        };
        let mut news = Vec::new();
        if let Some(Row { member: old, .. }) = self.rows.get(&member.node) {
            let stale = member.link < old.link || member.incarnation < old.incarnation;
            let recovered = member.link == old.link && old.state == MemberState::Suspect;
            if stale || (member.link == old.link && !recovered) {
                return news;
            }
            if !recovered && old.state.is_linked() {
                news.push(state_event(old, MemberState::Down, Duration::ZERO));
            }
        }
        let grace = Duration::ZERO;
        let row = Row {
            member: member.clone(),
            grace,
        };
        self.rows.insert(member.node.clone(), row);
        news.push(MemberEvent::Up(member));
        news
    }

    fn handle_change(
        &mut self,
        member: Member,
        state: MemberState,
        grace: Duration,
    ) -> Vec<MemberEvent> {
        let Some(row) = self.rows.get_mut(&member.node) else {
            return Vec::new();
        };
        let allowed = match row.member.state {
            MemberState::Up => true,
            MemberState::Suspect => state != MemberState::Suspect,
            MemberState::Leaving | MemberState::Restarting => state == MemberState::Down,
            MemberState::Down => false,
        };
        if member.link != row.member.link || !allowed {
            return Vec::new();
        }
        row.member.state = state;
        row.grace = grace;
        vec![state_event(&row.member, state, grace)]
    }

    fn handle_forgotten(&mut self, node: NodeName) -> Vec<MemberEvent> {
        let Some(Row { member, .. }) = self.rows.remove(&node) else {
            return Vec::new();
        };
        let down = state_event(&member, MemberState::Down, Duration::ZERO);
        let missing = member.state.is_linked().then_some(down);
        missing
            .into_iter()
            .chain([MemberEvent::Forgotten(node)])
            .collect()
    }

    /// The events that tell a newcomer what stands here: `Up` for each member with a link, then how it is if not simply up.
    pub fn introduce(&self) -> Vec<MemberEvent> {
        let linked = self
            .rows
            .values()
            .filter(|row| row.member.state.is_linked());
        linked.flat_map(introduce).collect()
    }

    /// The events that make of this table `other`, which is later: for who missed some. They do not mention gaps, nor what
    /// came and went.
    pub fn changes_to(&self, other: &MemberTable) -> Vec<MemberEvent> {
        let mut scratch = self.clone();
        let known = self.rows.values().map(|row| &row.member);
        let forgotten = known.filter(|old| !other.follows(old));
        let forgotten = forgotten.map(|old| MemberEvent::Forgotten(old.node.clone()));
        let rows = other.rows.iter();
        let changed = rows.filter(|(node, row)| self.rows.get(*node) != Some(row));
        let told = changed.flat_map(|(_, row)| self.lead_to(row));
        let events = forgotten.chain(told);
        events.flat_map(|event| scratch.handle(event)).collect()
    }

    /// Whether what stands here can have come of `old`. If not, its node was forgotten in between, after which it may begin
    /// anew with anything.
    fn follows(&self, old: &Member) -> bool {
        let Some(new) = self.get(&old.node) else {
            return false;
        };
        let is_older = new.link < old.link || new.incarnation < old.incarnation;
        let is_revived = new.link == old.link && !old.state.is_linked() && new.state.is_linked();
        !(is_older || is_revived)
    }

    /// What leads from here to that row.
    fn lead_to(&self, row: &Row) -> Vec<MemberEvent> {
        if row.member.state.is_linked() {
            return introduce(row).collect();
        }
        // Only the link that is known here can go down. One that came and went is not told.
        let known = self.get(&row.member.node);
        let down = known.cloned().map(MemberEvent::Down);
        down.into_iter().collect()
    }
}

/// What leads from no knowledge of a member to its row.
fn introduce(row: &Row) -> impl Iterator<Item = MemberEvent> + use<> {
    let up = MemberEvent::Up(Member {
        state: MemberState::Up,
        ..row.member.clone()
    });
    let state = row.member.state;
    let then = (state != MemberState::Up).then(|| state_event(&row.member, state, row.grace));
    [Some(up), then].into_iter().flatten()
}

fn state_event(member: &Member, state: MemberState, grace: Duration) -> MemberEvent {
    let member = Member {
        state,
        ..member.clone()
    };
    match state {
        MemberState::Up => MemberEvent::Up(member),
        MemberState::Suspect => MemberEvent::Suspect(member),
        MemberState::Down => MemberEvent::Down(member),
        MemberState::Leaving => MemberEvent::Leaving(member),
        MemberState::Restarting => MemberEvent::Restarting(member, grace),
    }
}

#[cfg(test)]
mod tests;
