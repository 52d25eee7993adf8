//! The grammar of the command line.

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand};

use crate::demo::MAX_BASE_PORT;
use crate::integration::Scenario;
use crate::test::StepName;

/// All automation of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Build the node, start a cluster of them on this machine, and show the chat page
    Demo(DemoFlags),
    /// Check everything, with all set-up: formats, lints, tests, docs, tidy, real nodes, clients, browser
    Test(TestFlags),
    /// Check the rules of the house that no compiler knows
    Tidy,
    /// Run scenarios against real node processes that meet over QUIC
    Integration(IntegrationFlags),
    /// Run the measurements, in release mode
    Bench(BenchFlags),
    /// Feed the decoders what no honest peer sends, from a stored corpus on, with libFuzzer
    Fuzz(FuzzFlags),
    /// Play histories of the cluster's cores from seeds, until one breaks a promise
    Sim(SimFlags),
    /// Run a program that ends when this process's standard input does (for xtask itself)
    #[command(hide = true)]
    Guard(GuardFlags),
}

#[derive(Args)]
pub(crate) struct DemoFlags {
    /// How many nodes to start
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) nodes: u16,
    /// HTTP port of the first node; node i listens on P+i-1, and for the cluster on UDP P+1000+i-1
    #[arg(long, default_value_t = 4000, value_name = "P", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_BASE_PORT)))]
    pub(crate) base_port: u16,
    /// Build quickly and run slowly: the dev profile instead of release
    #[arg(long)]
    pub(crate) debug: bool,
}

#[derive(Args)]
pub(crate) struct TestFlags {
    /// Run only this step and what it needs; repeatable
    #[arg(long, value_name = "STEP")]
    pub(crate) only: Vec<StepName>,
    /// List the steps and stop
    #[arg(long)]
    pub(crate) list: bool,
}

#[derive(Args)]
pub(crate) struct IntegrationFlags {
    /// Run only this scenario
    pub(crate) scenario: Option<Scenario>,
    /// List the scenarios and stop
    #[arg(long)]
    pub(crate) list: bool,
    /// How often a scenario repeats its fault, each time at another moment; from 10 on the long ones take their time
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// How many users fill a room in the scenarios of large rooms (full-room, mass-kill, rolling-restart)
    #[arg(long, default_value_t = 300, value_name = "N", value_parser = clap::value_parser!(u32).range(30..=15_000))]
    pub(crate) users: u32,
    /// How many users of each node hold their list there, and judge it; without it all of them in rolling-restart with up to 300, else a few
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) readers: Option<u16>,
    /// How many of them are on their way in at the same time; as many as there are users: all at once
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) at_the_door: u16,
    /// How many nodes the scenarios of large rooms have; the others have as many as their story needs
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=9))]
    pub(crate) nodes: u8,
    /// Repeat the choices of an earlier run: moments of faults, and in large rooms who is where, comes when, and which node is next
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
    /// Build the nodes in release mode
    #[arg(long)]
    pub(crate) release: bool,
}

#[derive(Args)]
pub(crate) struct BenchFlags {
    /// Handed on to the measurements
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<OsString>,
}

#[derive(Args)]
pub(crate) struct FuzzFlags {
    /// Only this target
    pub(crate) target: Option<String>,
    /// List the targets and stop
    #[arg(long)]
    pub(crate) list: bool,
    /// How long each target is fuzzed
    #[arg(long, default_value_t = 60, value_name = "N")]
    pub(crate) seconds: u32,
    /// Add what covers something new to the stored corpus
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Args)]
pub(crate) struct SimFlags {
    /// The whole link between nodes (mesh, traffic, queues, codecs) instead of a cluster of trackers
    #[arg(long)]
    pub(crate) link: bool,
    /// How many seeds to play; without it, all that there are
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: Option<u64>,
    /// The first seed; without it, one of the clock's, so that each run plays others
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
    /// Nodes in each history, at least 2 (3 with `--link`); without it up to 5, as its seed says
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u8).range(2..=50))]
    pub(crate) nodes: Option<u8>,
    /// Tell the one history of the seed line by line
    #[arg(long, requires = "seed")]
    pub(crate) show: bool,
}

#[derive(Args)]
pub(crate) struct GuardFlags {
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn grammar_is_sound() {
        Flags::command().debug_assert();
    }

    fn integration(flags: &[&str]) -> Result<IntegrationFlags, clap::Error> {
        let all = ["xtask", "integration"].iter().chain(flags);
        match Flags::try_parse_from(all)?.command {
            Command::Integration(flags) => Ok(flags),
            _ => panic!("parsed as something else"),
        }
    }

    #[test]
    fn large_rooms_have_other_sizes_and_seeds_if_one_asks() {
        let usual = integration(&[]).expect("no flag is required");
        assert_eq!((usual.nodes, usual.users, usual.seed), (3, 300, None));
        assert_eq!((usual.readers, usual.at_the_door), (None, 32));
        let other = [
            "full-room",
            "--nodes",
            "5",
            "--users",
            "1000",
            "--seed",
            "7",
            "--readers",
            "9",
            "--at-the-door",
            "1000",
        ];
        let other = integration(&other).expect("all of them exist");
        assert_eq!((other.nodes, other.users, other.seed), (5, 1000, Some(7)));
        assert_eq!((other.readers, other.at_the_door), (Some(9), 1000));
        assert!(other.scenario == Some(Scenario::FullRoom));
    }

    #[test]
    fn sizes_that_no_story_has_are_refused() {
        let refused = [
            ("--nodes", "1"),
            ("--nodes", "10"),
            ("--nodes", "x"),
            ("--users", "29"),
            ("--users", "15001"),
            ("--rounds", "0"),
            ("--seed", "-1"),
            ("--readers", "0"),
            ("--at-the-door", "0"),
        ];
        for (flag, value) in refused {
            let flag = format!("{flag}={value}");
            assert!(integration(&[&flag]).is_err(), "{flag}");
        }
    }

    #[test]
    fn demo_has_the_defaults_of_its_contract() {
        let flags = Flags::try_parse_from(["xtask", "demo"]).expect("no flag is required");
        let Command::Demo(demo) = flags.command else {
            panic!("demo parsed as something else");
        };
        assert_eq!((demo.nodes, demo.base_port, demo.debug), (3, 4000, false));
    }
}
