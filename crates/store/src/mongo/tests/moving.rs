//! Reads while blueprints move to new versions.

use super::*;

/// Deprecates and reactivates a share of the blueprints, and publishes others, until told to stop; returns what took which version.
async fn keep_moving(store: Arc<MongoStore>, share: usize, stop: Arc<AtomicBool>) -> Vec<(i64, String)> {
    let mut moved = Vec::new();
    for round in 0.. {
        // Here and there, so that some are moved that a reader has not come to yet.
        for number in (share..MOVING).step_by(3).map(|number| number * 1009 % MOVING) {
            if stop.load(Ordering::Relaxed) {
                return moved;
            }
            let name =
                if number % 5 == 0 { format!("new-{share}-{round}-{number}") } else { number.to_string() };
            let done = match number % 5 {
                0 => publish(&store, &name).await,
                _ => store.set_active(change(&name, round % 2 == 1)).await.unwrap(),
            };
            moved.push((done.entry.entry().version.get(), name));
        }
    }
    moved
}

const MOVING: usize = 3000;

fn large_entry(number: usize, version: i64) -> Arc<SealedEntry> {
    let text = format!(r#"{{"id":"{number}","text":"{}"}}"#, "x".repeat(3000));
    draft(&number.to_string(), &text).at(self::version(version)).seal()
}

/// Loads the register, and follows it for one read, several times.
async fn look_often(databases: &Databases, config: &MongoDb) -> Vec<RegisterView> {
    let mut looks = Vec::new();
    for _ in 0..8 {
        let reader = databases.open(config).await;
        let loaded = reader.load().await.unwrap();
        assert_eq!(loaded.findings, []);
        let mut view = loaded.view;
        looks.push(view.clone());
        reader.changed(view.head()).await;
        let more = reader.read_after(view.head(), usize::MAX).await.unwrap();
        view.apply(more, Version::ZERO);
        looks.push(view);
    }
    looks
}

fn assert_is_register_at_its_version(view: &RegisterView, history: &BTreeMap<i64, String>) {
    let head = view.head().get();
    let newest: BTreeMap<&String, i64> =
        history.range(..=head).map(|(version, name)| (name, *version)).collect();
    let expected: BTreeSet<i64> = newest.into_values().collect();
    let found: BTreeSet<i64> = view.after(Version::ZERO).map(|sealed| sealed.entry().version.get()).collect();
    assert_eq!(found, expected, "versions of the register at version {head}");
}

/// A reader that reads while blueprints move holds the register as it was at the version stated.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_while_others_publish_is_the_register_at_its_version() {
    if !has_java("what_is_read_while_others_publish") {
        return;
    }
    // In a file: from there this server reads while it writes.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(0, Some(&directory.path().join("data")));
    let databases = Databases::on(&server);
    let config = databases.fresh();
    let store = Arc::new(databases.open(&config).await);
    let entries: Vec<_> =
        (0..MOVING).zip(1..).map(|(number, version)| large_entry(number, version)).collect();
    store.replace(None, entries, None).await.unwrap();
    let mut history: BTreeMap<i64, String> =
        (1..).zip((0..MOVING).map(|number| number.to_string())).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let movers: Vec<_> =
        (0..3).map(|share| tokio::spawn(keep_moving(Arc::clone(&store), share, Arc::clone(&stop)))).collect();
    let looks = look_often(&databases, &config).await;
    stop.store(true, Ordering::Relaxed);
    for mover in movers {
        history.extend(mover.await.unwrap());
    }
    looks.iter().for_each(|view| assert_is_register_at_its_version(view, &history));
    databases.drop_all().await;
}
