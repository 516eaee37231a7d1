//! Whether the end-to-end tests may begin on a cluster that was not made for them.

use serde_json::Value;

/// What of this product is on a cluster already, and so is somebody else's.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Occupied {
    /// Definitions of its custom resources.
    pub definitions: Vec<String>,
    /// Releases of its charts, `namespace/name`.
    pub releases: Vec<String>,
    /// Deployments of its controller, `namespace/name`.
    pub controllers: Vec<String>,
}

impl Occupied {
    /// Reads names of definitions as `kubectl get crd -o name` prints them, `helm list -A -o json`, and the JSON list of
    /// Deployments that have the controller's labels.
    #[must_use]
    pub fn read(definitions: &str, releases: &Value, deployments: &Value) -> Self {
        let text = |value: &Value, pointer: &str| {
            value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let items = |list: Option<&Value>| list.and_then(Value::as_array).cloned().unwrap_or_default();
        Self {
            definitions: definitions
                .lines()
                .filter_map(|line| line.trim().rsplit('/').next())
                .filter(|name| name.ends_with(".sorcha.dev"))
                .map(str::to_owned)
                .collect(),
            releases: items(Some(releases))
                .iter()
                .filter(|release| is_chart_of_ours(&text(release, "/chart")))
                .map(|release| format!("{}/{}", text(release, "/namespace"), text(release, "/name")))
                .collect(),
            controllers: items(deployments.get("items"))
                .iter()
                .map(|it| format!("{}/{}", text(it, "/metadata/namespace"), text(it, "/metadata/name")))
                .collect(),
        }
    }

    /// Why the tests do not begin, and the remedy; `None` on a cluster that has nothing of it.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let found = [
            ("definitions", &self.definitions),
            ("Helm releases", &self.releases),
            ("controllers", &self.controllers),
        ];
        let found: Vec<_> = found
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {}", names.join(", ")))
            .collect();
        (!found.is_empty()).then(|| {
            format!(
                "this cluster has Sorcha already ({}). The tests' controller would reconcile its resources, and its \
                 controller those of the tests. Remedy: take a cluster without it, or give --go-on: what is there is \
                 then left as it is, definitions of another version included",
                found.join("; ")
            )
        })
    }
}

/// `sorcha-0.1.0`, `sorcha-crds-0.1.0`; no other chart whose name begins alike.
fn is_chart_of_ours(chart: &str) -> bool {
    ["sorcha-", "sorcha-crds-"].iter().any(|name| {
        chart.strip_prefix(name).is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn definitions_releases_and_controllers_of_others_keep_the_tests_from_beginning() {
        let definitions = "customresourcedefinition.apiextensions.k8s.io/sorchapeers.sorcha.dev\n\
                           customresourcedefinition.apiextensions.k8s.io/certificates.cert-manager.io\n";
        let releases = json!([
            {"name": "sorcha", "namespace": "sorcha-system", "chart": "sorcha-0.1.0"},
            {"name": "defs", "namespace": "default", "chart": "sorcha-crds-0.1.0+x"},
            {"name": "other", "namespace": "default", "chart": "sorcha-viewer-1.0.0"},
        ]);
        let deployments = json!({"items": [{"metadata": {"name": "sorcha", "namespace": "by-hand"}}]});
        let found = Occupied::read(definitions, &releases, &deployments);
        assert_eq!(found.definitions, ["sorchapeers.sorcha.dev"]);
        assert_eq!(found.releases, ["sorcha-system/sorcha", "default/defs"]);
        assert_eq!(found.controllers, ["by-hand/sorcha"]);
        let told = found.refusal().unwrap_or_default();
        for part in ["sorchapeers.sorcha.dev", "sorcha-system/sorcha", "by-hand/sorcha", "--go-on"] {
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn an_empty_cluster_is_taken() {
        let found = Occupied::read("", &json!([]), &json!({"items": []}));
        assert_eq!(found.refusal(), None);
    }
}
