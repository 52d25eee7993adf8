//! What the command line takes and how it refuses, without starting a process.

use matryoshka_presence::channel::pubsub::PubSub;

use super::*;

fn read(arguments: &[&str]) -> Result<Invocation, FlagError> {
    parse(
        std::iter::once("matryoshka-node")
            .chain(arguments.iter().copied())
            .map(OsString::from),
    )
}

fn flags(arguments: &[&str]) -> Flags {
    match read(arguments) {
        Ok(Invocation::Serve(flags)) => *flags,
        other => panic!("{arguments:?} gave {other:?}"),
    }
}

#[track_caller]
fn refusal(arguments: &[&str]) -> String {
    let line = read(arguments).unwrap_err().to_string();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

#[test]
fn every_flag_has_an_environment_variable_of_its_name() {
    let command = CommandLine::command();
    let flags: Vec<_> = command
        .get_arguments()
        .filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version"))
        .collect();
    assert_eq!(flags.len(), 32);
    for flag in flags {
        let name = flag.get_long().unwrap();
        let variable = format!("MATRYOSHKA_{}", name.to_uppercase().replace('-', "_"));
        assert_eq!(flag.get_env().unwrap().to_str(), Some(variable.as_str()));
    }
}

#[test]
fn the_link_between_nodes_is_as_new_as_it_gets_unless_told_otherwise() {
    let usual = flags(&[]);
    assert_eq!((usual.interest, usual.link_protocol), (true, 2));
    let held_back = flags(&["--interest", "off", "--link-protocol", "1"]);
    assert_eq!((held_back.interest, held_back.link_protocol), (false, 1));
    for bad in ["0", "3", "two", "-1"] {
        let line = refusal(&[&*format!("--link-protocol={bad}")]);
        assert!(line.contains("it takes 1 to 2"), "{line}");
    }
    assert!(refusal(&["--interest", "perhaps"]).contains("it takes on or off"));
}

#[test]
fn a_number_below_zero_is_refused_with_its_flag() {
    for flag in ["--max-sockets", "--inbound-rate", "--drain-limit", "--http"] {
        let line = refusal(&[flag, "-1"]);
        let beginning = format!("{flag} \"-1\" is not allowed: it takes ");
        assert!(line.starts_with(&beginning), "{line}");
    }
    let line = refusal(&["--max-sockets", "--quic"]);
    assert!(line.contains("--max-sockets"), "{line}");
    assert!(line.contains("needs a value"), "{line}");
}

#[test]
fn the_help_says_the_longest_grace() {
    let help = CommandLine::command().render_long_help().to_string();
    let most = format!("up to {}", longest_grace().as_secs());
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains(&most), "{help}");
}

#[test]
fn presence_lists_come_by_phoenix_events_unless_told_otherwise() {
    assert_eq!(flags(&[]).presence_events, PresenceEvents::default());
    let named = flags(&["--presence-events", "people,moves"]);
    assert_eq!(named.presence_events, "people,moves".parse().unwrap());
    let line = refusal(&["--presence-events", "people"]);
    assert!(line.contains("two names with a comma between"), "{line}");
}

#[test]
fn origins_are_usual_and_more_or_only_those_named_or_the_requests_own() {
    let own = OriginPolicy::new();
    assert_eq!(flags(&[]).origins(), own);
    let more = flags(&["--allow-origin", "//a.example,//b.example"]).origins();
    let friends = |policy: OriginPolicy| {
        policy
            .allow("//a.example")
            .and_then(|policy| policy.allow("//b.example"))
            .unwrap()
    };
    assert_eq!(more, friends(own));
    let only = flags(&["--only-origin", "//a.example", "--only-origin=//b.example"]);
    let listed = OriginPolicy::only(["//a.example", "//b.example"]).unwrap();
    assert_eq!(only.origins(), listed);
    let hosted = flags(&["--only-origin", "//a.example", "--host", "b.example"]);
    let listed = OriginPolicy::only(["//a.example"]).unwrap();
    assert_eq!(hosted.origins(), listed.served_as("b.example").unwrap());

    let same = |value: &str| flags(&["--same-origin", value]).origins();
    assert_eq!(same("off"), OriginPolicy::new());
    assert_eq!(same("on"), OriginPolicy::same_origin());
    for scheme in [Scheme::HTTP, Scheme::HTTPS] {
        let over = OriginPolicy::same_origin_over(scheme.clone());
        assert_eq!(same(scheme.as_str()), over);
    }
    let both = flags(&["--same-origin=on", "--allow-origin=//a.example,//b.example"]);
    assert_eq!(both.origins(), friends(OriginPolicy::same_origin()));
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

#[test]
fn presence_is_told_whole_unless_topics_are_named() {
    assert_eq!(flags(&[]).presence_topics, []);
    let named = flags(&[
        "--presence-topics",
        "big=count,hall:*=window:9",
        "--presence-topics=*=full/3",
    ]);
    let rules = ["big=count", "hall:*=window:9", "*=full/3"];
    assert_eq!(
        named.presence_topics,
        rules.map(|rule| rule.parse().unwrap())
    );
    let line = refusal(&["--presence-topics", "room:*"]);
    assert!(line.contains("full, count or window:N"), "{line}");
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
        flags.join,
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

#[test]
fn refusals_name_the_flag_the_value_and_the_allowed() {
    assert_eq!(
        refusal(&["--name", "N"]),
        "--name \"N\" is not allowed: it takes 1 to 64 characters of a-z, 0-9, '.', '_' and '-'"
    );
    assert!(refusal(&["--naem", "x"]).contains("did you mean --name?"));
    assert!(refusal(&["--http"]).contains("needs a value"));
    assert_eq!(
        refusal(&["--name", "a", "--name", "b"]),
        "--name is not allowed twice: give it once"
    );
    assert!(refusal(&["secret", "--name", "a"]).contains("--name"));
    assert_eq!(
        refusal(&["--name", "a", "secret"]),
        "`secret` takes no flags"
    );
}

#[test]
fn the_subcommand_and_the_help_start_no_node() {
    assert!(matches!(read(&["secret"]), Ok(Invocation::Secret)));
    assert!(matches!(read(&["--help"]), Ok(Invocation::Print(_))));
    assert!(matches!(read(&["--version"]), Ok(Invocation::Print(_))));
}

#[test]
fn limits_are_off_where_tools_would_strike_them_and_0_is_none() {
    let long_polling = LongPolling::new(&PubSub::local()).unwrap();
    let config = flags(&[]).sockets(&long_polling);
    assert_eq!((config.joins, config.http.limits.inbound), (None, None));
    assert_eq!(config.http.limits.inbound_bytes, None);
    let most = config.http.connections.limits().clone();
    assert_eq!((most.max_per_user, most.max_per_address), (None, None));
    assert_eq!(flags(&[]).long_polling().max_sessions_per_address, None);
    assert_eq!(most.max_connections, Some(100_000));

    let flags = flags(&[
        "--inbound-rate=20",
        "--max-sockets=0",
        "--max-user-sockets=3",
        "--max-address-sockets=4",
    ]);
    assert_eq!(flags.long_polling().max_sessions_per_address, Some(4));
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

#[test]
fn a_drain_has_a_rate_and_a_limit() {
    let drain = flags(&[]).drain();
    assert_eq!((drain.per_second.get(), drain.limit.as_secs()), (1_000, 30));
    for (flag, bad) in [
        ("--drain-rate", "0"),
        ("--drain-rate", "-1"),
        ("--drain-rate", "fast"),
        ("--restart-grace", "-1"),
        ("--restart-grace", "1201"),
        ("--drain-limit", "0"),
        ("--drain-limit", "1.5"),
    ] {
        let line = refusal(&[&format!("{flag}={bad}")]);
        assert!(line.contains(flag) && line.contains(bad), "{line}");
    }
}

#[test]
fn a_log_filter_is_a_level_or_a_list() {
    for good in ["info", "warn,matryoshka_channel=debug", "off"] {
        assert!(log_filter(good).is_ok(), "{good}");
    }
    assert!(log_filter("info==").is_err());
}
