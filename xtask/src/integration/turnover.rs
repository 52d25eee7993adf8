//! Nodes that go and come while many messages flow: whatever becomes of the one, the others lose nothing of each
//! other, and of the one that went they have heard a beginning without a hole.

use std::time::Instant;

use crate::failure::Outcome;
use crate::integration::cast::Cast;
use crate::integration::client::COMES_WITHIN;
use crate::integration::figures::Worst;
use crate::integration::stage::Stage;
use crate::integration::{MANY_PER_SECOND, MOMENT_WITHIN, NOTICED_WITHIN};
use crate::progress::seconds;

const NODES: usize = 3;

/// One node killed, and started again once all have noticed.
pub(crate) fn survivors(stage: &mut Stage, rounds: u32) -> Outcome<String> {
    let mut cast = Cast::raise("survivors", stage, NODES)?;
    let mut noticed = Worst::default();
    for round in 1..=rounds {
        let victim = talk_a_moment(stage, &mut cast)?;
        let killed = cast.kill(stage, victim)?;
        cast.voices.speak(&cast.voices.present(), MANY_PER_SECOND);
        noticed.note(cast.noticed(stage, victim, killed, NOTICED_WITHIN)?);
        cast.voices.check()?;
        stage.tell(format_args!(
            "kill {round} of {rounds}: {}, noticed after {}",
            stage.names(&[victim]),
            seconds(noticed.last)
        ));
        stage.restart(victim)?;
        cast.welcome(stage, victim)?;
    }
    conclude(stage, &mut cast, &format!("{rounds} kills"), noticed)
}

/// One node replaced at once by a new process of its name: killed, and back at its address; or asked to leave, and
/// replaced at another address while it still closes its sockets.
pub(crate) fn replace(stage: &mut Stage, rounds: u32) -> Outcome<String> {
    let mut cast = Cast::raise("replace", stage, NODES)?;
    let mut noticed = Worst::default();
    let turn = stage.dice.below(2);
    for round in 1..=rounds {
        let victim = talk_a_moment(stage, &mut cast)?;
        let kill = u64::from(round) % 2 == turn;
        let since = if kill {
            let killed = cast.kill(stage, victim)?;
            stage.restart(victim)?;
            killed
        } else {
            ask_to_leave(stage, &mut cast, victim)?
        };
        cast.voices.speak(&cast.voices.present(), MANY_PER_SECOND);
        noticed.note(cast.noticed(stage, victim, since, NOTICED_WITHIN)?);
        cast.welcome(stage, victim)?;
        cast.voices.check()?;
        stage.tell(format_args!(
            "{round} of {rounds}: {} {}; its users gone after {}, a new one there after {}",
            stage.names(&[victim]),
            if kill { "killed" } else { "asked to leave" },
            seconds(noticed.last),
            seconds(since.elapsed()),
        ));
    }
    conclude(
        stage,
        &mut cast,
        &format!("{rounds} nodes replaced"),
        noticed,
    )
}

/// Everybody talks for a moment; gives who is next.
fn talk_a_moment(stage: &mut Stage, cast: &mut Cast) -> Outcome<usize> {
    cast.voices.speak(&cast.voices.present(), MANY_PER_SECOND);
    let moment = stage.dice.duration_below(MOMENT_WITHIN);
    stage.hold(moment)?;
    Ok(stage.dice.index(NODES))
}

fn ask_to_leave(stage: &mut Stage, cast: &mut Cast, victim: usize) -> Outcome<Instant> {
    cast.bereave(stage, victim);
    cast.break_once(&stage.others(victim), &[victim]);
    let asked = Instant::now();
    stage.nodes[victim].ask_to_end();
    stage.replace(victim)?;
    stage.replaced(victim)?;
    Ok(asked)
}

fn conclude(stage: &mut Stage, cast: &mut Cast, what: &str, noticed: Worst) -> Outcome<String> {
    cast.voices.settle(stage, COMES_WITHIN)?;
    cast.voices.lost_nothing(&cast.voices.all())?;
    let account = cast.judge(stage)?;
    Ok(format!(
        "{what}, noticed after {} at most; {account}",
        seconds(noticed.worst),
    ))
}
