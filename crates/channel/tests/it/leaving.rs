//! Leaves.

use matryoshka_channel::{REPLACED_CHANNEL_WAIT, close_channel, disconnect};
use tokio::time::Instant;

use crate::client::{Client, Vsn};
use crate::lab::Lab;

const HOOKED: &str = r#"
    > ["1","1","lab:a","phx_join",{"leave_hooks":["a","panic","b"]}]
    < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
    "#;

/// Each was given twice, and one of them panics.
#[tokio::test(start_paused = true)]
async fn an_end_on_purpose_is_told_to_each_hook_once_after_terminate() {
    for reason in ["Left", "Stopped", "Kicked", "Disconnected"] {
        let lab = Lab::new();
        let mut client = Client::connect_as(&lab.sockets(), Vsn::V2, "anna").await;
        client.play(HOOKED).await;
        lab.notes();
        match reason {
            "Left" => client.play(r#"> ["1","2","lab:a","phx_leave",{}]"#).await,
            "Stopped" => client.play(r#"> ["1","2","lab:a","stop",{}]"#).await,
            "Kicked" => drop(close_channel(&lab.pubsub, "user_socket:anna", "lab:a").unwrap()),
            _ => drop(disconnect(&lab.pubsub, "user_socket:anna").unwrap()),
        }
        lab.noted("hook b of lab:a").await;
        let notes = lab.notes();
        let expected = [
            format!("terminate {reason}"),
            "hook a of lab:a".to_owned(),
            "hook panic of lab:a".to_owned(),
            "hook b of lab:a".to_owned(),
        ];
        assert!(notes.ends_with(&expected), "{notes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_other_end_is_told_to_a_hook() {
    let lab = Lab::new();
    let sockets = lab.sockets();
    let mut crashing = Client::connect(&sockets, Vsn::V2).await;
    crashing.play(HOOKED).await;
    crashing.play(r#"> ["1","2","lab:a","crash",{}]"#).await;
    lab.noted("terminate Crashed").await;
    let mut gone = Client::connect(&sockets, Vsn::V2).await;
    gone.play(HOOKED).await;
    drop(gone);
    lab.noted("terminate Closed").await;
    tokio::task::yield_now().await;
    let notes = lab.notes();
    assert!(
        !notes.iter().any(|note| note.starts_with("hook")),
        "{notes:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn l1_x1_a_leave_is_answered_then_closed() {
    for (vsn, join_ref) in [
        (Vsn::V1, r#""1""#),
        (Vsn::V2, r#""1""#),
        (Vsn::V1, "null"),
        (Vsn::V2, "null"),
    ] {
        let lab = Lab::new();
        let script = r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > [JOIN,"2","lab:a","phx_leave",{}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1","1","lab:a","phx_close",{}]
            .
            "#;
        let mut client = Client::connect(&lab.sockets(), vsn).await;
        client.play(&script.replace("JOIN", join_ref)).await;
        assert_eq!(lab.notes()[1..], ["terminate Left"]);
        assert_eq!(lab.pubsub.subscriptions("lab:a"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn l2_a_stale_leave_is_ignored() {
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["0","2","lab:a","phx_leave",{}]
            .
            > ["1","3","lab:a","bare",{}]
            < ["1","3","lab:a","phx_reply",{"status":"ok","response":{}}]
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn l3_a_leave_of_a_topic_not_joined_is_answered_ok() {
    for vsn in [Vsn::V1, Vsn::V2] {
        let mut client = Client::connect(&Lab::new().sockets(), vsn).await;
        client
            .play(
                r#"
                > ["7","18","lab:zzz","phx_leave",{}]
                < ["7","18","lab:zzz","phx_reply",{"status":"ok","response":{}}]
                > [null,null,"none","phx_leave",{}]
                < [null,null,"none","phx_reply",{"status":"ok","response":{}}]
                .
                "#,
            )
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn l4_l5_what_follows_a_leave_is_dropped_until_the_close() {
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","2","lab:a","phx_leave",{}]
            > ["1","3","lab:a","phx_leave",{}]
            > ["1","4","lab:a","bare",{}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1","1","lab:a","phx_close",{}]
            .
            > ["1","5","lab:a","phx_leave",{}]
            < ["1","5","lab:a","phx_reply",{"status":"ok","response":{}}]
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn l6_what_follows_the_close_is_unmatched() {
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","2","lab:a","phx_leave",{}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1","1","lab:a","phx_close",{}]
            > ["1","3","lab:a","bare",{}]
            < [null,"3","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
            > ["1","4","lab:a","bare",{}]
            < [null,"4","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn l7_last_words_follow_the_close() {
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{"last_words":true}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","2","lab:a","phx_leave",{}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1","1","lab:a","phx_close",{}]
            < ["1",null,"lab:a","last_words",{}]
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn l9_earlier_messages_are_handled_before_the_leave() {
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            > ["1","2","lab:a","slow",{"ms":100}]
            > ["1","3","lab:a","count",{}]
            > ["1","4","lab:a","phx_leave",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{"ms":100}}]
            < ["1","3","lab:a","phx_reply",{"status":"ok","response":{"count":1}}]
            < ["1","4","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1","1","lab:a","phx_close",{}]
            "#,
        )
        .await;
}

/// The official client sends this pair for a duplicate channel.
const LEAVE_AND_JOIN: &str = r#"
    > ["1","2","lab:a","phx_leave",{}]
    > ["3","3","lab:a","phx_join",{}]
    < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
    < ["3","3","lab:a","phx_reply",{"status":"ok","response":{}}]
    < ["1","1","lab:a","phx_close",{}]
    .
    "#;

const LEFT: [&str; 5] = [
    "terminate Left",
    "hook a of lab:a",
    "hook panic of lab:a",
    "hook b of lab:a",
    "join lab:a {}",
];

#[tokio::test(start_paused = true)]
async fn a_leave_is_told_to_hooks_though_a_join_is_right_behind_it() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client.play(HOOKED).await;
    lab.notes();
    client.play(LEAVE_AND_JOIN).await;
    assert_eq!(lab.notes(), LEFT);
}

#[tokio::test(start_paused = true)]
async fn a_leave_that_waits_for_its_join_is_told_to_hooks_though_a_join_is_right_behind_it() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    let script = r#"
        > ["1","1","lab:a","phx_join",{"leave_hooks":["a","panic","b"],"sleep":15000,"after":"state"}]
        > ["1","2","lab:a","phx_leave",{}]
        > ["3","3","lab:a","phx_join",{}]
        < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
        < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
        < ["3","3","lab:a","phx_reply",{"status":"ok","response":{}}]
        < ["1","1","lab:a","phx_close",{}]
        .
        "#;
    client.play(script).await;
    assert_eq!(lab.notes()[1..], LEFT);
}

/// It is not waited for longer than any other channel that is replaced.
#[tokio::test(start_paused = true)]
async fn a_leave_behind_a_slow_callback_is_told_to_hooks_when_the_next_join_waits_no_longer() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client.play(HOOKED).await;
    let start = Instant::now();
    let script = r#"
        > ["1","2","lab:a","slow",{"ms":60000}]
        > ["1","3","lab:a","phx_leave",{}]
        > ["4","4","lab:a","phx_join",{}]
        < ["4","4","lab:a","phx_reply",{"status":"ok","response":{}}]
        < ["1","1","lab:a","phx_close",{}]
        .
        "#;
    client.play(script).await;
    assert_eq!(start.elapsed().as_secs(), REPLACED_CHANNEL_WAIT.as_secs());
    assert_eq!(
        lab.notes()[2..],
        [&["dropped in the middle"], &LEFT[..]].concat()
    );
}

/// Its client is not to stay on a list for as long as that takes to write.
#[tokio::test(start_paused = true)]
async fn a_leave_does_not_wait_for_what_its_join_put_off() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    let start = Instant::now();
    let script = r#"
        > ["1","1","lab:a","phx_join",{"after_sleep":5000,"after":"state"}]
        < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
        .
        > ["1","2","lab:a","phx_leave",{}]
        < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
        < ["1","1","lab:a","phx_close",{}]
        .
        "#;
    client.play(script).await;
    assert!(start.elapsed().as_secs() < 1, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_connection_does_not_wait_for_what_its_joins_put_off() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    let script = r#"
        > ["1","1","lab:a","phx_join",{"after_sleep":5000,"after":"state"}]
        < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
        .
        "#;
    client.play(script).await;
    let start = Instant::now();
    drop(client);
    lab.noted("terminate Closed").await;
    assert!(start.elapsed().as_secs() < 1, "{:?}", start.elapsed());
}
