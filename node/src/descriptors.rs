//! File descriptors: there are as many as the limits of connections need, or the start says which limit does not fit.
//!
//! The limits of all ports together stay below what the process may open, so that connections of one port never use up those of
//! another, nor those of the store.

use sorcha_config::{Config, Role};

/// For the store, its files, the database, logs, reports and what the libraries keep open.
const OTHERS: u64 = 128;
/// For the port of the probes.
const PROBES: u64 = 260;
/// Connections without which a node is of no use.
const LEAST: u64 = 64;

/// So few descriptors that a node is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the process may open {available} files; a node needs {} at least: raise the limit (ulimit -n, LimitNOFILE=)",
    OTHERS + PROBES + LEAST
)]
pub struct TooFew {
    available: u64,
}

/// Raises the soft limit to the hard one and fits the limits of connections to it.
///
/// # Errors
/// [`TooFew`] when even the fewest connections don't fit.
pub(crate) fn prepare(config: &mut Config, role: Role) -> Result<(), TooFew> {
    let available = raised();
    for lowered in fit(config, role, available)? {
        let Lowered { setting, from, to } = lowered;
        tracing::warn!(
            setting,
            configured = from,
            used = to,
            open_files = available,
            "{setting} = {from} does not fit the process's limit of open files and is lowered to {to}; raise the limit (ulimit -n, LimitNOFILE=), or lower the setting"
        );
    }
    Ok(())
}

/// The limit of open files, as high as it can be.
fn raised() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let without_limit = u64::MAX;
    if current == maximum {
        return current.unwrap_or(without_limit);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => {
            tracing::debug!(from = current, to = maximum, "limit of open files raised");
            maximum.unwrap_or(without_limit)
        }
        Err(error) => {
            tracing::warn!(%error, current, maximum, "can't raise the limit of open files");
            current.unwrap_or(without_limit)
        }
    }
}

/// A limit that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lowered {
    setting: &'static str,
    from: usize,
    to: usize,
}

/// What the limits of a configuration need.
struct Needs {
    /// HTTP is served twice by a node with a certificate.
    ports: u64,
    /// TLS handshakes of each port that has them.
    handshakes: u64,
    http: u64,
    grpc: u64,
}

impl Needs {
    fn of(config: &Config, role: Role) -> Self {
        let count = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        let has_tls = config.tls.certificate_file.is_some();
        let ports = if has_tls { 2 } else { 1 };
        let handshakes = if has_tls { count(config.limits.max_handshakes) } else { 0 };
        let http = count(config.http.max_connections).saturating_mul(ports).saturating_add(handshakes);
        let grpc = match role {
            Role::Central => count(config.limits.max_connections).saturating_add(handshakes),
            Role::Peer => 0,
        };
        Self { ports, handshakes, http, grpc }
    }
}

/// Fits the limits of connections into so many descriptors; what was lowered.
fn fit(config: &mut Config, role: Role, available: u64) -> Result<Vec<Lowered>, TooFew> {
    let rest = available.saturating_sub(OTHERS + PROBES);
    if rest < LEAST {
        return Err(TooFew { available });
    }
    let needs = Needs::of(config, role);
    if needs.http.saturating_add(needs.grpc) <= rest {
        return Ok(Vec::new());
    }
    // Each gets what it needs if that is no more than half, and the other the rest.
    let http = needs.http.min((rest / 2).max(rest.saturating_sub(needs.grpc)));
    let grpc = rest - http;
    let handshakes = needs.handshakes.min(http / 4);
    let handshakes = if role == Role::Central { handshakes.min(grpc / 4) } else { handshakes };
    let mut lowered = Vec::new();
    let mut lower = |setting, value: &mut usize, most: u64| {
        let most = usize::try_from(most.max(1)).unwrap_or(usize::MAX);
        if *value > most {
            lowered.push(Lowered { setting, from: *value, to: most });
            *value = most;
        }
    };
    if needs.handshakes > 0 {
        lower("limits.max_handshakes", &mut config.limits.max_handshakes, handshakes);
    }
    lower("http.max_connections", &mut config.http.max_connections, (http - handshakes) / needs.ports);
    if role == Role::Central {
        lower("limits.max_connections", &mut config.limits.max_connections, grpc - handshakes);
    }
    Ok(lowered)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What all ports may open at once.
    fn open(config: &Config, role: Role) -> u64 {
        let (ports, handshakes) =
            if config.tls.certificate_file.is_some() { (2, config.limits.max_handshakes) } else { (1, 0) };
        let http = config.http.max_connections * ports + handshakes;
        let grpc = if role == Role::Central { config.limits.max_connections + handshakes } else { 0 };
        (http + grpc) as u64
    }

    fn config(tls: bool) -> Config {
        let mut config = Config::default();
        if tls {
            let file = Some("file".into());
            config.tls.certificate_file.clone_from(&file);
            config.tls.key_file.clone_from(&file);
            config.tls.ca_file = file;
        }
        config
    }

    #[test]
    fn limits_never_need_more_descriptors_than_there_are() {
        for role in [Role::Central, Role::Peer] {
            for tls in [false, true] {
                for available in [452, 1024, 4096, 16_384, 20_000, 1 << 20, u64::MAX] {
                    let mut fitted = config(tls);
                    let lowered = fit(&mut fitted, role, available).unwrap();
                    let (wanted, open) = (open(&config(tls), role), open(&fitted, role));
                    assert!(open <= available - OTHERS - PROBES, "{role:?} {tls} {available}: {open}");
                    assert_eq!(lowered.is_empty(), wanted == open, "what is lowered is told");
                    assert!(fitted.http.max_connections >= 12, "HTTP has its part");
                }
            }
        }
    }

    #[test]
    fn a_limit_of_1024_leaves_http_its_part_and_names_what_it_lowers() {
        let mut fitted = config(false);
        let lowered = fit(&mut fitted, Role::Central, 1024).unwrap();
        let names: Vec<_> = lowered.iter().map(|lowered| lowered.setting).collect();
        assert_eq!(names, ["http.max_connections", "limits.max_connections"]);
        assert_eq!((fitted.http.max_connections, fitted.limits.max_connections), (318, 318));
        let mut small = config(false);
        small.http.max_connections = 100;
        assert_eq!(fit(&mut small, Role::Central, 1024).unwrap().len(), 1, "it fits as it is");
        assert_eq!((small.http.max_connections, small.limits.max_connections), (100, 536));
    }

    #[test]
    fn too_few_are_refused_with_the_remedy() {
        let told = fit(&mut config(false), Role::Peer, 256).unwrap_err().to_string();
        assert!(told.contains("256") && told.contains("452") && told.contains("ulimit -n"), "{told}");
    }
}
