//! What every adapter needs to know of a cluster, and none should write again: who is in it, and which life of a node counts.
//!
//! Pure: no clock, no I/O, no tasks.

mod incarnation;
pub mod interest;
mod member;

pub use incarnation::{Acceptance, Alive, Refusal, Renumbering, Step, accept};
pub use member::{Member, MemberEvent, MemberState, MemberTable};
