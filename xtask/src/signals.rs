//! Requests to stop (Ctrl-C, SIGTERM, SIGHUP) as values that a command waits for.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::failure::Outcome;

/// How many unread requests are kept; more than two say nothing new.
const KEPT: usize = 4;

/// The stop requests that reach this process, from the moment `listen` returns.
pub(crate) struct StopRequests {
    requests: Receiver<&'static str>,
    /// Where there are no signals this end keeps the channel open, so that waiting still waits.
    _open: SyncSender<&'static str>,
}

impl StopRequests {
    pub(crate) fn listen() -> Outcome<Self> {
        let (sender, requests) = sync_channel(KEPT);
        forward_signals(sender.clone())?;
        Ok(StopRequests {
            requests,
            _open: sender,
        })
    }

    /// Waits at most this long for a request and names it.
    pub(crate) fn wait(&self, at_most: Duration) -> Option<&'static str> {
        self.requests.recv_timeout(at_most).ok()
    }
}

#[cfg(unix)]
fn forward_signals(requests: SyncSender<&'static str>) -> Outcome {
    use crate::failure::Explain;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).explain("listening for signals")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            let name = match signal {
                SIGINT => "Ctrl-C",
                SIGHUP => "SIGHUP",
                _ => "SIGTERM",
            };
            // Full means that nobody has read the earlier ones yet: one more changes nothing.
            let _ = requests.try_send(name);
        }
    });
    Ok(())
}

/// Elsewhere Ctrl-C ends this process at once; its children notice by their standard input.
#[cfg(not(unix))]
fn forward_signals(_requests: SyncSender<&'static str>) -> Outcome {
    Ok(())
}
