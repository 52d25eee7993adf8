//! A link that cannot carry what is said on it. Its queue fills, and what finds no room is dropped for that one node, which
//! is told how much: sender, receiver and listener agree to the message. The third node loses nothing, lists go
//! past the queue, and no link breaks.

use std::time::{Duration, Instant};

use matryoshka_relay::Faults;

use crate::failure::{Outcome, fail};
use crate::integration::cast::Cast;
use crate::integration::client::COMES_WITHIN;
use crate::integration::people::Places;
use crate::integration::stage::Stage;
use crate::integration::voices::VoiceId;
use crate::integration::witness::Metrics;
use crate::progress::seconds;

const NODES: usize = 3;
/// Who speaks, who is slow to reach, and who is not.
const SPEAKER: usize = 0;
const SLOW: usize = 1;
const THIRD: usize = 2;
/// Together 3.2 MB a second, of which the link carries an eighth.
const PER_SECOND: u32 = 100;
const PADDING_BYTES: usize = 32 * 1024;
/// What is still said while the queue drains.
const FEW_PER_SECOND: u32 = 5;
const MUD: Faults = Faults {
    lost: 0.01,
    delay: Duration::from_millis(150),
    bytes_per_second: Some(400_000),
    ..Faults::NONE
};
/// Well again, but not so fast that a whole queue is upon the listener at once, whose own node would take it for too slow.
const WELL: Faults = Faults {
    lost: 0.0,
    delay: Duration::from_millis(50),
    bytes_per_second: Some(4_000_000),
    ..MUD
};
/// Until a queue of 16 MiB is full: six seconds, if the machine can say so much.
const FULL_WITHIN: Duration = Duration::from_secs(60);
/// How long messages are dropped before the link is well again.
const DROPS_FOR: Duration = Duration::from_secs(1);
/// A user who enters while the queue is full is in the list at its other end by then: a round trip, and losses.
const LISTED_WITHIN: Duration = Duration::from_secs(3);
/// What waits is a whole queue.
const DRAINS_WITHIN: Duration = Duration::from_secs(30);

pub(crate) fn run(stage: &mut Stage) -> Outcome<String> {
    let mut cast = Cast::new("slow-link");
    cast.voices.padding = PADDING_BYTES;
    let mut cast = cast.raised(stage, NODES)?;
    stage.between(&[SPEAKER], &[SLOW], MUD);
    cast.voices.speak(&[only(&cast, SPEAKER)], PER_SECOND);
    let began = Instant::now();
    let filled = stage.until("a full queue", began, FULL_WITHIN, |stage| {
        cast.voices.check()?;
        Ok(match dropped(stage)? {
            0 => " nothing was dropped;".to_owned(),
            _ => String::new(),
        })
    })?;
    let listed = somebody_enters(stage, &cast)?;
    stage.hold(DROPS_FOR)?;
    stage.between(&[SPEAKER], &[SLOW], WELL);
    drain(stage, &mut cast)?;
    cast.voices.settle(stage, COMES_WITHIN)?;
    all_agree_on_what_was_lost(stage, &cast)?;
    cast.voices
        .lost_nothing(&cast.voices.on(&[SPEAKER, THIRD]))?;
    let account = cast.judge(stage)?;
    Ok(format!(
        "the queue was full after {}, and a user who entered then was listed behind it after {}; {account}",
        seconds(filled),
        seconds(listed)
    ))
}

/// Waits until something has come through that was said after the link was well again: what is still dropped now would
/// otherwise be the last that was said, and nobody could tell it from what is under way.
fn drain(stage: &mut Stage, cast: &mut Cast) -> Outcome {
    let (speaker, listener) = (only(cast, SPEAKER), only(cast, SLOW));
    cast.voices.speak(&[speaker], FEW_PER_SECOND);
    let said = cast.voices.said(speaker);
    stage.until("the queue to drain", Instant::now(), DRAINS_WITHIN, |_| {
        cast.voices.check()?;
        let heard = cast.voices.heard(listener, speaker);
        let next = heard.map_or(0, |heard| heard.next);
        Ok(if next > said {
            String::new()
        } else {
            format!(" {next} of {said} have come;")
        })
    })?;
    Ok(())
}

/// The one voice of a node.
fn only(cast: &Cast, node: usize) -> VoiceId {
    cast.voices.on(&[node])[0]
}

/// Gives how long it took until the newcomer was in every list.
fn somebody_enters(stage: &mut Stage, cast: &Cast) -> Outcome<Duration> {
    let all: Vec<usize> = (0..NODES).collect();
    let mut wanted: Places = cast.users(&all);
    wanted.insert("late".to_owned(), 1);
    stage.enter(SPEAKER, "late", &cast.room)?;
    let listed = stage.lists_become(&cast.room, &wanted, &all, Instant::now(), LISTED_WITHIN)?;
    stage.clients[SPEAKER].truncate(1);
    Ok(listed)
}

/// Messages that the speaker's node has dropped for the slow one.
fn dropped(stage: &Stage) -> Outcome<u64> {
    let metrics = Metrics::of(&stage.nodes[SPEAKER])?;
    Ok(metrics.peer_counter("quic_peer_dropped", &stage.nodes[SLOW].name))
}

fn all_agree_on_what_was_lost(stage: &Stage, cast: &Cast) -> Outcome {
    let dropped = dropped(stage)?;
    let speaker = &stage.nodes[SPEAKER].name;
    let told = Metrics::of(&stage.nodes[SLOW])?.peer_counter("quic_peer_lost", speaker);
    let heard = cast.voices.heard(only(cast, SLOW), only(cast, SPEAKER));
    let missing = heard.map(|heard| heard.missing());
    if dropped == 0 || told != dropped || missing != Some(dropped) {
        fail!(
            "{dropped} messages were dropped, {told} were told of, and the listener misses {missing:?}"
        );
    }
    Ok(())
}
