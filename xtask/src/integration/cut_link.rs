//! One link of three is cut, both ways or only one way: the two that cannot reach each other lose each other's
//! users, both go on with the third, and the third notices nothing at all.

use std::time::{Duration, Instant};

use matryoshka_relay::Faults;

use crate::failure::Outcome;
use crate::integration::cast::Cast;
use crate::integration::figures::Worst;
use crate::integration::stage::{Stage, Views};
use crate::integration::{HEALED_WITHIN, MOMENT_WITHIN, NOTICED_WITHIN};
use crate::progress::seconds;

/// What all voices together say.
const PER_SECOND: u32 = 200;
/// After both have noticed, the cut stays for up to this long.
const STAYS_FOR: Duration = Duration::from_secs(2);

/// Which way nothing gets through.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Both,
    There,
    Back,
}

const CUTS: [Cut; 3] = [Cut::Both, Cut::There, Cut::Back];

pub(crate) fn run(stage: &mut Stage, rounds: u32) -> Outcome<String> {
    let mut cast = Cast::raise("cut-link", stage, 3)?;
    let (mut noticed, mut healed) = (Worst::default(), Worst::default());
    let turn = stage.dice.index(CUTS.len());
    for round in 1..=rounds {
        let cut = CUTS[(round as usize + turn) % CUTS.len()];
        let third = stage.dice.index(3);
        let pair = [(third + 1) % 3, (third + 2) % 3];
        noticed.note(cut_them(stage, &mut cast, pair, third, cut)?);
        healed.note(heal(stage, &cast, pair)?);
        cast.voices.check()?;
        stage.tell(format_args!(
            "cut {round} of {rounds}, {} from {} ({cut:?}): noticed after {}, linked and lists whole after {}",
            stage.names(&pair[..1]),
            stage.names(&pair[1..]),
            seconds(noticed.last),
            seconds(healed.last),
        ));
    }
    let account = cast.judge(stage)?;
    Ok(format!(
        "{rounds} cuts, noticed by both after {} at most and by the third not at all; healed after {} at most; {account}",
        seconds(noticed.worst),
        seconds(healed.worst),
    ))
}

fn cut_them(
    stage: &mut Stage,
    cast: &mut Cast,
    pair: [usize; 2],
    third: usize,
    cut: Cut,
) -> Outcome<Duration> {
    let [one, other] = pair;
    cast.voices.speak(&cast.voices.present(), PER_SECOND);
    let moment = stage.dice.duration_below(MOMENT_WITHIN);
    stage.hold(moment)?;

    let began = Instant::now();
    match cut {
        Cut::Both => stage.between(&[one], &[other], Faults::CUT),
        Cut::There => stage.one_way(one, other, Faults::CUT),
        Cut::Back => stage.one_way(other, one, Faults::CUT),
    }
    cast.break_once(&[one], &[other]);
    cast.break_once(&[other], &[one]);
    let views = Views::from([
        (one, cast.users(&[one, third])),
        (other, cast.users(&[other, third])),
        (third, cast.users(&[one, other, third])),
    ]);
    let noticed = stage.views_become(&cast.room, &views, began, NOTICED_WITHIN)?;
    stage.links_become(&[&[one, third], &[other, third]], began, NOTICED_WITHIN)?;
    let stays = stage.dice.duration_below(STAYS_FOR);
    stage.hold(stays)?;
    Ok(noticed)
}

fn heal(stage: &mut Stage, cast: &Cast, pair: [usize; 2]) -> Outcome<Duration> {
    let began = Instant::now();
    stage.between(&pair[..1], &pair[1..], Faults::NONE);
    stage.links_become(&[&[0, 1, 2]], began, HEALED_WITHIN)?;
    cast.whole(stage, began, HEALED_WITHIN)
}
