use sorcha_register::testing::{entry, genesis};
use sorcha_store::{contract::version, journal::JournalStore};

use super::*;

fn sealed(name: &str, number: i64) -> Arc<SealedEntry> {
    entry(name, number).seal()
}

fn from() -> Provenance {
    let (at, next_due) = (Timestamp::from_millis(1), Timestamp::from_millis(2));
    Provenance { central_node_id: "n0.sorcha.dev".to_owned(), at, next_due }
}

/// A replica of the lineage that holds the version 1.
async fn replica() -> Replica {
    let store = JournalStore::in_memory(sorcha_store::journal::Options::default()).unwrap();
    let replica = Replica::load(Arc::new(store)).await.unwrap();
    let mut view = RegisterView::new(Some(Arc::new(genesis(1))));
    view.apply(vec![sealed("a", 1)], Version::ZERO);
    replica.replace(view, &from()).await.unwrap();
    replica
}

fn pushed(name: &str, number: i64) -> Batch {
    let entries = vec![sealed(name, number)];
    Batch {
        entries,
        position: version(number - 1),
        head: Version::ZERO,
        digest: None,
        size: 100,
        most: u64::MAX,
    }
}

async fn push(replica: &Replica, name: &str, number: i64) {
    replica.take(pushed(name, number), Some(&genesis(1)), &from()).await.unwrap();
}

/// A central node that pushes one history and has another one fetched.
#[tokio::test]
async fn what_is_pushed_while_a_whole_register_arrives_is_not_replaced_by_it() {
    let replica = replica().await;
    for (head, names) in [(3, ["b", "c"]), (2, ["b", "b"])] {
        let held = replica.head();
        let mut replacement = replica.begin_replace();
        let mut entries = vec![sealed("a", 1)];
        entries.extend((2..=head).zip(names).map(|(number, name)| sealed(name, number)));
        replacement.add(entries).await.unwrap();
        let next = replica.head().next().unwrap();
        push(&replica, &format!("pushed-{next}"), next.get()).await;
        let genesis = Some(Arc::new(genesis(1)));
        let finished = replacement.finish(genesis, version(head), None, held, &from()).await.unwrap();
        assert_eq!(finished, Finished::Overtaken);
        assert_eq!(replica.view().at(next), Some(&sealed(&format!("pushed-{next}"), next.get())));
    }
    let view = replica.view();
    assert!(!replica.replace_at(version(1), RegisterView::new(None), &from()).await.unwrap());
    assert_eq!(replica.view().seal(), view.seal());
}

/// A pull that was slower than the pushes says nothing of what is held by now, and is no divergence.
#[tokio::test]
async fn a_pull_that_pushes_have_overtaken_is_compared_entry_by_entry() {
    let replica = replica().await;
    let mut then = replica.view();
    then.apply(vec![sealed("b", 2)], Version::ZERO);
    push(&replica, "b", 2).await;
    push(&replica, "c", 3).await;
    let pulled = |name| Batch {
        entries: vec![sealed(name, 2)],
        position: version(1),
        head: version(2),
        digest: Some(then.digest()),
        size: 100,
        most: u64::MAX,
    };
    replica.take(pulled("b"), Some(&genesis(1)), &from()).await.unwrap();
    assert_eq!(replica.head(), version(3));
    let refused = replica.take(pulled("x"), Some(&genesis(1)), &from()).await;
    assert!(matches!(refused, Err(NotTaken::Refused(Contradiction::Taken { .. }))), "{refused:?}");
}
