//! The flags of a node's place in a cluster: where it listens, whom it joins, and how it talks to them.

use std::fmt;
use std::net::SocketAddr;

use clap::{ArgAction, Args};
use matryoshka_presence::channel::pubsub::NodeName;
use matryoshka_pubsub_quic::{Builder, NEWEST_PROTOCOL, OLDEST_PROTOCOL, QuicAdapter};

use super::identity::IdentityFlags;
use super::listen_address;
use super::refusal::FlagError;
use super::value::on_or_off;

/// A place in a cluster.
#[derive(Debug, Args)]
pub(crate) struct ClusterFlags {
    /// Cluster listener (UDP), port 0 picks a free one; without it the node stands alone
    #[arg(long, env = "MATRYOSHKA_QUIC", value_name = "ADDR", value_parser = listen_address)]
    pub(crate) quic: Option<SocketAddr>,

    /// Where peers reach the cluster listener [default: the source address that peers see]
    #[arg(long, env = "MATRYOSHKA_ADVERTISE", value_name = "ADDR", value_parser = advertised_address)]
    pub(super) advertise: Option<String>,

    /// Address or host name of any node of the cluster; repeatable
    #[arg(long, env = "MATRYOSHKA_JOIN", value_name = "ADDR", value_delimiter = ',', value_parser = peer_address)]
    pub(crate) join: Vec<String>,

    /// Cluster name; clusters with different names never meet
    #[arg(long, env = "MATRYOSHKA_CLUSTER", value_name = "NAME", default_value = "matryoshka", value_parser = cluster_name)]
    pub(super) cluster: String,

    #[command(flatten)]
    pub(crate) identity: IdentityFlags,

    /// Interest routing: on sends user messages only to the nodes with subscribers, off sends every node everything
    #[arg(long, env = "MATRYOSHKA_INTEREST", value_name = "on|off", default_value = "on", value_parser = on_or_off, action = ArgAction::Set)]
    pub(super) interest: bool,

    /// Newest version of the protocol between nodes that this one speaks: a lower one holds it back during a rolling upgrade
    #[arg(long, env = "MATRYOSHKA_LINK_PROTOCOL", value_name = "N", default_value_t = NEWEST_PROTOCOL, value_parser = link_protocol)]
    pub(super) link_protocol: u16,
}

impl ClusterFlags {
    /// The links to other nodes, but for where they listen and who this node is.
    pub(crate) fn links(&self, name: &NodeName) -> Builder {
        let links = QuicAdapter::builder(name.as_str())
            .cluster(&self.cluster)
            .interest(self.interest)
            .protocol(self.link_protocol);
        let links = match &self.advertise {
            Some(address) => links.advertise(address),
            None => links,
        };
        self.join.iter().fold(links, |links, peer| links.join(peer))
    }

    /// Whoever is to join others needs a listener of its own.
    pub(super) fn check_relations(&self) -> Result<(), FlagError> {
        let needs_listener = |flag: &str, value: &dyn fmt::Display| {
            FlagError(format!(
                "--{flag} {value} is not allowed without --quic: give the cluster listener's address \
                 too, such as --quic 127.0.0.1:5000, or leave --{flag} out to stand alone"
            ))
        };
        match (self.quic, self.join.first(), &self.advertise) {
            (None, Some(peer), _) => Err(needs_listener("join", peer)),
            (None, None, Some(address)) => Err(needs_listener("advertise", address)),
            _ => Ok(()),
        }
    }
}

fn advertised_address(value: &str) -> Result<String, String> {
    let is_wildcard = value
        .parse()
        .is_ok_and(|address: SocketAddr| address.ip().is_unspecified());
    peer_address(value).ok().filter(|_| !is_wildcard).ok_or_else(|| {
        "it takes the address or host name and the port at which other nodes reach this one, such \
         as 192.0.2.7:5000, never a wildcard"
            .to_owned()
    })
}

fn peer_address(value: &str) -> Result<String, String> {
    let allowed = || {
        "it takes an address or host name with a port, such as 127.0.0.1:5000 or \
         seed.internal:5000"
            .to_owned()
    };
    if let Ok(address) = value.parse::<SocketAddr>() {
        return match address.port() {
            0 => Err(allowed()),
            _ => Ok(value.to_owned()),
        };
    }
    let (host, port) = value.rsplit_once(':').ok_or_else(allowed)?;
    let host_is_plain = !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    match port.parse::<u16>() {
        Ok(1..) if host_is_plain => Ok(value.to_owned()),
        _ => Err(allowed()),
    }
}

fn cluster_name(value: &str) -> Result<String, String> {
    const MAX_BYTES: usize = 64;
    let fits = !value.is_empty()
        && value.len() <= MAX_BYTES
        && value.chars().all(|letter| !letter.is_control());
    if fits {
        Ok(value.to_owned())
    } else {
        Err(format!(
            "it takes 1 to {MAX_BYTES} bytes of text without control characters"
        ))
    }
}

fn link_protocol(value: &str) -> Result<u16, String> {
    let spoken = OLDEST_PROTOCOL..=NEWEST_PROTOCOL;
    let version = value
        .parse()
        .ok()
        .filter(|version| spoken.contains(version));
    version.ok_or_else(|| format!("it takes {OLDEST_PROTOCOL} to {NEWEST_PROTOCOL}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{flags, refusal};
    use super::*;

    #[test]
    fn the_link_between_nodes_is_as_new_as_it_gets_unless_told_otherwise() {
        let usual = flags(&[]).cluster;
        assert_eq!((usual.interest, usual.link_protocol), (true, 2));
        let held_back = flags(&["--interest", "off", "--link-protocol", "1"]).cluster;
        assert_eq!((held_back.interest, held_back.link_protocol), (false, 1));
        for bad in ["0", "3", "two", "-1"] {
            let line = refusal(&[&*format!("--link-protocol={bad}")]);
            assert!(line.contains("it takes 1 to 2"), "{line}");
        }
        assert!(refusal(&["--interest", "perhaps"]).contains("it takes on or off"));
    }

    #[test]
    fn repeatable_flags_keep_their_order_and_take_commas() {
        let flags = flags(&[
            "--quic",
            "127.0.0.1:0",
            "--join",
            "seed.internal:5000,10.0.0.1:5000",
            "--join",
            "[::1]:5000",
        ]);
        assert_eq!(
            flags.cluster.join,
            ["seed.internal:5000", "10.0.0.1:5000", "[::1]:5000"]
        );
    }

    #[test]
    fn a_peer_address_needs_a_host_and_a_port() {
        for bad in [
            "",
            "host",
            "host:",
            ":5000",
            "host:0",
            "host:70000",
            "a b:5000",
            "10.0.0.1:0",
            "::1",
        ] {
            assert!(peer_address(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_advertised_address_is_one_that_can_be_dialled() {
        for bad in ["0.0.0.0:5000", "[::]:5000", "10.0.0.1:0", "host", ""] {
            assert!(advertised_address(bad).is_err(), "{bad:?}");
        }
        for good in ["10.0.0.1:5000", "n1.internal:5000"] {
            assert_eq!(advertised_address(good).as_deref(), Ok(good));
        }
    }

    #[test]
    fn flags_of_a_cluster_need_its_listener() {
        assert!(refusal(&["--join", "h:1"]).contains("without --quic"));
        assert!(refusal(&["--advertise", "10.0.0.1:5000"]).contains("--advertise 10.0.0.1:5000"));
    }
}
