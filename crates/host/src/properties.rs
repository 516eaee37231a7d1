//! Properties of what the configuration reads: any value of any key, and files with any content, are understood or refused
//! with an error that says where.

use std::{path::Path, sync::Arc};

use proptest::{prelude::*, sample::select};
use sorcha_central::{CentralNode, log::RegisterLog};
use sorcha_peer::dial::PlainText;
use sorcha_runtime::{
    clock::SystemClock,
    env::{Env, Random},
    metrics::Metrics,
};
use sorcha_store::{Store as _, journal::JournalStore};

use sorcha_config::{CentralNodeAddress, Config, ConfigError, Role, read_central_nodes};

/// All keys with their default, sections joined by dots.
fn keys() -> Vec<String> {
    fn leaves(prefix: &str, value: &serde_json::Value, into: &mut Vec<String>) {
        match value.as_object() {
            Some(map) => map.iter().for_each(|(key, value)| leaves(&format!("{prefix}.{key}"), value, into)),
            None => into.push(prefix.trim_start_matches('.').to_owned()),
        }
    }
    let mut keys = Vec::new();
    leaves("", &serde_json::to_value(Config::default()).unwrap(), &mut keys);
    keys
}

/// Values as people mistake them.
fn value() -> impl Strategy<Value = String> {
    let text = ".{0,20}".prop_map(|text| toml::Value::String(text).to_string());
    let numbers = prop_oneof![any::<i64>().prop_map(|n| n.to_string()), any::<f64>().prop_map(toml_float)];
    let durations = "[0-9]{1,20}(ms|s|m|h|y|parsecs)?".prop_map(|text| format!("\"{text}\""));
    let odd = select(vec![
        "true",
        "[]",
        "{}",
        "[1, 2]",
        "\"\"",
        "-1",
        "0",
        "1979-05-27",
        "\"127.0.0.1:0\"",
        "\"[::1]:70000\"",
        "{ per_second = nan, burst = 1 }",
        "[{ host = \"n0\" }]",
        "[{ host = 1 }]",
        "\"-5s\"",
        "\"0s\"",
        "18446744073709551616",
        "\"\\u0000\"",
    ]);
    prop_oneof![text, numbers, durations, odd.prop_map(str::to_owned)]
}

fn toml_float(number: f64) -> String {
    toml::Value::Float(number).to_string()
}

fn file(suffix: &str, content: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::with_suffix(suffix).unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

fn load(path: &Path) -> Result<Config, ConfigError> {
    Config::load(Some(path), serde_json::json!({}))
}

/// The last part of a key, which an error about it names.
fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// Whether a refusal can only be about this key itself.
fn is_a_number(key: &str) -> bool {
    // The one range that depends on another setting.
    ["heartbeat.", "sync.", "limits.", "keepalive.", "drain."].iter().any(|section| key.starts_with(section))
}

/// Makes everything that a configuration sizes, as a node does when it starts.
fn runs(config: Config, role: Role) {
    let env = Env {
        clock: Arc::new(SystemClock::new()),
        random: Random::seeded(1),
        metrics: Metrics::disabled(),
        tls: None,
        tasks: sorcha_runtime::supervise::Tasks::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(JournalStore::in_memory(crate::embedded_options(&config)).unwrap());
        let batch: Vec<u8> = Vec::with_capacity(config.sync.batch);
        drop(batch);
        match role {
            Role::Central => {
                let view = store.load().await.unwrap().view;
                drop(CentralNode::new(Arc::new(config), env, RegisterLog::new(store, view), Vec::new()));
            }
            Role::Peer => {
                drop(crate::prepare_peer(Arc::new(config), env, store, Arc::new(PlainText)).await);
            }
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_value_of_any_key_is_taken_or_refused_by_name(key in select(keys()), value in value()) {
        let path = file(".toml", format!("{key} = {value}\n").as_bytes());
        match load(path.path()) {
            Ok(config) => {
                for (role, id) in [(Role::Central, "n0.sorcha.dev"), (Role::Peer, "edge-0")] {
                    let config = config.clone().with_identity(id);
                    match config.validate(role) {
                        Ok(()) => runs(config, role),
                        Err(error) => {
                            let told = error.to_string();
                            let setting = told.split(": ").next().unwrap_or_default();
                            let is_named = !setting.is_empty() && key.starts_with(setting);
                            prop_assert!(is_named || !is_a_number(&key), "{} = {}: {}", key, value, told);
                        }
                    }
                }
            }
            Err(error) => {
                let told = error.to_string();
                let names_it = told.contains(last(&key)) || told.contains(&path.path().display().to_string());
                prop_assert!(names_it, "{} = {}: {}", key, value, told);
            }
        }
    }

    #[test]
    fn unknown_keys_anywhere_are_refused_by_name(key in select(keys()), unknown in "[a-z]{3,9}x_") {
        let section = key.rsplit_once('.').map_or(String::new(), |(section, _)| format!("{section}."));
        let path = file(".toml", format!("{section}{unknown} = 1\n").as_bytes());
        let told = load(path.path()).unwrap_err().to_string();
        prop_assert!(told.contains(&unknown), "{}", told);
    }

    #[test]
    fn files_with_any_content_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..120), text in "[a-z_=\\[\\]{}\"'.0-9 \n]{0,80}") {
        for content in [&bytes[..], text.as_bytes()] {
            for suffix in [".toml", ".json"] {
                let path = file(suffix, content);
                if let Err(error) = load(path.path()) {
                    prop_assert!(!error.to_string().is_empty());
                }
                match read_central_nodes(path.path()) {
                    Ok(nodes) => prop_assert!(nodes.iter().all(|node| node.validate().is_ok())),
                    Err(error) => prop_assert!(error.to_string().contains("central_nodes"), "{}", error),
                }
            }
        }
    }

    #[test]
    fn lists_of_central_nodes_hold_valid_ones_only(
        host in ".{0,20}", port in any::<i64>(), priority in any::<i64>(), id in proptest::option::of(".{0,70}")
    ) {
        let list = serde_json::json!({ "central_nodes": [{ "host": host, "port": port, "priority": priority, "id": id }] });
        let path = file(".json", list.to_string().as_bytes());
        match read_central_nodes(path.path()) {
            Ok(nodes) => {
                prop_assert_eq!(i64::from(nodes[0].port), port);
                prop_assert!((1..=65535).contains(&port) && !nodes[0].host.is_empty());
            }
            Err(error) => prop_assert!(error.to_string().contains("central_nodes"), "{}", error),
        }
    }

    #[test]
    fn addresses_in_short_form_are_refused_or_valid(text in ".{0,40}", parts in "[a-z0-9.:=\\[\\]-]{0,30}") {
        for text in [text, parts] {
            if let Ok(address) = text.parse::<CentralNodeAddress>() {
                prop_assert!(address.validate().is_ok() && address.port > 0, "{:?}", address);
            }
        }
    }

    #[test]
    fn host_name_patterns_and_names_never_panic(pattern in ".{0,30}", name in ".{0,300}") {
        let mut config = Config::default().with_identity(&name);
        config.node.hostname_pattern = Some(pattern);
        for role in [Role::Central, Role::Peer] {
            drop(config.validate(role));
        }
    }
}
