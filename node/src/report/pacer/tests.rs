use sorcha_crds::peer::PeerReport;

use super::*;

fn pacer() -> Pacer {
    Pacer::new(&config::Report::default())
}

fn at(seconds: f64) -> Monotonic {
    Monotonic::from_start(Duration::from_secs_f64(seconds))
}

fn peer(state: &str, version: i64, lag: i64) -> Report {
    Report::Peer(PeerReport {
        name: "edge-0".into(),
        state: Some(state.into()),
        version: Some(version),
        lag: Some(lag),
        ..PeerReport::default()
    })
}

fn fresh(report: &Report, second: i64) -> Report {
    let Report::Peer(report) = report else { panic!("a peer's report") };
    let instant = jiff::Timestamp::from_second(second).unwrap();
    Report::Peer(PeerReport { fresh_as_of: Some(instant.into()), ..report.clone() })
}

/// Observes a report and tells when it is due.
fn due(pacer: &mut Pacer, report: &Report) -> Option<Monotonic> {
    pacer.observe(report.clone());
    pacer.due()
}

fn write(pacer: &mut Pacer, now: Monotonic) -> Report {
    let report = pacer.begin(now).unwrap();
    pacer.ended(report.clone(), None, 0.5, now);
    report
}

#[test]
fn transitions_are_written_at_once_but_not_in_a_row_and_only_the_newest() {
    let (mut pacer, connected) = (pacer(), peer("Connected", 1, 0));
    assert!(due(&mut pacer, &connected).unwrap() <= at(0.0));
    assert_eq!(write(&mut pacer, at(100.0)), connected);
    assert_eq!(due(&mut pacer, &connected), None, "the same again is not written");
    assert_eq!(due(&mut pacer, &peer("HeartbeatMonitoring", 1, 0)), Some(at(102.0)));
    assert_eq!(due(&mut pacer, &peer("Isolated", 1, 0)), Some(at(102.0)));
    assert_eq!(write(&mut pacer, at(102.0)), peer("Isolated", 1, 0));
    assert_eq!(due(&mut pacer, &connected), Some(at(104.0)));
    assert_eq!(due(&mut pacer, &peer("Isolated", 1, 0)), None, "back to what was written");
}

#[test]
fn progress_is_written_at_once_after_quiet_and_then_at_a_bounded_rate() {
    let mut pacer = pacer();
    let state = "HeartbeatMonitoring";
    due(&mut pacer, &peer(state, 1, 0));
    write(&mut pacer, at(100.0));
    assert!(due(&mut pacer, &peer(state, 1, 1)).unwrap() <= at(200.0));
    write(&mut pacer, at(200.0));
    assert_eq!(due(&mut pacer, &peer(state, 2, 0)), Some(at(202.0)), "that the lag is gone is told soon");
    write(&mut pacer, at(202.0));
    assert_eq!(due(&mut pacer, &peer(state, 3, 0)), Some(at(210.0)), "from then on the rate is bounded");
    write(&mut pacer, at(210.0));
    assert_eq!(due(&mut pacer, &peer(state, 4, 0)), Some(at(220.0)));
    assert_eq!(
        due(&mut pacer, &peer("Isolated", 4, 0)),
        Some(at(212.0)),
        "transitions are not held back by it"
    );

    let (mut writes, mut version) = (0, 10);
    for tenth in 3000..39_000 {
        version += 1;
        let now = at(f64::from(tenth) / 10.0);
        if due(&mut pacer, &peer("Isolated", version, 0)).is_some_and(|due| due <= now) {
            write(&mut pacer, now);
            writes += 1;
        }
    }
    assert!((360..=362).contains(&writes), "{writes} writes in an hour of ten publications a second");
}

#[test]
fn details_alone_are_written_once_per_interval_and_round_trips_never() {
    let (mut pacer, quiet) = (pacer(), peer("HeartbeatMonitoring", 1, 0));
    due(&mut pacer, &fresh(&quiet, 100));
    write(&mut pacer, at(100.0));
    assert_eq!(due(&mut pacer, &fresh(&quiet, 130)), Some(at(220.0)));
    assert_eq!(due(&mut pacer, &fresh(&quiet, 160)), Some(at(220.0)));
    assert_eq!(write(&mut pacer, at(220.0)), fresh(&quiet, 160));
    let Report::Peer(report) = fresh(&quiet, 160) else { panic!("a peer's report") };
    assert_eq!(due(&mut pacer, &Report::Peer(PeerReport { rtt_ms: Some(2.0), ..report })), None);

    for (second, draw, expected) in [(900, 0.0, 308.0), (901, 1.0, 332.0)] {
        let report = pacer.begin(at(200.0)).unwrap();
        pacer.ended(report, None, draw, at(200.0));
        assert_eq!(due(&mut pacer, &fresh(&quiet, second)), Some(at(expected)), "10 % either way");
    }
}

#[test]
fn a_failed_write_is_tried_again_ever_later_with_the_newest_state() {
    let mut pacer = pacer();
    due(&mut pacer, &peer("Connecting", 1, 0));
    let failed = ReportError::Failed("connection refused".into());
    let mut now = at(100.0);
    for expected in [2.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
        let report = pacer.begin(now).unwrap();
        pacer.ended(report, Some(&failed), 1.0, now);
        let next = due(&mut pacer, &peer("Isolated", 1, 0)).unwrap();
        assert_eq!(next, now.plus(Duration::from_secs_f64(expected)));
        now = next;
    }
    let report = pacer.begin(now).unwrap();
    pacer.ended(report, Some(&failed), 0.0, now);
    assert_eq!(pacer.due(), Some(now.plus(Duration::from_secs(2))), "full jitter, but never in a row");
    assert_eq!(write(&mut pacer, now), peer("Isolated", 1, 0));
    assert_eq!(pacer.due(), None);
}

#[test]
fn what_somebody_must_mend_first_is_tried_rarely() {
    for error in [
        ReportError::NotFound("gone".into()),
        ReportError::Forbidden("no".into()),
        ReportError::Refused("no such field".into()),
    ] {
        let mut pacer = pacer();
        due(&mut pacer, &peer("Connecting", 1, 0));
        let report = pacer.begin(at(100.0)).unwrap();
        pacer.ended(report, Some(&error), 0.0, at(100.0));
        assert_eq!(due(&mut pacer, &peer("Connected", 1, 0)), Some(at(154.0)), "{error}");
    }
}

#[test]
fn after_a_failure_nothing_is_known_to_be_written() {
    let (mut pacer, before) = (pacer(), peer("Connected", 1, 0));
    due(&mut pacer, &before);
    write(&mut pacer, at(100.0));
    due(&mut pacer, &peer("Isolated", 1, 0));
    let report = pacer.begin(at(110.0)).unwrap();
    pacer.ended(report, Some(&ReportError::Unanswered), 0.5, at(120.0));
    assert_eq!(due(&mut pacer, &before), Some(at(120.5)), "the one in between may have been written");
}

#[test]
fn the_last_word_is_said_if_there_is_one() {
    let (mut pacer, quiet) = (pacer(), peer("HeartbeatMonitoring", 1, 0));
    due(&mut pacer, &fresh(&quiet, 100));
    write(&mut pacer, at(100.0));
    due(&mut pacer, &fresh(&quiet, 130));
    assert_eq!(pacer.last_word(), None);
    due(&mut pacer, &peer("Disconnected", 1, 0));
    assert_eq!(pacer.last_word(), Some(peer("Disconnected", 1, 0)));
}
