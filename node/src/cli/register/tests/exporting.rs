//! `export`: what is written, and where.

use super::*;

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
