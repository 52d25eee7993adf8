//! One connection and its other end: connecting, greeting, up, closing.
//!
//! Pure: no clock, no I/O, no tasks.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use matryoshka_pubsub::cluster::{Member, MemberState};
use matryoshka_pubsub::{Incarnation, LinkId, NodeName};

use super::address::is_dialable;
use super::close::Close;
use super::codec::OLDEST_PROTOCOL;
use super::frame::Hello;
use super::liveness::Liveness;
use super::mesh::MeshConfig;
use super::terms::Terms;
use crate::tls::{Fingerprint, listed};

/// How long a dialled node may take to answer. QUIC sends the first packet again within this time.
pub(crate) const DIAL_LIMIT: Duration = Duration::from_secs(2);
/// How long a connection may take from its handshake to being settled.
pub(crate) const HELLO_LIMIT: Duration = Duration::from_secs(3);

/// How long a peer whose link ended otherwise than by silence or a goodbye may take to be back: its redial, and a dial that fails
/// before it.
pub(crate) const RETURN_LIMIT: Duration = Duration::from_secs(3);

/// Which connection, in whatever stage. Not what others see: a connection that comes up gets a `LinkId`, so that
/// those grow in the order in which links come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Dialled, no answer yet.
    Connecting,
    /// Connected; the other's hello is awaited.
    Greeting,
    /// The other is who it says; whether this connection is kept is being settled.
    Waiting,
    /// The link to that node.
    Up,
    /// Closed by this side; what it handed on may still be under way.
    Closing,
}

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guest {
    /// Its name, which its certificate confirms.
    pub(crate) name: NodeName,
    /// Its incarnation.
    pub(crate) incarnation: Incarnation,
    /// Its process.
    pub(crate) instance: u64,
    /// Where it is to be dialled.
    pub(crate) address: String,
    /// What was agreed with it.
    pub(crate) terms: Terms,
}

impl Guest {
    /// Orders the lives of one name; two processes with the same clock reading are still told apart.
    pub(crate) fn life(&self) -> (Incarnation, u64) {
        (self.incarnation, self.instance)
    }

    /// What it is called in the log.
    pub(crate) fn label(&self) -> String {
        format!("{} at {}", self.name, self.address)
    }
}

/// What the certificates say with which a connection was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Certified {
    /// The names that the other side may use.
    pub(crate) names: Vec<String>,
    /// Until when its certificate is valid.
    pub(crate) until: Option<SystemTime>,
    /// Its certificate.
    pub(crate) peer: Option<Fingerprint>,
    /// The one that this node showed.
    pub(crate) own: Option<Fingerprint>,
}

impl Certified {
    /// Which certificates are spoken of, to be put behind a line of the log: by their fingerprints two operators can
    /// tell whether they look at the same.
    pub(crate) fn in_words(&self) -> String {
        let peer = self.peer.map(|fingerprint| {
            let names = listed(&self.names);
            format!("its certificate for {names} has SHA-256 {fingerprint}")
        });
        let own = self
            .own
            .map(|fingerprint| format!("this node's has SHA-256 {fingerprint}"));
        match (peer, own) {
            (None, None) => String::new(),
            (Some(one), None) | (None, Some(one)) => format!(" ({one})"),
            (Some(peer), Some(own)) => format!(" ({peer}, {own})"),
        }
    }
}

impl From<Vec<String>> for Certified {
    fn from(names: Vec<String>) -> Self {
        Self {
            names,
            ..Self::default()
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    /// How far it is.
    pub(crate) stage: Stage,
    /// The address that was dialled; `None`: the other side dialled.
    pub(crate) dialled: Option<String>,
    /// Where the other side's packets come from.
    pub(crate) remote: Option<SocketAddr>,
    /// What its certificate says, and which one this side showed.
    pub(crate) certified: Certified,
    /// Who is at the other end, once that is known.
    pub(crate) guest: Option<Guest>,
    /// Its number as a link, once it is up.
    pub(crate) number: Option<LinkId>,
    /// Until when the present stage may last, before it is up.
    pub(crate) deadline: Instant,
    /// When the next heartbeat is due, once it is up.
    pub(crate) heartbeat_at: Instant,
    /// When something was known to have arrived last, once it is up: by the clock, whether this node listened or not.
    pub(crate) heard_at: Instant,
    /// What its silence means, once it is up.
    pub(crate) liveness: Liveness,
}

impl Link {
    /// A connection about to be dialled.
    pub(crate) fn dialled(address: String, now: Instant) -> Self {
        Self {
            stage: Stage::Connecting,
            dialled: Some(address),
            remote: None,
            certified: Certified::default(),
            guest: None,
            number: None,
            deadline: now + DIAL_LIMIT,
            heartbeat_at: now,
            heard_at: now,
            liveness: Liveness::default(),
        }
    }

    /// A connection that the other side made.
    pub(crate) fn accepted(remote: SocketAddr, certified: Certified, now: Instant) -> Self {
        let mut link = Self::dialled(String::new(), now);
        link.dialled = None;
        link.connected(remote, certified, now);
        link
    }

    /// The handshake is done.
    pub(crate) fn connected(&mut self, remote: SocketAddr, certified: Certified, now: Instant) {
        self.stage = Stage::Greeting;
        self.remote = Some(remote);
        self.certified = certified;
        self.deadline = now + HELLO_LIMIT;
    }

    /// Whether the other side's frames still count.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Connecting | Stage::Closing)
    }

    /// Whether it may become a link, but is none yet.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(
            self.stage,
            Stage::Connecting | Stage::Greeting | Stage::Waiting
        )
    }

    /// The member at the other end of a link that is or was up.
    pub(crate) fn member(&self, state: MemberState) -> Option<Member> {
        let guest = self.guest.as_ref()?;
        Some(Member {
            node: guest.name.clone(),
            incarnation: guest.incarnation,
            link: self.number?,
            state,
        })
    }

    /// Where the other end is, as far as that is known.
    pub(crate) fn place(&self) -> String {
        let remote = self.remote.map(|remote| remote.to_string());
        remote.or_else(|| self.dialled.clone()).unwrap_or_default()
    }

    /// What the other end is called, for the log.
    pub(crate) fn label(&self) -> String {
        match (&self.guest, &self.dialled, &self.remote) {
            (Some(guest), _, _) => guest.label(),
            (None, Some(address), _) => address.clone(),
            (None, None, Some(remote)) => remote.to_string(),
            (None, None, None) => "an unknown node".to_owned(),
        }
    }
}

/// One member, with or without a link.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its latest known life.
    pub(crate) guest: Guest,
    /// Its state, as told.
    pub(crate) state: MemberState,
    /// The link over which it is, or was last, up. What it handed on may still be under way while it closes.
    pub(crate) link: Option<ConnectionId>,
    /// The settled connection that becomes the link as soon as the present one has ended.
    pub(crate) next: Option<ConnectionId>,
    /// Since when it has had no link.
    pub(crate) gone_since: Instant,
    /// Without a link: until when it may be back at once, so that it is not taken for dead.
    pub(crate) may_return_until: Instant,
}

/// Checks all of a hello that can be judged without knowing other nodes.
pub(crate) fn check_hello(
    hello: &Hello,
    config: &MeshConfig,
    certified: &[String],
    remote: SocketAddr,
) -> Result<Guest, Close> {
    let Some(terms) = config.offer.agree(hello) else {
        return Err(Close::Version {
            protocol: config.offer.newest.version(),
            oldest: OLDEST_PROTOCOL,
        });
    };
    if hello.cluster != config.cluster {
        let cluster = config.cluster.clone();
        return Err(Close::OtherCluster { cluster });
    }
    let name = NodeName::new(&hello.name).map_err(|_| Close::NameNotCertified)?;
    if !certified.contains(&hello.name) {
        return Err(Close::NameNotCertified);
    }
    let advertised = hello.advertise.clone().filter(|at| is_dialable(at));
    Ok(Guest {
        name,
        incarnation: Incarnation(hello.incarnation),
        instance: hello.instance,
        address: advertised.unwrap_or_else(|| remote.to_string()),
        terms,
    })
}

#[cfg(test)]
mod tests {
    use super::super::codec::NEWEST_PROTOCOL;
    use super::super::terms::Offer;
    use super::*;

    fn config() -> MeshConfig {
        MeshConfig {
            name: NodeName::new("n1").unwrap(),
            incarnation: Incarnation(1),
            instance: 1,
            cluster: "blue".into(),
            advertise: None,
            own: Vec::new(),
            seeds: Vec::new(),
            offer: Offer::default(),
            rng_seed: 1,
        }
    }

    fn hello() -> Hello {
        Hello {
            cluster: "blue".into(),
            name: "n2".into(),
            incarnation: 5,
            instance: 9,
            ..Offer::default().hello()
        }
    }

    fn check(hello: &Hello) -> Result<Guest, Close> {
        let remote = "10.0.0.2:5000".parse().unwrap();
        check_hello(hello, &config(), &["n2".to_owned()], remote)
    }

    #[test]
    fn a_right_hello_tells_who_and_where() {
        let guest = check(&hello()).unwrap();
        assert_eq!(guest.name, "n2");
        assert_eq!(guest.address, "10.0.0.2:5000");
        let mut elsewhere = hello();
        elsewhere.advertise = Some("n2.internal:5000".into());
        assert_eq!(check(&elsewhere).unwrap().address, "n2.internal:5000");
        elsewhere.advertise = Some("0.0.0.0:5000".into());
        assert_eq!(check(&elsewhere).unwrap().address, "10.0.0.2:5000");
    }

    #[test]
    fn a_wrong_hello_is_refused_with_the_reason() {
        let mut other = hello();
        other.cluster = "green".into();
        assert!(matches!(check(&other), Err(Close::OtherCluster { .. })));
        for name in ["n3", "", "N2", "n2 "] {
            let mut other = hello();
            other.name = name.into();
            assert_eq!(check(&other), Err(Close::NameNotCertified), "{name:?}");
        }
    }

    #[test]
    fn versions_need_one_in_common() {
        let mut newer = hello();
        (newer.oldest, newer.protocol) = (NEWEST_PROTOCOL, NEWEST_PROTOCOL + 3);
        assert!(check(&newer).is_ok());
        newer.oldest = NEWEST_PROTOCOL + 1;
        assert!(matches!(check(&newer), Err(Close::Version { .. })));
        let mut older = hello();
        (older.oldest, older.protocol) = (0, OLDEST_PROTOCOL - 1);
        assert!(matches!(check(&older), Err(Close::Version { .. })));
    }
}
