//! `integration`: real node processes that meet over QUIC, and what must hold between them.

mod busy;
mod cast;
mod chat;
mod client;
mod crowd;
mod cut_link;
mod demo;
mod figures;
mod full_room;
mod hearing;
mod heartbeats;
mod interest;
mod kill;
mod mass_kill;
mod names;
mod partition;
mod pause;
mod people;
mod relayed;
mod rolling_restart;
mod seed;
mod slow_link;
mod stage;
mod turnover;
mod versions;
mod voices;
mod weather;
mod witness;

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
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
    /// Two nodes cut off from one, then two from two: both sides go on, and come together again
    Partition,
    /// One link of three cut, both ways or one way: the third node notices nothing
    CutLink,
    /// One datagram in twenty lost: no message is, nobody is taken for dead but who is
    Loss,
    /// Every datagram 200 ms late: nodes meet, talk in order, notice a kill in time
    Delay,
    /// Datagrams doubled and out of order: no message is
    Disorder,
    /// A node killed while 1,000 messages a second flow: the others lose nothing of each other
    Survivors,
    /// A node replaced at once, killed or asked to leave, while 1,000 messages a second flow
    Replace,
    /// A node that stands still, for a moment and for 30 s: the others go on, and it comes back
    Pause,
    /// Both cores busy with something else for 10 s: nobody is taken for dead
    Busy,
    /// Two heartbeats in a row lost: nobody is taken for dead
    Heartbeats,
    /// A link that cannot carry what is said: what it loses is told exactly, and only it loses anything
    SlowLink,
    /// One node of three speaks the version before: chat and presence go on, and it is upgraded under load
    Versions,
    /// A topic that two nodes of three want: the third gets no copy until somebody there joins
    Interest,
    /// One room fills up over several nodes: every list is complete soon after the last join
    FullRoom,
    /// A node killed with many users in one room and some in another: they leave all lists in time, in one diff of each
    MassKill,
    /// All nodes restarted in turn with a grace, under a room full of users: nobody who comes back is seen to leave
    RollingRestart,
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

    /// Whether it needs the machine for itself: its time, or ports that it chose.
    fn is_alone(self) -> bool {
        matches!(
            self,
            Scenario::Busy
                | Scenario::Demo
                | Scenario::FullRoom
                | Scenario::MassKill
                | Scenario::RollingRestart
        )
    }

    /// Whether it is played beside the others when all are: half of the time that all of them take.
    fn is_beside(self) -> bool {
        matches!(
            self,
            Scenario::Pause
                | Scenario::SlowLink
                | Scenario::Names
                | Scenario::Interest
                | Scenario::Versions
        )
    }

    /// Runs it; what it measured comes back as a line.
    fn run(self, stage: &mut Stage, rounds: u32, room: RoomSize) -> Outcome<String> {
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
            Scenario::SlowLink => slow_link::run(stage),
            Scenario::Versions => versions::run(stage),
            Scenario::Interest => interest::run(stage, rounds),
            Scenario::FullRoom => full_room::run(stage, room),
            Scenario::MassKill => mass_kill::run(stage, room, rounds),
            Scenario::RollingRestart => rolling_restart::run(stage, room),
        }
    }
}

pub(crate) fn run(flags: &IntegrationFlags) -> Outcome {
    if flags.list {
        for scenario in Scenario::value_variants() {
            println!("{:<15} {}", scenario.name(), scenario.about());
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
    let logs = workspace.target.join("xtask-logs/integration");
    let theatre = Theatre::new(flags, workspace.node(profile), logs, seed);
    match flags.scenario {
        Some(scenario) => theatre.play(scenario, &stop),
        None => theatre.play_all(&stop),
    }
}

/// What every scenario is played with.
struct Theatre {
    program: PathBuf,
    logs: PathBuf,
    seed: u64,
    rounds: u32,
    room: RoomSize,
    is_release: bool,
}

/// How large the scenarios of large rooms are.
#[derive(Clone, Copy)]
pub(crate) struct RoomSize {
    pub(crate) nodes: usize,
    pub(crate) users: u32,
    /// Of each node, if another number is asked for than the scenario's.
    pub(crate) readers: Option<usize>,
    /// Users on their way in at the same time.
    pub(crate) at_the_door: usize,
}

impl RoomSize {
    /// Their indices.
    pub(crate) fn all_nodes(self) -> Vec<usize> {
        (0..self.nodes).collect()
    }
}

impl Theatre {
    fn new(flags: &IntegrationFlags, program: PathBuf, logs: PathBuf, seed: u64) -> Self {
        Theatre {
            program,
            logs,
            seed,
            rounds: flags.rounds,
            room: RoomSize {
                nodes: flags.nodes.into(),
                users: flags.users,
                readers: flags.readers.map(usize::from),
                at_the_door: flags.at_the_door.into(),
            },
            is_release: flags.release,
        }
    }

    /// Nearly all of them mostly wait: two at once leave the machine enough time for what they measure.
    fn play_all(&self, stop: &StopRequests) -> Outcome {
        let all = Scenario::value_variants().iter().copied();
        let (alone, shared): (Vec<_>, Vec<_>) = all.partition(|scenario| scenario.is_alone());
        let (beside, others): (Vec<_>, Vec<_>) = shared
            .into_iter()
            .partition(|scenario| scenario.is_beside());
        let failed = AtomicBool::new(false);
        let (second, failed) = (stop.reader(), &failed);
        thread::scope(|scope| {
            let beside = scope.spawn(move || self.play_in_turn(&beside, &second, failed));
            let others = self.play_in_turn(&others, stop, failed);
            let beside = beside.join();
            let beside = beside.unwrap_or_else(|_| fail!("a scenario panicked"));
            match (&others, &beside) {
                (Err(_), Err(failure)) if !failure.is_stop() => {
                    say(format_args!("error: {failure}"));
                }
                _ => {}
            }
            others.and(beside)
        })?;
        self.play_in_turn(&alone, stop, failed)
    }

    /// Up to the first failure, here or elsewhere.
    fn play_in_turn(
        &self,
        scenarios: &[Scenario],
        stop: &StopRequests,
        failed: &AtomicBool,
    ) -> Outcome {
        for scenario in scenarios {
            if failed.load(Ordering::Relaxed) {
                break;
            }
            self.play(*scenario, stop)
                .inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    }

    fn play(&self, scenario: Scenario, stop: &StopRequests) -> Outcome {
        let name = scenario.name();
        let logs = self.fresh_folder(&name)?;
        say(format_args!(
            "{name}: {}; logs in {}",
            scenario.about(),
            logs.display()
        ));
        let began = Instant::now();
        let dice = Dice::new(self.seed);
        let mut stage = Stage::new(&name, self.program.clone(), logs.clone(), stop, dice)?;
        let played = scenario.run(&mut stage, self.rounds, self.room);
        match played.and_then(|figures| stage.end().map(|()| figures)) {
            Ok(figures) => {
                let took = seconds(began.elapsed());
                say(format_args!("{name} ok in {took}: {figures}"));
                Ok(())
            }
            Err(failure) if failure.is_stop() => Err(failure),
            Err(failure) => fail!(
                "{name} FAILED: {failure} (the same choices again: `{}`; logs in {})",
                self.command(scenario),
                logs.display()
            ),
        }
    }

    /// What plays a scenario again as it is played here.
    fn command(&self, scenario: Scenario) -> String {
        let RoomSize {
            nodes,
            users,
            readers,
            at_the_door,
        } = self.room;
        let (name, rounds, seed) = (scenario.name(), self.rounds, self.seed);
        let readers = readers.map_or_else(String::new, |readers| format!(" --readers {readers}"));
        let release = if self.is_release { " --release" } else { "" };
        format!(
            "cargo xtask integration {name} --rounds {rounds} --users {users} --nodes {nodes}{readers} \
             --at-the-door {at_the_door} --seed {seed}{release}"
        )
    }

    /// A folder for a scenario's logs, without those of earlier runs.
    fn fresh_folder(&self, name: &str) -> Outcome<PathBuf> {
        let folder = self.logs.join(name);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).explain(format!("emptying {}", folder.display()))?;
            }
            _ => {}
        }
        fs::create_dir_all(&folder).explain(format!("making {}", folder.display()))?;
        Ok(folder)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::flags::{Command, Flags};

    fn flags(command: &str) -> IntegrationFlags {
        let words = command.strip_prefix("cargo ").expect(command);
        match Flags::try_parse_from(words.split(' ')).map(|flags| flags.command) {
            Ok(Command::Integration(flags)) => flags,
            _ => panic!("not understood: {command}"),
        }
    }

    #[test]
    fn a_failed_scenario_is_played_again_with_all_that_was_chosen() {
        for chosen in ["", " --readers 9 --at-the-door 500 --release"] {
            let chosen = format!(
                "cargo xtask integration mass-kill --rounds 3 --users 500 --nodes 5 --seed 7{chosen}"
            );
            let theatre = |flags: &IntegrationFlags| {
                let seed = flags.seed.unwrap_or_default();
                Theatre::new(flags, PathBuf::new(), PathBuf::new(), seed)
            };
            let played = theatre(&flags(&chosen));
            let again = played.command(Scenario::MassKill);
            let words = |command: &str| command.split(' ').map(str::to_owned).collect::<Vec<_>>();
            let said = words(&again);
            assert!(
                words(&chosen).iter().all(|word| said.contains(word)),
                "{again}"
            );
            assert_eq!(theatre(&flags(&again)).command(Scenario::MassKill), again);
        }
    }
}
