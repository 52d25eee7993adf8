//! The spans of a connection, a channel and one event: who a line of the log, or a trace, is about.
//!
//! | span | fields |
//! | --- | --- |
//! | `socket` | `transport`, `vsn`, `id`, `params` |
//! | `channel`, in a socket | `topic`, `params` |
//! | `event`, in a channel | `event`, `payload` |
//!
//! All are of the level *debug* and the target `matryoshka_channel`, so that a server at *info* pays nothing for them: a span
//! that is kept costs several hundred bytes per socket in most subscribers.

use tracing::{Span, debug_span};

use crate::filtered::{Filtered, FilteredParams};
use crate::link::Link;
use crate::transport::{ConnectInfo, Field, Payload};
use matryoshka_transport::excerpt;

const TARGET: &str = "matryoshka_channel";

/// The span of a connection that asks to be let in.
pub(crate) fn socket_span(info: &ConnectInfo) -> Span {
    debug_span!(
        target: TARGET,
        "socket",
        transport = info.transport,
        vsn = info.serializer.vsn(),
        id = tracing::field::Empty,
        params = %FilteredParams(&info.params),
    )
}

/// The span of a channel that is about to join.
pub(crate) fn channel_span(link: &Link, topic: &str, params: &Payload) -> Span {
    match link.span.as_deref() {
        None => Span::none(),
        Some(socket) => debug_span!(
            target: TARGET,
            parent: socket,
            "channel",
            topic = excerpt(topic),
            params = %Filtered(params),
        ),
    }
}

/// The span of one message from a client.
pub(crate) fn event_span(channel: Option<&Span>, event: &Field, payload: &Payload) -> Span {
    match channel {
        None => Span::none(),
        Some(channel) => debug_span!(
            target: TARGET,
            parent: channel,
            "event",
            event = event.as_text().map(excerpt),
            payload = %Filtered(payload),
        ),
    }
}

/// The span, if anybody listens to it.
pub(crate) fn kept(span: Span) -> Option<Box<Span>> {
    (!span.is_disabled()).then(|| Box::new(span))
}
