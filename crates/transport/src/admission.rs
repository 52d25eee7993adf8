//! From a request to connect to a session that can be driven.

use std::{future::Future, panic::AssertUnwindSafe};

use bytes::Bytes;
use futures::FutureExt;
use http::StatusCode;

use crate::{
    close::CloseReason,
    connect::{ConnectInfo, Refused},
    connections::{Connections, Entered},
    drive::drive,
    limits::Limits,
    outbox::{Inbox, outbox},
    session::{Handler, Session},
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
    /// The service takes no new connections.
    Closing,
    /// The handler panicked.
    Crashed,
}

/// Asks the handler for a session.
pub(crate) async fn admit<H: Handler>(
    handler: &H,
    info: ConnectInfo,
    limits: &Limits,
    connections: &Connections,
) -> Result<Admitted<H::Session>, NotAdmitted> {
    let (outbox, inbox) = outbox(limits.outbox_bytes, limits.outbox_items);
    let entered = connections
        .enter(&outbox)
        .map_err(|_closing| NotAdmitted::Closing)?;
    // Making the future is the handler's code too.
    let connecting = async { handler.connect(info, outbox).await };
    match AssertUnwindSafe(connecting).catch_unwind().await {
        Ok(connected) => Ok(Admitted {
            session: connected.map_err(NotAdmitted::Refused)?,
            inbox,
            limits: limits.clone(),
            entered,
        }),
        Err(_panic) => {
            tracing::error!("the handler's connect panicked; the client was answered 500");
            Err(NotAdmitted::Crashed)
        }
    }
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

    /// The connection never came to be.
    pub(crate) fn abandon(mut self) {
        self.session.closed(CloseReason::Lost);
    }
}

/// As the clients of carriers that can answer see it.
impl From<NotAdmitted> for Refused {
    fn from(not_admitted: NotAdmitted) -> Self {
        let empty = |status| Self::new(status, Bytes::new());
        match not_admitted {
            NotAdmitted::Refused(refused) => refused,
            NotAdmitted::Closing => empty(StatusCode::SERVICE_UNAVAILABLE),
            NotAdmitted::Crashed => empty(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}
