//! Programs that are run to their end.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

/// No command takes longer; `kubectl wait` and `helm --wait` have limits of their own below it.
const LIMIT: Duration = Duration::from_secs(300);

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// What it printed, if it succeeded.
    pub(crate) fn out(self, what: &str) -> Result<String> {
        ensure!(self.ok, "{what}: {}", self.err.trim());
        Ok(self.out)
    }
}

/// Runs a program with something on its standard input.
pub(crate) async fn run(program: &str, arguments: &[&str], input: &str) -> Result<Ended> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {program}. Remedy: put it on the PATH"))?;
    let mut stdin = child.stdin.take().context("standard input")?;
    let work = async {
        // A program that does not read its input has closed it; its exit code tells.
        let _unread = stdin.write_all(input.as_bytes()).await.is_err();
        drop(stdin);
        child.wait_with_output().await
    };
    let Ok(output) = timeout(LIMIT, work).await else {
        bail!("{program} {} did not end in {} s", arguments.join(" "), LIMIT.as_secs());
    };
    let output = output?;
    Ok(Ended {
        ok: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
