//! The command line: every flag, its environment variable, its default, and the one line that a
//! wrong value earns.
//!
//! clap parses; this file only says what each value may be. An environment variable that is set
//! to nothing counts as not set, since that is how process managers spell "no value".

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use matryoshka_presence::channel::SocketsConfig;
use matryoshka_presence::channel::pubsub::NodeName;
use matryoshka_presence::channel::transport::http::uri::Scheme;
use matryoshka_presence::channel::transport::{
    ConnectionLimits, Connections, LongPollConfig, LongPolling, OriginPolicy, Rate, TrustedProxies,
};
use matryoshka_pubsub_quic::{NEWEST_PROTOCOL, OLDEST_PROTOCOL};

use crate::drain::Drain;
use crate::heads::HeadLimits;
use crate::identity::PkiFiles;
use crate::logging;
use crate::page_link::PageLink;
use crate::presence_events::PresenceEvents;
use crate::presence_topics::{PresenceTopics, longest_grace};

/// The environment variable that holds the cluster's secrets themselves, comma between.
pub(crate) const SECRET_VARIABLE: &str = "MATRYOSHKA_CLUSTER_SECRET";

/// The log filter's second environment variable, for those used to it.
const RUST_LOG: &str = "RUST_LOG";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Invocation {
    /// Run a node.
    Serve(Box<Flags>),
    /// Print a fresh cluster secret and stop.
    Secret,
    /// Print this text (help or version) and stop.
    Print(String),
}

/// Why the command line was refused: one line that names the flag, the value, and what is allowed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct FlagError(String);

/// Whether pages of the request's own origin are allowed instead of the usual ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SameOrigin {
    /// They are not.
    Off,
    /// The scheme is what a trusted proxy says.
    On,
    /// The scheme is this one.
    Over(Scheme),
}

/// A number that may not be exceeded, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Most(Option<usize>);

/// A time limit, written in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seconds(Duration);

/// Everything that can be set from outside.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Node name, unique in the cluster
    #[arg(long, env = "MATRYOSHKA_NAME", value_name = "NAME", default_value = "n1", value_parser = node_name)]
    pub(crate) name: NodeName,

    /// HTTP listener; port 0 picks a free one
    #[arg(long, env = "MATRYOSHKA_HTTP", value_name = "ADDR", default_value = "127.0.0.1:4000", value_parser = listen_address)]
    pub(crate) http: SocketAddr,

    /// Cluster listener (UDP), port 0 picks a free one; without it the node stands alone
    #[arg(long, env = "MATRYOSHKA_QUIC", value_name = "ADDR", value_parser = listen_address)]
    pub(crate) quic: Option<SocketAddr>,

    /// Where peers reach the cluster listener [default: the source address that peers see]
    #[arg(long, env = "MATRYOSHKA_ADVERTISE", value_name = "ADDR", value_parser = advertised_address)]
    pub(crate) advertise: Option<String>,

    /// Address or host name of any node of the cluster; repeatable
    #[arg(long, env = "MATRYOSHKA_JOIN", value_name = "ADDR", value_delimiter = ',', value_parser = peer_address)]
    pub(crate) join: Vec<String>,

    /// Cluster name; clusters with different names never meet
    #[arg(long, env = "MATRYOSHKA_CLUSTER", value_name = "NAME", default_value = "matryoshka", value_parser = cluster_name)]
    pub(crate) cluster: String,

    /// File with one or more cluster secrets, one a line (or the secrets themselves in
    /// MATRYOSHKA_CLUSTER_SECRET, comma between): the first issues, all are accepted, and the file is read again on
    /// SIGHUP; `matryoshka-node secret` prints a fresh one
    #[arg(
        long,
        env = "MATRYOSHKA_CLUSTER_SECRET_FILE",
        value_name = "FILE",
        value_parser = file_path
    )]
    pub(crate) cluster_secret_file: Option<PathBuf>,

    /// Instead of a secret: file with the certificates of your own authorities, PEM
    #[arg(long, env = "MATRYOSHKA_TLS_CA", value_name = "FILE", value_parser = file_path)]
    pub(crate) tls_ca: Option<PathBuf>,

    /// With --tls-ca: file with this node's certificate, and those between it and an authority
    #[arg(long, env = "MATRYOSHKA_TLS_CERT", value_name = "FILE", value_parser = file_path)]
    pub(crate) tls_cert: Option<PathBuf>,

    /// With --tls-ca: file with the private key of this node's certificate
    #[arg(long, env = "MATRYOSHKA_TLS_KEY", value_name = "FILE", value_parser = file_path)]
    pub(crate) tls_key: Option<PathBuf>,

    /// Interest routing: on sends user messages only to the nodes with subscribers, off sends every node everything
    #[arg(long, env = "MATRYOSHKA_INTEREST", value_name = "on|off", default_value = "on", value_parser = on_or_off, action = ArgAction::Set)]
    pub(crate) interest: bool,

    /// Newest version of the protocol between nodes that this one speaks: a lower one holds it back during a rolling upgrade
    #[arg(long, env = "MATRYOSHKA_LINK_PROTOCOL", value_name = "N", default_value_t = NEWEST_PROTOCOL, value_parser = link_protocol)]
    pub(crate) link_protocol: u16,

    /// Origin allowed beside the server's own host and every loopback host; repeatable; `*` allows all
    #[arg(long, env = "MATRYOSHKA_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',', value_parser = allowed_origin)]
    pub(crate) allow_origin: Vec<String>,

    /// Origin allowed, and no other: neither the server's own host nor loopback is, unless it is given here or by --host; repeatable. Not
    /// together with --allow-origin
    #[arg(long, env = "MATRYOSHKA_ONLY_ORIGIN", value_name = "ORIGIN", value_delimiter = ',', value_parser = only_origin)]
    pub(crate) only_origin: Vec<String>,

    /// Instead of the server's own host and loopback: allows pages of the request's own origin, which has its scheme, host and port. The
    /// scheme is http or https where one is given here; `on` takes it from a trusted proxy, and otherwise for http. --allow-origin and --host
    /// add to it
    #[arg(long, env = "MATRYOSHKA_SAME_ORIGIN", value_name = "on|off|http|https", default_value = "off", value_parser = same_origin)]
    pub(crate) same_origin: SameOrigin,

    /// Host by which browsers reach this node; repeatable. With it, neither the Host header nor loopback counts as the server's
    /// own host, so that no page gets in by a name that its owner leads here
    #[arg(long, env = "MATRYOSHKA_HOST", value_name = "HOST", value_delimiter = ',', value_parser = own_host)]
    pub(crate) host: Vec<String>,

    /// Proxy, or network of proxies, that is believed when it says in X-Forwarded-For where a client is; repeatable
    #[arg(long, env = "MATRYOSHKA_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',', value_parser = trusted_proxy)]
    pub(crate) trusted_proxy: Vec<String>,

    /// Messages per second that one socket may send, twice as many at once; 0 is no limit, also of their bytes
    #[arg(long, env = "MATRYOSHKA_INBOUND_RATE", value_name = "N", default_value = "0", value_parser = inbound_rate)]
    pub(crate) inbound_rate: u32,

    /// Sockets at a time; 0 is no limit
    #[arg(long, env = "MATRYOSHKA_MAX_SOCKETS", value_name = "N", default_value = "100000", value_parser = most)]
    pub(crate) max_sockets: Most,

    /// Sockets of one user at a time; 0 is no limit
    #[arg(long, env = "MATRYOSHKA_MAX_USER_SOCKETS", value_name = "N", default_value = "0", value_parser = most)]
    pub(crate) max_user_sockets: Most,

    /// Sockets from one address at a time, loopback not counted; 0 is no limit
    #[arg(long, env = "MATRYOSHKA_MAX_ADDRESS_SOCKETS", value_name = "N", default_value = "0", value_parser = most)]
    pub(crate) max_address_sockets: Most,

    /// Connections at a time that wait for a request, or for the rest of its body; 0 is no limit
    #[arg(long, env = "MATRYOSHKA_MAX_HEADS", value_name = "N", default_value = "10000", value_parser = most)]
    pub(crate) max_heads: Most,

    /// Connections from one address at a time that wait for a request, loopback not counted; 0 is no limit
    #[arg(long, env = "MATRYOSHKA_MAX_ADDRESS_HEADS", value_name = "N", default_value = "1000", value_parser = most)]
    pub(crate) max_address_heads: Most,

    /// Sockets closed per second when the node is told to stop
    #[arg(long, env = "MATRYOSHKA_DRAIN_RATE", value_name = "N", default_value = "1000", value_parser = drain_rate)]
    pub(crate) drain_rate: NonZeroU32,

    /// How long that may take; what is left then is closed at once, and the exit status is 1
    #[arg(long, env = "MATRYOSHKA_DRAIN_LIMIT", value_name = "SECONDS", default_value = "30", value_parser = drain_limit)]
    pub(crate) drain_limit: Seconds,

    /// Over 0: told to stop, the node announces a restart, and who was on its presence lists stays on all lists until they are back or
    /// this long after its end
    #[arg(long, env = "MATRYOSHKA_RESTART_GRACE", value_name = "SECONDS", default_value = "0", value_parser = restart_grace)]
    pub(crate) restart_grace: Seconds,

    /// Events by which clients of this node get presence lists and what changes in them
    #[arg(long, env = "MATRYOSHKA_PRESENCE_EVENTS", value_name = "STATE,DIFF", default_value = "presence_state,presence_diff", value_parser = presence_events)]
    pub(crate) presence_events: PresenceEvents,

    /// What clients are told of who is on such topics: `full`, `count` or `window:N`, the first N and how many there are. With seconds, up to
    /// 1200, who loses the connection stays listed for so long. The first that fits a topic counts; repeatable
    #[arg(long, env = "MATRYOSHKA_PRESENCE_TOPICS", value_name = "PATTERN=MODE[/SECONDS]", value_delimiter = ',', value_parser = presence_topics)]
    pub(crate) presence_topics: Vec<PresenceTopics>,

    /// Folder with the official client's browser files for the page
    #[arg(long, env = "MATRYOSHKA_ASSETS", value_name = "DIR", value_parser = file_path)]
    pub(crate) assets: Option<PathBuf>,

    /// Another node that the page links to; repeatable
    #[arg(long, env = "MATRYOSHKA_PAGE_LINK", value_name = "NAME=URL", value_delimiter = ',', value_parser = page_link)]
    pub(crate) page_link: Vec<PageLink>,

    /// End of standard input starts the drain
    #[arg(long, env = "MATRYOSHKA_EXIT_WITH_STDIN", action = ArgAction::SetTrue, value_parser = switch)]
    pub(crate) exit_with_stdin: bool,

    /// `tracing` filter; RUST_LOG counts when neither this nor MATRYOSHKA_LOG is given
    #[arg(long, env = "MATRYOSHKA_LOG", value_name = "FILTER", default_value = "info", value_parser = log_filter)]
    pub(crate) log: String,
}

/// Reads a command line whose first word is the program, and the environment.
///
/// # Errors
///
/// [`FlagError`] for anything that is not allowed; nothing has been started then.
pub(crate) fn parse<I>(arguments: I) -> Result<Invocation, FlagError>
where
    I: IntoIterator<Item = OsString>,
{
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut command = CommandLine::command()
        .mut_args(without_empty_variable)
        .mut_args(with_any_number);
    let matches = match command.try_get_matches_from_mut(&arguments) {
        Ok(matches) => matches,
        Err(error) => return refused_or_printed(&command, &arguments, &error),
    };
    let line = CommandLine::from_arg_matches(&matches)
        .map_err(|error| FlagError(format!("the command line cannot be read: {}", error.kind())))?;
    if let Some(Action::Secret) = line.action {
        return Ok(Invocation::Secret);
    }
    let mut flags = line.flags;
    if matches.value_source("log") == Some(ValueSource::DefaultValue) {
        flags.log = rust_log()?.unwrap_or(flags.log);
    }
    flags.check_relations()?;
    Ok(Invocation::Serve(Box::new(flags)))
}

impl Flags {
    /// Whose pages may open sockets and post.
    pub(crate) fn origins(&self) -> OriginPolicy {
        let hosts = self.host.iter().fold(self.own_origins(), |policy, host| {
            policy
                .served_as(host)
                .expect("each host was checked with the flags")
        });
        self.allow_origin.iter().fold(hosts, |policy, entry| {
            policy
                .allow(entry)
                .expect("each entry was checked with the flags")
        })
    }

    /// Those that are allowed without being added.
    fn own_origins(&self) -> OriginPolicy {
        match &self.same_origin {
            SameOrigin::On => OriginPolicy::same_origin(),
            SameOrigin::Over(scheme) => OriginPolicy::same_origin_over(scheme.clone()),
            SameOrigin::Off if self.only_origin.is_empty() => OriginPolicy::new(),
            SameOrigin::Off => OriginPolicy::only(self.only_origin.iter().map(String::as_str))
                .expect("each entry was checked with the flags"),
        }
    }

    /// Who may say where a client is.
    pub(crate) fn trusted_proxies(&self) -> TrustedProxies {
        let networks = self.trusted_proxy.iter().map(String::as_str);
        TrustedProxies::by_x_forwarded_for(networks)
            .expect("each network was checked with the flags")
    }

    /// What long polling may cost.
    pub(crate) fn long_polling(&self) -> LongPollConfig {
        LongPollConfig::default().with_max_sessions_per_address(self.max_address_sockets.0)
    }

    /// Who may open sockets, how many there may be, and how much each may send.
    pub(crate) fn sockets(&self, long_polling: &LongPolling) -> SocketsConfig {
        let inbound = Rate::per_second(self.inbound_rate);
        let most = ConnectionLimits::default()
            .with_max_connections(self.max_sockets.0)
            .with_max_per_user(self.max_user_sockets.0)
            .with_max_per_address(self.max_address_sockets.0);
        let mut config = SocketsConfig::default();
        // Tools that join at full speed are as welcome as those that talk at full speed.
        config.joins = config.joins.filter(|_| inbound.is_some());
        let limits = config.http.limits.clone().with_inbound(inbound);
        let bytes = limits.inbound_bytes.filter(|_| inbound.is_some());
        let limits = limits.with_inbound_bytes(bytes);
        config.http = config
            .http
            .with_origins(self.origins())
            .with_trusted_proxies(self.trusted_proxies())
            .with_limits(limits)
            .with_connections(&Connections::with_limits(most))
            .with_long_polling(long_polling);
        config
    }

    /// How many connections may wait for a request.
    pub(crate) fn heads(&self) -> HeadLimits {
        HeadLimits {
            in_all: self.max_heads.0,
            of_address: self.max_address_heads.0,
        }
    }

    /// How to go.
    pub(crate) fn drain(&self) -> Drain {
        Drain {
            per_second: self.drain_rate,
            limit: self.drain_limit.0,
        }
    }

    /// How long those on this node's presence lists may take to come back after its end; nothing if it does not come back.
    pub(crate) fn restart_grace(&self) -> Option<Duration> {
        let Seconds(grace) = self.restart_grace;
        (!grace.is_zero()).then_some(grace)
    }

    /// Certificates of one's own, if there are any.
    pub(crate) fn tls(&self) -> Option<PkiFiles> {
        Some(PkiFiles {
            ca: self.tls_ca.clone()?,
            certificate: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
        })
    }

    fn check_relations(&self) -> Result<(), FlagError> {
        let needs_listener = |flag: &str, value: &dyn fmt::Display| {
            FlagError(format!(
                "--{flag} {value} is not allowed without --quic: give the cluster listener's address \
                 too, such as --quic 127.0.0.1:5000, or leave --{flag} out to stand alone"
            ))
        };
        match (self.quic, self.join.first(), &self.advertise) {
            (None, Some(peer), _) => Err(needs_listener("join", peer)),
            (None, None, Some(address)) => Err(needs_listener("advertise", address)),
            _ => self.check_origins().and_then(|()| self.check_tls()),
        }
    }

    /// A list of those alone that are allowed has no other beside it.
    fn check_origins(&self) -> Result<(), FlagError> {
        let Some(only) = self.only_origin.first() else {
            return Ok(());
        };
        let beside = match (self.allow_origin.first(), &self.same_origin) {
            (Some(_), _) => "--allow-origin: give all origins by --only-origin",
            (None, SameOrigin::Off) => return Ok(()),
            (None, _) => "--same-origin: give the one or the other",
        };
        Err(FlagError(format!(
            "--only-origin {only} is not allowed together with {beside}"
        )))
    }

    /// Certificates come as three files or not at all, and never beside a secret.
    fn check_tls(&self) -> Result<(), FlagError> {
        let files = [
            ("--tls-ca", &self.tls_ca),
            ("--tls-cert", &self.tls_cert),
            ("--tls-key", &self.tls_key),
        ];
        let given = files
            .iter()
            .find_map(|(flag, file)| Some((flag, file.as_ref()?)));
        let Some((flag, file)) = given else {
            return Ok(());
        };
        let missing: Vec<&str> = files
            .iter()
            .filter(|(_, file)| file.is_none())
            .map(|(flag, _)| *flag)
            .collect();
        if !missing.is_empty() {
            return Err(FlagError(format!(
                "{flag} {file:?} is not allowed without {}: give all three, or the cluster's secret instead",
                missing.join(" and ")
            )));
        }
        match &self.cluster_secret_file {
            None => Ok(()),
            Some(secret) => Err(FlagError(format!(
                "{flag} {file:?} is not allowed together with --cluster-secret-file {secret:?}: a node has either \
                 certificates of your own or the cluster's secret; leave one of them out"
            ))),
        }
    }
}

#[derive(Debug, Parser)]
#[command(
    name = "matryoshka-node",
    version,
    about = "Matryoshka's test server: Phoenix channels and presence on one node or a cluster",
    after_help = "Every flag has an environment variable; repeatable ones take several values with a comma between.",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
struct CommandLine {
    #[command(flatten)]
    flags: Flags,

    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print a fresh cluster secret
    Secret,
}

fn without_empty_variable(argument: clap::Arg) -> clap::Arg {
    let empty = argument
        .get_env()
        .and_then(std::env::var_os)
        .is_some_and(|value| value.is_empty());
    if empty { argument.env(None) } else { argument }
}

/// A number below zero is a value, which is refused as one, and no flag that nobody knows.
fn with_any_number(argument: clap::Arg) -> clap::Arg {
    let takes_values = argument.get_action().takes_values();
    argument.allow_negative_numbers(takes_values)
}

fn rust_log() -> Result<Option<String>, FlagError> {
    let Some(value) = std::env::var_os(RUST_LOG).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let value = value.to_string_lossy().into_owned();
    match log_filter(&value) {
        Ok(filter) => Ok(Some(filter)),
        Err(allowed) => Err(not_allowed(RUST_LOG, &value, &allowed)),
    }
}

fn node_name(value: &str) -> Result<NodeName, String> {
    value
        .parse()
        .map_err(|_| "it takes 1 to 64 characters of a-z, 0-9, '.', '_' and '-'".to_owned())
}

fn listen_address(value: &str) -> Result<SocketAddr, String> {
    value.parse().map_err(|_| {
        "it takes an IP address and a port, such as 127.0.0.1:4000 or [::1]:4000 (port 0 picks a \
         free one)"
            .to_owned()
    })
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

fn on_or_off(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("it takes on or off".to_owned()),
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

fn file_path(value: &str) -> Result<PathBuf, String> {
    if value.is_empty() {
        return Err("it takes a path".to_owned());
    }
    Ok(PathBuf::from(value))
}

fn allowed_origin(value: &str) -> Result<String, String> {
    let allowed = OriginPolicy::new().allow(value);
    allowed.map(|_| value.to_owned()).map_err(|_| {
        "it takes scheme://host:port with scheme and port optional, such as \
         https://chat.example.com or //*.example.com, or * for every origin"
            .to_owned()
    })
}

fn only_origin(value: &str) -> Result<String, String> {
    let only = OriginPolicy::only([value]).ok().filter(|_| value != "*");
    only.map(|_| value.to_owned()).ok_or_else(|| {
        "it takes scheme://host:port with scheme and port optional, such as \
         https://chat.example.com or //*.example.com; every origin is --allow-origin *"
            .to_owned()
    })
}

fn same_origin(value: &str) -> Result<SameOrigin, String> {
    match value {
        "on" => Ok(SameOrigin::On),
        "off" => Ok(SameOrigin::Off),
        "http" => Ok(SameOrigin::Over(Scheme::HTTP)),
        "https" => Ok(SameOrigin::Over(Scheme::HTTPS)),
        _ => Err("it takes on, off, http or https".to_owned()),
    }
}

fn own_host(value: &str) -> Result<String, String> {
    let host = OriginPolicy::new().served_as(value);
    host.map(|_| value.to_owned()).map_err(|_| {
        "it takes a host name or an address without scheme and port, such as chat.example.com"
            .to_owned()
    })
}

fn trusted_proxy(value: &str) -> Result<String, String> {
    let network = TrustedProxies::by_x_forwarded_for([value]);
    network
        .map(|_| value.to_owned())
        .map_err(|_| "it takes an address or a network, such as 10.0.0.0/8 or fd00::1".to_owned())
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

fn drain_rate(value: &str) -> Result<NonZeroU32, String> {
    value
        .parse()
        .map_err(|_| "it takes a whole number of sockets per second, at least 1".to_owned())
}

fn drain_limit(value: &str) -> Result<Seconds, String> {
    match value.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Seconds(Duration::from_secs(seconds))),
        _ => Err("it takes whole seconds, from 1 to 86400".to_owned()),
    }
}

fn restart_grace(value: &str) -> Result<Seconds, String> {
    let most = longest_grace();
    match value.parse().map(Duration::from_secs) {
        Ok(grace) if grace <= most => Ok(Seconds(grace)),
        _ => Err(format!(
            "it takes whole seconds, from 0 to {}",
            most.as_secs()
        )),
    }
}

fn presence_events(value: &str) -> Result<PresenceEvents, String> {
    value.parse().map_err(|()| {
        "it takes two names with a comma between, such as people,moves, that are not the protocol's own"
            .to_owned()
    })
}

fn presence_topics(value: &str) -> Result<PresenceTopics, String> {
    value.parse().map_err(|()| {
        let most = longest_grace().as_secs();
        format!("it takes a topic or a beginning and *, then full, count or window:N, perhaps with up to {most} seconds, such as hall:*=window:20 or room:*=full/3")
    })
}

fn page_link(value: &str) -> Result<PageLink, String> {
    value.parse().map_err(|_| {
        "it takes a node name and its page's address, such as n2=http://127.0.0.1:4001".to_owned()
    })
}

/// The switch's variable; on the command line it has no value.
fn switch(value: &str) -> Result<bool, String> {
    match value {
        "1" | "on" | "true" | "yes" => Ok(true),
        "0" | "off" | "false" | "no" => Ok(false),
        _ => Err("it takes true or false".to_owned()),
    }
}

fn log_filter(value: &str) -> Result<String, String> {
    if logging::is_filter(value) {
        return Ok(value.to_owned());
    }
    Err(
        "it takes a level (error, warn, info, debug, trace, off) or a list such as \
         info,matryoshka_channel=debug"
            .to_owned(),
    )
}

fn not_allowed(flag: &str, value: &str, allowed: &str) -> FlagError {
    FlagError(format!("{flag} {value:?} is not allowed: {allowed}"))
}

/// clap answers `--help` as an "error" too; everything else is reduced to one line.
fn refused_or_printed(
    command: &clap::Command,
    arguments: &[OsString],
    error: &clap::Error,
) -> Result<Invocation, FlagError> {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        return Ok(Invocation::Print(error.to_string()));
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    let shown = text(ContextKind::InvalidArg);
    let flag = shown.split_whitespace().next().unwrap_or_default();
    let value = text(ContextKind::InvalidValue);
    Err(match error.kind() {
        ErrorKind::ValueValidation => {
            let allowed = std::error::Error::source(error).map_or_else(
                || "see `matryoshka-node --help`".to_owned(),
                ToString::to_string,
            );
            not_allowed(&with_variable(command, arguments, flag), &value, &allowed)
        }
        // clap reports a missing value as an invalid one that is empty.
        ErrorKind::InvalidValue if value.is_empty() => FlagError(format!(
            "{shown} needs a value; see `matryoshka-node --help`"
        )),
        ErrorKind::InvalidValue => {
            let allowed = format!("it takes one of {}", text(ContextKind::ValidValue));
            not_allowed(&with_variable(command, arguments, flag), &value, &allowed)
        }
        ErrorKind::ArgumentConflict if flag.is_empty() => {
            FlagError("`secret` takes no flags".to_owned())
        }
        ErrorKind::ArgumentConflict => {
            FlagError(format!("{flag} is not allowed twice: give it once"))
        }
        ErrorKind::InvalidUtf8 => FlagError(
            "a flag's value is not UTF-8; flags and variables take UTF-8 text only".to_owned(),
        ),
        ErrorKind::TooManyValues => FlagError(format!(
            "{flag} {value:?} is not allowed: it takes no value"
        )),
        _ => unknown(&text),
    })
}

fn unknown(text: &dyn Fn(ContextKind) -> String) -> FlagError {
    let mut given = text(ContextKind::InvalidArg);
    if given.is_empty() {
        given = text(ContextKind::InvalidSubcommand);
    }
    let closest = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand]
        .into_iter()
        .map(text)
        .find(|suggestion| !suggestion.is_empty())
        .map(|suggestion| format!(" (did you mean {suggestion}?)"))
        .unwrap_or_default();
    FlagError(format!(
        "{given} is not known{closest}; `matryoshka-node --help` lists what is allowed"
    ))
}

/// The flag, and its environment variable when the value came from there.
fn with_variable(command: &clap::Command, arguments: &[OsString], flag: &str) -> String {
    let on_command_line = arguments.iter().any(|argument| {
        argument.to_str().is_some_and(|argument| {
            argument
                .strip_prefix(flag)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })
    });
    let variable = command
        .get_arguments()
        .find(|argument| argument.get_long() == flag.strip_prefix("--"))
        .and_then(clap::Arg::get_env)
        .filter(|_| !on_command_line);
    match variable {
        Some(variable) => format!("{flag} (from {})", variable.to_string_lossy()),
        None => flag.to_owned(),
    }
}

#[cfg(test)]
mod tests;
