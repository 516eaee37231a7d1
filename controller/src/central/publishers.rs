//! Who may publish on a central node: what its spec asks for, and what of it this cluster allows.

use kube::ResourceExt as _;
use sorcha_crds::{
    SorchaCentralNode,
    conditions::{Finding, PUBLISHERS_CONFIGURED},
};

use crate::reviews::{OF_NAMESPACE, State};

/// The finding on publishers.
pub(super) fn finding(node: &SorchaCentralNode, reviews: &State) -> Finding {
    let spec = &node.spec.publishers;
    let finding =
        |status: bool, reason, message: String| Finding::new(PUBLISHERS_CONFIGURED, status, reason, message);
    let tokens = spec.tokens_secret_ref.as_ref().map(|secret| format!("tokens of Secret {}", secret.name));
    if !spec.kubernetes.enabled {
        return match tokens {
            Some(tokens) => finding(true, "TokensOnly", format!("{tokens} are accepted")),
            None => {
                let message = "nobody may publish: set spec.publishers.tokensSecretRef or kubernetes.enabled";
                finding(false, "Nobody", message.to_owned())
            }
        };
    }
    match reviews {
        State::Given => finding(true, "Kubernetes", allowed(node, tokens.as_deref())),
        State::Fault(fault) => finding(false, "RightsNotGiven", fault.clone()),
        State::LeftOut => {
            let message = format!(
                "users of the cluster can't publish here: {OF_NAMESPACE} older central nodes of this namespace have their tokens \
                 reviewed, which is the limit; publish through one of those, or name a Secret in \
                 spec.publishers.tokensSecretRef"
            );
            finding(false, "TooManyCentralNodes", message)
        }
        State::NotHere => {
            let why = "tokens of the cluster's users are not accepted, since the controller was installed without rights for the \
                       whole cluster (scope Namespace, or rbac.create false)";
            match tokens {
                Some(tokens) => finding(true, "TokensOnly", format!("{tokens} are accepted; {why}")),
                None => {
                    let message = format!(
                        "nobody may publish: {why}; name a Secret in spec.publishers.tokensSecretRef"
                    );
                    finding(false, "NoClusterRights", message)
                }
            }
        }
    }
}

fn allowed(node: &SorchaCentralNode, tokens: Option<&str>) -> String {
    let audience = sorcha_crds::publish_audience(&node.namespace().unwrap_or_default(), &node.spec.network);
    let also = tokens.map(|tokens| format!("; {tokens} are accepted too")).unwrap_or_default();
    format!(
        "users with the verb publish on sorchacentralnodes.sorcha.dev/{} may publish, with a token for {audience}{also}",
        node.name_any()
    )
}
