use clap::Command as Clap;
use sorcha_config::{CentralNodeAddress, Role};

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    parse_from(std::iter::once("sorcha-node").chain(line.split_whitespace()).map(OsString::from))
}

fn parsed(line: &str) -> Cli {
    parse(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn config(line: &str) -> Config {
    let cli = parsed(line);
    let loaded = match &cli.command {
        Command::Central(args) => load_config(&cli.globals, args),
        Command::Peer(args) => load_config(&cli.globals, args),
        Command::Tool(Tool::Register(args)) => load_config(&cli.globals, &args.store),
        other => panic!("{other:?} has no configuration"),
    };
    loaded.unwrap()
}

fn toml(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

#[test]
fn the_tree_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_and_flag_has_a_help_text() {
    fn check(command: &Clap) {
        let name = command.get_name();
        assert!(command.get_about().is_some(), "{name} has no text");
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{name} {} has no text", argument.get_id());
        }
        let leaf = command.get_subcommands().next().is_none();
        assert!(!leaf || command.get_after_help().is_some(), "{name} has no example");
        command.get_subcommands().filter(|inner| inner.get_name() != "help").for_each(check);
    }
    let mut command = Cli::command();
    command.build();
    check(&command);
}

#[test]
fn help_is_given_everywhere() {
    let commands = ["central", "peer", "demo", "publish", "deprecate", "reactivate", "status", "register"];
    let tools =
        ["verify", "export", "import", "restore", "reseed", "adopt"].map(|tool| format!("register {tool}"));
    for command in commands.map(str::to_owned).into_iter().chain(tools) {
        let help = parse(&format!("{command} --help")).unwrap_err();
        assert_eq!(help.exit_code(), 0, "{command}");
        assert!(help.to_string().contains("Example"), "{command}: {help}");
    }
    assert!(parse("--help").unwrap_err().to_string().contains("Exit codes"));
}

#[test]
fn wrong_usage_exits_with_two_and_says_what_is_wrong() {
    for (line, expected) in [
        ("", "Usage"),
        ("frobnicate", "unrecognized subcommand"),
        ("register", "Usage"),
        ("publish", "<FILE>"),
        ("publish a b --id x", "--id names one blueprint, but there are 2 files"),
        ("publish - -", "standard input (-) can be read only once"),
        ("publish a --metadata novalue", "KEY=VALUE"),
        ("publish a --metadata k=1 --metadata k=2", "same key twice"),
        ("publish a --id a.b", "'.'"),
        ("publish a --url https://n0", "port-forward"),
        ("deprecate not/an/id", "blueprint_id"),
        ("peer --central-node n0=host:port", "is not a port"),
        ("peer --central-node n0 --central-nodes-file f", "cannot be used with"),
        ("central --listen-grpc 5000", "--listen-grpc"),
        ("demo --peers 0", "1..=500"),
        ("register adopt --lineage abc", "64 hex digits"),
        ("register verify --mongodb-uri u --mongodb-uri-file f", "cannot be used with"),
        ("status --output xml", "[possible values: table, json]"),
    ] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(expected), "{line}: {error}");
    }
    let long = format!("publish a --metadata k={}", "v".repeat(4096));
    assert!(parse(&long).unwrap_err().to_string().contains("the limit is 4096"));
}

#[test]
fn flags_reach_the_configuration() {
    let config = config(
        "central --node-id n0 --hostname n0.example.org --network example.org --listen-grpc 127.0.0.1:1 --listen-http 127.0.0.1:2 \
         --data-dir /data --token-file /tokens --insecure-writes --otlp-endpoint http://collector:4317 --log debug --log-format json",
    );
    assert_eq!((config.node.id.as_str(), config.node.hostname.as_str()), ("n0", "n0.example.org"));
    assert!(config.validate(Role::Central).is_ok());
    assert_eq!((config.listen.grpc.port(), config.listen.http.port()), (1, 2));
    assert_eq!(config.store.data_dir, std::path::Path::new("/data"));
    assert_eq!(config.http.token_file.as_deref(), Some(std::path::Path::new("/tokens")));
    assert!(config.http.insecure_writes);
    assert_eq!(config.telemetry.otlp_endpoint.as_deref(), Some("http://collector:4317"));
    assert_eq!((config.log.filter.as_str(), config.log.format), ("debug", LogFormat::Json));
}

#[test]
fn flags_that_were_not_given_leave_the_file_alone() {
    let file = toml(
        "[node]\nid = 'from-file'\nvalidate_hostname = true\n[http]\ninsecure_writes = true\n[log]\nfilter = 'warn'\n",
    );
    let config = config(&format!("peer --config {}", file.path().display()));
    assert_eq!((config.node.id.as_str(), config.node.hostname.as_str()), ("from-file", "from-file"));
    assert!(config.node.validate_hostname && config.http.insecure_writes);
    assert_eq!(config.log.filter, "warn");
}

#[test]
fn a_node_without_a_name_has_the_machines() {
    let config = config("peer");
    assert_eq!(config.node.id, node::machine_name());
    assert!(!config.node.id.is_empty() && !config.node.id.contains(char::is_whitespace));
}

#[test]
fn central_nodes_are_tried_in_the_order_given() {
    let file = toml("[[central_nodes]]\nhost = 'old'\n");
    let path = file.path().display();
    let given = config(&format!("peer --config {path} --central-node n1=10.0.0.1:5001 --central-node n0"));
    let expected = [("n1", "10.0.0.1", 5001, 0), ("n0", "n0", 5000, 1)];
    let found: Vec<_> = given
        .central_nodes
        .iter()
        .map(|node| (node.id(), node.host.as_str(), node.port, node.priority))
        .collect();
    assert_eq!(found, expected);
    let from_file = config(&format!("peer --config {path} --central-nodes-file nodes.json"));
    assert_eq!(from_file.central_nodes, Vec::<CentralNodeAddress>::new());
    assert_eq!(from_file.central_nodes_file.as_deref(), Some(std::path::Path::new("nodes.json")));
}

#[test]
fn a_mongodb_flag_wins_over_the_other_form_in_the_file() {
    let file = toml("[store.mongodb]\nuri = 'mongodb://from-file'\n");
    let uri = toml("mongodb://from-flag\n");
    let (path, uri) = (file.path().display(), uri.path().display());
    for line in [
        format!("central --config {path} --mongodb-uri-file {uri}"),
        format!("register verify --config {path} --mongodb-uri-file {uri}"),
        format!("register --mongodb-uri mongodb://from-flag verify --config {path}"),
    ] {
        assert_eq!(config(&line).mongodb_uri().unwrap().as_deref(), Some("mongodb://from-flag"), "{line}");
    }
}

#[test]
fn global_flags_may_stand_anywhere() {
    for line in ["--log trace register verify --data-dir d", "register --data-dir d verify --log trace"] {
        let config = config(line);
        assert_eq!(
            (config.log.filter.as_str(), config.store.data_dir.to_str()),
            ("trace", Some("d")),
            "{line}"
        );
    }
}

#[test]
fn the_defaults_of_the_tools_are_the_documented_ones() {
    let Command::Tool(Tool::Publish(publish)) = parsed("publish a.json").command else { panic!() };
    assert_eq!(publish.api.url.as_str(), "http://127.0.0.1:8080/");
    let Command::Demo(demo) = parsed("demo").command else { panic!() };
    assert_eq!((demo.peers, demo.keep_running, demo.output), (5, false, sorcha_demo::Form::Table));
}

/// All words that commands and flags are made of.
fn words() -> Vec<String> {
    fn collect(command: &Clap, into: &mut Vec<String>) {
        into.push(command.get_name().to_owned());
        for argument in command.get_arguments() {
            into.extend(argument.get_long().map(|long| format!("--{long}")));
            into.extend(argument.get_short().map(|short| format!("-{short}")));
        }
        command.get_subcommands().for_each(|inner| collect(inner, into));
    }
    let mut command = Cli::command();
    command.build();
    let mut words = Vec::new();
    collect(&command, &mut words);
    words
}

proptest::proptest! {
    #[test]
    fn any_words_are_understood_or_explained(
        line in proptest::collection::vec(
            proptest::prop_oneof![
                4 => proptest::sample::select(words()),
                1 => proptest::prelude::Just("json".to_owned()),
                1 => proptest::prelude::Just("n0=127.0.0.1:5000".to_owned()),
                2 => ".{0,12}",
            ],
            0..8,
        )
    ) {
        let arguments = std::iter::once("sorcha-node".to_owned()).chain(line).map(OsString::from);
        match parse_from(arguments) {
            Ok(cli) => drop(format!("{cli:?}")),
            Err(error) => {
                let told = error.to_string();
                proptest::prop_assert!(!told.trim().is_empty());
                proptest::prop_assert!([0, 2].contains(&error.exit_code()), "{}", told);
            }
        }
    }
}
