//! The pods of a node resource: restricted Pod Security, read-only root, probes that mean something.

use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
        EnvVarSource, HTTPGetAction, KeyToPath, ObjectFieldSelector, PodSecurityContext, PodSpec, Probe,
        ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, TopologySpreadConstraint,
        Volume, VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use sorcha_crds::shared::SecretKeyRef;

use super::{
    meta::Owner,
    node_config::path,
    service::node_ports,
    stateful_set::{DATA, Workload},
    tls_volume::{AUTHORITIES, authorities_volume, tls_volume},
};
use crate::names::{self, Component, PROBES_PORT};

/// User of the node's image.
pub(super) const NODE_USER: i64 = 65532;

/// The pods of a StatefulSet.
pub(super) fn pod(owner: &Owner, workload: &Workload<'_>) -> PodSpec {
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
pub(super) fn from_field(name: &str, field: &str) -> EnvVar {
    let field_ref = ObjectFieldSelector { field_path: field.to_owned(), ..ObjectFieldSelector::default() };
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() }),
        ..EnvVar::default()
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
