//! When to stop: SIGTERM, SIGINT, or the end of standard input.

use std::fmt;
use std::io::{self, Read};

use tokio::sync::oneshot;

/// What asked the node to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// SIGTERM.
    Terminate,
    /// SIGINT, or Ctrl-C where there are no signals.
    Interrupt,
    /// Standard input ended.
    StandardInputEnded,
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::StandardInputEnded => "end of standard input",
        })
    }
}

/// Listens for what stops the node, from the moment it was made.
pub(crate) struct Shutdown {
    signals: Signals,
    input: Option<oneshot::Receiver<()>>,
}

impl Shutdown {
    /// Starts to listen; to standard input only when asked to.
    ///
    /// # Errors
    ///
    /// If the signal handlers cannot be installed.
    pub(crate) fn listen(exit_with_stdin: bool) -> io::Result<Self> {
        Ok(Self {
            signals: Signals::listen()?,
            input: exit_with_stdin.then(end_of_standard_input).transpose()?,
        })
    }

    /// The first wish to stop.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub(crate) async fn requested(&mut self) -> Cause {
        let Some(input) = &mut self.input else {
            return self.signals.next().await;
        };
        tokio::select! {
            cause = self.signals.next() => cause,
            _ = input => {
                self.input = None;
                Cause::StandardInputEnded
            }
        }
    }

    /// A further signal, which means: now. The end of standard input is none, since it comes by
    /// itself when a parent first sends a signal and then goes away.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub(crate) async fn insisted(&mut self) -> Cause {
        self.signals.next().await
    }
}

/// A thread of its own, since a pending read of standard input can be cancelled by nobody: unlike
/// a task on the runtime's blocking pool, it does not hold up the exit.
fn end_of_standard_input() -> io::Result<oneshot::Receiver<()>> {
    let (ended, input) = oneshot::channel();
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let mut stdin = io::stdin().lock();
            let mut ignored = [0; 1024];
            loop {
                match stdin.read(&mut ignored) {
                    Ok(0) => break,
                    Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
                    Ok(_) | Err(_) => {}
                }
            }
            // Nobody listens any more once the node is already draining.
            let _ = ended.send(());
        })?;
    Ok(input)
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Cause {
        tokio::select! {
            _ = self.terminate.recv() => Cause::Terminate,
            _ = self.interrupt.recv() => Cause::Interrupt,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Cause {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without a handler the system's own ends the process.
            std::future::pending::<()>().await;
        }
        Cause::Interrupt
    }
}
