//! The cluster that the tests run on, and what all scenarios share.

use std::{cell::RefCell, ffi::OsString, rc::Rc, sync::LazyLock};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sorcha_tests::occupied::Occupied;
use tokio::sync::OnceCell;

use crate::{
    network,
    process::{self, Ended},
    proxy::Proxy,
    space::Space,
};

/// No release, namespace or role of anybody else has this name.
static RUN: LazyLock<String> = LazyLock::new(|| format!("sorcha-e2e-{:05}", rand::random_range(0..100_000)));

/// Release of the controller's chart, and so the name of what it makes.
pub(crate) fn release() -> &'static str {
    &RUN
}

/// Release of the definitions' chart.
pub(crate) fn definitions_release() -> String {
    format!("{}-crds", release())
}

/// Namespace of the controller.
pub(crate) fn system() -> &'static str {
    &RUN
}

/// Labels of the controller's pods.
pub(crate) const CONTROLLER: &str = "app.kubernetes.io/name=sorcha,app.kubernetes.io/component=controller";

/// Labels of every release's controller.
const CONTROLLERS: &str = "app.kubernetes.io/part-of=sorcha,app.kubernetes.io/component=controller";

/// What the environment says.
pub(crate) struct Settings {
    pub(crate) kubeconfig: String,
    pub(crate) image: String,
    pub(crate) image_2: String,
    pub(crate) mongodb_image: String,
    pub(crate) shell_image: String,
    /// Command that takes stop or start.
    pub(crate) apiserver: Option<String>,
    pub(crate) audit_log: Option<String>,
}

impl Settings {
    /// `None` when there is no cluster.
    pub(crate) fn from_environment() -> Option<Self> {
        let set = |name: &str| {
            std::env::var_os(name).map(OsString::into_string).and_then(Result::ok).filter(|v| !v.is_empty())
        };
        let image = set("SORCHA_E2E_IMAGE").unwrap_or_else(|| "localhost/sorcha:e2e".to_owned());
        Some(Self {
            kubeconfig: set("SORCHA_E2E_KUBECONFIG")?,
            image_2: set("SORCHA_E2E_IMAGE_2").unwrap_or_else(|| format!("{image}-2")),
            image,
            mongodb_image: set("SORCHA_E2E_MONGODB_IMAGE")
                .unwrap_or_else(|| "localhost/sorcha-test-mongodb:e2e".to_owned()),
            shell_image: set("SORCHA_E2E_SHELL_IMAGE")
                .unwrap_or_else(|| "localhost/sorcha-test-shell:e2e".to_owned()),
            apiserver: set("SORCHA_E2E_APISERVER"),
            audit_log: set("SORCHA_E2E_AUDIT_LOG"),
        })
    }
}

/// The cluster.
pub(crate) struct Cluster {
    pub(crate) settings: Settings,
    pub(crate) proxy: Proxy,
    /// Namespaces made, with the scenario that made them.
    pub(crate) spaces: RefCell<Vec<(&'static str, Space)>>,
    /// What was here before.
    pub(crate) occupied: Occupied,
    /// Definitions that this run has made, and so takes away.
    pub(crate) definitions: RefCell<Vec<String>>,
    network: OnceCell<Space>,
}

impl Cluster {
    pub(crate) async fn connect(settings: Settings) -> Result<Rc<Self>> {
        let ready =
            ["--kubeconfig", &settings.kubeconfig, "get", "--raw", "/readyz", "--request-timeout=10s"];
        process::run("kubectl", &ready, "").await?.out("reach the cluster of SORCHA_E2E_KUBECONFIG")?;
        let proxy = Proxy::start(&settings.kubeconfig).await?;
        let mut cluster = Self {
            settings,
            proxy,
            spaces: RefCell::default(),
            occupied: Occupied::default(),
            definitions: RefCell::default(),
            network: OnceCell::new(),
        };
        cluster.occupied = cluster.look_around().await?;
        Ok(Rc::new(cluster))
    }

    /// What a pod shows as its metrics, in Prometheus text.
    pub(crate) async fn metrics(&self, namespace: &str, pod: &str) -> Result<String> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:8080/proxy/metrics");
        Ok(self.proxy.get(&path, &[]).await?.body)
    }

    async fn look_around(&self) -> Result<Occupied> {
        let definitions = self.kubectl(&["get", "crd", "-o", "name"]).await?;
        let releases = self.helm(&["list", "--all-namespaces", "--all", "-o", "json"]).await?;
        let releases = serde_json::from_str(&releases).unwrap_or_else(|_none| json!([]));
        let deployments = self.json(&["get", "deployments", "--all-namespaces", "-l", CONTROLLERS]).await?;
        Ok(Occupied::read(&definitions, &releases, &deployments))
    }

    /// Runs kubectl, whatever comes of it.
    pub(crate) async fn try_kubectl(&self, arguments: &[&str], input: &str) -> Result<Ended> {
        let mut all = vec!["--kubeconfig", self.settings.kubeconfig.as_str()];
        all.extend(arguments);
        process::run("kubectl", &all, input).await
    }

    /// Runs kubectl; what it prints.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.try_kubectl(arguments, "").await?.out(&format!("kubectl {}", arguments.join(" ")))
    }

    pub(crate) async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        Ok(serde_json::from_str(&self.kubectl(&all).await?)?)
    }

    pub(crate) async fn helm(&self, arguments: &[&str]) -> Result<String> {
        let mut all = vec!["--kubeconfig", self.settings.kubeconfig.as_str()];
        all.extend(arguments);
        process::run("helm", &all, "").await?.out(&format!("helm {}", arguments.join(" ")))
    }

    /// A namespace of a scenario's own, with the restricted Pod Security Standard enforced.
    pub(crate) async fn space(self: &Rc<Self>, scenario: &'static str, suffix: &str) -> Result<Space> {
        let name = format!("{}-{scenario}{suffix}", release());
        let space = Space::new(Rc::clone(self), name);
        self.spaces.borrow_mut().push((scenario, space.clone()));
        space.create().await?;
        Ok(space)
    }

    /// The network that several scenarios use one after the other: three central nodes, peers `edge`.
    pub(crate) async fn network(self: &Rc<Self>) -> Result<&Space> {
        self.network.get_or_try_init(|| network::create(self)).await
    }

    /// The ready controller pod that reconciles.
    pub(crate) async fn leader(&self) -> Result<String> {
        let path = "jsonpath={.spec.holderIdentity}";
        let holder = self.kubectl(&["-n", system(), "get", "lease", release(), "-o", path]).await?;
        let pods = self.json(&["-n", system(), "get", "pods", "-l", CONTROLLER]).await?;
        let leader = crate::look::Look::list(&pods, "/items")
            .iter()
            .filter(|pod| crate::look::is_ready(pod))
            .map(|pod| crate::look::Look::name(pod).to_owned())
            .find(|pod| holder.starts_with(pod.as_str()));
        leader.with_context(|| format!("no ready controller holds the lease, which is held by {holder:?}"))
    }
}
