//! Three nodes, one user on each: who is here, what is said, in which order, and who leaves.

use std::time::Instant;

use serde_json::json;

use crate::failure::{Outcome, fail};
use crate::http;
use crate::integration::client::COMES_WITHIN;
use crate::integration::people::Places;
use crate::integration::stage::Stage;
use crate::progress::seconds;

/// One on each node.
pub(crate) const USERS: [&str; 3] = ["anna", "ben", "carl"];
const ROOM: &str = "room:chat";
const LAB: &str = "lab:chat";
/// Enough that an order kept by luck is unlikely.
const SHOUTS: u64 = 200;

pub(crate) fn run(stage: &mut Stage) -> Outcome<String> {
    stage.raise(USERS.len())?;
    converse(stage)
}

/// The same on a stage whose nodes have met.
pub(crate) fn converse(stage: &mut Stage) -> Outcome<String> {
    let began = Instant::now();
    for (index, user) in USERS.iter().enumerate() {
        stage.enter(index, user, ROOM)?;
        stage.clients[index][0].join(LAB)?;
    }
    let everywhere = [0, 1, 2];
    let agreed = stage.lists_become(ROOM, &once_each(&USERS), &everywhere, began, COMES_WITHIN)?;

    everyone_hears_each_message(stage)?;
    each_speaker_stays_in_order(stage)?;
    a_broadcast_over_http_reaches_all(stage)?;

    let left = Instant::now();
    stage.clients[1].remove(0).close();
    let gone = stage.lists_become(
        ROOM,
        &once_each(&["anna", "carl"]),
        &everywhere,
        left,
        COMES_WITHIN,
    )?;
    Ok(format!(
        "lists agreed after {}, a user who left was gone after {}",
        seconds(agreed),
        seconds(gone)
    ))
}

fn everyone_hears_each_message(stage: &mut Stage) -> Outcome {
    for (index, speaker) in USERS.iter().enumerate() {
        stage.clients[index][0].push(ROOM, "new_msg", json!({"body": "hello"}))?;
        for client in stage.clients.iter_mut().flatten() {
            let heard = client.event(ROOM, "new_msg")?;
            if heard != json!({"user": speaker, "body": "hello"}) {
                fail!("{} heard {heard} from {speaker}", client.user);
            }
        }
    }
    Ok(())
}

/// All speak at once; what one says arrives everywhere, once, in the order in which it was said.
fn each_speaker_stays_in_order(stage: &mut Stage) -> Outcome {
    for number in 0..SHOUTS {
        for index in 0..USERS.len() {
            stage.clients[index][0].send(LAB, "shout", json!({"by": index, "n": number}))?;
        }
    }
    for client in stage.clients.iter_mut().flatten() {
        let mut next = [0; USERS.len()];
        for _ in 0..SHOUTS * USERS.len() as u64 {
            let heard = client.event(LAB, "shout")?;
            let expected = usize::try_from(heard["by"].as_u64().unwrap_or(u64::MAX))
                .ok()
                .and_then(|by| next.get_mut(by));
            match expected {
                Some(number) if heard["n"] == *number => *number += 1,
                _ => fail!("{} heard {heard} while waiting for {next:?}", client.user),
            }
        }
    }
    Ok(())
}

fn a_broadcast_over_http_reaches_all(stage: &mut Stage) -> Outcome {
    let path = format!("/api/broadcast/{LAB}/news");
    match http::post(stage.nodes[2].http, &path, b"{\"from\":\"n3\"}") {
        Ok(204) => {}
        answer => fail!("POST {path} answered {answer:?}"),
    }
    for client in stage.clients.iter_mut().flatten() {
        let news = client.event(LAB, "news")?;
        if news != json!({"from": "n3"}) {
            fail!("{} heard {news}", client.user);
        }
    }
    Ok(())
}

fn once_each(users: &[&str]) -> Places {
    users.iter().map(|user| ((*user).to_owned(), 1)).collect()
}
