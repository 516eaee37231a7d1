//! Objects that are not ours any more when they are to be deleted.

use super::*;

#[tokio::test]
async fn what_is_not_ours_any_more_is_not_deleted() {
    let job = |uid: &str| -> CronJob {
        let owner = json!({"apiVersion": "sorcha.dev/v1alpha1", "kind": "SorchaCentralNode", "name": "x", "uid": uid, "controller": true});
        let metadata = json!({"name": "x-backup", "namespace": "shop", "uid": "job", "resourceVersion": "9", "ownerReferences": [owner]});
        serde_json::from_value(json!({"metadata": metadata})).expect("a CronJob")
    };
    for (held, deletes) in [("uid-x", 1), ("theirs", 0), ("", 0)] {
        let mut scene = Scene::new(named);
        put(&mut scene.writers.cron_jobs, job(held));
        scene
            .ctx
            .applier
            .delete::<CronJob>(&Claim::Resource("uid-x".to_owned()), "shop", "x-backup")
            .await
            .expect("no error");
        let calls = scene.take_calls();
        assert_eq!(calls.len(), deletes, "{held}");
        // Of the very object that was looked at, and no later one of its name.
        for call in calls {
            assert_eq!(
                call.body["preconditions"],
                json!({"uid": "job", "resourceVersion": "9"}),
                "{call:#?}"
            );
        }
    }
}

#[tokio::test]
async fn one_that_changed_hands_before_the_deletion_stays() {
    let mut scene = Scene::new(|call| match call.method.as_str() {
        "DELETE" => Some(status(409, "Conflict")),
        _ => Some((200, users("x-backup"))),
    });
    let owner = json!({"apiVersion": "sorcha.dev/v1alpha1", "kind": "SorchaCentralNode", "name": "x", "uid": "uid-x", "controller": true});
    let job = json!({"metadata": {"name": "x-backup", "namespace": "shop", "uid": "job", "resourceVersion": "9", "ownerReferences": [owner]}});
    put(&mut scene.writers.cron_jobs, serde_json::from_value::<CronJob>(job).expect("a CronJob"));
    scene
        .ctx
        .applier
        .delete::<CronJob>(&Claim::Resource("uid-x".to_owned()), "shop", "x-backup")
        .await
        .expect("no error");
    let deletes = scene.take_calls().iter().filter(|call| call.method == "DELETE").count();
    assert_eq!(deletes, 1);
}
