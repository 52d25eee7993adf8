//! From a request to connect to a session that can be driven.

use std::{future::Future, net::SocketAddr, panic::AssertUnwindSafe};

use bytes::Bytes;
use futures::FutureExt;
use http::StatusCode;
use tokio::time::timeout;

use crate::{
    close::CloseReason,
    connect::{ConnectInfo, Refused},
    connections::{Connections, Entered, NoRoom},
    drive::drive,
    limits::Limits,
    outbox::{Inbox, outbox},
    params::Params,
    session::{Handler, Session},
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
    Refused(Refused),
    /// There is no room for it.
    NoRoom(NoRoom),
    /// It took too long.
    TimedOut,
    /// The handler panicked.
    Crashed,
}

/// Asks the handler for a session of a client, which is counted by its address.
pub(crate) async fn admit<H: Handler>(
    handler: &H,
    info: ConnectInfo,
    client: Option<SocketAddr>,
    limits: &Limits,
    connections: &Connections,
) -> Result<Admitted<H::Session>, NotAdmitted> {
    let names = names(&info.params);
    let admitted = try_admit(handler, info, client, limits, connections).await;
    count(&admitted, connections.counters());
    if let Err(NotAdmitted::Refused(refused)) = &admitted {
        tracing::info!(
            status = refused.status.as_u16(),
            params = names,
            "a connection was refused by its handler, which got these parameters and no other: is one that it needs missing?"
        );
    }
    admitted
}

/// The names of what a client sent along, and none of the values, which may be secret.
fn names(params: &Params) -> String {
    let names: Vec<&str> = params.iter().map(|(name, _)| name).collect();
    names.join(", ").chars().take(100).collect()
}

async fn try_admit<H: Handler>(
    handler: &H,
    info: ConnectInfo,
    client: Option<SocketAddr>,
    limits: &Limits,
    connections: &Connections,
) -> Result<Admitted<H::Session>, NotAdmitted> {
    let (outbox, inbox) = outbox(limits, connections.counters());
    let entered = connections.enter(&outbox, client)?;
    // Making the future is the handler's code too.
    let connecting = async { handler.connect(info, outbox).await };
    let connecting = AssertUnwindSafe(connecting).catch_unwind();
    let session = match timeout(limits.handshake_timeout, connecting).await {
        Ok(Ok(connected)) => connected.map_err(NotAdmitted::Refused)?,
        Ok(Err(_panic)) => {
            tracing::error!("the handler's connect panicked; the client was answered 500");
            return Err(NotAdmitted::Crashed);
        }
        Err(_elapsed) => {
            let limit = limits.handshake_timeout;
            tracing::warn!(
                ?limit,
                "a connection was refused: the handler's connect took too long"
            );
            return Err(NotAdmitted::TimedOut);
        }
    };
    let mut admitted = Admitted {
        session,
        inbox,
        limits: limits.clone(),
        entered,
    };
    let belongs = match admitted.session.user() {
        Some(user) => admitted.entered.belong_to(user),
        None => Ok(()),
    };
    match belongs {
        Ok(()) => Ok(admitted),
        Err(no_room) => {
            admitted.abandon();
            Err(no_room.into())
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

    pub(crate) fn counters(&self) -> &Counters {
        self.entered.counters()
    }

    /// The connection never came to be.
    pub(crate) fn abandon(mut self) {
        self.session.closed(CloseReason::Lost);
    }
}

impl From<NoRoom> for NotAdmitted {
    fn from(no_room: NoRoom) -> Self {
        let (count, limit) = match no_room {
            NoRoom::Closing => return Self::NoRoom(no_room),
            NoRoom::Full => ("connections", "max_connections"),
            NoRoom::Address => ("connections from its address", "max_per_address"),
            NoRoom::User => ("connections of its user", "max_per_user"),
        };
        tracing::warn!(
            limit,
            "a connection was refused: there are as many {count} as there may be"
        );
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
impl From<NotAdmitted> for Refused {
    fn from(not_admitted: NotAdmitted) -> Self {
        let status = not_admitted.status();
        match not_admitted {
            NotAdmitted::Refused(refused) => refused,
            _ => Self::new(status, Bytes::new()),
        }
    }
}
