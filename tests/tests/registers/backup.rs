//! Backups as an administrator makes and uses them.

use std::{path::Path, process::Stdio, time::Duration};

use sorcha_tests::process::{binary, free_ports, get, publish, until};

use crate::site::{Site, TOKEN, register, tool};

/// A backup of a running node, a disk that is lost, a restored register, and a peer that was ahead of the backup.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_central_node_is_restored_from_a_backup_of_the_running_one() {
    let site = Site::new();
    let [grpc, http, peer_http, restored_http] = free_ports();
    let central = site.central("n0", [grpc, http]).await;
    for number in 0..5 {
        publish(http, TOKEN, &format!("before-{number}")).await.unwrap();
    }
    let (bundle, url) = (site.path("backup.sorcha"), format!("http://127.0.0.1:{http}"));
    let (done, said) = tool(&["register", "export", "--url", &url], &[&bundle]).await;
    assert!(done && said.contains("by the register's creator"), "{said}");
    let saved = register(http).await;
    // It is never half there, and never replaced by mistake.
    let (done, said) = tool(&["register", "export", "--url", &url], &[&bundle]).await;
    assert!(!done && said.contains("--force"), "{said}");

    let data = site.path("restored");
    let into = ["--data-dir", data.to_str().unwrap(), "--require-signature"];
    let (done, said) = tool(&[&["register", "restore"], &into[..]].concat(), &[&bundle]).await;
    assert!(done, "{said}");
    drop(central);
    let _restored = site.central("restored", [grpc, restored_http]).await;
    let restored = register(restored_http).await;
    assert_eq!(restored.2, saved.2, "the same lineage");
    assert!(restored.0 > saved.0 + 1_000_000, "no version that was given is given again");
    publish(restored_http, TOKEN, "after").await.unwrap();
    let _peer = site.peer(&[grpc], peer_http).await;
    let seen = "/api/system-register/blueprints/after";
    until("a peer of the restored register has what is new", || get(peer_http, seen)).await;
    assert_eq!(register(peer_http).await, register(restored_http).await);
}

/// A peer that no network leads to: a bundle seeds it. Once there is a way, it fetches what is newer, and only that.
#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_seeds_a_peer_without_a_network() {
    let site = Site::new();
    let [grpc, http, peer_http] = free_ports();
    let central = site.central("n0", [grpc, http]).await;
    for number in 0..5 {
        publish(http, TOKEN, &format!("before-{number}")).await.unwrap();
    }
    let (bundle, url) = (site.path("backup.sorcha"), format!("http://127.0.0.1:{http}"));
    assert!(tool(&["register", "export", "--url", &url], &[&bundle]).await.0);
    let saved = register(http).await;
    drop(central);
    let data = site.path("edge-0");
    let (done, said) = tool(&["register", "import", "--data-dir", data.to_str().unwrap()], &[&bundle]).await;
    assert!(done, "{said}");
    let _peer = site.peer(&[grpc], peer_http).await;
    assert_eq!(register(peer_http).await, saved);
    until("it is isolated", || async {
        get(peer_http, "/api/connection/status").await.filter(|status| status.contains("\"Isolated\""))
    })
    .await;
    assert!(get(peer_http, "/api/system-register/blueprints/before-3").await.is_some());

    let _central = site.central("n0", [grpc, http]).await;
    publish(http, TOKEN, "after").await.unwrap();
    until("what is new arrives", || get(peer_http, "/api/system-register/blueprints/after")).await;
    assert_eq!(register(peer_http).await, register(http).await);
    let metrics = get(peer_http, "/metrics").await.unwrap();
    let is_count = |line: &&str| line.starts_with("peer_sync_duration_seconds_count");
    let (full, others): (Vec<_>, Vec<_>) =
        metrics.lines().filter(is_count).partition(|line| line.to_lowercase().contains("full"));
    assert!(full.is_empty() && !others.is_empty(), "{full:?}, {others:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_is_no_such_thing_is_not_kept() {
    let site = Site::new();
    let [grpc, http, peer_http] = free_ports();
    let _central = site.central("n0", [grpc, http]).await;
    let _peer = site.peer(&[grpc], peer_http).await;
    until("the peer has the register", || {
        get(peer_http, "/api/system-register/blueprints/register-creation-v1")
    })
    .await;
    // Not signed: a peer has no key.
    let (bundle, url) = (site.path("peer.sorcha"), format!("http://127.0.0.1:{peer_http}"));
    assert!(tool(&["register", "export", "--url", &url], &[&bundle]).await.0);
    let (done, said) = tool(&["register", "verify", "--require-signature", "--bundle"], &[&bundle]).await;
    assert!(!done && said.contains("is not signed") && said.contains("n0.sorcha.dev"), "{said}");
    // Something else answers: the gRPC port, and nobody.
    for port in [grpc, free_ports::<1>()[0]] {
        let (other, url) = (site.path("other.sorcha"), format!("http://127.0.0.1:{port}"));
        let (done, said) = tool(&["register", "export", "--url", &url], &[&other]).await;
        assert!(!done && said.starts_with("error: "), "{said}");
    }
    let mut left: Vec<_> =
        std::fs::read_dir(site.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["edge-0", "n0", "peer.sorcha", "tokens"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_keeps_the_newest_backups() {
    let site = Site::new();
    let [grpc, http] = free_ports();
    let _central = site.central("n0", [grpc, http]).await;
    let folder = site.path("backups");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("notes"), "mine").unwrap();
    let url = format!("http://127.0.0.1:{http}");
    for number in 0..3 {
        publish(http, TOKEN, &format!("b-{number}")).await.unwrap();
        let (done, said) = tool(&["register", "backup", "--url", &url, "--keep", "2"], &[&folder]).await;
        assert!(done, "{said}");
        assert_eq!(said.contains("removed "), number == 2, "{said}");
    }
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[1].ends_with("-v3.sorcha") && names[2].ends_with("-v4.sorcha"), "{names:?}");
    // A node that is away costs no backup.
    let (done, said) =
        tool(&["register", "backup", "--url", "http://127.0.0.1:9", "--keep", "1"], &[&folder]).await;
    assert!(!done && said.contains("does not answer"), "{said}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3);
}

/// kill -9 at any moment of a restore: the register is the old one or the new one, and sound.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_leaves_the_old_register_or_the_new_one() {
    let site = Site::new();
    let [grpc, http] = free_ports();
    let central = site.central("n0", [grpc, http]).await;
    let old = register(http).await.1;
    central.terminate().await;
    copy(&site.path("n0"), &site.path("old"));
    let central = site.central("n0", [grpc, http]).await;
    for number in 0..40 {
        publish(http, TOKEN, &format!("b-{number}")).await.unwrap();
    }
    let (bundle, url) = (site.path("new.sorcha"), format!("http://127.0.0.1:{http}"));
    assert!(tool(&["register", "export", "--url", &url], &[&bundle]).await.0);
    let new = register(http).await.1;
    drop(central);

    let (mut kept, mut replaced) = (0, 0);
    // From before it has read anything to after it is done.
    for micros in (0..400).map(|step| step * step * 40) {
        if replaced == 3 {
            break;
        }
        let data = site.path(&format!("at-{micros}"));
        copy(&site.path("old"), &data);
        let place = ["--data-dir", data.to_str().unwrap()];
        let mut restoring = tokio::process::Command::new(binary());
        restoring.args(["register", "restore", "--yes", "--replica"]).args(place).arg(&bundle);
        restoring.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let mut restoring = restoring.spawn().unwrap();
        tokio::time::sleep(Duration::from_micros(micros)).await;
        restoring.kill().await.unwrap();
        let (sound, said) =
            tool(&[&["register", "verify", "--output", "json"], &place[..]].concat(), &[]).await;
        assert!(sound, "after {micros} µs: {said}");
        match (said.contains(&old), said.contains(&new)) {
            (true, false) => kept += 1,
            (false, true) => replaced += 1,
            _ => panic!("after {micros} µs: neither the old nor the new register: {said}"),
        }
    }
    assert!(kept > 0 && replaced > 0, "killed before it was done {kept} times, after it {replaced} times");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
