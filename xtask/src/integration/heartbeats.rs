//! Nothing gets through for so long that two heartbeats in a row are lost, at any phase: nobody is taken for dead, and
//! what was said meanwhile arrives.

use std::time::Duration;

use matryoshka_relay::Faults;

use crate::failure::{Outcome, fail};
use crate::integration::MOMENT_WITHIN;
use crate::integration::cast::Cast;
use crate::integration::client::COMES_WITHIN;
use crate::integration::stage::Stage;

const NODES: usize = 3;
/// A heartbeat goes out every 0.7 s: at most phases this stops two in a row, and never three.
const NOTHING_FOR: Duration = Duration::from_millis(1200);
/// What all voices together say, in every second round. In the others only heartbeats are there to be heard.
const PER_SECOND: u32 = 30;

pub(crate) fn run(stage: &mut Stage, rounds: u32) -> Outcome<String> {
    let mut cast = Cast::raise("heartbeats", stage, NODES)?;
    for round in 1..=rounds {
        let speaks = if round % 2 == 0 { PER_SECOND } else { 0 };
        cast.voices.speak(&cast.voices.present(), speaks);
        let moment = stage.dice.duration_below(MOMENT_WITHIN);
        stage.hold(moment)?;
        stage.relay().set_everywhere(Faults::CUT);
        stage.hold(NOTHING_FOR)?;
        stage.relay().set_everywhere(Faults::NONE);
        cast.all_here(stage)?;
        cast.check_breaks(stage)?;
    }
    stage.hold(MOMENT_WITHIN)?;
    cast.voices.settle(stage, COMES_WITHIN)?;
    cast.voices.lost_nothing(&cast.voices.all())?;
    let account = cast.judge(stage)?;
    let stopped = stage.relay().total().cut;
    if stopped < u64::from(rounds) {
        fail!("the relay stopped {stopped} datagrams in {rounds} rounds: that was no cut");
    }
    Ok(format!(
        "{rounds} times, no false alarm; {stopped} datagrams stopped; {account}"
    ))
}
