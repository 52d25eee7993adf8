//! Which topics can be joined, and heartbeats.

use matryoshka_channel::Router;

use crate::client::{Client, Vsn};
use crate::lab::Lab;
use crate::log::Lines;

#[tokio::test(start_paused = true)]
async fn s10_a_heartbeat_is_answered_before_any_join() {
    for vsn in [Vsn::V1, Vsn::V2] {
        let mut client = Client::connect(&Lab::new().sockets(), vsn).await;
        client
            .play(
                r#"
                > [null,"1","phoenix","heartbeat",{}]
                < [null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]
                > ["9",2,"phoenix","heartbeat",null]
                < [null,2,"phoenix","phx_reply",{"status":"ok","response":{}}]
                > [null,"3","lab:a","heartbeat",{}]
                < [null,"3","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
                > [null,"4","phoenix","other",{}]
                < [null,"4","phoenix","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
                "#,
            )
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn r1_r2_topics_match_whole_or_by_prefix() {
    for vsn in [Vsn::V1, Vsn::V2] {
        let mut client = Client::connect(&Lab::new().sockets(), vsn).await;
        client
            .play(
                r#"
                > ["1","1","exact","phx_join",{}]
                < ["1","1","exact","phx_reply",{"status":"ok","response":{}}]
                > ["2","2","exactly","phx_join",{}]
                < [null,"2","exactly","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
                > ["3","3","lab:","phx_join",{}]
                < ["3","3","lab:","phx_reply",{"status":"ok","response":{}}]
                > ["4","4","lab:a:b","phx_join",{}]
                < ["4","4","lab:a:b","phx_reply",{"status":"ok","response":{}}]
                "#,
            )
            .await;
    }
}

#[test]
#[should_panic(expected = "use one `*`, as the last character")]
fn r3_a_star_before_the_end_is_a_mistake_of_the_program() {
    drop(Lab::new().sockets().channel::<crate::lab::Room>("lab:*:x"));
}

#[test]
fn r4_the_first_declared_route_wins() {
    let mut router = Router::new();
    router.add("food*", 1).unwrap();
    router.add("foo*", 2).unwrap();
    assert_eq!(
        (router.find("food:1"), router.find("foo:1")),
        (Some(&1), Some(&2))
    );
}

#[tokio::test(start_paused = true)]
async fn r5_a_join_without_a_route_is_refused_and_logged_once() {
    let lines = Lines::collect();
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","2","none","phx_join",{}]
            < [null,"2","none","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
            "#,
        )
        .await;
    let lines = lines.take();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("none"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn r6_a_topic_that_is_no_string_is_unmatched_and_echoed() {
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1",7,"phx_join",{}]
            < [null,"1",7,"phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
            > ["1","2",{"a":1},"x",{}]
            < [null,"2",{"a":1},"phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
            > ["1","3",null,"phx_leave",{}]
            < ["1","3",null,"phx_reply",{"status":"ok","response":{}}]
            "#,
        )
        .await;
}
