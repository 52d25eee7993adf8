//! What two nodes say to each other, and when.
//!
//! A node dials another and opens the control stream. Both send a [`frame::Hello`], from which each reads what holds between the
//! two ([`terms::Terms`]: the version of the protocol, and what else both can do). The node with the larger name
//! answers `Welcome`, and the one with the smaller settles on the connection with `Accept`. From then on the connection is the
//! link between the two: each side opens one one-way stream per lane it uses ([`lane`]) and writes messages to it, and the
//! control stream carries heartbeats, addresses of other members, what the two routers tell each other, and the goodbye. A
//! connection is ended by QUIC's close with a code and a reason ([`close::Close`]).
//!
//! [`mesh`] decides who is linked with whom, [`traffic`] what goes over those links.
//!
//! Everything here is a value that is stepped; `driver` and `link` do what it says.
//!
//! Pure: no clock, no I/O, no tasks.

pub(crate) mod address;
pub(crate) mod admission;
pub(crate) mod close;
pub(crate) mod codec;
pub(crate) mod control;
mod cutter;
pub(crate) mod frame;
pub(crate) mod lane;
pub(crate) mod liveness;
pub(crate) mod mesh;
pub(crate) mod notice;
pub(crate) mod outbox;
pub(crate) mod peer;
pub(crate) mod terms;
pub(crate) mod traffic;
pub(crate) mod trouble;
