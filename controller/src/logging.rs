//! What is logged, and what never is.

use tracing_subscriber::{EnvFilter, filter::ParseError};

/// The filter of log lines in the syntax of `RUST_LOG`. The library's client and watcher are left out whatever it says: they
/// write answers of the API server, Secrets among them, where they can't read them.
///
/// # Errors
/// When the text is no filter.
pub fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    let filter = EnvFilter::try_new(text)?;
    ["kube_client::client=off", "kube_runtime::watcher=off"]
        .into_iter()
        .try_fold(filter, |filter, directive| Ok(filter.add_directive(directive.parse()?)))
}
