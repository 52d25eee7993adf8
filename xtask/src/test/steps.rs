//! The steps of `test`: what each is, needs and runs.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::ValueEnum;

use crate::child::Program;
use crate::chromium;
use crate::demo::BROWSER_FILES;
use crate::failure::{Explain, Failure, Outcome, fail};
use crate::npm;
use crate::progress::Step;
use crate::python;
use crate::test::Context;
use crate::test::output::StepOutput;
use crate::workspace::Profile;

/// How often a scenario repeats its fault here; by hand it does so ten times.
const ROUNDS: &str = "3";
/// Suites that drive nodes with the official client or with raw frames.
const CLIENT_SUITES: [&str; 9] = [
    "official-lab.test.mjs",
    "official-room.test.mjs",
    "official-presence.test.mjs",
    "official-presence-histories.test.mjs",
    "official-reconnect.test.mjs",
    "official-fallback.test.mjs",
    "wire.test.mjs",
    "frames.test.mjs",
    "http.test.mjs",
];
/// Suites in headless Chromium.
const BROWSER_SUITES: [&str; 2] = ["browser.test.mjs", "browser-presence.test.mjs"];

/// One step of `test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StepName {
    Packages,
    Chromium,
    Format,
    Tidy,
    Lints,
    Alone,
    Together,
    Doctests,
    Docs,
    Node,
    Integration,
    Clients,
    Python,
    RustClient,
    Browser,
}

impl StepName {
    pub(crate) const ALL: [StepName; 15] = [
        StepName::Packages,
        StepName::Chromium,
        StepName::Format,
        StepName::Tidy,
        StepName::Lints,
        StepName::Alone,
        StepName::Together,
        StepName::Doctests,
        StepName::Docs,
        StepName::Node,
        StepName::Integration,
        StepName::Clients,
        StepName::Python,
        StepName::RustClient,
        StepName::Browser,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            StepName::Packages => "packages",
            StepName::Chromium => "chromium",
            StepName::Format => "format",
            StepName::Tidy => "tidy",
            StepName::Lints => "lints",
            StepName::Alone => "alone",
            StepName::Together => "together",
            StepName::Doctests => "doctests",
            StepName::Docs => "docs",
            StepName::Node => "node",
            StepName::Integration => "integration",
            StepName::Clients => "clients",
            StepName::Python => "python",
            StepName::RustClient => "rust-client",
            StepName::Browser => "browser",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            StepName::Packages => "npm packages of the page and the suites",
            StepName::Chromium => "a Chromium for the browser suite",
            StepName::Format => "formatting",
            StepName::Tidy => "the rules of the house",
            StepName::Lints => "clippy with warnings denied",
            StepName::Alone => "each package by itself, with the features that it asks for",
            StepName::Together => "tests of all packages together, all features",
            StepName::Doctests => "examples in the docs",
            StepName::Docs => "docs without warnings",
            StepName::Node => "the node, for the steps that follow",
            StepName::Integration => "scenarios with real nodes over QUIC",
            StepName::Clients => "the official client against three nodes",
            StepName::Python => "two Python clients against a node",
            StepName::RustClient => "a Rust client of other people's against a node",
            StepName::Browser => "the chat page and presence in a browser, over both carriers",
        }
    }

    pub(super) fn needs(self) -> &'static [StepName] {
        match self {
            StepName::Integration | StepName::Python | StepName::RustClient => &[StepName::Node],
            StepName::Clients => &[StepName::Packages, StepName::Node],
            StepName::Browser => &[StepName::Packages, StepName::Chromium, StepName::Node],
            _ => &[],
        }
    }

    pub(super) fn run(
        self,
        context: &Context,
        output: &mut StepOutput,
        step: &mut Step,
    ) -> Outcome {
        match self {
            StepName::Packages => return packages(context, output, step),
            StepName::Python => python_clients(context, output, step)?,
            _ => {}
        }
        for program in self.programs(context)? {
            output.run(context, &program, step)?;
        }
        match self {
            StepName::Chromium if chromium::find().is_none() => Err(no_chromium()),
            _ => Ok(()),
        }
    }

    fn programs(self, context: &Context) -> Outcome<Vec<Program>> {
        let cargo = || context.workspace.cargo();
        let all = ["--workspace", "--all-features"];
        Ok(match self {
            StepName::Packages => vec![],
            StepName::Chromium => install_chromium(context)?,
            StepName::Format => vec![cargo().args(["fmt", "--all", "--check"])],
            StepName::Tidy => vec![xtask(context)?.arg("tidy")],
            StepName::Lints => {
                let clippy = cargo().arg("clippy").args(all).arg("--all-targets");
                vec![clippy.args(["--", "-D", "warnings"])]
            }
            StepName::Alone => alone(context),
            StepName::Together => vec![test_runner(context).args(all)],
            StepName::Doctests => vec![cargo().args(["test", "--doc"]).args(all)],
            StepName::Docs => {
                let doc = cargo().args(["doc", "--no-deps"]).args(all);
                vec![doc.env("RUSTDOCFLAGS", "-D warnings")]
            }
            StepName::Node => vec![context.workspace.build_node(Profile::Dev)],
            StepName::Integration => {
                vec![xtask(context)?.args(["integration", "--rounds", ROUNDS])]
            }
            StepName::Clients => vec![
                context.workspace.build_histories(),
                suites(context, &CLIENT_SUITES)
                    .env("MATRYOSHKA_HISTORIES", context.workspace.histories()),
            ],
            StepName::Python => vec![python_suites(context)],
            StepName::RustClient => vec![rust_client(context)],
            StepName::Browser => vec![browser_suites(context)?],
        })
    }
}

fn packages(context: &Context, output: &mut StepOutput, step: &mut Step) -> Outcome {
    npm::check()?;
    let page = page_packages(context);
    npm::copy_package(&context.workspace.page_packages(), &page)?;
    for folder in [page, context.workspace.clients()] {
        if let Some(install) = npm::install(&folder)? {
            output.run(context, &install, step)?;
            npm::installed(&folder)?;
        }
    }
    Ok(())
}

fn python(context: &Context) -> python::Environment {
    python::Environment::new(
        &context.workspace.target,
        &context.workspace.python_clients(),
    )
}

fn python_clients(context: &Context, output: &mut StepOutput, step: &mut Step) -> Outcome {
    let environment = python(context);
    let install = environment.install()?;
    if install.is_empty() {
        return Ok(());
    }
    for program in install {
        let done = output.run(context, &program, step);
        done.map_err(|failure| failure.followed_by(python::NEEDS_THE_NETWORK))?;
    }
    environment.installed()
}

fn python_suites(context: &Context) -> Program {
    let node = context.workspace.node(Profile::Dev);
    let suites = python(context).python().args(["-m", "unittest", "-v"]);
    suites.env("MATRYOSHKA_NODE", node)
}

/// A workspace of its own, which says why; in a target folder of its own, so that neither build undoes the other's.
fn rust_client(context: &Context) -> Program {
    let manifest = context.workspace.rust_client().join("Cargo.toml");
    let test = context.workspace.cargo().args(["test", "--locked"]);
    test.arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(context.workspace.target.join("rust-client"))
        .env("MATRYOSHKA_NODE", context.workspace.node(Profile::Dev))
}

fn page_packages(context: &Context) -> PathBuf {
    context.workspace.target.join("npm/assets")
}

fn install_chromium(context: &Context) -> Outcome<Vec<Program>> {
    if chromium::find().is_some() {
        return Ok(vec![]);
    }
    chromium::install(&context.workspace.root)
        .map(Vec::from)
        .ok_or_else(no_chromium)
}

fn no_chromium() -> Failure {
    Failure::new(chromium::HOW_TO_INSTALL)
}

/// One check per package: together, features of one would hide what another forgot to ask for. The tests themselves run
/// [together](StepName::Together); twice would cost a quarter of an hour.
fn alone(context: &Context) -> Vec<Program> {
    let members = context.workspace.members.iter();
    members
        .map(|member| {
            let clippy = context.workspace.cargo().arg("clippy").arg("--all-targets");
            clippy.args(["--package", member, "--", "-D", "warnings"])
        })
        .collect()
}

/// nextest where it is installed, else cargo's own runner; both without doc tests.
fn test_runner(context: &Context) -> Program {
    let cargo = context.workspace.cargo();
    if has_nextest() {
        cargo.args(["nextest", "run", "--no-tests=pass", "--no-fail-fast"])
    } else {
        cargo.args(["test", "--lib", "--bins", "--tests", "--no-fail-fast"])
    }
}

fn has_nextest() -> bool {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let asked = Command::new(cargo)
        .args(["nextest", "--version"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

fn xtask(context: &Context) -> Outcome<Program> {
    let program = env::current_exe().explain("finding xtask's own program file")?;
    Ok(Program::new(program, &context.workspace.root))
}

/// One suite after the other: each starts nodes of its own, and some measure time.
fn suites(context: &Context, files: &[&str]) -> Program {
    let node = context.workspace.node(Profile::Dev);
    Program::new("node", &context.workspace.clients())
        .args(["--test", "--test-concurrency=1", "--test-reporter=spec"])
        .args(files.iter().copied())
        .env("MATRYOSHKA_NODE", node)
}

fn browser_suites(context: &Context) -> Outcome<Program> {
    let Some(chromium) = chromium::find() else {
        fail!("{}", chromium::HOW_TO_INSTALL);
    };
    let artifacts = env::var_os("MATRYOSHKA_ARTIFACTS")
        .map_or_else(|| context.workspace.target.join("artifacts"), PathBuf::from);
    Ok(suites(context, &BROWSER_SUITES)
        .env("MATRYOSHKA_CHROMIUM", chromium)
        .env(
            "MATRYOSHKA_ASSETS",
            page_packages(context).join(BROWSER_FILES),
        )
        .env("MATRYOSHKA_ARTIFACTS", artifacts))
}
