//! Which origin meets which policy.

use http::HeaderValue;

use super::*;

fn headers(host: Option<&str>, origin: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name, value: Option<&str>| {
        if let Some(value) = value {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
    };
    put(header::HOST, host);
    put(header::ORIGIN, origin);
    headers
}

fn allows(policy: &OriginPolicy, host: &str, origin: &str) -> bool {
    policy.allows(&headers(Some(host), Some(origin)))
}

#[test]
fn default_allows_own_host_and_loopback_hosts_on_any_port() {
    let policy = OriginPolicy::new();
    let rows = [
        ("chat.example:4000", "http://chat.example", true),
        ("chat.example:4000", "https://chat.example:8443", true),
        ("CHAT.example", "https://chat.EXAMPLE", true),
        ("[2001:db8::1]:4000", "http://[2001:db8::1]", true),
        ("chat.example", "http://localhost:3000", true),
        ("chat.example", "http://dev.localhost", true),
        ("chat.example", "https://127.0.0.1", true),
        ("chat.example", "http://127.8.9.1:1", true),
        ("chat.example", "http://[::1]:4001", true),
        ("127.0.0.1:4000", "http://evil.example", false),
        ("chat.example", "http://sub.chat.example", false),
        ("chat.example", "http://chat.example.evil", false),
        ("chat.example", "http://localhost.evil", false),
        ("chat.example", "http://evil-localhost", false),
        ("chat.example", "http://128.0.0.1", false),
        ("chat.example", "http://chat.example@evil", false),
        ("chat.example", "http://evil/chat.example", false),
        ("chat.example", "http://chat.example:port", false),
        ("chat.example", "null", false),
        ("chat.example", "file://", false),
        ("chat.example", "", false),
    ];
    for (host, origin, expected) in rows {
        assert_eq!(
            allows(&policy, host, origin),
            expected,
            "{origin} on {host}"
        );
    }
}

#[test]
fn no_origin_header_is_allowed_and_no_host_matches_nothing() {
    let policy = OriginPolicy::new();
    assert!(policy.allows(&headers(Some("a.example"), None)));
    assert!(policy.allows(&headers(None, None)));
    assert!(!policy.allows(&headers(None, Some("http://a.example"))));
}

#[test]
fn only_the_first_origin_header_counts() {
    let mut both = headers(Some("a.example"), Some("http://a.example"));
    both.append(
        header::ORIGIN,
        HeaderValue::from_static("http://evil.example"),
    );
    assert!(OriginPolicy::new().allows(&both));
    let mut both = headers(Some("a.example"), Some("http://evil.example"));
    both.append(header::ORIGIN, HeaderValue::from_static("http://a.example"));
    assert!(!OriginPolicy::new().allows(&both));
}

#[test]
fn an_origin_that_is_no_text_is_refused() {
    let mut headers = headers(Some("a.example"), None);
    headers.insert(
        header::ORIGIN,
        HeaderValue::from_bytes(b"http://\xff").unwrap(),
    );
    assert!(!OriginPolicy::new().allows(&headers));
}

#[test]
fn listed_origins() {
    let rows = [
        ("//example.com", "http://example.com/", true),
        ("//example.com", "https://example.com/", true),
        ("//ex.com", "http://org1.ex.com", false),
        ("http://scheme.com", "http://scheme.com/", true),
        ("http://scheme.com", "https://scheme.com/", false),
        ("http://scheme.com", "http://scheme.com:8080/", false),
        ("//port.com:81", "http://port.com:81/", true),
        ("//port.com:81", "http://port.com:82/", false),
        ("example.com", "https://example.com:9", true),
        ("https://*.ex.com", "https://ex.com", true),
        ("https://*.ex.com", "https://a.b.ex.com", true),
        ("https://*.ex.com", "http://a.ex.com", false),
        ("http://*.foo.example.com", "http://bad.example.com", false),
        (
            "http://*.foo.example.com",
            "http://org1.prefix-foo.example.com",
            false,
        ),
    ];
    for (entry, origin, expected) in rows {
        let policy = OriginPolicy::new().allow(entry).unwrap();
        assert_eq!(
            allows(&policy, "own.example", origin),
            expected,
            "{origin} against {entry}"
        );
    }
}

#[test]
fn a_star_allows_everything() {
    for policy in [OriginPolicy::any(), OriginPolicy::new().allow("*").unwrap()] {
        for origin in ["http://evil.example", "null", "file://", ""] {
            assert!(allows(&policy, "own.example", origin), "{origin}");
        }
    }
}

#[test]
fn an_entry_without_a_host_is_an_error() {
    for entry in [
        "",
        "//",
        "http://",
        "http://:80",
        "http//example.com",
        "http://a.example:x",
    ] {
        assert_eq!(
            OriginPolicy::new().allow(entry),
            Err(InvalidOrigin(entry.to_owned()))
        );
    }
}

/// A page of a name that its owner has lead to this machine.
#[test]
fn a_rebound_name_passes_unless_the_server_knows_its_own() {
    let (host, origin) = ("evil.example:4000", "http://evil.example:4000");
    assert!(allows(&OriginPolicy::new(), host, origin), "as documented");
    let policy = OriginPolicy::new().served_as("chat.example").unwrap();
    let policy = policy.served_as("192.168.1.5").unwrap();
    let policy = policy.served_as("::1").unwrap();
    let policy = policy.allow("https://friend.example").unwrap();
    let rows = [
        (host, origin, false),
        ("chat.example", "https://chat.example", true),
        ("evil.example", "http://CHAT.example:8080", true),
        ("192.168.1.5:4000", "http://192.168.1.5:4000", true),
        ("[::1]:4000", "http://[::1]:4000", true),
        ("127.0.0.1:4000", "http://127.0.0.1:4000", false),
        ("chat.example", "http://localhost:3000", false),
        ("chat.example", "https://friend.example", true),
    ];
    for (host, origin, expected) in rows {
        assert_eq!(
            allows(&policy, host, origin),
            expected,
            "{origin} on {host}"
        );
    }
}

#[test]
fn what_is_no_host_is_no_name_of_a_server() {
    for wrong in [
        "",
        "http://chat.example",
        "chat.example:80",
        "*.example",
        "a b",
        "x/y",
    ] {
        assert!(OriginPolicy::new().served_as(wrong).is_err(), "{wrong}");
    }
}
