//! A central node whose database comes back empty, exchanged, or as it was before: while nobody publishes.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use sorcha_central::{CentralNode, Condition, publish::Submission};
use sorcha_config::{Config, MongoDb};
use sorcha_host::prepare_central;
use sorcha_register::names::Version;
use sorcha_runtime::{env::Env, metrics::Metrics};
use sorcha_store::mongo::test_server::{Databases, Raw};
use tokio::{task::JoinHandle, time::Instant};

use super::*;

/// Within a poll, a pause and a look.
const SOON: Duration = Duration::from_secs(10);

struct Running {
    node: Arc<CentralNode>,
    raw: Raw,
    tail: JoinHandle<()>,
    _data: tempfile::TempDir,
}

async fn running(databases: &Databases, config: &MongoDb) -> Running {
    let data = tempfile::tempdir().unwrap();
    let mut settings = Config::default().with_identity("n0.sorcha.dev");
    settings.store.data_dir = data.path().to_owned();
    let store = Arc::new(databases.open(config).await);
    let env = Env::system(Metrics::disabled());
    let node = prepare_central(Arc::new(settings), env, store).await.unwrap();
    let tail = tokio::spawn({
        let node = Arc::clone(&node);
        async move { node.log.tail().await }
    });
    Running { node, raw: databases.raw(config).await, tail, _data: data }
}

impl Running {
    async fn publish(&self, id: &str) -> Result<Version, String> {
        let submission = Submission {
            blueprint_id: id.to_owned(),
            document: b"{}".as_slice().into(),
            published_by: "tester".into(),
            metadata: [].into(),
        };
        let published = self.node.publish(submission).await.map_err(|error| error.to_string())?;
        Ok(published.entry.entry().version)
    }

    async fn until(&self, reason: Option<&str>) {
        let since = Instant::now();
        while self.node.log.exchange().map(|exchange| exchange.reason()) != reason {
            assert!(since.elapsed() < SOON, "not {reason:?}: {:?}", self.node.condition());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_told(&self, reason: &str) -> String {
        self.until(Some(reason)).await;
        self.node.condition().reason().unwrap()
    }

    async fn dump(&self) -> [Vec<Document>; 2] {
        use futures::TryStreamExt as _;
        let all = async |collection: &mongodb::Collection<Document>| {
            collection.find(doc! {}).await.unwrap().try_collect::<Vec<_>>().await.unwrap()
        };
        [all(&self.raw.entries).await, all(&self.raw.meta).await]
    }

    async fn put(&self, [entries, meta]: &[Vec<Document>; 2]) {
        self.raw.entries.delete_many(doc! {}).await.unwrap();
        self.raw.meta.delete_many(doc! {}).await.unwrap();
        self.raw.meta.insert_many(meta).await.unwrap();
        self.raw.entries.insert_many(entries).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_comes_back_empty_or_exchanged_is_reported_while_nobody_publishes() {
    let Some(databases) = Databases::for_test("a_database_that_comes_back_empty_or_exchanged") else {
        return;
    };
    let (config, other) = (databases.fresh(), databases.fresh());
    let central = running(&databases, &config).await;
    let stranger = running(&databases, &other).await;
    for id in ["a", "b"] {
        central.publish(id).await.unwrap();
        stranger.publish(&format!("stranger-{id}")).await.unwrap();
        stranger.publish(&format!("stranger-too-{id}")).await.unwrap();
    }
    assert_eq!(central.node.condition(), Condition::Healthy);
    let (good, foreign, view) = (central.dump().await, stranger.dump().await, central.node.log.view());
    let theirs = stranger.node.log.view().lineage().unwrap().short();
    let ours = view.lineage().unwrap().short();

    central.raw.database.drop().await.unwrap();
    let told = central.until_told("RegisterLost").await;
    assert!(told.contains(&ours) && told.contains("no genesis record"), "{told}");
    assert_eq!(central.node.condition().as_str(), "Unhealthy");
    central.publish("c").await.unwrap_err();
    assert_eq!(central.dump().await, [vec![], vec![]], "nothing is written");

    central.put(&foreign).await;
    let told = central.until_told("RegisterExchanged").await;
    assert!(told.contains(&ours) && told.contains(&theirs), "{told}");
    central.publish("c").await.unwrap_err();
    assert_eq!(central.dump().await, foreign, "nothing is written");
    assert_eq!(central.node.log.view().digest(), view.digest(), "nothing of it is served");

    central.put(&good).await;
    central.until(None).await;
    assert_eq!(central.node.condition(), Condition::Healthy);
    assert_eq!(central.publish("c").await.unwrap(), view.head().next().unwrap());
    central.tail.abort();
    stranger.tail.abort();
    databases.drop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_backup_under_a_running_node_is_reported_while_nobody_publishes() {
    let Some(databases) = Databases::for_test("an_older_backup_under_a_running_node") else { return };
    let config = MongoDb { timeout: Duration::from_secs(1), ..databases.fresh() };
    let central = running(&databases, &config).await;
    central.publish("a").await.unwrap();
    let backup = central.dump().await;
    let head = central.publish("b").await.unwrap();
    let now = central.dump().await;

    central.put(&backup).await;
    let told = central.until_told("RegisterRolledBack").await;
    assert!(told.contains(&format!("version {head} was there")), "{told}");
    central.publish("c").await.unwrap_err();
    assert_eq!(central.node.log.view().head(), head, "what was served is served");

    central.put(&now).await;
    central.until(None).await;
    assert_eq!(central.publish("c").await.unwrap(), head.next().unwrap());
    central.tail.abort();
    databases.drop_all().await;
}
