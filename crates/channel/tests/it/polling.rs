//! Channels over long polling, with the session on the node that is asked and on another.

use axum::body::Body;
use matryoshka_channel::pubsub::{PubSub, memory::MemoryMesh};
use matryoshka_channel::transport::http::Request;
use matryoshka_channel::transport::{HttpConfig, LongPolling};
use matryoshka_channel::{Sockets, SocketsConfig, broadcast, disconnect};
use serde_json::{Value, json};
use tower::Service;

use crate::lab::Lab;

const NDJSON: &str = "application/x-ndjson";

/// A client whose session is on one node, and which asks that node or another.
struct Poller {
    /// Of the node that has the session.
    lab: Lab,
    asked: Sockets<Lab>,
    query: &'static str,
    token: String,
    messages: Vec<Value>,
}

fn node(pubsub: PubSub, mut config: SocketsConfig) -> (Lab, Sockets<Lab>) {
    let lab = Lab::on(pubsub);
    let polling = LongPolling::new(&lab.pubsub).unwrap();
    config.http = HttpConfig::default().with_long_polling(&polling);
    let sockets = lab.sockets_with(config);
    (lab, sockets)
}

impl Poller {
    async fn open(query: &'static str, max_channels: usize, elsewhere: bool) -> Self {
        let config = SocketsConfig::default().with_max_channels(max_channels);
        Self::with(query, config, elsewhere).await
    }

    async fn with(query: &'static str, config: SocketsConfig, elsewhere: bool) -> Self {
        let mesh = MemoryMesh::new();
        let (lab, own) = node(PubSub::with(mesh.node("n1")), config.clone());
        let (_, other) = node(PubSub::with(mesh.node("n2")), config);
        let mut poller = Self {
            lab,
            asked: own,
            query,
            token: String::new(),
            messages: Vec::new(),
        };
        let opened = poller.get().await;
        assert_eq!(
            (opened["status"].as_u64(), &opened["messages"]),
            (Some(410), &json!([]))
        );
        opened["token"]
            .as_str()
            .unwrap()
            .clone_into(&mut poller.token);
        if elsewhere {
            poller.asked = other;
        }
        poller
    }

    async fn ask(&mut self, request: Request<Body>) -> Value {
        let answer = self.asked.call(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        let body = http_body_util::BodyExt::collect(answer.into_body());
        serde_json::from_slice(&body.await.unwrap().to_bytes()).unwrap()
    }

    fn uri(&self) -> String {
        match self.token.is_empty() {
            true => format!("/longpoll?{}", self.query),
            false => format!("/longpoll?{}&token={}", self.query, self.token),
        }
    }

    async fn get(&mut self) -> Value {
        let request = Request::get(self.uri()).body(Body::empty());
        self.ask(request.unwrap()).await
    }

    async fn post(&mut self, content_type: &str, body: String) -> u64 {
        let request = Request::post(self.uri()).header("content-type", content_type);
        let answer = self.ask(request.body(Body::from(body)).unwrap()).await;
        answer["status"].as_u64().unwrap()
    }

    /// Posts a batch that is taken.
    async fn send(&mut self, lines: &[&str]) {
        assert_eq!(self.post(NDJSON, lines.join("\n")).await, 200);
    }

    /// The next message, polled for.
    async fn next(&mut self) -> Value {
        while self.messages.is_empty() {
            let polled = self.get().await;
            assert_eq!(polled["status"], 200, "{polled}");
            assert_eq!(polled["token"], self.token.as_str());
            let texts = polled["messages"].as_array().unwrap();
            let parsed = texts.iter().map(|text| text.as_str().unwrap());
            self.messages = parsed
                .map(|text| serde_json::from_str(text).unwrap())
                .collect();
        }
        self.messages.remove(0)
    }

    /// Expects exactly these messages next.
    async fn expect(&mut self, messages: &[&str]) {
        for message in messages {
            let expected: Value = serde_json::from_str(message).unwrap();
            assert_eq!(self.next().await, expected);
        }
    }

    /// Nothing comes for a whole window.
    async fn rests(&mut self) {
        assert_eq!(self.messages, [Value::Null; 0]);
        let polled = self.get().await;
        assert_eq!(
            (polled["status"].as_u64(), &polled["messages"]),
            (Some(204), &json!([]))
        );
        assert_eq!(polled["token"], self.token.as_str());
    }

    async fn join(&mut self, topic: &str) {
        self.send(&[&format!(r#"["1","1","{topic}","phx_join",{{}}]"#)])
            .await;
        let ok = r#""phx_reply",{"status":"ok","response":{}}]"#;
        self.expect(&[&format!(r#"["1","1","{topic}",{ok}"#)]).await;
    }
}

const V2: &str = "user=anna&vsn=2.0.0";

#[tokio::test(start_paused = true)]
async fn lp1_lp2_lp3_a_join_a_broadcast_and_a_push_come_in_order_and_then_nothing() {
    for elsewhere in [false, true] {
        let mut poller = Poller::open(V2, 1, elsewhere).await;
        poller
            .send(&[r#"["1","1","lab:a","phx_join",{"after":"welcome"}]"#])
            .await;
        poller
            .expect(&[
                r#"["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]"#,
                r#"["1",null,"lab:a","welcome",{}]"#,
            ])
            .await;
        broadcast(&poller.lab.pubsub, "lab:a", "news", &json!({ "n": 1 })).unwrap();
        poller
            .send(&[
                r#"["1","2","lab:a","push_me",{"n":2}]"#,
                r#"["3","3","lab:b","phx_join",{}]"#,
            ])
            .await;
        let mut came = [
            poller.next().await,
            poller.next().await,
            poller.next().await,
        ];
        came.sort_by_key(|message| message[3] == "phx_reply");
        assert_eq!(
            came,
            [
                json!([null, null, "lab:a", "news", { "n": 1 }]),
                json!(["1", null, "lab:a", "pushed", { "n": 2 }]),
                json!(["3", "3", "lab:b", "phx_reply",
                    { "status": "error", "response": { "reason": "too many channels joined" } }]),
            ]
        );
        poller.rests().await;
    }
}

#[tokio::test(start_paused = true)]
async fn lp5_a_message_of_version_1_has_no_join_ref() {
    for elsewhere in [false, true] {
        let mut poller = Poller::open("user=anna", 100, elsewhere).await;
        let json = "application/json";
        for message in [
            r#"{"topic":"lab:a","event":"phx_join","payload":{},"ref":"1"}"#,
            r#"{"topic":"lab:a","event":"push_me","payload":{"n":1},"ref":"2"}"#,
        ] {
            assert_eq!(poller.post(json, message.to_owned()).await, 200);
        }
        poller
            .expect(&[
                r#"{"topic":"lab:a","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"1"}"#,
                r#"{"topic":"lab:a","event":"pushed","payload":{"n":1},"ref":null}"#,
            ])
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn lp6_a_message_to_a_topic_not_joined_is_taken_and_answered_unmatched() {
    for elsewhere in [false, true] {
        let mut poller = Poller::open(V2, 100, elsewhere).await;
        poller.send(&[r#"["1","7","lab:a","bare",{}]"#]).await;
        poller
            .expect(&[
                r#"[null,"7","lab:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]"#,
            ])
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn lp7_lp8_a_message_without_a_join_ref_is_delivered_and_a_stale_one_is_not() {
    for elsewhere in [false, true] {
        let mut poller = Poller::open(V2, 100, elsewhere).await;
        poller.join("lab:a").await;
        poller
            .send(&[
                r#"[null,"2","lab:a","count",{}]"#,
                r#"["1","3","lab:a","count",{}]"#,
                r#"["0","4","lab:a","count",{}]"#,
            ])
            .await;
        poller
            .expect(&[
                r#"["1","2","lab:a","phx_reply",{"status":"ok","response":{"count":1}}]"#,
                r#"["1","3","lab:a","phx_reply",{"status":"ok","response":{"count":2}}]"#,
            ])
            .await;
        poller.rests().await;
    }
}

#[tokio::test(start_paused = true)]
async fn lp9_a_batch_has_binary_lines_and_text_lines_in_order() {
    for elsewhere in [false, true] {
        let mut poller = Poller::open(V2, 100, elsewhere).await;
        poller.join("lab:a").await;
        poller.lab.notes();
        // 00 01 01 05 05 "1" "2" "lab:a" "quiet" 01 ff
        let binary = "AAEBBQUxMmxhYjphcXVpZXQB/w==";
        poller
            .send(&[
                binary,
                r#"["1","3","lab:a","count",{}]"#,
                binary,
                r#"["1","4","lab:a","count",{}]"#,
            ])
            .await;
        poller
            .expect(&[
                r#"["1","3","lab:a","phx_reply",{"status":"ok","response":{"count":1}}]"#,
                r#"["1","4","lab:a","phx_reply",{"status":"ok","response":{"count":2}}]"#,
            ])
            .await;
        let notes = poller.lab.notes();
        assert_eq!(
            notes,
            ["in quiet", "in count", "in quiet", "in count"],
            "in the order of the lines"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn lp10_without_polls_a_session_ends_and_its_channel_is_told() {
    for elsewhere in [false, true] {
        let mut poller = Poller::open(V2, 100, elsewhere).await;
        poller.join("lab:a").await;
        poller.lab.noted("terminate Idle").await;
        let late = r#"["1","2","lab:a","bare",{}]"#;
        assert_eq!(poller.post(NDJSON, late.to_owned()).await, 410);
        assert_eq!(poller.lab.pubsub.subscriptions("lab:a"), 0);
    }
}

/// A handler that takes its time holds up nobody's post; the answer comes when it comes.
#[tokio::test(start_paused = true)]
async fn lp11_a_handler_that_does_not_return_holds_up_no_post() {
    for elsewhere in [false, true] {
        let mut poller = Poller::open(V2, 100, elsewhere).await;
        poller.join("lab:a").await;
        poller
            .send(&[r#"["1","2","lab:a","slow",{"ms":25000}]"#])
            .await;
        poller
            .send(&[r#"[null,"3","phoenix","heartbeat",{}]"#])
            .await;
        poller
            .expect(&[r#"[null,"3","phoenix","phx_reply",{"status":"ok","response":{}}]"#])
            .await;
        poller.rests().await;
        poller.rests().await;
        poller
            .expect(&[r#"["1","2","lab:a","phx_reply",{"status":"ok","response":{"ms":25000}}]"#])
            .await;
    }
}

/// Before a post is answered 408, at which official clients drop the connection with all its channels.
#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_before_a_full_inbox_ends_alone_and_no_post_is_late() {
    for elsewhere in [false, true] {
        let mut config = SocketsConfig::default();
        config.inbox_messages = 1;
        let mut poller = Poller::with("vsn=2.0.0", config, elsewhere).await;
        poller.join("lab:a").await;
        for n in 2..5 {
            let slow = json!(["1", n.to_string(), "lab:a", "slow", { "ms": 70_000 }]);
            poller.send(&[&slow.to_string()]).await;
        }
        let unmatched =
            r#""phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]"#;
        let [third, fourth] = ["3", "4"].map(|n| format!(r#"[null,"{n}","lab:a",{unmatched}"#));
        let crashed = r#"["1","1","lab:a","phx_error",{"reason":"channel_crash"}]"#;
        poller.expect(&[&third, &fourth, crashed]).await;
        poller.rests().await;
    }
}

#[tokio::test(start_paused = true)]
async fn lp12_a_batch_may_have_more_than_a_hundred_lines() {
    for elsewhere in [false, true] {
        let mut poller = Poller::open(V2, 100, elsewhere).await;
        poller.join("lab:a").await;
        let lines: Vec<String> = (0..150)
            .map(|n| format!(r#"["1","{n}","lab:a","count",{{}}]"#))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        poller.send(&lines).await;
        for n in 0..150 {
            let answer = poller.next().await;
            assert_eq!(answer[1], n.to_string());
            assert_eq!(answer[4]["response"]["count"], n + 1);
        }
        poller.rests().await;
    }
}

#[tokio::test(start_paused = true)]
async fn lp14_a_crash_is_told_with_the_joins_ref_twice() {
    for elsewhere in [false, true] {
        let mut poller = Poller::open(V2, 100, elsewhere).await;
        poller.join("lab:a").await;
        poller.send(&[r#"["1","2","lab:a","crash",{}]"#]).await;
        poller
            .expect(&[r#"["1","1","lab:a","phx_error",{"reason":"channel_crash"}]"#])
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn lp15_a_stale_leave_is_ignored_and_one_without_a_join_ref_is_not() {
    for elsewhere in [false, true] {
        let mut poller = Poller::open(V2, 100, elsewhere).await;
        poller.join("lab:a").await;
        poller.send(&[r#"["0","2","lab:a","phx_leave",{}]"#]).await;
        poller.send(&[r#"[null,"3","lab:a","phx_leave",{}]"#]).await;
        poller
            .expect(&[
                r#"["1","3","lab:a","phx_reply",{"status":"ok","response":{}}]"#,
                r#"["1","1","lab:a","phx_close",{}]"#,
            ])
            .await;
        poller.rests().await;
    }
}

#[tokio::test(start_paused = true)]
async fn lp16_a_disconnect_ends_the_session_and_all_its_channels() {
    for elsewhere in [false, true] {
        let mut poller = Poller::open(V2, 100, elsewhere).await;
        poller.join("lab:a").await;
        poller.join("lab:b").await;
        poller.lab.notes();
        disconnect(&poller.lab.pubsub, "user_socket:anna").unwrap();
        poller.lab.noted("terminate Disconnected").await;
        let gone = poller.get().await;
        assert_eq!(gone["status"], 410, "{gone}");
        assert_ne!(gone["token"], poller.token.as_str(), "a new session");
        assert_eq!(
            poller.lab.notes(),
            ["terminate Disconnected", "terminate Disconnected"]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn lp17_a_post_without_a_content_type_is_one_message() {
    for elsewhere in [false, true] {
        let mut poller = Poller::open(V2, 100, elsewhere).await;
        poller.join("lab:a").await;
        let message = r#"["1","2","lab:a","bare",{}]"#;
        assert_eq!(poller.post("", message.to_owned()).await, 200);
        poller
            .expect(&[r#"["1","2","lab:a","phx_reply",{"status":"ok","response":{}}]"#])
            .await;
    }
}
