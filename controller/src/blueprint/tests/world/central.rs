//! A central node whose answers can be spoilt.

use super::*;

/// What becomes of the next request that matches.
#[derive(Clone, Copy, Debug)]
pub(in crate::blueprint::tests) enum Spoil {
    /// It is not done, and answered with this status.
    Answer(u16),
    /// It is not done, and answered with this body.
    Say(&'static str),
    /// It is done, and the answer breaks off.
    Lose,
}

type Spoils = Arc<Mutex<VecDeque<(&'static str, Spoil)>>>;

/// A central node.
pub(in crate::blueprint::tests) struct Central {
    pub(in crate::blueprint::tests) node: Arc<CentralNode>,
    /// Requests it got, `GET` or `POST` and the last part of the path.
    seen: Arc<Mutex<Vec<String>>>,
    spoils: Spoils,
    _data: tempfile::TempDir,
}

impl Central {
    pub(super) async fn start(number: usize, store: Arc<dyn Store>) -> (Self, std::net::SocketAddr) {
        let data = tempfile::tempdir().unwrap();
        let tokens = data.path().join("tokens");
        std::fs::write(&tokens, format!("controller: {TOKEN}\n")).unwrap();
        let mut config = Config::default();
        config.node.id = format!("n{number}.sorcha.dev");
        config.node.hostname = config.node.id.clone();
        config.store.data_dir = data.path().to_owned();
        config.http.token_file = Some(tokens);
        let env = Env::system(Metrics::disabled());
        let auth = Auth::new(&config.http, Arc::clone(&env.clock), None).unwrap();
        let (limits, metrics) = (config.http.clone(), env.metrics.clone());
        let node = prepare_central(Arc::new(config), env, store).await.unwrap();
        let tailing = Arc::clone(&node);
        tokio::spawn(async move { tailing.log.tail().await });
        let (seen, spoils) = (Arc::default(), Spoils::default());
        let router = router(NodeHandle::Central(Arc::clone(&node)), auth, prometheus::Registry::new())
            .layer(from_fn_with_state((Arc::clone(&seen), Arc::clone(&spoils)), spoil));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { serve(listener, router, &limits, &metrics, std::future::pending()).await });
        (Self { node, seen, spoils, _data: data }, address)
    }

    /// Spoils the next request of a kind that is not spoilt yet; `what` is as in [`Central::take_seen`].
    pub(in crate::blueprint::tests) fn spoil(&self, what: &'static str, spoil: Spoil) {
        self.spoils.lock().unwrap().push_back((what, spoil));
    }

    /// The requests since the last time.
    pub(in crate::blueprint::tests) fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

async fn spoil(
    State((seen, spoils)): State<(Arc<Mutex<Vec<String>>>, Spoils)>,
    request: Request,
    next: Next,
) -> Response {
    let last = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let what = format!("{} {last}", request.method());
    seen.lock().unwrap().push(what.clone());
    let spoil = {
        let mut spoils = spoils.lock().unwrap();
        let at = spoils.iter().position(|(kind, _)| *kind == what);
        at.and_then(|at| spoils.remove(at))
    };
    match spoil {
        None => {
            let answer = next.run(request).await;
            if answer.status() == StatusCode::NOT_MODIFIED {
                seen.lock().unwrap().push("not modified".into());
            }
            answer
        }
        Some((_, Spoil::Answer(status))) => StatusCode::from_u16(status).unwrap().into_response(),
        Some((_, Spoil::Say(body))) => body.into_response(),
        Some((_, Spoil::Lose)) => {
            let answer = next.run(request).await;
            assert!(answer.status().is_success(), "{}", answer.status());
            let broken = futures::stream::once(async { Err::<&[u8], _>(std::io::Error::other("lost")) });
            Response::new(Body::from_stream(broken))
        }
    }
}
