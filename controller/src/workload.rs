//! How pods and their StatefulSet stand, in the words of kubelet and scheduler; pure.

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ContainerStateTerminated, Pod},
};
use kube::ResourceExt as _;

use crate::names::{self, Component, label};

/// Whether a StatefulSet's pods are all of its newest revision and ready.
#[must_use]
pub(crate) fn is_settled(set: &StatefulSet) -> bool {
    let (Some(spec), Some(status)) = (&set.spec, &set.status) else { return false };
    let wanted = spec.replicas.unwrap_or(1);
    status.observed_generation >= set.metadata.generation
        && status.update_revision == status.current_revision
        && status.updated_replicas.unwrap_or(0) == wanted
        && status.ready_replicas.unwrap_or(0) == wanted
        && status.replicas == wanted
}

/// Whether a pod is one of a resource's, and not another one that has the name of one.
#[must_use]
pub(crate) fn is_of(pod: &Pod, component: Component, instance: &str) -> bool {
    let wanted = names::selector(component, instance);
    [label::INSTANCE, label::COMPONENT].iter().all(|key| pod.labels().get(*key) == wanted.get(*key))
}

/// Whether a pod is ready and not leaving.
#[must_use]
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.is_some_and(|list| list.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

/// Whether a pod's process runs, ready or not.
#[must_use]
pub(crate) fn is_running(pod: &Pod) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.is_some_and(|list| list.iter().any(|c| c.state.as_ref().is_some_and(|s| s.running.is_some())))
}

/// Why a pod is not ready, in the words of kubelet and scheduler.
#[must_use]
pub(crate) fn why_not_ready(pod: Option<&Pod>) -> (&'static str, String) {
    let Some(pod) = pod else { return ("PodMissing", "the pod does not exist yet".to_owned()) };
    let name = pod.name_any();
    if pod.metadata.deletion_timestamp.is_some() {
        return ("PodTerminating", format!("pod {name} is terminating"));
    }
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let container = containers.into_iter().next();
    let (state, last) = container.map(|c| (c.state, c.last_state)).unwrap_or_default();
    let (state, last) = (state.unwrap_or_default(), last.unwrap_or_default());
    if let Some(waiting) = state.waiting
        && waiting
            .reason
            .as_deref()
            .is_some_and(|reason| !matches!(reason, "ContainerCreating" | "PodInitializing"))
    {
        let reason = waiting.reason.unwrap_or_default();
        // Why it ended says more than how long the kubelet waits before it tries again.
        return match last.terminated {
            Some(ended) => ("PodFailing", ended_so(&name, &ended)),
            None => ("PodFailing", format!("pod {name}: {reason}: {}", waiting.message.unwrap_or_default())),
        };
    }
    if let Some(ended) = state.terminated {
        return ("PodFailing", ended_so(&name, &ended));
    }
    let unscheduled = status
        .conditions
        .unwrap_or_default()
        .into_iter()
        .find(|c| c.type_ == "PodScheduled" && c.status == "False");
    if let Some(condition) = unscheduled {
        return ("PodUnschedulable", format!("pod {name}: {}", condition.message.unwrap_or_default()));
    }
    ("PodStarting", format!("pod {name} is starting"))
}

/// How a container ended: its last words are the error that the program ended with.
fn ended_so(pod: &str, ended: &ContainerStateTerminated) -> String {
    let said = ended.message.as_deref().unwrap_or_default();
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let reason = ended.reason.as_deref().filter(|reason| *reason != "Error");
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("pod {pod} ended with code {}{reason}: {last}", ended.exit_code)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn why(status: &Value) -> (&'static str, String) {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "n0-0"}, "status": status})).expect("a pod");
        why_not_ready(Some(&pod))
    }

    fn container(state: &Value, last: &Value) -> Value {
        json!({"containerStatuses": [{
            "name": "node", "ready": false, "restartCount": 3, "image": "", "imageID": "", "state": state, "lastState": last,
        }]})
    }

    #[test]
    fn a_crash_loop_tells_the_last_words_and_not_the_back_off() {
        let log = "INFO reporting\nerror: open /var/lib/sorcha/register.journal: Permission denied\n\n";
        let ended = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": log}});
        let waiting =
            |back_off: &str| json!({"waiting": {"reason": "CrashLoopBackOff", "message": back_off}});
        let told = why(&container(&waiting("back-off 20s"), &ended));
        let expected =
            "pod n0-0 ended with code 1: error: open /var/lib/sorcha/register.journal: Permission denied";
        assert_eq!(told, ("PodFailing", expected.to_owned()));
        assert_eq!(told, why(&container(&waiting("back-off 40s"), &ended)), "the message stands still");
        let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        assert_eq!(why(&container(&killed, &json!({}))).1, "pod n0-0 ended with code 137 (OOMKilled): ");
    }

    #[test]
    fn a_pod_that_never_ran_tells_what_it_waits_for() {
        let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}});
        let told = why(&container(&waiting, &json!({})));
        assert_eq!(told, ("PodFailing", "pod n0-0: ErrImagePull: no such image".to_owned()));
        let unscheduled =
            json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "no node"}]});
        assert_eq!(why(&unscheduled), ("PodUnschedulable", "pod n0-0: no node".to_owned()));
        assert_eq!(why(&json!({})), ("PodStarting", "pod n0-0 is starting".to_owned()));
    }
}
