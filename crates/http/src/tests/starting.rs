//! Before the node has started: probes and metrics answer from the first moment, on the listener that stays.

use tokio::sync::watch;

use super::*;
use crate::{Stage, front};

fn at(stage: &watch::Sender<Stage>) -> Router {
    let config = config("edge-0", |_| ());
    let auth = Auth::new(&config.http, env().clock, None).unwrap();
    front(stage.subscribe(), auth, prometheus::Registry::new())
}

#[tokio::test(start_paused = true)]
async fn probes_tell_what_is_waited_for() {
    let stage = watch::Sender::new(Stage::Opening { store_fault: None });
    let front = at(&stage);
    assert_eq!(get(&front, "/livez").await.json()["status"], "Alive");
    assert_eq!(get(&front, "/metrics").await.status, StatusCode::OK);
    for path in ["/readyz", "/health", "/api/system-register", "/nowhere"] {
        assert_eq!(get(&front, path).await.problem(503, "not-ready"), "opening the store");
    }
    stage.send_replace(Stage::Opening { store_fault: Some("no server at mongo:27017".into()) });
    let reply = get(&front, "/readyz").await;
    assert_eq!(reply.problem(503, "not-ready"), "waiting for the store: no server at mongo:27017");
    assert_eq!(reply.header("retry-after"), "5");
    stage.send_replace(Stage::Failed { fault: "two seeds".into() });
    assert_eq!(get(&front, "/health").await.problem(503, "not-ready"), "start failed: two seeds");
    assert_eq!(get(&front, "/livez").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn from_the_start_on_it_is_the_whole_api() {
    let stage = watch::Sender::new(Stage::Opening { store_fault: None });
    let front = at(&stage);
    get(&front, "/readyz").await.problem(503, "not-ready");
    let (_, node) = peer(|_| ()).await;
    stage.send_replace(Stage::Started(NodeHandle::Peer(node)));
    assert_eq!(get(&front, "/readyz").await.json()["status"], "Ready");
    assert_eq!(get(&front, "/api/node/info").await.json()["registerVersion"], 4);
    get(&front, "/nowhere").await.problem(404, "not-found");
    post(&front, "/livez", "").await.problem(405, "method-not-allowed");
}
