//! The end of a connection: the session is told, and the client, as far as it listens.

use futures::SinkExt;

use super::{
    Written,
    end::{Breach, End},
    guarded,
};
use crate::{
    close::{Close, CloseCode, CloseReason},
    connections::Entered,
    session::{Output, Session},
    stats::Counters,
    transport::{Connection, Outgoing, WriteError},
};

/// Tells the session of the end, and lets go of it.
pub(super) fn tell<S: Session>(mut session: S, end: End, entered: &Entered) {
    tracing::debug!(?end, "connection ends");
    if let End::Breach(breach) = &end {
        breach.explain(entered);
    }
    let reason = match end {
        End::Client(code) => Some(CloseReason::Client(code)),
        End::Lost => Some(CloseReason::Lost),
        End::Idle => Some(CloseReason::Idle),
        End::Closed(close) => Some(CloseReason::Closed(close)),
        End::Breach(breach) => Some(CloseReason::Closed(breach.code().into())),
        End::Crashed => None,
    };
    let had_crashed = reason.is_none();
    // A crash while the session cleans up ends it all the same.
    let closed = guarded(move || {
        if let Some(reason) = reason {
            session.closed(reason);
        }
    });
    if (had_crashed || closed.is_err())
        && let Some(left_out) = entered.breach_lines().crashed.pass_now()
    {
        tracing::error!(
            left_out,
            "a session panicked; its connection is closed with 1011"
        );
    }
}

/// What is left to write when the session is gone.
pub(super) enum LastWords {
    /// The client is gone.
    None,
    /// The client closed and waits for the answer.
    Answer,
    /// The server closes; what the session had written goes first.
    Close(Close),
}

impl LastWords {
    pub(super) fn after(end: &End, is_stuck: bool) -> Self {
        match end {
            End::Client(_) => Self::Answer,
            End::Lost => Self::None,
            // It would have to read first what was too much to keep.
            End::Breach(Breach::Unread) if is_stuck => Self::None,
            End::Idle => Self::Close(CloseCode::GOING_AWAY.into()),
            End::Closed(close) => Self::Close(close.clone()),
            End::Breach(breach) => Self::Close(breach.code().into()),
            End::Crashed => Self::Close(CloseCode::INTERNAL.into()),
        }
    }

    pub(super) async fn write<C: Connection>(
        self,
        connection: &mut C,
        output: &mut Output,
        counters: &Counters,
    ) -> Result<(), WriteError> {
        match self {
            Self::None => Ok(()),
            Self::Answer => connection.close().await,
            Self::Close(close) => {
                while let Some(frame) = output.take() {
                    let mut written = Written::default();
                    written.add(&frame);
                    written.count(counters);
                    connection.feed(Outgoing::Frame(frame)).await?;
                }
                connection.send(Outgoing::Close(close)).await?;
                connection.close().await
            }
        }
    }
}
