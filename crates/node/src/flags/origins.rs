//! The flags of whose pages may open sockets and post.

use clap::Args;
use matryoshka_presence::channel::transport::OriginPolicy;
use matryoshka_presence::channel::transport::http::uri::Scheme;

use super::refusal::FlagError;

/// Whose pages are let in.
#[derive(Debug, Args)]
pub(crate) struct OriginFlags {
    /// Origin allowed beside the server's own host and every loopback host; repeatable; `*` allows all
    #[arg(long, env = "MATRYOSHKA_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',', value_parser = allowed_origin)]
    allow_origin: Vec<String>,

    /// Origin allowed, and no other: neither the server's own host nor loopback is, unless it is given here or by --host; repeatable. Not
    /// together with --allow-origin
    #[arg(long, env = "MATRYOSHKA_ONLY_ORIGIN", value_name = "ORIGIN", value_delimiter = ',', value_parser = only_origin)]
    only_origin: Vec<String>,

    /// Instead of the server's own host and loopback: allows pages of the request's own origin, which has its scheme, host and port. The
    /// scheme is http or https where one is given here; `on` takes it from a trusted proxy, and otherwise for http. --allow-origin and --host
    /// add to it
    #[arg(long, env = "MATRYOSHKA_SAME_ORIGIN", value_name = "on|off|http|https", default_value = "off", value_parser = same_origin)]
    same_origin: SameOrigin,

    /// Host by which browsers reach this node; repeatable. With it, neither the Host header nor loopback counts as the server's
    /// own host, so that no page gets in by a name that its owner leads here
    #[arg(long, env = "MATRYOSHKA_HOST", value_name = "HOST", value_delimiter = ',', value_parser = own_host)]
    host: Vec<String>,
}

/// Whether pages of the request's own origin are allowed instead of the usual ones.
#[derive(Clone, Debug, PartialEq, Eq)]
enum SameOrigin {
    /// They are not.
    Off,
    /// The scheme is what a trusted proxy says.
    On,
    /// The scheme is this one.
    Over(Scheme),
}

impl OriginFlags {
    /// Whose pages may open sockets and post.
    pub(crate) fn policy(&self) -> OriginPolicy {
        let hosts = self.host.iter().fold(self.own_policy(), |policy, host| {
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
    fn own_policy(&self) -> OriginPolicy {
        match &self.same_origin {
            SameOrigin::On => OriginPolicy::same_origin(),
            SameOrigin::Over(scheme) => OriginPolicy::same_origin_over(scheme.clone()),
            SameOrigin::Off if self.only_origin.is_empty() => OriginPolicy::new(),
            SameOrigin::Off => OriginPolicy::only(self.only_origin.iter().map(String::as_str))
                .expect("each entry was checked with the flags"),
        }
    }

    /// A list of those alone that are allowed has no other beside it.
    pub(super) fn check_relations(&self) -> Result<(), FlagError> {
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

#[cfg(test)]
mod tests {
    use super::super::tests::{flags, refusal};
    use super::*;

    #[test]
    fn origins_are_usual_and_more_or_only_those_named_or_the_requests_own() {
        let of = |arguments: &[&str]| flags(arguments).origins.policy();
        let own = OriginPolicy::new();
        assert_eq!(of(&[]), own);
        let more = of(&["--allow-origin", "//a.example,//b.example"]);
        let friends = |policy: OriginPolicy| {
            policy
                .allow("//a.example")
                .and_then(|policy| policy.allow("//b.example"))
                .unwrap()
        };
        assert_eq!(more, friends(own));
        let only = of(&["--only-origin", "//a.example", "--only-origin=//b.example"]);
        let listed = OriginPolicy::only(["//a.example", "//b.example"]).unwrap();
        assert_eq!(only, listed);
        let hosted = of(&["--only-origin", "//a.example", "--host", "b.example"]);
        let listed = OriginPolicy::only(["//a.example"]).unwrap();
        assert_eq!(hosted, listed.served_as("b.example").unwrap());

        let same = |value: &str| of(&["--same-origin", value]);
        assert_eq!(same("off"), OriginPolicy::new());
        assert_eq!(same("on"), OriginPolicy::same_origin());
        for scheme in [Scheme::HTTP, Scheme::HTTPS] {
            let over = OriginPolicy::same_origin_over(scheme.clone());
            assert_eq!(same(scheme.as_str()), over);
        }
        let both = of(&["--same-origin=on", "--allow-origin=//a.example,//b.example"]);
        assert_eq!(both, friends(OriginPolicy::same_origin()));
    }

    #[test]
    fn a_list_of_the_only_origins_stands_alone() {
        for beside in ["--allow-origin=//b.example", "--same-origin=https"] {
            let line = refusal(&["--only-origin", "//a.example", beside]);
            let flag = beside.split_once('=').unwrap().0;
            assert!(
                line.contains("--only-origin //a.example is not allowed"),
                "{line}"
            );
            assert!(line.contains(flag), "{line}");
        }
        for none in ["*", "http://", ""] {
            let line = refusal(&["--only-origin", none]);
            assert!(line.contains("it takes scheme://host:port"), "{line}");
        }
        assert!(refusal(&["--same-origin=yes"]).contains("it takes on, off, http or https"));
    }
}
