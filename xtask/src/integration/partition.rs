//! A cluster that falls apart and comes together again: two against one, then two against two. Each side loses the
//! users of the other in time and goes on by itself; healed, all are linked again in time and every list is whole.

use std::time::{Duration, Instant};

use matryoshka_relay::Faults;

use crate::failure::{Outcome, fail};
use crate::integration::cast::Cast;
use crate::integration::figures::Worst;
use crate::integration::stage::{Stage, Views};
use crate::integration::{HEALED_WITHIN, MOMENT_WITHIN, NOTICED_WITHIN};
use crate::progress::seconds;

/// What all voices together say: enough that every moment of a cut hits one in mid-sentence.
const PER_SECOND: u32 = 200;
/// After both sides have noticed, the cut stays for up to this long.
const STAYS_FOR: Duration = Duration::from_secs(2);

pub(crate) fn run(stage: &mut Stage, rounds: u32) -> Outcome<String> {
    let mut cast = Cast::raise("partition", stage, 3)?;
    let mut worst = Worsts::default();
    for round in 1..=rounds {
        if round == rounds.div_ceil(2) + 1 {
            stage.add_relayed(&[])?;
            stage.met()?;
            cast.enter(stage, 3)?;
        }
        let sides = split(stage);
        round_of(stage, &mut cast, &sides, &mut worst)?;
        let [one, other] = sides.map(|side| stage.names(&side));
        stage.tell(format_args!(
            "cut {round} of {rounds}, {one} from {other}: noticed after {}, linked again after {}, lists whole after {}",
            seconds(worst.noticed.last),
            seconds(worst.linked.last),
            seconds(worst.whole.last),
        ));
    }
    let account = cast.judge(stage)?;
    if account.told_missing == 0 {
        fail!("nothing was lost over {rounds} cuts: they were none");
    }
    Ok(format!(
        "{rounds} cuts, noticed by both sides after {} at most; healed, linked after {} and lists whole after {} at most; {account}",
        seconds(worst.noticed.worst),
        seconds(worst.linked.worst),
        seconds(worst.whole.worst),
    ))
}

#[derive(Default)]
struct Worsts {
    noticed: Worst,
    linked: Worst,
    whole: Worst,
}

/// Two random sides: two against one, or two against two.
fn split(stage: &mut Stage) -> [Vec<usize>; 2] {
    let mut rest: Vec<usize> = (0..stage.nodes.len()).collect();
    let mut one = vec![rest.remove(stage.dice.index(rest.len()))];
    if rest.len() > 2 {
        one.push(rest.remove(stage.dice.index(rest.len())));
    }
    [one, rest]
}

fn round_of(
    stage: &mut Stage,
    cast: &mut Cast,
    sides: &[Vec<usize>; 2],
    worst: &mut Worsts,
) -> Outcome {
    let [one, other] = sides;
    let all: Vec<usize> = (0..stage.nodes.len()).collect();
    cast.all_here(stage)?;
    cast.voices.speak(&cast.voices.present(), PER_SECOND);
    let moment = stage.dice.duration_below(MOMENT_WITHIN);
    stage.hold(moment)?;

    let cut = Instant::now();
    stage.between(one, other, Faults::CUT);
    cast.break_once(one, other);
    cast.break_once(other, one);
    let views: Views = [one, other]
        .into_iter()
        .flat_map(|side| side.iter().map(|node| (*node, cast.users(side))))
        .collect();
    let noticed = stage.views_become(&cast.room, &views, cut, NOTICED_WITHIN)?;
    worst.noticed.note(noticed);
    stage.links_become(&[one, other], cut, NOTICED_WITHIN)?;
    let stays = stage.dice.duration_below(STAYS_FOR);
    stage.hold(stays)?;

    let healed = Instant::now();
    stage.between(one, other, Faults::NONE);
    let linked = stage.links_become(&[&all], healed, HEALED_WITHIN)?;
    worst.linked.note(linked);
    worst.whole.note(cast.whole(stage, healed, HEALED_WITHIN)?);
    cast.voices.check()
}
