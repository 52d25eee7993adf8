//! The channel that the tests join, and a node that serves it.

use matryoshka_presence::Presence;
use matryoshka_presence::channel::pubsub::PubSub;
use matryoshka_presence::channel::transport::memory::MemoryService;
use matryoshka_presence::channel::transport::{ConnectInfo, Params};
use matryoshka_presence::channel::{Channel, Connected, Refused, Reply, Socket, Sockets};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::client::Client;

/// A room whose members are listed under their names.
pub(crate) struct Room {
    presence: Presence,
    user: String,
}

#[derive(Deserialize)]
pub(crate) struct JoinParams {
    user: String,
    #[serde(default)]
    meta: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    /// Replaces the own meta.
    Meta(Value),
    /// Changes the status in a meta.
    SetStatus {
        #[serde(default)]
        user: Option<String>,
        status: String,
    },
    /// Lists a second name.
    AlsoAs { user: String },
    /// Takes a name off the list.
    Hide { user: String },
    /// Answers with the list.
    List,
    /// Pushes the list again.
    Anew,
    /// The same, behind so many others.
    AnewBehind { frames: usize },
    /// The same, as a channel does it in `join`.
    AnewAfterwards,
    /// Panics.
    Crash,
    /// Ends the channel.
    Stop,
}

#[derive(Serialize)]
struct Was {
    was: bool,
}

impl Channel<Presence> for Room {
    type Params = JoinParams;
    type Event = Event;

    async fn join(
        presence: &Presence,
        socket: &mut Socket,
        params: JoinParams,
    ) -> Result<Self, Refused> {
        presence.track_after_join(socket, &params.user, &params.meta)?;
        Ok(Self {
            presence: presence.clone(),
            user: params.user,
        })
    }

    async fn handle_in(&mut self, socket: &mut Socket, event: Event) -> Reply {
        let presence = &self.presence;
        match event {
            Event::Meta(meta) => match presence.update(socket, &self.user, &meta).await {
                Ok(reference) => Reply::ok(&json!({ "phx_ref": reference })),
                Err(error) => Reply::error(&json!({ "reason": error.to_string() })),
            },
            Event::SetStatus { user, status } => {
                let key = user.as_ref().unwrap_or(&self.user);
                let change = |meta: &mut Map<String, Value>| {
                    meta.insert("status".to_owned(), status.clone().into());
                };
                match presence.update_with(socket, key, change).await {
                    Ok(_) => Reply::ok_empty(),
                    Err(error) => Reply::error(&json!({ "reason": error.to_string() })),
                }
            }
            Event::AlsoAs { user } => match presence.track(socket, &user, &()).await {
                Ok(reference) => Reply::ok(&json!({ "phx_ref": reference })),
                Err(error) => Reply::error(&json!({ "reason": error.to_string() })),
            },
            Event::Hide { user } => Reply::ok(&Was {
                was: presence.untrack(socket, &user).await,
            }),
            Event::List => Reply::ok(&presence.list(socket.topic())),
            Event::Anew => match presence.push_state(socket).await {
                Ok(()) => Reply::ok_empty(),
                Err(error) => Reply::error(&json!({ "reason": error.to_string() })),
            },
            Event::AnewBehind { frames } => {
                for n in 0..frames {
                    socket.push("noise", &json!({ "n": n })).unwrap();
                }
                match presence.push_state(socket).await {
                    Ok(()) => Reply::ok_empty(),
                    Err(error) => Reply::error(&json!({ "reason": error.to_string() })),
                }
            }
            Event::AnewAfterwards => {
                presence.push_state_after_join(socket);
                Reply::ok_empty()
            }
            Event::Crash => panic!("as the test asked"),
            Event::Stop => Reply::stop(),
        }
    }
}

/// A channel that watches the list, and is on it only once it asks for that.
pub(crate) struct Watcher(Presence);

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Watched {
    /// Lists a name.
    AlsoAs { user: String },
}

impl Channel<Presence> for Watcher {
    type Params = ();
    type Event = Watched;

    async fn join(presence: &Presence, socket: &mut Socket, (): ()) -> Result<Self, Refused> {
        presence.push_state_after_join(socket);
        Ok(Self(presence.clone()))
    }

    async fn handle_in(&mut self, socket: &mut Socket, event: Watched) -> Reply {
        let Watched::AlsoAs { user } = event;
        match self.0.track(socket, &user, &()).await {
            Ok(_) => Reply::ok_empty(),
            Err(error) => Reply::error(&json!({ "reason": error.to_string() })),
        }
    }
}

/// One node: its presence and its sockets.
pub(crate) struct Node {
    pub(crate) presence: Presence,
    pub(crate) service: MemoryService<Sockets<Presence>>,
}

impl Node {
    pub(crate) fn start(pubsub: PubSub) -> Self {
        Self::with(&pubsub, Presence::new(&pubsub))
    }

    pub(crate) fn with(pubsub: &PubSub, presence: Presence) -> Self {
        let sockets = Sockets::new(pubsub, presence.clone())
            .on_connect(async |_: Presence, info: ConnectInfo| {
                let id = info.params.get("id").unwrap_or_default().to_owned();
                Ok(Connected::new().id(id))
            })
            .channel::<Room>("room:*")
            .channel::<Watcher>("watch:*");
        Self {
            presence,
            service: MemoryService::new(sockets),
        }
    }

    pub(crate) async fn connect(&self, topic: &'static str) -> Client {
        self.connect_as("", topic).await
    }

    /// A socket with that id.
    pub(crate) async fn connect_as(&self, id: &str, topic: &'static str) -> Client {
        let params = Params::parse(&format!("vsn=2.0.0&id={id}")).unwrap();
        let info = ConnectInfo::new("memory", params).unwrap();
        Client::new(self.service.connect(info).await.unwrap(), topic)
    }

    /// A client that has joined and holds the list.
    pub(crate) async fn join(&self, topic: &'static str, user: &str, meta: Value) -> Client {
        let mut client = self.connect(topic).await;
        let reply = client.join(json!({ "user": user, "meta": meta })).await;
        assert_eq!(reply, json!({ "status": "ok", "response": {} }));
        client
    }
}
