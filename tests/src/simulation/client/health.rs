//! What a peer's health is at a moment, asked as a probe asks it.

use std::time::Duration;

use serde_json::Value;

use super::http::{ask, request};
use crate::simulation::net::{Host, Net};

const LIMIT: Duration = Duration::from_secs(2);

/// The status that a node on this machine states, with its reason; none if it does not answer.
pub(crate) async fn of(net: &Net, host: Host) -> Option<String> {
    let answer = ask(net, host, host, request("GET", "/health", None), LIMIT).await.ok()?;
    let told: Value = serde_json::from_slice(&answer.body).ok()?;
    let reason = told["reason"].as_str().unwrap_or_default();
    told["status"].as_str().map(|status| format!("{status}: {reason}"))
}
