//! `integration`: real node processes that meet over QUIC, and what must hold between them.

mod busy;
mod cast;
mod chat;
mod client;
mod cut_link;
mod demo;
mod figures;
mod hearing;
mod heartbeats;

mod kill;
mod names;
mod partition;
mod pause;
mod people;
mod relayed;
mod seed;
mod stage;
mod turnover;
mod voices;
mod weather;
mod witness;

use std::fs;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use matryoshka_relay::Dice;

use crate::failure::{Explain, Outcome, fail};
use crate::flags::IntegrationFlags;

use crate::integration::stage::Stage;
use crate::progress::{say, seconds};
use crate::signals::StopRequests;
use crate::workspace::{Profile, Workspace};

/// How long the users of a node that cannot be reached may stay in anyone's list.
const NOTICED_WITHIN: Duration = Duration::from_secs(3);
/// How long after the end of a cut all links are up again, and all lists whole.
const HEALED_WITHIN: Duration = Duration::from_secs(3);
/// The moment of a fault is spread over more than one heartbeat.
const MOMENT_WITHIN: Duration = Duration::from_millis(1500);

/// What many voices together say a second where it should be much.
const MANY_PER_SECOND: u32 = 1000;
/// From so many rounds on a run is there to look closely, and takes its time.
const LONG_ROUNDS: u32 = 10;

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
    /// Two nodes against one, then two against two: both sides go on, and come together again
    Partition,
    /// One link of three cut, both ways or one way: everybody else is undisturbed
    CutLink,
    /// Every twentieth datagram lost: nodes meet, nothing is lost, a killed one is noticed
    Loss,
    /// Every datagram 200 ms late: the same
    Delay,
    /// Datagrams doubled and out of order: the same
    Disorder,
    /// A node killed while 1,000 messages a second flow: nothing lost between the others
    Survivors,
    /// A node replaced while 1,000 messages a second flow, killed or asked to leave: the same
    Replace,
    /// A node stopped for a moment, and for 30 s: the others lose nothing, it comes back by itself
    Pause,
    /// Both cores busy for 10 s: no false alarm
    Busy,
    /// Two heartbeats lost in a row: no false alarm
    Heartbeats,
}

impl Scenario {
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What stands above, in the doc.
    fn about(self) -> String {
        let value = self.to_possible_value();
        let help = value.and_then(|value| value.get_help().map(ToString::to_string));
        help.unwrap_or_default()
    }

    /// Runs it; what it measured comes back as a line.
    fn run(self, stage: &mut Stage, rounds: u32) -> Outcome<String> {
        match self {
            Scenario::Chat => chat::run(stage),
            Scenario::Kill => kill::run(stage, rounds),
            Scenario::Names => names::run(stage),
            Scenario::Demo => demo::run(stage),
            Scenario::Partition => partition::run(stage, rounds),
            Scenario::CutLink => cut_link::run(stage, rounds),
            Scenario::Loss => weather::run(stage, weather::LOSS, rounds),
            Scenario::Delay => weather::run(stage, weather::DELAY, rounds),
            Scenario::Disorder => weather::run(stage, weather::DISORDER, rounds),
            Scenario::Survivors => turnover::survivors(stage, rounds),
            Scenario::Replace => turnover::replace(stage, rounds),
            Scenario::Pause => pause::run(stage, rounds),
            Scenario::Busy => busy::run(stage),
            Scenario::Heartbeats => heartbeats::run(stage, rounds),
        }
    }
}

pub(crate) fn run(flags: &IntegrationFlags) -> Outcome {
    if flags.list {
        for scenario in Scenario::value_variants() {
            println!("{:<12} {}", scenario.name(), scenario.about());
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
    for scenario in Scenario::value_variants() {
        if flags.scenario.is_none_or(|only| only == *scenario) {
            run_one(
                *scenario,
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
