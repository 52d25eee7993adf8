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
fn the_host_of_a_requests_uri_counts_instead_of_its_header() {
    let at: uri::Authority = "chat.example:4000".parse().unwrap();
    let same = OriginPolicy::same_origin_over(Scheme::HTTPS);
    for (policy, origin, expected) in [
        (OriginPolicy::new(), "https://chat.example", true),
        (OriginPolicy::new(), "https://other.example", false),
        (same.clone(), "https://chat.example:4000", true),
        (same, "https://chat.example", false),
    ] {
        for host in [None, Some("other.example")] {
            let headers = headers(host, Some(origin));
            let allowed = policy.allows_at(Some(&at), &Scheme::HTTPS, &headers);
            assert_eq!(allowed, expected, "{origin} where the header is {host:?}");
        }
        let headers = headers(Some(at.as_str()), Some(origin));
        assert_eq!(policy.allows_at(None, &Scheme::HTTPS, &headers), expected);
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
        "http://*",
        "//*:5173",
        "*:5173",
        "https://chat.*",
        "//*.*.example",
        "//*.",
    ] {
        assert_eq!(
            OriginPolicy::new().allow(entry),
            Err(InvalidOrigin(entry.to_owned()))
        );
    }
}

/// Neither the host that is asked nor loopback is allowed by itself.
#[test]
fn a_list_may_be_exclusive() {
    let policy = OriginPolicy::only(["https://friend.example", "//*.ex.com:81"]).unwrap();
    let rows = [
        ("https://friend.example", true),
        ("https://friend.example:443", true),
        ("http://friend.example", false),
        ("http://a.ex.com:81", true),
        ("http://a.ex.com", false),
        ("http://own.example", false),
        ("http://localhost:4000", false),
        ("http://127.0.0.1", false),
        ("null", false),
        ("file://", false),
        ("", false),
    ];
    for (origin, expected) in rows {
        assert_eq!(allows(&policy, "own.example", origin), expected, "{origin}");
    }
    assert!(policy.allows(&headers(Some("own.example"), None)));
    assert!(!allows(
        &OriginPolicy::only([]).unwrap(),
        "own.example",
        "http://own.example"
    ));
    let named = policy.served_as("own.example").unwrap();
    assert!(allows(&named, "own.example", "http://own.example"));
    assert!(allows(&named, "own.example", "https://friend.example"));
    assert!(!allows(&named, "own.example", "http://localhost:4000"));
    assert_eq!(
        OriginPolicy::only(["https://friend.example", "//"]),
        Err(InvalidOrigin("//".to_owned()))
    );
}

#[test]
fn the_same_origin_is_the_same_scheme_host_and_port() {
    let rows = [
        ("example.com:80", "http://example.com", true),
        ("example.com", "http://EXAMPLE.com:80/", true),
        ("example.com:4000", "http://example.com:4000", true),
        ("[::1]:4000", "http://[::1]:4000", true),
        ("example.com:80", "https://example.com", false),
        ("example.com:80", "https://example.com:80", false),
        ("example.com:80", "ws://example.com", false),
        ("example.com:80", "http://www.example.com", false),
        ("example.com:80", "http://example.com:81", false),
        ("example.com:4000", "http://example.com", false),
        ("example.com:80", "http://localhost", false),
        ("example.com:80", "null", false),
        ("example.com:80", "file://", false),
        ("example.com:80", "", false),
    ];
    let policy = OriginPolicy::same_origin();
    for (host, origin, expected) in rows {
        assert_eq!(
            allows(&policy, host, origin),
            expected,
            "{origin} on {host}"
        );
    }
    assert!(policy.allows(&headers(Some("example.com"), None)));
    assert!(!policy.allows(&headers(None, Some("http://example.com"))));
}

#[test]
fn the_scheme_of_the_same_origin_is_the_requests_unless_it_is_named() {
    let asks = |origin| headers(Some("example.com"), Some(origin));
    let (plain, tls) = (asks("http://example.com"), asks("https://example.com"));
    let policy = OriginPolicy::same_origin();
    assert!(policy.allows_over(&Scheme::HTTPS, &tls));
    assert!(!policy.allows_over(&Scheme::HTTPS, &plain));
    let policy = OriginPolicy::same_origin_over(Scheme::HTTPS);
    assert!(policy.allows(&tls));
    assert!(!policy.allows(&plain));
    let policy = policy.allow("http://friend.example").unwrap();
    assert!(policy.allows(&asks("http://friend.example")));
}

#[test]
fn a_function_sees_every_origin_that_is_text() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noting = Arc::clone(&seen);
    let policy = OriginPolicy::by(move |origin| {
        let parts = (
            origin.scheme().map(str::to_owned),
            origin.host().map(str::to_owned),
            origin.port(),
        );
        noting.lock().unwrap().push(parts);
        origin.as_str() == "null" || origin.host() == Some("good.example")
    });
    let rows = [
        ("https://GOOD.example", true),
        ("http://own.example:81", false),
        ("http://localhost", false),
        ("null", true),
        ("", false),
    ];
    for (origin, expected) in rows {
        assert_eq!(allows(&policy, "own.example", origin), expected, "{origin}");
    }
    let part = |part: &str| Some(part.to_owned());
    assert_eq!(
        *seen.lock().unwrap(),
        [
            (part("https"), part("good.example"), Some(443)),
            (part("http"), part("own.example"), Some(81)),
            (part("http"), part("localhost"), Some(80)),
            (None, None, None),
            (None, None, None),
        ]
    );
    assert!(policy.allows(&headers(Some("own.example"), None)));
    assert_eq!(seen.lock().unwrap().len(), 5, "no origin, no question");
    let listed = policy.allow("http://friend.example").unwrap();
    assert!(allows(&listed, "own.example", "http://friend.example"));
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
