//! The other nodes: their states, what happens to them, and the table of both.
//! Pure: no clock, no I/O, no tasks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Incarnation, LinkId, NodeName};

/// Another node, as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub node: NodeName,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Our connection to it: the current one, or the last.
    pub link: LinkId,
    /// How it is.
    pub state: MemberState,
}

impl Member {
    /// A member that is up.
    pub fn up(node: NodeName, incarnation: Incarnation, link: LinkId) -> Self {
        Self {
            node,
            incarnation,
            link,
            state: MemberState::Up,
        }
    }
}

/// How a member is. Its text form is the lower-case word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// There is a link, and it is heard.
    Up,
    /// There is a link, but nothing was heard for a while. It may recover.
    Suspect,
    /// There is no link any more.
    Down,
    /// There is a link; the node said that it goes for good.
    Leaving,
    /// There is a link; the node said that it goes and means to be back.
    Restarting,
}

impl MemberState {
    /// Whether there is a link: messages come and go.
    pub fn is_linked(self) -> bool {
        self != Self::Down
    }
}

/// What happens to members. The events of one member come in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberEvent {
    /// A link to this member is up: every publish from now on goes there. With the link it had: it was suspect, and recovered.
    Up(Member),
    /// Nothing was heard from it for a while.
    Suspect(Member),
    /// Its link is gone, and nothing more comes over that link.
    Down(Member),
    /// It said that it goes for good.
    Leaving(Member),
    /// It said that it goes, and that the others shall wait for it so long.
    Restarting(Member, Duration),
    /// It was down for so long that it is no member any more.
    Forgotten(NodeName),
    /// Messages from it to this node were lost on a link that lives.
    Gap {
        /// Who sent them.
        node: NodeName,
        /// The link that lost them.
        link: LinkId,
        /// How many.
        lost: u64,
    },
    /// This node itself has a higher incarnation from now on.
    Renumbered(Incarnation),
}

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
        // A node that was forgotten in between may have begun anew with anything.
        let outlived = |old: &Member| match other.get(&old.node) {
            Some(new) => {
                let revived = new.link == old.link && !old.state.is_linked();
                let older = new.link < old.link || new.incarnation < old.incarnation;
                older || (revived && new.state.is_linked())
            }
            None => true,
        };
        let known = self.rows.values().map(|row| &row.member);
        let gone = known.filter(|old| outlived(old));
        let gone = gone.map(|old| MemberEvent::Forgotten(old.node.clone()));
        let ended = |new: &Member| self.get(&new.node).unwrap_or(new).clone();
        let changed = other
            .rows
            .iter()
            .filter(|(node, row)| self.rows.get(*node) != Some(row));
        let told = changed.flat_map(|(_, row)| match row.member.state {
            MemberState::Down => vec![MemberEvent::Down(ended(&row.member))],
            _ => introduce(row).collect(),
        });
        let events = gone.chain(told);
        events.flat_map(|event| scratch.handle(event)).collect()
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
