//! What every adapter needs to know of a cluster, and none should write again: who is in it, which life of a node counts, and
//! what a node need not be sent.
//!
//! Pure: no clock, no I/O, no tasks.

mod incarnation;
pub mod interest;
mod member;
mod member_table;

pub use incarnation::{Acceptance, Alive, Refusal, Renumbering, Step, accept};
pub use member::{Member, MemberEvent, MemberState};
pub use member_table::MemberTable;
