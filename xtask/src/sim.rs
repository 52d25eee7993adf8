//! `sim`: histories of pure cores, played from seeds until one breaks a promise or somebody has seen enough.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::{Outcome, fail};
use crate::flags::SimFlags;
use crate::signals::StopRequests;
use crate::workspace::Workspace;

/// The programs that play; each says itself how far it is and how to replay what it found.
const LINK: Player = Player {
    package: "matryoshka-pubsub-quic",
    example: "simulate",
    least_nodes: 3,
};
const TRACKER: Player = Player {
    package: "matryoshka-tracker",
    example: "sim",
    least_nodes: 2,
};

struct Player {
    package: &'static str,
    example: &'static str,
    least_nodes: u8,
}

impl Player {
    fn command(&self) -> [&'static str; 10] {
        [
            "run",
            "--quiet",
            "--release",
            "--package",
            self.package,
            "--features",
            "test-util",
            "--example",
            self.example,
            "--",
        ]
    }
}

pub(crate) fn run(flags: &SimFlags) -> Outcome {
    let player = if flags.link { LINK } else { TRACKER };
    if flags.nodes.is_some_and(|nodes| nodes < player.least_nodes) {
        fail!("--nodes: at least {} there", player.least_nodes);
    }
    let stop = StopRequests::listen()?;
    let command = Workspace::find()?.cargo().args(player.command());
    let command = command.args(arguments(flags, a_seed_of_the_clock()));
    let status = match command.start_visibly()?.wait(&stop) {
        // A run without an end is there to be stopped; what was seen is told by then.
        Err(stopped) if stopped.is_stop() && flags.seeds.is_none() => return Ok(()),
        ended => ended?,
    };
    if !status.success() {
        fail!("a history broke a promise, or could not be played: see above");
    }
    Ok(())
}

fn arguments(flags: &SimFlags, otherwise: u64) -> Vec<String> {
    let seed = flags.seed.unwrap_or(otherwise);
    let mut arguments = vec!["--seed".to_owned(), seed.to_string()];
    if let Some(seeds) = flags.seeds {
        arguments.extend(["--seeds".to_owned(), seeds.to_string()]);
    }
    if let Some(nodes) = flags.nodes {
        arguments.extend(["--nodes".to_owned(), nodes.to_string()]);
    }
    if flags.show {
        arguments.push("--show".to_owned());
    }
    arguments
}

/// Far from those that the tests play, and short enough to type.
fn a_seed_of_the_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(1_000_000, |since| since.as_secs().wrapping_mul(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_handed_on() {
        let flags = SimFlags {
            link: true,
            seeds: Some(5),
            seed: None,
            nodes: Some(50),
            show: false,
        };
        let handed_on = arguments(&flags, 77).join(" ");
        assert_eq!(handed_on, "--seed 77 --seeds 5 --nodes 50");
    }
}
