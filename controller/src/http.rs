//! Probes and metrics, on a thread of their own: neither reconciling nor callers of this port hold up a probe.

use std::{net::TcpListener, time::Duration};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use prometheus::{Encoder as _, TextEncoder};
use sorcha_probes::{Limits, Server};
use tokio::sync::watch;

use crate::metrics::Metrics;

#[derive(Clone)]
struct Served {
    metrics: Metrics,
    ready: watch::Receiver<bool>,
}

/// For a scrape of the metrics over a slow line.
const DEADLINE: Duration = Duration::from_secs(5);

/// Serves `/livez`, `/readyz` and `/metrics` until the server is dropped. A standby is ready: it can take over.
///
/// # Errors
/// When the listener is not usable.
pub fn serve(
    listener: TcpListener,
    metrics: Metrics,
    ready: watch::Receiver<bool>,
) -> std::io::Result<Server> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(show))
        .with_state(Served { metrics, ready });
    sorcha_probes::start(listener, router, Limits { deadline: DEADLINE, ..Limits::default() })
}

async fn readyz(State(served): State<Served>) -> (StatusCode, &'static str) {
    if *served.ready.borrow() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "waiting for the API server")
    }
}

async fn show(State(served): State<Served>) -> Result<String, StatusCode> {
    let mut text = Vec::new();
    let families = served.metrics.registry().gather();
    TextEncoder::new().encode(&families, &mut text).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    String::from_utf8(text).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpStream,
        time::Instant,
    };

    use super::*;

    #[test]
    fn callers_that_say_nothing_hold_up_no_probe_of_the_controller() {
        let (ready, is_ready) = watch::channel(false);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _server = serve(listener, Metrics::new().unwrap(), is_ready).unwrap();
        let silent: Vec<_> = (0..600).filter_map(|_| TcpStream::connect(address).ok()).collect();
        let ask = |path: &str| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: c\r\n\r\n").as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        let before = Instant::now();
        assert!(ask("/livez").starts_with("HTTP/1.1 200"));
        assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
        assert!(ask("/readyz").starts_with("HTTP/1.1 503"));
        ready.send_replace(true);
        assert!(ask("/readyz").starts_with("HTTP/1.1 200"));
        assert!(ask("/metrics").contains("# TYPE"));
        drop(silent);
    }
}
