//! What a session may rely on, over the in-memory carrier.

use std::sync::atomic::Ordering::SeqCst;

use http_body_util::Full;
use matryoshka_transport::{
    Close, CloseCode, CloseReason, ConnectInfo, ConnectionLimits, Connections, Frame, Handler,
    HttpService, Outbox, Outgoing, Output, Pushed, Rejection, Session,
    bytes::Bytes,
    http::{Request, StatusCode},
    memory::{Client, MemoryService},
};
use tower::Service;

use crate::lab::{Lab, Mail, info};

async fn texts(client: &mut Client, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(
            client
                .recv_frame()
                .await
                .unwrap()
                .as_text()
                .unwrap()
                .to_owned(),
        );
    }
    texts
}

fn closed_with(code: CloseCode) -> Option<Outgoing> {
    Some(Outgoing::Close(Close::new(code)))
}

#[tokio::test(start_paused = true)]
async fn frames_are_answered_in_order_whatever_their_kind() {
    let service = MemoryService::new(Lab::new());
    let mut client = service.connect(info("")).await.unwrap();
    for round in 0..100u8 {
        client.send_text(round.to_string()).await.unwrap();
        client.send(Frame::binary(vec![round])).await.unwrap();
        assert_eq!(
            client.recv_frame().await,
            Some(Frame::text(round.to_string()))
        );
        assert_eq!(client.recv_frame().await, Some(Frame::binary(vec![round])));
    }
}

#[tokio::test(start_paused = true)]
async fn frames_and_mails_of_an_outbox_keep_their_order() {
    let lab = Lab::new();
    let mut client = MemoryService::new(lab.clone())
        .connect(info(""))
        .await
        .unwrap();
    let (_, outbox) = lab.connected().await;
    assert_eq!(outbox.frame(Frame::text("1")), Pushed::Queued);
    assert_eq!(outbox.mail(Mail::Say("2")), Pushed::Queued);
    outbox.frame(Frame::text("3"));
    outbox.close(CloseCode::RESTART.into());
    outbox.frame(Frame::text("too late"));
    assert_eq!(texts(&mut client, 3).await, ["1", "2", "3"]);
    assert_eq!(client.recv().await, closed_with(CloseCode::RESTART));
    assert_eq!(client.recv().await, None);
    assert_eq!(
        lab.closed().await,
        CloseReason::Closed(CloseCode::RESTART.into())
    );
    assert!(outbox.is_closed());
    assert_eq!(outbox.mail(Mail::Say("nobody hears")), Pushed::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_is_put_before_the_session_exists_waits_for_it() {
    let mut client = MemoryService::new(Lab::new())
        .connect(info("connect=early"))
        .await
        .unwrap();
    assert_eq!(texts(&mut client, 2).await, ["early frame", "early mail"]);
}

#[tokio::test(start_paused = true)]
async fn a_session_without_any_outbox_left_goes_on() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone());
    let mut client = service.connect(info("connect=drop+outbox")).await.unwrap();
    client.send_text("still here").await.unwrap();
    assert_eq!(texts(&mut client, 1).await, ["still here"]);
}

#[tokio::test(start_paused = true)]
async fn a_session_may_close_and_its_frames_are_written_first() {
    let lab = Lab::new();
    let mut client = MemoryService::new(lab.clone())
        .connect(info(""))
        .await
        .unwrap();
    client.send_text("close").await.unwrap();
    client.send_text("not handled any more").await.unwrap();
    assert_eq!(texts(&mut client, 1).await, ["last words"]);
    let close = Close::new(CloseCode(4000)).with_reason("asked to");
    assert_eq!(client.recv().await, Some(Outgoing::Close(close.clone())));
    assert_eq!(lab.closed().await, CloseReason::Closed(close));
    assert_eq!(lab.gate.handled.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_mail_may_close_too() {
    let lab = Lab::new();
    let mut client = MemoryService::new(lab.clone())
        .connect(info(""))
        .await
        .unwrap();
    lab.connected()
        .await
        .1
        .mail(Mail::Close(CloseCode::GOING_AWAY));
    assert_eq!(client.recv().await, closed_with(CloseCode::GOING_AWAY));
    assert_eq!(
        lab.closed().await,
        CloseReason::Closed(CloseCode::GOING_AWAY.into())
    );
}

#[tokio::test(start_paused = true)]
async fn the_client_may_close_with_or_without_a_code_or_just_be_gone() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone());
    for code in [Some(CloseCode(3001)), None] {
        let mut client = service.connect(info("")).await.unwrap();
        client.close(code).await;
        assert_eq!(lab.closed().await, CloseReason::Client(code));
        assert_eq!(client.recv().await, None);
    }
    drop(service.connect(info("")).await.unwrap());
    assert_eq!(lab.closed().await, CloseReason::Lost);
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_its_own_connection_with_1011_and_no_other() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone());
    let mut bystander = service.connect(info("")).await.unwrap();
    lab.connected().await;

    let mut client = service.connect(info("")).await.unwrap();
    client.send_text("panic").await.unwrap();
    assert_eq!(client.recv().await, closed_with(CloseCode::INTERNAL));

    let mut client = service.connect(info("")).await.unwrap();
    lab.connected().await;
    lab.connected().await.1.mail(Mail::Panic);
    assert_eq!(client.recv().await, closed_with(CloseCode::INTERNAL));

    bystander.send_text("alive").await.unwrap();
    assert_eq!(texts(&mut bystander, 1).await, ["alive"]);
    assert!(
        lab.nothing_closed(),
        "a session that panicked is not called again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_refuse_and_its_panic_is_a_500() {
    let service = MemoryService::new(Lab::new());
    let refused = service.connect(info("connect=refuse")).await.unwrap_err();
    assert_eq!(
        (refused.status, refused.body.len()),
        (StatusCode::FORBIDDEN, 0)
    );
    let refused = service.connect(info("connect=busy")).await.unwrap_err();
    assert_eq!(
        (refused.status, &*refused.body),
        (StatusCode::TOO_MANY_REQUESTS, &b"Too many requests"[..])
    );
    let refused = service.connect(info("connect=panic")).await.unwrap_err();
    assert_eq!(refused.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(service.connections().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_handler_learns_parameters_version_and_carrier() {
    let lab = Lab::new();
    let service = MemoryService::new(lab.clone());
    let _v2 = service
        .connect(info("vsn=2.0.0&user=al&a[b]=1"))
        .await
        .unwrap();
    let (seen, _) = lab.connected().await;
    assert_eq!(
        (seen.serializer.vsn(), seen.transport, seen.peer_addr),
        ("2.0.0", "memory", None)
    );
    assert_eq!(
        (seen.params.get("user"), seen.params.get("vsn")),
        (Some("al"), Some("2.0.0"))
    );
    let _v1 = service.connect(info("")).await.unwrap();
    assert_eq!(lab.connected().await.0.serializer.vsn(), "1.0.0");
}

/// Mails itself on and on, and tells a client that is heard how many mails came before.
#[derive(Clone)]
struct Restless;

struct RestlessSession {
    outbox: Outbox<()>,
    mails: usize,
}

const MANY_MAILS: usize = 10_000;

impl Handler for Restless {
    type Session = RestlessSession;

    async fn connect(
        &self,
        _: ConnectInfo,
        outbox: Outbox<()>,
    ) -> Result<RestlessSession, Rejection> {
        outbox.mail(());
        Ok(RestlessSession { outbox, mails: 0 })
    }
}

impl Session for RestlessSession {
    type Mail = ();

    fn handle_in(&mut self, _: Frame, out: &mut Output) -> Result<(), Close> {
        out.frame(Frame::text(self.mails.to_string()));
        Ok(())
    }

    fn handle_mail(&mut self, (): (), _: &mut Output) -> Result<(), Close> {
        self.mails += 1;
        if self.mails < MANY_MAILS {
            self.outbox.mail(());
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_session_that_never_rests_still_hears_its_client() {
    let service = MemoryService::new(Restless);
    let mut client = service.connect(info("")).await.unwrap();
    client.send_text("are you there?").await.unwrap();
    let answer = client.recv_frame().await.unwrap();
    let mails: usize = answer.as_text().unwrap().parse().unwrap();
    assert!(mails < MANY_MAILS, "only when it came to rest");
}

/// Its sessions panic outside of their connection's task: when asked for their user, or when told that no client came.
#[derive(Clone)]
struct Shaky {
    names_its_user: bool,
}

impl Handler for Shaky {
    type Session = Shaky;

    async fn connect(&self, _: ConnectInfo, _: Outbox<()>) -> Result<Self, Rejection> {
        Ok(self.clone())
    }
}

impl Session for Shaky {
    type Mail = ();

    fn handle_in(&mut self, _: Frame, _: &mut Output) -> Result<(), Close> {
        Ok(())
    }

    fn handle_mail(&mut self, (): (), _: &mut Output) -> Result<(), Close> {
        Ok(())
    }

    fn user(&self) -> Option<&str> {
        assert!(self.names_its_user, "asked to");
        Some("al")
    }

    fn closed(&mut self, _: CloseReason) {
        panic!("asked to");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_panics_before_its_connection_is_there_ends_itself_alone() {
    for (names_its_user, status) in [
        (false, StatusCode::INTERNAL_SERVER_ERROR),
        // The upgrade's headers are missing.
        (true, StatusCode::BAD_REQUEST),
    ] {
        let mut service = HttpService::new(Shaky { names_its_user });
        let request = Request::get("/websocket").body(Full::<Bytes>::default());
        let answer = service.call(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(service.connections().count(), 0);
        assert_eq!(service.connections().stats().crashes, 1);
    }

    let limits = ConnectionLimits::default().with_max_per_user(Some(0));
    let connections = Connections::with_limits(limits);
    let shaky = Shaky {
        names_its_user: true,
    };
    let service = MemoryService::new(shaky).with_connections(&connections);
    let refused = service.connect(info("")).await.unwrap_err();
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!((connections.count(), connections.stats().crashes), (0, 1));
}
