//! The command line.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use crate::run;

pub(crate) const HELP: &str = "End-to-end tests on the cluster that SORCHA_E2E_KUBECONFIG leads to; tests/cluster/e2e brings one and runs them.

Usage: cargo test -p sorcha-tests --test cluster -- [--list] [--check] [--keep] [--go-on] [--skips FILE] [SCENARIO...]

  --list        the scenarios
  --check       only look whether the cluster can be taken, and say what would be done to it
  --keep        leave what the tests made
  --go-on       also where Sorcha is installed already
  --skips FILE  write a line for each scenario that can't run here

Environment: SORCHA_E2E_KUBECONFIG (without it nothing is done), SORCHA_E2E_IMAGE, SORCHA_E2E_IMAGE_2 (the same under another tag),
SORCHA_E2E_MONGODB_IMAGE, SORCHA_E2E_SHELL_IMAGE, SORCHA_E2E_APISERVER (a command that takes stop or start), SORCHA_E2E_AUDIT_LOG.";

/// What is asked for.
pub(crate) enum Wanted {
    Help,
    List,
    Run(Arguments),
}

/// How the scenarios are run.
#[derive(Default)]
pub(crate) struct Arguments {
    /// Leave what was made.
    pub(crate) keep: bool,
    /// Also beside an installation of others.
    pub(crate) go_on: bool,
    /// Look, and do nothing.
    pub(crate) check: bool,
    /// Where a line is written for each scenario that can't run here.
    pub(crate) skips: Option<PathBuf>,
    /// Scenarios; all when there are none.
    pub(crate) names: Vec<String>,
}

impl Arguments {
    /// Reads the arguments.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Wanted> {
        let mut wanted = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--help" | "-h" => return Ok(Wanted::Help),
                "--list" => return Ok(Wanted::List),
                "--keep" => wanted.keep = true,
                "--go-on" => wanted.go_on = true,
                "--check" => wanted.check = true,
                "--skips" => wanted.skips = Some(words.next().context("--skips needs a file")?.into()),
                flag if flag.starts_with('-') => bail!("there is no option {flag}; --help shows them"),
                name => {
                    let known = run::all().iter().any(|scenario| scenario.name == name);
                    ensure!(known, "there is no scenario {name:?}; --list shows them");
                    wanted.names.push(word);
                }
            }
        }
        Ok(Wanted::Run(wanted))
    }
}
