//! A database that goes away, comes back, or stands still in the middle of an operation.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::{
    test_server::{Databases, Server, has_java},
    tests::{change, publish, versions_after},
    *,
};
use crate::contract::{draft, version};

const TIMEOUT: Duration = Duration::from_millis(700);

fn config(databases: &Databases) -> MongoDb {
    MongoDb { timeout: TIMEOUT, ..databases.fresh() }
}

/// Publishes as soon as the driver has found the server again.
async fn publish_soon(store: &MongoStore, name: &str) -> Publication {
    for _ in 0..40 {
        match store.publish(draft(name, &format!(r#"{{"id":"{name}"}}"#))).await {
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            other => return other.unwrap(),
        }
    }
    panic!("the server is not found again");
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_goes_on_when_the_database_is_back() {
    if !has_java("publishing_goes_on_when_the_database_is_back") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("data");
    let server = Server::start(0, Some(&file));
    let port = server.port;
    let databases = Databases::on(&server);
    let store = databases.open(&config(&databases)).await;
    publish(&store, "a").await;
    drop(server);

    let before = Instant::now();
    let refused = store.publish(draft("b", "{}")).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
    assert!(matches!(store.set_active(change("a", false)).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.read_after(version(0), 10).await, Err(StoreError::Unavailable(_))));
    assert!(before.elapsed() < 15 * TIMEOUT);
    timeout(15 * TIMEOUT, store.changed(version(1))).await.expect("a reader learns of the outage by reading");

    let server = Server::start(port, Some(&file));
    assert_eq!(publish_soon(&store, "b").await.entry.entry().version, version(2));
    assert_eq!(versions_after(&store, 0).await, [1, 2]);
    assert_eq!(store.load().await.unwrap().findings, []);
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_between_two_publications_is_not_noticed() {
    if !has_java("a_restart_between_two_publications_is_not_noticed") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("data");
    let mut server = Server::start(0, Some(&file));
    let databases = Databases::on(&server);
    let store = databases.open(&MongoDb { timeout: Duration::from_secs(5), ..databases.fresh() }).await;
    for number in 1..=3 {
        publish(&store, &format!("b{number}")).await;
        let port = server.port;
        drop(server);
        server = Server::start(port, Some(&file));
    }
    assert_eq!(versions_after(&store, 0).await, [1, 2, 3]);
}

/// What a frozen server was sent it carries out once it runs again: after the refusal, or in time for a retry.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_twice_by_a_server_that_stood_still() {
    if !has_java("nothing_is_published_twice_by_a_server_that_stood_still") {
        return;
    }
    let server = Server::start(0, None);
    let databases = Databases::on(&server);
    let store = databases.open(&config(&databases)).await;
    publish(&store, "a").await;
    server.freeze();
    let before = Instant::now();
    let refused = store.publish(draft("b", r#"{"id":"b"}"#)).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Unavailable(_)), "{refused}");
    assert!(before.elapsed() < 6 * TIMEOUT, "{:?}", before.elapsed());
    server.thaw();
    let again = publish_soon(&store, "b").await;
    assert_eq!(again.entry.entry().version, version(2));
    store.set_active(change("b", false)).await.unwrap();
    assert_eq!(store.load().await.unwrap().findings, []);
    assert_eq!(versions_after(&store, 0).await, [1, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn publications_in_flight_at_a_kill_are_there_or_were_refused() {
    if !has_java("publications_in_flight_at_a_kill_are_there_or_were_refused") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("data");
    let server = Server::start(0, Some(&file));
    let (port, databases) = (server.port, Databases::on(&server));
    let config = config(&databases);
    let store = Arc::new(databases.open(&config).await);
    let publisher = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                match store.publish(draft(&format!("b{number}"), "{}")).await {
                    Ok(publication) => acknowledged.push(publication.entry),
                    Err(StoreError::Unavailable(_)) => break,
                    Err(other) => panic!("{other}"),
                }
            }
            acknowledged
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(server);
    let acknowledged = publisher.await.unwrap();
    let server = Server::start(port, Some(&file));
    let restarted = databases.open(&config).await;
    let loaded = restarted.load().await.unwrap();
    assert_eq!(loaded.findings, []);
    assert!(!acknowledged.is_empty());
    for entry in &acknowledged {
        assert_eq!(loaded.view.get(&entry.entry().blueprint_id), Some(entry));
    }
    assert!(loaded.view.len() - acknowledged.len() <= 1, "at most the one in flight");
    drop(server);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_soon() {
    let config = MongoDb { timeout: Duration::from_millis(500), ..MongoDb::default() };
    let before = Instant::now();
    // Port 1 of this machine: nobody listens there.
    let refused = MongoStore::connect("mongodb://user:secret@127.0.0.1:1/", &config).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Unavailable(why) if !why.contains("secret")), "{refused}");
    assert!(before.elapsed() < Duration::from_secs(3));
    let refused = MongoStore::connect("mongodb:/user:secret@nowhere", &config).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Internal(why) if !why.contains("secret")), "{refused}");
}
