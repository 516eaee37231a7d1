//! A one-member MongoDB server for trials, shared by the central nodes of a network and namespace.

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetSpec},
        core::v1::{
            Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, PodSpec, PodTemplateSpec,
            Probe, Secret, SecretKeySelector, Service, TCPSocketAction, Volume, VolumeMount,
        },
        networking::v1::NetworkPolicy,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use sorcha_crds::{
    central_node::{ManagedMongoDb, MongoDbAuthentication},
    shared::DeletionPolicy,
};

use super::{
    meta::Owner,
    network_policy::mongodb_network_policy,
    pod::{container_security, pod_security, resources},
    service::mongodb_service,
    stateful_set::{claim, retention},
};
use crate::names::{self, MONGODB_PORT};

/// User of MongoDB's own image.
const MONGODB_USER: i64 = 999;

/// The objects of the server but for its Secret, which is made once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ManagedServer {
    /// Its name in the cluster.
    pub service: Service,
    /// Who may connect.
    pub network_policy: NetworkPolicy,
    /// Its pod.
    pub stateful_set: StatefulSet,
}

/// The Secret with user, password and connection string.
#[must_use]
pub(crate) fn new_secret(owner: &Owner, server: &ManagedMongoDb, password: &str) -> Secret {
    let host = format!("{}:{MONGODB_PORT}", names::service_host(&owner.name, &owner.namespace));
    // A server that is no replica set knows no retryable writes.
    let uri = match server.authentication {
        MongoDbAuthentication::Password => {
            format!("mongodb://sorcha:{password}@{host}/?authSource=admin&retryWrites=false")
        }
        MongoDbAuthentication::Disabled => format!("mongodb://{host}/?retryWrites=false"),
    };
    let data = [("username", "sorcha"), ("password", password), ("uri", &uri)];
    let mut metadata = owner.meta(&owner.name);
    // Whom it belongs to follows the deletion policy and is applied apart.
    metadata.owner_references = None;
    Secret {
        metadata,
        string_data: Some(data.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

/// The server.
#[must_use]
pub(crate) fn managed_server(
    owner: &Owner,
    server: &ManagedMongoDb,
    policy: DeletionPolicy,
) -> ManagedServer {
    let spec = StatefulSetSpec {
        replicas: Some(1),
        selector: LabelSelector { match_labels: Some(owner.selector()), ..LabelSelector::default() },
        service_name: Some(owner.name.clone()),
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta { labels: Some(owner.labels()), ..ObjectMeta::default() }),
            spec: Some(pod(owner, server)),
        },
        volume_claim_templates: Some(vec![claim(&server.storage)]),
        persistent_volume_claim_retention_policy: Some(retention(policy)),
        ..StatefulSetSpec::default()
    };
    ManagedServer {
        service: mongodb_service(owner),
        network_policy: mongodb_network_policy(owner),
        stateful_set: StatefulSet {
            metadata: owner.meta(&owner.name),
            spec: Some(spec),
            ..StatefulSet::default()
        },
    }
}

fn pod(owner: &Owner, server: &ManagedMongoDb) -> PodSpec {
    let scratch = |name: &str| Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(pod_security(MONGODB_USER)),
        containers: vec![container(owner, server)],
        volumes: Some(vec![scratch("tmp"), scratch("config")]),
        termination_grace_period_seconds: Some(30),
        ..PodSpec::default()
    }
}

fn container(owner: &Owner, server: &ManagedMongoDb) -> Container {
    let mount = |name: &str, path: &str| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    };
    let probe = |period, failures| Probe {
        tcp_socket: Some(TCPSocketAction {
            port: IntOrString::String("mongodb".to_owned()),
            ..TCPSocketAction::default()
        }),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        ..Probe::default()
    };
    Container {
        name: "mongodb".to_owned(),
        image: Some(server.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        env: Some(environment(owner, server)),
        ports: Some(vec![ContainerPort {
            name: Some("mongodb".to_owned()),
            container_port: MONGODB_PORT,
            ..ContainerPort::default()
        }]),
        resources: Some(server.resources.clone().unwrap_or_else(|| resources("100m", "256Mi", "1Gi"))),
        readiness_probe: Some(probe(2, 3)),
        liveness_probe: Some(probe(10, 6)),
        security_context: Some(container_security()),
        volume_mounts: Some(vec![
            mount("data", "/data/db"),
            mount("config", "/data/configdb"),
            mount("tmp", "/tmp"),
        ]),
        ..Container::default()
    }
}

/// What MongoDB's own image makes its first user from.
fn environment(owner: &Owner, server: &ManagedMongoDb) -> Vec<EnvVar> {
    let from_secret = |name: &str, key: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: owner.name.clone(),
                key: key.to_owned(),
                ..SecretKeySelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    match server.authentication {
        MongoDbAuthentication::Password => vec![
            from_secret("MONGO_INITDB_ROOT_USERNAME", "username"),
            from_secret("MONGO_INITDB_ROOT_PASSWORD", "password"),
        ],
        MongoDbAuthentication::Disabled => Vec::new(),
    }
}
