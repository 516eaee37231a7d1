//! Candidates around one Lease, under virtual time: partitions, slow answers, clocks that jump, a lease that is stolen.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Request, Response};
use kube::{client::Body, client::ClientBuilder};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;
use crate::fixtures::settings;

const SECOND: Duration = Duration::from_secs(1);

/// The API server's store of one Lease, and how it behaves towards each candidate.
#[derive(Default)]
struct Server {
    lease: Option<Value>,
    version: u64,
    /// Writes of anything else that reached it, by whom and when.
    writes: Vec<(String, Instant)>,
}

/// How a candidate reaches the server.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// Nothing arrives.
    cut: bool,
    /// What arrives is not answered.
    mute: bool,
    /// So long on the way there, and as long back.
    slow: Duration,
}

#[derive(Clone)]
struct Cluster {
    server: Arc<Mutex<Server>>,
    lines: [Arc<Mutex<Line>>; 2],
}

impl Cluster {
    fn new() -> Self {
        Self { server: Arc::default(), lines: Default::default() }
    }

    fn line(&self, candidate: usize, line: Line) {
        *self.lines[candidate].lock().expect("a line") = line;
    }

    /// A client of a candidate.
    fn client(
        &self,
        candidate: usize,
    ) -> ClientBuilder<
        impl Clone
        + Send
        + 'static
        + tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>,
    > {
        let (server, line) = (Arc::clone(&self.server), Arc::clone(&self.lines[candidate]));
        let service = tower::service_fn(move |request: Request<Body>| {
            let (server, line) = (Arc::clone(&server), Arc::clone(&line));
            async move {
                let reached = || *line.lock().expect("a line");
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.expect("a body");
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                sleep(reached().slow).await;
                if reached().cut {
                    std::future::pending::<()>().await;
                }
                let (code, answer) = server.lock().expect("a server").answer(&parts, &body);
                sleep(reached().slow).await;
                if reached().cut || reached().mute {
                    std::future::pending::<()>().await;
                }
                let response =
                    Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()));
                Ok::<_, Infallible>(response.expect("a response"))
            }
        });
        ClientBuilder::new(service, "sorcha-system")
    }

    /// A candidate that writes ten times a second while it leads, and campaigns again when it has lost.
    fn candidate(&self, number: usize, fence: Fence) -> JoinHandle<()> {
        let name = format!("c{number}");
        let (election, work) = (self.client(number).build(), self.client(number).with_layer(&fence).build());
        tokio::spawn(async move {
            let mut settings = settings();
            settings.lease_name = "lease".into();
            let mut leadership = Leadership::new(election, &settings, &name, fence);
            loop {
                leadership.gained().await;
                tokio::select! {
                    () = writing(&work, &name) => {}
                    () = leadership.lost() => {}
                }
            }
        })
    }

    fn holder(&self) -> Option<String> {
        let server = self.server.lock().expect("a server");
        server.lease.as_ref()?["spec"]["holderIdentity"].as_str().map(str::to_owned)
    }

    fn writers(&self, after: Instant) -> Vec<String> {
        let server = self.server.lock().expect("a server");
        let mut writers: Vec<_> =
            server.writes.iter().filter(|(_, at)| *at >= after).map(|(name, _)| name.clone()).collect();
        writers.dedup();
        writers
    }
}

async fn writing(client: &Client, name: &str) {
    let api: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(client.clone(), "shop");
    loop {
        let map = serde_json::from_value(json!({"metadata": {"name": name}})).expect("a ConfigMap");
        let _failed = api.create(&PostParams::default(), &map).await.is_err();
        sleep(SECOND / 10).await;
    }
}

impl Server {
    fn answer(&mut self, parts: &http::request::Parts, body: &Value) -> (u16, Value) {
        let failure = |code: u16, reason: &str| {
            (
                code,
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason}),
            )
        };
        if parts.uri.path().contains("/configmaps") {
            let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            self.writes.push((name, Instant::now()));
            return (201, body.clone());
        }
        let version = self.version.to_string();
        match (parts.method.as_str(), &self.lease) {
            ("GET", None) => return failure(404, "NotFound"),
            ("GET", Some(lease)) => return (200, lease.clone()),
            ("POST", Some(_)) => return failure(409, "AlreadyExists"),
            ("PUT", None) => return failure(404, "NotFound"),
            ("PUT", Some(_)) if body["metadata"]["resourceVersion"] != version.as_str() => {
                return failure(409, "Conflict");
            }
            _ => {}
        }
        self.version += 1;
        let mut lease = body.clone();
        lease["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.lease = Some(lease.clone());
        (200, lease)
    }
}

/// Two candidates, of which the first leads.
async fn two() -> (Cluster, [Fence; 2]) {
    let (cluster, fences) = (Cluster::new(), [Fence::closed(), Fence::closed()]);
    cluster.candidate(0, fences[0].clone());
    sleep(5 * SECOND).await;
    assert_eq!(cluster.holder().as_deref(), Some("c0"));
    cluster.candidate(1, fences[1].clone());
    sleep(60 * SECOND).await;
    assert_eq!(
        (cluster.holder().as_deref(), cluster.writers(Instant::now() - 50 * SECOND)),
        (Some("c0"), vec!["c0".to_owned()])
    );
    (cluster, fences)
}

/// Lets time go by and checks that never two fences are open, and that the last write of one comes before the first of the
/// other.
async fn never_two(cluster: &Cluster, fences: &[Fence; 2], seconds: u32) {
    let start = Instant::now();
    for _ in 0..seconds * 20 {
        sleep(SECOND / 20).await;
        let open = fences.iter().filter(|fence| fence.open_until(Instant::now()).is_some()).count();
        assert!(open <= 1, "two lead after {:?}", start.elapsed());
    }
    assert!(cluster.writers(start).len() <= 2, "writers alternate: {:?}", cluster.writers(start));
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_contact_stops_before_its_successor_starts() {
    let (cluster, fences) = two().await;
    cluster.line(0, Line { cut: true, ..Line::default() });
    let cut = Instant::now();
    never_two(&cluster, &fences, 60).await;
    assert_eq!(cluster.holder().as_deref(), Some("c1"));
    assert_eq!(cluster.writers(cut + 20 * SECOND), ["c1"]);
    // Back again, it stays a standby, and nothing that it had begun arrives late.
    cluster.line(0, Line::default());
    let back = Instant::now();
    never_two(&cluster, &fences, 60).await;
    assert_eq!((cluster.holder().as_deref(), cluster.writers(back)), (Some("c1"), vec!["c1".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_renewals_are_not_answered_stops_in_time() {
    let (cluster, fences) = two().await;
    cluster.line(0, Line { mute: true, ..Line::default() });
    never_two(&cluster, &fences, 120).await;
    assert!(fences[0].open_until(Instant::now()).is_none());
}

#[tokio::test(start_paused = true)]
async fn slow_answers_shorten_a_leaders_time() {
    let (cluster, fences) = two().await;
    for slow in [Duration::from_millis(800), 2 * SECOND, 4 * SECOND, 9 * SECOND, 14 * SECOND, 20 * SECOND] {
        cluster.line(0, Line { slow, ..Line::default() });
        cluster.line(1, Line { slow: slow / 3, ..Line::default() });
        never_two(&cluster, &fences, 90).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stolen_lease_is_lost_when_it_is_seen() {
    let (cluster, fences) = two().await;
    {
        let mut server = cluster.server.lock().expect("a server");
        server.version += 1;
        let version = server.version.to_string();
        // With times of a clock that is years away.
        server.lease = Some(json!({
            "metadata": {"name": "lease", "resourceVersion": version},
            "spec": {"holderIdentity": "thief", "leaseDurationSeconds": 30, "renewTime": "1999-01-01T00:00:00.000000Z"},
        }));
    }
    sleep(5 * SECOND).await;
    assert!(fences.iter().all(|fence| fence.open_until(Instant::now()).is_none()));
    assert_eq!(cluster.holder().as_deref(), Some("thief"));
    sleep(20 * SECOND).await;
    assert_eq!(
        cluster.holder().as_deref(),
        Some("thief"),
        "its time has not run out, whatever its clock says"
    );
    never_two(&cluster, &fences, 30).await;
    assert_ne!(cluster.holder().as_deref(), Some("thief"));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_stopped_sends_nothing_when_it_goes_on() {
    let (cluster, fence) = (Cluster::new(), Fence::closed());
    let client = cluster.client(0).with_layer(&fence).build();
    fence.set(Some(Instant::now() + 10 * SECOND));
    let api: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(client, "shop");
    let map = |name: &str| serde_json::from_value(json!({"metadata": {"name": name}})).expect("a ConfigMap");
    api.create(&PostParams::default(), &map("early")).await.expect("it leads");
    // All its time passes at once; nothing of it has looked at the Lease meanwhile.
    tokio::time::advance(11 * SECOND).await;
    let error = api.create(&PostParams::default(), &map("late")).await.expect_err("its time is over");
    assert!(format!("{error:?}").contains("NotLeading"), "{error:?}");
    assert_eq!(cluster.writers(Instant::now() - 60 * SECOND), ["early"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_under_way_ends_with_the_leaders_time() {
    let cluster = Cluster::new();
    cluster.line(0, Line { cut: true, ..Line::default() });
    let fence = Fence::closed();
    let client = cluster.client(0).with_layer(&fence).build();
    fence.set(Some(Instant::now() + 10 * SECOND));
    let start = Instant::now();
    let api: Api<Lease> = Api::namespaced(client, "shop");
    let call = tokio::spawn(async move { api.get("x").await.map(drop) });
    sleep(5 * SECOND).await;
    fence.set(Some(start + 20 * SECOND));
    let error = call.await.expect("no panic").expect_err("it is not answered");
    assert!(format!("{error:?}").contains("NotLeading"), "{error:?}");
    assert_eq!(start.elapsed().as_secs(), 20, "the lease was renewed meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_given_back_is_taken_at_once() {
    let cluster = Cluster::new();
    let mut leadership = Leadership::new(cluster.client(0).build(), &settings(), "c0", Fence::closed());
    leadership.gained().await;
    leadership.release().await;
    assert_eq!(cluster.holder(), None);
    let (start, fence) = (Instant::now(), Fence::closed());
    let mut next = Leadership::new(cluster.client(1).build(), &settings(), "c1", fence.clone());
    next.gained().await;
    assert!(start.elapsed() < 5 * SECOND && fence.open_until(Instant::now()).is_some());
}
