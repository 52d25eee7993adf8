//! SIGHUP: the secret's file or the certificates are read again, while everything runs on.

use std::io;
use std::sync::Arc;

use matryoshka_pubsub_quic::{IdentityInfo, QuicAdapter, RotateError};

use crate::identity::{IdentityError, IdentitySource};

/// Listens for SIGHUP, from the moment it was made: a server is not ended by the terminal that started it.
pub(crate) struct Rereading {
    hangups: Hangups,
}

impl Rereading {
    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// If the signal handler cannot be installed.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            hangups: Hangups::listen()?,
        })
    }

    /// Reads again whenever it is told to, and says in one line what came of it. `cluster` is none for a node that
    /// stands alone. Never ends.
    pub(crate) async fn run(mut self, cluster: Option<(IdentitySource, QuicAdapter)>) {
        let cluster = cluster.map(Arc::new);
        loop {
            self.hangups.next().await;
            match &cluster {
                None => tracing::info!("SIGHUP changes nothing: this node stands alone"),
                Some(cluster) => read_again(cluster.clone()).await,
            }
        }
    }
}

async fn read_again(cluster: Arc<(IdentitySource, QuicAdapter)>) {
    let (source, mesh) = (&cluster.0, &cluster.1);
    if !source.may_change() {
        tracing::warn!(
            "SIGHUP changes nothing: {source} cannot change while the process runs; start with --cluster-secret-file \
             to change secrets without a restart"
        );
        return;
    }
    let before = mesh.identity();
    let reading = cluster.clone();
    // Files may lie on a disk that hangs.
    let read = tokio::task::spawn_blocking(move || take(&reading.0, &reading.1)).await;
    let now = mesh.identity();
    match read {
        Ok(Ok(())) if now == before => tracing::info!(
            "SIGHUP: {source} says what it said before; {}",
            described(source, &now)
        ),
        Ok(Ok(())) => tracing::info!(
            "SIGHUP: {source} was read again; now {}; before {}",
            described(source, &now),
            described(source, &before)
        ),
        Ok(Err(error)) => tracing::error!("SIGHUP: {error}; the node goes on with what it had"),
        Err(failed) => tracing::error!("SIGHUP: reading {source} failed: {failed}"),
    }
}

fn take(source: &IdentitySource, mesh: &QuicAdapter) -> Result<(), RereadError> {
    Ok(source.read()?.give_to(mesh)?)
}

/// The node's identity was not changed.
#[derive(Debug, thiserror::Error)]
enum RereadError {
    #[error(transparent)]
    Read(#[from] IdentityError),
    #[error(transparent)]
    Give(RotateError),
}

impl From<RotateError> for RereadError {
    /// What is wrong with a file is said as at the start, with its flag.
    fn from(error: RotateError) -> Self {
        match error {
            RotateError::Pki(error) => Self::Read(IdentityError::BadPki(error)),
            error => Self::Give(error),
        }
    }
}

fn described(source: &IdentitySource, identity: &IdentityInfo) -> String {
    format!(
        "{} accepted, certificate SHA-256 {}",
        source.counted(identity.authorities),
        identity.fingerprint
    )
}

#[cfg(unix)]
struct Hangups(tokio::signal::unix::Signal);

#[cfg(unix)]
impl Hangups {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self(signal(SignalKind::hangup())?))
    }

    async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(not(unix))]
struct Hangups;

#[cfg(not(unix))]
impl Hangups {
    fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    /// There is no such signal here.
    async fn next(&mut self) {
        std::future::pending().await
    }
}
