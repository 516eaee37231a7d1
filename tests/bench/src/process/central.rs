//! A central node as its users run it: the real binary, an embedded store on disk, publications over HTTP.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use sorcha_api::client;
use sorcha_config::CentralNodeAddress;

use super::{Server, free_ports};
use crate::push::publisher::Target;

/// A central node that can be killed and started again on the same ports with the same register.
pub(crate) struct Central {
    server: Server,
    place: Place,
}

/// Where a central node lives, running or not.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    program: PathBuf,
    work: PathBuf,
    id: String,
    grpc: u16,
    http: u16,
    mongodb: Option<PathBuf>,
}

impl Place {
    /// A place with ports of its own; the register lies in `work/ID.data`, and may lie there already.
    pub(crate) fn new(program: &Path, work: &Path, number: u16) -> Result<Self> {
        let [grpc, http] = free_ports()?;
        let (program, work) = (program.to_owned(), work.to_owned());
        Ok(Self { program, work, id: format!("n{number}.sorcha.dev"), grpc, http, mongodb: None })
    }

    /// With the register in a MongoDB database, whose connection string lies in a file.
    pub(crate) fn on_mongodb(self, uri_file: &Path) -> Self {
        Self { mongodb: Some(uri_file.to_owned()), ..self }
    }

    /// Directory of the register.
    pub(crate) fn data(&self) -> PathBuf {
        self.work.join(format!("{}.data", self.id))
    }

    /// Its address as a peer is configured with it.
    pub(crate) fn address(&self, priority: u16) -> CentralNodeAddress {
        CentralNodeAddress {
            id: Some(self.id.clone()),
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: self.grpc,
            priority,
            ca_file: None,
        }
    }

    /// Its identity.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// URL of a path of its HTTP API.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http)
    }

    /// Port of its HTTP API.
    pub(crate) const fn http_port(&self) -> u16 {
        self.http
    }

    /// Where publications go.
    pub(crate) fn publications(&self) -> Target {
        Target::Sorcha(self.url("/api/system-register/publish"))
    }

    /// Starts the node and waits until it takes peers.
    pub(crate) async fn start(self) -> Result<Central> {
        let on = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string();
        let data = self.data();
        let data = data.to_str().context("the work directory is no text")?;
        let (grpc, http) = (on(self.grpc), on(self.http));
        let mut arguments = vec![
            "central",
            "--hostname",
            &self.id,
            "--data-dir",
            data,
            "--insecure-writes",
            "--listen-grpc",
            &grpc,
            "--listen-http",
            &http,
        ];
        if let Some(file) = &self.mongodb {
            arguments.extend(["--mongodb-uri-file", file.to_str().context("the work directory is no text")?]);
        }
        let mut server = Server::start(&self.id, &self.program, arguments, &self.work)?;
        let client = client::plain()?;
        let ready = self.url("/readyz");
        server
            .until_ready(|| async {
                client.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success())
            })
            .await?;
        Ok(Central { server, place: self })
    }
}

impl Central {
    /// Where it lives.
    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// The process.
    pub(crate) const fn server(&self) -> &Server {
        &self.server
    }

    /// The process, which is killed when it is dropped.
    pub(crate) fn into_server(self) -> Server {
        self.server
    }

    /// kill -9; the place can be started again.
    pub(crate) async fn kill(self) -> Result<Place> {
        self.server.kill().await?;
        Ok(self.place)
    }

    /// Sum of a metric over those of its series that carry a label such as `reason="connect"`.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> Result<f64> {
        let text =
            client::plain()?.get(self.place.url("/metrics")).send().await?.error_for_status()?.text().await?;
        Ok(sum(&text, name, label))
    }
}

fn sum(text: &str, name: &str, label: &str) -> f64 {
    text.lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
        .filter(|line| line.contains(label))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_the_sum_of_its_series() {
        let text = "# TYPE a counter\na{reason=\"x\"} 2\na{reason=\"y\"} 3\na_total 9\na 1\n";
        assert!((sum(text, "a", "") - 6.0).abs() < 1e-9);
        assert!((sum(text, "a", "reason=\"y\"") - 3.0).abs() < 1e-9);
    }
}
