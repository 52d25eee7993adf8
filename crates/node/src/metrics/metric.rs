//! A row of a table of metrics.

/// A metric: its name, what it means, and its value in a snapshot. They stand together here, once.
pub(super) struct Metric<T, N = u64> {
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) value: fn(&T) -> N,
}

pub(super) enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
}

pub(super) const fn counter<T, N>(
    name: &'static str,
    help: &'static str,
    value: fn(&T) -> N,
) -> Metric<T, N> {
    let kind = Kind::Counter;
    Metric {
        kind,
        name,
        help,
        value,
    }
}

pub(super) const fn gauge<T, N>(
    name: &'static str,
    help: &'static str,
    value: fn(&T) -> N,
) -> Metric<T, N> {
    let kind = Kind::Gauge;
    Metric {
        kind,
        name,
        help,
        value,
    }
}
