//! What must be there before a drill makes sense.

use std::time::Duration;

use kube::Client;
use reqwest::Url;
use sorcha_crds::{GROUP, VERSION};

use super::timeline::{Look, Timeline};
use crate::publication::http;

/// Limit of one call.
const CALL: Duration = Duration::from_secs(5);

/// Kinds of the resources.
const KINDS: [&str; 3] = ["SorchaCentralNode", "SorchaPeer", "SorchaBlueprint"];

/// Waits until the API server serves all kinds, which it does once their definitions are established.
///
/// # Errors
/// When it does not in time.
pub(crate) async fn definitions(client: &Client, timeline: &mut Timeline<'_>) -> anyhow::Result<()> {
    let look = async || {
        let served = match client.list_api_group_resources(&format!("{GROUP}/{VERSION}")).await {
            Ok(list) => list.resources.into_iter().map(|resource| resource.kind).collect(),
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => {
                return Ok(Look::NotYet(vec![format!("the API server does not answer: {error}")]));
            }
        };
        let wanted = KINDS.into_iter();
        let missing: Vec<String> = wanted
            .filter(|kind| !served.iter().any(|served: &String| served == kind))
            .map(|kind| format!("{kind} is not known there; install the chart sorcha-crds"))
            .collect();
        Ok(Look::unless(missing, ()))
    };
    timeline.until(&format!("the API server serves {}", KINDS.join(", ")), look).await
}

/// Waits until the controller says that it is ready.
///
/// # Errors
/// When it does not in time.
pub(crate) async fn controller(url: &Url, timeline: &mut Timeline<'_>) -> anyhow::Result<()> {
    let client = http::client(CALL, CALL)?;
    let probe = url.join("/readyz")?;
    let look = async || {
        Ok(match client.get(probe.clone()).send().await {
            Ok(answer) if answer.status().is_success() => Look::Done(()),
            Ok(answer) => Look::NotYet(vec![format!("{probe} answers {}", answer.status())]),
            Err(_) => Look::NotYet(vec![format!("{probe} does not answer")]),
        })
    };
    timeline.until("the controller answers", look).await
}
