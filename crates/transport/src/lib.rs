#![doc = include_str!("../README.md")]

pub use bytes;
pub use bytestring;
pub use http;
pub use matryoshka_pubsub as pubsub;

mod admission;
mod close;
mod connect;
mod connections;
mod drive;
mod excerpt;
mod frame;
mod handshake;
mod head;
mod http_service;
mod json;
mod later;
mod limits;
mod log_limit;
mod longpoll;
pub mod memory;
mod message;
mod origin;
mod outbox;
mod pace;
mod params;
mod path;
mod proxies;
mod rate;
mod read_ahead;
mod request;
mod secret_names;
mod serializer;
mod session;
mod stats;
mod subprotocol;
mod sync;
#[cfg(feature = "test-util")]
pub mod testing;
mod transport;
mod websocket;

pub use close::{Close, CloseCode, CloseReason, MAX_CLOSE_REASON_BYTES};
pub use connect::{ConnectInfo, Rejection};
pub use connections::{Connections, Unhandled, census::counted_address};
pub use excerpt::excerpt;
pub use frame::Frame;
pub use head::{OriginalUri, PeerAddr};
pub use http_service::{HttpConfig, HttpService, RequestBody};
pub use json::{Json, JsonError, MAX_JSON_DEPTH};
pub use limits::{ConnectionLimits, Limits, MAX_MESSAGE_BYTES};
pub use log_limit::LogLimit;
pub use longpoll::{
    LONGPOLL, LongPollConfig, LongPollStats, LongPolling, LongPollingError, MAX_WAITING_POSTS,
};
pub use message::{
    ClientMessage, Field, MAX_EVENT_BYTES, MAX_REF_BYTES, Payload, REPLY_EVENT, ServerMessage,
};
pub use origin::{InvalidOrigin, Origin, OriginPolicy};
pub use outbox::{LARGE_FRAME_BYTES, Outbox, SharedFrame, Waiting, WhenSlow};
pub use params::{MAX_PARAM_DEPTH, MAX_PARAMS, MAX_QUERY_BYTES, Param, Params, ParamsError};
pub use proxies::{InvalidNetwork, TrustedProxies};
pub use pubsub::mailbox::Pushed;
pub use rate::{Bucket, Rate};
pub use request::{RequestInfo, Reveal};
pub use secret_names::{FILTERED, is_secret_name};
pub use serializer::{
    DecodeError, EncodeError, Serializer, Serializers, UnknownVsn, V1, V2, VsnTaken,
};
pub use session::{Handler, OUTPUT_PAUSE_BYTES, Output, Session};
pub use stats::{Counter, Stats};
pub use subprotocol::AuthToken;
pub use transport::{Connection, Outgoing, ReadError, Transport, WriteError};
pub use websocket::{MAX_OUTGOING_BYTES, WEBSOCKET, WebSocket, WebSocketConfig};
