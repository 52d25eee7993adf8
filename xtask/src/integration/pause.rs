//! A node that stands still without knowing it (SIGSTOP), as a paused virtual machine does. For a moment: nobody loses
//! anybody. For long: the others notice in time, lose nothing of each other and keep nothing for it; told to go on, it
//! comes back by itself, and takes nobody for dead but over the links that the others have given up.

use std::time::{Duration, Instant};

use crate::failure::{Outcome, fail};
use crate::integration::cast::Cast;
use crate::integration::figures::Worst;
use crate::integration::stage::Stage;
use crate::integration::{HEALED_WITHIN, LONG_ROUNDS, MOMENT_WITHIN, NOTICED_WITHIN};
use crate::progress::{say, seconds};

const NODES: usize = 3;
/// What all voices together say.
const PER_SECOND: u32 = 400;
/// What each message has beside its numbers: all that the others say during a long stop is far above `MAY_GROW_BYTES`.
const PADDING_BYTES: usize = 2048;
/// Shorter than the silence that counts as death, with a heartbeat's time before it.
const A_MOMENT: Duration = Duration::from_millis(1400);
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
    for _ in 0..rounds {
        stop_for_a_moment(stage, &mut cast)?;
    }
    let stops: &[Duration] = if rounds < LONG_ROUNDS {
        &[LONG]
    } else {
        &[LONG, VERY_LONG]
    };
    let (mut noticed, mut back, mut grown) = (Worst::default(), Worst::default(), 0);
    for time in stops {
        let stop = stop_for_long(stage, &mut cast, *time)?;
        noticed.note(stop.noticed);
        back.note(stop.back);
        grown = grown.max(stop.grown_bytes);
        say(format_args!(
            "  stopped for {}: noticed after {}, back after {}",
            seconds(*time),
            seconds(stop.noticed),
            seconds(stop.back)
        ));
    }
    let account = cast.judge(stage)?;
    Ok(format!(
        "{rounds} short stops unnoticed; long ones noticed after {}, back {} after their end at most, others grew by {} kB at most; {account}",
        seconds(noticed.worst),
        seconds(back.worst),
        grown / 1024,
    ))
}

fn stop_for_a_moment(stage: &mut Stage, cast: &mut Cast) -> Outcome {
    cast.voices.speak(&cast.voices.present(), PER_SECOND);
    let moment = stage.dice.duration_below(MOMENT_WITHIN);
    stage.hold(moment)?;
    let stopped = stage.dice.index(NODES);
    stage.nodes[stopped].stop()?;
    stage.hold(A_MOMENT)?;
    stage.nodes[stopped].go_on()?;
    cast.all_here(stage)?;
    cast.check_breaks(stage)?;
    cast.voices.check()
}

/// What a long stop showed.
struct Stop {
    noticed: Duration,
    back: Duration,
    grown_bytes: u64,
}

fn stop_for_long(stage: &mut Stage, cast: &mut Cast, time: Duration) -> Outcome<Stop> {
    let stopped = stage.dice.index(NODES);
    let others = stage.others(stopped);
    cast.voices.speak(&cast.voices.on(&[stopped]), 0);
    cast.voices.speak(&cast.voices.on(&others), PER_SECOND);
    let moment = stage.dice.duration_below(MOMENT_WITHIN);
    stage.hold(moment)?;
    let before = resident(stage, &others);

    let began = Instant::now();
    stage.nodes[stopped].stop()?;
    cast.break_once(&others, &[stopped]);
    cast.break_once(&[stopped], &others);
    let noticed = cast.noticed(stage, stopped, began, NOTICED_WITHIN)?;
    let mut grown_bytes = 0;
    while began.elapsed() < time {
        stage.hold(LOOK_EVERY)?;
        cast.voices.check()?;
        let now = resident(stage, &others);
        let growth = now.iter().zip(&before);
        let most = growth
            .map(|(now, before)| now.saturating_sub(*before))
            .max();
        grown_bytes = grown_bytes.max(most.unwrap_or_default());
    }
    if grown_bytes > MAY_GROW_BYTES {
        fail!(
            "while {} stood still for {}, another node grew by {grown_bytes} bytes",
            stage.names(&[stopped]),
            seconds(time)
        );
    }

    let went_on = Instant::now();
    stage.nodes[stopped].go_on()?;
    let everyone: Vec<usize> = (0..NODES).collect();
    stage.links_become(&[&everyone], went_on, HEALED_WITHIN)?;
    let back = cast.whole(stage, went_on, HEALED_WITHIN)?;
    stage.hold(STAYS_FOR)?;
    cast.check_breaks(stage)?;
    Ok(Stop {
        noticed,
        back,
        grown_bytes,
    })
}

/// What these nodes have in memory; nothing where the system does not tell.
fn resident(stage: &Stage, nodes: &[usize]) -> Vec<u64> {
    nodes
        .iter()
        .filter_map(|node| stage.nodes[*node].resident_bytes())
        .collect()
}
