//! Which run of a tracker wrote something: the incarnation of its node, and when on that node it was started.
//!
//! Pure: no clock, no I/O, no tasks.

use serde::{Deserialize, Serialize};

/// One life of a tracker on a node. The higher one of a node is the later one.
///
/// The node's incarnation leads, so whatever the cluster decided between two nodes of one name also decides here.
/// `started` tells two trackers apart that ran one after the other within one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Life {
    /// The node's incarnation.
    #[serde(rename = "i")]
    pub(crate) incarnation: u64,
    /// Microseconds of wall clock when this tracker was started. Compared, and read as a time only to refuse what no clock says.
    #[serde(rename = "s")]
    pub(crate) started: u64,
}

impl Life {
    /// Below or equal to every life of that incarnation.
    pub(crate) fn first_of(incarnation: u64) -> Self {
        Self {
            incarnation,
            started: 0,
        }
    }

    /// Above or equal to every life of that incarnation.
    pub(crate) fn last_of(incarnation: u64) -> Self {
        Self {
            incarnation,
            started: u64::MAX,
        }
    }

    /// A life above this one for the tracker that has the life `own`, if numbers are left. Two trackers of one node that are
    /// told the same take different ones, or the later one would be taken for the earlier.
    pub(crate) fn above(self, own: Self) -> Option<Self> {
        let step = 1 + own.started % SPREAD;
        let started = self.started.checked_add(step)?;
        Some(Self { started, ..self })
    }

    /// The next life of the same incarnation, if numbers are left.
    pub(crate) fn next(self) -> Option<Self> {
        let started = self.started.checked_add(1)?;
        Some(Self { started, ..self })
    }
}

/// A second of microseconds, about: so far above what it was told a tracker's next number is at most.
const SPREAD: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i20_two_trackers_of_one_node_that_are_told_the_same_number_take_different_ones_above_it() {
        let told = Life {
            incarnation: 3,
            started: 1_000,
        };
        let own = |started| Life {
            incarnation: 3,
            started,
        };
        let taken = [7, 8, 1_000, SPREAD - 1].map(|started| told.above(own(started)).unwrap());
        for (index, one) in taken.iter().enumerate() {
            assert!(
                *one > told && one.started <= told.started + SPREAD,
                "{one:?}"
            );
            assert!(!taken[..index].contains(one), "{taken:?}");
        }
        let last = Life::last_of(3);
        assert_eq!((last.above(own(7)), last.next()), (None, None));
    }
}
