//! Another node: its state, and what happens to it.
//! Pure: no clock, no I/O, no tasks.

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
