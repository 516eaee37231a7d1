mod documented;

use std::io::Write as _;

use super::*;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::load(Some(file(text).path()), serde_json::json!({}))
}

#[test]
fn defaults_are_the_contracts() {
    let config = load("").unwrap().with_identity("edge-0");
    assert_eq!(config.heartbeat.interval, Duration::from_secs(30));
    assert_eq!(config.heartbeat.max_missed, 2);
    assert_eq!(config.sync.interval, Duration::from_secs(300));
    assert_eq!(config.listen.grpc.port(), 5000);
    assert_eq!(config.limits.max_concurrent_full_syncs, 3);
    config.validate(Role::Peer).unwrap();
}

#[test]
fn flags_win_over_the_file() {
    let file = file("[heartbeat]\ninterval = '20s'\n[node]\nid = 'a'\n");
    let config = Config::load(Some(file.path()), serde_json::json!({"node": {"id": "b"}})).unwrap();
    assert_eq!((config.node.id.as_str(), config.heartbeat.interval), ("b", Duration::from_secs(20)));
}

#[test]
fn unknown_keys_and_wrong_types_are_named() {
    let unknown = load("[heartbeat]\nintervall = '20s'\n").unwrap_err().to_string();
    assert!(unknown.contains("intervall") && unknown.contains("heartbeat"), "{unknown}");
    let wrong = load("[heartbeat]\nmax_missed = 'two'\n").unwrap_err().to_string();
    assert!(wrong.contains("max_missed"), "{wrong}");
    assert!(load("[heartbeat]\ninterval = '20 parsecs'\n").is_err());
}

#[test]
fn a_missing_file_is_an_error() {
    let error = Config::load(Some(Path::new("/nowhere/sorcha.toml")), serde_json::json!({})).unwrap_err();
    assert!(error.to_string().contains("/nowhere/sorcha.toml"), "{error}");
}

#[test]
fn ranges_name_setting_value_and_limit() {
    let config = load("[heartbeat]\ninterval = '5s'\n").unwrap().with_identity("edge-0");
    let error = config.validate(Role::Peer).unwrap_err().to_string();
    assert_eq!(error, "heartbeat.interval: 5s is outside 10s to 2m");
}

#[test]
fn values_that_no_node_can_run_with_are_refused() {
    for (line, told) in [
        ("sync.batch = 0", "sync.batch: 0 is outside 1 to 100000"),
        ("limits.push_window = 0", "limits.push_window: 0 is outside 1 to 1000000"),
        ("limits.connects = { per_second = nan, burst = 1 }", "limits.connects: per_second = NaN is outside"),
        ("limits.full_syncs = { per_second = 1.0, burst = 0 }", "limits.full_syncs: burst = 0 is outside"),
        ("limits.max_concurrent_full_syncs = 9223372036854775807", "limits.max_concurrent_full_syncs: 92233"),
        ("connect.multiplier = -inf", "connect.multiplier: -inf is outside 1 to 100"),
        ("keepalive.interval = '0s'", "keepalive.interval: 0s is outside 100ms to 1h"),
        ("sync.resubscribe_after = '0s'", "sync.resubscribe_after: 0s is outside 10ms to 1h"),
        ("store.mongodb.poll_min = '1s'", "store.mongodb.poll_min: 1s is outside 1ms to 500ms"),
    ] {
        let error = load(line).unwrap().with_identity("edge-0").validate(Role::Peer).unwrap_err().to_string();
        assert!(error.starts_with(told), "{line}: {error}");
    }
}

#[test]
fn role_and_host_name_must_agree() {
    let named = |hostname: &str| load("").unwrap().with_identity(hostname);
    named("n0.sorcha.dev").validate(Role::Central).unwrap();
    let central = named("edge-0").validate(Role::Central).unwrap_err().to_string();
    assert!(central.contains("edge-0") && central.contains("node.validate_hostname"), "{central}");
    let mut peer = named("n0.sorcha.dev");
    peer.node.id = "edge-0".into();
    let contradiction = peer.validate(Role::Peer).unwrap_err().to_string();
    assert!(contradiction.contains("start it as a central node"), "{contradiction}");
    peer.node.validate_hostname = false;
    peer.validate(Role::Peer).unwrap();
}

#[test]
fn a_peer_does_not_replicate_from_itself_or_twice_from_one() {
    let mut config = load("").unwrap().with_identity("edge-0");
    config.central_nodes = vec!["edge-0=10.0.0.1:5000".parse().unwrap()];
    assert!(config.validate(Role::Peer).unwrap_err().to_string().contains("itself"));
    config.central_nodes = vec!["n0:5000".parse().unwrap(), "n0:5001".parse().unwrap()];
    assert!(config.validate(Role::Peer).unwrap_err().to_string().contains("twice"));
}

#[test]
fn addresses_in_short_form() {
    let parse = |text: &str| text.parse::<CentralNodeAddress>().map(|a| (a.id().to_owned(), a.host, a.port));
    assert_eq!(parse("n0.sorcha.dev").unwrap(), ("n0.sorcha.dev".into(), "n0.sorcha.dev".into(), 5000));
    assert_eq!(parse("n0=127.0.0.1:5001").unwrap(), ("n0".into(), "127.0.0.1".into(), 5001));
    assert_eq!(parse("[::1]:7").unwrap(), ("[::1]".into(), "[::1]".into(), 7));
    for bad in ["", ":5000", "n0:70000", "n0:0", "a b", "http://n0"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn central_nodes_file_in_both_formats() {
    let toml = file("[[central_nodes]]\nhost = 'n1'\npriority = 1\n");
    assert_eq!(read_central_nodes(toml.path()).unwrap()[0].port, 5000);
    let mut json = tempfile::NamedTempFile::with_suffix(".json").unwrap();
    json.write_all(br#"{"central_nodes":[{"host":"n0","port":1,"priority":0}]}"#).unwrap();
    assert_eq!(read_central_nodes(json.path()).unwrap()[0].port, 1);
    let bad = file("[[central_nodes]]\nhots = 'n1'\n");
    assert!(read_central_nodes(bad.path()).unwrap_err().to_string().contains("hots"));
}

#[test]
fn a_machine_with_its_domain_in_its_name_can_be_a_peer() {
    let peer = |machine: &str| load("").unwrap().with_peer_identity(machine);
    for (machine, id) in [
        ("edge-0.example.com", "edge-0"),
        ("edge-0", "edge-0"),
        ("box.local", "box"),
        ("EDGE_0.example.com.", "EDGE_0"),
    ] {
        let config = peer(machine);
        assert_eq!((config.node.id.as_str(), config.node.hostname.as_str()), (id, machine));
        config.validate(Role::Peer).unwrap();
    }
    // A central node's id may hold its domain, and has to match its pattern.
    let central = load("").unwrap().with_identity("n0.sorcha.dev");
    assert_eq!(central.node.id, "n0.sorcha.dev");
    central.validate(Role::Central).unwrap();
    // What was given is not changed, and the way out is named.
    let given = load("node.id = 'a.b'").unwrap().with_peer_identity("edge-0");
    for config in [given, peer("höst.example.com")] {
        let error = config.validate(Role::Peer).unwrap_err().to_string();
        assert!(error.starts_with("node.id: ") && error.contains("--node-id"), "{error}");
    }
}

#[test]
fn files_are_read_however_an_editor_saved_them() {
    let text = "[node]\nid = 'a'\n[[central_nodes]]\nhost = 'n0'\n";
    let list = "[[central_nodes]]\nhost = 'n0'\n";
    for (text, list) in [
        (format!("\u{feff}{text}"), format!("\u{feff}{list}")),
        (text.replace('\n', "\r\n"), list.replace('\n', "\r\n")),
    ] {
        assert_eq!(load(&text).unwrap().node.id, "a");
        assert_eq!(read_central_nodes(file(&list).path()).unwrap()[0].host, "n0");
    }
    let mut json = tempfile::NamedTempFile::with_suffix(".json").unwrap();
    json.write_all("\u{feff}{\"central_nodes\":[{\"host\":\"n0\"}]}".as_bytes()).unwrap();
    assert_eq!(read_central_nodes(json.path()).unwrap()[0].host, "n0");
    let uri = file("\u{feff}mongodb://db/\r\n");
    let mut config = Config::default();
    config.store.mongodb.uri_file = Some(uri.path().to_owned());
    assert_eq!(config.mongodb_uri().unwrap().as_deref(), Some("mongodb://db/"));
    let utf_16: Vec<u8> =
        [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    std::fs::write(uri.path(), utf_16).unwrap();
    for error in [
        Config::load(Some(uri.path()), serde_json::json!({})).unwrap_err(),
        read_central_nodes(uri.path()).unwrap_err(),
        config.mongodb_uri().unwrap_err(),
    ] {
        let error = error.to_string();
        let names_it = error.contains(&uri.path().display().to_string());
        assert!(names_it && error.contains("UTF-16 text; save it as UTF-8"), "{error}");
    }
}
