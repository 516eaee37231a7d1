//! Authorization: the certificate of a connection decides which peers its caller may speak for (ADR 34 and 38).
//!
//! A plaintext connection has no certificate and may speak for every peer.

use sorcha_identity::{
    Identity,
    certificate::{Credential, NoIdentity},
};
use sorcha_register::names::PeerId;
use tonic::{Code, Status};

use super::{CentralNode, incoming::Connection};

/// Why a caller may not speak for a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Denied<'c> {
    NoIdentity(&'c NoIdentity),
    OtherNetwork(&'c Identity),
    CentralNode(&'c Identity),
    OtherPeer(&'c Identity),
}

fn check<'c>(credential: &'c Credential, network: &str, peer: &PeerId) -> Result<(), Denied<'c>> {
    match credential {
        Err(none) => Err(Denied::NoIdentity(none)),
        Ok(identity) if identity.network() != network => Err(Denied::OtherNetwork(identity)),
        Ok(identity) if identity.is_central_node() => Err(Denied::CentralNode(identity)),
        Ok(identity) if !identity.speaks_for(peer) => Err(Denied::OtherPeer(identity)),
        Ok(_) => Ok(()),
    }
}

impl Denied<'_> {
    fn status(&self, network: &str, peer: &PeerId) -> Status {
        match self {
            Self::NoIdentity(why) => Status::permission_denied(format!(
                "the certificate of {peer} has no identity of network {network}: {why}"
            )),
            Self::OtherNetwork(identity) => Status::permission_denied(format!(
                "{identity} is of network {}; this central node serves {network}: {peer} is refused",
                identity.network()
            )),
            Self::CentralNode(identity) => Status::failed_precondition(format!(
                "{identity} is a central node; central nodes don't connect to central nodes: start {peer} as a peer \
                 with a peer's certificate, or remove its central_nodes setting"
            )),
            Self::OtherPeer(identity) => {
                Status::permission_denied(format!("{identity} may not speak for peer_id {peer}"))
            }
        }
    }
}

impl CentralNode {
    /// Checks that the caller may speak for a peer, before a call that names the peer does anything else.
    pub(super) fn authorize(&self, connection: &Connection, peer: &PeerId) -> Result<(), Status> {
        let Some(credential) = connection.credential() else { return Ok(()) };
        let network = &self.config.node.network;
        check(credential, network, peer).map_err(|denied| {
            let status = denied.status(network, peer);
            let is_configuration = status.code() == Code::FailedPrecondition;
            self.deny(connection, peer, is_configuration, status)
        })
    }

    /// Refuses the use of a session that another identity has opened.
    pub(super) fn foreign_session(&self, connection: &Connection, peer: &PeerId) -> Status {
        let caller = match connection.credential() {
            Some(Ok(identity)) => identity.to_string(),
            Some(Err(_)) | None => "a caller without an identity".to_owned(),
        };
        let message = format!("the session of {peer} was opened by another identity than {caller}");
        self.deny(connection, peer, false, Status::permission_denied(message))
    }

    /// Counts and logs the refusal of a central node that connects as a peer; other refusals pass unchanged.
    pub(super) fn refuse_central(&self, connection: &Connection, peer: &PeerId, status: Status) -> Status {
        match status.code() {
            Code::FailedPrecondition => self.deny(connection, peer, true, status),
            _ => status,
        }
    }

    fn deny(&self, connection: &Connection, peer: &PeerId, is_configuration: bool, status: Status) -> Status {
        self.env.metrics.refused("identity");
        if self.limiters.may_log_refusal() {
            let (remote, reason) = (connection.remote.map(tracing::field::display), status.message());
            if is_configuration {
                tracing::error!(peer_id = %peer, remote, reason, "configuration error: a central node tried to connect to this central node");
            } else {
                tracing::warn!(peer_id = %peer, remote, reason, "call refused: its certificate does not allow it");
            }
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::metrics::SdkMeterProvider;
    use sorcha_runtime::{metrics::Metrics, testing::Lines};

    use super::*;
    use crate::testing;

    #[tokio::test(start_paused = true)]
    async fn refusals_of_identities_are_logged_at_a_rate_and_counted_all() {
        let registry = prometheus::Registry::new();
        let scrapes = opentelemetry_prometheus::exporter().with_registry(registry.clone());
        let reader = scrapes.scope_info_enabled(false).build().unwrap();
        let meters = SdkMeterProvider::builder().with_reader(reader).build();
        let (node, lines) = (testing::node(Metrics::new(&meters, "n0")), Lines::default());
        let subscriber = tracing_subscriber::fmt().with_writer(lines.clone()).finish();
        let (caller, peer) = (Connection::default(), PeerId::new("edge-0").unwrap());
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..100 {
                let _told = node.foreign_session(&caller, &peer);
            }
        });
        let logged = lines.text();
        assert_eq!(logged.lines().count(), 10, "limits.refusal_logs: {logged}");
        let metrics = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let counted = "central_refusals_total{node_id=\"n0\",reason=\"identity\"} 100";
        assert!(metrics.contains(counted), "{metrics}");
    }

    #[test]
    fn each_reason_has_its_code_and_names_caller_and_peer() {
        let identity = |uri: &str| -> Credential { Ok(Identity::parse(uri).unwrap()) };
        let peer = PeerId::new("edge-0").unwrap();
        let told = |credential: &Credential| {
            let status = check(credential, "sorcha.dev", &peer).unwrap_err().status("sorcha.dev", &peer);
            assert!(status.message().contains("edge-0"), "{status}");
            (status.code(), status.message().to_owned())
        };
        let good = identity("spiffe://sorcha.dev/ns/shop/sorchapeer/edge");
        assert_eq!(check(&good, "sorcha.dev", &peer), Ok(()));
        for (uri, code) in [
            ("spiffe://sorcha.dev/ns/shop/sorchapeer/edg", Code::PermissionDenied),
            ("spiffe://sorcha.dev/ns/shop/peer/edge", Code::PermissionDenied),
            ("spiffe://other.dev/ns/shop/sorchapeer/edge", Code::PermissionDenied),
            ("spiffe://other.dev/ns/shop/sorchacentralnode/edge", Code::PermissionDenied),
            ("spiffe://sorcha.dev/ns/shop/sorchacentralnode/edge", Code::FailedPrecondition),
        ] {
            let (found, message) = told(&identity(uri));
            assert_eq!(found, code, "{uri}");
            assert!(message.contains(uri), "{message}");
        }
        let (code, message) = told(&Err(NoIdentity::Missing));
        assert_eq!(code, Code::PermissionDenied);
        assert!(message.contains("no spiffe:// URI"), "{message}");
    }
}
