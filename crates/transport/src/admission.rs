//! From a request to connect to a session that can be driven.

use std::{future::Future, net::SocketAddr, panic::AssertUnwindSafe};

use bytes::Bytes;
use futures::FutureExt;
use http::StatusCode;
use tokio::time::timeout;

use crate::{
    close::CloseReason,
    connect::{ConnectInfo, Rejection},
    connections::{Connections, Entered, NoRoom},
    drive::drive,
    limits::Limits,
    log_limit::RefusalLines,
    outbox::{Inbox, outbox},
    params::Params,
    session::{Handler, Panicked, Session, call_session},
    stats::Counters,
    transport::Connection,
};

/// A session whose connection may still have to be made.
pub(crate) struct Admitted<S: Session> {
    session: S,
    inbox: Inbox<S::Mail>,
    limits: Limits,
    entered: Entered,
}

/// Why there is no session for a client.
pub(crate) enum NotAdmitted {
    /// The handler does not want this client.
    Refused(Rejection),
    /// There is no room for it.
    NoRoom(NoRoom),
    /// It took too long.
    TimedOut,
    /// The handler panicked.
    Crashed,
}

/// Asks the handler for a session of a client, which is counted by its address. Its carrier can write frames up to `largest_frame`.
pub(crate) async fn admit<H: Handler>(
    handler: &H,
    info: ConnectInfo,
    client: Option<SocketAddr>,
    limits: &Limits,
    largest_frame: usize,
    connections: &Connections,
) -> Result<Admitted<H::Session>, NotAdmitted> {
    let names = names(&info.params);
    let admitted = try_admit(handler, info, client, limits, largest_frame, connections).await;
    count(&admitted, connections.counters());
    if let Err(why) = &admitted {
        tell(why, &names, limits, connections.refusal_lines());
    }
    admitted
}

/// Each reason is worth a line, but not one for each client.
fn tell(why: &NotAdmitted, names: &str, limits: &Limits, lines: &RefusalLines) {
    let (limit, full) = match why {
        NotAdmitted::Refused(_) => (&lines.by_handler, None),
        NotAdmitted::Crashed => (&lines.crashed, None),
        NotAdmitted::TimedOut => (&lines.timed_out, None),
        NotAdmitted::NoRoom(NoRoom::Closing) => return,
        NotAdmitted::NoRoom(NoRoom::Full) => {
            let counted = ("connections", "ConnectionLimits::max_connections");
            (&lines.full, Some(counted))
        }
        NotAdmitted::NoRoom(NoRoom::Address) => {
            let counted = (
                "connections from its address",
                "ConnectionLimits::max_per_address",
            );
            (&lines.full_address, Some(counted))
        }
        NotAdmitted::NoRoom(NoRoom::User) => {
            let counted = ("connections of its user", "ConnectionLimits::max_per_user");
            (&lines.full_user, Some(counted))
        }
    };
    let Some(left_out) = limit.pass_now() else {
        return;
    };
    match why {
        NotAdmitted::Refused(refused) => tracing::info!(
            status = refused.status.as_u16(),
            params = names,
            cause = refused.cause.as_deref(),
            left_out,
            "a connection was refused by its handler, which got these parameters and no other: is one that it needs missing?"
        ),
        NotAdmitted::Crashed => tracing::error!(
            left_out,
            "the handler's connect panicked, or its session when it was asked for its user; the client was answered 500"
        ),
        NotAdmitted::TimedOut => tracing::warn!(
            limit = ?limits.handshake_timeout,
            left_out,
            "a connection was refused: the handler's connect took too long"
        ),
        NotAdmitted::NoRoom(_) => {
            let Some((count, limit)) = full else { return };
            tracing::warn!(
                limit,
                left_out,
                "a connection was refused: there are as many {count} as there may be; raise the limit if so many are meant"
            );
        }
    }
}

/// The first names of what a client sent along, and none of the values, which may be secret. Few, as this is done for everybody: the
/// handler takes the parameters along.
fn names(params: &Params) -> String {
    let names = params.iter().flat_map(|(name, _)| [", ", name]);
    names.flat_map(str::chars).skip(2).take(100).collect()
}

async fn try_admit<H: Handler>(
    handler: &H,
    mut info: ConnectInfo,
    client: Option<SocketAddr>,
    limits: &Limits,
    largest_frame: usize,
    connections: &Connections,
) -> Result<Admitted<H::Session>, NotAdmitted> {
    let (outbox, inbox) = outbox(limits, largest_frame, connections.counters());
    let entered = connections.enter(&outbox, client)?;
    info.unhandled = entered.unhandled();
    // Making the future is the handler's code too.
    let connecting = async { handler.connect(info, outbox).await };
    let connecting = AssertUnwindSafe(connecting).catch_unwind();
    let session = match timeout(limits.handshake_timeout, connecting).await {
        Ok(Ok(connected)) => connected.map_err(NotAdmitted::Refused)?,
        Ok(Err(_panic)) => return Err(NotAdmitted::Crashed),
        Err(_elapsed) => return Err(NotAdmitted::TimedOut),
    };
    let mut admitted = Admitted {
        session,
        inbox,
        limits: limits.clone(),
        entered,
    };
    match admitted.enter_user() {
        Ok(Ok(())) => Ok(admitted),
        Ok(Err(no_room)) => {
            admitted.abandon();
            Err(no_room.into())
        }
        Err(Panicked) => {
            let session = admitted.session;
            // It may panic again when it is dropped, and then ends all the same.
            let _ = call_session(move || drop(session));
            Err(NotAdmitted::Crashed)
        }
    }
}

fn count<S: Session>(admitted: &Result<Admitted<S>, NotAdmitted>, counters: &Counters) {
    let counter = match admitted {
        Ok(_) => &counters.opened,
        Err(NotAdmitted::Refused(_)) => &counters.refused,
        Err(NotAdmitted::NoRoom(no_room)) => match no_room {
            NoRoom::Closing => &counters.refused_closing,
            NoRoom::Full => &counters.refused_full,
            NoRoom::Address => &counters.refused_address,
            NoRoom::User => &counters.refused_user,
        },
        Err(NotAdmitted::TimedOut) => &counters.handshake_timeouts,
        Err(NotAdmitted::Crashed) => &counters.crashes,
    };
    counter.add_one();
}

impl<S: Session> Admitted<S> {
    /// Drives the session until its connection has ended. It is counted until the closing handshake is over.
    pub(crate) fn drive<C: Connection>(self, connection: C) -> impl Future<Output = ()> + Send {
        drive(
            connection,
            self.session,
            self.inbox,
            self.limits,
            self.entered,
        )
    }

    /// Counts it among those of its user, if the session names one.
    fn enter_user(&mut self) -> Result<Result<(), NoRoom>, Panicked> {
        call_session(|| match self.session.user() {
            Some(user) => self.entered.belong_to(user),
            None => Ok(()),
        })
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.entered.counters()
    }

    /// The connection never came to be.
    pub(crate) fn abandon(self) {
        let Self {
            mut session,
            entered,
            ..
        } = self;
        // Moved, so that it is dropped inside too.
        let closed = call_session(move || session.closed(CloseReason::Lost));
        if let Err(Panicked) = closed {
            if let Some(left_out) = entered.breach_lines().crashed.pass_now() {
                tracing::error!(
                    left_out,
                    "a session panicked when it was told that its client never came"
                );
            }
            entered.counters().crashes.add_one();
        }
    }
}

impl From<NoRoom> for NotAdmitted {
    fn from(no_room: NoRoom) -> Self {
        Self::NoRoom(no_room)
    }
}

impl NotAdmitted {
    /// What the client is answered, where a carrier can.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Refused(refused) => refused.status,
            Self::NoRoom(NoRoom::Closing | NoRoom::Full) | Self::TimedOut => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::NoRoom(NoRoom::Address | NoRoom::User) => StatusCode::TOO_MANY_REQUESTS,
            Self::Crashed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// As the clients of carriers that can answer see it.
impl From<NotAdmitted> for Rejection {
    fn from(not_admitted: NotAdmitted) -> Self {
        let status = not_admitted.status();
        match not_admitted {
            NotAdmitted::Refused(refused) => refused,
            _ => Self::new(status, Bytes::new()),
        }
    }
}
