//! Whom a request is taken to be of, whatever its headers claim.

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const PROXY: &str = "10.0.0.1:443";

fn client(proxies: &TrustedProxies, peer: &str, name: &'static str, lines: &[&str]) -> String {
    let mut headers = HeaderMap::new();
    for line in lines {
        let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
        headers.append(HeaderName::from_static(name), value);
    }
    proxies.client(peer.parse().unwrap(), &headers).to_string()
}

fn x_forwarded(peer: &str, lines: &[&str]) -> String {
    let proxies = TrustedProxies::by_x_forwarded_for(["10.0.0.0/8", "fd00::/8"]).unwrap();
    client(&proxies, peer, "x-forwarded-for", lines)
}

fn forwarded(lines: &[&str]) -> String {
    let proxies = TrustedProxies::by_forwarded(["10.0.0.0/8"]).unwrap();
    client(&proxies, PROXY, "forwarded", lines)
}

#[test]
fn by_default_nobody_is_believed() {
    let proxies = TrustedProxies::none();
    for name in ["x-forwarded-for", "forwarded"] {
        let lines = ["for=1.2.3.4", "1.2.3.4"];
        assert_eq!(client(&proxies, PROXY, name, &lines), PROXY);
        assert_eq!(client(&proxies, "127.0.0.1:1", name, &lines), "127.0.0.1:1");
    }
}

#[test]
fn a_stranger_is_not_believed() {
    assert_eq!(x_forwarded("9.9.9.9:1", &["127.0.0.1"]), "9.9.9.9:1");
    assert_eq!(x_forwarded("[fe80::1]:1", &["10.0.0.1"]), "[fe80::1]:1");
}

#[test]
fn the_client_is_the_last_that_is_no_trusted_proxy() {
    let rows: &[(&[&str], &str)] = &[
        (&[], PROXY),
        (&["1.2.3.4"], "1.2.3.4:0"),
        (&["127.0.0.1, 1.2.3.4"], "1.2.3.4:0"),
        (&["6.6.6.6, 1.2.3.4, 10.2.2.2"], "1.2.3.4:0"),
        (&["6.6.6.6", "1.2.3.4, 10.2.2.2", "10.3.3.3"], "1.2.3.4:0"),
        (&["10.4.4.4, 10.2.2.2"], "10.4.4.4:0"),
        (&["  1.2.3.4  "], "1.2.3.4:0"),
        (&["1.2.3.4:567"], "1.2.3.4:567"),
        (&["2001:db8::7"], "[2001:db8::7]:0"),
        (&["[2001:db8::7]:567"], "[2001:db8::7]:567"),
        (&["[2001:db8::7]"], "[2001:db8::7]:0"),
        (&["1.2.3.4, fd00::3"], "1.2.3.4:0"),
        (&["1.2.3.4, ::ffff:10.9.9.9"], "1.2.3.4:0"),
    ];
    for (lines, expected) in rows {
        assert_eq!(x_forwarded(PROXY, lines), *expected, "{lines:?}");
    }
    assert_eq!(
        x_forwarded("[::ffff:10.0.0.1]:5", &["1.2.3.4"]),
        "1.2.3.4:0"
    );
}

#[test]
fn nonsense_ends_the_walk_where_it_stands() {
    let rows: &[(&[&str], &str)] = &[
        (&[""], PROXY),
        (&["1.2.3.4,"], PROXY),
        (&["unknown"], PROXY),
        (&["1.2.3.4, evil"], PROXY),
        (&["1.2.3.4, evil, 10.2.2.2"], "10.2.2.2:0"),
        (&["1.2.3.4, 300.1.1.1"], PROXY),
        (&["1.2.3.4 10.0.0.2"], PROXY),
        (&["1.2.3.4, é"], PROXY),
        (&["for=1.2.3.4"], PROXY),
        (&["[::1"], PROXY),
    ];
    for (lines, expected) in rows {
        assert_eq!(x_forwarded(PROXY, lines), *expected, "{lines:?}");
    }
}

#[test]
fn forwarded_is_read_by_its_own_rules_and_instead_of_the_other() {
    let rows: &[(&[&str], &str)] = &[
        (&["for=1.2.3.4"], "1.2.3.4:0"),
        (
            &["For=\"1.2.3.4:80\";proto=https;by=10.0.0.1"],
            "1.2.3.4:80",
        ),
        (
            &["proto=http; for=\"[2001:db8::7]:4711\""],
            "[2001:db8::7]:4711",
        ),
        (&["for=6.6.6.6, for=1.2.3.4, for=10.1.1.1"], "1.2.3.4:0"),
        (&["for=1.2.3.4, for=_hidden"], PROXY),
        (&["for=1.2.3.4, proto=http"], PROXY),
        (&["1.2.3.4"], PROXY),
    ];
    for (lines, expected) in rows {
        assert_eq!(forwarded(lines), *expected, "{lines:?}");
    }
    let proxies = TrustedProxies::by_forwarded(["10.0.0.0/8"]).unwrap();
    assert_eq!(
        client(&proxies, PROXY, "x-forwarded-for", &["1.2.3.4"]),
        PROXY
    );
}

#[test]
fn a_very_long_way_is_not_walked_to_its_end() {
    let long = format!("1.2.3.4{}", ", 10.0.0.2".repeat(10_000));
    assert_eq!(x_forwarded(PROXY, &[&long]), "10.0.0.2:0");
    for (hops, client) in [(MAX_HOPS - 1, "1.2.3.4:0"), (MAX_HOPS, "10.0.0.2:0")] {
        let lines = [&["1.2.3.4"][..], &vec!["10.0.0.2"; hops]].concat();
        assert_eq!(x_forwarded(PROXY, &lines), client, "{hops}");
    }
}

#[test]
fn the_scheme_is_what_the_nearest_trusted_proxy_says_last() {
    let networks = ["10.0.0.0/8"];
    let x_forwarded = TrustedProxies::by_x_forwarded_for(networks).unwrap();
    let forwarded = TrustedProxies::by_forwarded(networks).unwrap();
    let said = |proxies: &TrustedProxies, peer: &str, name, lines: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for line in lines {
            let name = HeaderName::from_static(name);
            headers.append(name, HeaderValue::from_static(line));
        }
        proxies.scheme(peer.parse().unwrap(), &headers)
    };
    let rows: &[(&TrustedProxies, &str, &'static str, &[&'static str], _)] = &[
        (
            &x_forwarded,
            PROXY,
            "x-forwarded-proto",
            &["https"],
            Some(Scheme::HTTPS),
        ),
        (
            &x_forwarded,
            PROXY,
            "x-forwarded-proto",
            &["HTTP"],
            Some(Scheme::HTTP),
        ),
        (
            &x_forwarded,
            PROXY,
            "x-forwarded-proto",
            &["https", "http, https"],
            Some(Scheme::HTTPS),
        ),
        (
            &x_forwarded,
            PROXY,
            "x-forwarded-proto",
            &["https", "http"],
            Some(Scheme::HTTP),
        ),
        (&x_forwarded, PROXY, "x-forwarded-proto", &["gopher"], None),
        (&x_forwarded, PROXY, "x-forwarded-proto", &[], None),
        (&x_forwarded, PROXY, "forwarded", &["proto=https"], None),
        (
            &x_forwarded,
            "9.9.9.9:1",
            "x-forwarded-proto",
            &["https"],
            None,
        ),
        (
            &forwarded,
            PROXY,
            "forwarded",
            &["for=1.2.3.4;Proto=\"https\""],
            Some(Scheme::HTTPS),
        ),
        (
            &forwarded,
            PROXY,
            "forwarded",
            &["proto=https, for=1.2.3.4"],
            None,
        ),
        (&forwarded, PROXY, "x-forwarded-proto", &["https"], None),
        (
            &TrustedProxies::none(),
            PROXY,
            "x-forwarded-proto",
            &["https"],
            None,
        ),
    ];
    for (proxies, peer, name, lines, expected) in rows {
        assert_eq!(
            said(proxies, peer, name, lines),
            *expected,
            "{name}: {lines:?}"
        );
    }
}

#[test]
fn what_is_no_network_is_named() {
    for wrong in [
        "",
        "10",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "::/129",
        "a/8",
        "10.0.0.0/8/8",
        "*",
    ] {
        let error = TrustedProxies::by_x_forwarded_for(["::1", wrong]).unwrap_err();
        assert_eq!(error, InvalidNetwork(wrong.to_owned()));
    }
    let all = TrustedProxies::by_x_forwarded_for(["0.0.0.0/0"]).unwrap();
    assert!(all.trusts("1.2.3.4:1".parse().unwrap()));
    assert!(!all.trusts("[2001:db8::1]:1".parse().unwrap()));
}

proptest! {
    /// Whatever a client writes, it does not change what the proxy adds behind it.
    #[test]
    fn a_client_cannot_say_where_it_is(claim in "[ -~]{0,60}", other in "[ -~]{0,20}") {
        let behind = format!("{claim}, 1.2.3.4");
        prop_assert_eq!(x_forwarded(PROXY, &[&other, &behind]), "1.2.3.4:0");
        prop_assert_eq!(x_forwarded(PROXY, &[&claim, "1.2.3.4"]), "1.2.3.4:0");
        let behind = format!("{claim}, for=1.2.3.4");
        prop_assert_eq!(forwarded(&[&behind]), "1.2.3.4:0");
    }
}
