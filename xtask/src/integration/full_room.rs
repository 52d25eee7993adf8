//! Many users into one room over several nodes: how long after the last join every list is complete.

use std::time::Duration;

use crate::failure::{Outcome, fail};
use crate::integration::RoomSize;
use crate::integration::client::COMES_WITHIN;
use crate::integration::crowd::Crowd;
use crate::integration::people::Places;
use crate::integration::stage::Stage;
use crate::progress::seconds;

const ROOM: &str = "room:full";
/// Those on each node who hold the list.
const READERS: usize = 5;
/// A room of up to so many is complete sooner.
const LARGE: u32 = 1_000;
const COMPLETE_WITHIN: Duration = Duration::from_secs(1);
const LARGE_COMPLETE_WITHIN: Duration = Duration::from_secs(3);

pub(crate) fn run(stage: &mut Stage, room: RoomSize) -> Outcome<String> {
    let RoomSize { nodes, users, .. } = room;
    stage.raise(nodes)?;
    let all = room.all_nodes();
    let names = || (1..=users).map(|number| format!("u{number}"));
    let everybody: Places = names().map(|name| (name, 1)).collect();
    let mut crowd = Crowd::new(ROOM, room.at_the_door);
    crowd.connect(stage, &all, names(), room.readers.unwrap_or(READERS))?;
    crowd.shuffle(&mut stage.dice);
    let entrance = crowd.enter(stage)?;
    let seen = crowd.lists_become(stage, &all, &everybody, entrance.last, COMES_WITHIN)?;
    let bar = if users > LARGE {
        LARGE_COMPLETE_WITHIN
    } else {
        COMPLETE_WITHIN
    };
    let figures = format!(
        "{users} users on {nodes} nodes in {}, {} at a time, {:.0} MB read; after the last join was answered all nodes list all after {}, all readers after {} (bar {}), \
         after it was asked for {}",
        seconds(entrance.took),
        room.at_the_door,
        crowd.bytes_read() as f64 / 1e6,
        seconds(seen.nodes),
        seconds(seen.readers),
        seconds(bar),
        seconds(entrance.last + seen.last() - entrance.asked)
    );
    if seen.last() > bar {
        fail!("too late: {figures}");
    }
    Ok(figures)
}
