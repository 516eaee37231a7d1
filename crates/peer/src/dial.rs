//! Opening connections to central nodes: the network as an injected dependency (ADR 32).

mod life;
mod tcp;
mod tls;

use std::sync::Arc;

use async_trait::async_trait;
use sorcha_config::{CentralNodeAddress, Config};
use sorcha_runtime::env::Env;
use tonic::transport::{Channel, Endpoint};

pub use self::life::Life;
use self::tcp::Tcp;
pub(crate) use self::tls::MutualTls;

/// HTTP/2 flow-control windows, bytes: large enough that a full sync is not paced by round trips.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// Opens connections.
#[async_trait]
pub trait Dialer: Send + Sync + 'static {
    /// Opens a connection; the caller bounds the time.
    ///
    /// # Errors
    /// [`tonic::transport::Error`] when the central node can't be reached.
    async fn dial(
        &self,
        address: &CentralNodeAddress,
        config: &Config,
    ) -> Result<Dialled, tonic::transport::Error>;
}

/// An opened connection.
#[derive(Clone, Debug)]
pub struct Dialled {
    /// For calls.
    pub channel: Channel,
    /// That of the connection.
    pub life: Life,
}

impl Dialled {
    /// Why the connection broke, where that is known: a call that was under way then may learn no more than that it did.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.life.fault()
    }
}

/// Plain HTTP/2 over TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainText;

/// The dialer of a node: mutual TLS where it has the files for it, else plain text.
#[must_use]
pub fn dialer(env: &Env) -> Arc<dyn Dialer> {
    match &env.tls {
        Some(tls) => Arc::new(MutualTls::new(Arc::clone(tls))),
        None => Arc::new(PlainText),
    }
}

/// The endpoint of a central node with time-outs, keepalive and windows as configured.
///
/// # Errors
/// [`tonic::transport::Error`] when the address is no URI.
pub fn endpoint(address: &CentralNodeAddress, config: &Config) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{}", authority(address)))?
        .connect_timeout(config.connect.dial_timeout)
        .http2_keep_alive_interval(config.keepalive.interval)
        .keep_alive_timeout(config.keepalive.timeout)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .tcp_nodelay(true))
}

fn authority(address: &CentralNodeAddress) -> String {
    if address.host.contains(':') && !address.host.starts_with('[') {
        format!("[{}]:{}", address.host, address.port)
    } else {
        format!("{}:{}", address.host, address.port)
    }
}

#[async_trait]
impl Dialer for PlainText {
    async fn dial(
        &self,
        address: &CentralNodeAddress,
        config: &Config,
    ) -> Result<Dialled, tonic::transport::Error> {
        let life = Life::default();
        let connector = Tcp::new(config).plain_text(life.clone());
        let channel = endpoint(address, config)?.connect_with_connector(connector).await?;
        Ok(Dialled { channel, life })
    }
}
