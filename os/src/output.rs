//! Standard output and standard error, which may be full or closed: `println!` ends the program then, these don't.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

/// Writes a line to standard output.
///
/// # Errors
/// When that is full or closed.
pub fn say(line: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Writes a line to standard error. Where that can't take it, there is no other place for it.
pub fn complain(line: impl Display) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}
