//! `identity`: key and certificate for a node outside the cluster, signed by the network's authority in the cluster.
//!
//! Whoever may read the authority's Secret may do this; the controller has no part in it. That such a certificate was given
//! out is written on the Secret, so that the authority is trusted until it ends.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ObjectMeta, PostParams},
};
use serde_json::json;
use sorcha_identity::{Identity, Kind};
use sorcha_os::{
    folder, output,
    replace::{Existing, Mode, Replacement},
};

use super::{
    authority::Authority,
    identity, issue,
    leaf::Leaf,
    secret::{self, OUTSIDE_UNTIL_ANNOTATION, read_authority},
    x509::Names,
};
use crate::names;

/// Longest `peer_id` (protocol section 5), and longest name of a central node.
const LONGEST_NAME: usize = 64;
/// How often the Secret is written again because somebody else wrote first.
const ATTEMPTS: usize = 5;

/// Flags of `identity`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Needs the right to get and update the Secret sorcha-ca.NETWORK. The certificate is not renewed by \
    itself: make another one before it ends."
)]
pub struct IdentityArgs {
    /// Whose certificate
    #[command(subcommand)]
    pub node: NodeArgs,
}

/// The node.
#[derive(Clone, Debug, Subcommand)]
pub enum NodeArgs {
    /// A peer, whose peer_id is NAME
    Peer(IssueArgs),
    /// A central node; peers dial the hosts given with --dns
    Central(IssueArgs),
}

/// What to issue, and where to put it.
#[derive(Args, Clone, Debug)]
pub struct IssueArgs {
    /// Identity of the node
    #[arg(value_parser = name)]
    pub name: String,
    /// Network
    #[arg(long, value_name = "NAME", default_value = sorcha_crds::shared::DEFAULT_NETWORK)]
    pub network: String,
    /// Namespace of the network's authority [default: that of the kubeconfig]
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Validity in days
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub days: u16,
    /// Host name or IP address under which the node is dialled; may be repeated
    #[arg(long = "dns", value_name = "HOST", value_parser = host)]
    pub hosts: Vec<String>,
    /// Write tls.crt, tls.key and ca.crt into this folder; files that are there are not written over
    #[arg(long, value_name = "DIR", required_unless_present = "output", conflicts_with = "output")]
    pub out: Option<PathBuf>,
    /// Print a Secret with them
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

/// Form of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A manifest.
    Yaml,
}

fn name(text: &str) -> Result<String, String> {
    let fits = (1..=LONGEST_NAME).contains(&text.len());
    if fits && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        return Ok(text.to_owned());
    }
    Err(format!("a node's name has 1 to {LONGEST_NAME} of a-z, A-Z, 0-9, - and _"))
}

fn host(text: &str) -> Result<String, String> {
    let names = identity::central("a", "a", "a", &[text.to_owned()]);
    if names.dns.is_empty() && names.ips.is_empty() {
        return Err("neither a host name nor an IP address".to_owned());
    }
    Ok(text.to_owned())
}

impl NodeArgs {
    const fn issue(&self) -> &IssueArgs {
        match self {
            Self::Peer(args) | Self::Central(args) => args,
        }
    }

    fn names(&self, namespace: &str) -> anyhow::Result<Names> {
        let IssueArgs { name, network, hosts, .. } = self.issue();
        Ok(match self {
            Self::Peer(_) => {
                ensure!(hosts.is_empty(), "--dns is for central nodes: nobody dials a peer");
                identity::of(&Identity::new(network, namespace, Kind::Peer, name)?)
            }
            Self::Central(_) => {
                ensure!(!hosts.is_empty(), "--dns is missing: the host under which peers dial {name}");
                Identity::new(network, namespace, Kind::CentralNode, name)?;
                identity::central(network, namespace, name, hosts)
            }
        })
    }
}

/// Issues a certificate and writes it out.
///
/// # Errors
/// What is missing, or can't be read or written.
pub async fn run(client: Client, args: IdentityArgs, now: Timestamp) -> anyhow::Result<()> {
    let issue = args.node.issue();
    let namespace = issue.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let names = args.node.names(&namespace)?;
    let leaf = record(&client, issue, &namespace, &names, now).await?;
    let uri = names.uris.iter().next().cloned().unwrap_or_default();
    match &issue.out {
        Some(folder) => write(folder, &leaf)?,
        None => output::say(manifest(&issue.name, &leaf)?.trim_end()).context("write to standard output")?,
    }
    let certificate = &leaf.pair.certificate;
    output::complain(format_args!(
        "{uri}: valid until {}, signed by {}",
        certificate.not_after, certificate.issuer
    ));
    Ok(())
}

/// Signs, and writes on the authority's Secret until when. The certificate is handed out after that.
async fn record(
    client: &Client,
    args: &IssueArgs,
    namespace: &str,
    names: &Names,
    now: Timestamp,
) -> anyhow::Result<Leaf> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let name = names::authority(&args.network);
    for _ in 0..ATTEMPTS {
        let found = api.get_opt(&name).await.with_context(|| format!("read Secret {name}"))?;
        let mut held = found.with_context(|| {
            format!("namespace {namespace} has no Secret {name}: a resource of network {} with tls.mode Managed makes it", args.network)
        })?;
        let authority = read_authority(&held).with_context(|| format!("Secret {name}"))?;
        let leaf = sign(&authority, args, names, now)?;
        let end = leaf.pair.certificate.not_after.max(authority.outside_until.unwrap_or(Timestamp::MIN));
        held.annotations_mut().insert(OUTSIDE_UNTIL_ANNOTATION.to_owned(), end.to_string());
        match api.replace(&name, &PostParams::default(), &held).await {
            Ok(_) => return Ok(leaf),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error).with_context(|| format!("write on Secret {name}")),
        }
    }
    bail!("Secret {name} is being written by others; try again")
}

/// The certificate, with everybody whom its holder is to trust.
fn sign(authority: &Authority, args: &IssueArgs, names: &Names, now: Timestamp) -> anyhow::Result<Leaf> {
    let lifetime = Duration::from_secs(u64::from(args.days) * 86_400);
    let pair = issue::leaf(&args.name, names, &args.network, &authority.signer(now), lifetime, now)?;
    Ok(Leaf { pair, trust: authority.bundle(), token: None, written: None })
}

fn write(into: &Path, leaf: &Leaf) -> anyhow::Result<()> {
    folder::make(into).with_context(|| format!("make {}", into.display()))?;
    let files = secret::leaf_content(leaf).data;
    if let Some(there) = files.keys().map(|name| into.join(name)).find(|file| file.exists()) {
        bail!("{} is there already: choose another folder, or move it away", there.display());
    }
    // All are written before the first one gets its name: a full disk leaves none.
    let mut made = Vec::new();
    for (name, value) in files {
        let place = into.join(&name);
        let mode = if name == secret::KEY { Mode::Private } else { Mode::Usual };
        let mut file = Replacement::begin(&place, mode)?;
        file.write_all(&value).with_context(|| format!("write {}", place.display()))?;
        made.push(file);
    }
    for file in made {
        file.put(Existing::Stays)?;
    }
    Ok(())
}

/// A Secret's name is in lower case, a node's need not be.
fn manifest(name: &str, leaf: &Leaf) -> anyhow::Result<String> {
    let name = names::tls_secret(&name.to_ascii_lowercase().replace('_', "-"));
    let content = secret::leaf_content(leaf);
    let made = secret::wanted(None, ObjectMeta { name: Some(name), ..ObjectMeta::default() }, content);
    serde_saphyr::to_string(&json!(made)).context("write a manifest")
}

#[cfg(test)]
mod tests;
