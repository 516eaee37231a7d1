//! Annotations by which a container would get another confinement than the pod's fields say; pure.

use std::collections::BTreeMap;

use crate::apply;

/// Beginnings of their keys: AppArmor's and seccomp's, which older versions of Kubernetes read, and those of the container
/// runtime CRI-O. What else reads annotations in a cluster is its administrators' choice.
const REFUSED: [&str; 5] = [
    "container.apparmor.security.beta.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
    "seccomp.security.alpha.kubernetes.io/",
    "io.kubernetes.cri-o.",
    "io.containers.",
];
/// Domains of CRI-O's keys, with all that lie below them.
const DOMAINS: [&str; 2] = ["crio.io", "cri-o.io"];

fn is_refused(key: &str) -> bool {
    let domain = key.split_once('/').map_or(key, |(domain, _)| domain);
    let is_below = |parent: &&str| {
        domain.strip_suffix(*parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    REFUSED.iter().any(|beginning| key.starts_with(beginning)) || DOMAINS.iter().any(is_below)
}

/// Checks `spec.pod.annotations`.
///
/// # Errors
/// [`apply::ApplyError::Rejected`], which names the first one that is refused.
pub(crate) fn check(pods_of: &str, annotations: &BTreeMap<String, String>) -> Result<(), apply::ApplyError> {
    let Some(key) = annotations.keys().find(|key| is_refused(key)) else { return Ok(()) };
    Err(apply::ApplyError::Rejected {
        kind: "Pod".to_owned(),
        name: pods_of.to_owned(),
        message: format!("spec.pod.annotations: {key} changes how a container is confined: leave it out"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_a_confinement_is_refused_and_the_rest_is_not() {
        for (key, well) in [
            ("container.apparmor.security.beta.kubernetes.io/node", false),
            ("container.seccomp.security.alpha.kubernetes.io/node", false),
            ("seccomp.security.alpha.kubernetes.io/pod", false),
            ("io.kubernetes.cri-o.Devices", false),
            ("seccomp-profile.kubernetes.cri-o.io/node", false),
            ("seccomp-profile.crio.io/node", false),
            ("devices.crio.io", false),
            ("userns-mode.crio.io", false),
            ("io.containers.trace-syscall", false),
            ("notcrio.io/x", true),
            ("prometheus.io/scrape", true),
            ("sidecar.istio.io/inject", true),
        ] {
            let checked = check("edge", &[(key.to_owned(), "unconfined".to_owned())].into());
            assert_eq!(checked.is_ok(), well, "{key}");
            assert!(
                checked
                    .err()
                    .is_none_or(|error| error.reason() == "InvalidSpec" && error.to_string().contains(key))
            );
        }
    }
}
