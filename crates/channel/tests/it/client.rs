//! A client that plays scripts.
//!
//! Each line of a script is one step: `> frame` sends, `< frame` expects exactly this frame next, `< close 1001` expects
//! the end, `.` expects that nothing comes although all tasks have come to rest. Frames are V2 arrays; for a V1 client
//! they are rewritten into objects. Binary frames are bytes in hex and strings in quotes.

use std::time::Duration;

use matryoshka_channel::transport::memory::{Client as Wire, MemoryService};
use matryoshka_channel::transport::{ConnectInfo, Frame, Handler, Limits, Outgoing, Params};
use serde_json::{Value, json};
use tokio::time::timeout;

/// How long an expected frame may take. Time is paused: it passes only when nothing else can happen.
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vsn {
    V1,
    V2,
}

/// One connection.
pub(crate) struct Client {
    wire: Wire,
    vsn: Vsn,
}

impl Client {
    pub(crate) async fn connect<H: Handler>(handler: &H, vsn: Vsn) -> Self {
        Self::connect_as(handler, vsn, "anna").await
    }

    pub(crate) async fn with_limits<H: Handler>(handler: &H, vsn: Vsn, limits: Limits) -> Self {
        let service = MemoryService::new(handler.clone()).with_limits(limits);
        Self::over(service, vsn, "anna").await
    }

    pub(crate) async fn connect_as<H: Handler>(handler: &H, vsn: Vsn, user: &str) -> Self {
        Self::over(MemoryService::new(handler.clone()), vsn, user).await
    }

    async fn over<H: Handler>(service: MemoryService<H>, vsn: Vsn, user: &str) -> Self {
        let query = match vsn {
            Vsn::V1 => format!("user={user}"),
            Vsn::V2 => format!("user={user}&vsn=2.0.0"),
        };
        let info = ConnectInfo::new("memory", Params::parse(&query).unwrap()).unwrap();
        let service = service.with_capacity(1000);
        Self {
            wire: service.connect(info).await.unwrap(),
            vsn,
        }
    }

    /// Plays a script; panics at the first step that goes otherwise.
    pub(crate) async fn play(&mut self, script: &str) {
        for line in script
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            match line.split_once(' ') {
                Some((">", frame)) => self.send(frame).await,
                Some(("<", frame)) => self.expect(frame).await,
                None if line == "." => self.expect_rest().await,
                _ => panic!("no step: {line}"),
            }
        }
    }

    pub(crate) async fn send(&mut self, frame: &str) {
        let frame = match frame.starts_with('[') {
            true if self.vsn == Vsn::V1 => Frame::text(v1_from_client(frame)),
            true => Frame::text(frame),
            false => Frame::binary(bytes(frame)),
        };
        self.wire.send(frame).await.unwrap();
    }

    pub(crate) async fn send_frame(&mut self, frame: Frame) {
        self.wire.send(frame).await.unwrap();
    }

    /// Says goodbye, or just vanishes when dropped instead.
    pub(crate) async fn close(mut self) {
        self.wire.close(None).await;
        while self.wire.recv().await.is_some() {}
    }

    pub(crate) async fn recv(&mut self) -> Option<Outgoing> {
        match timeout(DEADLINE, self.wire.recv()).await {
            Ok(outgoing) => outgoing,
            Err(_) => panic!("nothing came"),
        }
    }

    async fn expect(&mut self, expected: &str) {
        let got = match timeout(DEADLINE, self.wire.recv()).await {
            Ok(Some(got)) => got,
            Ok(None) => panic!("the connection was dropped instead of: {expected}"),
            Err(_) => panic!("nothing came instead of: {expected}"),
        };
        match (expected.strip_prefix("close "), got) {
            (Some(code), Outgoing::Close(close)) => assert_eq!(close.code.to_string(), code),
            (None, Outgoing::Frame(Frame::Text(text))) => {
                let got: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(got, self.expected(expected), "instead of: {expected}");
            }
            (None, Outgoing::Frame(Frame::Binary(got))) => {
                assert_eq!(got, bytes(expected), "instead of: {expected}");
            }
            (_, got) => panic!("{got:?} instead of: {expected}"),
        }
    }

    async fn expect_rest(&mut self) {
        if let Ok(got) = timeout(Duration::from_millis(1), self.wire.recv()).await {
            panic!("{got:?} instead of nothing");
        }
    }

    fn expected(&self, frame: &str) -> Value {
        let frame: Value = serde_json::from_str(frame).unwrap_or_else(|_| panic!("JSON: {frame}"));
        match self.vsn {
            Vsn::V1 if frame.is_array() => json!({
                "ref": frame[1], "topic": frame[2], "event": frame[3], "payload": frame[4]
            }),
            _ => frame,
        }
    }
}

fn v1_from_client(frame: &str) -> String {
    let frame: Value = serde_json::from_str(frame).unwrap();
    let mut object = json!({
        "ref": frame[1], "topic": frame[2], "event": frame[3], "payload": frame[4]
    });
    if !frame[0].is_null() {
        object["join_ref"] = frame[0].clone();
    }
    object.to_string()
}

/// `00 ff "text"`.
fn bytes(text: &str) -> Vec<u8> {
    let word = |word: &str| match word
        .strip_prefix('"')
        .and_then(|word| word.strip_suffix('"'))
    {
        Some(text) => text.as_bytes().to_vec(),
        None => vec![u8::from_str_radix(word, 16).unwrap_or_else(|_| panic!("no byte: {word}"))],
    };
    text.split_whitespace().flat_map(word).collect()
}
