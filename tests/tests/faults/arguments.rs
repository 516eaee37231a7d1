//! The command line.

use std::{path::PathBuf, time::Duration};

use crate::scenarios;

/// What is asked for.
pub(crate) enum Wanted {
    Nothing,
    List,
    Run(Arguments),
}

/// How the scenarios are run.
pub(crate) struct Arguments {
    /// Time for all of them together; each has a short one of its own otherwise.
    pub(crate) time: Option<Duration>,
    /// All randomness comes from this.
    pub(crate) seed: u64,
    /// This process's mounts are its own.
    pub(crate) may_mount: bool,
    /// Leave the nodes' files.
    pub(crate) keep: bool,
    /// Where a line is written for each scenario that can't run here.
    pub(crate) skips: Option<PathBuf>,
    /// Scenarios, or the first words of their names; all when there are none.
    pub(crate) names: Vec<String>,
}

impl Arguments {
    /// Reads the arguments.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Wanted, String> {
        let mut run = false;
        let mut wanted = Self {
            time: None,
            seed: rand::random_range(0..1_000_000),
            may_mount: false,
            keep: false,
            skips: None,
            names: Vec::new(),
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--run" => run = true,
                "--list" => return Ok(Wanted::List),
                "--may-mount" => wanted.may_mount = true,
                "--keep" => wanted.keep = true,
                "--skips" => wanted.skips = Some(value()?.into()),
                "--seed" => wanted.seed = number(&word, &value()?)?,
                "--minutes" => {
                    let minutes: f64 = number(&word, &value()?)?;
                    let time = Duration::try_from_secs_f64(minutes * 60.0);
                    wanted.time = Some(time.map_err(|error| format!("--minutes: {error}"))?);
                }
                // What cargo passes on to every test binary.
                _ if !run => {}
                flag if flag.starts_with('-') => return Err(format!("there is no flag {flag}")),
                name if scenarios::all().iter().any(|scenario| scenario.is_called(name)) => {
                    wanted.names.push(word);
                }
                name => return Err(format!("there is no scenario {name:?}; --list shows them")),
            }
        }
        Ok(if run { Wanted::Run(wanted) } else { Wanted::Nothing })
    }
}

fn number<T: std::str::FromStr>(flag: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{flag} is {text:?}; it must be a number"))
}
