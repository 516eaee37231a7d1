use std::os::unix::{
    fs::{FileTypeExt as _, PermissionsExt as _, symlink},
    net::UnixListener,
};

use super::*;
use crate::faults::{Fault, Step};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn whatever_step_fails_the_old_file_or_the_new_one_is_there_whole_and_nothing_else() {
    for existing in [Existing::Goes, Existing::Stays] {
        for step in Step::ALL {
            let folder = tempfile::tempdir().unwrap();
            let place = folder.path().join("file");
            if existing == Existing::Goes {
                fs::write(&place, "old").unwrap();
            } else if step == Step::Permit {
                continue;
            }
            let done = Fault::at(step, 0, || replace_file(&place, b"new", Mode::Private, existing));
            let error = done.expect_err("the step fails");
            let is_there = step == Step::SyncFolder;
            assert_eq!(matches!(error, ReplaceError::NotDurable { .. }), is_there, "{step:?}: {error}");
            let left = fs::read_to_string(&place).ok();
            let before = (existing == Existing::Goes).then(|| "old".to_owned());
            assert_eq!(left, if is_there { Some("new".to_owned()) } else { before }, "{step:?}");
            assert!(names(folder.path()).iter().all(|name| name == "file"), "{step:?} left something");
            let again = replace_file(&place, b"newer", Mode::Private, Existing::Goes);
            again.unwrap();
        }
    }
}

#[test]
fn the_mode_of_what_is_replaced_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("file");
    for kept in [0o600, 0o640, 0o644, 0o400, 0o755] {
        fs::write(&place, "old").unwrap();
        fs::set_permissions(&place, Permissions::from_mode(kept)).unwrap();
        replace_file(&place, b"new", Mode::Usual, Existing::Goes).unwrap();
        assert_eq!(mode(&place), kept);
        fs::remove_file(&place).unwrap();
    }
    replace_file(&place, b"new", Mode::Private, Existing::Stays).unwrap();
    assert_eq!(mode(&place), 0o600);
    fs::remove_file(&place).unwrap();
    replace_file(&place, b"new", Mode::Usual, Existing::Stays).unwrap();
    fs::write(folder.path().join("other"), "").unwrap();
    assert_eq!(mode(&place), mode(&folder.path().join("other")), "as the umask says");
}

#[test]
fn links_stay_and_lead_to_the_new_content() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = elsewhere.path().join("target");
    fs::write(&target, "old").unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    symlink("second", &first).unwrap();
    symlink(&target, &second).unwrap();
    replace_file(&first, b"new", Mode::Usual, Existing::Goes).unwrap();
    assert!(fs::symlink_metadata(&first).unwrap().is_symlink());
    assert!(fs::symlink_metadata(&second).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&target).unwrap(), "new");
    assert_eq!(names(elsewhere.path()), ["target"]);
    assert_eq!(names(folder.path()), ["first", "second"]);
    let refused = replace_file(&first, b"newer", Mode::Usual, Existing::Stays).unwrap_err();
    assert!(matches!(refused, ReplaceError::AlreadyThere(_)), "{refused}");
    // One that leads to nothing is followed, too.
    fs::remove_file(&target).unwrap();
    replace_file(&first, b"again", Mode::Usual, Existing::Stays).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "again");
    let circle = folder.path().join("circle");
    symlink("circle", &circle).unwrap();
    assert!(
        replace_file(&circle, b"x", Mode::Usual, Existing::Goes).unwrap_err().to_string().contains("levels")
    );
}

#[test]
fn only_regular_files_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let inside = |name: &str| folder.path().join(name);
    fs::create_dir(inside("folder")).unwrap();
    let _socket = UnixListener::bind(inside("socket")).unwrap();
    std::process::Command::new("mkfifo").arg(inside("pipe")).status().unwrap();
    symlink("folder", inside("link")).unwrap();
    symlink("/dev/null", inside("null")).unwrap();
    let before = names(folder.path());
    for (name, what) in [
        ("folder", "a folder"),
        ("link", "a folder"),
        ("socket", "a socket"),
        ("pipe", "a device or a pipe"),
        ("null", "a device or a pipe"),
    ] {
        let error = replace_file(&inside(name), b"x", Mode::Usual, Existing::Goes).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(what), "{error}");
    }
    assert_eq!(names(folder.path()), before);
    assert!(Path::new("/dev/null").metadata().unwrap().file_type().is_char_device());
}

#[test]
fn streams_are_told_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    let target = |path: &str| Target::of(Path::new(path)).unwrap();
    for output in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        assert_eq!(target(output), Target::StandardOutput, "{output}");
    }
    assert_eq!(target("/dev/null"), Target::Stream("/dev/null".into()));
    assert!(matches!(target("/dev/stderr"), Target::Stream(_)));
    assert_eq!(Target::of(&pipe).unwrap(), Target::Stream(pipe));
    assert_eq!(target("not-there"), Target::File("not-there".into()));
}
