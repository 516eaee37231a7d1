//! `sorcha-controller release`: SorchaBlueprints are let go where no controller is left to do it.
//!
//! Their blueprints stay in the registers as they are. A controller that still ends would hold them again, so that it is looked
//! for until nothing more comes up.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use kube::{Client, Resource as _};
use sorcha_crds::SorchaBlueprint;
use tokio::time::{Instant, sleep};

use crate::{
    blueprint::{FINALIZER, change_finalizer},
    feed::{
        self, Event, Source,
        object::{Cut, Seen},
    },
};

/// Blueprints of one page of a list, of which only metadata is asked for.
const PAGE: u32 = 100;
/// Time between two looks.
const LOOK: Duration = Duration::from_secs(3);
/// The API server does not know the kind, or the resource is gone.
const NOT_FOUND: u16 = 404;

/// Flags of `release`.
#[derive(Args, Clone, Debug)]
pub struct ReleaseArgs {
    /// Release those of this namespace only
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// End when nothing was left to be released for this long
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = humantime::parse_duration)]
    pub quiet: Duration,
    /// Time limit
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// Removes the finalizer of all SorchaBlueprints, and tells how many there were.
///
/// # Errors
/// When the API server does not do it, or somebody adds it again all the time.
pub async fn run(client: Client, args: ReleaseArgs) -> anyhow::Result<()> {
    let source = Source {
        path: SorchaBlueprint::url_path(&(), args.namespace.as_deref()),
        selector: None,
        page: PAGE,
        cut: Cut::Document,
        metadata_only: true,
    };
    let (started, mut last, mut released) = (Instant::now(), Instant::now(), 0_usize);
    loop {
        for (namespace, name) in held(&client, &source).await? {
            let changed = change_finalizer(&client, &namespace, &name, None, false).await;
            changed.with_context(|| format!("release SorchaBlueprint {name} in namespace {namespace}"))?;
            (released, last) = (released + 1, Instant::now());
        }
        if last.elapsed() >= args.quiet {
            println!("{released} SorchaBlueprints released");
            return Ok(());
        }
        if started.elapsed() >= args.timeout {
            bail!(
                "SorchaBlueprints are held again as soon as they are released: does a controller still run?"
            );
        }
        sleep(LOOK.min(args.quiet)).await;
    }
}

/// Namespaces and names of those that are held.
async fn held(client: &Client, source: &Source) -> anyhow::Result<Vec<(String, String)>> {
    let mut held = Vec::new();
    let mut on = |event: Event<Releasable>| {
        if let Event::Listed(Seen::Readable(Releasable { metadata })) = event
            && metadata.finalizers.unwrap_or_default().iter().any(|name| name == FINALIZER)
        {
            held.push((metadata.namespace, metadata.name));
        }
    };
    match feed::list(client, source, &mut on).await {
        Ok(_) => Ok(held),
        // Without the definition there is nothing to release.
        Err((fault, _)) if fault.code() == Some(NOT_FOUND) => Ok(Vec::new()),
        Err((fault, _)) => Err(fault).context("list SorchaBlueprints"),
    }
}

/// What of a SorchaBlueprint tells whether it is held.
#[derive(serde::Deserialize)]
struct Releasable {
    metadata: ReleasableMetadata,
}

#[derive(serde::Deserialize)]
struct ReleasableMetadata {
    #[serde(default)]
    namespace: String,
    name: String,
    #[serde(default)]
    finalizers: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::Scene;

    #[tokio::test(start_paused = true)]
    async fn what_is_held_is_released_until_nothing_comes_up_again() {
        let finalizers = |ours: bool| if ours { json!(["x/y", FINALIZER]) } else { json!(["x/y"]) };
        let held = Arc::new(Mutex::new((vec![true, false, true], 0)));
        let scene = Scene::new(move |call| {
            let mut held = held.lock().unwrap();
            let number = |path: &str| path.rsplit('/').next().unwrap().parse::<usize>().ok();
            let object = |number: usize, ours: bool| {
                json!({"metadata": {"name": number.to_string(), "namespace": "shop", "uid": "u", "resourceVersion": "1",
                    "finalizers": finalizers(ours)}})
            };
            match (call.method.as_str(), number(&call.path)) {
                ("GET", None) => {
                    held.1 += 1;
                    if held.1 == 3 {
                        // A controller that was not gone yet.
                        held.0[1] = true;
                    }
                    let items: Vec<Value> =
                        held.0.iter().enumerate().map(|(n, ours)| object(n, *ours)).collect();
                    Some((200, json!({"metadata": {"resourceVersion": "1"}, "items": items})))
                }
                ("GET", Some(number)) => Some((200, object(number, held.0[number]))),
                (_, Some(number)) => {
                    // Those of others stay.
                    assert_eq!(call.body["metadata"]["finalizers"], finalizers(false));
                    held.0[number] = false;
                    Some((200, object(number, false)))
                }
                _ => None,
            }
        });
        let [quiet, timeout] = [15, 120].map(Duration::from_secs);
        let args = ReleaseArgs { namespace: None, quiet, timeout };
        run(scene.ctx.client.clone(), args).await.unwrap();
        let patched = scene.take_calls().iter().filter(|call| call.method == "PATCH").count();
        assert_eq!(patched, 3);
    }
}
