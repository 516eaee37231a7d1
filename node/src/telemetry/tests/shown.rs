//! What a node shows by itself: its log and its measurements.

use super::*;

#[test]
fn json_lines_are_flat_and_carry_span_and_trace() {
    let lines = Lines::default();
    let mut config = config(Some(dead()));
    config.log.filter = "info,sorcha_runtime::spans=debug".into();
    let (_telemetry, subscriber) = build(&config, "peer", output(&lines)).unwrap();
    dispatcher::with_default(&subscriber, || {
        let span = spans::heartbeat("n0.sorcha.dev", 7);
        span.in_scope(|| tracing::info!(missed = 1, why = "say \"no\"\n", "heartbeat missed"));
        tracing::warn!("outside");
    });
    let [inside, outside] = &lines.json()[..] else { panic!("{}", lines.text()) };
    assert!(inside["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(inside["level"], "INFO");
    assert_eq!(inside["target"], module_path!());
    assert_eq!(inside["message"], "heartbeat missed");
    assert_eq!((&inside["missed"], &inside["why"]), (&1.into(), &"say \"no\"\n".into()));
    assert_eq!(inside["span"]["name"], "peer.heartbeat.send");
    assert_eq!(inside["span"]["central_node_id"], "n0.sorcha.dev");
    assert_eq!(inside["span"]["sequence_number"], 7);
    assert_eq!(inside["trace_id"].as_str().unwrap().len(), 32);
    assert_eq!(inside["span_id"].as_str().unwrap().len(), 16);
    assert_eq!(
        (&outside["level"], outside.get("span"), outside.get("trace_id")),
        (&"WARN".into(), None, None)
    );
}

#[test]
fn human_lines_have_no_colours_off_a_terminal_and_no_spans_by_default() {
    let lines = Lines::default();
    let mut config = config(Some(dead()));
    config.log.format = LogFormat::Human;
    let (_telemetry, subscriber) = build(&config, "peer", output(&lines)).unwrap();
    dispatcher::with_default(&subscriber, || {
        spans::heartbeat("n0", 7).in_scope(|| tracing::info!(missed = 1, "heartbeat missed"));
    });
    let text = lines.text();
    let end = format!("INFO {}: heartbeat missed missed=1\n", module_path!());
    assert!(text.ends_with(&end), "{text:?}");
}

#[test]
fn metrics_have_the_contracts_names_and_labels() {
    let (telemetry, _subscriber) = silent(&config(None));
    let metrics = telemetry.metrics("edge-0");
    metrics.connection_status(1);
    metrics.wrote("publish", "done");
    metrics.heartbeat_acknowledged("n0", Duration::from_millis(3));
    metrics.sync_done(SyncType::Full, 4, Duration::from_millis(20));
    metrics.push_acknowledged(Duration::from_millis(7));
    metrics.failed_over("n0", "n1", "heartbeat_timeout", Duration::from_secs(1));
    let text = prometheus::TextEncoder::new().encode_to_string(&telemetry.registry().gather()).unwrap();
    for line in [
        r#"peer_connection_status{node_id="edge-0"} 1"#,
        r#"http_writes_total{action="publish",node_id="edge-0",result="done"} 1"#,
        r#"peer_heartbeat_latency_milliseconds_count{central_node_id="n0",node_id="edge-0"} 1"#,
        r#"peer_heartbeat_latency_milliseconds_bucket{central_node_id="n0",node_id="edge-0",le="2.5"} 0"#,
        r#"peer_heartbeat_latency_milliseconds_bucket{central_node_id="n0",node_id="edge-0",le="5"} 1"#,
        r#"peer_sync_duration_seconds_sum{node_id="edge-0",sync_type="Full"} 0.02"#,
        r#"peer_sync_duration_seconds_bucket{node_id="edge-0",sync_type="Full",le="0.025"} 1"#,
        r#"peer_sync_blueprints_count_total{node_id="edge-0",sync_type="Full"} 4"#,
        r#"peer_push_notifications_delivered_total{node_id="edge-0"} 1"#,
        r#"peer_push_notifications_failed_total{node_id="edge-0"} 0"#,
        r#"peer_push_acknowledged_milliseconds_count{node_id="edge-0"} 1"#,
        r#"peer_failover_count_total{from_node="n0",node_id="edge-0",reason="heartbeat_timeout",to_node="n1"} 1"#,
        r#"peer_failover_duration_seconds_count{node_id="edge-0",reason="heartbeat_timeout"} 1"#,
        "# TYPE peer_connection_status gauge",
        "# HELP peer_sync_duration_seconds duration of a pull",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    assert!(text.contains(r#"service_name="sorcha-node""#), "target_info");
}

#[test]
fn nodes_of_one_process_have_metrics_of_their_own() {
    let (telemetry, _subscriber) = silent(&config(None));
    telemetry.metrics("n0").version(3);
    telemetry.metrics("n1").version(4);
    let text = prometheus::TextEncoder::new().encode_to_string(&telemetry.registry().gather()).unwrap();
    assert!(
        text.contains("register_version{node_id=\"n0\"} 3")
            && text.contains("register_version{node_id=\"n1\"} 4"),
        "{text}"
    );
}

#[test]
fn the_audit_log_follows_its_own_switch() {
    let told = |audit: bool, filter: &str| {
        let (lines, mut config) = (Lines::default(), config(None));
        (config.log.audit, config.log.filter) = (audit, filter.to_owned());
        let (_telemetry, subscriber) = build(&config, "central", output(&lines)).unwrap();
        dispatcher::with_default(&subscriber, || tracing::info!(target: AUDIT, "write over HTTP"));
        lines.json().len()
    };
    for filter in ["info", "error", "off", "audit=off", "info,audit=error", "debug"] {
        assert_eq!((told(true, filter), told(false, filter)), (1, 0), "{filter}");
    }
}
