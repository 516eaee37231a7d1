//! An API server that does not take the reports.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_costs_nothing_and_gets_the_newest_state() {
    let peer = running().await;
    peer.connect();
    after(60).await;
    peer.fake.is(Mood::Fails(ReportError::Failed("connection refused".into())));
    let before = peer.fake.attempts();
    for beat in 0..120 {
        peer.change(|status| status.failovers = beat);
        after(30).await;
    }
    let attempts = peer.fake.attempts() - before;
    assert!((120..=400).contains(&attempts), "{attempts} attempts in an hour");
    let written = peer.fake.written.lock().unwrap().len();
    peer.fake.is(Mood::Takes);
    after(31).await;
    assert_eq!(peer.fake.written.lock().unwrap().len() - written, 1, "no queue");
    assert_eq!(peer.last().failovers, Some(119));
}

#[tokio::test(start_paused = true)]
async fn a_missing_resource_is_asked_for_rarely() {
    let peer = running().await;
    peer.fake.is(Mood::Fails(ReportError::NotFound("sorchapeers edge not found".into())));
    for beat in 0..3600 {
        peer.change(|status| status.failovers = beat);
        after(1).await;
    }
    let attempts = peer.fake.attempts();
    assert!((54..=68).contains(&attempts), "{attempts} attempts in an hour");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_api_server_is_given_up_and_holds_up_nobody() {
    let peer = running().await;
    peer.connect();
    after(60).await;
    peer.fake.is(Mood::Hangs);
    peer.change(|status| status.state = PeerState::Isolated);
    after(1).await;
    let before = peer.fake.attempts();
    after(9).await;
    assert_eq!(peer.fake.attempts(), before, "one attempt at a time");
    after(12).await;
    assert!(peer.fake.attempts() > before, "given up after 10 s");
    let ended = Instant::now();
    peer.reporter.finish().await;
    assert!(ended.elapsed() <= Duration::from_secs(2), "{:?}", ended.elapsed());
}
