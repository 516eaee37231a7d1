//! The pods of a node resource: restricted Pod Security, read-only root, probes that mean something.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec},
        core::v1::{
            Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
            EnvVarSource, HTTPGetAction, KeyToPath, ObjectFieldSelector, PersistentVolumeClaim,
            PersistentVolumeClaimSpec, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
            ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext,
            TopologySpreadConstraint, Volume, VolumeMount, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use sha2::{Digest as _, Sha256};
use sorcha_crds::{
    shared::{DeletionPolicy, PodOverrides, SecretKeyRef, Storage},
    tls::CaKeyRef,
};

use super::{
    meta::Owner,
    node_config::path,
    service::node_ports,
    tls_volume::{AUTHORITIES, Mount, authorities_volume, tls_volume},
};
use crate::names::{self, Component, PROBES_PORT};

/// User of the node's image.
pub(super) const NODE_USER: i64 = 65532;
/// Annotation by which a changed configuration restarts the pods.
const CONFIG_ANNOTATION: &str = "sorcha.dev/config-hash";
/// Name of the volume with the register.
pub const DATA: &str = "data";

/// What the pods of a resource run.
#[derive(Clone, Debug)]
pub struct Workload<'a> {
    /// Number of pods.
    pub replicas: i32,
    /// Image.
    pub image: &'a str,
    /// When it is pulled.
    pub image_pull_policy: &'a str,
    /// Requests and limits, if the spec has them.
    pub resources: Option<&'a ResourceRequirements>,
    /// Where and how they run.
    pub overrides: &'a PodOverrides,
    /// Text of the configuration; another one restarts the pods.
    pub config: &'a str,
    /// Volume with the register; `None`: nothing is kept on a volume.
    pub storage: Option<&'a Storage>,
    /// What happens to volumes.
    pub deletion_policy: DeletionPolicy,
    /// Secret key with MongoDB's connection string.
    pub mongodb_uri: Option<SecretKeyRef>,
    /// Certificate, key and trusted authorities; `None`: plain text. Pods read them again when they change, so that a
    /// renewed certificate restarts nothing.
    pub tls: Option<&'a Mount>,
    /// Authorities of single central nodes, by their place in the peer's list.
    pub authorities: Vec<(usize, CaKeyRef)>,
    /// Secret key with the publishers' tokens.
    pub publishers: Option<SecretKeyRef>,
    /// Further environment of the node.
    pub env: Vec<EnvVar>,
    /// Seconds between SIGTERM and SIGKILL.
    pub grace_seconds: i64,
}

/// The StatefulSet of a node resource.
#[must_use]
pub fn stateful_set(owner: &Owner, workload: &Workload<'_>) -> StatefulSet {
    let spec = StatefulSetSpec {
        replicas: Some(workload.replicas),
        selector: LabelSelector { match_labels: Some(owner.selector()), ..LabelSelector::default() },
        service_name: Some(names::headless(&owner.name)),
        pod_management_policy: Some("Parallel".to_owned()),
        revision_history_limit: Some(3),
        template: template(owner, workload),
        volume_claim_templates: workload.storage.map(|storage| vec![claim(storage)]),
        persistent_volume_claim_retention_policy: Some(retention(workload.deletion_policy)),
        ..StatefulSetSpec::default()
    };
    StatefulSet { metadata: owner.meta(&owner.name), spec: Some(spec), ..StatefulSet::default() }
}

/// Scaled-down replicas keep their volume: scaled up again they resume from it.
pub(super) fn retention(policy: DeletionPolicy) -> StatefulSetPersistentVolumeClaimRetentionPolicy {
    let when_deleted = match policy {
        DeletionPolicy::Retain => "Retain",
        DeletionPolicy::Delete => "Delete",
    };
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: Some(when_deleted.to_owned()),
        when_scaled: Some("Retain".to_owned()),
    }
}

pub(super) fn claim(storage: &Storage) -> PersistentVolumeClaim {
    let requests = BTreeMap::from([("storage".to_owned(), storage.size.clone())]);
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(DATA.to_owned()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements { requests: Some(requests), limits: None }),
            storage_class_name: storage.class_name.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

fn template(owner: &Owner, workload: &Workload<'_>) -> PodTemplateSpec {
    let mut labels = workload.overrides.labels.clone();
    labels.extend(owner.labels());
    let mut annotations = workload.overrides.annotations.clone();
    let hash = hex::encode(&Sha256::digest(workload.config)[..16]);
    annotations.insert(CONFIG_ANNOTATION.to_owned(), hash);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(owner, workload)),
    }
}

fn pod(owner: &Owner, workload: &Workload<'_>) -> PodSpec {
    let overrides = workload.overrides;
    let spread = overrides.topology_spread_constraints.clone();
    PodSpec {
        service_account_name: Some(owner.name.clone()),
        automount_service_account_token: Some(true),
        // Variables of other Services would read as settings.
        enable_service_links: Some(false),
        security_context: Some(pod_security(NODE_USER)),
        termination_grace_period_seconds: Some(workload.grace_seconds),
        containers: vec![container(owner, workload)],
        volumes: Some(volumes(owner, workload)),
        node_selector: (!overrides.node_selector.is_empty()).then(|| overrides.node_selector.clone()),
        tolerations: (!overrides.tolerations.is_empty()).then(|| overrides.tolerations.clone()),
        affinity: overrides.affinity.clone(),
        topology_spread_constraints: Some(spread.unwrap_or_else(|| spread_out(owner))),
        priority_class_name: overrides.priority_class_name.clone(),
        image_pull_secrets: (!overrides.image_pull_secrets.is_empty())
            .then(|| overrides.image_pull_secrets.clone()),
        ..PodSpec::default()
    }
}

/// Over machines and zones where that is possible; central nodes of a network spread as one group.
fn spread_out(owner: &Owner) -> Vec<TopologySpreadConstraint> {
    let labels = match owner.component {
        Component::CentralNode => {
            let group = [
                (names::label::COMPONENT, owner.component.label()),
                (names::label::NETWORK, owner.network.as_str()),
            ];
            group.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
        }
        Component::Peer | Component::MongoDb => owner.selector(),
    };
    ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
        .map(|key| TopologySpreadConstraint {
            max_skew: 1,
            topology_key: key.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(LabelSelector {
                match_labels: Some(labels.clone()),
                ..LabelSelector::default()
            }),
            ..TopologySpreadConstraint::default()
        })
        .into()
}

pub(super) fn pod_security(user: i64) -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(user),
        run_as_group: Some(user),
        fs_group: Some(user),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

pub(super) fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

fn container(owner: &Owner, workload: &Workload<'_>) -> Container {
    let role = match owner.component {
        Component::CentralNode => "central",
        Component::Peer | Component::MongoDb => "peer",
    };
    let ports = node_ports(owner.component, workload.tls.is_some());
    let ports = ports.into_iter().chain([("probes", PROBES_PORT)]).map(|(name, port)| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        ..ContainerPort::default()
    });
    let mut env = vec![from_field("SORCHA_REPORT__POD", "metadata.name")];
    env.extend(workload.env.iter().cloned());
    Container {
        name: "node".to_owned(),
        image: Some(workload.image.to_owned()),
        image_pull_policy: Some(workload.image_pull_policy.to_owned()),
        command: Some(vec!["/usr/local/bin/sorcha-node".to_owned()]),
        args: Some(vec![role.to_owned(), "--config".to_owned(), format!("{}/sorcha.toml", path::CONFIG)]),
        env: Some(env),
        ports: Some(ports.collect()),
        resources: Some(workload.resources.cloned().unwrap_or_else(|| default_resources(owner.component))),
        startup_probe: Some(probe("/livez", 1, 120)),
        liveness_probe: Some(probe("/livez", 10, 3)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        security_context: Some(container_security()),
        volume_mounts: Some(mounts(workload)),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

/// A variable that the kubelet fills in.
#[must_use]
pub(super) fn from_field(name: &str, field: &str) -> EnvVar {
    let field_ref = ObjectFieldSelector { field_path: field.to_owned(), ..ObjectFieldSelector::default() };
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() }),
        ..EnvVar::default()
    }
}

impl Workload<'_> {
    /// Environment of a peer: its id is the pod's name, and so is the end of its database's.
    #[must_use]
    pub fn peer_env(database_prefix: Option<&str>) -> Vec<EnvVar> {
        let mut env = vec![from_field("SORCHA_NODE__ID", "metadata.name")];
        env.extend(database_prefix.map(|prefix| EnvVar {
            name: "SORCHA_STORE__MONGODB__DATABASE".to_owned(),
            value: Some(format!("{prefix}$(SORCHA_NODE__ID)")),
            ..EnvVar::default()
        }));
        env
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("probes".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

fn default_resources(component: Component) -> ResourceRequirements {
    match component {
        Component::CentralNode => resources("50m", "128Mi", "1Gi"),
        Component::Peer => resources("25m", "64Mi", "512Mi"),
        Component::MongoDb => resources("100m", "256Mi", "1Gi"),
    }
}

pub(super) fn resources(cpu: &str, memory: &str, memory_limit: &str) -> ResourceRequirements {
    let quantities = |pairs: &[(&str, &str)]| {
        Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), Quantity((*value).to_owned()))).collect())
    };
    ResourceRequirements {
        requests: quantities(&[("cpu", cpu), ("memory", memory)]),
        limits: quantities(&[("memory", memory_limit)]),
        ..ResourceRequirements::default()
    }
}

fn mounts(workload: &Workload<'_>) -> Vec<VolumeMount> {
    let read_only = |name: &str, path: &str| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    let mut mounts = vec![
        read_only("config", path::CONFIG),
        read_only("network", path::NETWORK),
        VolumeMount { name: DATA.to_owned(), mount_path: path::DATA.to_owned(), ..VolumeMount::default() },
    ];
    mounts.extend(workload.tls.map(|_| read_only("tls", path::TLS)));
    mounts.extend(workload.authorities.first().map(|_| read_only(AUTHORITIES, path::AUTHORITIES)));
    mounts.extend(workload.mongodb_uri.as_ref().map(|_| read_only("mongodb", path::MONGODB)));
    mounts.extend(workload.publishers.as_ref().map(|_| read_only("publishers", path::PUBLISHERS)));
    mounts
}

fn volumes(owner: &Owner, workload: &Workload<'_>) -> Vec<Volume> {
    let named = |name: &str| Volume { name: name.to_owned(), ..Volume::default() };
    let config_map = |name: &str, optional: bool| ConfigMapVolumeSource {
        name: name.to_owned(),
        optional: optional.then_some(true),
        ..ConfigMapVolumeSource::default()
    };
    let secret = |volume: &str, key: &SecretKeyRef, file: &str| Volume {
        secret: Some(SecretVolumeSource {
            secret_name: Some(key.name.clone()),
            items: Some(vec![KeyToPath {
                key: key.key.clone(),
                path: file.to_owned(),
                ..KeyToPath::default()
            }]),
            ..SecretVolumeSource::default()
        }),
        ..named(volume)
    };
    let mut volumes = vec![
        Volume { config_map: Some(config_map(&owner.name, false)), ..named("config") },
        // May come later than the pod: a peer waits for it and goes on serving what it holds.
        Volume {
            config_map: Some(config_map(&names::network_config_map(&owner.network), true)),
            ..named("network")
        },
    ];
    if workload.storage.is_none() {
        volumes.push(Volume { empty_dir: Some(EmptyDirVolumeSource::default()), ..named(DATA) });
    }
    volumes.extend(workload.tls.map(tls_volume));
    volumes.extend(authorities_volume(&workload.authorities));
    volumes.extend(workload.mongodb_uri.as_ref().map(|key| secret("mongodb", key, "uri")));
    volumes.extend(workload.publishers.as_ref().map(|key| secret("publishers", key, "tokens")));
    volumes
}
