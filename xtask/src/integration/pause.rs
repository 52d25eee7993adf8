//! A node that stands still without knowing it (SIGSTOP), as a paused virtual machine does. For a moment: nobody loses
//! anybody. For long: the others notice in time, lose nothing of each other and keep nothing for it; told to go on, it
//! comes back by itself, and takes nobody for dead but over the links that the others have given up.

use std::time::{Duration, Instant};

use crate::failure::{Outcome, fail};
use crate::integration::cast::Cast;
use crate::integration::figures::Worst;
use crate::integration::stage::Stage;
use crate::integration::{HEALED_WITHIN, LONG_ROUNDS, MOMENT_WITHIN, NOTICED_WITHIN};
use crate::progress::seconds;

const NODES: usize = 3;
/// What all voices together say.
const PER_SECOND: u32 = 400;
/// What each message has beside its numbers: all that the others say during a long stop is far above `MAY_GROW_BYTES`.
const PADDING_BYTES: usize = 2048;
/// Shorter than the silence of 2.5 s that counts as death, and longer than that without a heartbeat's time.
const A_MOMENT: Duration = Duration::from_millis(2000);
/// What a node says a second that is stopped for a moment: it has to be heard until then, and little has to wait.
const FEW_PER_SECOND: u32 = 100;
/// Whoever takes another for dead has done so by then: a tick later, and said so.
const SETTLES_FOR: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(30);
/// In a run that takes its time, once more for so long.
const VERY_LONG: Duration = Duration::from_secs(60);
/// Nothing may change for so long afterwards: they would come and go, if they took each other for dead.
const STAYS_FOR: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// By how much the others may grow: by what waits for the stopped one until it counts as gone, 2 MB, and not by all
/// that is said to it meanwhile, 24 MB.
const MAY_GROW_BYTES: u64 = 12 * 1024 * 1024;

pub(crate) fn run(stage: &mut Stage, rounds: u32) -> Outcome<String> {
    let mut cast = Cast::new("pause");
    cast.voices.padding = PADDING_BYTES;
    let mut cast = cast.raised(stage, NODES)?;
    let (mut noticed, mut back, mut grown) = (Worst::default(), Worst::default(), 0);
    for round in 1..=rounds {
        stop_for_a_moment(stage, &mut cast)?;
        let stop = Stop::begin(stage, &mut cast)?;
        noticed.note(stop.noticed);
        back.note(stop.end(stage, &cast)?);
        stage.tell(format_args!(
            "stop {round} of {rounds}: noticed after {}, and the node back {} after its end",
            seconds(noticed.last),
            seconds(back.last)
        ));
    }
    let long: &[Duration] = if rounds < LONG_ROUNDS {
        &[LONG]
    } else {
        &[LONG, VERY_LONG]
    };
    for time in long {
        let stop = Stop::begin(stage, &mut cast)?;
        noticed.note(stop.noticed);
        grown = stop.watch(stage, &mut cast, *time)?.max(grown);
        back.note(stop.end(stage, &cast)?);
        stage.hold(STAYS_FOR)?;
        cast.check_breaks(stage)?;
        stage.tell(format_args!(
            "stop for {}: noticed after {}, and the node back {} after its end",
            seconds(*time),
            seconds(noticed.last),
            seconds(back.last)
        ));
    }
    let account = cast.judge(stage)?;
    Ok(format!(
        "{rounds} short stops went unnoticed; {} longer ones were noticed after {} at most, and the node was back {} after their end; the others grew by {} kB at most; {account}",
        rounds as usize + long.len(),
        seconds(noticed.worst),
        seconds(back.worst),
        grown / 1024,
    ))
}

/// Only the node that is going to stand still speaks: the others have heard of it a moment before, and it of them up to a
/// heartbeat's time ago. A node that took the time of its own stop for their silence would give them up.
fn stop_for_a_moment(stage: &mut Stage, cast: &mut Cast) -> Outcome {
    let stopped = stage.dice.index(NODES);
    cast.voices.speak(&cast.voices.present(), 0);
    cast.voices
        .speak(&cast.voices.on(&[stopped]), FEW_PER_SECOND);
    let moment = stage.dice.duration_below(MOMENT_WITHIN);
    stage.hold(moment)?;
    stage.nodes[stopped].stop()?;
    stage.hold(A_MOMENT)?;
    stage.nodes[stopped].go_on()?;
    cast.all_here(stage)?;
    stage.hold(SETTLES_FOR)?;
    cast.check_breaks(stage)?;
    cast.voices.check()
}

/// A stop that goes on until the others have noticed, or longer.
struct Stop {
    node: usize,
    others: Vec<usize>,
    began: Instant,
    noticed: Duration,
    /// What the others had in memory before.
    resident: Vec<u64>,
}

impl Stop {
    /// Gives the stop once it has been noticed.
    fn begin(stage: &mut Stage, cast: &mut Cast) -> Outcome<Self> {
        let node = stage.dice.index(NODES);
        let others = stage.others(node);
        cast.voices.speak(&cast.voices.on(&[node]), 0);
        cast.voices.speak(&cast.voices.on(&others), PER_SECOND);
        let moment = stage.dice.duration_below(MOMENT_WITHIN);
        stage.hold(moment)?;
        let resident = resident(stage, &others);

        let began = Instant::now();
        stage.nodes[node].stop()?;
        cast.break_once(&others, &[node]);
        cast.break_once(&[node], &others);
        let noticed = cast.noticed(stage, node, began, NOTICED_WITHIN)?;
        Ok(Stop {
            node,
            others,
            began,
            noticed,
            resident,
        })
    }

    /// Looks until it has lasted so long; gives by how much one of the others grew at most.
    fn watch(&self, stage: &mut Stage, cast: &mut Cast, time: Duration) -> Outcome<u64> {
        let mut grown = 0;
        while self.began.elapsed() < time {
            stage.hold(LOOK_EVERY)?;
            cast.voices.check()?;
            let now = resident(stage, &self.others);
            let growth = now.iter().zip(&self.resident);
            let growth = growth.map(|(now, before)| now.saturating_sub(*before));
            grown = growth.max().unwrap_or_default().max(grown);
        }
        if grown > MAY_GROW_BYTES {
            fail!(
                "while {} stood still for {}, another node grew by {grown} bytes",
                stage.names(&[self.node]),
                seconds(time)
            );
        }
        Ok(grown)
    }

    /// Lets the node go on; gives how long it took until every list was whole again.
    fn end(&self, stage: &mut Stage, cast: &Cast) -> Outcome<Duration> {
        let ended = Instant::now();
        stage.nodes[self.node].go_on()?;
        let everyone: Vec<usize> = (0..NODES).collect();
        stage.links_become(&[&everyone], ended, HEALED_WITHIN)?;
        let back = cast.whole(stage, ended, HEALED_WITHIN)?;
        cast.check_breaks(stage)?;
        Ok(back)
    }
}

/// What these nodes have in memory; nothing where the system does not tell.
fn resident(stage: &Stage, nodes: &[usize]) -> Vec<u64> {
    nodes
        .iter()
        .filter_map(|node| stage.nodes[*node].resident_bytes())
        .collect()
}
