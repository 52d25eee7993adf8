//! A topic of which only two nodes of three want to know: the third gets no copy of its messages. From the moment at which
//! somebody there has joined it gets all, and soon after they have left none again.

use std::time::{Duration, Instant};

use crate::failure::{Outcome, fail};
use crate::integration::cast::Cast;
use crate::integration::client::COMES_WITHIN;
use crate::integration::stage::Stage;
use crate::integration::voices::{VoiceId, Voices};
use crate::integration::witness::Metrics;
use crate::integration::{MANY_PER_SECOND, MOMENT_WITHIN};

const NODES: usize = 3;
/// The nodes that want the topic all the time, and the one that does so now and then.
const INTERESTED: [usize; 2] = [0, 1];
const THIRD: usize = 2;
/// How long the third node's counters are watched.
const WATCH_FOR: Duration = Duration::from_secs(2);
/// Of what is said, this share may reach the third node nevertheless: one in so many. Trackers and trifles count in.
const MAY_REACH_ONE_IN: u64 = 50;
/// A node that is no longer interested has said so by then at the latest.
const LINGERS_FOR: Duration = Duration::from_secs(3);

pub(crate) fn run(stage: &mut Stage, rounds: u32) -> Outcome<String> {
    stage.raise_relayed(NODES)?;
    let mut voices = Voices::new("lab:interest");
    for node in INTERESTED {
        voices.join(stage, node)?;
    }
    let speakers = voices.present();
    voices.speak(&speakers, MANY_PER_SECOND);
    let mut unwanted = watch(stage, &mut voices, &speakers)?;
    for round in 1..=rounds {
        let late = joins_and_hears_all(stage, &mut voices, &speakers)?;
        let after = watch(stage, &mut voices, &speakers)?;
        stage.tell(format_args!(
            "visit {round} of {rounds}: {late} messages from before it joined; after it had left {} of {} reached its node",
            after.reached, after.said
        ));
        unwanted.reached += after.reached;
        unwanted.said += after.said;
    }
    voices.settle(stage, COMES_WITHIN)?;
    voices.lost_nothing(&voices.all())?;
    Cast::new("interest").check_breaks(stage)?;
    let account = voices.judge(stage)?;
    Ok(format!(
        "of {} messages that nobody there wanted {} reached the third node, trackers' own included; {account}",
        unwanted.said, unwanted.reached
    ))
}

/// What was said while nobody at the third node wanted it, and what came there nevertheless.
struct Unwanted {
    said: u64,
    reached: u64,
}

/// Waits until the third node no longer gets what it does not want, and watches for a while whether that is so.
fn watch(stage: &mut Stage, voices: &mut Voices, speakers: &[VoiceId]) -> Outcome<Unwanted> {
    let mut last = received(stage)?;
    let began = Instant::now();
    stage.until("the last unwanted messages", began, LINGERS_FOR, |stage| {
        let now = received(stage)?;
        let grown = now - std::mem::replace(&mut last, now);
        Ok(if grown > 0 {
            format!(" {grown} more came;")
        } else {
            String::new()
        })
    })?;
    let (said, reached) = (said(voices, speakers), received(stage)?);
    stage.hold(WATCH_FOR)?;
    voices.check()?;
    let unwanted = Unwanted {
        said: self::said(voices, speakers) - said,
        reached: received(stage)? - reached,
    };
    if unwanted.said < u64::from(MANY_PER_SECOND) {
        fail!("the voices said only {} messages", unwanted.said);
    }
    if unwanted.reached > unwanted.said / MAY_REACH_ONE_IN {
        fail!(
            "{} of {} messages reached a node where nobody wanted them",
            unwanted.reached,
            unwanted.said
        );
    }
    Ok(unwanted)
}

/// A voice joins at the third node, stays a while and leaves. Gives how many messages it got that were said before it
/// had joined, which is allowed; of what was said from then on, all must come.
fn joins_and_hears_all(
    stage: &mut Stage,
    voices: &mut Voices,
    speakers: &[VoiceId],
) -> Outcome<u64> {
    let visitor = voices.join(stage, THIRD)?;
    let joined: Vec<u64> = speakers.iter().map(|id| voices.said(*id)).collect();
    let moment = stage.dice.duration_below(MOMENT_WITHIN);
    stage.hold(moment)?;
    let until: Vec<u64> = speakers.iter().map(|id| voices.said(*id)).collect();
    stage.until("all to be heard", Instant::now(), COMES_WITHIN, |_| {
        let behind = speakers.iter().zip(&until).filter(|(speaker, until)| {
            let heard = voices.heard(visitor, **speaker);
            heard.is_none_or(|heard| heard.next < **until)
        });
        let behind: Vec<_> = behind.map(|(speaker, _)| speaker).collect();
        Ok(match behind.len() {
            0 => String::new(),
            _ => format!(" behind with voices {behind:?};"),
        })
    })?;
    let mut early = 0;
    for (speaker, joined) in speakers.iter().zip(joined) {
        let heard = voices.heard(visitor, *speaker);
        let first = heard.map_or(u64::MAX, |heard| heard.first);
        // Number `joined` may have been on its lips already, the one after it was not.
        if first > joined + 1 {
            fail!(
                "the first message heard has number {first}, and {} was said after the visitor had joined",
                joined + 1
            );
        }
        early += joined.saturating_sub(first);
    }
    voices.leave(visitor)?;
    Ok(early)
}

fn said(voices: &Voices, speakers: &[VoiceId]) -> u64 {
    speakers.iter().map(|id| voices.said(*id)).sum()
}

fn received(stage: &Stage) -> Outcome<u64> {
    Metrics::of(&stage.nodes[THIRD])?.counter("quic_received")
}
