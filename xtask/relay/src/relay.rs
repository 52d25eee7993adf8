//! The driver: a socket and a thread for each place, and one thread that sends what has waited.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::faults::Faults;
use crate::switch::{Mistaken, Onward, Place, Switch};
use crate::tally::Tally;

/// How many places one relay has at most; each costs a socket and a thread.
pub const MAX_PLACES: usize = 64;
/// How long a reader waits before it looks whether it should end.
const READ_WAIT: Duration = Duration::from_millis(100);
/// No datagram is larger.
const MAX_DATAGRAM_BYTES: usize = 65_535;

/// A running relay on loopback. Dropped, it stops at once: what waits is lost, its sockets and threads are gone.
pub struct Relay {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    switch: Mutex<Switch>,
    /// Told when something is to leave earlier than what was next before, and at the end.
    sooner: Condvar,
    sockets: RwLock<Vec<Arc<UdpSocket>>>,
    ending: AtomicBool,
}

impl Relay {
    /// A relay without places, whose chances come from this seed.
    ///
    /// # Errors
    ///
    /// If no thread can be had.
    pub fn start(seed: u64) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            switch: Mutex::new(Switch::new(seed)),
            sooner: Condvar::new(),
            sockets: RwLock::default(),
            ending: AtomicBool::new(false),
        });
        let mut relay = Relay {
            shared,
            threads: Vec::new(),
        };
        relay.spawn("relay-clock".to_owned(), Shared::keep_time)?;
        Ok(relay)
    }

    /// A further place; see [`Switch::add`].
    ///
    /// # Errors
    ///
    /// If there are [`MAX_PLACES`], or no socket or thread can be had.
    pub fn add(&mut self) -> io::Result<Place> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(READ_WAIT))?;
        let socket = Arc::new(socket);
        let place = {
            let mut sockets = self.shared.sockets_mut();
            if sockets.len() >= MAX_PLACES {
                return Err(io::Error::other(format!(
                    "a relay has {MAX_PLACES} places at most"
                )));
            }
            sockets.push(socket.clone());
            self.shared.switch().add()
        };
        let name = format!("relay-{}", place.0);
        self.spawn(name, move |shared| shared.read(place, &socket))?;
        Ok(place)
    }

    /// Where the others reach the node at this place: what it advertises, and what they join.
    ///
    /// # Errors
    ///
    /// If the socket has failed.
    pub fn address(&self, place: Place) -> io::Result<SocketAddr> {
        self.shared.sockets()[place.0].local_addr()
    }

    /// The node that is about to start belongs here; see [`Switch::expect`].
    pub fn expect(&self, place: Place) {
        self.shared.switch().expect(place);
    }

    /// The node at this place listens there; see [`Switch::settle`].
    ///
    /// # Errors
    ///
    /// [`Mistaken`] if somebody else was taken for it.
    pub fn settle(&self, place: Place, node: SocketAddr) -> Result<(), Mistaken> {
        self.shared.switch().settle(place, node)
    }

    /// From now on this is wrong with the line from one place to another.
    pub fn set(&self, from: Place, to: Place, faults: Faults) {
        self.shared.switch().line(from, to).set(faults);
    }

    /// The same for all lines between two groups of places, both ways, at one moment.
    pub fn set_between(&self, some: &[Place], others: &[Place], faults: Faults) {
        let mut switch = self.shared.switch();
        for (one, other) in some
            .iter()
            .flat_map(|one| others.iter().map(move |other| (*one, *other)))
        {
            switch.line(one, other).set(faults);
            switch.line(other, one).set(faults);
        }
    }

    /// The same for all lines, later ones too.
    pub fn set_everywhere(&self, faults: Faults) {
        self.shared.switch().set_everywhere(faults);
    }

    /// Drops exactly the next `count` datagrams of at least `at_least` bytes from one place to another.
    pub fn drop_next(&self, from: Place, to: Place, count: u32, at_least: usize) {
        self.shared
            .switch()
            .line(from, to)
            .drop_next(count, at_least);
    }

    /// What became of everything from one place to another.
    pub fn tally(&self, from: Place, to: Place) -> Tally {
        self.shared.switch().line(from, to).tally()
    }

    /// What became of everything on all lines.
    pub fn total(&self) -> Tally {
        self.shared.switch().total()
    }

    /// Datagrams from somebody who is not known, or to a place where nobody is yet.
    pub fn strangers(&self) -> u64 {
        self.shared.switch().strangers()
    }

    fn spawn(
        &mut self,
        name: String,
        run: impl FnOnce(&Shared) + Send + 'static,
    ) -> io::Result<()> {
        let shared = self.shared.clone();
        let thread = thread::Builder::new()
            .name(name)
            .spawn(move || run(&shared))?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        // Under the lock, so that the clock cannot be between its look at the flag and its sleep.
        let switch = self.shared.switch();
        self.shared.sooner.notify_all();
        drop(switch);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Reads what comes to one place, and sends on what is not held back.
    fn read(&self, place: Place, socket: &UdpSocket) {
        let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
        while !self.ending.load(Ordering::Relaxed) {
            match socket.recv_from(&mut buffer) {
                Ok((length, source)) => self.take(place, source, &buffer[..length]),
                Err(error) if is_passing(&error) => {}
                // Not known to happen; if it does, it must not take a whole core.
                Err(_) => thread::sleep(READ_WAIT),
            }
        }
    }

    fn take(&self, place: Place, source: SocketAddr, datagram: &[u8]) {
        let mut switch = self.switch();
        let next_before = switch.next_at();
        let onward = switch.receive(Instant::now(), place, source, datagram);
        if earlier(switch.next_at(), next_before) {
            self.sooner.notify_one();
        }
        drop(switch);
        if let Some(onward) = onward {
            self.send(onward, datagram);
        }
    }

    /// Sends what has waited, each at its time.
    fn keep_time(&self) {
        let mut switch = self.switch();
        while !self.ending.load(Ordering::Relaxed) {
            let now = Instant::now();
            // Under the lock: nothing that comes in meanwhile may overtake it.
            while let Some(departure) = switch.poll_departure(now) {
                self.send(departure.onward, &departure.datagram);
            }
            switch = match switch.next_at() {
                Some(at) => {
                    let wait = at.saturating_duration_since(Instant::now());
                    let woken = self.sooner.wait_timeout(switch, wait);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let woken = self.sooner.wait(switch);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    fn send(&self, onward: Onward, datagram: &[u8]) {
        let socket = self.sockets()[onward.through.0].clone();
        // A datagram that the system does not take is lost, as on any network.
        let _ = socket.send_to(datagram, onward.to);
    }

    fn switch(&self) -> MutexGuard<'_, Switch> {
        self.switch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sockets(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<UdpSocket>>> {
        self.sockets.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn sockets_mut(&self) -> std::sync::RwLockWriteGuard<'_, Vec<Arc<UdpSocket>>> {
        self.sockets.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing came in time, or somebody to whom something was sent is gone.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
    )
}

fn earlier(now: Option<Instant>, before: Option<Instant>) -> bool {
    match (now, before) {
        (Some(now), Some(before)) => now < before,
        (Some(_), None) => true,
        (None, _) => false,
    }
}
