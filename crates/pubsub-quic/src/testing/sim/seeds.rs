//! Seeds that once found a fault, with what they found. A change of what is drawn makes other histories of them; they cost nothing to
//! keep.

/// See the module.
pub(super) const FOUND: &[u64] = &[
    // A late tick counted as silence what was heard within it.
    278,
    // An older life's connection, which had only said hello, was settled on after the newer life's.
    303, // Addresses of a later life were passed over as long as an earlier one was linked.
    113,
    169, // A node just back from a pause swore that a dead one lived, and its namesake left.
    107, // After a pause a node left for what was said of its dead namesake before.
    8058,
    // An address that was said to lead to a later life was dialled for ever, whoever answered there.
    3462,
];
