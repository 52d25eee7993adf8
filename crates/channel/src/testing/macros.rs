//! The assertions. Each stands in an `async` test, and panics where it stands.

/// Asserts that a client got a push or broadcast on its channel, and gives its payload.
///
/// `assert_push!(channel, "event")` takes any payload, `assert_push!(channel, "event", {"a": 1})` exactly this JSON (no pattern, as it is in
/// Phoenix: of a part, look at the payload that is given), which may hold expressions as in `json!`, and `assert_push!(channel, "event", bytes b"..")` these bytes. What stands before it in the order of
/// arrival stays for other assertions. `phx_close` and `phx_error` are asserted in the same way.
#[macro_export]
macro_rules! assert_push {
    ($channel:expr, $event:expr $(, $($expected:tt)+)?) => {
        $crate::testing_checked!($channel.check_push(&$event, $crate::testing_expected!($($($expected)+)?)))
    };
}

/// Asserts that no push or broadcast of this event (and payload) waits for a client on its channel, nor is on its way. Known at
/// once, on paused time, which moves by a millisecond. Without an event: none at all that no assertion has taken.
#[macro_export]
macro_rules! refute_push {
    ($channel:expr) => {
        $crate::testing_checked!($channel.check_silence())
    };
    ($channel:expr, $event:expr $(, $($expected:tt)+)?) => {
        $crate::testing_checked!($channel.check_no_push(&$event, $crate::testing_expected!($($($expected)+)?)))
    };
}

/// Asserts that a push was answered with this status, and gives the response.
///
/// `assert_reply!(pushed, ok)` takes any response, `assert_reply!(pushed, error, {"reason": "empty"})` this JSON,
/// `assert_reply!(pushed, ok, bytes b"..")` these bytes. Any other status is an expression: `assert_reply!(pushed, "maybe")`.
#[macro_export]
macro_rules! assert_reply {
    ($push:expr, ok $(, $($expected:tt)+)?) => {
        $crate::assert_reply!($push, "ok" $(, $($expected)+)?)
    };
    ($push:expr, error $(, $($expected:tt)+)?) => {
        $crate::assert_reply!($push, "error" $(, $($expected)+)?)
    };
    ($push:expr, $status:expr $(, $($expected:tt)+)?) => {
        $crate::testing_checked!($push.check_reply($status, $crate::testing_expected!($($($expected)+)?)))
    };
}

/// Asserts that a push was not answered, and no answer is on its way. Known at once, on paused time. With a status, and perhaps a response,
/// as in [`assert_reply!`](crate::assert_reply): no such answer.
#[macro_export]
macro_rules! refute_reply {
    ($push:expr) => {
        $crate::testing_checked!($push.check_no_reply(None, $crate::testing::Expected::Any))
    };
    ($push:expr, ok $(, $($expected:tt)+)?) => {
        $crate::refute_reply!($push, "ok" $(, $($expected)+)?)
    };
    ($push:expr, error $(, $($expected:tt)+)?) => {
        $crate::refute_reply!($push, "error" $(, $($expected)+)?)
    };
    ($push:expr, $status:expr $(, $($expected:tt)+)?) => {
        $crate::testing_checked!($push.check_no_reply(Some($status), $crate::testing_expected!($($($expected)+)?)))
    };
}

/// Asserts that an event was broadcast on a topic that the test has subscribed to, and gives its payload. The forms are those of
/// [`assert_push!`](crate::assert_push).
#[macro_export]
macro_rules! assert_broadcast {
    ($topic:expr, $event:expr $(, $($expected:tt)+)?) => {
        $crate::testing_checked!($topic.check_broadcast(&$event, $crate::testing_expected!($($($expected)+)?)))
    };
}

/// Asserts that an event was not broadcast on a topic that the test has subscribed to. The forms are those of
/// [`refute_push!`](crate::refute_push).
#[macro_export]
macro_rules! refute_broadcast {
    ($topic:expr) => {
        $crate::testing_checked!($topic.check_silence())
    };
    ($topic:expr, $event:expr $(, $($expected:tt)+)?) => {
        $crate::testing_checked!($topic.check_no_broadcast(&$event, $crate::testing_expected!($($($expected)+)?)))
    };
}

/// Asserts that the server has closed a [`TestSocket`](crate::testing::TestSocket) with this code. The end of one channel is
/// `assert_push!(channel, "phx_close")`, or `"phx_error"`.
#[macro_export]
macro_rules! assert_closed {
    ($socket:expr, $code:expr) => {
        $crate::testing_checked!($socket.check_closed($code))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! testing_checked {
    ($check:expr) => {
        match $check.await {
            Ok(checked) => checked,
            Err(report) => panic!("{report}"),
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! testing_expected {
    () => {
        $crate::testing::Expected::Any
    };
    (bytes $bytes:expr) => {
        $crate::testing::Expected::Bytes($crate::transport::bytes::Bytes::copy_from_slice($bytes.as_ref()))
    };
    ($($json:tt)+) => {
        $crate::testing::Expected::Json($crate::testing::json!($($json)+))
    };
}
