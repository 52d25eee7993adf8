//! The shortest and the longest time that each setting takes.

use std::time::Duration;

use matryoshka_channel::SocketsConfig;
use matryoshka_channel::testing::advance;
use tokio::time::Instant;

use crate::client::{Client, Vsn};
use crate::lab::Lab;

const NONE: Duration = Duration::ZERO;
const EVER: Duration = Duration::MAX;

const JOINS: &str = r#"
    > ["1","1","lab:a","phx_join",{}]
    < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
    > ["2","2","lab:b","phx_join",{}]
    < ["2","2","lab:b","phx_reply",{"status":"ok","response":{}}]
    "#;

/// More than its inbox takes, for a second.
const TOO_MUCH: &str = r#"
    > ["1","3","lab:a","slow",{"ms":1000}]
    > ["1","4","lab:a","bare",{}]
    > ["1","5","lab:a","bare",{}]
    > ["1","6","lab:a","bare",{}]
    "#;

fn config(set: impl FnOnce(&mut SocketsConfig)) -> SocketsConfig {
    let mut config = SocketsConfig::default();
    config.inbox_messages = 1;
    set(&mut config);
    config
}

#[tokio::test(start_paused = true)]
async fn no_patience_and_any_patience_with_a_channel_in_the_way() {
    let shortest = [
        config(|config| config.stall_timeout = NONE),
        config(|config| config.http.limits.idle_timeout = NONE),
        config(|config| config.http.limits.idle_timeout = Duration::from_nanos(1)),
    ];
    for config in shortest {
        let mut client = Client::connect(&Lab::new().sockets_with(config), Vsn::V2).await;
        client.play(JOINS).await;
        client.play(TOO_MUCH).await;
        let start = Instant::now();
        // What waits for it is answered, and its end is told.
        for _ in 0..3 {
            client.recv().await.unwrap();
        }
        assert!(start.elapsed().as_millis() < 100);
    }
    let longest = config(|config| {
        config.stall_timeout = EVER;
        config.http.limits.idle_timeout = EVER;
    });
    let mut client = Client::connect(&Lab::new().sockets_with(longest), Vsn::V2).await;
    client.play(JOINS).await;
    client.play(TOO_MUCH).await;
    let answers = r#"
        < ["1","3","lab:a","phx_reply",{"status":"ok","response":{"ms":1000}}]
        < ["1","4","lab:a","phx_reply",{"status":"ok","response":{}}]
        < ["1","5","lab:a","phx_reply",{"status":"ok","response":{}}]
        < ["1","6","lab:a","phx_reply",{"status":"ok","response":{}}]
        "#;
    client.play(answers).await;
}

#[tokio::test(start_paused = true)]
async fn no_time_and_any_time_for_what_is_at_work_at_the_end() {
    for (time, at_work) in [(NONE, "dropped in the middle"), (EVER, "in bare")] {
        let lab = Lab::new();
        let sockets = lab.sockets_with(config(|config| config.terminate_timeout = time));
        let mut client = Client::connect(&sockets, Vsn::V2).await;
        client.play(JOINS).await;
        client
            .play(r#"> ["1","3","lab:a","slow",{"ms":1000}]"#)
            .await;
        client.play(r#"> ["1","4","lab:a","bare",{}]"#).await;
        client.play(".").await;
        lab.notes();
        client.close().await;
        advance(Duration::from_secs(60)).await;
        assert_eq!(sockets.stats().ended, 2, "{time:?}: channels run on");
        let notes = lab.notes();
        let ends = notes.iter().filter(|note| *note == "terminate Closed");
        assert_eq!(ends.count(), 2, "{notes:?}");
        assert!(notes.iter().any(|note| note == at_work), "{notes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_callback_and_none_is_told_to_block() {
    for time in [NONE, EVER] {
        let config = config(|config| config.blocking_warning = time);
        let mut client = Client::connect(&Lab::new().sockets_with(config), Vsn::V2).await;
        client.play(JOINS).await;
    }
}
