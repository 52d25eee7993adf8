//! The sockets as a service, and their figures.

use axum::Router;
use axum::body::Body;
use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::transport::http::{Request, StatusCode};
use matryoshka_channel::transport::memory::MemoryService;
use matryoshka_channel::transport::{self, ConnectInfo, Params};
use matryoshka_channel::{Connected, Sockets};
use tower::Service;

use crate::client::{Client, Vsn};
use crate::lab::Lab;

async fn status(router: &mut Router, uri: &str) -> StatusCode {
    let request = Request::get(uri).body(Body::empty()).unwrap();
    router.call(request).await.unwrap().status()
}

#[tokio::test(start_paused = true)]
async fn they_mount_beside_other_routes() {
    let sockets = Lab::new().sockets();
    let other = axum::routing::get(async || "hello");
    let mut router = Router::new()
        .route("/", other)
        .nest_service("/socket", sockets);
    assert_eq!(status(&mut router, "/").await, StatusCode::OK);
    assert_eq!(
        status(&mut router, "/socket/longpoll").await,
        StatusCode::NOT_FOUND
    );
    let no_upgrade = status(&mut router, "/socket/websocket?vsn=2.0.0").await;
    assert_eq!(no_upgrade, StatusCode::BAD_REQUEST);
    let unknown = status(&mut router, "/socket/websocket?vsn=9.0.0").await;
    assert_eq!(unknown, StatusCode::FORBIDDEN);
}

#[tokio::test(start_paused = true)]
async fn s2_s5_who_may_connect_is_decided_before_the_upgrade() {
    let sockets = Sockets::new(&PubSub::local(), 7u8).on_connect(
        async |app: u8, info: ConnectInfo| match info.params.get("token") {
            Some("good") => Ok(Connected::new().assign(app)),
            Some("bad") => panic!("told to"),
            Some("much") => Err(transport::Rejection::new(
                StatusCode::TOO_MANY_REQUESTS,
                "slow down",
            )),
            Some("long") => Ok(Connected::new().id("x".repeat(70_000))),
            _ => Err(transport::Rejection::forbidden()),
        },
    );
    let service = MemoryService::new(sockets);
    let connect = async |query: &str| {
        let info = ConnectInfo::new("memory", Params::parse(query).unwrap()).unwrap();
        service
            .connect(info)
            .await
            .map(drop)
            .map_err(|refused| refused.status)
    };
    assert_eq!(connect("token=good").await, Ok(()));
    assert_eq!(connect("").await, Err(StatusCode::FORBIDDEN));
    assert_eq!(
        connect("token=much").await,
        Err(StatusCode::TOO_MANY_REQUESTS)
    );
    assert_eq!(
        connect("token=bad").await,
        Err(StatusCode::INTERNAL_SERVER_ERROR)
    );
    assert_eq!(connect("token=long").await, Err(StatusCode::FORBIDDEN));
}

#[tokio::test(start_paused = true)]
async fn two_sockets_may_share_one_pubsub() {
    let lab = Lab::new();
    let (one, two) = (lab.sockets(), lab.sockets());
    let join = r#"
        > ["1","1","lab:a","phx_join",{}]
        < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
        "#;
    let mut anna = Client::connect(&one, Vsn::V2).await;
    let mut ben = Client::connect(&two, Vsn::V2).await;
    anna.play(join).await;
    ben.play(join).await;
    anna.play(r#"> ["1","2","lab:a","shout",{}]"#).await;
    ben.play(r#"< [null,null,"lab:a","shout",{}]"#).await;
}

#[tokio::test(start_paused = true)]
async fn the_figures_add_up() {
    let lab = Lab::new();
    let sockets = lab.sockets();
    let mut client = Client::connect(&sockets, Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["2","2","lab:b","phx_join",{"deny":"no"}]
            < ["2","2","lab:b","phx_reply",{"status":"error","response":{"reason":"no"}}]
            > ["3","3","lab:c","phx_join",{"do":"panic"}]
            < ["3","3","lab:c","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]
            > ["1","4","lab:a","crash",{}]
            < ["1","1","lab:a","phx_error",{"reason":"channel_crash"}]
            "#,
        )
        .await;
    let stats = sockets.stats();
    assert_eq!((stats.messages_in, stats.joins, stats.joined), (4, 3, 1));
    assert_eq!(
        (stats.ended, stats.crashes, stats.malformed_frames),
        (1, 2, 0)
    );
}

/// However it ends: by a leave, replaced in its place, replaced while it joined, with its connection.
#[tokio::test(start_paused = true)]
async fn each_accepted_channel_is_counted_out_once() {
    let lab = Lab::new();
    let sockets = lab.sockets();
    let mut client = Client::connect(&sockets, Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["2","2","lab:a","phx_join",{}]
            < ["2","2","lab:a","phx_reply",{"status":"ok","response":{}}]
            < ["1","1","lab:a","phx_close",{}]
            > ["3","3","lab:b","phx_join",{}]
            > ["4","4","lab:b","phx_join",{}]
            < ["3","3","lab:b","phx_reply",{"status":"ok","response":{}}]
            < ["4","4","lab:b","phx_reply",{"status":"ok","response":{}}]
            < ["3","3","lab:b","phx_close",{}]
            > ["4","5","lab:b","phx_leave",{}]
            < ["4","5","lab:b","phx_reply",{"status":"ok","response":{}}]
            < ["4","4","lab:b","phx_close",{}]
            .
            "#,
        )
        .await;
    let stats = sockets.stats();
    assert_eq!((stats.joined, stats.ended), (4, 3));
    lab.notes();
    client.close().await;
    lab.noted("terminate Closed").await;
    assert_eq!(sockets.stats().ended, 4);
}
