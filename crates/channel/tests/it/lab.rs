//! The channels that the scripts talk to, and what they note down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use matryoshka_channel::pubsub::{Message, PubSub};
use matryoshka_channel::transport::{self, Json, Payload};
use matryoshka_channel::{
    Assigns, Broadcast, Channel, Connected, Flow, HandleInfo, LeaveHook, Mailbox, Pusher, RawEvent,
    RawParams, Refused, Reply, ReplyHandle, Socket, Sockets, SocketsConfig, Terminated,
};
use serde_json::{Value, json};
use tokio::sync::Notify;
// tidy: sleep because it is the lab's handlers that are slow, as their clients ask them to be
use tokio::time::{sleep, timeout};

/// The application of the tests.
#[derive(Clone)]
pub(crate) struct Lab {
    pub(crate) pubsub: PubSub,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    notes: Mutex<Vec<String>>,
    noted: Notify,
    mailboxes: Mutex<HashMap<String, Mailbox<Value>>>,
    handles: Mutex<Vec<ReplyHandle>>,
    pushers: Mutex<Vec<Pusher>>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::on(PubSub::local())
    }

    pub(crate) fn on(pubsub: PubSub) -> Self {
        Self {
            pubsub,
            shared: Arc::default(),
        }
    }

    pub(crate) fn sockets(&self) -> Sockets<Lab> {
        self.sockets_with(SocketsConfig::default())
    }

    pub(crate) fn sockets_with(&self, config: SocketsConfig) -> Sockets<Lab> {
        Sockets::new(&self.pubsub, self.clone())
            .channel::<Room>("lab:*")
            .channel::<Room>("exact")
            .channel_with::<Room>("fixed:*", Assigns::new().with(Colour("green")))
            .config(config)
            .on_connect(async |_: Lab, info: transport::ConnectInfo| {
                let user = info.params.get("user").unwrap_or_default().to_owned();
                let id = format!("user_socket:{user}");
                Ok(Connected::new()
                    .id(id)
                    .assign(User(user))
                    .assign(Colour("red")))
            })
    }

    /// What happened in channels since the last call.
    pub(crate) fn notes(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.notes.lock().unwrap())
    }

    pub(crate) fn mailbox(&self, topic: &str) -> Mailbox<Value> {
        self.shared.mailboxes.lock().unwrap()[topic].clone()
    }

    /// The reply handles that `keep` has kept.
    pub(crate) fn handles(&self) -> Vec<ReplyHandle> {
        self.shared.handles.lock().unwrap().clone()
    }

    /// The pushers that `keep_pusher` has kept.
    pub(crate) fn pushers(&self) -> Vec<Pusher> {
        self.shared.pushers.lock().unwrap().clone()
    }

    /// Waits until a note of this text stands last.
    pub(crate) async fn noted(&self, last: &str) {
        let waiting = async {
            loop {
                let noted = self.shared.noted.notified();
                if self
                    .shared
                    .notes
                    .lock()
                    .unwrap()
                    .last()
                    .is_some_and(|note| note == last)
                {
                    return;
                }
                noted.await;
            }
        };
        let waited = timeout(Duration::from_secs(30), waiting).await;
        waited.unwrap_or_else(|_| panic!("never noted: {last}"));
    }

    fn note(&self, what: impl Into<String>) {
        self.shared.notes.lock().unwrap().push(what.into());
        self.shared.noted.notify_waiters();
    }
}

/// Assigned by the connection.
pub(crate) struct User(pub(crate) String);

/// Assigned by the connection, and by one route.
pub(crate) struct Colour(&'static str);

/// Does as it is told, at its join and later.
pub(crate) struct Room {
    lab: Lab,
    orders: Value,
    count: u64,
}

/// Notes that a channel has ended on purpose, and panics if its name says so.
struct Hook {
    lab: Lab,
    name: String,
}

impl LeaveHook for Hook {
    fn left<'a>(&'a self, socket: &'a Socket) -> BoxFuture<'a, ()> {
        let note = format!("hook {} of {}", self.name, socket.topic());
        self.lab.note(note);
        assert_ne!(self.name, "panic", "as it was told");
        Box::pin(async {})
    }
}

/// Notes the end of a channel that got no chance to say it.
struct DropNote(Lab);

impl Drop for DropNote {
    fn drop(&mut self) {
        self.0.note("dropped in the middle");
    }
}

pub(crate) fn parsed(payload: &Payload) -> Value {
    match payload {
        Payload::Json(json) => serde_json::from_str(json.as_str()).unwrap(),
        Payload::Binary(bytes) => json!({ "bytes": bytes.to_vec() }),
    }
}

impl Channel<Lab> for Room {
    type Params = RawParams;
    type Event = RawEvent;
    const INTERCEPT: &'static [&'static str] = &["secret", "hush", "end", "boom"];

    async fn join(
        lab: &Lab,
        socket: &mut Socket,
        RawParams(payload): RawParams,
    ) -> Result<Self, Refused> {
        let orders = parsed(&payload);
        lab.note(format!("join {} {orders}", socket.topic()));
        if let Some(ms) = orders["sleep"].as_u64() {
            sleep(Duration::from_millis(ms)).await;
        }
        if let Some(broadcast) = orders["announce"].as_str() {
            matryoshka_channel::broadcast(&lab.pubsub, socket.topic(), broadcast, &()).unwrap();
        }
        match orders["do"].as_str() {
            Some("panic") => panic!("told to"),
            Some("push") => socket.push("early", &()).unwrap(),
            Some("broadcast") => drop(socket.broadcast("early", &()).unwrap()),
            Some("reply") => drop(socket.reply_later()),
            Some("pusher") => drop(socket.pusher()),
            _ => {}
        }
        if !orders["deny"].is_null() {
            return Err(Refused::with(&json!({ "reason": orders["deny"] })));
        }
        if !orders["ban"].is_null() {
            return Err(Refused::with(&json!({ "reason": orders["ban"] })).for_good());
        }
        if orders["reply_bytes"] == true {
            socket.set_join_reply_payload(Bytes::from_static(&[0, 255]));
        }
        match (&orders["reply"], &payload) {
            (_, Payload::Binary(bytes)) if bytes.starts_with(b"\xff") => {
                socket.set_join_reply_payload(bytes.clone());
            }
            (Value::Null, Payload::Json(json)) if !json.is_object() => {
                socket.set_join_reply(&json!({ "params": orders }));
            }
            (Value::Null, _) => {}
            (reply, _) => socket.set_join_reply(reply),
        }
        for event in orders["hold"].as_array().into_iter().flatten() {
            socket.hold_until_after_join(event.as_str().unwrap());
        }
        if let Some(ms) = orders["after_sleep"].as_u64() {
            socket.after_join(move |_| {
                Box::pin(async move {
                    sleep(Duration::from_millis(ms)).await;
                    Flow::Continue
                })
            });
        }
        if let Some(event) = orders["after"].as_str() {
            let event = event.to_owned();
            socket
                .after_join(move |socket| Box::pin(async move { socket.push(event, &()).into() }));
        }
        if let Some(event) = orders["after_after"].as_str() {
            let event = event.to_owned();
            socket.after_join(move |socket| {
                socket.after_join(move |socket| {
                    Box::pin(async move { socket.push(event, &()).into() })
                });
                Box::pin(async { Flow::Continue })
            });
        }
        if orders["after_with"] == true {
            socket.after_join_with(|room: &mut Self, socket| {
                Box::pin(async move {
                    room.count += 1;
                    socket
                        .push("joined", &json!({ "count": room.count }))
                        .into()
                })
            });
        }
        if orders["after_fail"] == true {
            socket.after_join(|_| Box::pin(async { Flow::Fail("told to".into()) }));
        }
        if orders["after_panic"] == true {
            socket.after_join(|_| Box::pin(async { panic!("told to") }));
        }
        for name in orders["leave_hooks"].as_array().into_iter().flatten() {
            let hook = Arc::new(Hook {
                lab: lab.clone(),
                name: name.as_str().unwrap().to_owned(),
            });
            socket.add_leave_hook(Arc::<Hook>::clone(&hook));
            socket.add_leave_hook(hook);
        }
        if let Some(topic) = orders["subscribe"].as_str() {
            socket.subscribe::<Self>(topic).unwrap();
        }
        let mailbox = socket.mailbox::<Self, Value>();
        lab.shared
            .mailboxes
            .lock()
            .unwrap()
            .insert(socket.topic().to_owned(), mailbox);
        Ok(Self {
            lab: lab.clone(),
            orders,
            count: 0,
        })
    }

    async fn handle_in(&mut self, socket: &mut Socket, event: RawEvent) -> Reply {
        let RawEvent { name, payload } = event;
        let value = parsed(&payload);
        self.lab.note(format!("in {name}"));
        match &*name {
            "echo" => Reply::payload("ok", payload),
            "bare" => Reply::ok_empty(),
            "fail" => Reply::payload("error", payload),
            "maybe" => Reply::status(format!("may{}", "be"), &()),
            "null" => Reply::ok(&()),
            "quiet" => Reply::none(),
            "hold" => {
                socket.hold_until_after_join("diff");
                Reply::ok_empty()
            }
            "count" => {
                self.count += 1;
                Reply::ok(&json!({ "count": self.count }))
            }
            "user" => Reply::ok(&json!({ "user": socket.get::<User>().unwrap().0 })),
            "colour" => Reply::ok(&json!({ "colour": socket.get::<Colour>().unwrap().0 })),
            "paint" => {
                socket.assign(Colour("blue"));
                Reply::none()
            }
            "id" => Reply::ok(&json!({ "id": socket.id() })),
            "push_me" => {
                socket.push_payload("pushed", payload).unwrap();
                Reply::none()
            }
            "push_text" => socket.push("pushed", "text").into(),
            "shout" => {
                socket.broadcast_payload("shout", payload).unwrap();
                Reply::none()
            }
            "say" => socket.broadcast("said", &value).into(),
            "say_text" => socket.broadcast("said", "text").into(),
            "whisper" => {
                socket.broadcast_payload_from("shout", payload).unwrap();
                Reply::none()
            }
            "intercepted" => {
                let event = value["event"].as_str().unwrap().to_owned();
                socket.broadcast(event, &value).unwrap();
                Reply::none()
            }
            "tell_crowd" => {
                let all = socket.broadcast_yielding("all", &value).await.unwrap();
                let others = socket.broadcast_from_yielding("others", &value).await;
                Reply::ok(&json!({ "local": [all.local, others.unwrap().local] }))
            }
            "sequence" => {
                socket.push("p1", &()).unwrap();
                socket.broadcast("b1", &()).unwrap();
                socket.broadcast("secret", &()).unwrap();
                socket.push("p2", &()).unwrap();
                Reply::ok_empty()
            }
            "slow" => {
                let _note = DropNote(self.lab.clone());
                sleep(Duration::from_millis(value["ms"].as_u64().unwrap())).await;
                std::mem::forget(_note);
                Reply::payload("ok", payload)
            }
            "keep" => {
                self.lab
                    .shared
                    .handles
                    .lock()
                    .unwrap()
                    .push(socket.reply_later());
                Reply::none()
            }
            "keep_pusher" => {
                self.lab
                    .shared
                    .pushers
                    .lock()
                    .unwrap()
                    .push(socket.pusher());
                Reply::ok_empty()
            }
            "stop" => Reply::stop(),
            "stop_ok" => Reply::ok(&json!({ "bye": 1 })).then(Flow::Stop),
            "give_up" => Reply::fail("told to"),
            "give_up_ok" => Reply::ok(&json!({ "bye": 2 })).then(Flow::Fail("told to".into())),
            "unwritable" => Reply::ok(&HashMap::from([(vec![1], 1)])),
            "unsubscribe" => {
                socket.unsubscribe(value["topic"].as_str().unwrap());
                Reply::ok_empty()
            }
            _ => panic!("no event {name}"),
        }
    }

    async fn handle_out(&mut self, socket: &mut Socket, broadcast: Broadcast) -> Flow {
        let mut payload = parsed(broadcast.payload());
        match broadcast.event() {
            "hush" => Flow::Continue,
            "end" => Flow::Stop,
            "boom" => panic!("told to"),
            "late_handle" => {
                drop(socket.reply_later());
                Flow::Continue
            }
            event => {
                payload["seen_by"] = json!(socket.get::<User>().unwrap().0);
                let json = Json::of(&payload).unwrap();
                socket.push_payload(event, json).into()
            }
        }
    }

    async fn terminate(&mut self, socket: &mut Socket, reason: Terminated) {
        self.lab.note(format!("terminate {reason:?}"));
        if self.orders["last_words"] == true {
            socket.push("last_words", &()).unwrap();
        }
        if let Some(ms) = self.orders["terminate_sleep"].as_u64() {
            sleep(Duration::from_millis(ms)).await;
            self.lab.note("terminated");
        }
        if self.orders["terminate_panic"] == true {
            panic!("told to");
        }
    }
}

impl HandleInfo<Value> for Room {
    async fn handle_info(&mut self, socket: &mut Socket, message: Value) -> Flow {
        match message["do"].as_str() {
            Some("stop") => Flow::Stop,
            Some("fail") => Flow::Fail("told to".into()),
            Some("panic") => panic!("told to"),
            Some("handle") => {
                drop(socket.reply_later());
                Flow::Continue
            }
            _ => socket.push("info", &message).into(),
        }
    }
}

impl HandleInfo<Message> for Room {
    async fn handle_info(&mut self, socket: &mut Socket, message: Message) -> Flow {
        match Broadcast::from_message(&message) {
            Some(Ok(broadcast)) => {
                let from =
                    json!({ "topic": broadcast.topic().as_str(), "event": broadcast.event() });
                socket.push("heard", &from).into()
            }
            _ => socket
                .push("raw", &json!({ "bytes": message.payload().to_vec() }))
                .into(),
        }
    }
}
