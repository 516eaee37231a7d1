//! What both programs need of the operating system beside the network: files that are put in their places whole, text that
//! people write, standard streams that may be full or closed, variables that may be empty.

pub mod environment;
#[cfg(feature = "faults")]
pub mod faults;
pub mod folder;
pub mod output;
pub mod read;
pub mod replace;
