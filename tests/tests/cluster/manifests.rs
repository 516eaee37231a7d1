//! Resources as users write them.

use serde_json::{Value, json};

use crate::cluster::Settings;

/// The shortest heartbeat: faults show soon.
const HEARTBEAT: &str = "10s";
/// Name of the Secret with the publishers' tokens.
const TOKENS: &str = "sorcha-publishers";

fn resource(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "sorcha.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn heartbeat() -> Value {
    json!({"interval": HEARTBEAT, "timeout": HEARTBEAT})
}

fn storage() -> Value {
    json!({"size": "64Mi"})
}

/// A central node on the network's one-member MongoDB server.
pub(crate) fn central(settings: &Settings, name: &str, network: &str, priority: i32) -> Value {
    let managed = json!({
        "image": settings.mongodb_image, "authentication": "Disabled", "storage": storage(),
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
    });
    central_with(name, network, priority, &json!({"mongodb": {"managed": managed}}))
}

/// A central node with its register in a file.
pub(crate) fn embedded(name: &str, network: &str) -> Value {
    central_with(name, network, 0, &json!({"embedded": {"storage": storage()}}))
}

/// A central node with any store.
pub(crate) fn central_with(name: &str, network: &str, priority: i32, store: &Value) -> Value {
    resource(
        "SorchaCentralNode",
        name,
        &json!({
            "network": network, "priority": priority, "store": store, "heartbeat": heartbeat(),
            "publishers": {"tokensSecretRef": {"name": TOKENS, "key": "tokens"}},
        }),
    )
}

/// Peers.
pub(crate) fn peers(name: &str, network: &str, replicas: i32) -> Value {
    let spec = json!({
        "network": network, "replicas": replicas, "heartbeat": heartbeat(),
        "store": {"embedded": {"storage": storage()}},
    });
    resource("SorchaPeer", name, &spec)
}

/// A blueprint.
pub(crate) fn blueprint(id: &str, network: &str, document: &Value) -> Value {
    resource("SorchaBlueprint", id, &json!({"network": network, "document": document}))
}

/// The publishers' tokens.
pub(crate) fn tokens() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": TOKENS},
        "stringData": {"tokens": "tester: 2f0c4b1e7d9a4c8f\n"},
    })
}

/// The token of [`tokens`].
pub(crate) const TOKEN: &str = "2f0c4b1e7d9a4c8f";

/// A pod to publish from, as a publisher inside the cluster has one.
pub(crate) fn publisher(settings: &Settings) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "publisher"},
        "spec": {
            "terminationGracePeriodSeconds": 0, "enableServiceLinks": false, "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "publisher", "image": settings.image, "imagePullPolicy": "IfNotPresent",
                // Something that stays: publications are made with kubectl exec.
                "command": ["/usr/local/bin/sorcha-node", "status", "--watch", "--output", "json", "--url", "http://nobody.invalid:1"],
                "env": [{"name": "SORCHA_TOKEN_FILE", "value": "/etc/sorcha/publishers/tokens"}],
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "publishers", "mountPath": "/etc/sorcha/publishers"}],
            }],
            "volumes": [{"name": "publishers", "secret": {"secretName": TOKENS}}],
        },
    })
}

/// A pod that runs a script once, with a shell and curl.
pub(crate) fn shell(settings: &Settings, name: &str, script: &str) -> Value {
    let mut pod = publisher(settings);
    pod["metadata"]["name"] = json!(name);
    pod["spec"]["restartPolicy"] = json!("Never");
    let container = &mut pod["spec"]["containers"][0];
    container["image"] = json!(settings.shell_image);
    container["command"] = json!(["/bin/sh", "-c", script]);
    pod
}
