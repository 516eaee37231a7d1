mod exporting;
mod lineages;
mod restoring;

use std::{path::Path, sync::Arc, time::Duration};

use serde_json::Value;
use sorcha_register::{
    bundle::{Header, Scope},
    lineage::Genesis,
    names::Version,
    testing::{entry, genesis},
};
use sorcha_runtime::clock::SystemClock;
use sorcha_store::{
    Checkpoint, Loaded, StateChange, Store, StoreError,
    contract::{checkpoint, draft, id},
    journal::{JournalStore, Options, REGISTER_FILE},
};

use super::*;
use crate::cli::{OutputFormat, console::tests::on_console};

const JSON: OutputFormat = OutputFormat::Json;
const TABLE: OutputFormat = OutputFormat::Table;

/// A node's data directory.
struct Node {
    directory: tempfile::TempDir,
    config: Config,
}

impl Node {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.node.id = "n0.sorcha.dev".into();
        config.store.data_dir = directory.path().join("data");
        Self { directory, config }
    }

    /// A central node's register: a (version 1), b (3, deprecated), c (4).
    async fn central() -> Self {
        let node = Self::new();
        let store = node.open().await;
        store.init_genesis(genesis(1)).await.unwrap();
        for name in ["a", "b"] {
            store.publish(draft(name, &format!(r#"{{"id":"{name}"}}"#))).await.unwrap();
        }
        let change = StateChange {
            blueprint_id: id("b"),
            is_active: false,
            transaction_id: "tx".into(),
            trace_parent: String::new(),
        };
        store.set_active(change).await.unwrap();
        store.publish(draft("c", r#"{"id":"c"}"#)).await.unwrap();
        node
    }

    fn register(&self) -> std::path::PathBuf {
        self.config.store.data_dir.join(REGISTER_FILE)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Opens the register; the lock of a store that was just dropped is released within moments.
    async fn open(&self) -> Arc<JournalStore> {
        for _ in 0..500 {
            match JournalStore::open(self.register(), Options::default()).await {
                Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                other => return Arc::new(other.unwrap()),
            }
        }
        panic!("the file stays locked");
    }

    /// Waits until a store that was just dropped has let go of the file.
    async fn unlocked(&self) {
        for _ in 0..500 {
            match std::fs::File::open(self.register()) {
                Ok(file) if file.try_lock().is_err() => tokio::time::sleep(Duration::from_millis(10)).await,
                _ => return,
            }
        }
        panic!("the file stays locked");
    }

    /// What is stored, whatever it is.
    async fn content(&self) -> String {
        self.unlocked().await;
        if !self.register().exists() {
            return "nothing".to_owned();
        }
        let opened = JournalStore::open(self.register(), Options::default()).await;
        let content = match &opened {
            Ok(store) => {
                let Loaded { view, checkpoint, findings } = store.load().await.unwrap();
                format!("{:?} {:?} {checkpoint:?} {findings:?}", view.genesis(), view.seal())
            }
            Err(error) => error.to_string(),
        };
        drop(opened);
        self.unlocked().await;
        content
    }

    async fn run(
        &self,
        command: RegisterCommand,
        answers: Option<&'static str>,
    ) -> (anyhow::Result<Outcome>, String, String) {
        self.unlocked().await;
        on_console!(answers, |console| run(&command, &self.config, &SystemClock::new(), &mut console))
    }

    async fn done(&self, command: RegisterCommand) -> Value {
        let (result, out, err) = self.run(command, None).await;
        assert_eq!(result.unwrap(), Outcome::Done, "{out}{err}");
        serde_json::from_str(&out).unwrap_or(Value::String(out))
    }

    /// Runs a command that must fail and change nothing.
    async fn refused(&self, command: RegisterCommand) -> String {
        let before = self.content().await;
        let (result, ..) = self.run(command, None).await;
        let error = crate::cli::console::error_text(&result.unwrap_err());
        assert_eq!(before, self.content().await, "{error}");
        error
    }

    async fn export(&self, name: &str) -> std::path::PathBuf {
        let file = self.path(name);
        self.done(RegisterCommand::Export(export_args(&file))).await;
        file
    }

    async fn damage(&self, version: i64) {
        let store = self.open().await;
        let loaded = store.load().await.unwrap();
        drop(store);
        self.unlocked().await;
        let victim = loaded.view.iter().find(|sealed| sealed.entry().version.get() == version).unwrap();
        let document = victim.whole().unwrap().document.bytes().clone();
        let mut bytes = std::fs::read(self.register()).unwrap();
        let positions: Vec<_> = bytes
            .windows(document.len())
            .enumerate()
            .filter(|(_, part)| *part == document)
            .map(|(at, _)| at)
            .collect();
        positions.into_iter().for_each(|at| bytes[at + 3] ^= 1);
        std::fs::write(self.register(), bytes).unwrap();
    }
}

fn verify(output: OutputFormat) -> RegisterCommand {
    RegisterCommand::Verify(VerifyArgs { bundle: None, require_signature: false, output })
}

fn export_args(file: &Path) -> ExportArgs {
    ExportArgs {
        url: None,
        file: file.to_owned(),
        active_only: false,
        good_entries_only: false,
        force: false,
        output: JSON,
    }
}

fn import(file: &Path) -> RegisterCommand {
    RegisterCommand::Import(ImportArgs { file: file.to_owned(), require_signature: false, output: JSON })
}

fn restore_args(file: &Path) -> RestoreArgs {
    RestoreArgs {
        file: file.to_owned(),
        yes: true,
        require_signature: false,
        other_lineage: false,
        replica: false,
        output: JSON,
    }
}

fn reseed(yes: bool) -> RegisterCommand {
    RegisterCommand::Reseed(ReseedArgs { yes, output: JSON })
}

fn adopt(genesis: &Genesis) -> RegisterCommand {
    RegisterCommand::Adopt(AdoptArgs { lineage: genesis.lineage(), output: JSON })
}

#[tokio::test]
async fn a_sound_register_is_shown_in_full() {
    let node = Node::central().await;
    let found = node.done(verify(JSON)).await;
    assert_eq!((&found["head"], &found["entries"], &found["active"]), (&4.into(), &3.into(), &2.into()));
    assert_eq!(found["lineage"], genesis(1).lineage().to_string());
    assert_eq!(found["digest"], node.open().await.load().await.unwrap().view.digest().to_string());
    assert_eq!(found["findings"], Value::Array(Vec::new()));
    let Value::String(table) = node.done(verify(TABLE)).await else { panic!() };
    assert!(table.contains("head version  4") && table.contains("findings      none"), "{table}");
}

#[tokio::test]
async fn findings_are_named_and_fail() {
    let node = Node::central().await;
    node.damage(4).await;
    let (result, out, _) = node.run(verify(TABLE), None).await;
    assert_eq!(result.unwrap(), Outcome::Failed);
    assert!(out.contains("findings      1") && out.contains("\n4 "), "{out}");
    node.unlocked().await;
    std::fs::write(node.register(), b"not a journal, but as long as one might be ".repeat(200)).unwrap();
    let (result, out, _) = node.run(verify(JSON), None).await;
    assert_eq!(result.unwrap(), Outcome::Failed);
    assert!(out.contains("is no register's journal"), "{out}");
}

#[tokio::test]
async fn a_register_that_is_not_there_is_not_made() {
    let node = Node::new();
    let commands = [verify(JSON), RegisterCommand::Export(export_args(&node.path("b"))), adopt(&genesis(1))];
    for command in commands {
        let error = node.refused(command).await;
        assert!(error.contains("there is no register at") && error.contains("--data-dir"), "{error}");
    }
    assert!(!node.register().exists() && !node.path("b").exists());
}

#[tokio::test]
async fn a_running_node_must_be_stopped_first() {
    let node = Node::central().await;
    let file = node.export("bundle").await;
    let _running = node.open().await;
    let config = &node.config;
    for command in [verify(JSON), reseed(true), import(&file), RegisterCommand::Restore(restore_args(&file))]
    {
        let (result, ..) =
            on_console!(None, |console| run(&command, config, &SystemClock::new(), &mut console));
        let error = crate::cli::console::error_text(&result.unwrap_err());
        assert!(error.contains("stop the node") && error.contains("in use by another process"), "{error}");
    }
}

#[tokio::test]
async fn a_large_register_goes_through() {
    let node = Node::new();
    let entries: Vec<_> = (1..=3000).map(|number| entry(&format!("b{number}"), number).seal()).collect();
    let digest =
        sorcha_register::view::RegisterView::with_entries(None, entries.clone(), Version::ZERO).digest();
    node.open().await.replace(Some(genesis(1)), entries, None).await.unwrap();
    let file = node.export("bundle").await;
    let target = Node::new();
    assert_eq!(target.done(import(&file)).await["digest"], digest.to_string());
}
