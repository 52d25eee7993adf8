//! What `GET /metrics` says of what clients are told of who is here.

use matryoshka_presence::Stats;

use super::metric::{Metric, counter};

pub(super) const LISTS: &[Metric<Stats>] = &[
    counter(
        "presence_diffs",
        "presence_diff broadcasts to this node's clients",
        |s| s.diffs,
    ),
    counter(
        "presence_counts",
        "presence_count broadcasts to this node's clients",
        |s| s.counts,
    ),
    counter("presence_states", "presence_state pushes", |s| s.states),
    counter(
        "presence_lists_written",
        "Lists written for those pushes, each shared by clients that join at about the same time",
        |s| s.lists_written,
    ),
    counter(
        "presence_entries_compared",
        "Entries of lists looked at to find out what changed",
        |s| s.entries_compared,
    ),
    counter(
        "presence_resyncs",
        "Times that single diffs were lost and lists compared instead",
        |s| s.resyncs,
    ),
    counter(
        "presence_fetches_failed",
        "Fetches that failed, panicked or took too long",
        |s| s.fetches_failed,
    ),
    counter("presence_fetches_panicked", "Fetches that panicked", |s| {
        s.fetches_panicked
    }),
    counter(
        "presence_fetches_too_long",
        "Fetches dropped at their time limit",
        |s| s.fetches_too_long,
    ),
    counter(
        "presence_fetches_not_begun",
        "Fetches that never began, since too many were under way or waiting",
        |s| s.fetches_not_begun,
    ),
    counter(
        "presence_fetched_unasked",
        "Keys for which a fetch gave data that it was not asked for",
        |s| s.fetched_unasked,
    ),
    counter(
        "presence_fetched_unfit",
        "Keys whose fetched data were left out, since they were no JSON object or too large",
        |s| s.fetched_unfit,
    ),
    counter(
        "presence_handler_panics",
        "Calls of a handler of metas that panicked",
        |s| s.handler_panics,
    ),
];
