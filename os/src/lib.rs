//! What both programs need of the operating system beside the network: files that are put in their places whole, text that
//! people write, standard streams that may be full or closed, variables that may be empty.
//!
//! A file that was replaced is the old one or the new one after a crash at any step, never a part; tests make each step fail
//! through the feature `faults`. A full standard stream is an error, not a panic.
//!
//! Deliberately absent: anything of Sorcha. Begin with [`replace::replace_file`], [`read::text`], [`output::say`].

use std::io;

pub mod environment;
#[cfg(feature = "faults")]
pub mod faults;
pub mod folder;
pub mod output;
pub mod read;
pub mod replace;

/// Whether it was the connection that failed when it was accepted, not the listener.
#[must_use]
pub fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
