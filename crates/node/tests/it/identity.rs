//! Who is let into a cluster, and how that changes while its nodes run.

use serde_json::json;

use crate::ca::{Ca, Papers, dns};
use crate::cluster::state_becomes;
use crate::process::{Folder, Node, run};
use crate::request::get;

/// Three nodes whose identity comes from files in one folder.
struct Trio {
    folder: Folder,
    nodes: Vec<Node>,
}

const NAMES: [&str; 3] = ["n1", "n2", "n3"];

impl Trio {
    /// `flags` are those of the identity, for a node's name.
    async fn start(folder: Folder, flags: impl Fn(&Folder, &str) -> Vec<String>) -> Self {
        let mut nodes: Vec<Node> = Vec::new();
        for name in NAMES {
            let flags = flags(&folder, name);
            nodes.push(member(name, &flags, &nodes).await);
        }
        let trio = Self { folder, nodes };
        for (node, name) in trio.nodes.iter().zip(NAMES) {
            for other in NAMES.into_iter().filter(|other| *other != name) {
                state_becomes(node, other, "up").await;
            }
        }
        trio
    }

    /// Each node reads again, and says so in a line with all these parts.
    async fn hang_up(&mut self, parts: &[&str]) {
        for node in &mut self.nodes {
            node.signal("HUP");
            let line = node.logged(parts[0]).await;
            for part in parts {
                assert!(line.contains(part), "no {part:?} in {line}");
            }
        }
    }

    /// A node with this identity is up at all three, and goes again.
    async fn take_in(&self, guest: &str, flags: &[String]) {
        let mut node = member(guest, flags, &self.nodes).await;
        for member in &self.nodes {
            state_becomes(member, guest, "up").await;
        }
        node.signal("TERM");
        assert_eq!(node.exited().await.code(), Some(0));
    }

    /// A node with this identity is told why it stays alone.
    async fn turn_away(&mut self, guest: &str, flags: &[String], words: &str) {
        let mut node = member(guest, flags, &self.nodes).await;
        node.logged(words).await;
        self.nodes[0].logged(words).await;
        let cluster = get(node.http, "/api/cluster").await.json();
        assert_eq!(cluster["peers"], json!([]));
    }

    /// No link between the three ever broke, and no line of theirs has one of these secrets.
    fn were_never_apart(&self, secrets: &[&str]) {
        for node in &self.nodes {
            for line in node.log() {
                for name in NAMES {
                    assert!(!line.contains(&format!(" {name} is down")), "{line}");
                }
                for secret in secrets {
                    assert!(!line.contains(&secret[..12]), "a secret in {line}");
                }
            }
        }
    }
}

/// A node of a cluster, which joins at all of `others`.
async fn member(name: &str, flags: &[String], others: &[Node]) -> Node {
    let mut all = vec!["--name", name, "--quic", "127.0.0.1:0"];
    let joins: Vec<String> = others
        .iter()
        .map(|node| node.quic.unwrap().to_string())
        .collect();
    for join in &joins {
        all.extend(["--join", join]);
    }
    all.extend(flags.iter().map(String::as_str));
    Node::start(&all).await
}

fn secret_file(path: &str) -> Vec<String> {
    vec!["--cluster-secret-file".to_owned(), path.to_owned()]
}

/// Writes the papers of the node called `name` and gives their flags.
fn pki_files(folder: &Folder, name: &str, papers: &Papers) -> Vec<String> {
    let file = |kind: &str, text: &str| folder.write(&format!("{name}.{kind}"), text);
    vec![
        "--tls-ca".to_owned(),
        file("ca", &papers.ca),
        "--tls-cert".to_owned(),
        file("cert", &papers.certificate),
        "--tls-key".to_owned(),
        file("key", &papers.key),
    ]
}

#[cfg(unix)]
#[tokio::test]
async fn a_secret_is_replaced_by_three_hangups_while_all_links_stay() {
    let folder = Folder::new("rotation");
    let (old, new) = ("0d".repeat(32), "1e".repeat(40));
    let path = folder.write("secret", &old);
    let mut trio = Trio::start(folder, |_, _| secret_file(&path)).await;
    let alone = |trio: &Trio, secret: &str| secret_file(&trio.folder.write(&secret[..2], secret));

    // Accepted everywhere, issued with nowhere yet.
    trio.folder.write("secret", &format!("{old}\n{new}\n"));
    trio.hang_up(&[
        "now 2 secrets accepted",
        "before 1 secret",
        "SHA-256",
        &path,
    ])
    .await;
    trio.take_in("old-1", &alone(&trio, &old)).await;
    // Issued with everywhere.
    trio.folder.write("secret", &format!("{new}\n{old}\n"));
    trio.hang_up(&["before 2 secrets", "now 2 secrets", &path])
        .await;
    trio.take_in("new-2", &alone(&trio, &new)).await;
    // The old one is gone everywhere.
    trio.folder.write("secret", &new);
    trio.hang_up(&["now 1 secret accepted", "before 2 secrets", &path])
        .await;
    trio.take_in("new-3", &alone(&trio, &new)).await;
    let late = alone(&trio, &old);
    trio.turn_away("late", &late, "different cluster secrets")
        .await;

    // Nothing new; and a file that is no secret any more.
    trio.hang_up(&["says what it said before", "1 secret accepted"])
        .await;
    trio.folder
        .write("secret", &format!("{new}\n{}", &old[..20]));
    trio.hang_up(&["goes on with what it had", "--cluster-secret-file", "32"])
        .await;
    trio.take_in("new-4", &alone(&trio, &new)).await;
    trio.were_never_apart(&[&old, &new]);
}

#[cfg(unix)]
#[tokio::test]
async fn certificates_are_replaced_by_hangups_while_all_links_stay() {
    let (old, new) = (Ca::new("old").beneath("between", &[]), Ca::new("new"));
    let both = old.roots.clone() + &new.roots;
    let papers = |ca: &Ca, name: &str, bundle: &str| Papers {
        ca: bundle.to_owned(),
        ..ca.papers_with(name, |params| params.subject_alt_names = vec![dns(name)])
    };
    let folder = Folder::new("certificates");
    let mut trio = Trio::start(folder, |folder, name| {
        pki_files(folder, name, &papers(&old, name, &old.roots))
    })
    .await;
    let put = |trio: &Trio, ca: &Ca, bundle: &str| {
        for name in NAMES {
            pki_files(&trio.folder, name, &papers(ca, name, bundle));
        }
    };
    put(&trio, &old, &both);
    trio.hang_up(&["now 2 authorities", "before 1 authority", "--tls-cert"])
        .await;
    put(&trio, &new, &both);
    trio.hang_up(&["before 2 authorities", "now 2 authorities"])
        .await;
    let guest = pki_files(&trio.folder, "g1", &papers(&new, "g1", &both));
    trio.take_in("g1", &guest).await;
    put(&trio, &new, &new.roots);
    trio.hang_up(&["now 1 authority", "before 2 authorities"])
        .await;
    let guest = pki_files(&trio.folder, "g2", &papers(&new, "g2", &new.roots));
    trio.take_in("g2", &guest).await;
    let late = pki_files(&trio.folder, "late", &papers(&old, "late", &both));
    trio.turn_away("late", &late, "CA bundle").await;
    // A certificate for somebody else is not taken.
    for name in NAMES {
        pki_files(&trio.folder, name, &papers(&new, "else", &new.roots));
    }
    trio.hang_up(&["goes on with what it had", "--tls-cert", "is for \"else\""])
        .await;
    trio.were_never_apart(&[]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_hangup_without_files_to_read_is_told_and_survived() {
    let mut alone = Node::start(&[]).await;
    alone.signal("HUP");
    alone.logged("this node stands alone").await;
    let mut member = Node::start_member("n1", &[]).await;
    member.signal("HUP");
    let line = member.logged("SIGHUP changes nothing").await;
    assert!(line.contains("--cluster-secret-file"), "{line}");
    for mut node in [alone, member] {
        node.signal("TERM");
        assert_eq!(node.exited().await.code(), Some(0));
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_refused_by_the_flag() {
    let folder = Folder::new("bad-certificates");
    let ca = Ca::new("ours");
    let papers = ca.papers("n1");
    let good = pki_files(&folder, "n1", &papers);
    let file = |kind: &str| folder.write(&format!("odd.{kind}"), "hello");
    let with = |at: usize, value: String| {
        let mut flags = good.clone();
        flags[at] = value;
        flags
    };
    let another = pki_files(&folder, "n2", &ca.papers("n2"));
    let secret = folder.write("secret", &"ab".repeat(32));
    for (flags, parts) in [
        (
            with(1, file("ca")),
            &["--tls-ca", "odd.ca", "CA bundle"][..],
        ),
        (with(3, file("cert")), &["--tls-cert", "odd.cert", "kind"]),
        (with(5, file("key")), &["--tls-key", "odd.key", "kind"]),
        (with(5, "/none".to_owned()), &["--tls-key", "/none", "read"]),
        (with(5, another[5].clone()), &["--tls-key", "does not fit"]),
        (
            another,
            &[
                "--tls-cert",
                "is for \"n2\"",
                "called \"n1\"",
                "matryoshka:node/n1",
            ],
        ),
        (
            good[..4].to_vec(),
            &["--tls-ca", "without --tls-key", "all three"],
        ),
        (
            [good.clone(), secret_file(&secret)].concat(),
            &["--tls-ca", "together with --cluster-secret-file"],
        ),
    ] {
        let mut all = vec!["--http", "127.0.0.1:0", "--quic", "127.0.0.1:0"];
        all.extend(flags.iter().map(String::as_str));
        refused(&run(&all, &[]).await, parts);
    }
    let mut all = vec!["--http", "127.0.0.1:0", "--quic", "127.0.0.1:0"];
    all.extend(good.iter().map(String::as_str));
    let variable = ("MATRYOSHKA_CLUSTER_SECRET", "ab".repeat(32));
    let both = run(&all, &[(variable.0, &variable.1)]).await;
    refused(&both, &["--tls-ca", "MATRYOSHKA_CLUSTER_SECRET"]);
}

#[track_caller]
fn refused(output: &std::process::Output, parts: &[&str]) {
    let line = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    for part in parts {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
}
