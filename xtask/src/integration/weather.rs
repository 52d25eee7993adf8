//! Bad weather on all links: datagrams lost, late, doubled, out of order. Nodes meet in it, talk in it without losing,
//! doubling or disordering a message, take nobody for dead who is not, and notice in time who is.

use std::time::Duration;

use matryoshka_relay::{Faults, Tally};

use crate::failure::{Outcome, fail};
use crate::integration::cast::Cast;
use crate::integration::client::COMES_WITHIN;
use crate::integration::figures::Worst;
use crate::integration::stage::Stage;
use crate::integration::{LONG_ROUNDS, MOMENT_WITHIN, NOTICED_WITHIN};
use crate::progress::seconds;

/// What all voices together say.
const PER_SECOND: u32 = 200;
/// So long at least they say it before the next kill.
const STAYS_FOR: Duration = Duration::from_secs(2);
const NODES: usize = 3;

/// What is wrong with every line.
pub(crate) struct Weather {
    name: &'static str,
    faults: Faults,
    /// What must have happened, or the weather was fine.
    happened: fn(&Tally) -> u64,
}

pub(crate) const LOSS: Weather = Weather {
    name: "loss",
    faults: Faults {
        lost: 0.05,
        ..Faults::NONE
    },
    happened: |tally| tally.lost,
};

pub(crate) const DELAY: Weather = Weather {
    name: "delay",
    faults: Faults {
        delay: Duration::from_millis(200),
        ..Faults::NONE
    },
    happened: |tally| tally.delayed,
};

pub(crate) const DISORDER: Weather = Weather {
    name: "disorder",
    faults: Faults {
        doubled: 0.1,
        jitter: Duration::from_millis(20),
        ..Faults::NONE
    },
    happened: |tally| tally.doubled.min(tally.reordered),
};

pub(crate) fn run(stage: &mut Stage, weather: Weather, rounds: u32) -> Outcome<String> {
    // One kill shows what a short run has to show.
    let rounds = if rounds < LONG_ROUNDS { 1 } else { rounds };
    let mut cast = Cast::raise(weather.name, stage, NODES - 1)?;
    stage.relay().set_everywhere(weather.faults);
    stage.add_relayed(&[])?;
    stage.met()?;
    cast.enter(stage, NODES - 1)?;
    cast.all_here(stage)?;
    let mut noticed = Worst::default();
    for round in 1..=rounds {
        noticed.note(round_of(stage, &mut cast, weather.faults)?);
        stage.tell(format_args!(
            "kill {round} of {rounds}: noticed after {}",
            seconds(noticed.last)
        ));
    }
    cast.voices.settle(stage, COMES_WITHIN)?;
    cast.voices.lost_nothing(&cast.voices.all())?;
    let account = cast.judge(stage)?;
    let tally = stage.relay().total();
    if (weather.happened)(&tally) == 0 {
        fail!("the weather was fine: {tally:?}");
    }
    Ok(format!(
        "{rounds} kills, noticed after {} at most; {account}; datagrams: {} forwarded, {} lost, {} delayed, {} doubled, {} out of order",
        seconds(noticed.worst),
        tally.forwarded,
        tally.lost,
        tally.delayed,
        tally.doubled,
        tally.reordered,
    ))
}

/// Gives how long it took to notice the kill.
fn round_of(stage: &mut Stage, cast: &mut Cast, faults: Faults) -> Outcome<Duration> {
    cast.voices.speak(&cast.voices.present(), PER_SECOND);
    let moment = STAYS_FOR + stage.dice.duration_below(MOMENT_WITHIN);
    stage.hold(moment)?;
    cast.voices.check()?;
    cast.check_breaks(stage)?;

    let victim = stage.dice.index(NODES);
    let killed = cast.kill(stage, victim)?;
    // What it said last is still under way for so long.
    let within = NOTICED_WITHIN + faults.delay + faults.jitter;
    let noticed = cast.noticed(stage, victim, killed, within)?;
    stage.restart(victim)?;
    cast.welcome(stage, victim)?;
    Ok(noticed)
}
