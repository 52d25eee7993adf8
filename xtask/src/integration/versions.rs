//! A cluster in the middle of an upgrade: one node of three speaks the version before. Chat and presence go on across
//! both, and nothing is lost when that node is replaced by one of the new version.

use crate::failure::{Outcome, fail};
use crate::integration::cast::Cast;
use crate::integration::chat;
use crate::integration::client::COMES_WITHIN;
use crate::integration::stage::Stage;
use crate::integration::witness::Metrics;
use crate::integration::{MANY_PER_SECOND, MOMENT_WITHIN};

/// The node that is behind.
const OLD: usize = 1;
const OLD_PROTOCOL: [&str; 2] = ["--link-protocol", "1"];

pub(crate) fn run(stage: &mut Stage) -> Outcome<String> {
    for node in 0..chat::USERS.len() {
        let more: &[&str] = if node == OLD { &OLD_PROTOCOL } else { &[] };
        stage.add_relayed(more)?;
    }
    stage.met()?;
    for (at, of, protocol) in [
        (0, OLD, 1),
        (2, OLD, 1),
        (OLD, 0, 1),
        (OLD, 2, 1),
        (0, 2, 2),
        (2, 0, 2),
    ] {
        speaks(stage, at, of, protocol)?;
    }
    let talked = chat::converse(stage)?;
    let upgraded = upgrade(stage)?;
    Ok(format!("{talked}; {upgraded}"))
}

/// Everybody speaks across both versions; then the old node leaves, and one of the new version takes its place.
fn upgrade(stage: &mut Stage) -> Outcome<String> {
    stage.clients.iter_mut().for_each(Vec::clear);
    let mut cast = Cast::new("versions");
    for node in 0..stage.nodes.len() {
        cast.enter(stage, node)?;
    }
    cast.all_here(stage)?;
    cast.voices.speak(&cast.voices.present(), MANY_PER_SECOND);
    stage.hold(MOMENT_WITHIN)?;
    cast.voices.check()?;

    cast.bereave(stage, OLD);
    cast.break_once(&stage.others(OLD), &[OLD]);
    stage.nodes[OLD].ask_to_end();
    stage.replace(OLD)?;
    stage.replaced(OLD)?;
    cast.welcome(stage, OLD)?;
    for other in stage.others(OLD) {
        speaks(stage, other, OLD, 2)?;
    }
    cast.voices.speak(&cast.voices.present(), MANY_PER_SECOND);
    stage.hold(MOMENT_WITHIN)?;

    cast.voices.settle(stage, COMES_WITHIN)?;
    cast.voices.lost_nothing(&cast.voices.all())?;
    let account = cast.judge(stage)?;
    Ok(format!("upgraded under load; {account}"))
}

/// Which version of the protocol one node speaks with another.
fn speaks(stage: &Stage, at: usize, of: usize, protocol: u64) -> Outcome {
    let (node, peer) = (&stage.nodes[at], &stage.nodes[of].name);
    let spoken = Metrics::of(node)?.peer_gauge("quic_peer_protocol", peer)?;
    if spoken != protocol {
        fail!(
            "{} speaks version {spoken} with {peer}, not {protocol}",
            node.name
        );
    }
    Ok(())
}
