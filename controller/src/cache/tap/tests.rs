use std::{collections::HashSet, sync::Arc};

use kube::runtime::reflector;
use serde_json::json;
use sorcha_crds::SorchaPeer;
use tokio::time::timeout;

use super::{super::budget::NAMESPACE_BYTES, *};
use crate::{
    cache::strip::strip_resource,
    feed::unreadable,
    fixtures::{Call, Scene, peer},
};

/// Other objects of the namespace leave room for nothing.
fn filled(caches: &Caches) -> (Kept, (String, String)) {
    let (mut kept, key) = (Kept::default(), ("shop".to_owned(), "large".to_owned()));
    assert!(kept.take(&caches.budget, key.clone(), &"x".repeat(NAMESPACE_BYTES - 1100)));
    (kept, key)
}

async fn told(scene: &Scene) -> Vec<Call> {
    let _for_ever = timeout(Duration::from_secs(1), unreadable::run(&scene.ctx)).await;
    scene.take_calls()
}

/// Whether it is listed or has changed: it is not known as it was, its status tells why, and it is taken once there is room.
#[tokio::test(start_paused = true)]
async fn a_resource_that_its_namespace_has_no_room_for_is_told_so_and_taken_once_there_is() {
    for listed in [true, false] {
        let mut scene = Scene::new(|_| None);
        let ctx = Arc::clone(&scene.ctx);
        let (mut others, large) = filled(&ctx.caches);
        let tap = Tap { client: &ctx.client, namespace: None, caches: &ctx.caches, metrics: &ctx.metrics };
        let mut filler = Filler {
            tap: &tap,
            writer: std::mem::replace(&mut scene.writers.peers, reflector::store().1),
            strip: strip_resource,
            listed: HashSet::new(),
            kept: Kept::default(),
            health: Health { kind: "SorchaPeer".to_owned(), logged: None, failures: 0 },
        };
        let edge = || Seen::Readable(peer("edge", 1));
        filler.take(Event::Begin);
        if listed {
            filler.take(Event::Listed(edge()));
        }
        filler.take(Event::Complete);
        if !listed {
            filler.take(Event::Changed(edge()));
        }
        assert!(ctx.caches.get::<SorchaPeer>("shop", "edge").is_none());
        let calls = told(&scene).await;
        let status = calls.iter().find(|call| call.path.ends_with("/sorchapeers/edge/status"));
        let ready = &status.expect("a status").body["status"]["conditions"][0];
        assert_eq!((&ready["type"], &ready["status"]), (&json!("Ready"), &json!("False")));
        assert_eq!(ready["reason"], "InvalidSpec");
        let message = ready["message"].as_str().expect("a message");
        let expected =
            format!("the objects of this namespace are longer than {NAMESPACE_BYTES} bytes together");
        assert!(message.starts_with(&expected), "{message}");
        others.release(&ctx.caches.budget, &large);
        filler.take(Event::Changed(edge()));
        assert!(ctx.caches.get::<SorchaPeer>("shop", "edge").is_some());
        assert!(ctx.caches.unreadables.identities("SorchaPeer").is_empty());
    }
}
