//! `demo`: builds the node, starts a cluster of them on this machine, and keeps it until told to stop.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cluster;
use crate::failure::{Explain, Outcome, fail};
use crate::flags::DemoFlags;
use crate::node::{Node, NodeFlags};
use crate::npm;
use crate::progress::{Steps, say};
use crate::signals::StopRequests;
use crate::workspace::{Profile, Workspace};

/// A node's cluster port is this far above its HTTP port.
pub(crate) const QUIC_ABOVE_HTTP: u16 = 1000;
/// The highest first port: all others of a demo, the nodes' cluster ports included, lie above it.
pub(crate) const MAX_BASE_PORT: u16 = 64_000;
/// The official client's browser files, below the folder in which its package is installed.
pub(crate) const BROWSER_FILES: &str = "node_modules/phoenix/priv/static";
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(crate) fn run(flags: &DemoFlags) -> Outcome {
    let stop = StopRequests::listen()?;
    let plan = Plan::new(flags);
    plan.check_ports()?;
    npm::check()?;
    let workspace = Workspace::find()?;
    let mut steps = Steps::new(4);

    build(&workspace, plan.profile, &mut steps, &stop)?;
    let assets = install_page_packages(&workspace, &mut steps, &stop)?;

    let mut nodes = Vec::new();
    let ended = start(&workspace, &plan, &assets, &mut steps, &mut nodes)
        .and_then(|()| meet(&mut nodes, &mut steps, &stop))
        .and_then(|()| announce(&nodes))
        .and_then(|()| keep(&mut nodes, &stop));
    say(format_args!("stopping {} nodes", nodes.len()));
    let stopped = cluster::end(&mut nodes, &stop);
    ended.and(stopped)
}

/// What will listen where.
struct Plan {
    nodes: u16,
    base_port: u16,
    profile: Profile,
}

impl Plan {
    fn new(flags: &DemoFlags) -> Self {
        Plan {
            nodes: flags.nodes,
            base_port: flags.base_port,
            profile: if flags.debug {
                Profile::Dev
            } else {
                Profile::Release
            },
        }
    }

    /// HTTP address of node `index`, counted from 0.
    fn http(&self, index: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.base_port + index).into()
    }

    fn quic(&self, index: u16) -> SocketAddr {
        (
            Ipv4Addr::LOCALHOST,
            self.base_port + QUIC_ABOVE_HTTP + index,
        )
            .into()
    }

    fn name(index: u16) -> String {
        format!("n{}", index + 1)
    }

    /// Binds every port for a moment: better to hear of a taken one now than after the build.
    fn check_ports(&self) -> Outcome {
        for index in 0..self.nodes {
            let (http, quic) = (self.http(index), self.quic(index));
            let taken = |port: u16, carrier: &str, error: io::Error| {
                crate::failure::Failure::new(format!(
                    "{carrier} port {port} of node {} cannot be used ({error}): end what holds it, \
                     or take other ports with `cargo xtask demo --base-port {}`",
                    Self::name(index),
                    self.other_base_port(),
                ))
            };
            TcpListener::bind(http).map_err(|error| taken(http.port(), "TCP", error))?;
            UdpSocket::bind(quic).map_err(|error| taken(quic.port(), "UDP", error))?;
        }
        Ok(())
    }

    fn other_base_port(&self) -> u16 {
        if self.base_port < 60_000 {
            self.base_port + 100
        } else {
            4000
        }
    }

    fn node_flags(&self, index: u16, assets: &Path, secret: &str) -> NodeFlags {
        let mut more = vec!["--assets".to_owned(), assets.display().to_string()];
        for other in (0..self.nodes).filter(|other| *other != index) {
            more.push("--page-link".to_owned());
            more.push(format!("{}=http://{}", Self::name(other), self.http(other)));
        }
        NodeFlags {
            name: Self::name(index),
            http: self.http(index),
            quic: Some(self.quic(index)),
            join: if index == 0 {
                vec![]
            } else {
                vec![self.quic(0)]
            },
            more,
            secret: Some(secret.to_owned()),
        }
    }
}

fn build(
    workspace: &Workspace,
    profile: Profile,
    steps: &mut Steps,
    stop: &StopRequests,
) -> Outcome {
    steps.announce(match profile {
        Profile::Release => {
            "building the node in release mode (the first time this takes some minutes)"
        }
        Profile::Dev => "building the node with the dev profile",
    });
    let status = workspace.build_node(profile).start_aside()?.wait(stop)?;
    if !status.success() {
        fail!("the node did not build: cargo's messages are above");
    }
    Ok(())
}

/// Puts the official client next to cargo's output; gives the folder of its browser files.
fn install_page_packages(
    workspace: &Workspace,
    steps: &mut Steps,
    stop: &StopRequests,
) -> Outcome<PathBuf> {
    let folder = workspace.target.join("npm/assets");
    npm::copy_package(&workspace.page_packages(), &folder)?;
    if let Some(install) = npm::install(&folder)? {
        steps.announce("installing the page's client, the npm package phoenix");
        let status = install.start_aside()?.wait(stop)?;
        if !status.success() {
            fail!(
                "`{}` failed in {}: npm's messages are above",
                install.line(),
                folder.display()
            );
        }
        npm::installed(&folder)?;
    } else {
        steps.announce("the page's client, the npm package phoenix, is installed");
    }
    Ok(folder.join(BROWSER_FILES))
}

fn start(
    workspace: &Workspace,
    plan: &Plan,
    assets: &Path,
    steps: &mut Steps,
    nodes: &mut Vec<Node>,
) -> Outcome {
    let logs = workspace.target.join(format!("demo/{}", plan.base_port));
    fs::create_dir_all(&logs).explain(format!("making {}", logs.display()))?;
    let program = workspace.node(plan.profile);
    let secret = cluster::fresh_secret(&program)?;
    steps.announce(format!(
        "starting {} nodes, logs in {}",
        plan.nodes,
        logs.display()
    ));
    for index in 0..plan.nodes {
        let log = logs.join(format!("{}.log", Plan::name(index)));
        nodes.push(Node::start(
            &program,
            &plan.node_flags(index, assets, &secret),
            &log,
        )?);
    }
    Ok(())
}

fn meet(nodes: &mut [Node], steps: &mut Steps, stop: &StopRequests) -> Outcome {
    let mut step = steps.begin("waiting until all nodes see each other");
    cluster::ready(nodes, stop, |left| {
        step.note(format!("{left} not ready yet"))
    })?;
    cluster::met(nodes, stop, |missing| {
        step.note(format!("{missing} sights missing"))
    })?;
    step.end("met");
    Ok(())
}

fn announce(nodes: &[Node]) -> Outcome {
    let addresses: Vec<String> = nodes
        .iter()
        .map(|node| format!("http://{}", node.http))
        .collect();
    let mut output = io::stdout().lock();
    writeln!(output, "demo ready {}", addresses.join(" "))
        .and_then(|()| output.flush())
        .explain("printing the ready line")?;
    say("open two of them in two browser windows; Ctrl-C stops all");
    Ok(())
}

/// Returns on a stop request; a node that ends by itself is a failure.
fn keep(nodes: &mut [Node], stop: &StopRequests) -> Outcome {
    while stop.wait(LOOK_EVERY).is_none() {
        for node in nodes.iter_mut() {
            if let Some(status) = node.ended()? {
                return Err(node.died(status));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(base_port: u16) -> Plan {
        Plan {
            nodes: 3,
            base_port,
            profile: Profile::Dev,
        }
    }

    #[test]
    fn addresses_follow_the_contract() {
        let plan = plan(4000);
        assert_eq!(plan.http(2).to_string(), "127.0.0.1:4002");
        assert_eq!(plan.quic(0).to_string(), "127.0.0.1:5000");
    }

    #[test]
    fn all_join_the_first_and_link_to_the_others() {
        let second = plan(4000).node_flags(1, Path::new("assets"), "secret");
        assert_eq!(second.join, ["127.0.0.1:5000".parse().unwrap()]);
        let links = [
            "--page-link",
            "n1=http://127.0.0.1:4000",
            "--page-link",
            "n3=http://127.0.0.1:4002",
        ];
        assert_eq!(second.more[2..], links);
        assert!(
            !second.more.iter().any(|word| word.contains("secret")),
            "a secret never is an argument"
        );
    }

    #[test]
    fn a_taken_port_is_one_line_with_the_cure() {
        let holder = (0..100)
            .filter_map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok())
            .find(|holder| {
                holder
                    .local_addr()
                    .is_ok_and(|address| address.port() < 60_000)
            })
            .expect("a free port below 60,000");
        let port = holder.local_addr().unwrap().port();
        let line = plan(port).check_ports().unwrap_err().to_string();
        assert!(line.contains(&format!("TCP port {port}")), "{line}");
        assert!(
            line.contains(&format!("--base-port {}", port + 100)),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1);
    }
}
