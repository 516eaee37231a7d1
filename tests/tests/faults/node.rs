//! One node: its place, its ports and its log, over all the processes that it is.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use sorcha_tests::process::{Process, binary};
use tokio::process::Command;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Central,
    Peer,
}

/// A node that is started, killed and started again.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) http: u16,
    pub(crate) data: PathBuf,
    log: PathBuf,
    arguments: Vec<String>,
    /// Set for the process.
    pub(crate) environment: Vec<(String, String)>,
    process: Option<Process>,
    /// Counts its processes.
    pub(crate) life: u32,
}

impl Node {
    pub(crate) fn new(name: &str, role: Role, http: u16, directory: &Path, arguments: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            role,
            http,
            data: directory.join(name),
            log: directory.join(format!("{name}.log")),
            arguments,
            environment: Vec::new(),
            process: None,
            life: 0,
        }
    }

    /// Starts it; its log is appended to its file.
    pub(crate) fn start(&mut self) -> Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(binary());
        command.args(&self.arguments).envs(self.environment.iter().cloned()).stderr(log);
        self.process = Some(Process::spawn(command));
        self.life += 1;
        Ok(())
    }

    pub(crate) const fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// kill -9.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await;
        }
    }

    /// SIGTERM; it must end with exit code 0.
    pub(crate) async fn terminate(&mut self) -> Result<()> {
        let process = self.process.take().with_context(|| format!("{} does not run", self.name))?;
        match process.terminate().await {
            Some(0) => Ok(()),
            code => bail!("{} ended with {code:?} after SIGTERM", self.name),
        }
    }

    /// Waits for its end by itself; the exit code.
    pub(crate) async fn ended(&mut self) -> Result<Option<i32>> {
        let mut process = self.process.take().with_context(|| format!("{} does not run", self.name))?;
        Ok(process.ended().await)
    }

    /// Whether its process has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| !process.is_running())
    }

    /// The process id.
    pub(crate) fn id(&self) -> Result<u32> {
        Ok(self.process.as_ref().with_context(|| format!("{} does not run", self.name))?.id())
    }

    pub(crate) fn pause(&self) {
        self.process.iter().for_each(Process::pause);
    }

    pub(crate) fn resume(&self) {
        self.process.iter().for_each(Process::resume);
    }

    /// The log's length now, for [`Node::log_since`].
    pub(crate) fn log_mark(&self) -> u64 {
        self.log.metadata().map_or(0, |metadata| metadata.len())
    }

    /// What was logged since.
    pub(crate) fn log_since(&self, mark: u64) -> Result<String> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let mut file = File::open(&self.log)?;
        file.seek(SeekFrom::Start(mark))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The first line since then that has all of these words.
    pub(crate) fn logged(&self, mark: u64, words: &[&str]) -> Result<String> {
        let log = self.log_since(mark)?;
        let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
        line.map(str::to_owned).with_context(|| format!("{} logged no line with {words:?}", self.name))
    }

    /// What its log must not have, whatever happens.
    pub(crate) fn check_log(&self, harmless: &[&str]) -> Result<()> {
        let log = self.log_since(0)?;
        let is_bad = |line: &&str| {
            (line.contains(" ERROR ") || line.contains("panicked at"))
                && !harmless.iter().any(|text| line.contains(text))
        };
        match log.lines().find(is_bad) {
            Some(line) => bail!("{} logged: {line}", self.name),
            None => Ok(()),
        }
    }
}
