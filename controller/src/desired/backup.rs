//! Scheduled backups of a central node: a CronJob that fetches, verifies and keeps bundles on a volume of the user's.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        batch::v1::{CronJob, CronJobSpec, JobSpec, JobTemplateSpec},
        core::v1::{
            Container, PersistentVolumeClaimVolumeSource, PodSpec, PodTemplateSpec, ResourceRequirements,
            Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use sorcha_crds::central_node::Backup;

use super::{
    meta::Owner,
    pod::{NODE_USER, container_security, pod_security},
};
use crate::names::{self, HTTP_PORT, label, service_host};

/// Value of the label `app.kubernetes.io/component` of a backup's pods.
pub(super) const BACKUP: &str = "backup";
const FOLDER: &str = "/backups";
/// Seconds that a backup may take, and that it may begin late.
const DEADLINE: i64 = 3600;
const RETRIES: i32 = 4;
/// Finished jobs that stay to be looked at.
const HISTORY: i32 = 3;

/// The CronJob of a central node's backups.
#[must_use]
pub(crate) fn backup(owner: &Owner, backup: &Backup, image: &str, image_pull_policy: &str) -> CronJob {
    let job = JobSpec {
        backoff_limit: Some(RETRIES),
        active_deadline_seconds: Some(DEADLINE),
        template: PodTemplateSpec {
            // Not the labels of a node's pods: Services and policies would take it for one.
            metadata: Some(ObjectMeta { labels: Some(labels(owner)), ..ObjectMeta::default() }),
            spec: Some(pod(owner, backup, image, image_pull_policy)),
        },
        ..JobSpec::default()
    };
    let spec = CronJobSpec {
        schedule: backup.schedule.clone(),
        time_zone: backup.time_zone.clone(),
        concurrency_policy: Some("Forbid".to_owned()),
        starting_deadline_seconds: Some(DEADLINE),
        successful_jobs_history_limit: Some(HISTORY),
        failed_jobs_history_limit: Some(HISTORY),
        job_template: JobTemplateSpec { spec: Some(job), ..JobTemplateSpec::default() },
        ..CronJobSpec::default()
    };
    CronJob { metadata: owner.meta(names::backup(&owner.name)), spec: Some(spec), status: None }
}

fn labels(owner: &Owner) -> BTreeMap<String, String> {
    let labels = [(label::COMPONENT, BACKUP), (label::INSTANCE, owner.name.as_str())];
    labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn pod(owner: &Owner, backup: &Backup, image: &str, image_pull_policy: &str) -> PodSpec {
    let url = format!("http://{}:{HTTP_PORT}", service_host(&owner.name, &owner.namespace));
    let keep = backup.keep.to_string();
    let command =
        ["/usr/local/bin/sorcha-node", "register", "backup", FOLDER, "--url", &url, "--keep", &keep];
    let claim =
        PersistentVolumeClaimVolumeSource { claim_name: backup.claim_name.clone(), ..Default::default() };
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(pod_security(NODE_USER)),
        containers: vec![Container {
            name: "backup".to_owned(),
            image: Some(image.to_owned()),
            image_pull_policy: Some(image_pull_policy.to_owned()),
            command: Some(command.map(str::to_owned).into()),
            resources: Some(resources()),
            security_context: Some(container_security()),
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            volume_mounts: Some(vec![VolumeMount {
                name: "backups".to_owned(),
                mount_path: FOLDER.to_owned(),
                ..VolumeMount::default()
            }]),
            ..Container::default()
        }],
        volumes: Some(vec![Volume {
            name: "backups".to_owned(),
            persistent_volume_claim: Some(claim),
            ..Volume::default()
        }]),
        ..PodSpec::default()
    }
}

/// The whole register is verified in memory, as a node holds it.
fn resources() -> ResourceRequirements {
    let quantities = |pairs: &[(&str, &str)]| {
        Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), Quantity((*value).to_owned()))).collect())
    };
    ResourceRequirements {
        requests: quantities(&[("cpu", "50m"), ("memory", "64Mi")]),
        limits: quantities(&[("memory", "1Gi")]),
        ..ResourceRequirements::default()
    }
}
