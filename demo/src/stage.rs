//! Output of the demo: lines, or a live table on a terminal.

use std::{fmt, io};

use sorcha_os::output;

use super::table::{Progress, rows};

pub(super) struct Stage {
    pub(super) json: bool,
    pub(super) live: bool,
    /// Lines of the live table on the screen.
    pub(super) drawn: usize,
    /// First error of standard output; afterwards the demo goes on without output.
    pub(super) told: io::Result<()>,
}

impl Stage {
    pub(super) fn line(&mut self, line: impl fmt::Display) {
        if self.told.is_ok() {
            self.told = output::say(line);
        }
    }

    pub(super) fn headline(&mut self, text: &str) {
        self.drawn = 0;
        if self.json {
            self.line(serde_json::json!({ "event": text }));
        } else {
            self.line(format_args!("\n▶ {text}"));
        }
    }

    /// Draws the table over the previous one, on a terminal.
    pub(super) fn draw(&mut self, progress: &Progress) {
        if !self.live {
            return;
        }
        let table = progress.to_string();
        // Moves up to the first line of the last table, and clears from there.
        let before = if self.drawn > 0 { format!("\x1b[{}A\x1b[J", self.drawn) } else { String::new() };
        self.line(format_args!("{before}{table}"));
        self.drawn = table.lines().count();
    }

    /// Prints the table at the end of a phase.
    pub(super) fn keep(&mut self, progress: &Progress) {
        if self.json {
            self.line(serde_json::json!({ "table": rows(progress) }));
        } else if self.live {
            self.draw(progress);
        } else {
            self.line(progress);
        }
        self.drawn = 0;
    }
}
