use super::*;
use crate::{log::RegisterLog, session::SessionId};
use sorcha_config::Config;
use sorcha_register::testing::entry;
use sorcha_runtime::{env::Env, metrics::Metrics};
use sorcha_store::journal::{JournalStore, Options};

#[tokio::test]
async fn a_peer_is_up_to_date_at_the_head_with_the_same_content() {
    let mut view = RegisterView::new(None);
    view.apply(vec![entry("a", 1).seal()], Version::ZERO);
    let (env, config) = (Env::system(Metrics::disabled()), Config::default().with_identity("n0"));
    let store = JournalStore::in_memory(Options { inline: true, ..Options::default() }).unwrap();
    let log = RegisterLog::new(Arc::new(store), view.clone());
    let node = CentralNode::new(Arc::new(config), env, log, Vec::new());
    let (peer, id, here) = (PeerId::new("edge-0").unwrap(), SessionId::from_bits(1), Connection::default());
    let now = (node.env.clock.now(), node.env.clock.monotonic());
    node.sessions().open(id.clone(), &peer, Version::ZERO, here.clone(), now).unwrap();
    assert_eq!(node.peer_counts(), (1, 0));
    let beat = async |version: i64, digest: &[u8]| {
        let message = v1::HeartbeatMessage {
            peer_id: peer.to_string(),
            session_id: id.as_str().to_owned(),
            timestamp: node.env.clock.now().as_millis(),
            last_sync_version: version,
            register_digest: Bytes::copy_from_slice(digest),
            ..v1::HeartbeatMessage::default()
        };
        node.heartbeat(&message, &here).await.unwrap();
        node.peer_counts()
    };
    let other = RegisterView::new(None).digest();
    assert_eq!(beat(1, &[]).await, (1, 1), "the position alone, where nothing is known of the content");
    assert_eq!(beat(1, other.as_bytes()).await, (1, 0));
    assert_eq!(beat(1, &[]).await, (1, 0), "a beat without a digest tells nothing new");
    assert_eq!(beat(1, view.digest().as_bytes()).await, (1, 1));
}

#[test]
fn comparison_and_action_by_position_and_digest() {
    let mut view = RegisterView::new(None);
    view.apply(vec![entry("a", 1).seal()], Version::ZERO);
    let at_one = view.digest();
    view.apply(vec![entry("b", 2).seal()], Version::ZERO);
    let number = |n| Version::new("version", n).unwrap();
    let rows = [
        (2, Some(view.digest()), ReplicaComparison::Equal, RecommendedAction::None),
        (1, Some(at_one), ReplicaComparison::Equal, RecommendedAction::Sync),
        (2, Some(at_one), ReplicaComparison::Diverged, RecommendedAction::Sync),
        (1, Some(view.digest()), ReplicaComparison::Unknown, RecommendedAction::Sync),
        (2, None, ReplicaComparison::Unknown, RecommendedAction::None),
        (1, None, ReplicaComparison::Unknown, RecommendedAction::Sync),
        (3, Some(at_one), ReplicaComparison::Ahead, RecommendedAction::None),
    ];
    for (version, digest, comparison, action) in rows {
        let found = compare(&view, number(version), digest, true);
        assert_eq!(found, comparison, "version {version}");
        assert_eq!(recommend(false, found, number(version) < view.head()), action, "version {version}");
        assert_eq!(recommend(true, found, false), RecommendedAction::Failover);
    }
    let unknown = compare(&view, number(3), Some(at_one), false);
    assert_eq!(unknown, ReplicaComparison::Unknown, "the store did not tell whether there is more");
}
