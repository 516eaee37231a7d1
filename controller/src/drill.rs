//! `drill`: proves on a running network that publications arrive and that peers get over the loss of a central node.
//!
//! It reads custom resources, publishes through the central nodes' HTTP API and deletes one pod. What it waits for are
//! pure functions of what it read ([`network`]). Deliberately absent: any knowledge of how the controller works, and
//! any repair: a drill that fails leaves everything as it is, to be looked at.

pub(crate) mod timeline;
pub mod network;
pub mod publish;
pub(crate) mod check;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::{ArgAction, Args};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Preconditions},
};
use reqwest::Url;
use sorcha_api::client::token;
use tokio::time::Instant;

use self::{
    network::{DrillNetwork, DrillReplica, not_recovered},
    publish::{Attempt, DrillPublisher},
    timeline::{Look, Timeline},
};

/// Time between two looks at the resources.
const POLL: Duration = Duration::from_millis(500);
/// A central node gets this long to end, seconds: too little to send its peers away.
const GRACE: u32 = 1;

/// Flags of `drill`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Each drill leaves two blueprints in the register, deprecated. Exit code 0 means that every \
    publication reached every peer and all is well again."
)]
pub struct DrillArgs {
    /// Namespace of the network [default: that of the kubeconfig, in a pod the pod's]
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Network
    #[arg(long, value_name = "NAME", default_value = sorcha_crds::shared::DEFAULT_NETWORK)]
    pub network: String,
    /// File with a token for publishing, alone or as a line `name: token` of a node's token file
    #[arg(long, value_name = "FILE", required_unless_present = "check_only")]
    pub token_file: Option<PathBuf>,
    /// Time limit of the whole drill
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Kill the central node that most peers are connected to
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    pub kill: bool,
    /// Only check that the definitions are served and the controller answers
    #[arg(long)]
    pub check_only: bool,
    /// HTTP address of the controller, to check that it is ready
    #[arg(long, value_name = "URL")]
    pub controller_url: Option<Url>,
    /// HTTP address of a central node, in place of its Service's: outside the cluster, that of a port-forward
    #[arg(long = "central-url", value_name = "NAME=URL", value_parser = crate::publication::http::parse_address)]
    pub central_urls: Vec<(String, Url)>,
}

/// Runs the drill and tells each step on standard output.
///
/// # Errors
/// What did not happen in time, or can't happen.
pub async fn run(client: Client, args: DrillArgs) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let mut timeline = Timeline::start(&mut out, args.timeout, POLL);
    conduct(client, args, &mut timeline).await?;
    timeline.table()
}

async fn conduct(client: Client, args: DrillArgs, timeline: &mut Timeline<'_>) -> anyhow::Result<()> {
    check::definitions(&client, timeline).await?;
    if let Some(url) = &args.controller_url {
        check::controller(url, timeline).await?;
    }
    if args.check_only {
        return Ok(());
    }
    let namespace = args.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let token_file = args.token_file.as_deref().context("--token-file is missing")?;
    let publisher = DrillPublisher::new(token::read(token_file)?, &namespace, args.central_urls)?;
    let drill = Drill { client, namespace, network: args.network, publisher };
    drill.run(args.kill, timeline).await
}

/// A network under drill.
struct Drill {
    client: Client,
    namespace: String,
    network: String,
    publisher: DrillPublisher,
}

/// A pod that was killed, and who was connected to it.
struct Loss {
    central: String,
    uid: String,
    before: Vec<DrillReplica>,
    at: Instant,
}

impl Drill {
    async fn run(&self, kill: bool, timeline: &mut Timeline<'_>) -> anyhow::Result<()> {
        let network = self.ready(timeline).await?;
        let centrals = network.centrals();
        let suffix = format!("{:016x}", rand::random::<u64>());
        let first = format!("drill-{suffix}-1");
        self.publish(&first, &centrals, timeline).await?;
        let loss = if kill { Some(self.kill(timeline).await?) } else { None };
        if let Some(loss) = &loss {
            self.recovered(loss, timeline).await?;
        }
        let lost = loss.as_ref().map(|loss| loss.central.as_str());
        let mut others = centrals.clone();
        others.retain(|name| Some(name.as_str()) != lost);
        if kill && others.is_empty() {
            others = centrals;
        } else if !kill {
            others.rotate_left(1);
        }
        let second = format!("drill-{suffix}-2");
        self.publish(&second, &others, timeline).await?;
        self.deprecate(&[first, second], &others, timeline).await?;
        self.well_again(loss.as_ref(), timeline).await
    }

    async fn look(&self) -> anyhow::Result<Result<DrillNetwork, String>> {
        network::passing(DrillNetwork::read(&self.client, &self.namespace, &self.network).await)
    }

    /// Waits until `missing` finds nothing that is missing.
    async fn wait(
        &self,
        what: &str,
        timeline: &mut Timeline<'_>,
        missing: impl Fn(&DrillNetwork) -> Vec<String>,
    ) -> anyhow::Result<DrillNetwork> {
        timeline
            .until(what, async || {
                Ok(match self.look().await? {
                    Ok(network) => Look::unless(missing(&network), network),
                    Err(away) => Look::NotYet(vec![away]),
                })
            })
            .await
    }

    async fn ready(&self, timeline: &mut Timeline<'_>) -> anyhow::Result<DrillNetwork> {
        let network = self.wait("the network's resources are read", timeline, |_| Vec::new()).await?;
        if let Some(lack) = network.lack() {
            bail!("namespace {}: {lack}", self.namespace);
        }
        timeline.say(&format!("network {}: {}", self.network, network.census()));
        let network = self.wait("every resource is Ready", timeline, DrillNetwork::not_ready).await?;
        self.wait("every peer is connected", timeline, DrillNetwork::not_connected).await?;
        Ok(network)
    }

    /// Publishes through the first central node that takes it, and waits for all peers.
    async fn publish(
        &self,
        id: &str,
        centrals: &[String],
        timeline: &mut Timeline<'_>,
    ) -> anyhow::Result<()> {
        let what = format!("{id} is published");
        let (central, version) = timeline
            .until(&what, async || self.publisher.first(centrals, Attempt::Publish(id)).await)
            .await?;
        timeline.say(&format!("{central} gave it version {version}"));
        self.everywhere(version, timeline).await
    }

    /// Takes the drill's blueprints off the list of active ones, which is a change that peers get, too.
    async fn deprecate(
        &self,
        ids: &[String],
        centrals: &[String],
        timeline: &mut Timeline<'_>,
    ) -> anyhow::Result<()> {
        let mut version = 0;
        for id in ids {
            let what = format!("{id} is deprecated");
            (_, version) = timeline
                .until(&what, async || self.publisher.first(centrals, Attempt::Deprecate(id)).await)
                .await?;
        }
        self.everywhere(version, timeline).await
    }

    async fn everywhere(&self, version: i64, timeline: &mut Timeline<'_>) -> anyhow::Result<()> {
        let (what, begun) = (format!("every peer holds version {version}"), Instant::now());
        self.wait(&what, timeline, |network| network.behind(version)).await?;
        timeline.measured(what, begun);
        Ok(())
    }

    /// Deletes the pod of the central node that most peers are connected to.
    async fn kill(&self, timeline: &mut Timeline<'_>) -> anyhow::Result<Loss> {
        let known = "it is known which peer is connected to which central node";
        let network = self.wait(known, timeline, DrillNetwork::not_connected).await?;
        let Some((central, count)) = network.busiest() else {
            bail!(
                "no peer is connected to a central node of namespace {}; --kill=false leaves this part out",
                self.namespace
            );
        };
        let (pod, pods) = (format!("{central}-0"), self.pods());
        let uid = pods.get(&pod).await.with_context(|| format!("read pod {pod}"))?.uid().unwrap_or_default();
        let same = Preconditions { uid: Some(uid.clone()), resource_version: None };
        let params = DeleteParams {
            grace_period_seconds: Some(GRACE),
            preconditions: Some(same),
            ..DeleteParams::default()
        };
        pods.delete(&pod, &params).await.with_context(|| format!("delete pod {pod}"))?;
        let before = network.replicas();
        timeline
            .say(&format!("pod {pod} is deleted; {count} of {} peers were connected to it", before.len()));
        Ok(Loss { central, uid, before, at: Instant::now() })
    }

    async fn recovered(&self, loss: &Loss, timeline: &mut Timeline<'_>) -> anyhow::Result<()> {
        let missing = |network: &DrillNetwork| {
            let alone = network.centrals().len() == 1;
            not_recovered(&loss.central, alone, &loss.before, &network.replicas())
        };
        let what = format!("every peer of {} is connected again", loss.central);
        let network = self.wait(&what, timeline, missing).await?;
        timeline.measured(what, loss.at);
        let now = network.replicas();
        let moves = loss.before.iter().zip(&now).filter(|(before, now)| before.central != now.central);
        let moves: Vec<String> = moves
            .map(|(_, now)| format!("{} to {}", now.name, now.central.as_deref().unwrap_or("?")))
            .collect();
        if !moves.is_empty() {
            timeline.say(&format!("moved: {}", moves.join(", ")));
        }
        Ok(())
    }

    /// Everything is Ready, connected and, where a pod was killed, that pod replaced.
    async fn well_again(&self, loss: Option<&Loss>, timeline: &mut Timeline<'_>) -> anyhow::Result<()> {
        if let Some(loss) = loss {
            let pod = format!("{}-0", loss.central);
            let what = format!("pod {pod} is replaced and ready");
            timeline
                .until(&what, async || {
                    let found = network::passing(self.pods().get_opt(&pod).await)?;
                    Ok(match found.map(|found| network::replacement(found.as_ref(), &loss.uid)) {
                        Ok(None) => Look::Done(()),
                        Ok(Some(why)) | Err(why) => Look::NotYet(vec![format!("{pod} {why}")]),
                    })
                })
                .await?;
        }
        self.wait("every resource is Ready", timeline, DrillNetwork::not_ready).await?;
        self.wait("every peer is connected", timeline, DrillNetwork::not_connected).await?;
        Ok(())
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

#[cfg(test)]
mod tests;
