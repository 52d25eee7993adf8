//! What the command line takes and how it refuses, without starting a process.

use super::*;

fn read(arguments: &[&str]) -> Result<Invocation, FlagError> {
    parse(
        std::iter::once("matryoshka-node")
            .chain(arguments.iter().copied())
            .map(OsString::from),
    )
}

pub(super) fn flags(arguments: &[&str]) -> Flags {
    match read(arguments) {
        Ok(Invocation::Serve(flags)) => *flags,
        other => panic!("{arguments:?} gave {other:?}"),
    }
}

#[track_caller]
pub(super) fn refusal(arguments: &[&str]) -> String {
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
