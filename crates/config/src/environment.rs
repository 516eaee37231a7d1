//! Settings from the environment: `SORCHA_HEARTBEAT__INTERVAL=30s` is `heartbeat.interval`.
//!
//! Only names with two underscores between section and key are settings, and those of the two settings that have no section.
//! Others with the same prefix are somebody else's: Kubernetes puts `SORCHA_PORT` and the like into pods beside a Service named
//! `sorcha`. What a variable holds is taken as the setting's kind asks for it, never guessed from how it looks: the id `007` is
//! a text. A variable that is set to nothing is not set.

use std::{env, ffi::OsString};

use figment::{
    Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};
use serde_json::Value as Json;

use super::{Config, ConfigError};

const PREFIX: &str = "SORCHA_";
/// The settings that stand in no section.
const WITHOUT_SECTION: [&str; 2] = ["CENTRAL_NODES", "CENTRAL_NODES_FILE"];
/// How the names of the variables end that Kubernetes sets for a Service, where a port's name and number may follow.
const OF_SERVICES: [&str; 3] = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"];

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Variable {
    name: String,
    /// Its place: sections, then the key.
    setting: Vec<String>,
    value: Value,
}

impl Provider for Variable {
    fn metadata(&self) -> Metadata {
        Metadata::named(format!("the environment variable {}", self.name))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut value = self.value.clone();
        let mut dict = Dict::new();
        for (number, key) in self.setting.iter().rev().enumerate() {
            if number > 0 {
                value = Value::from(std::mem::take(&mut dict));
            }
            dict = Dict::from([(key.clone(), value.clone())]);
        }
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

/// The variables of this process.
pub(super) fn of_process() -> impl Iterator<Item = (OsString, OsString)> {
    env::vars_os()
}

/// The settings among variables.
///
/// # Errors
/// [`ConfigError::Environment`] naming the variable, what it holds, and what is expected.
pub(super) fn settings(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<Variable>, ConfigError> {
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let mut found = Vec::new();
    for (name, value) in variables {
        if let Some(name) = name.to_str().filter(|name| is_setting(name))
            && !value.to_string_lossy().trim().is_empty()
            && let Some(variable) = read(name, &value, &defaults)?
        {
            found.push(variable);
        }
    }
    // A list first, then what stands in it.
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn is_setting(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.contains("__") || WITHOUT_SECTION.contains(&rest))
}

fn read(name: &str, value: &OsString, defaults: &Json) -> Result<Option<Variable>, ConfigError> {
    let refuse = |problem: String| ConfigError::Environment { variable: name.to_owned(), problem };
    let rest = name.strip_prefix(PREFIX).unwrap_or(name).to_ascii_lowercase();
    let setting: Vec<String> = rest.split("__").map(str::to_owned).collect();
    let Some(default) = setting.iter().try_fold(defaults, |at, key| at.get(key)) else {
        return if is_of_service(name) { Ok(None) } else { Err(refuse(unknown(&setting, defaults))) };
    };
    let text = value.to_str().ok_or_else(|| refuse("it does not hold UTF-8 text".to_owned()))?.trim();
    let wanted = |what: &str| refuse(format!("it holds {text:?}; {} is {what}", setting.join(".")));
    let value = match default {
        Json::Bool(_) => Value::from(text.parse::<bool>().map_err(|_| wanted("true or false"))?),
        Json::Number(number) if number.is_f64() => {
            Value::from(text.parse::<f64>().map_err(|_| wanted("a number"))?)
        }
        Json::Number(_) => match (text.parse::<u64>(), text.parse::<i64>()) {
            (Ok(number), _) => Value::from(number),
            (_, Ok(number)) => Value::from(number),
            _ => return Err(wanted("a whole number")),
        },
        Json::Object(_) | Json::Array(_) => structured(text),
        // Texts, and what is written as one: paths, addresses, times.
        Json::String(_) | Json::Null => Value::from(text),
    };
    Ok(Some(Variable { name: name.to_owned(), setting, value }))
}

/// A list or a group of settings: JSON, or the short form `{per_second=1.0,burst=3}`.
fn structured(text: &str) -> Value {
    let json = serde_json::from_str::<Json>(text).ok().and_then(|json| Value::serialize(json).ok());
    json.unwrap_or_else(|| text.parse().unwrap_or_else(|never: std::convert::Infallible| match never {}))
}

fn is_of_service(name: &str) -> bool {
    OF_SERVICES.iter().any(|end| name.ends_with(end) || name.contains(&format!("{end}_")))
}

/// What there is in place of a setting that there is not.
fn unknown(setting: &[String], defaults: &Json) -> String {
    let (mut at, mut path) = (defaults, Vec::new());
    for key in setting {
        match at.get(key) {
            Some(inner) => (at, path) = (inner, [path, vec![key.as_str()]].concat()),
            None => break,
        }
    }
    let keys: Vec<_> = at.as_object().into_iter().flat_map(|map| map.keys()).map(String::as_str).collect();
    let (whole, place) = (setting.join("."), path.join("."));
    match (place.is_empty(), keys.is_empty()) {
        (true, _) => format!("there is no setting {whole}; the sections are {}", keys.join(", ")),
        (false, true) => format!("there is no setting {whole}; {place} has no parts"),
        (false, false) => format!("there is no setting {whole}; {place} has {}", keys.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::ffi::OsStringExt as _, time::Duration};

    use super::*;

    fn load(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        Config::load_with(None, variables.collect::<Vec<_>>(), serde_json::json!({}))
    }

    #[test]
    fn variables_of_services_and_of_others_are_no_settings() {
        let config = load(&[
            ("SORCHA_PORT", "tcp://10.0.0.1:8080"),
            ("SORCHA_SERVICE_HOST", "10.0.0.1"),
            ("SORCHA_SERVICE_PORT", "8080"),
            ("SORCHA_SERVICE_PORT_HTTP", "8080"),
            ("SORCHA_PORT_5000_TCP", "tcp://10.0.0.1:5000"),
            ("SORCHA_PORT_5000_TCP_ADDR", "10.0.0.1"),
            ("SORCHA_NODE_SERVICE_HOST", "10.0.0.1"),
            ("SORCHA_NODE__ID_SERVICE_HOST", "10.0.0.1"),
            ("SORCHA_A__B_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("SORCHA_FOO", "bar"),
            ("SORCHA_", "x"),
            ("SORCHA_NODE", "{id=x}"),
            ("SORCHA_TOKEN_FILE", "x"),
            ("MY_SORCHA_NODE__ID", "x"),
        ]);
        assert_eq!(config.unwrap().node.id, "");
    }

    #[test]
    fn texts_are_taken_as_they_are() {
        for text in [
            "12345", "007", "-1", "true", "false", "1e3", "[a]", "{}", "\"a\"", "a=b", "1.0", "null", "~",
            "é",
        ] {
            let config = load(&[("SORCHA_NODE__ID", text), ("SORCHA_STORE__DATA_DIR", text)]).unwrap();
            assert_eq!(config.node.id, text);
            assert_eq!(config.store.data_dir, std::path::Path::new(text));
            let config = load(&[("SORCHA_STORE__MONGODB__URI", text), ("SORCHA_LOG__FILTER", text)]).unwrap();
            assert_eq!(config.store.mongodb.uri.as_deref(), Some(text), "one that is unset by default");
            assert_eq!(config.log.filter, text);
        }
    }

    #[test]
    fn numbers_times_switches_and_groups_are_read_as_such() {
        let config = load(&[
            ("SORCHA_HEARTBEAT__INTERVAL", "20s"),
            ("SORCHA_HEARTBEAT__MAX_MISSED", " 3\n"),
            ("SORCHA_CONNECT__MULTIPLIER", "1.5"),
            ("SORCHA_CONNECT__FAILBACK_AFTER", "1m"),
            ("SORCHA_SYNC__PUSH", "false"),
            ("SORCHA_LISTEN__HTTP", "[::1]:81"),
            ("SORCHA_LIMITS__CONNECTS", "{per_second=2.5,burst=7}"),
            ("SORCHA_LIMITS__FULL_SYNCS", r#"{"per_second": 1.5, "burst": 9}"#),
            ("SORCHA_LIMITS__FULL_SYNCS__BURST", "8"),
            ("SORCHA_CENTRAL_NODES", r#"[{"host": "n0", "port": 7}]"#),
        ])
        .unwrap();
        assert_eq!((config.heartbeat.interval, config.heartbeat.max_missed), (Duration::from_secs(20), 3));
        assert_eq!((config.connect.multiplier, config.sync.push), (1.5, false));
        assert_eq!(config.connect.failback_after, Some(Duration::from_secs(60)));
        assert_eq!(config.listen.http.to_string(), "[::1]:81");
        assert_eq!((config.limits.connects.per_second, config.limits.connects.burst), (2.5, 7));
        assert_eq!((config.limits.full_syncs.per_second, config.limits.full_syncs.burst), (1.5, 8));
        assert_eq!((config.central_nodes[0].id(), config.central_nodes[0].port), ("n0", 7));
        let file = load(&[("SORCHA_CENTRAL_NODES_FILE", "1")]).unwrap().central_nodes_file;
        assert_eq!(file.as_deref(), Some(std::path::Path::new("1")));
    }

    #[test]
    fn a_variable_that_is_set_to_nothing_is_not_set() {
        for empty in ["", " ", "\n"] {
            let config = load(&[
                ("SORCHA_NODE__ID", empty),
                ("SORCHA_HEARTBEAT__MAX_MISSED", empty),
                ("SORCHA_X__Y", empty),
            ]);
            assert_eq!(config.unwrap().heartbeat.max_missed, Config::default().heartbeat.max_missed);
        }
    }

    #[test]
    fn what_cannot_be_a_setting_is_named_with_its_variable_and_what_is_expected() {
        for (name, value, told) in [
            ("SORCHA_NODE__IDD", "x", vec!["node.idd", "node has", "hostname"]),
            ("SORCHA_NODEE__ID", "x", vec!["nodee.id", "sections", "heartbeat"]),
            ("SORCHA_NODE__ID__X", "x", vec!["node.id.x", "node.id has no parts"]),
            ("SORCHA_HEARTBEAT__MAX_MISSED", "two", vec!["\"two\"", "a whole number"]),
            ("SORCHA_HEARTBEAT__MAX_MISSED", "1e3", vec!["\"1e3\"", "a whole number"]),
            ("SORCHA_HEARTBEAT__MAX_MISSED", "-1", vec!["max_missed", "-1", "u32"]),
            ("SORCHA_HEARTBEAT__MAX_MISSED", "4294967296", vec!["4294967296", "u32"]),
            ("SORCHA_SYNC__PUSH", "yes", vec!["\"yes\"", "true or false"]),
            ("SORCHA_CONNECT__MULTIPLIER", "fast", vec!["\"fast\"", "a number"]),
            ("SORCHA_HEARTBEAT__INTERVAL", "20 parsecs", vec!["heartbeat.interval", "20 parsecs"]),
            ("SORCHA_HEARTBEAT__INTERVAL", "20", vec!["heartbeat.interval", "20"]),
            ("SORCHA_LISTEN__HTTP", "8080", vec!["listen.http", "socket address"]),
            ("SORCHA_LIMITS__CONNECTS", "7", vec!["limits.connects", "Rate"]),
            ("SORCHA_CENTRAL_NODES", "n0", vec!["central_nodes", "sequence"]),
        ] {
            let error = load(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name), "{name}={value}: {error}");
            assert!(told.iter().all(|told| error.contains(told)), "{name}={value}: {error}");
        }
        let bytes = OsString::from_vec(vec![b'a', 0xff]);
        let error = Config::load_with(None, [("SORCHA_NODE__ID".into(), bytes)], serde_json::json!({}));
        assert!(error.unwrap_err().to_string().contains("SORCHA_NODE__ID: it does not hold UTF-8"));
    }
}
