//! All instruments of a node, and what they are called.

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, HistogramBuilder, Meter},
};

/// Bucket bounds in milliseconds: from a loopback round trip to a connection time-out.
const MILLISECONDS: [f64; 16] = [
    0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0, 30_000.0,
    120_000.0,
];

/// Bucket bounds in seconds: from an empty pull to a full one over a bad line.
const SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The struct, and how it is made: a field, its kind, and its name and description.
macro_rules! instruments {
    ($($field:ident: $kind:ty = $make:ident($name:literal, $what:literal);)*) => {
        #[derive(Debug)]
        pub(super) struct Instruments {
            /// The label that every measurement carries.
            pub(super) node: KeyValue,
            pub(super) meter: Meter,
            $(pub(super) $field: $kind,)*
        }

        impl Instruments {
            pub(super) fn new(meter: Meter, node_id: &str) -> Self {
                Self {
                    // Shared, because every measurement clones it.
                    node: KeyValue::new("node_id", std::sync::Arc::<str>::from(node_id)),
                    $($field: $make(&meter, $name, $what),)*
                    meter,
                }
            }
        }
    };
}

instruments! {
    connection_status: Gauge<u64> =
        count("peer.connection.status", "0 disconnected, 1 connected, 2 isolated");
    heartbeat_latency: Histogram<f64> = millis("peer.heartbeat.latency", "round trip of a heartbeat");
    heartbeat_missed: Counter<u64> =
        counter("peer.heartbeat.missed", "heartbeats without an acknowledgement");
    sync_duration: Histogram<f64> = seconds("peer.sync.duration", "duration of a pull");
    sync_blueprints: Counter<u64> = counter("peer.sync.blueprints.count", "entries moved by pulls");
    sync_failures: Counter<u64> = counter("peer.sync.failures", "pulls that failed");
    push_delivered: Counter<u64> =
        counter("peer.push.notifications.delivered", "pushed entries acknowledged, or notices sent");
    push_failed: Counter<u64> =
        counter("peer.push.notifications.failed", "push streams dropped because the peer took nothing");
    push_latency: Histogram<f64> =
        millis("peer.push.acknowledged", "from a publication to a peer's acknowledgement");
    failovers: Counter<u64> = counter("peer.failover.count", "moves to another central node");
    recovery: Histogram<f64> = seconds("peer.failover.duration", "from a loss to the next session");
    version: Gauge<i64> = version("register.version", "head version held");
    lag: Gauge<i64> = version("peer.version.lag", "versions behind the central node");
    peers: Gauge<u64> = count("central.peers", "live peer sessions");
    lagging: Gauge<u64> =
        count("central.peers.lagging", "live peers that have been behind for longer than limits.lagging_after");
    refusals: Counter<u64> = counter("central.refusals", "calls refused, by reason");
    publications: Counter<u64> = counter("central.publications", "publications and state changes, by result");
    writes: Counter<u64> = counter("http.writes", "write requests over HTTP, by action and result");
    findings: Counter<u64> = counter("register.integrity.findings", "integrity findings");
    register_refused: Counter<u64> =
        counter("register.refused", "times that a central node's or database's register contradicted what is held, by reason");
    reports: Counter<u64> = counter("report.writes", "status reports to Kubernetes, by result");
    handshakes: Counter<u64> = counter("central.handshakes", "TLS handshakes, by result");
    cut: Counter<u64> =
        counter("central.connections.cut", "gRPC connections cut because no session used them");
    http_cut: Counter<u64> =
        counter("http.connections.cut", "HTTP connections ended by this node, by reason");
    accept_failures: Counter<u64> =
        counter("listener.accept.failures", "connections that could not be accepted, such as for want of file descriptors, by listener");
    tls_reloads: Counter<u64> = counter("tls.reloads", "changed TLS files looked at, by result");
    certificate_not_after: Gauge<i64> =
        unix_time("tls.certificate.not_after", "end of this node's TLS certificate, Unix time");
    task_deaths: Counter<u64> =
        counter("node.tasks.died", "long-running tasks that panicked or ended, by task");
    stalls: Counter<u64> =
        counter("peer.replication.stalls", "waits for a central node that were given up, by way");
    replicating: Gauge<u64> =
        count("peer.replication.working", "1 while pulls and pushes do what they should, else 0");
}

fn counter(meter: &Meter, name: &'static str, what: &'static str) -> Counter<u64> {
    meter.u64_counter(name).with_description(what).build()
}

fn count(meter: &Meter, name: &'static str, what: &'static str) -> Gauge<u64> {
    meter.u64_gauge(name).with_description(what).build()
}

fn version(meter: &Meter, name: &'static str, what: &'static str) -> Gauge<i64> {
    meter.i64_gauge(name).with_description(what).build()
}

fn unix_time(meter: &Meter, name: &'static str, what: &'static str) -> Gauge<i64> {
    meter.i64_gauge(name).with_unit("s").with_description(what).build()
}

fn millis(meter: &Meter, name: &'static str, what: &'static str) -> Histogram<f64> {
    histogram(meter, name, what).with_unit("ms").with_boundaries(MILLISECONDS.to_vec()).build()
}

fn seconds(meter: &Meter, name: &'static str, what: &'static str) -> Histogram<f64> {
    histogram(meter, name, what).with_unit("s").with_boundaries(SECONDS.to_vec()).build()
}

fn histogram<'m>(
    meter: &'m Meter,
    name: &'static str,
    what: &'static str,
) -> HistogramBuilder<'m, Histogram<f64>> {
    meter.f64_histogram(name).with_description(what)
}
