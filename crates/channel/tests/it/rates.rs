//! Clients that send too much: an answer that they understand, and then the end.

use matryoshka_channel::transport::memory::MemoryService;
use matryoshka_channel::transport::{
    ConnectInfo, ConnectionLimits, Connections, Frame, Limits, Params, Rate,
};

use matryoshka_channel::SocketsConfig;
use serde_json::json;

use crate::client::{Client, Vsn};
use crate::lab::Lab;

#[tokio::test(start_paused = true)]
async fn one_join_too_many_is_an_error_and_closes_with_1008() {
    for vsn in [Vsn::V1, Vsn::V2] {
        let mut config = SocketsConfig::default();
        config.joins = Rate::new(1, 2);
        let sockets = Lab::new().sockets_with(config);
        let mut anna = Client::connect(&sockets, vsn).await;
        anna.play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["2","2","nowhere","phx_join",{}]
            < [null,"2","nowhere","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
            > ["1","3","lab:a","bare",{}]
            < ["1","3","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["4","4","lab:b","phx_join",{}]
            < ["4","4","lab:b","phx_reply",{"status":"error","response":{"reason":"too many joins"}}]
            < close 1008
            "#,
        )
        .await;
        let stats = sockets.stats();
        assert_eq!((stats.joins, stats.joins_over_rate), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn one_message_too_many_is_an_error_and_closes_with_1008() {
    for vsn in [Vsn::V1, Vsn::V2] {
        let limits = Limits::default().with_inbound(Rate::new(1, 3));
        let mut anna = Client::with_limits(&Lab::new().sockets(), vsn, limits).await;
        anna.play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > [null,"2","phoenix","heartbeat",{}]
            < [null,"2","phoenix","phx_reply",{"status":"ok","response":{}}]
            > ["1","3","lab:a","bare",{}]
            < ["1","3","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","4","lab:a","bare",{}]
            < ["1","4","lab:a","phx_reply",{"status":"error","response":{"reason":"too many messages"}}]
            < close 1008
            "#,
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_nonsense_too_many_closes_without_an_answer() {
    let limits = Limits::default().with_inbound(Rate::new(1, 1));
    let mut anna = Client::with_limits(&Lab::new().sockets(), Vsn::V2, limits).await;
    anna.play(
        r#"
        > [null,"1","phoenix","heartbeat",{}]
        < [null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]
        "#,
    )
    .await;
    anna.send_frame(Frame::text("no message")).await;
    anna.play("< close 1008").await;
}

#[tokio::test(start_paused = true)]
async fn sockets_of_one_id_are_those_of_one_user() {
    let limits = ConnectionLimits::default().with_max_per_user(Some(2));
    let connections = Connections::with_limits(limits);
    let service = MemoryService::new(Lab::new().sockets()).with_connections(&connections);
    let connect = async |user: &str| {
        let params = Params::parse(&format!("user={user}")).unwrap();
        service
            .connect(ConnectInfo::new("memory", params).unwrap())
            .await
    };
    let first = connect("anna").await.unwrap();
    let _second = connect("anna").await.unwrap();
    assert_eq!(connect("anna").await.unwrap_err().status.as_u16(), 429);
    let _other = connect("ben").await.unwrap();
    drop(first);
    while connections.count() > 2 {
        tokio::task::yield_now().await;
    }
    connect("anna").await.unwrap();
}

/// What a client asks for waits while it does not read what it has been told, so it is never closed for being told much.
#[tokio::test(start_paused = true)]
async fn a_channel_waits_for_its_client_to_read_before_it_tells_it_more() {
    let lab = Lab::new();
    let limits = Limits::default()
        .with_outbox_bytes(1_000)
        .with_outbox_items(100);
    let service = MemoryService::new(lab.sockets())
        .with_limits(limits)
        .with_capacity(0);
    let info = ConnectInfo::new("memory", Params::parse("user=anna&vsn=2.0.0").unwrap());
    let mut anna = service.connect(info.unwrap()).await.unwrap();
    let payload = json!({ "text": "x".repeat(400) });
    for event in ["phx_join"].into_iter().chain(["push_me"; 50]) {
        let frame = json!(["1", "1", "lab:a", event, payload]);
        anna.send_text(frame.to_string()).await.unwrap();
    }
    lab.noted("in push_me").await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    let handled = lab.notes().len();
    assert!((3..8).contains(&handled), "{handled} while nothing is read");
    for read in ["phx_reply"].into_iter().chain(["pushed"; 50]) {
        let frame = anna.recv_frame().await.unwrap();
        assert!(frame.as_text().unwrap().contains(read), "{frame:?}");
    }
    assert_eq!(service.connections().stats().closed_slow, 0);
}
