//! How a central node's scheduled backups stand: what the CronJob says of itself.

use k8s_openapi::api::batch::v1::CronJob;
use sorcha_crds::{
    central_node::BackupStatus,
    conditions::{BACKED_UP, ConditionStatus, Finding},
};

/// What is shown of them.
pub(super) fn status(backup: Option<&CronJob>) -> BackupStatus {
    let status = backup.and_then(|job| job.status.as_ref());
    BackupStatus {
        last_schedule_time: status.and_then(|status| status.last_schedule_time.clone()),
        last_successful_time: status.and_then(|status| status.last_successful_time.clone()),
        running: status.and_then(|status| status.active.as_ref()).is_some_and(|active| !active.is_empty()),
    }
}

/// Whether the newest one that was due has been made.
pub(super) fn finding(backup: &BackupStatus) -> Finding {
    let BackupStatus { last_schedule_time: due, last_successful_time: done, running } = backup;
    let is_done = done.as_ref().is_some_and(|done| due.as_ref().is_none_or(|due| due.0 <= done.0));
    match (due, done) {
        (_, Some(done)) if is_done => Finding::new(
            BACKED_UP,
            true,
            "Succeeded",
            format!("the last backup was made and verified at {}", done.0),
        ),
        (None, _) => Finding::new(
            BACKED_UP,
            ConditionStatus::Unknown,
            "Waiting",
            "no backup was due yet: see spec.backup.schedule",
        ),
        (Some(due), done) if *running => {
            let message = format!("the backup of {} is running", due.0);
            // An older one is there meanwhile.
            let status = if done.is_some() { ConditionStatus::True } else { ConditionStatus::Unknown };
            Finding::new(BACKED_UP, status, "Running", message)
        }
        (Some(due), done) => {
            let last = done
                .as_ref()
                .map_or("none has been made yet".to_owned(), |done| format!("the last one is of {}", done.0));
            let message = format!(
                "the backup of {} failed, {last}; `kubectl get jobs,pods` and the pod's log say why",
                due.0
            );
            Finding::new(BACKED_UP, false, "Failed", message)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(status: &Value) -> (&'static str, &'static str) {
        let job: CronJob =
            serde_json::from_value(json!({"metadata": {}, "status": status})).expect("a CronJob");
        let finding = finding(&super::status(Some(&job)));
        (finding.status.as_str(), finding.reason)
    }

    #[test]
    fn the_newest_that_was_due_counts() {
        let (early, late) = ("2026-11-24T03:17:00Z", "2026-11-25T03:17:00Z");
        let active = json!([{"name": "a"}]);
        assert_eq!(found(&json!({})), ("Unknown", "Waiting"));
        assert_eq!(found(&json!({"lastScheduleTime": late, "active": active})), ("Unknown", "Running"));
        assert_eq!(found(&json!({"lastScheduleTime": late})), ("False", "Failed"));
        assert_eq!(
            found(&json!({"lastScheduleTime": early, "lastSuccessfulTime": late})),
            ("True", "Succeeded")
        );
        assert_eq!(
            found(&json!({"lastScheduleTime": late, "lastSuccessfulTime": early})),
            ("False", "Failed")
        );
        let running = json!({"lastScheduleTime": late, "lastSuccessfulTime": early, "active": active});
        assert_eq!(found(&running), ("True", "Running"));
        // One that was asked for by hand.
        assert_eq!(found(&json!({"lastSuccessfulTime": late})), ("True", "Succeeded"));
    }
}
