//! Mutual TLS on gRPC (ADR 38): where the files lie, and how they are looked after.

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de};

use super::{CentralNodeAddress, Config, ConfigError, show};

/// The files of mutual TLS. All three set: gRPC is TLS, both sides show a certificate. None: plain text.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// This node's certificate and those between it and its CA, PEM.
    pub certificate_file: Option<PathBuf>,
    /// The certificate's key, PEM.
    pub key_file: Option<PathBuf>,
    /// The CAs whose certificates are believed, PEM: during a change of CA the old one and the new one.
    pub ca_file: Option<PathBuf>,
    /// Oldest version of TLS spoken.
    pub min_version: TlsVersion,
    /// How often the files are looked at.
    #[serde(with = "humantime_serde")]
    pub reload_interval: Duration,
    /// The log warns when the certificate ends this soon, or, of a short one, when a quarter of its life is left.
    #[serde(with = "humantime_serde")]
    pub warn_before: Duration,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate_file: None,
            key_file: None,
            ca_file: None,
            min_version: TlsVersion::V1_3,
            reload_interval: Duration::from_secs(10),
            warn_before: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum TlsVersion {
    /// TLS 1.2, for peers that speak nothing newer.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[default]
    #[serde(rename = "1.3")]
    V1_3,
}

impl<'de> Deserialize<'de> for TlsVersion {
    /// As text, or as the number that the environment makes of it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = TlsVersion;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"1.3\" or \"1.2\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TlsVersion, E> {
                match text {
                    "1.2" => Ok(TlsVersion::V1_2),
                    "1.3" => Ok(TlsVersion::V1_3),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<TlsVersion, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Tls {
    /// CAs of a central node without certificate and key of this node would be left unused without a word.
    ///
    /// # Errors
    /// [`ConfigError`] naming the setting that is missing.
    pub fn check_ca_of(&self, central: &CentralNodeAddress) -> Result<(), ConfigError> {
        if central.ca_file.is_none() || self.certificate_file.is_some() {
            return Ok(());
        }
        let problem = format!(
            "ca_file of {} is set, but tls.certificate_file is not, and plain text proves nothing: set tls.certificate_file, \
             tls.key_file and tls.ca_file, or leave ca_file out",
            central.id()
        );
        Err(ConfigError::Invalid { setting: "central_nodes", problem })
    }
}

impl Config {
    pub(super) fn validate_tls(&self) -> Result<(), ConfigError> {
        let tls = &self.tls;
        let files = [
            ("tls.certificate_file", &tls.certificate_file),
            ("tls.key_file", &tls.key_file),
            ("tls.ca_file", &tls.ca_file),
        ];
        let set = files.iter().find(|(_, file)| file.is_some());
        let unset = files.iter().find(|(_, file)| file.is_none());
        if let (Some((set, _)), Some((setting, _))) = (set, unset) {
            let problem = format!(
                "is not set, but {set} is; mutual TLS needs tls.certificate_file, tls.key_file and tls.ca_file, plain text none of them"
            );
            return Err(ConfigError::Invalid { setting, problem });
        }
        let (day, millisecond) = (Duration::from_secs(24 * 3600), Duration::from_millis(1));
        for (setting, value, low, high) in [
            ("tls.reload_interval", tls.reload_interval, 10 * millisecond, day / 24),
            ("tls.warn_before", tls.warn_before, Duration::ZERO, 3650 * day),
        ] {
            if !(low..=high).contains(&value) {
                let problem = format!("{} is outside {} to {}", show(value), show(low), show(high));
                return Err(ConfigError::Invalid { setting, problem });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    fn tls(change: impl FnOnce(&mut Tls)) -> Result<(), String> {
        let mut config = Config::default().with_identity("edge-0");
        change(&mut config.tls);
        config.validate(Role::Peer).map_err(|error| error.to_string())
    }

    #[test]
    fn the_three_files_belong_together() {
        tls(|_| ()).unwrap();
        tls(|tls| {
            (tls.certificate_file, tls.key_file, tls.ca_file) =
                (Some("c".into()), Some("k".into()), Some("a".into()));
        })
        .unwrap();
        let error = tls(|tls| tls.certificate_file = Some("c".into())).unwrap_err();
        assert!(error.starts_with("tls.key_file: is not set, but tls.certificate_file is"), "{error}");
        let error =
            tls(|tls| (tls.key_file, tls.ca_file) = (Some("k".into()), Some("a".into()))).unwrap_err();
        assert!(error.starts_with("tls.certificate_file: is not set, but tls.key_file is"), "{error}");
    }

    #[test]
    fn cas_of_a_central_node_need_tls() {
        let mut config = Config::default().with_identity("edge-0");
        config.central_nodes = vec![CentralNodeAddress { ca_file: Some("ca".into()), ..address() }];
        let error = config.validate(Role::Peer).unwrap_err().to_string();
        assert!(error.contains("ca_file of n0 is set, but tls.certificate_file is not"), "{error}");
        let tls = &mut config.tls;
        (tls.certificate_file, tls.key_file, tls.ca_file) =
            (Some("c".into()), Some("k".into()), Some("a".into()));
        config.validate(Role::Peer).unwrap();
    }

    fn address() -> CentralNodeAddress {
        "n0:5000".parse().unwrap()
    }

    #[test]
    fn times_have_ranges() {
        let error = tls(|tls| tls.reload_interval = Duration::ZERO).unwrap_err();
        assert_eq!(error, "tls.reload_interval: 0s is outside 10ms to 1h");
        let error = tls(|tls| tls.warn_before = Duration::MAX).unwrap_err();
        assert!(error.starts_with("tls.warn_before: "), "{error}");
    }

    #[test]
    fn versions_are_read_as_text_and_as_numbers() {
        let read = |json: serde_json::Value| {
            serde_json::from_value::<TlsVersion>(json).map_err(|error| error.to_string())
        };
        assert_eq!(read(serde_json::json!("1.2")), Ok(TlsVersion::V1_2));
        assert_eq!(read(serde_json::json!(1.3)), Ok(TlsVersion::V1_3));
        for bad in [serde_json::json!("1.1"), serde_json::json!(1.4), serde_json::json!("TLS1.3")] {
            assert!(read(bad.clone()).unwrap_err().contains("\"1.3\" or \"1.2\""), "{bad}");
        }
    }
}
