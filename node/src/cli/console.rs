//! Where commands write, and whom they can ask.

use std::io::{self, BufRead, Write};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

/// Standard output, standard error and whoever sits at the terminal; tests bring their own.
pub struct Console<'a> {
    /// What the command is for.
    pub out: &'a mut dyn Write,
    /// Whether `out` is a terminal.
    pub out_is_terminal: bool,
    /// Remarks.
    pub err: &'a mut dyn Write,
    /// Answers to questions; `None` where nobody can be asked.
    pub answers: Option<&'a mut dyn BufRead>,
}

impl std::fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("out_is_terminal", &self.out_is_terminal).finish_non_exhaustive()
    }
}

/// What somebody said to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Yes.
    Yes,
    /// Anything else.
    No,
    /// Nobody can be asked.
    Nobody,
}

impl Console<'_> {
    /// Writes a remark. Where standard error is full or closed, there is no other place for it, and work goes on.
    pub(crate) fn remark(&mut self, text: &str) {
        drop(writeln!(self.err, "{text}"));
    }

    /// Asks a question that only `yes` affirms.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn ask(&mut self, question: &str) -> io::Result<Answer> {
        let Some(answers) = self.answers.as_mut() else {
            return Ok(Answer::Nobody);
        };
        write!(self.err, "{question} Type yes to go on: ")?;
        self.err.flush()?;
        let mut line = String::new();
        answers.read_line(&mut line)?;
        Ok(if line.trim().eq_ignore_ascii_case("yes") { Answer::Yes } else { Answer::No })
    }
}

/// A bar that counts to `length`; drawn on standard error only, and only on a terminal.
pub(crate) fn count_bar(length: u64, what: &'static str) -> ProgressBar {
    styled(ProgressBar::new(length), "{prefix} {wide_bar} {human_pos}/{human_len} {eta}", what)
}

/// As [`count_bar`], counting bytes.
pub(crate) fn byte_bar(length: u64, what: &'static str) -> ProgressBar {
    styled(ProgressBar::new(length), "{prefix} {wide_bar} {bytes}/{total_bytes} {eta}", what)
}

/// Counts bytes of which nobody knows how many come.
pub(crate) fn byte_spinner(what: &'static str) -> ProgressBar {
    let bar = styled(ProgressBar::new_spinner(), "{spinner} {prefix} {bytes} {bytes_per_sec}", what);
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}

/// Shows that something of unknown length goes on.
pub(crate) fn spinner(what: &'static str) -> ProgressBar {
    let bar = styled(ProgressBar::new_spinner(), "{spinner} {prefix} {elapsed}", what);
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}

/// The bar goes away with its owner, also when an error cuts the work short.
fn styled(bar: ProgressBar, template: &str, what: &'static str) -> ProgressBar {
    let bar = bar.with_finish(ProgressFinish::AndClear);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style).with_prefix(what),
        // The templates above are valid; a bar without style would do too.
        Err(_) => bar,
    }
}

/// An error with its causes, each said once: some errors repeat the cause in their own text.
#[must_use]
pub fn error_text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Whether an error only says that nobody reads our output any more, as with `| head`.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

/// Text from elsewhere, without anything that would steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    safe
}

#[cfg(test)]
pub(crate) mod tests {
    use anyhow::Context as _;

    use super::*;

    /// Runs a command's future with a console that keeps what is written: (result, out, err).
    macro_rules! on_console {
        ($answers:expr, |$console:ident| $run:expr) => {{
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let answers: Option<&'static str> = $answers;
            let mut answers = answers.map(str::as_bytes);
            let result = {
                let answers = answers.as_mut().map(|bytes| bytes as &mut dyn std::io::BufRead);
                let mut $console = $crate::cli::console::Console {
                    out: &mut out,
                    out_is_terminal: false,
                    err: &mut err,
                    answers,
                };
                $run.await
            };
            (result, String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&err).into_owned())
        }};
    }
    pub(crate) use on_console;

    /// A stream that takes nothing, as a full disk or a closed pipe does.
    pub(crate) struct Full(pub(crate) io::ErrorKind);

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn only_yes_is_yes() {
        for (answers, expected) in [
            (Some("yes\n"), Answer::Yes),
            (Some(" YES "), Answer::Yes),
            (Some("y\n"), Answer::No),
            (Some(""), Answer::No),
            (None, Answer::Nobody),
        ] {
            let (answer, _, err) = on_console!(answers, |console| async { console.ask("Really?") });
            assert_eq!(answer.unwrap(), expected, "{answers:?}");
            assert_eq!(err.contains("Really?"), answers.is_some());
        }
    }

    #[test]
    fn causes_are_told_once() {
        let cause = || io::Error::other("disk on fire");
        let repeating = Err::<(), _>(anyhow::anyhow!(cause()).context("read x: disk on fire"));
        assert_eq!(error_text(&repeating.context("export").unwrap_err()), "export: read x: disk on fire");
        let plain = Err::<(), _>(cause()).context("read x");
        assert_eq!(error_text(&plain.unwrap_err()), "read x: disk on fire");
    }

    #[test]
    fn a_closed_pipe_is_told_from_other_errors() {
        let closed = Err::<(), _>(io::Error::from(io::ErrorKind::BrokenPipe)).context("write");
        assert!(is_broken_pipe(&closed.unwrap_err()));
        assert!(!is_broken_pipe(&anyhow::anyhow!("other")));
    }

    #[test]
    fn nothing_from_elsewhere_steers_the_terminal() {
        assert_eq!(printable("é\u{1b}[2J\n\u{202e}x"), "é\\u{1b}[2J\\n\\u{202e}x");
    }
}
