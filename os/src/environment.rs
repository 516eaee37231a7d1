//! The environment of command lines.

use std::{env, ffi::OsStr};

use clap::Command;

/// A command whose flags take no notice of variables that are set to nothing: `FLAG=` in a unit file, or a value left empty in a
/// manifest, means that the flag is not given.
#[must_use]
pub fn without_empty(command: Command) -> Command {
    let is_empty = |name: &OsStr| env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| if arg.get_env().is_some_and(is_empty) { arg.env(None) } else { arg })
        .mut_subcommands(without_empty)
}
