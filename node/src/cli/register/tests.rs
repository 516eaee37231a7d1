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
        let document = victim.entry().document.bytes();
        let mut bytes = std::fs::read(self.register()).unwrap();
        let positions: Vec<_> = bytes
            .windows(document.len())
            .enumerate()
            .filter(|(_, part)| part == document)
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
async fn an_export_fills_an_empty_store() {
    let source = Node::central().await;
    for active_only in [false, true] {
        let file = source.path(&format!("bundle-{active_only}"));
        let summary =
            source.done(RegisterCommand::Export(ExportArgs { active_only, ..export_args(&file) })).await;
        assert_eq!(summary["bundle"]["exportedBy"], "n0.sorcha.dev");
        let target = Node::new();
        let stored = target.done(import(&file)).await;
        assert_eq!(stored["digest"], summary["digest"]);
        assert_eq!((&stored["head"], &stored["checkpoint"]["version"]), (&4.into(), &4.into()));
        assert_eq!(stored["entries"], if active_only { 2 } else { 3 });
        let checked = target
            .done(RegisterCommand::Verify(VerifyArgs {
                bundle: Some(file),
                require_signature: false,
                output: JSON,
            }))
            .await;
        assert_eq!((&checked["digest"], &checked["active"]), (&summary["digest"], &2.into()));
        // A central node goes on from there.
        let store = target.open().await;
        assert_eq!(store.publish(draft("d", "{}")).await.unwrap().entry.entry().version.get(), 5);
        drop(store);
        assert_eq!(target.done(verify(JSON)).await["head"], 5);
    }
}

#[tokio::test]
async fn an_export_to_standard_output_is_the_bundle_alone() {
    let node = Node::central().await;
    node.unlocked().await;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console { out: &mut out, out_is_terminal: false, err: &mut err, answers: None };
    let command = RegisterCommand::Export(export_args(Path::new("-")));
    run(&command, &node.config, &SystemClock::new(), &mut console).await.unwrap();
    console.out_is_terminal = true;
    let error = run(&command, &node.config, &SystemClock::new(), &mut console).await.unwrap_err();
    assert!(error.to_string().contains("not for the terminal"));
    assert_eq!(sorcha_register::bundle::read(&out[..]).unwrap().entries.len(), 3);
    assert!(String::from_utf8(err).unwrap().contains("\"digest\""));
}

#[tokio::test]
async fn an_export_replaces_a_file_only_when_told_and_leaves_nothing_else() {
    let node = Node::central().await;
    let file = node.export("bundle").await;
    std::fs::write(&file, "precious").unwrap();
    let error = node.refused(RegisterCommand::Export(export_args(&file))).await;
    assert!(error.contains("--force"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    node.done(RegisterCommand::Export(ExportArgs { force: true, ..export_args(&file) })).await;
    assert!(sorcha_register::bundle::read(&std::fs::read(&file).unwrap()[..]).is_ok());
    let error = node.refused(RegisterCommand::Export(export_args(&node.path("no/such/dir/bundle")))).await;
    assert!(error.contains("no/such/dir"), "{error}");
    let names: Vec<_> =
        std::fs::read_dir(node.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[tokio::test]
async fn a_damaged_register_is_exported_only_in_part_and_keeps_its_head() {
    let node = Node::central().await;
    node.damage(4).await;
    let file = node.path("bundle");
    let error = node.refused(RegisterCommand::Export(export_args(&file))).await;
    assert!(error.contains("findings: 1") && error.contains("--good-entries-only"), "{error}");
    assert!(!file.exists());
    let args = ExportArgs { good_entries_only: true, ..export_args(&file) };
    let (result, out, err) = node.run(RegisterCommand::Export(args), None).await;
    assert_eq!(result.unwrap(), Outcome::Done);
    assert!(err.contains("left out: version 4"), "{err}");
    let summary: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&summary["entries"], &summary["head"]), (&2.into(), &4.into()));
    // Restored, the register is sound, and no version that may have been given is given again.
    node.done(RegisterCommand::Restore(restore_args(&file))).await;
    let next = node.open().await.publish(draft("d", "{}")).await.unwrap();
    assert_eq!(next.entry.entry().version.get(), 1_000_000_005);
    assert_eq!(node.done(verify(JSON)).await["findings"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn a_register_without_genesis_is_not_exported() {
    let node = Node::new();
    node.open().await.apply(vec![entry("a", 1).seal()], checkpoint(1)).await.unwrap();
    let error = node.refused(RegisterCommand::Export(export_args(&node.path("bundle")))).await;
    assert!(error.contains("no sound genesis"), "{error}");
}

#[tokio::test]
async fn an_import_needs_an_empty_store_and_a_sound_bundle() {
    let node = Node::central().await;
    let file = node.export("bundle").await;
    let error = node.refused(import(&file)).await;
    assert!(error.contains("entries: 3") && error.contains("register restore"), "{error}");

    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let empty = Node::new();
    let error = empty.refused(import(&file)).await;
    assert!(error.contains("bundle is not sound at byte") && error.contains("SHA-256"), "{error}");
    assert!(error.contains("bundle: "), "names the file: {error}");
    assert!(!empty.register().exists());
    let error = empty.refused(import(&empty.path("missing"))).await;
    assert!(error.contains("missing") && error.contains("No such file"), "{error}");
}

#[tokio::test]
async fn a_restore_asks_and_tells_what_is_lost() {
    let node = Node::central().await;
    let file = node.export("bundle").await;
    node.open().await.publish(draft("late", "{}")).await.unwrap();
    let ask = || RegisterCommand::Restore(RestoreArgs { yes: false, ..restore_args(&file) });

    let (result, _, err) = node.run(ask(), Some("no\n")).await;
    assert_eq!(result.unwrap(), Outcome::Failed);
    assert!(
        err.contains("Versions after 4, up to 5, will be lost") && err.contains("nothing was changed"),
        "{err}"
    );
    let error = node.refused(ask()).await;
    assert!(error.contains("--yes") && error.contains("will be replaced"), "{error}");
    assert_eq!(node.done(verify(JSON)).await["head"], 5);

    let (result, out, err) = node.run(ask(), Some("yes\n")).await;
    assert_eq!(result.unwrap(), Outcome::Done);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["head"], 1_000_000_004);
    assert!(err.contains("above 1000000004"), "{err}");
    assert_eq!(node.done(verify(JSON)).await["entries"], 3);
}

#[tokio::test]
async fn a_restored_replica_keeps_the_head_of_its_bundle() {
    let node = Node::central().await;
    let file = node.export("bundle").await;
    let empty = Node::new();
    let args = RestoreArgs { replica: true, ..restore_args(&file) };
    assert_eq!(empty.done(RegisterCommand::Restore(args)).await["head"], 4);
    // One that has met a central node is known to be a replica.
    let synced = Node::new();
    synced.open().await.apply(vec![entry("a", 1).seal()], checkpoint(1)).await.unwrap();
    assert_eq!(synced.done(RegisterCommand::Restore(restore_args(&file))).await["head"], 4);
}

#[tokio::test]
async fn a_restore_of_another_lineage_must_be_meant() {
    let node = Node::central().await;
    let other = Node::new();
    other.open().await.init_genesis(genesis(2)).await.unwrap();
    let file = other.export("bundle").await;
    let error = node.refused(RegisterCommand::Restore(restore_args(&file))).await;
    assert!(error.contains("another register") && error.contains("--other-lineage"), "{error}");
    let args = RestoreArgs { other_lineage: true, ..restore_args(&file) };
    let stored = node.done(RegisterCommand::Restore(args)).await;
    assert_eq!(stored["lineage"], genesis(2).lineage().to_string());
}

#[tokio::test]
async fn a_restore_sets_an_unreadable_file_aside_and_fills_an_empty_place() {
    let source = Node::central().await;
    let file = source.export("bundle").await;
    let unreadable = Node::new();
    std::fs::create_dir_all(&unreadable.config.store.data_dir).unwrap();
    std::fs::write(unreadable.register(), b"not a journal, but as long as one might be ".repeat(200))
        .unwrap();
    let asked = RestoreArgs { yes: false, ..restore_args(&file) };
    let error = unreadable.refused(RegisterCommand::Restore(asked)).await;
    assert!(error.contains("set aside"), "{error}");
    assert_eq!(unreadable.done(RegisterCommand::Restore(restore_args(&file))).await["entries"], 3);
    // The register, and what was set aside.
    assert_eq!(std::fs::read_dir(&unreadable.config.store.data_dir).unwrap().count(), 2);

    let nothing = Node::new();
    let unasked = RestoreArgs { yes: false, ..restore_args(&file) };
    assert_eq!(nothing.done(RegisterCommand::Restore(unasked)).await["entries"], 3);
}

#[tokio::test]
async fn a_reseed_begins_another_register_with_the_nodes_key() {
    let node = Node::central().await;
    let error = node.refused(reseed(false)).await;
    assert!(error.contains("SplitBrain") && error.contains("--yes"), "{error}");
    let (result, out, err) = node.run(reseed(true), None).await;
    assert_eq!(result.unwrap(), Outcome::Done);
    assert!(err.contains("register adopt"), "{err}");
    let new: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&new["head"], &new["entries"], &new["createdBy"]),
        (&1.into(), &1.into(), &"n0.sorcha.dev".into())
    );
    assert_ne!(new["lineage"], genesis(1).lineage().to_string());

    // The node that starts on it finds its register complete.
    let key = sorcha_host::keys::load_or_create(&node.config.store.data_dir).unwrap();
    let store = node.open().await;
    let found =
        sorcha_central::bootstrap::ensure_seed(&*store, "n0", &key, &SystemClock::new()).await.unwrap();
    assert_eq!(found.lineage().to_string(), new["lineage"]);
    assert_eq!(store.load().await.unwrap().view.head().get(), 1);
    let administrator = &found.record().control_record.administrators[0];
    assert_eq!(administrator.public_key, hex::encode(key.verifying_key().as_bytes()));
}

#[tokio::test]
async fn a_replica_notes_the_lineage_to_adopt_and_is_served_until_then() {
    let node = Node::new();
    let store = node.open().await;
    store.replace(Some(genesis(1)), vec![entry("a", 1).seal()], Some(checkpoint(1))).await.unwrap();
    drop(store);
    assert_eq!(node.done(adopt(&genesis(2))).await["adopt"], genesis(2).lineage().to_string());
    let loaded = node.open().await.load().await.unwrap();
    let noted = loaded.checkpoint.unwrap();
    assert_eq!(noted, Checkpoint { adopt: Some(genesis(2).lineage()), ..checkpoint(1) });
    assert_eq!((loaded.view.len(), loaded.view.lineage()), (1, Some(genesis(1).lineage())));
    let Value::String(table) = node.done(verify(TABLE)).await else { panic!() };
    assert!(table.contains("to adopt") && table.contains(&genesis(2).lineage().to_string()), "{table}");

    assert_eq!(node.done(adopt(&genesis(1))).await["adopt"], Value::Null);
    assert_eq!(node.open().await.load().await.unwrap().checkpoint.unwrap().adopt, None);
}

#[tokio::test]
async fn only_a_replica_can_adopt() {
    let central = Node::central().await;
    let error = central.refused(adopt(&genesis(2))).await;
    assert!(
        error.contains("no checkpoint") && error.contains("register restore FILE --other-lineage"),
        "{error}"
    );
    let empty = Node::new();
    drop(empty.open().await);
    let error = empty.refused(adopt(&genesis(2))).await;
    assert!(error.contains("just start it"), "{error}");
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

fn forced(file: &Path) -> RegisterCommand {
    RegisterCommand::Export(ExportArgs { force: true, ..export_args(file) })
}

#[tokio::test]
async fn an_export_replaces_regular_files_only_and_keeps_their_mode_and_the_links_to_them() {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
    let node = Node::central().await;
    let is_bundle = |file: &Path| sorcha_register::bundle::read(&std::fs::read(file).unwrap()[..]).is_ok();
    let (file, link) = (node.path("bundle"), node.path("link"));
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink("bundle", &link).unwrap();
    let error = node.refused(RegisterCommand::Export(export_args(&link))).await;
    assert!(error.contains("--force"), "{error}");
    node.done(forced(&link)).await;
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink() && is_bundle(&file));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o640);

    let folder = node.path("folder");
    std::fs::create_dir(&folder).unwrap();
    let socket = node.path("socket");
    let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (place, what) in [(folder, "is a folder"), (socket, "is a socket")] {
        for command in [RegisterCommand::Export(export_args(&place)), forced(&place)] {
            let error = node.refused(command).await;
            assert!(error.contains(what) && error.contains(&place.display().to_string()), "{error}");
        }
    }
    // What can only be written to is written to, without --force.
    node.done(RegisterCommand::Export(export_args(Path::new("/dev/null")))).await;
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    let full = node.refused(forced(Path::new("/dev/full"))).await;
    assert!(full.contains("/dev/full") && full.contains("No space left"), "{full}");
    let pipe = node.path("pipe");
    std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    let reading = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap()
    });
    node.done(forced(&pipe)).await;
    assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert_eq!(sorcha_register::bundle::read(&reading.join().unwrap()[..]).unwrap().entries.len(), 3);
}

#[tokio::test]
async fn whatever_step_of_an_export_fails_the_old_file_or_the_new_one_is_there_whole() {
    use sorcha_os::faults::{Fault, Step};
    let node = Node::central().await;
    for step in Step::ALL {
        let file = node.path("bundle");
        std::fs::write(&file, "old").unwrap();
        node.unlocked().await;
        let loaded = node.open().await.load().await.unwrap();
        let header =
            Header::of(&loaded.view, Scope::Whole, "n0", sorcha_register::clock::Timestamp::from_millis(1))
                .unwrap();
        let written = Fault::at(step, 0, || export::write_file(&file, true, &header, &loaded.view, None));
        let error = format!("{:#}", written.unwrap_err());
        assert!(error.contains("bundle"), "{error}");
        let now = std::fs::read(&file).unwrap();
        let is_new = sorcha_register::bundle::read(&now[..]).is_ok();
        assert!(is_new == (step == Step::SyncFolder) && (is_new || now == b"old"), "{step:?}");
        let left = std::fs::read_dir(node.directory.path()).unwrap().count();
        assert_eq!(left, 2, "{step:?} left something");
    }
}

#[tokio::test]
async fn a_bundle_that_standard_output_does_not_take_is_a_failure() {
    let node = Node::central().await;
    node.unlocked().await;
    let (mut out, mut err) = (crate::cli::console::tests::Full(std::io::ErrorKind::StorageFull), Vec::new());
    let mut console = Console { out: &mut out, out_is_terminal: false, err: &mut err, answers: None };
    for file in ["-", "/dev/stdout"] {
        let command = RegisterCommand::Export(export_args(Path::new(file)));
        let error = run(&command, &node.config, &SystemClock::new(), &mut console).await.unwrap_err();
        assert!(format!("{error:#}").contains("write standard output"), "{error:#}");
    }
}
