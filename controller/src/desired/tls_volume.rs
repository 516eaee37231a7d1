//! The volume with a node's certificate, key and trusted authorities.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, KeyToPath, ProjectedVolumeSource, SecretProjection, SecretVolumeSource, Volume,
    VolumeProjection,
};
use sorcha_crds::tls::CaKeyRef;

use super::node_config::authority_file;
use crate::names::tls_key::{CERTIFICATE, KEY, TRUST};

/// How a pod gets its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Secret with certificate and key.
    pub secret: String,
    /// ConfigMap with the trusted authorities, where the Secret's own are not enough.
    pub trust: Option<String>,
}

/// Name of the volume with the authorities of single central nodes.
pub(super) const AUTHORITIES: &str = "authorities";
/// Files that only the node's user and group may read.
const MODE: i32 = 0o440;

fn items(keys: &[&str]) -> Option<Vec<KeyToPath>> {
    let item = |key: &&str| KeyToPath { key: (*key).to_owned(), path: (*key).to_owned(), mode: None };
    Some(keys.iter().map(item).collect())
}

/// The authorities of central nodes that have one of their own, each in a file of its own; `None`: no node has.
pub(super) fn authorities_volume(authorities: &[(usize, CaKeyRef)]) -> Option<Volume> {
    let source = |(place, reference): &(usize, CaKeyRef)| {
        let item = KeyToPath { key: reference.key.clone(), path: authority_file(*place), mode: None };
        let secret =
            SecretProjection { name: reference.name.clone(), items: Some(vec![item]), optional: None };
        VolumeProjection { secret: Some(secret), ..VolumeProjection::default() }
    };
    let projected = ProjectedVolumeSource {
        default_mode: Some(MODE),
        sources: Some(authorities.iter().map(source).collect()),
    };
    let volume = Volume { name: AUTHORITIES.to_owned(), projected: Some(projected), ..Volume::default() };
    (!authorities.is_empty()).then_some(volume)
}

/// From one Secret; the trusted authorities from a ConfigMap, where the Secret's own are not enough. Not optional: a pod
/// waits for its certificate.
pub(super) fn tls_volume(mount: &Mount) -> Volume {
    let name = "tls".to_owned();
    let Some(trust) = &mount.trust else {
        let secret = SecretVolumeSource {
            secret_name: Some(mount.secret.clone()),
            default_mode: Some(MODE),
            ..SecretVolumeSource::default()
        };
        return Volume { name, secret: Some(secret), ..Volume::default() };
    };
    let secret =
        SecretProjection { name: mount.secret.clone(), items: items(&[CERTIFICATE, KEY]), optional: None };
    let config_map = ConfigMapProjection { name: trust.clone(), items: items(&[TRUST]), optional: None };
    let projected = ProjectedVolumeSource {
        default_mode: Some(MODE),
        sources: Some(vec![
            VolumeProjection { secret: Some(secret), ..VolumeProjection::default() },
            VolumeProjection { config_map: Some(config_map), ..VolumeProjection::default() },
        ]),
    };
    Volume { name, projected: Some(projected), ..Volume::default() }
}
