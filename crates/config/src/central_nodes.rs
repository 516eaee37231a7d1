//! The central nodes that a peer may connect to, from the configuration or from a file of their own.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sorcha_register::limits;

use super::{ConfigError, file};

/// Address of a central node (protocol section 7, CentralNodeInfo).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CentralNodeAddress {
    /// Identity; default: the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Host name or IP address.
    pub host: String,
    /// gRPC port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Failover order: lowest first; equal ones in the order given.
    #[serde(default)]
    pub priority: u16,
    /// The only CAs that may certify this central node, PEM; they certify no other one. Unset: those of `tls.ca_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

const fn default_port() -> u16 {
    5000
}

impl CentralNodeAddress {
    /// The identity, or the host where none is given.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.as_deref().unwrap_or(&self.host)
    }

    /// Checks the fields.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] naming the field and the limit.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |problem: String| Err(ConfigError::Invalid { setting: "central_nodes", problem });
        if self.host.is_empty() || self.host.chars().count() > limits::HOSTNAME_CHARS {
            return refuse(format!(
                "host {:?} must have 1 to {} characters",
                self.host,
                limits::HOSTNAME_CHARS
            ));
        }
        if self.host.contains(|c: char| c.is_whitespace() || "/@?#".contains(c)) {
            return refuse(format!("host {:?} is not a host name or an IP address", self.host));
        }
        if self.port == 0 {
            return refuse(format!("port of {} is 0; it must be 1 to 65535", self.host));
        }
        if self.id().chars().count() > limits::NODE_ID_CHARS {
            return refuse(format!("id {:?} has more than {} characters", self.id(), limits::NODE_ID_CHARS));
        }
        Ok(())
    }
}

impl std::str::FromStr for CentralNodeAddress {
    type Err = String;

    /// `host`, `host:port` or `id=host:port`; brackets around an IPv6 address.
    fn from_str(text: &str) -> Result<Self, String> {
        let (id, address) = match text.split_once('=') {
            Some((id, address)) => (Some(id.to_owned()), address),
            None => (None, text),
        };
        let bare_ipv6 = address.matches(':').count() > 1 && !address.starts_with('[');
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !bare_ipv6 && !address.ends_with(']') => {
                (host, port.parse().map_err(|_| format!("{port:?} is not a port (1 to 65535)"))?)
            }
            _ => (address, default_port()),
        };
        let address = Self { id, host: host.to_owned(), port, priority: 0, ca_file: None };
        address.validate().map_err(|error| error.to_string())?;
        Ok(address)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CentralNodesFile {
    central_nodes: Vec<CentralNodeAddress>,
}

/// Reads a file of central nodes: JSON when its name ends in `.json`, else TOML; `central_nodes` is a list.
///
/// # Errors
/// [`ConfigError`] naming the file and what is wrong in it.
pub fn read_central_nodes(path: &Path) -> Result<Vec<CentralNodeAddress>, ConfigError> {
    const SETTING: &str = "central_nodes_file";
    let text = file::text(SETTING, path)?;
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let parsed: Result<CentralNodesFile, String> = if is_json {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        use figment::{Figment, providers::Format as _};
        Figment::from(figment::providers::Toml::string(&text)).extract().map_err(|error| error.to_string())
    };
    let nodes = parsed
        .map_err(|problem| ConfigError::Invalid {
            setting: SETTING,
            problem: format!("{}: {problem}", path.display()),
        })?
        .central_nodes;
    nodes.iter().try_for_each(CentralNodeAddress::validate)?;
    Ok(nodes)
}
