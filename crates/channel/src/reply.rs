//! What handlers answer: replies now, replies later, refusals, and whether the channel goes on.

use serde::Serialize;

use crate::link::Link;
use crate::pubsub::{Sent, SubscribeError};
use crate::transport::{Field, Payload};
use crate::{BroadcastError, PayloadError, PushError, payload, wire};
use bytestring::ByteString;
use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;

/// Whether a channel goes on after a callback.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// It goes on.
    #[default]
    Continue,
    /// It ends in an orderly way; the client gets `phx_close` and does not come back by itself.
    Stop,
    /// It ends for this reason, which is logged; the client gets `phx_error` and joins again.
    Fail(String),
}

impl From<()> for Flow {
    fn from((): ()) -> Self {
        Self::Continue
    }
}

/// An error ends the channel.
impl<E: Into<Flow>> From<Result<(), E>> for Flow {
    fn from(result: Result<(), E>) -> Self {
        result.map_or_else(E::into, |()| Self::Continue)
    }
}

impl From<PushError> for Flow {
    fn from(error: PushError) -> Self {
        Self::Fail(error.to_string())
    }
}

impl From<BroadcastError> for Flow {
    fn from(error: BroadcastError) -> Self {
        Self::Fail(error.to_string())
    }
}

/// It ends the channel.
impl From<SubscribeError> for Flow {
    fn from(error: SubscribeError) -> Self {
        Self::Fail(error.to_string())
    }
}

/// What a handler answers to one client message, and whether the channel goes on.
///
/// It is sent when the handler returns, after what the handler pushed. A value that cannot be written as JSON makes the
/// channel crash, as a panic would.
///
/// Results turn into it, with either side. What needs several `?` is a method that gives a `Result<_, Refused>`, as the errors of pushes,
/// broadcasts, subscriptions, timers and tokens turn into a [`Refused`]:
///
/// ```
/// # use matryoshka_channel::{Channel, Flow, HandleInfo, RawEvent, Refused, Reply, Socket, pubsub::Sent};
/// # use std::time::Duration;
/// # struct Document;
/// # struct LockEnds;
/// impl Document {
///     fn lock(&mut self, socket: &mut Socket) -> Result<Sent, Refused> {
///         socket.send_after::<Self, _>(Duration::from_secs(30), LockEnds)?;
///         Ok(socket.broadcast("locked", &())?)
///     }
/// }
///
/// impl Channel<()> for Document {
///     # type Params = ();
///     # type Event = RawEvent;
///     # async fn join(_: &(), _: &mut Socket, (): ()) -> Result<Self, Refused> { Ok(Self) }
///     async fn handle_in(&mut self, socket: &mut Socket, _: RawEvent) -> Reply {
///         self.lock(socket).into()
///     }
/// }
/// # impl HandleInfo<LockEnds> for Document {
/// #     async fn handle_info(&mut self, _: &mut Socket, _: LockEnds) -> Flow { Flow::Continue }
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Reply {
    pub(crate) answer: Option<Answer>,
    pub(crate) flow: Flow,
    pub(crate) cause: Option<Box<Cause>>,
}

/// What the log is told of an answer, and the client is not.
#[derive(Debug)]
pub(crate) struct Cause {
    pub(crate) what: &'static str,
    pub(crate) error: String,
    /// Whoever sends nonsense is answered so, and nothing is wrong here.
    pub(crate) is_the_clients: bool,
}

/// Status and response, or why there is none.
pub(crate) type Answer = Result<(ByteString, Payload), PayloadError>;

impl Reply {
    /// Status `ok` with a value as response.
    pub fn ok<T: Serialize + ?Sized>(response: &T) -> Self {
        Self::status(wire::OK, response)
    }

    /// Status `ok` with the response `{}`.
    pub fn ok_empty() -> Self {
        Self::payload(wire::OK, Payload::object())
    }

    /// Status `error` with a value as response.
    pub fn error<T: Serialize + ?Sized>(response: &T) -> Self {
        Self::status(wire::ERROR, response)
    }

    /// Any status with a value as response. Clients listen for statuses by name; `ok` and `error` are the usual two.
    pub fn status<T: Serialize + ?Sized>(
        status: impl Into<Cow<'static, str>>,
        response: &T,
    ) -> Self {
        let status = text(status.into());
        Self::answer(payload::of_response(response).map(|response| (status, response)))
    }

    /// Any status with a ready response: JSON or bytes.
    pub fn payload(status: impl Into<Cow<'static, str>>, response: impl Into<Payload>) -> Self {
        Self::answer(Ok((text(status.into()), response.into())))
    }

    /// No answer.
    pub fn none() -> Self {
        Self {
            answer: None,
            flow: Flow::Continue,
            cause: None,
        }
    }

    /// No answer; the channel ends in an orderly way, as by [`Flow::Stop`].
    pub fn stop() -> Self {
        Self::none().then(Flow::Stop)
    }

    /// No answer; the channel ends for this reason, as by [`Flow::Fail`].
    pub fn fail(reason: impl Into<String>) -> Self {
        Self::none().then(Flow::Fail(reason.into()))
    }

    /// The same answer, and what becomes of the channel afterwards.
    pub fn then(self, flow: Flow) -> Self {
        Self { flow, ..self }
    }

    fn answer(answer: Answer) -> Self {
        Self {
            answer: Some(answer),
            ..Self::none()
        }
    }
}

/// What is known beforehand is not copied.
fn text(text: Cow<'static, str>) -> ByteString {
    match text {
        Cow::Borrowed(text) => ByteString::from_static(text),
        Cow::Owned(text) => ByteString::from(text),
    }
}

/// Done, with nothing to say: `ok` `{}`.
impl From<()> for Reply {
    fn from((): ()) -> Self {
        Self::ok_empty()
    }
}

/// The broadcast went out: `ok` `{}`.
impl From<Sent> for Reply {
    fn from(_: Sent) -> Self {
        Self::ok_empty()
    }
}

/// `error` with the refusal's response.
impl From<Refused> for Reply {
    fn from(refused: Refused) -> Self {
        let response = refused.response;
        let answer = response.map(|response| (ByteString::from_static(wire::ERROR), response));
        Self {
            cause: refused.cause,
            ..Self::answer(answer)
        }
    }
}

/// `error` `{"reason": "broadcast failed"}`; the cause is logged, not told.
impl From<BroadcastError> for Reply {
    fn from(error: BroadcastError) -> Self {
        Refused::from(error).into()
    }
}

/// `error` `{"reason": "push failed"}`; the cause is logged, not told.
impl From<PushError> for Reply {
    fn from(error: PushError) -> Self {
        Refused::from(error).into()
    }
}

/// `error` `{"reason": "subscription failed"}`; the cause is logged, not told.
impl From<SubscribeError> for Reply {
    fn from(error: SubscribeError) -> Self {
        Refused::from(error).into()
    }
}

/// What either side turns into.
impl<T: Into<Reply>, E: Into<Reply>> From<Result<T, E>> for Reply {
    fn from(result: Result<T, E>) -> Self {
        result.map_or_else(E::into, T::into)
    }
}

/// A join is refused: the response of its error reply. Clients try again after 1, 2, 5 and then every 10 seconds, unless it is
/// [for good](Self::for_good).
#[derive(Debug)]
pub struct Refused {
    pub(crate) response: Result<Payload, PayloadError>,
    pub(crate) is_final: bool,
    pub(crate) cause: Option<Box<Cause>>,
}

impl Refused {
    /// The response `{"reason": text}`.
    pub fn because(text: impl AsRef<str>) -> Self {
        Self::payload(wire::reason(text.as_ref()))
    }

    /// A value as response; usually an object with a `reason`.
    pub fn with<T: Serialize + ?Sized>(response: &T) -> Self {
        Self::of(payload::of_response(response))
    }

    /// A ready response: JSON or bytes.
    pub fn payload(response: impl Into<Payload>) -> Self {
        Self::of(Ok(response.into()))
    }

    /// The same, and the client is told not to try again: `phx_close` follows the error reply.
    ///
    /// A refusal that will be one for ever (a ban, a room that is gone) is otherwise a load for ever, since every official
    /// client tries again until its program calls `leave()`. It means nothing in `handle_in`.
    #[must_use]
    pub fn for_good(self) -> Self {
        Self {
            is_final: true,
            ..self
        }
    }

    fn of(response: Result<Payload, PayloadError>) -> Self {
        Self {
            response,
            is_final: false,
            cause: None,
        }
    }

    /// The same, and the log is told what is behind it, which the client is not: one warning with `what` went wrong, the topic and the error. Of
    /// such warnings there is at most one a second, which says how many were left out: clients try again.
    ///
    /// ```
    /// use matryoshka_channel::Refused;
    ///
    /// fn refused(error: std::io::Error) -> Refused {
    ///     Refused::because("try again later").logged("members cannot be read", &error)
    /// }
    /// # drop(refused(std::io::Error::other("disk")));
    /// ```
    #[must_use]
    pub fn logged(self, what: &'static str, error: &dyn Error) -> Self {
        let cause = Cause {
            what,
            error: error.to_string(),
            is_the_clients: false,
        };
        Self {
            cause: Some(Box::new(cause)),
            ..self
        }
    }

    /// It was the client's fault, which is no warning.
    pub(crate) fn blamed(mut self) -> Self {
        if let Some(cause) = &mut self.cause {
            cause.is_the_clients = true;
        }
        self
    }
}

/// `{"reason": "broadcast failed"}`; the cause is logged, not told. So `?` works in `join`.
impl From<BroadcastError> for Refused {
    fn from(error: BroadcastError) -> Self {
        Self::because("broadcast failed").logged("a broadcast failed", &error)
    }
}

/// `{"reason": "push failed"}`; the cause is logged, not told.
impl From<PushError> for Refused {
    fn from(error: PushError) -> Self {
        Self::because("push failed").logged("a push failed", &error)
    }
}

/// `{"reason": "subscription failed"}`; the cause is logged, not told. So [`Socket::subscribe`](crate::Socket::subscribe) takes a `?` in `join`.
impl From<SubscribeError> for Refused {
    fn from(error: SubscribeError) -> Self {
        Self::because("subscription failed").logged("a subscription failed", &error)
    }
}

/// `{"reason": "unusable payload"}`; the cause is logged, not told.
impl From<PayloadError> for Refused {
    fn from(error: PayloadError) -> Self {
        Self::because("unusable payload").logged("a value is no payload", &error)
    }
}

/// The way to answer one client message later, from any task, any number of times (though the official client takes the
/// first answer only).
///
/// It works as long as the connection lives, even after the channel has ended; afterwards answers go nowhere.
#[derive(Clone, Debug)]
pub struct ReplyHandle {
    pub(crate) link: Arc<Link>,
    pub(crate) topic: ByteString,
    pub(crate) join_ref: Option<Field>,
    pub(crate) reference: Option<Field>,
}

impl ReplyHandle {
    /// Answers with status `ok` and a value.
    ///
    /// # Errors
    /// [`PushError`] if this client cannot be sent the value.
    pub fn ok<T: Serialize + ?Sized>(&self, response: &T) -> Result<(), PushError> {
        self.payload(wire::OK, payload::of_response(response)?)
    }

    /// Answers with status `error` and a value.
    ///
    /// # Errors
    /// As [`ok`](Self::ok).
    pub fn error<T: Serialize + ?Sized>(&self, response: &T) -> Result<(), PushError> {
        self.payload(wire::ERROR, payload::of_response(response)?)
    }

    /// Answers with status `ok` and the response `{}`.
    ///
    /// # Errors
    /// As [`ok`](Self::ok).
    pub fn ok_empty(&self) -> Result<(), PushError> {
        self.payload(wire::OK, Payload::object())
    }

    /// Answers with any status and a value.
    ///
    /// # Errors
    /// As [`ok`](Self::ok).
    pub fn status<T: Serialize + ?Sized>(
        &self,
        status: impl Into<ByteString>,
        response: &T,
    ) -> Result<(), PushError> {
        self.payload(status, payload::of_response(response)?)
    }

    /// Answers with any status and a ready response: JSON or bytes.
    ///
    /// # Errors
    /// As [`ok`](Self::ok).
    pub fn payload(
        &self,
        status: impl Into<ByteString>,
        response: impl Into<Payload>,
    ) -> Result<(), PushError> {
        let (join_ref, reference) = (self.join_ref.clone(), self.reference.clone());
        let topic = Field::Text(self.topic.clone());
        let message = wire::reply(join_ref, reference, topic, status.into(), response.into());
        Ok(self.link.send(&message)?)
    }
}
