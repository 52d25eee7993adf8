//! The flags of how a node goes: how fast, how long at most, and whether it comes back.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;

use crate::drain::Drain;
use crate::presence_topics::longest_grace;

/// How a node goes.
#[derive(Debug, Args)]
pub(crate) struct DrainFlags {
    /// Sockets closed per second when the node is told to stop
    #[arg(long, env = "MATRYOSHKA_DRAIN_RATE", value_name = "N", default_value = "1000", value_parser = drain_rate)]
    drain_rate: NonZeroU32,

    /// How long that may take; what is left then is closed at once, and the exit status is 1
    #[arg(long, env = "MATRYOSHKA_DRAIN_LIMIT", value_name = "SECONDS", default_value = "30", value_parser = drain_limit)]
    drain_limit: Seconds,

    /// Over 0: told to stop, the node announces a restart, and who was on its presence lists stays on all lists until they are back or
    /// this long after its end
    #[arg(long, env = "MATRYOSHKA_RESTART_GRACE", value_name = "SECONDS", default_value = "0", value_parser = restart_grace)]
    restart_grace: Seconds,
}

/// A time limit, written in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seconds(Duration);

impl DrainFlags {
    /// How to go.
    pub(crate) fn drain(&self) -> Drain {
        Drain {
            per_second: self.drain_rate,
            limit: self.drain_limit.0,
        }
    }

    /// How long those on this node's presence lists may take to come back after its end; nothing if it does not come back.
    pub(crate) fn restart_grace(&self) -> Option<Duration> {
        let Seconds(grace) = self.restart_grace;
        (!grace.is_zero()).then_some(grace)
    }
}

fn drain_rate(value: &str) -> Result<NonZeroU32, String> {
    value
        .parse()
        .map_err(|_| "it takes a whole number of sockets per second, at least 1".to_owned())
}

fn drain_limit(value: &str) -> Result<Seconds, String> {
    match value.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Seconds(Duration::from_secs(seconds))),
        _ => Err("it takes whole seconds, from 1 to 86400".to_owned()),
    }
}

fn restart_grace(value: &str) -> Result<Seconds, String> {
    let most = longest_grace();
    match value.parse().map(Duration::from_secs) {
        Ok(grace) if grace <= most => Ok(Seconds(grace)),
        _ => Err(format!(
            "it takes whole seconds, from 0 to {}",
            most.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{flags, refusal};

    #[test]
    fn a_drain_has_a_rate_and_a_limit() {
        let drain = flags(&[]).drain.drain();
        assert_eq!((drain.per_second.get(), drain.limit.as_secs()), (1_000, 30));
        for (flag, bad) in [
            ("--drain-rate", "0"),
            ("--drain-rate", "-1"),
            ("--drain-rate", "fast"),
            ("--restart-grace", "-1"),
            ("--restart-grace", "1201"),
            ("--drain-limit", "0"),
            ("--drain-limit", "1.5"),
        ] {
            let line = refusal(&[&format!("{flag}={bad}")]);
            assert!(line.contains(flag) && line.contains(bad), "{line}");
        }
    }
}
