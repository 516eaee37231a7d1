//! Memory of nodes with large registers, step by step.

use std::fmt::Write as _;

use crate::{documents, memory::Held};

/// What a register holds, for people.
pub(super) fn register(held: &Held) -> String {
    format!("{} documents of {}", held.documents, documents::size_name(held.document_bytes))
}

/// The table; empty when nothing was measured.
pub(super) fn table(all: &[Held]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut table = String::from(
        "\nMemory: resident memory of a process, MB: the most while something is done, and 3 s later.\n\n\
         | register | step | node | at most | at rest | bound | took |\n|---|---|---|---|---|---|---|\n",
    );
    for held in all {
        for step in &held.steps {
            let (peak, rest, bound) = (step.peak_mb, step.rest_mb, held.bound_mb);
            let (register, what, node) = (register(held), &step.what, step.node);
            // Writing to a String can't fail.
            _ = writeln!(
                table,
                "| {register} | {what} | {node} | {peak:.0} | {rest:.0} | {bound:.0} | {:.1} s |",
                step.seconds
            );
        }
    }
    let unlimited = all.iter().any(|held| !held.is_limited);
    let limits = if unlimited { "without a limit" } else { "in control groups with the chart's limits" };
    let made = all.iter().map(|held| format!("{}: {:.0} s", register(held), held.made_s));
    let made = made.collect::<Vec<_>>().join("; ");
    table + &format!("\nThe processes ran {limits}. Making the files took, {made}.\n")
}
