//! One node from its flags to its end: listeners, the nest, ready, drain.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use matryoshka_presence::channel::pubsub::Goodbye;
use matryoshka_presence::channel::pubsub::cluster::MemberState;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::drain::Drain;
use crate::error::StartError;
use crate::flags::Flags;
use crate::http;
use crate::identity::IdentitySource;
use crate::listener::Serving;
use crate::membership::Membership;
use crate::readiness::Phase;
use crate::rereading::Rereading;
use crate::server::Server;
use crate::shutdown::{Cause, Shutdown};

/// How long `ready` waits for the presence snapshots of the first peer and of those that it hears, in all.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(5);

/// How long `ready` waits for any peer to be reached: one that is there answers in a few round
/// trips, so after this long there is none to wait for.
const CONTACT_LIMIT: Duration = Duration::from_secs(2);

/// How long the listeners may take to end once the last socket is gone.
const FINISH_LIMIT: Duration = Duration::from_secs(5);

/// How a node that had started came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Every client and peer was told.
    Drained,
    /// The drain took longer than its limit, or was cut short by a second signal.
    CutShort,
}

impl Ended {
    /// The process's exit status.
    pub(crate) fn exit_code(self) -> ExitCode {
        match self {
            Self::Drained => ExitCode::SUCCESS,
            Self::CutShort => ExitCode::FAILURE,
        }
    }
}

/// Runs a node until it is told to stop.
///
/// # Errors
///
/// [`StartError`] if it cannot start; nothing was printed or left behind then.
pub(crate) async fn run(flags: &Flags) -> Result<Ended, StartError> {
    let mut shutdown = Shutdown::listen(flags.exit_with_stdin)?;
    let rereading = Rereading::listen()?;
    let (node, source) = Node::start(flags).await?;
    let cluster = source.zip(node.server.mesh.clone());
    // It ends with the process: a secret may change during a drain as well.
    tokio::spawn(rereading.run(cluster));
    tokio::select! {
        () = node.become_ready(flags) => {}
        cause = shutdown.requested() => return Ok(node.stop(cause, &mut shutdown).await),
    }
    let cause = shutdown.requested().await;
    Ok(node.stop(cause, &mut shutdown).await)
}

/// A node whose listeners accept.
struct Node {
    server: Server,
    http: SocketAddr,
    serving: Serving,
    drain: Drain,
    restart_grace: Option<Duration>,
}

impl Node {
    /// Files are read first, so that what is wrong with one is said before anything listens. Also gives where its identity in
    /// the cluster came from, if it has one.
    async fn start(flags: &Flags) -> Result<(Self, Option<IdentitySource>), StartError> {
        let page = flags.page.open(&flags.name)?;
        let membership = Membership::of(flags)?;
        let (listener, http) = listen(flags.http).await?;
        let (source, mesh) = match membership {
            Some(membership) => membership.join().await.map(Option::Some)?.unzip(),
            None => (None, None),
        };
        let server = Server::assemble(flags, page, mesh);
        let router = http::router(server.clone());
        let node = Self {
            server,
            http,
            serving: Serving::start(listener, router, flags.limits.heads()),
            drain: flags.drain.drain(),
            restart_grace: flags.drain.restart_grace(),
        };
        tracing::info!(name = %node.server.name, http = %node.http, quic = %node.quic(), "listening");
        Ok((node, source))
    }

    /// Waits for the first peers' presence snapshots if there is a cluster to join, and says on
    /// standard output that this node takes clients now.
    async fn become_ready(&self, flags: &Flags) {
        if !flags.cluster.join.is_empty() {
            self.first_snapshot().await;
        }
        self.server.readiness.advance(Phase::Ready);
        let line = format!(
            "ready name={} http={} quic={}\n",
            self.server.name,
            self.http,
            self.quic()
        );
        // Whoever closed standard output does not want the line.
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }

    async fn first_snapshot(&self) {
        let snapshot = self.server.presence.tracker().first_snapshot();
        let waited = timeout(SNAPSHOT_LIMIT, async {
            tokio::select! {
                () = snapshot => true,
                () = self.nobody_there() => false,
            }
        });
        match waited.await {
            Ok(true) => tracing::debug!("the presences of all who are there are here"),
            Ok(false) => {
                tracing::warn!("no peer of --join was reached yet: ready alone, and still trying")
            }
            Err(_) => tracing::warn!(
                "no peer's presences came within {} s: ready with the lists as they are",
                SNAPSHOT_LIMIT.as_secs()
            ),
        }
    }

    /// Ends when no peer was reached in time; never ends once one was.
    async fn nobody_there(&self) {
        let mut members = self.server.pubsub.members();
        let contact = async {
            while members
                .now()
                .iter()
                .all(|member| member.state != MemberState::Up)
            {
                members.next().await;
            }
        };
        if timeout(CONTACT_LIMIT, contact).await.is_ok() {
            std::future::pending::<()>().await;
        }
    }

    async fn stop(self, cause: Cause, shutdown: &mut Shutdown) -> Ended {
        let connections = self.server.sockets.connections();
        self.server.readiness.advance(Phase::Draining);
        self.say_goodbye().await;
        connections.refuse();
        // Only now: whoever reads this line may count on all of it.
        tracing::info!(%cause, sockets = connections.count(), "draining");
        tokio::select! {
            ended = self.go() => ended,
            cause = shutdown.insisted() => {
                tracing::warn!(%cause, "told twice: the drain is cut short");
                Ended::CutShort
            }
        }
    }

    /// Before the first socket is closed: with a restart announced, nobody is seen to leave who is sent elsewhere.
    async fn say_goodbye(&self) {
        match self.restart_grace {
            None => self.server.pubsub.leave(),
            Some(grace) => {
                self.server.presence.tracker().restart(grace).await;
                self.server.pubsub.leave_with(Goodbye::Restarting { grace });
            }
        }
    }

    async fn go(self) -> Ended {
        let (connections, tracker) = (
            self.server.sockets.connections(),
            self.server.presence.tracker(),
        );
        let all_went = self.drain.run(connections, tracker).await;
        let finished = timeout(FINISH_LIMIT, self.finish()).await.is_ok();
        if !finished {
            let seconds = FINISH_LIMIT.as_secs();
            tracing::warn!("the listeners did not end within {seconds} s");
        }
        match all_went && finished {
            true => {
                tracing::info!("drained");
                Ended::Drained
            }
            false => Ended::CutShort,
        }
    }

    async fn finish(self) {
        self.serving.stop().await;
        // While there are links: what was tracked here leaves the others' lists, or is theirs to hold.
        self.server.presence.tracker().close().await;
        if let Some(mesh) = &self.server.mesh {
            mesh.shutdown().await;
        }
    }

    /// The cluster listener's address as the ready line has it.
    fn quic(&self) -> String {
        self.server
            .mesh
            .as_ref()
            .map_or_else(|| "none".to_owned(), |mesh| mesh.local_addr().to_string())
    }
}

/// Where clients connect, and the address that it has, with its port.
async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Http { address, source })?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
