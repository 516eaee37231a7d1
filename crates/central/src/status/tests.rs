use super::*;
use crate::{PEER_LISTS, testing};
use sorcha_runtime::metrics::Metrics;

/// A list is long where there are many peers, and its caller may take it slowly.
#[tokio::test(start_paused = true)]
async fn so_many_lists_of_peers_are_on_their_way_at_once() {
    let (node, caller) = (testing::node(Metrics::disabled()), Connection::default());
    let mut places: Vec<_> = (0..64).map(|_| node.peer_list_place(&caller).unwrap()).collect();
    assert_eq!(places.len(), PEER_LISTS);
    assert_eq!(
        node.peer_list_place(&caller).err().map(|status| status.code()),
        Some(Code::ResourceExhausted)
    );
    places.pop();
    assert!(node.peer_list_place(&caller).is_ok());
}
