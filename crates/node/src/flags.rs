//! The command line: every flag, its environment variable, its default, and the one line that a
//! wrong value earns. Flags of one kind stand together in a file below; here stand those of no kind.
//!
//! clap parses; the files only say what each value may be, and what the values of a kind come to. An environment
//! variable that is set to nothing counts as not set, since that is how process managers spell "no value".

mod cluster;
mod drain;
mod identity;
mod limits;
mod log;
mod origins;
mod page;
mod presence;
mod refusal;
mod value;

use std::ffi::OsString;
use std::net::SocketAddr;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use matryoshka_presence::channel::SocketsConfig;
use matryoshka_presence::channel::pubsub::NodeName;
use matryoshka_presence::channel::transport::{LongPolling, TrustedProxies};

use self::cluster::ClusterFlags;
use self::drain::DrainFlags;
use self::limits::LimitFlags;
use self::log::LogFlags;
use self::origins::OriginFlags;
use self::page::PageFlags;
use self::presence::PresenceFlags;
use self::value::switch;

pub(crate) use self::identity::{IdentityFlags, SECRET_VARIABLE};
pub(crate) use self::limits::flag_of;
pub(crate) use self::refusal::FlagError;

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

/// Everything that can be set from outside, in the order of the help.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Node name, unique in the cluster
    #[arg(long, env = "MATRYOSHKA_NAME", value_name = "NAME", default_value = "n1", value_parser = node_name)]
    pub(crate) name: NodeName,

    /// HTTP listener; port 0 picks a free one
    #[arg(long, env = "MATRYOSHKA_HTTP", value_name = "ADDR", default_value = "127.0.0.1:4000", value_parser = listen_address)]
    pub(crate) http: SocketAddr,

    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,

    #[command(flatten)]
    pub(crate) origins: OriginFlags,

    /// Proxy, or network of proxies, that is believed when it says in X-Forwarded-For where a client is; repeatable
    #[arg(long, env = "MATRYOSHKA_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',', value_parser = trusted_proxy)]
    trusted_proxy: Vec<String>,

    #[command(flatten)]
    pub(crate) limits: LimitFlags,

    #[command(flatten)]
    pub(crate) drain: DrainFlags,

    #[command(flatten)]
    pub(crate) presence: PresenceFlags,

    #[command(flatten)]
    pub(crate) page: PageFlags,

    /// End of standard input starts the drain
    #[arg(long, env = "MATRYOSHKA_EXIT_WITH_STDIN", action = ArgAction::SetTrue, value_parser = switch)]
    pub(crate) exit_with_stdin: bool,

    #[command(flatten)]
    pub(crate) log: LogFlags,
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
        Err(error) if is_text_asked_for(&error) => return Ok(Invocation::Print(error.to_string())),
        Err(error) => return Err(FlagError::of_clap(&command, &arguments, &error)),
    };
    let line = CommandLine::from_arg_matches(&matches)
        .map_err(|error| FlagError(format!("the command line cannot be read: {}", error.kind())))?;
    if let Some(Action::Secret) = line.action {
        return Ok(Invocation::Secret);
    }
    let mut flags = line.flags;
    if matches.value_source("log") == Some(ValueSource::DefaultValue) {
        flags.log.take_rust_log()?;
    }
    flags.check_relations()?;
    Ok(Invocation::Serve(Box::new(flags)))
}

impl Flags {
    /// Who may open sockets, how many there may be, and how much each may send.
    pub(crate) fn sockets(&self, long_polling: &LongPolling) -> SocketsConfig {
        let mut config = self.limits.add(SocketsConfig::default());
        config.http = config
            .http
            .with_origins(self.origins.policy())
            .with_trusted_proxies(self.trusted_proxies())
            .with_long_polling(long_polling);
        config
    }

    /// Who may say where a client is.
    pub(crate) fn trusted_proxies(&self) -> TrustedProxies {
        let networks = self.trusted_proxy.iter().map(String::as_str);
        TrustedProxies::by_x_forwarded_for(networks)
            .expect("each network was checked with the flags")
    }

    fn check_relations(&self) -> Result<(), FlagError> {
        self.cluster.check_relations()?;
        self.origins.check_relations()?;
        self.cluster.identity.check_relations()
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

/// clap answers `--help` as an "error" too.
fn is_text_asked_for(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    )
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

fn trusted_proxy(value: &str) -> Result<String, String> {
    let network = TrustedProxies::by_x_forwarded_for([value]);
    network
        .map(|_| value.to_owned())
        .map_err(|_| "it takes an address or a network, such as 10.0.0.0/8 or fd00::1".to_owned())
}

#[cfg(test)]
mod tests;
