//! Annotations by which a container would get another confinement than the pod's fields say; pure.

use std::collections::BTreeMap;

use crate::apply;

/// Beginnings of their keys: AppArmor's and seccomp's, which older versions of Kubernetes read, and those of the container
/// runtime CRI-O. What else reads annotations in a cluster is its administrators' choice.
const REFUSED: [&str; 4] = [
    "container.apparmor.security.beta.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
    "seccomp.security.alpha.kubernetes.io/",
    "io.kubernetes.cri-o.",
];

/// Checks `spec.pod.annotations`.
///
/// # Errors
/// [`apply::Error::Rejected`], which names the first one that is refused.
pub fn check(pods_of: &str, annotations: &BTreeMap<String, String>) -> Result<(), apply::Error> {
    let refused = |key: &&String| REFUSED.iter().any(|beginning| key.starts_with(beginning));
    let Some(key) = annotations.keys().find(refused) else { return Ok(()) };
    Err(apply::Error::Rejected {
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
