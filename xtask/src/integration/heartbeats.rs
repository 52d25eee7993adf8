//! Nothing gets through for so long that two heartbeats in a row are lost, at any phase: nobody is taken for dead, and
//! what was said meanwhile arrives.

use std::time::Duration;

use matryoshka_relay::Faults;

use crate::failure::{Outcome, fail};
use crate::integration::cast::Cast;
use crate::integration::client::COMES_WITHIN;
use crate::integration::stage::Stage;
use crate::integration::{MANY_PER_SECOND, MOMENT_WITHIN};

const NODES: usize = 3;
/// A heartbeat goes out every 0.7 s: at most phases this stops two in a row, and never three.
const NOTHING_FOR: Duration = Duration::from_millis(1200);
/// By then a heartbeat has got through again. Without that the next round would add to the silence of this one.
const HEARD_AGAIN_WITHIN: Duration = Duration::from_secs(1);
/// What all voices together say, in turn: nothing, so that only heartbeats are there to be heard; little; and so much that
/// windows and queues fill meanwhile.
const PER_SECOND: [u32; 3] = [0, 30, MANY_PER_SECOND];

pub(crate) fn run(stage: &mut Stage, rounds: u32) -> Outcome<String> {
    let mut cast = Cast::raise("heartbeats", stage, NODES)?;
    for round in 1..=rounds {
        let speak = PER_SECOND[round as usize % PER_SECOND.len()];
        cast.voices.speak(&cast.voices.present(), speak);
        let moment = stage.dice.duration_below(MOMENT_WITHIN);
        stage.hold(moment)?;
        stage.relay().set_everywhere(Faults::CUT);
        stage.hold(NOTHING_FOR)?;
        stage.relay().set_everywhere(Faults::NONE);
        stage.hold(HEARD_AGAIN_WITHIN)?;
        cast.check_breaks(stage)?;
    }
    cast.all_here(stage)?;
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
