//! This node's place in its cluster, before and after it has joined.

use std::net::SocketAddr;

use matryoshka_pubsub_quic::{Builder, QuicAdapter};

use crate::error::StartError;
use crate::flags::{Flags, SECRET_VARIABLE};
use crate::identity::IdentitySource;

/// All that joining takes; nothing is open yet.
pub(crate) struct Membership {
    listen: SocketAddr,
    source: IdentitySource,
    links: Builder,
}

impl Membership {
    /// What the flags say, with the secret or the certificates read; none for a node that stands alone.
    ///
    /// # Errors
    ///
    /// [`StartError`] if there is no identity to be had.
    pub(crate) fn of(flags: &Flags) -> Result<Option<Self>, StartError> {
        let Some(listen) = flags.cluster.quic else {
            return Ok(None);
        };
        let variable = std::env::var(SECRET_VARIABLE).ok();
        let source = IdentitySource::of(&flags.cluster.identity, variable.as_deref())?;
        let links = flags.cluster.links(&flags.name).listen(listen);
        let links = source.read()?.start_with(links);
        Ok(Some(Self {
            listen,
            source,
            links,
        }))
    }

    /// Listens and begins to look for the others. Also gives where the identity came from, which may change.
    ///
    /// # Errors
    ///
    /// [`StartError`] if it cannot listen, or the certificates do not fit.
    pub(crate) async fn join(self) -> Result<(IdentitySource, QuicAdapter), StartError> {
        let started = self.links.start().await;
        let mesh = started.map_err(|error| StartError::of_mesh(self.listen, error))?;
        Ok((self.source, mesh))
    }
}
