//! For tests, measurements and fuzzing of this crate. Nothing here is promised to stay.

mod bare;
pub mod fuzz;
pub mod sim;

pub use bare::{BareQuic, HEARTBEAT_EVERY, head_of_message, heartbeat, udp_bytes_sent};
