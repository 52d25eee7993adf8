//! `integration`: real node processes that meet over QUIC, and what must hold between them.

mod chat;
mod client;
mod demo;

mod kill;
mod names;
mod people;
mod seed;
mod stage;

use std::fs;
use std::time::Instant;

use clap::ValueEnum;
use matryoshka_relay::Dice;

use crate::failure::{Explain, Outcome, fail};
use crate::flags::IntegrationFlags;

use crate::integration::stage::Stage;
use crate::progress::{say, seconds};
use crate::signals::StopRequests;
use crate::workspace::{Profile, Workspace};

/// One story about real nodes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Messages and presence across three nodes
    Chat,
    /// Nodes killed at random moments, noticed in time and back under the same name
    Kill,
    /// A name that is taken, a secret that is wrong: clear lines, and a cluster unharmed
    Names,
    /// The demo: its ready line, and no node left however it ends
    Demo,
}

impl Scenario {
    const ALL: [Scenario; 4] = [
        Scenario::Chat,
        Scenario::Kill,
        Scenario::Names,
        Scenario::Demo,
    ];

    fn name(self) -> &'static str {
        match self {
            Scenario::Chat => "chat",
            Scenario::Kill => "kill",
            Scenario::Names => "names",
            Scenario::Demo => "demo",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Scenario::Chat => "messages and presence across three nodes",
            Scenario::Kill => {
                "nodes killed at random moments, noticed in time and back under the same name"
            }
            Scenario::Names => {
                "a name that is taken, a secret that is wrong: clear lines, and a cluster unharmed"
            }
            Scenario::Demo => "its ready line, and no node left however it ends",
        }
    }

    /// Runs it; what it measured comes back as a line.
    fn run(self, stage: &mut Stage, rounds: u32) -> Outcome<String> {
        match self {
            Scenario::Chat => chat::run(stage),
            Scenario::Kill => kill::run(stage, rounds),
            Scenario::Names => names::run(stage),
            Scenario::Demo => demo::run(stage),
        }
    }
}

pub(crate) fn run(flags: &IntegrationFlags) -> Outcome {
    if flags.list {
        for scenario in Scenario::ALL {
            println!("{:<8} {}", scenario.name(), scenario.about());
        }
        return Ok(());
    }
    let stop = StopRequests::listen()?;
    let workspace = Workspace::find()?;
    let profile = if flags.release {
        Profile::Release
    } else {
        Profile::Dev
    };
    let status = workspace.build_node(profile).start_visibly()?.wait(&stop)?;
    if !status.success() {
        fail!("the node did not build: cargo's messages are above");
    }
    let seed = flags.seed.unwrap_or_else(seed::fresh);
    say(format_args!(
        "seed {seed} (the same choices again: --seed {seed})"
    ));
    for scenario in Scenario::ALL {
        if flags.scenario.is_none_or(|only| only == scenario) {
            run_one(
                scenario,
                &workspace,
                profile,
                &stop,
                Dice::new(seed),
                flags.rounds,
            )?;
        }
    }
    Ok(())
}

fn run_one(
    scenario: Scenario,
    workspace: &Workspace,
    profile: Profile,
    stop: &StopRequests,
    dice: Dice,
    rounds: u32,
) -> Outcome {
    let logs = workspace
        .target
        .join("xtask-logs/integration")
        .join(scenario.name());
    fs::create_dir_all(&logs).explain(format!("making {}", logs.display()))?;
    say(format_args!(
        "{}: {}; logs in {}",
        scenario.name(),
        scenario.about(),
        logs.display()
    ));
    let began = Instant::now();
    let mut stage = Stage::new(workspace.node(profile), logs, stop, dice)?;
    match scenario
        .run(&mut stage, rounds)
        .and_then(|figures| stage.end().map(|()| figures))
    {
        Ok(figures) => {
            say(format_args!(
                "{} ok in {}: {figures}",
                scenario.name(),
                seconds(began.elapsed())
            ));
            Ok(())
        }
        Err(failure) if failure.is_stop() => Err(failure),
        Err(failure) => fail!("{} FAILED: {failure}", scenario.name()),
    }
}
