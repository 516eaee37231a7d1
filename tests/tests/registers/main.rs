//! What administrators do with whole registers: real processes, the real command line.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)]

mod backup;
mod site;
mod split_brain;
