//! Mutual TLS: the central node must show a certificate for the name that was dialled, and is shown this peer's.

use std::{io, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use http::Uri;
use hyper_util::rt::TokioIo;
use sorcha_config::{CentralNodeAddress, Config};
use sorcha_identity::certificate::{self, Credential, NoIdentity};
use sorcha_runtime::tls::{Tls, explain};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};
use tonic::transport::Error;
use tower::service_fn;

use super::{
    Dialer, Dialled, authority, endpoint,
    life::{Life, Watched},
    tcp::Tcp,
};

/// HTTP/2 over mutual TLS.
#[derive(Clone, Debug)]
pub(crate) struct MutualTls(Arc<Tls>);

impl MutualTls {
    /// With a node's certificate and CAs, as they are at each dial.
    #[must_use]
    pub(crate) const fn new(tls: Arc<Tls>) -> Self {
        Self(tls)
    }
}

#[async_trait]
impl Dialer for MutualTls {
    async fn dial(&self, address: &CentralNodeAddress, config: &Config) -> Result<Dialled, Error> {
        // The connector makes it TLS; that requests say so too is stated apart.
        let endpoint = endpoint(address, config)?;
        let endpoint = match format!("https://{}", authority(address)).parse() {
            Ok(origin) => endpoint.origin(origin),
            Err(_) => endpoint,
        };
        let opening = Opening {
            tls: Arc::clone(&self.0),
            tcp: Tcp::new(config),
            host: address.host.clone(),
            ca_file: address.ca_file.clone(),
            network: config.node.network.clone(),
            life: Life::default(),
        };
        let life = opening.life.clone();
        let connector = service_fn(move |uri| opening.clone().open(uri));
        let channel = endpoint.connect_with_connector(connector).await?;
        Ok(Dialled { channel, life })
    }
}

/// What a connection is opened with.
#[derive(Clone)]
struct Opening {
    tls: Arc<Tls>,
    tcp: Tcp,
    host: String,
    /// CAs of this central node alone.
    ca_file: Option<PathBuf>,
    network: String,
    life: Life,
}

impl Opening {
    async fn open(self, uri: Uri) -> io::Result<TokioIo<Watched<TlsStream<TcpStream>>>> {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|_| {
            let told = format!(
                "{:?} is neither a host name nor an IP address that a certificate can be for",
                self.host
            );
            io::Error::new(io::ErrorKind::InvalidInput, told)
        })?;
        let stream = self.tcp.connect(uri).await?;
        let client = match &self.ca_file {
            Some(file) => self.tls.client_believing(file).map_err(io::Error::other)?,
            None => self.tls.client(),
        };
        let stream = TlsConnector::from(client).connect(name, stream).await.map_err(explained)?;
        if let Some(shown) = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()) {
            let expected = Expected { network: &self.network, namespace: namespace_of(&self.host) };
            is_central_node(&certificate::credential(shown), &expected).map_err(io::Error::other)?;
        }
        // With TLS 1.3 a server that refuses the client's certificate says so only once the client takes the connection for open.
        let life = self.life.clone();
        let explain =
            move |read: io::Result<&[u8]>| read.map(drop).map_err(|error| life.note(explained(error)));
        Ok(TokioIo::new(self.life.watch_reads(stream, explain)))
    }
}

/// Whose certificate a central node may show.
struct Expected<'a> {
    network: &'a str,
    /// Of the Service that was dialled.
    namespace: Option<&'a str>,
}

/// The namespace in a Service's name, as far as it is one: `n0.shop.svc`, or `n0.shop.svc.cluster.local`.
fn namespace_of(host: &str) -> Option<&str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let service = host.strip_suffix(".svc.cluster.local").or_else(|| host.strip_suffix(".svc"))?;
    service.rsplit_once('.').map(|(_, namespace)| namespace)
}

/// Whether a certificate that is good for the name dialled may be a central node's: its `spiffe://` URI, if it has any, is the only
/// one, is well formed, and names a central node of the network. One that has none, such as a public CA's, is good by its name
/// alone.
fn is_central_node(credential: &Credential, expected: &Expected<'_>) -> Result<(), String> {
    let Expected { network, namespace } = *expected;
    match credential {
        Err(NoIdentity::Missing) => Ok(()),
        Err(why) => Err(format!("the other side's certificate is no central node's: {why}")),
        Ok(identity) if !identity.is_central_node() => {
            Err(format!("the other side shows the certificate of {identity}, which is no central node"))
        }
        Ok(identity) if identity.network() != network => {
            Err(format!("the other side is {identity}, of network {}, not {network}", identity.network()))
        }
        Ok(identity) => match namespace {
            Some(namespace) if identity.namespace() != namespace => Err(format!(
                "the other side is {identity}, of namespace {}, but the Service that was dialled is of {namespace}",
                identity.namespace()
            )),
            _ => Ok(()),
        },
    }
}

/// Keeps the kind, and says why in words.
#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn explained(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), explain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sorcha_runtime::tls::testing::{Ca, Leaf};

    #[test]
    fn a_certificate_that_names_anybody_but_one_central_node_of_the_network_is_refused() {
        let ca = Ca::new("ca");
        let told = |uris: &[&str], host: &str| {
            let uris = uris.iter().map(|uri| (*uri).to_owned()).collect();
            let pair = ca.issue(&Leaf { uris, ..Leaf::default() });
            let expected = Expected { network: "sorcha.dev", namespace: namespace_of(host) };
            is_central_node(&certificate::credential(&pair.certificate_der()), &expected)
        };
        let good = "spiffe://sorcha.dev/ns/shop/sorchacentralnode/n0";
        for (uris, host) in [
            (&[good] as &[&str], "n0.shop.svc"),
            (&[good], "n0.sorcha.dev"),
            (&[good, "https://sorcha.dev/"], "n0.shop.svc.cluster.local."),
            (&[], "n0.sorcha.dev"),
        ] {
            assert_eq!(told(uris, host), Ok(()), "{uris:?} at {host}");
        }
        for (uris, host, why) in [
            (&["spiffe://sorcha.dev/n0"] as &[&str], "n0.sorcha.dev", "other parts"),
            (&["SPIFFE://sorcha.dev/ns/shop/sorchacentralnode/n0"], "n0.sorcha.dev", "no SPIFFE URI"),
            (&["spiffe://sorcha.dev/ns/shop/node/n0"], "n0.sorcha.dev", "another kind"),
            (&[good, good], "n0.sorcha.dev", "2 spiffe:// URIs"),
            (&["spiffe://sorcha.dev/ns/shop/sorchapeer/edge"], "n0.sorcha.dev", "is no central node"),
            (&["spiffe://other.dev/ns/shop/sorchacentralnode/n0"], "n0.sorcha.dev", "of network other.dev"),
            (&[good], "n0.market.svc", "of namespace shop, but the Service that was dialled is of market"),
        ] {
            let error = told(uris, host).unwrap_err();
            assert!(error.contains(why), "{why:?} is not in: {error}");
        }
    }
}
