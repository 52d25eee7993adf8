//! Joins: accepted, refused, crashed, slow, too many, and twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use matryoshka_channel::pubsub::{Limits, PubSub};
use matryoshka_channel::testing::settle;
use matryoshka_channel::{
    Channel, Connected, Refused, Reply, Socket, Sockets, SocketsConfig, broadcast,
};
use serde_json::json;
use tokio::time::{Instant, advance};

use crate::client::{Client, Vsn};
use crate::lab::Lab;
use crate::log::Lines;

async fn play_both(script: &str) {
    for vsn in [Vsn::V1, Vsn::V2] {
        Client::connect(&Lab::new().sockets(), vsn)
            .await
            .play(script)
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn j1_j2_an_accepted_join_is_answered_ok() {
    play_both(
        r#"
        > ["3","3","lab:a","phx_join",{}]
        < ["3","3","lab:a","phx_reply",{"status":"ok","response":{}}]
        > ["4","5","lab:b","phx_join",{"reply":{"motd":"hi"}}]
        < ["4","5","lab:b","phx_reply",{"status":"ok","response":{"motd":"hi"}}]
        > ["6","6","lab:c","phx_join",{"reply":["any",1]}]
        < ["6","6","lab:c","phx_reply",{"status":"ok","response":["any",1]}]
        .
        "#,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn j2_a_join_may_answer_bytes() {
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > 00 01 01 05 08 "3" "3" "lab:a" "phx_join" ff 07
            < 01 01 01 05 02 "3" "3" "lab:a" "ok" ff 07
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn j3_j12_x10_a_refused_join_leaves_no_channel() {
    let script = r#"
        > ["3","3","lab:a","phx_join",{"deny":"full"}]
        < ["3","3","lab:a","phx_reply",{"status":"error","response":{"reason":"full"}}]
        > ["3","4","lab:a","echo",{}]
        < [null,"4","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        .
        "#;
    for vsn in [Vsn::V1, Vsn::V2] {
        let lab = Lab::new();
        Client::connect(&lab.sockets(), vsn)
            .await
            .play(script)
            .await;
        assert_eq!(
            lab.notes(),
            [r#"join lab:a {"deny":"full"}"#],
            "nothing to terminate"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn j4_x11_a_panic_in_join_is_a_crashed_join() {
    let lab = Lab::new();
    let lines = Lines::collect();
    Client::connect(&lab.sockets(), Vsn::V2)
        .await
        .play(
            r#"
            > ["3","3","lab:a","phx_join",{"do":"panic"}]
            < ["3","3","lab:a","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]
            .
            "#,
        )
        .await;
    assert_eq!(lab.notes().len(), 1, "no terminate");
    let lines = lines.take_timeless();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("told to") && lines[0].contains("lab:a"),
        "{lines:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn j5_p8_a_push_a_broadcast_or_a_handle_in_join_crashes_it() {
    for order in ["push", "broadcast", "reply"] {
        let script = r#"
            > ["3","3","lab:a","phx_join",{"do":"ORDER"}]
            < ["3","3","lab:a","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]
            .
            "#;
        play_both(&script.replace("ORDER", order)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn j5_what_is_put_off_may_put_off_more() {
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["3","3","lab:a","phx_join",{"after_after":"welcome"}]
            < ["3","3","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["3",null,"lab:a","welcome",{}]
            .
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn j5_what_is_put_off_until_after_the_join_follows_its_answer() {
    play_both(
        r#"
        > ["3","3","lab:a","phx_join",{"after":"welcome"}]
        < ["3","3","lab:a","phx_reply",{"status":"ok","response":{}}]
        < ["3",null,"lab:a","welcome",{}]
        "#,
    )
    .await;
    Client::connect(&Lab::new().sockets(), Vsn::V2)
        .await
        .play(
            r#"
            > ["3","3","lab:a","phx_join",{"after_fail":true}]
            < ["3","3","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["3","3","lab:a","phx_error",{"reason":"channel_crash"}]
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn j7_more_topics_than_allowed_are_refused() {
    let lines = Lines::collect();
    let mut config = SocketsConfig::default();
    config.max_channels = 2;
    let mut client = Client::connect(&Lab::new().sockets_with(config), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["2","2","lab:b","phx_join",{}]
            < ["2","2","lab:b","phx_reply",{"status":"ok","response":{}}]
            > ["3","4","lab:c","phx_join",{}]
            < ["3","4","lab:c","phx_reply",{"status":"error","response":{"reason":"too many channels joined"}}]
            > ["5","5","none","phx_join",{}]
            < [null,"5","none","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
            > ["6","6","lab:a","phx_join",{}]
            < ["6","6","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1","1","lab:a","phx_close",{}]
            > ["2","7","lab:b","phx_leave",{}]
            < ["2","7","lab:b","phx_reply",{"status":"ok","response":{}}]
            < ["2","2","lab:b","phx_close",{}]
            > ["8","8","lab:c","phx_join",{}]
            < ["8","8","lab:c","phx_reply",{"status":"ok","response":{}}]
            "#,
        )
        .await;
    let lines = lines.take();
    assert!(
        matches!(&lines[..], [full, _unmatched] if full.contains("SocketsConfig::max_channels")),
        "{lines:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn j7_the_default_limit_is_a_hundred() {
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    for n in 0..100 {
        client
            .send(&format!(r#"["{n}","{n}","lab:{n}","phx_join",{{}}]"#))
            .await;
    }
    for _ in 0..100 {
        client.recv().await.unwrap();
    }
    client
        .play(
            r#"
            > ["x","x","lab:x","phx_join",{}]
            < ["x","x","lab:x","phx_reply",{"status":"error","response":{"reason":"too many channels joined"}}]
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn j8_a_join_without_a_join_ref() {
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > [null,"1","lab:a","phx_join",{"after":"hi"}]
            < [null,"1","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1",null,"lab:a","hi",{}]
            > [null,"2","lab:a","bare",{}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","3","lab:a","bare",{}]
            .
            > [null,"4","lab:a","phx_leave",{}]
            < ["1","4","lab:a","phx_reply",{"status":"ok","response":{}}]
            < [null,null,"lab:a","phx_close",{}]
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn j9_any_payload_reaches_the_handler() {
    for payload in ["null", r#"[1,"a"]"#, r#""text""#] {
        let script = r#"
            > ["3","3","lab:a","phx_join",PAYLOAD]
            < ["3","3","lab:a","phx_reply",{"status":"ok","response":{"params":PAYLOAD}}]
            "#;
        play_both(&script.replace("PAYLOAD", payload)).await;
    }
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > 00 01 01 05 08 "3" "3" "lab:a" "phx_join" 01 02
            < ["3","3","lab:a","phx_reply",{"status":"ok","response":{}}]
            "#,
        )
        .await;
    assert_eq!(lab.notes(), [r#"join lab:a {"bytes":[1,2]}"#]);
}

#[tokio::test(start_paused = true)]
async fn j10_a_slow_join_is_answered_late_then_the_next_runs() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{"sleep":15000}]
            > ["1","2","lab:a","phx_leave",{}]
            > ["3","3","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["3","3","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1","1","lab:a","phx_close",{}]
            > ["3","4","lab:a","count",{}]
            < ["3","4","lab:a","phx_reply",{"status":"ok","response":{"count":1}}]
            .
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_join_blocks_neither_heartbeats_nor_other_topics() {
    play_both(
        r#"
        > ["1","1","lab:slow","phx_join",{"sleep":5000}]
        > ["1","2","lab:slow","count",{}]
        > [null,"3","phoenix","heartbeat",{}]
        < [null,"3","phoenix","phx_reply",{"status":"ok","response":{}}]
        > ["4","4","lab:a","phx_join",{}]
        < ["4","4","lab:a","phx_reply",{"status":"ok","response":{}}]
        > ["4","5","lab:a","bare",{}]
        < ["4","5","lab:a","phx_reply",{"status":"ok","response":{}}]
        < ["1","1","lab:slow","phx_reply",{"status":"ok","response":{}}]
        < ["1","2","lab:slow","phx_reply",{"status":"ok","response":{"count":1}}]
        "#,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn messages_that_waited_for_a_refused_join_are_unmatched() {
    play_both(
        r#"
        > ["1","1","lab:a","phx_join",{"sleep":1000,"deny":"no"}]
        > ["1","2","lab:a","echo",{}]
        > ["1","3","lab:a","phx_leave",{}]
        < ["1","1","lab:a","phx_reply",{"status":"error","response":{"reason":"no"}}]
        < [null,"2","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        < ["1","3","lab:a","phx_reply",{"status":"ok","response":{}}]
        .
        "#,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn messages_that_found_no_room_before_a_refusal_are_unmatched_too() {
    let mut config = SocketsConfig::default();
    config.inbox_messages = 1;
    let mut client = Client::connect(&Lab::new().sockets_with(config), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{"sleep":1000,"deny":"no"}]
            > ["1","2","lab:a","echo",{}]
            > ["1","3","lab:a","echo",{}]
            > ["1","4","lab:a","echo",{}]
            < ["1","1","lab:a","phx_reply",{"status":"error","response":{"reason":"no"}}]
            < [null,"2","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
            < [null,"3","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
            < [null,"4","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
            .
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn j11_a_connection_that_drops_during_the_join_ends_the_channel() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client
        .play(r#"> ["1","1","lab:a","phx_join",{"sleep":1000}]"#)
        .await;
    client.play(".").await;
    client.close().await;
    lab.noted("terminate Closed").await;
    assert_eq!(lab.notes()[1..], ["terminate Closed"]);
    assert_eq!(lab.pubsub.subscriptions("lab:a"), 0);
}

#[tokio::test(start_paused = true)]
async fn j5_what_is_put_off_may_use_the_channel() {
    play_both(
        r#"
        > ["1","1","lab:a","phx_join",{"after_with":true}]
        < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
        < ["1",null,"lab:a","joined",{"count":1}]
        > ["1","2","lab:a","count",{}]
        < ["1","2","lab:a","phx_reply",{"status":"ok","response":{"count":2}}]
        "#,
    )
    .await;
}

/// Joins that nobody waits for do not pile up, nor what they were sent along.
#[tokio::test(start_paused = true)]
async fn j11_joins_of_a_connection_that_is_gone_come_to_an_end() {
    let lab = Lab::new();
    let app = Arc::new(());
    let assigned = Arc::clone(&app);
    let sockets = lab.sockets().on_connect(move |_, _| {
        let assigned = Arc::clone(&assigned);
        async move { Ok(Connected::new().assign(assigned)) }
    });
    // One for the test, one for the closure.
    let kept = || Arc::strong_count(&app) - 2;
    let mut client = Client::connect(&sockets, Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{"sleep":3600000}]
            > ["2","2","lab:a","phx_join",{"sleep":3600000}]
            > ["2","3","lab:a","echo",{}]
            .
            "#,
        )
        .await;
    let waits = || sockets.stats().inbox_waiting;
    assert_eq!((kept(), waits()), (1, 1));
    let start = Instant::now();
    client.close().await;
    settle().await;
    assert_eq!((kept(), waits()), (1, 0), "the second has let go of all");
    while kept() > 0 {
        advance(Duration::from_millis(100)).await;
        settle().await;
        assert!(start.elapsed() < Duration::from_secs(60), "for ever");
    }
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(lab.notes().len(), 1, "the second has not begun");
}

#[tokio::test(start_paused = true)]
async fn what_is_broadcast_during_the_join_does_not_reach_the_joiner() {
    play_both(
        r#"
        > ["1","1","lab:a","phx_join",{"announce":"early"}]
        < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
        .
        "#,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn d1_d4_x7_the_last_join_wins() {
    let script = r#"
        > ["1","1","lab:a","phx_join",{"after":"hi"}]
        < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
        < ["1",null,"lab:a","hi",{}]
        > ["2","2","lab:a","phx_join",{"after":"hi"}]
        < ["2","2","lab:a","phx_reply",{"status":"ok","response":{}}]
        < ["1","1","lab:a","phx_close",{}]
        < ["2",null,"lab:a","hi",{}]
        > ["1","3","lab:a","bare",{}]
        > ["2","4","lab:a","bare",{}]
        < ["2","4","lab:a","phx_reply",{"status":"ok","response":{}}]
        .
        "#;
    for vsn in [Vsn::V1, Vsn::V2] {
        let lab = Lab::new();
        Client::connect(&lab.sockets(), vsn)
            .await
            .play(script)
            .await;
        assert!(!lab.notes().iter().any(|note| note.starts_with("terminate")));
        broadcast(&lab.pubsub, "lab:a", "x", &json!({})).unwrap();
        assert_eq!(
            lab.pubsub.subscriptions("lab:a"),
            1,
            "the old one's is gone"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn d1_d2_d3_what_waited_for_the_old_channel_is_discarded() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","2","lab:a","slow",{"ms":20000}]
            .
            > ["1","3","lab:a","bare",{}]
            > ["1","4","lab:a","phx_leave",{}]
            > ["5","5","lab:a","phx_join",{}]
            < ["5","5","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1","1","lab:a","phx_close",{}]
            .
            "#,
        )
        .await;
    // D2, D3: the old one is gone before the new one's join runs.
    let notes = [
        "join lab:a {}",
        "in slow",
        "dropped in the middle",
        "terminate Left",
        "join lab:a {}",
    ];
    assert_eq!(lab.notes(), notes);
}

#[tokio::test(start_paused = true)]
async fn d5_a_refused_or_crashed_second_join_closes_the_first_all_the_same() {
    for (order, reason) in [
        (r#""deny":"no""#, "no"),
        (r#""do":"panic""#, "join crashed"),
    ] {
        let script = r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["2","2","lab:a","phx_join",{ORDER}]
            < ["2","2","lab:a","phx_reply",{"status":"error","response":{"reason":"REASON"}}]
            < ["1","1","lab:a","phx_close",{}]
            > [null,"3","lab:a","bare",{}]
            < [null,"3","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
            "#;
        Client::connect(&Lab::new().sockets(), Vsn::V2)
            .await
            .play(&script.replace("ORDER", order).replace("REASON", reason))
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn d7_l8_join_leave_join_in_one_go() {
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            > ["1","2","lab:a","phx_leave",{}]
            > ["3","3","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["3","3","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1","1","lab:a","phx_close",{}]
            .
            > ["3","4","lab:a","phx_leave",{}]
            > ["5","5","lab:a","phx_join",{}]
            < ["3","4","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["5","5","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["3","3","lab:a","phx_close",{}]
            .
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn many_joins_of_one_topic_in_one_go_are_each_answered_once_and_in_order() {
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    for n in 0..150u32 {
        client
            .send(&format!(r#"["{n}","{n}","lab:a","phx_join",{{}}]"#))
            .await;
    }
    for n in 0..150u32 {
        client
            .play(&format!(
                r#"< ["{n}","{n}","lab:a","phx_reply",{{"status":"ok","response":{{}}}}]"#
            ))
            .await;
        if let Some(old) = n.checked_sub(1) {
            client
                .play(&format!(r#"< ["{old}","{old}","lab:a","phx_close",{{}}]"#))
                .await;
        }
    }
    client.play(".").await;
}

/// There is no process that might fail to start, but what a channel needs may not come to be: here an answer that its client
/// could read.
#[tokio::test(start_paused = true)]
async fn j6_a_channel_that_was_accepted_and_cannot_begin_is_a_crashed_join() {
    let lab = Lab::new();
    let sockets = lab.sockets();
    let mut client = Client::connect(&sockets, Vsn::V1).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{"reply_bytes":true}]
            < ["1","1","lab:a","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]
            > ["1","2","lab:a","echo",{}]
            < [null,"2","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
            .
            "#,
        )
        .await;
    assert_eq!(lab.pubsub.subscriptions("lab:a"), 0);
    assert_eq!(sockets.stats().joined, 0);
}

/// A binary frame has no room for such a topic; that is no reason to close the whole socket.
#[tokio::test(start_paused = true)]
async fn j4_a_join_whose_topic_does_not_fit_its_binary_answer_crashes_alone() {
    let limits = Limits::default().with_topic_bytes(400).unwrap();
    let lab = Lab::on(PubSub::local_with_limits(limits));
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    let long = format!("lab:{}", "t".repeat(296));
    let join = format!(r#"["1","2","{long}","phx_join",{{"reply_bytes":true}}]"#);
    let crashed = format!(
        r#"["1","2","{long}","phx_reply",{{"status":"error","response":{{"reason":"join crashed"}}}}]"#
    );
    let heartbeat = r#"
        > [null,"2","phoenix","heartbeat",{}]
        < [null,"2","phoenix","phx_reply",{"status":"ok","response":{}}]
        "#;
    client.send(&join).await;
    client.play(&format!("< {crashed}\n{heartbeat}")).await;
}

#[tokio::test(start_paused = true)]
async fn j11_a_join_whose_connection_is_gone_before_its_turn_is_not_begun() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{"sleep":1000}]
            > ["2","2","lab:a","phx_join",{"second":true}]
            .
            "#,
        )
        .await;
    client.close().await;
    advance(Duration::from_secs(2)).await;
    Client::connect(&lab.sockets(), Vsn::V2)
        .await
        .play(".")
        .await;
    assert_eq!(lab.notes(), [r#"join lab:a {"sleep":1000}"#]);
    assert_eq!(lab.pubsub.subscriptions("lab:a"), 0);
}

/// The one way to keep a client from trying again: every official release tried runs the program's error hook, then its close
/// hook.
#[tokio::test(start_paused = true)]
async fn j3_a_refusal_for_good_is_followed_by_the_close_of_that_join() {
    for vsn in [Vsn::V1, Vsn::V2] {
        let lab = Lab::new();
        let mut client = Client::connect(&lab.sockets(), vsn).await;
        client
            .play(
                r#"
                > ["1","1","lab:a","phx_join",{"ban":"banned"}]
                < ["1","1","lab:a","phx_reply",{"status":"error","response":{"reason":"banned"}}]
                < ["1","1","lab:a","phx_close",{}]
                > ["1","2","lab:a","count",{}]
                < [null,"2","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
                > ["3","3","lab:a","phx_join",{}]
                < ["3","3","lab:a","phx_reply",{"status":"ok","response":{}}]
                .
                "#,
            )
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_over_the_pubsubs_limit_is_refused_before_its_join_runs() {
    let lines = Lines::collect();
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    let join = |bytes: usize| {
        let topic = format!("lab:{}", "x".repeat(bytes - 4));
        (json!(["1", "1", topic, "phx_join", {}]).to_string(), topic)
    };
    let (frame, topic) = join(256);
    client.send(&frame).await;
    let told = "topic too long: 256 bytes, at most 255 are allowed";
    let refused = json!({ "status": "error", "response": { "reason": told } });
    let reply = json!(["1", "1", topic, "phx_reply", refused]);
    client.play(&format!("< {reply}\n.")).await;
    assert_eq!(lab.notes(), [""; 0], "its join has not run");
    let line = &lines.take()[..];
    assert!(
        matches!(line, [line] if line.contains("pubsub::Limits::with_topic_bytes")),
        "{line:?}"
    );
    let (frame, topic) = join(255);
    client.send(&frame).await;
    let reply = json!(["1", "1", topic, "phx_reply", { "status": "ok", "response": {} }]);
    client.play(&format!("< {reply}")).await;
}

/// An application whose clone panics once its sockets are served.
struct Brittle(Arc<AtomicBool>);

impl Clone for Brittle {
    fn clone(&self) -> Self {
        assert!(!self.0.load(Ordering::Relaxed), "told to");
        Self(Arc::clone(&self.0))
    }
}

struct Quiet;

impl Channel<Brittle> for Quiet {
    type Params = ();
    type Event = ();

    async fn join(_: &Brittle, _: &mut Socket, (): ()) -> Result<Self, Refused> {
        Ok(Self)
    }

    async fn handle_in(&mut self, _: &mut Socket, (): ()) -> Reply {
        Reply::none()
    }
}

#[tokio::test(start_paused = true)]
async fn a_join_clones_nothing_of_the_applications() {
    let is_served = Arc::new(AtomicBool::new(false));
    let sockets =
        Sockets::new(&PubSub::local(), Brittle(Arc::clone(&is_served))).channel::<Quiet>("quiet");
    let mut client = Client::connect(&sockets, Vsn::V2).await;
    is_served.store(true, Ordering::Relaxed);
    client
        .play(
            r#"
            > ["1","1","quiet","phx_join",{}]
            < ["1","1","quiet","phx_reply",{"status":"ok","response":{}}]
            "#,
        )
        .await;
}
