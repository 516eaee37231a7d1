//! Flags as the uppermost layer of the configuration.

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

/// Settings by their place in the configuration; only what a flag gave.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Overrides(Map<String, Value>);

impl Overrides {
    /// Sets `section.key` when a flag gave a value.
    pub(crate) fn set(&mut self, setting: &str, value: Option<impl Serialize>) {
        // Flags are texts, numbers and lists of them: always JSON.
        if let Some(Ok(value)) = value.map(serde_json::to_value) {
            self.insert(setting, value);
        }
    }

    /// Sets a path.
    pub(crate) fn set_path(&mut self, setting: &str, path: Option<&Path>) {
        self.set(setting, path.map(Path::to_string_lossy));
    }

    /// Sets a switch when it was given.
    pub(crate) fn set_switch(&mut self, setting: &str, given: bool, value: bool) {
        self.set(setting, given.then_some(value));
    }

    /// Empties a setting that a lower layer may have, because a flag decided otherwise.
    pub(crate) fn clear(&mut self, setting: &str) {
        self.insert(setting, Value::Null);
    }

    fn insert(&mut self, setting: &str, value: Value) {
        let mut sections: Vec<&str> = setting.split('.').collect();
        let key = sections.pop().unwrap_or(setting);
        let mut map = &mut self.0;
        for section in sections {
            let inner = map.entry(section).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(inner) = inner else { return };
            map = inner;
        }
        map.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_given_is_there() {
        let mut overrides = Overrides::default();
        overrides.set("node.id", Some("n0"));
        overrides.set("node.hostname", None::<String>);
        overrides.set_switch("http.insecure_writes", false, true);
        overrides.set_switch("node.validate_hostname", true, false);
        overrides.clear("store.mongodb.uri");
        overrides.set_path("store.data_dir", Some(Path::new("/data")));
        let expected = serde_json::json!({
            "node": {"id": "n0", "validate_hostname": false},
            "store": {"mongodb": {"uri": null}, "data_dir": "/data"},
        });
        assert_eq!(serde_json::to_value(&overrides).unwrap(), expected);
    }
}
