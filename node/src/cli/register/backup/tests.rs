use axum::{Router, body::Bytes, routing::get};
use sorcha_os::faults::{Fault, Step};
use sorcha_register::{
    bundle::{Scope, Writer},
    testing::{entry, genesis},
    view::RegisterView,
};
use sorcha_runtime::clock::VirtualClock;
use sorcha_store::contract::version;

use super::*;
use crate::cli::{api::tests::serve, console::tests::on_console};

const DAY: i64 = 24 * 3600 * 1000;
/// 2026-11-22T09:30:00Z.
const NOW: i64 = 1_795_339_800_000;

/// A bundle made on a day before (or, negative, after) now.
fn found(version_number: i64, days_ago: i64, is_signed: bool) -> SavedBundle {
    let made = Timestamp::from_millis(NOW - days_ago * DAY);
    let name = format!("register-aa-{}-v{version_number}-{is_signed}.sorcha", stamp(made));
    SavedBundle { path: name.into(), version: version(version_number), made, is_signed, is_new: false }
}

fn new(bundle: SavedBundle) -> SavedBundle {
    SavedBundle { is_new: true, ..bundle }
}

/// (version, days ago) of what goes.
fn gone(found: &[SavedBundle], keep: usize) -> Vec<(i64, i64)> {
    let gone = too_many(found.to_vec(), keep, Timestamp::from_millis(NOW));
    let mut gone: Vec<_> = gone.iter().map(|b| (b.version.get(), (NOW - b.made.as_millis()) / DAY)).collect();
    gone.sort_unstable();
    gone
}

#[test]
fn whatever_clocks_show_the_new_one_stays_and_the_lowest_versions_go() {
    let (signed, unsigned) = (true, false);
    let s = |version, days_ago| found(version, days_ago, signed);
    let u = |version, days_ago| found(version, days_ago, unsigned);
    type Row<'a> = (&'a str, Vec<SavedBundle>, usize, &'a [(i64, i64)]);
    let rows: [Row<'_>; 12] = [
        ("right clocks", vec![s(1, 4), s(2, 3), s(3, 2), new(s(4, 0))], 2, &[(1, 4), (2, 3)]),
        ("as many as may stay", vec![s(1, 4), s(2, 3), new(s(3, 0))], 3, &[]),
        ("one once had a clock far ahead", vec![s(5, -9000), s(6, 1), new(s(7, 0))], 2, &[(5, -9000)]),
        ("and it is of the newest version", vec![s(7, -9000), s(7, 1), new(s(7, 0))], 2, &[(7, -9000)]),
        ("the new one's clock is far behind", vec![s(7, 3), s(7, 2), new(s(7, 9000))], 2, &[(7, 3)]),
        ("all clocks stand still", vec![s(7, 0), s(8, 0), new(s(9, 0))], 1, &[(7, 0), (8, 0)]),
        ("the new one is of a lower version", vec![s(7, 3), s(8, 2), new(s(3, 0))], 1, &[(7, 3), (8, 2)]),
        ("unsigned ones push no signed one out", vec![s(1, 9), u(2, 2), u(3, 1), new(u(4, 0))], 2, &[(2, 2)]),
        ("nor one that is all there is", vec![s(1, 9), new(u(4, 0))], 1, &[]),
        (
            "signed ones push unsigned ones out",
            vec![u(1, 9), u(2, 8), s(3, 1), new(s(4, 0))],
            2,
            &[(1, 9), (2, 8)],
        ),
        ("of signed ones so many stay", vec![s(1, 9), s(2, 8), s(3, 7), new(u(4, 0))], 2, &[(1, 9)]),
        ("nothing but the new one", vec![new(s(1, 0))], 1, &[]),
    ];
    for (what, bundles, keep, expected) in rows {
        // The order in which a folder lists its files is any.
        for turn in 0..bundles.len() {
            let mut bundles = bundles.clone();
            bundles.rotate_left(turn);
            assert_eq!(gone(&bundles, keep), expected, "{what}");
        }
    }
}

#[test]
fn a_bundle_or_a_name_from_the_future_is_known_as_one() {
    let now = Timestamp::from_millis(NOW);
    assert!(!found(1, 0, true).is_from_the_future(now));
    assert!(found(1, -1, true).is_from_the_future(now));
    let renamed = found(1, -400, true).path;
    assert!(SavedBundle { path: renamed, ..found(1, 3, true) }.is_from_the_future(now));
}

/// A bundle of a register with so many entries.
fn bundle(seed: u8, entries: i64, made: i64, is_signed: bool) -> Vec<u8> {
    let sealed = (1..=entries).map(|number| entry(&format!("b-{number}"), number).seal()).collect();
    let view = RegisterView::with_entries(Some(genesis(seed).into()), sealed, version(entries));
    let header = Header::of(&view, Scope::Whole, "n0", Timestamp::from_millis(made)).unwrap();
    let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
    let mut writer = Writer::new(Vec::new(), &header, is_signed.then_some(&key)).unwrap();
    view.iter().for_each(|sealed| writer.entry(sealed).unwrap());
    writer.finish().unwrap()
}

async fn args(folder: &Path, keep: u16, bundle: Vec<u8>) -> BackupArgs {
    let bundle = Bytes::from(bundle);
    let answer = get(move || async move { bundle });
    let url = serve(Router::new().route("/api/system-register/bundle", answer)).await;
    BackupArgs { folder: folder.to_owned(), url, keep, output: OutputFormat::Table }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn back_up(folder: &Path, keep: u16, bundle: Vec<u8>) -> (anyhow::Result<Outcome>, String) {
    let args = args(folder, keep, bundle).await;
    let clock = VirtualClock::new(Timestamp::from_millis(NOW), 0);
    let (result, _, err) = on_console!(None, |console| run(&args, &clock, &mut console));
    (result, err)
}

#[tokio::test]
async fn a_backup_after_one_with_a_wrong_clock_is_kept_and_the_wrong_one_told() {
    let folder = tempfile::tempdir().unwrap();
    for (version, made) in [(1, NOW + 9000 * DAY), (2, NOW - 2 * DAY), (3, NOW - DAY), (4, NOW)] {
        let (result, err) = back_up(folder.path(), 2, bundle(1, version, made, true)).await;
        assert_eq!(result.unwrap(), Outcome::Done);
        let is_here = names(folder.path()).iter().any(|name| name.ends_with(&format!("-v{version}.sorcha")));
        assert!(is_here, "version {version} has deleted itself: {err}");
        assert_eq!(err.contains("is dated later than now"), version < 4, "version {version}: {err}");
    }
    assert_eq!(names(folder.path()).len(), 2);
}

#[tokio::test]
async fn what_is_of_another_register_or_cannot_be_read_neither_counts_nor_goes() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = prefix_of(genesis(1).lineage());
    let inside = |name: &str| folder.path().join(name);
    fs::write(inside(&format!("{prefix}20200101T000000000Z-v1.sorcha")), "cut").unwrap();
    fs::create_dir(inside(&format!("{prefix}20200102T000000000Z-v1.sorcha"))).unwrap();
    fs::write(inside("register-of-mine.sorcha"), "mine").unwrap();
    std::os::unix::fs::symlink("nowhere", inside(&format!("{prefix}20200103T000000000Z-v1.sorcha"))).unwrap();
    back_up(folder.path(), 1, bundle(2, 9, NOW, true)).await.0.unwrap();
    let before = names(folder.path());
    for version in [1, 2] {
        let (result, err) = back_up(folder.path(), 1, bundle(1, version, NOW, true)).await;
        assert_eq!(result.unwrap(), Outcome::Done);
        assert_eq!(err.matches("does not count").count(), 3, "{err}");
    }
    let after = names(folder.path());
    assert!(before.iter().all(|name| after.contains(name)), "{before:?} -> {after:?}");
    assert_eq!(after.len(), before.len() + 1);
}

#[tokio::test]
async fn two_bundles_of_the_same_instant_and_version_are_two_files() {
    let folder = tempfile::tempdir().unwrap();
    for is_signed in [true, false, false] {
        back_up(folder.path(), 7, bundle(1, 1, NOW, is_signed)).await.0.unwrap();
    }
    assert_eq!(names(folder.path()).len(), 3);
}

#[tokio::test]
async fn whatever_step_fails_no_bundle_is_lost_and_nothing_half_made_stays() {
    for (step, number) in Step::ALL.into_iter().flat_map(|step| [(step, 0), (step, 1)]) {
        let folder = tempfile::tempdir().unwrap();
        back_up(folder.path(), 1, bundle(1, 1, NOW - DAY, true)).await.0.unwrap();
        let before = names(folder.path());
        let args = args(folder.path(), 1, bundle(1, 2, NOW, true)).await;
        let clock = VirtualClock::new(Timestamp::from_millis(NOW), 0);
        let runtime = tokio::runtime::Handle::current();
        let failed = tokio::task::spawn_blocking(move || {
            Fault::at(step, number, || {
                runtime.block_on(async {
                    on_console!(None, |console| run(&args, &clock, &mut console)).0.is_err()
                })
            })
        });
        let failed = failed.await.unwrap();
        let after = names(folder.path());
        assert_eq!(
            after.len(),
            if failed && step == Step::SyncFolder { 2 } else { 1 },
            "{step:?}: {after:?}"
        );
        assert_eq!(failed && step != Step::SyncFolder, after == before, "{step:?} {number}: {after:?}");
    }
}

#[test]
fn what_a_killed_run_left_goes_but_not_what_another_is_making() {
    let folder = tempfile::tempdir().unwrap();
    let making = beside::begin_in(folder.path()).unwrap();
    let left = folder.path().join(format!("{IN_THE_MAKING}left"));
    fs::write(&left, "").unwrap();
    let later = |days: i64| SystemTime::UNIX_EPOCH + Duration::from_millis((NOW + days * DAY).unsigned_abs());
    for file in [&left, making.path()] {
        File::options().write(true).open(file).unwrap().set_modified(later(0)).unwrap();
    }
    let at = |days: i64| Timestamp::from_millis(NOW + days * DAY);
    remove_abandoned(folder.path(), at(-3)).unwrap();
    assert!(left.exists(), "a clock that was set back");
    remove_abandoned(folder.path(), at(2)).unwrap();
    assert!(!left.exists() && making.path().exists());
}
