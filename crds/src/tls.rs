//! `spec.tls`: the source of a node's certificate, and the authorities that it trusts.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Mutual TLS between the nodes of a network. Both sides prove their identity; central nodes and peers that talk to each other
/// must all use it, or none of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.mode != 'CertManager' || has(self.issuerRef)").message("tls.mode CertManager needs tls.issuerRef: name the cert-manager issuer that signs"))]
#[x_kube(validation = Rule::new("self.mode == 'CertManager' || !has(self.issuerRef)").message("tls.issuerRef is for tls.mode CertManager only: set the mode, or leave issuerRef out"))]
#[x_kube(validation = Rule::new("self.mode != 'Secret' || has(self.secretName)").message("tls.mode Secret needs tls.secretName: name a Secret with the keys tls.crt, tls.key and ca.crt"))]
#[x_kube(validation = Rule::new("self.mode == 'Secret' || !has(self.secretName)").message("tls.secretName is for tls.mode Secret only: set the mode, or leave secretName out"))]
#[x_kube(validation = Rule::new("self.mode != 'Disabled' || !has(self.trust)").message("tls.trust has no use with tls.mode Disabled: leave it out, or choose another mode"))]
pub struct Tls {
    /// Source of the certificate.
    #[serde(default)]
    pub mode: TlsMode,
    /// Issuer of cert-manager; with `mode: CertManager` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
    /// Secret with the keys `tls.crt`, `tls.key` and `ca.crt`; with `mode: Secret` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
    /// Further authorities whose certificates are accepted, such as that of the same network in another namespace. Each of
    /// them can vouch for any identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub trust: Vec<TrustSource>,
}

/// Source of a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// The controller's own authority, one for each network and namespace.
    #[default]
    Managed,
    /// cert-manager, with the issuer named.
    CertManager,
    /// A Secret that the user or another tool fills and renews.
    Secret,
    /// No TLS: plaintext, for trials and for networks with other protection.
    Disabled,
}

/// An issuer of cert-manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IssuerRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// An `Issuer` of the namespace, or a `ClusterIssuer`.
    #[serde(default)]
    pub kind: IssuerKind,
    /// Its API group.
    #[serde(default = "cert_manager_group")]
    #[schemars(length(min = 1, max = 253))]
    pub group: String,
}

fn cert_manager_group() -> String {
    "cert-manager.io".to_owned()
}

/// Kind of an issuer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IssuerKind {
    /// In the resource's namespace.
    #[default]
    Issuer,
    /// For the whole cluster.
    ClusterIssuer,
}

impl IssuerKind {
    /// As cert-manager writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issuer => "Issuer",
            Self::ClusterIssuer => "ClusterIssuer",
        }
    }
}

/// Certificates of authorities: exactly one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.configMapRef) != has(self.secretRef)").message("each entry of tls.trust needs exactly one of configMapRef and secretRef"))]
pub struct TrustSource {
    /// Key of a ConfigMap in the resource's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<CaKeyRef>,
    /// Key of a Secret in the resource's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<CaKeyRef>,
}

/// A key that holds certificates of authorities, PEM.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaKeyRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its data.
    #[serde(default = "ca_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn ca_key() -> String {
    "ca.crt".to_owned()
}

/// The certificate of the nodes of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// End of its validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
    /// Who signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub issuer: Option<String>,
    /// Secret that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub secret_name: Option<String>,
}
