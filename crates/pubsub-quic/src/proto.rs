//! What two nodes say to each other, and when.
//!
//! A node dials another and opens the control stream. Both send [`frame::Hello`]; the node with the larger name
//! answers [`frame::Welcome`], and the one with the smaller settles on the connection with [`frame::Accept`]. From then on the connection is the link between the two: each
//! side opens one one-way stream per lane it uses, begins it with [`frame::Lane`] and writes messages to it, and
//! the control stream carries heartbeats, addresses of other members and the goodbye. A connection is ended by
//! QUIC's close with a code and a reason ([`close::Close`]).
//!
//! Everything here is a value that is stepped; `driver` and `link` do what it says.
//!
//! Pure: no clock, no I/O, no tasks.

pub(crate) mod address;
pub(crate) mod close;
pub(crate) mod frame;
pub(crate) mod liveness;
pub(crate) mod mesh;
pub(crate) mod notice;
pub(crate) mod peer;
pub(crate) mod trouble;
