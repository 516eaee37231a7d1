//! TCP connections, and what they are told apart by.

use std::io;

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use sorcha_config::Config;
use tokio::net::TcpStream;
use tower::{Service, ServiceExt as _, service_fn};

use super::life::{Life, Watched};

/// First bytes of an alert of TLS: what its server answers to plain text.
const TLS_ALERT: [u8; 2] = [0x15, 0x03];

/// Opens TCP connections; of several addresses of a host the first that answers.
#[derive(Clone)]
pub(super) struct Tcp(HttpConnector);

impl Tcp {
    pub(super) fn new(config: &Config) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(config.connect.dial_timeout));
        Self(connector)
    }

    pub(super) async fn connect(self, uri: Uri) -> io::Result<TcpStream> {
        self.0.oneshot(uri).await.map(TokioIo::into_inner).map_err(io::Error::other)
    }

    pub(super) fn plain_text(
        self,
        life: Life,
    ) -> impl Service<Uri, Response = TokioIo<Watched<TcpStream>>, Error = io::Error, Future: Send>
    + Clone
    + Send
    + 'static {
        service_fn(move |uri| {
            let (tcp, life) = (self.clone(), life.clone());
            async move {
                let stream = tcp.connect(uri).await?;
                Ok(TokioIo::new(life.watch_reads(stream, look_for_tls(life.clone()))))
            }
        })
    }
}

/// Notices, by the first words of the other side, that it speaks TLS.
fn look_for_tls(life: Life) -> impl FnMut(io::Result<&[u8]>) -> io::Result<()> {
    let mut has_begun = false;
    move |read| {
        let read = read.map_err(|error| life.note(error))?;
        let is_first = !has_begun && !read.is_empty();
        has_begun |= is_first;
        if is_first && read.starts_with(&TLS_ALERT) {
            let told =
                "the central node speaks TLS; set tls.certificate_file, tls.key_file and tls.ca_file here";
            return Err(life.note(io::Error::new(io::ErrorKind::InvalidData, told)));
        }
        Ok(())
    }
}
