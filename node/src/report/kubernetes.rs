//! Reports as server-side applies to the `status` subresource of the node's own resource.
//!
//! The only verb used is `patch` on `<plural>/status`. The answer is asked for without the resource's content: that
//! of a peer has all its pods' reports.

use async_trait::async_trait;
use axum::http::{HeaderValue, header};
use kube::{
    Client, Resource,
    api::{Patch, PatchParams},
    core::Request,
};
use serde_json::{Value, json};
use sorcha_config as config;
use sorcha_config::{Config, Role};
use sorcha_crds::{SorchaCentralNode, SorchaPeer, node_field_manager};
use tracing::{Dispatch, instrument::WithSubscriber as _};

use super::{Report, ReportError, Transport};
use crate::kubernetes::{self, NoCluster, Unusable};

/// The answer without the resource's content, where the server has that form.
const METADATA_ONLY: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json");

/// The setting that names the resource.
const SETTING: &str = "report.resource";

/// The status of one resource.
pub(crate) struct ResourceStatus {
    client: Client,
    requests: Request,
    api_version: String,
    kind: String,
    name: String,
    parameters: PatchParams,
}

/// Where a configured node reports to; `None` when it does not. Nothing is asked of the API server yet.
///
/// # Errors
/// [`Unusable`] when `report.resource` is set and can't be used.
pub(crate) async fn connect(config: &Config, role: Role) -> Result<Option<ResourceStatus>, Unusable> {
    connect_to(config, role, kubernetes::cluster()).await
}

async fn connect_to(
    config: &Config,
    role: Role,
    cluster: impl Future<Output = Result<kube::Config, NoCluster>>,
) -> Result<Option<ResourceStatus>, Unusable> {
    let Some(name) = config.report_resource(role)? else { return Ok(None) };
    let cluster = cluster.await.map_err(|source| Unusable::NoCluster { setting: SETTING, source })?;
    let kubernetes = ResourceStatus::new(cluster, role, name, &config.report, config.pod())?;
    tracing::info!(resource = config.report.resource, pod = config.pod(), "reporting status to Kubernetes");
    Ok(Some(kubernetes))
}

impl ResourceStatus {
    fn new(
        cluster: kube::Config,
        role: Role,
        name: &str,
        report: &config::Report,
        pod: &str,
    ) -> Result<Self, Unusable> {
        let namespace = report.namespace.clone().unwrap_or_else(|| cluster.default_namespace.clone());
        let client = kubernetes::client(cluster, report.timeout, SETTING)?;
        let parameters = PatchParams::apply(&node_field_manager(pod)).force();
        let name = name.to_owned();
        Ok(match role {
            Role::Peer => Self::of::<SorchaPeer>(client, &namespace, name, parameters),
            Role::Central => Self::of::<SorchaCentralNode>(client, &namespace, name, parameters),
        })
    }

    fn of<K: Resource<DynamicType = ()>>(
        client: Client,
        namespace: &str,
        name: String,
        parameters: PatchParams,
    ) -> Self {
        Self {
            client,
            requests: Request::new(K::url_path(&(), Some(namespace))),
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            name,
            parameters,
        }
    }

    fn body(&self, report: &Report) -> Value {
        let status = match report {
            Report::Peer(report) => json!({"nodes": [report]}),
            Report::Central(report) => json!({"node": report}),
        };
        json!({
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": {"name": self.name},
            "status": status,
        })
    }
}

#[async_trait]
impl Transport for ResourceStatus {
    async fn apply(&self, report: &Report) -> Result<(), ReportError> {
        let patch = Patch::Apply(self.body(report));
        let mut request = self
            .requests
            .patch_subresource("status", &self.name, &self.parameters, &patch)
            .map_err(|error| ReportError::Refused(error.to_string()))?;
        request.headers_mut().insert(header::ACCEPT, METADATA_ONLY);
        // The client logs each failure as an error; the reporter logs what changes.
        let answer = self.client.request_text(request).with_subscriber(Dispatch::none()).await;
        answer.map(drop).map_err(meaning)
    }
}

fn meaning(error: kube::Error) -> ReportError {
    let kube::Error::Api(status) = error else { return ReportError::Failed(kubernetes::text(&error)) };
    match status.code {
        404 => ReportError::NotFound(status.message),
        403 => ReportError::Forbidden(status.message),
        // Too many requests, a time-out, a token that is about to be renewed: they pass.
        401 | 408 | 409 | 429 => ReportError::Failed(status.message),
        400..500 => ReportError::Refused(status.message),
        _ => ReportError::Failed(format!("{} {}", status.code, status.message)),
    }
}

#[cfg(test)]
mod tests;
