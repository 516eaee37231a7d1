//! The certificates of a network whose nodes speak mutual TLS.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::Result;
use sorcha_runtime::tls::testing::{Ca, Leaf, Pair, mount};

/// Where the nodes' TLS files lie, and the CA that all of them trust.
#[derive(Clone)]
pub(crate) struct Authority {
    folder: PathBuf,
    pub(crate) ca: Arc<Ca>,
}

/// The identity of a resource of the network.
pub(crate) fn identity(kind: &str, name: &str) -> String {
    format!("spiffe://sorcha.dev/ns/shop/{kind}/{name}")
}

impl Authority {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, ca: Arc::new(Ca::new("faults")) }
    }

    /// A certificate for this identity, valid on this machine.
    pub(crate) fn issue(&self, uri: &str) -> Pair {
        self.ca.issue(&Leaf { uris: vec![uri.to_owned()], ..Leaf::default() })
    }

    /// The environment of a node that has a certificate for this identity, with its HTTPS port.
    pub(crate) fn environment(&self, node: &str, uri: &str, https: u16) -> Result<Vec<(String, String)>> {
        let folder = self.folder.join(format!("{node}-tls"));
        fs::create_dir_all(&folder)?;
        let files = mount(&folder, &self.issue(uri), &[&self.ca]);
        let settings = ["CERTIFICATE_FILE", "KEY_FILE", "CA_FILE"].map(|name| format!("SORCHA_TLS__{name}"));
        let values = files.map(|file| file.display().to_string());
        let mut environment: Vec<_> = settings.into_iter().zip(values).collect();
        environment.push(("SORCHA_LISTEN__HTTPS".to_owned(), format!("127.0.0.1:{https}")));
        Ok(environment)
    }
}
