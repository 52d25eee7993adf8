//! The flags of how many clients there may be, and how much each may send.

use clap::Args;
use matryoshka_presence::channel::SocketsConfig;
use matryoshka_presence::channel::transport::{
    ConnectionLimits, Connections, LongPollConfig, Rate,
};

use crate::heads::HeadLimits;

/// How many clients, and how much of each.
#[derive(Debug, Args)]
pub(crate) struct LimitFlags {
    /// Messages per second that one socket may send, twice as many at once; 0 is no limit, also of their bytes
    #[arg(long, env = "MATRYOSHKA_INBOUND_RATE", value_name = "N", default_value = "0", value_parser = inbound_rate)]
    inbound_rate: u32,

    /// Sockets at a time; 0 is no limit
    #[arg(long, env = "MATRYOSHKA_MAX_SOCKETS", value_name = "N", default_value = "100000", value_parser = most)]
    max_sockets: Most,

    /// Sockets of one user at a time; 0 is no limit
    #[arg(long, env = "MATRYOSHKA_MAX_USER_SOCKETS", value_name = "N", default_value = "0", value_parser = most)]
    max_user_sockets: Most,

    /// Sockets from one address at a time, loopback not counted; 0 is no limit
    #[arg(long, env = "MATRYOSHKA_MAX_ADDRESS_SOCKETS", value_name = "N", default_value = "0", value_parser = most)]
    max_address_sockets: Most,

    /// Connections at a time that wait for a request, or for the rest of its body; 0 is no limit
    #[arg(long, env = "MATRYOSHKA_MAX_HEADS", value_name = "N", default_value = "10000", value_parser = most)]
    max_heads: Most,

    /// Connections from one address at a time that wait for a request, loopback not counted; 0 is no limit
    #[arg(long, env = "MATRYOSHKA_MAX_ADDRESS_HEADS", value_name = "N", default_value = "1000", value_parser = most)]
    max_address_heads: Most,
}

/// What sets a limit by which a line of the log names it.
const FLAGS_OF_LIMITS: [(&str, &str); 5] = [
    ("Limits::inbound", "--inbound-rate"),
    ("ConnectionLimits::max_connections", "--max-sockets"),
    ("ConnectionLimits::max_per_user", "--max-user-sockets"),
    ("ConnectionLimits::max_per_address", "--max-address-sockets"),
    (
        "LongPollConfig::max_sessions_per_address",
        "--max-address-sockets",
    ),
];

/// The flag of a limit that the library calls so, if it has one.
pub(crate) fn flag_of(limit: &str) -> Option<&'static str> {
    let mut flags = FLAGS_OF_LIMITS.into_iter();
    flags.find_map(|(name, flag)| (name == limit).then_some(flag))
}

/// A number that may not be exceeded, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Most(Option<usize>);

impl LimitFlags {
    /// The same settings with how many sockets there may be, and how much each may send.
    pub(super) fn add(&self, mut config: SocketsConfig) -> SocketsConfig {
        let inbound = Rate::per_second(self.inbound_rate);
        // Tools that join at full speed are as welcome as those that talk at full speed.
        config.joins = config.joins.filter(|_| inbound.is_some());
        let limits = config.http.limits.clone().with_inbound(inbound);
        let bytes = limits.inbound_bytes.filter(|_| inbound.is_some());
        config.http = config
            .http
            .with_limits(limits.with_inbound_bytes(bytes))
            .with_connections(&Connections::with_limits(self.connections()));
        config
    }

    fn connections(&self) -> ConnectionLimits {
        ConnectionLimits::default()
            .with_max_connections(self.max_sockets.0)
            .with_max_per_user(self.max_user_sockets.0)
            .with_max_per_address(self.max_address_sockets.0)
    }

    /// What long polling may cost.
    pub(crate) fn long_polling(&self) -> LongPollConfig {
        LongPollConfig::default().with_max_sessions_per_address(self.max_address_sockets.0)
    }

    /// How many connections may wait for a request.
    pub(crate) fn heads(&self) -> HeadLimits {
        HeadLimits {
            in_all: self.max_heads.0,
            of_address: self.max_address_heads.0,
        }
    }
}

fn inbound_rate(value: &str) -> Result<u32, String> {
    value
        .parse()
        .map_err(|_| "it takes a whole number of messages per second, 0 for no limit".to_owned())
}

fn most(value: &str) -> Result<Most, String> {
    match value.parse() {
        Ok(0) => Ok(Most(None)),
        Ok(most) => Ok(Most(Some(most))),
        Err(_) => Err("it takes a whole number, 0 for no limit".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use matryoshka_presence::channel::pubsub::PubSub;
    use matryoshka_presence::channel::transport::LongPolling;

    use clap::CommandFactory;

    use super::super::CommandLine;
    use super::super::tests::{flags, refusal};
    use super::*;

    #[test]
    fn what_sets_a_limit_is_a_flag_of_this_node() {
        let command = CommandLine::command();
        for (_, flag) in FLAGS_OF_LIMITS {
            let known = |known: &clap::Arg| known.get_long() == flag.strip_prefix("--");
            assert!(command.get_arguments().any(known), "{flag}");
        }
    }

    #[test]
    fn limits_are_off_where_tools_would_strike_them_and_0_is_none() {
        let long_polling = LongPolling::new(&PubSub::local()).unwrap();
        let usual = flags(&[]);
        let config = usual.sockets(&long_polling);
        assert_eq!((config.joins, config.http.limits.inbound), (None, None));
        assert_eq!(config.http.limits.inbound_bytes, None);
        let most = config.http.connections.limits().clone();
        assert_eq!((most.max_per_user, most.max_per_address), (None, None));
        let polling = usual.limits.long_polling();
        assert_eq!(polling.max_sessions_per_address, None);
        assert_eq!(most.max_connections, Some(100_000));

        let flags = flags(&[
            "--inbound-rate=20",
            "--max-sockets=0",
            "--max-user-sockets=3",
            "--max-address-sockets=4",
        ]);
        let polling = flags.limits.long_polling();
        assert_eq!(polling.max_sessions_per_address, Some(4));
        let config = flags.sockets(&long_polling);
        assert_eq!(config.http.limits.inbound, Rate::new(20, 40));
        assert!(config.joins.is_some() && config.http.limits.inbound_bytes.is_some());
        let most = config.http.connections.limits().clone();
        assert_eq!(
            (most.max_per_user, most.max_per_address),
            (Some(3), Some(4))
        );
        assert_eq!(most.max_connections, None);
        for flag in ["--inbound-rate", "--max-sockets", "--max-user-sockets"] {
            let line = refusal(&[&format!("{flag}=-1")]);
            assert!(
                line.contains(flag) && line.contains("0 for no limit"),
                "{line}"
            );
        }
    }
}
