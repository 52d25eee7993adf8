//! What the program says about its flags, and how it refuses to start.

use std::net::{TcpListener, UdpSocket};
use std::process::Output;

use crate::process::{Folder, Node, SECRET, run};

/// A refusal: this exit status, nothing on standard output, one line with all these parts.
#[track_caller]
fn refused(output: &Output, status: i32, parts: &[&str]) {
    let line = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{line}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(line.lines().count(), 1, "{line}");
    for part in parts {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
}

#[tokio::test]
async fn help_lists_every_flag_with_its_default() {
    let output = run(&["--help"], &[]).await;
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    for part in [
        "--name <NAME>",
        "[default: n1]",
        "--http <ADDR>",
        "[default: 127.0.0.1:4000]",
        "--quic <ADDR>",
        "--advertise <ADDR>",
        "--join <ADDR>",
        "--cluster <NAME>",
        "[default: matryoshka]",
        "--cluster-secret-file <FILE>",
        "MATRYOSHKA_CLUSTER_SECRET,",
        "--tls-ca <FILE>",
        "--tls-cert <FILE>",
        "--tls-key <FILE>",
        "[env: MATRYOSHKA_TLS_KEY=]",
        "--interest <on|off>",
        "[default: on]",
        "--link-protocol <N>",
        "[default: 2]",
        "--allow-origin <ORIGIN>",
        "--only-origin <ORIGIN>",
        "--same-origin <on|off|http|https>",
        "[default: off]",
        "--host <HOST>",
        "--trusted-proxy <CIDR>",
        "--inbound-rate <N>",
        "[default: 0]",
        "--max-sockets <N>",
        "[default: 100000]",
        "--max-user-sockets <N>",
        "--max-address-sockets <N>",
        "--max-heads <N>",
        "[default: 10000]",
        "--max-address-heads <N>",
        "--drain-rate <N>",
        "[default: 1000]",
        "--drain-limit <SECONDS>",
        "--restart-grace <SECONDS>",
        "[default: 30]",
        "--presence-events <STATE,DIFF>",
        "[default: presence_state,presence_diff]",
        "--presence-topics <PATTERN=MODE[/SECONDS]>",
        "--assets <DIR>",
        "--page-link <NAME=URL>",
        "--exit-with-stdin",
        "--log <FILTER>",
        "[default: info]",
        "[env: MATRYOSHKA_LOG=]",
        "secret",
    ] {
        assert!(help.contains(part), "no {part:?} in {help}");
    }
}

#[tokio::test]
async fn secret_prints_a_fresh_secret_each_time() {
    let first = run(&["secret"], &[]).await;
    let second = run(&["secret"], &[]).await;
    let text = String::from_utf8(first.stdout.clone()).unwrap();
    assert!(first.status.success());
    assert_eq!(text.trim_end().len(), 64);
    assert!(
        text.trim_end().bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{text}"
    );
    assert_ne!(first.stdout, second.stdout);
}

#[tokio::test]
async fn a_printed_secret_is_one_that_a_node_takes() {
    let folder = Folder::new("printed-secret");
    let secret = String::from_utf8(run(&["secret"], &[]).await.stdout).unwrap();
    let file = folder.write("secret", &secret);
    let node = Node::start(&["--quic", "127.0.0.1:0", "--cluster-secret-file", &file]).await;
    assert!(node.quic.is_some());
}

#[tokio::test]
async fn a_wrong_value_is_one_line_that_names_flag_value_and_what_is_allowed() {
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["--name", "N 1"],
            &["--name", "\"N 1\"", "1 to 64 characters"],
        ),
        (
            &["--http", "4000"],
            &["--http", "\"4000\"", "127.0.0.1:4000"],
        ),
        (&["--http"], &["--http <ADDR>", "needs a value"]),
        (
            &["--quic", "here"],
            &["--quic", "\"here\"", "an IP address and a port"],
        ),
        (
            &["--quic", "127.0.0.1:0", "--advertise", "0.0.0.0:5000"],
            &["--advertise", "\"0.0.0.0:5000\"", "never a wildcard"],
        ),
        (
            &["--quic", "127.0.0.1:0", "--join", "nowhere"],
            &["--join", "\"nowhere\"", "with a port"],
        ),
        (
            &["--join", "127.0.0.1:5000"],
            &["--join 127.0.0.1:5000", "--quic"],
        ),
        (&["--cluster", ""], &["--cluster", "\"\"", "1 to 64"]),
        (
            &["--allow-origin", "http://"],
            &["--allow-origin", "\"http://\"", "scheme://host:port"],
        ),
        (
            &["--only-origin", "*"],
            &["--only-origin", "\"*\"", "--allow-origin *"],
        ),
        (
            &["--only-origin", "//a.example", "--allow-origin", "*"],
            &["--only-origin //a.example", "together with --allow-origin"],
        ),
        (
            &["--same-origin", "yes"],
            &["--same-origin", "\"yes\"", "on, off, http or https"],
        ),
        (
            &["--host", "http://chat.example"],
            &["--host", "\"http://chat.example\"", "chat.example.com"],
        ),
        (
            &["--trusted-proxy", "10.0.0.0/33"],
            &["--trusted-proxy", "\"10.0.0.0/33\"", "10.0.0.0/8"],
        ),
        (
            &["--assets", "/nonexistent"],
            &[
                "--assets \"/nonexistent\"",
                "phoenix.mjs",
                "cargo xtask demo",
            ],
        ),
        (
            &["--page-link", "n2"],
            &["--page-link", "\"n2\"", "n2=http://127.0.0.1:4001"],
        ),
        (&["--log", "info=="], &["--log", "\"info==\"", "trace"]),
        (&["--exit-with-stdin=maybe"], &["--exit-with-stdin"]),
        (
            &["--drain-rate", "0"],
            &["--drain-rate", "\"0\"", "at least 1"],
        ),
        (
            &["--tls-ca", "x"],
            &["--tls-ca \"x\"", "without --tls-cert and --tls-key"],
        ),
        (
            &["--interest", "yes"],
            &["--interest", "\"yes\"", "on or off"],
        ),
        (
            &["--link-protocol", "9"],
            &["--link-protocol", "\"9\"", "1 to 2"],
        ),
        (
            &["--presence-events", "people"],
            &["--presence-events", "\"people\"", "people,moves"],
        ),
        (
            &["--presence-topics", "room:*=many"],
            &["--presence-topics", "\"room:*=many\"", "hall:*=window:20"],
        ),
        (&["serve"], &["serve", "not known", "--help"]),
    ];
    for (arguments, parts) in cases {
        refused(&run(arguments, &[]).await, 2, parts);
    }
}

#[tokio::test]
async fn a_wrong_variable_is_named_beside_its_flag() {
    let output = run(&[], &[("MATRYOSHKA_HTTP", "nonsense")]).await;
    refused(&output, 2, &["--http", "MATRYOSHKA_HTTP", "\"nonsense\""]);
    let output = run(&[], &[("RUST_LOG", "a==b")]).await;
    refused(&output, 2, &["RUST_LOG", "\"a==b\""]);
    let output = run(&[], &[("MATRYOSHKA_EXIT_WITH_STDIN", "perhaps")]).await;
    refused(
        &output,
        2,
        &["--exit-with-stdin", "MATRYOSHKA_EXIT_WITH_STDIN"],
    );
}

#[tokio::test]
async fn a_cluster_without_a_proper_secret_does_not_start() {
    let quic = ["--http", "127.0.0.1:0", "--quic", "127.0.0.1:0"];
    let missing = run(&quic, &[]).await;
    refused(
        &missing,
        1,
        &[
            "--quic",
            "matryoshka-node secret",
            "--cluster-secret-file",
            "MATRYOSHKA_CLUSTER_SECRET",
        ],
    );

    let short = run(&quic, &[("MATRYOSHKA_CLUSTER_SECRET", "c0ffee")]).await;
    refused(
        &short,
        2,
        &["MATRYOSHKA_CLUSTER_SECRET", "32", "matryoshka-node secret"],
    );
    assert!(!String::from_utf8_lossy(&short.stderr).contains("c0ffee"));

    let folder = Folder::new("short-secret");
    let file = folder.write("secret", "c0ffee\n");
    let short = run(
        &[&quic[..], &["--cluster-secret-file", &file]].concat(),
        &[],
    )
    .await;
    refused(&short, 2, &["--cluster-secret-file", &file, "32"]);

    let unreadable = format!("{}/none", folder.path());
    let output = run(
        &[&quic[..], &["--cluster-secret-file", &unreadable]].concat(),
        &[("MATRYOSHKA_CLUSTER_SECRET", SECRET)],
    )
    .await;
    refused(
        &output,
        2,
        &["--cluster-secret-file", &unreadable, "one secret a line"],
    );
}

#[tokio::test]
async fn a_taken_port_is_one_line_with_the_cure() {
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = http.local_addr().unwrap().to_string();
    let output = run(&["--http", &address], &[]).await;
    refused(&output, 1, &["--http", &address, "taken", "another port"]);

    let quic = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = quic.local_addr().unwrap().to_string();
    let output = run(
        &["--http", "127.0.0.1:0", "--quic", &address],
        &[("MATRYOSHKA_CLUSTER_SECRET", SECRET)],
    )
    .await;
    refused(&output, 1, &["--quic", &address, "taken", "another port"]);
}

#[tokio::test]
async fn variables_do_what_flags_do_and_flags_win() {
    let output = run(
        &["--http", "nonsense"],
        &[("MATRYOSHKA_HTTP", "127.0.0.1:0")],
    )
    .await;
    refused(&output, 2, &["--http \"nonsense\""]);
    // An empty variable is no value at all.
    let output = run(&["--join", "127.0.0.1:1"], &[("MATRYOSHKA_QUIC", "")]).await;
    refused(&output, 2, &["without --quic"]);
}

#[tokio::test]
async fn standard_output_gets_the_ready_line_and_nothing_else() {
    let mut node = Node::start(&["--name", "solo", "--log", "debug"]).await;
    assert_eq!(node.name, "solo");
    assert_eq!(node.quic, None);
    node.signal("TERM");
    assert_eq!(node.exited().await.code(), Some(0));
    let ready = format!("ready name=solo http={} quic=none", node.http);
    assert_eq!(node.whole_output().await, [ready]);
}
