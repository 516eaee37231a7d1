//! Databases that two nodes are pointed at.

use std::time::Duration;

use mongodb::bson::doc;
use sorcha_register::{
    clock::Timestamp,
    testing::{entry, genesis},
};
use sorcha_runtime::clock::VirtualClock;

use super::{owner::Claimant, test_server::Databases, tests::publish, *};
use crate::contract::checkpoint;

/// A node's surroundings, its clock so many seconds ahead.
fn env(seconds: i64) -> Env {
    let clock = VirtualClock::new(Timestamp::from_millis(1_700_000_000_000), seconds * 1000);
    Env { clock: Arc::new(clock), ..Env::system(Metrics::disabled()) }
}

fn peer(identity: &str) -> Claimant {
    Claimant::Peer { identity: identity.to_owned() }
}

async fn claimed(
    databases: &Databases,
    config: &MongoDb,
    claimant: &Claimant,
    seconds: i64,
) -> Result<MongoStore, String> {
    let store = databases.open(config).await;
    store.claim(claimant, &env(seconds)).await.map_err(|error| error.to_string())?;
    Ok(store)
}

#[tokio::test]
async fn two_namespaces_peers_do_not_share_a_replica() {
    let Some(databases) = Databases::for_test("two_namespaces_peers_do_not_share_a_replica") else { return };
    let config = databases.fresh();
    let first = claimed(&databases, &config, &peer("a/edge-0"), 0).await.unwrap();
    first.apply(vec![entry("x", 1).seal()], checkpoint(1)).await.unwrap();
    let refused = claimed(&databases, &config, &peer("b/edge-0"), 30).await.unwrap_err();
    for told in ["a/edge-0", "30 s ago", "store.mongodb.database", &config.database] {
        assert!(refused.contains(told), "{told}: {refused}");
    }
    let refused = claimed(&databases, &config, &Claimant::Central, 30).await.unwrap_err();
    assert!(refused.contains("replica of peer a/edge-0"), "{refused}");
    first.apply(vec![entry("y", 2).seal()], checkpoint(2)).await.unwrap();

    // Of an owner that has not been there for long nothing is waited for.
    let second = claimed(&databases, &config, &peer("b/edge-0"), 700).await.unwrap();
    second.apply(vec![entry("z", 3).seal()], checkpoint(3)).await.unwrap();
    let refused = first.apply(vec![entry("w", 4).seal()], checkpoint(4)).await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::Owned(why) if why.contains("b/edge-0 has taken it over")),
        "{refused}"
    );
    databases.drop_all().await;
}

#[tokio::test]
async fn a_peer_that_starts_again_has_its_replica_at_once_and_its_former_process_writes_nothing() {
    let Some(databases) = Databases::for_test("a_peer_that_starts_again_has_its_replica_at_once") else {
        return;
    };
    let config = databases.fresh();
    let former = claimed(&databases, &config, &peer("a/edge-0"), 0).await.unwrap();
    former.apply(vec![entry("x", 1).seal()], checkpoint(1)).await.unwrap();
    let now = claimed(&databases, &config, &peer("a/edge-0"), 1).await.unwrap();
    now.apply(vec![entry("y", 2).seal()], checkpoint(2)).await.unwrap();
    assert!(matches!(former.apply(vec![], checkpoint(3)).await, Err(StoreError::Owned(_))));
    assert!(matches!(former.replace(None, vec![], Some(checkpoint(3))).await, Err(StoreError::Owned(_))));
    assert_eq!(now.load().await.unwrap().checkpoint, Some(checkpoint(2)));
    databases.drop_all().await;
}

#[tokio::test]
async fn central_nodes_share_a_register_and_no_peer_writes_into_it() {
    let Some(databases) = Databases::for_test("central_nodes_share_a_register") else { return };
    let config = databases.fresh();
    for name in ["a", "b"] {
        let store = claimed(&databases, &config, &Claimant::Central, 0).await.unwrap();
        store.init_genesis(genesis(1)).await.unwrap();
        publish(&store, name).await;
    }
    let refused = claimed(&databases, &config, &peer("a/edge-0"), 10_000).await.unwrap_err();
    assert!(refused.contains("it holds a register"), "{refused}");
    databases.drop_all().await;
}

/// Registers and replicas of versions that kept no record.
#[tokio::test]
async fn what_lies_in_a_database_without_a_record_says_whose_kind_it_is() {
    let Some(databases) = Databases::for_test("what_lies_in_a_database_without_a_record") else { return };
    let (register, replica) = (databases.fresh(), databases.fresh());
    publish(&databases.open(&register).await, "a").await;
    databases.open(&replica).await.replace(Some(genesis(1)), vec![], Some(checkpoint(1))).await.unwrap();
    let refused = claimed(&databases, &register, &peer("a/edge-0"), 0).await.unwrap_err();
    assert!(refused.contains("it holds a register"), "{refused}");
    let refused = claimed(&databases, &replica, &Claimant::Central, 0).await.unwrap_err();
    assert!(refused.contains("it holds a replica"), "{refused}");
    claimed(&databases, &register, &Claimant::Central, 0).await.unwrap();
    claimed(&databases, &replica, &peer("a/edge-0"), 0).await.unwrap();
    databases.drop_all().await;
}

/// While nothing is replicated, too.
#[tokio::test]
async fn a_replica_that_is_dropped_under_its_peer_is_told_and_not_written_to() {
    let Some(databases) = Databases::for_test("a_replica_that_is_dropped_under_its_peer") else { return };
    let config = databases.fresh();
    let store = claimed(&databases, &config, &peer("a/edge-0"), 0).await.unwrap();
    store.apply(vec![entry("x", 1).seal()], checkpoint(1)).await.unwrap();
    assert!(store.fault().is_none());
    let raw = databases.raw(&config).await;
    raw.database.drop().await.unwrap();
    let noticed = async {
        while store.fault().is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), noticed).await.expect("noticed while nothing is stored");
    let refused = store.apply(vec![entry("y", 2).seal()], checkpoint(2)).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Owned(why) if why.contains("dropped")), "{refused}");
    assert_eq!(raw.entries.count_documents(doc! {}).await.unwrap(), 0, "nothing was written");
    databases.drop_all().await;
}
