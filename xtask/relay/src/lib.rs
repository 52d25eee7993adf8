//! A faulty network between nodes on one machine.
//!
//! Every node gets a [`Place`]: a UDP address that the others take for the node's own. The node advertises it, and is
//! told of the others only by theirs, so that all they say to each other passes through the [`Relay`], where it can be
//! lost, late, doubled, out of order or cut, in each direction of each pair for itself. A node dials from the socket on
//! which it listens, so the relay knows by the source address who speaks, and sends on from the speaker's own place:
//! to both sides it is as if they had met there.
//!
//! What happens to a datagram is decided by values without clock or sockets ([`Switch`], and [`Line`] for one
//! direction of one pair), from a seed: whoever has another driver, or none, can use them alone.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use matryoshka_relay::{Fate, Faults, Line};
//!
//! let mut line = Line::new(7);
//! line.set(Faults { delay: Duration::from_millis(200), ..Faults::NONE });
//! line.drop_next(1, 0);
//! let now = Instant::now();
//! assert_eq!(line.arrive(now, 100), Fate::Lost);
//! let Fate::Leaves { at, .. } = line.arrive(now, 100) else { panic!("only one was to be dropped") };
//! assert_eq!(at, now + Duration::from_millis(200));
//! ```

mod dice;
mod faults;
mod line;
mod relay;
mod switch;
mod tally;

pub use dice::Dice;
pub use faults::Faults;
pub use line::{Fate, Line, MAX_BEHIND, MAX_WAITING, MAX_WAITING_BYTES};
pub use relay::{MAX_PLACES, Relay};
pub use switch::{Departure, Mistaken, Onward, Place, Switch};
pub use tally::Tally;
