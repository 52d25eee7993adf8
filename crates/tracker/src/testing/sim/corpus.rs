//! Seeds that found something once. All of them are replayed by the tests, for ever.
//!
//! Pure: no clock, no I/O, no tasks.

use super::Plan;

/// Each seed with its plan. Of announced restarts: a node that speaks over the link of its former life (79), one that is
/// heard though it was thought to be over (47, 207), its own set under a former number (1038), values that were updated
/// where another node did not see it (270, 2137).
pub const CORPUS: &[(u64, Plan)] = &[
    (47, of(5)),
    (79, of(5)),
    (207, of(5)),
    (270, of(4)),
    (1038, of(4)),
    (2063, of(5)),
    (2137, of(3)),
    (2834, of(4)),
    (4571, of(5)),
    (6448, of(2)),
    (8838, of(4)),
    (12606, of(4)),
    (13781, of(3)),
    (25162, of(4)),
    (99162, of(4)),
];

const fn of(nodes: usize) -> Plan {
    Plan { nodes, steps: 200 }
}
