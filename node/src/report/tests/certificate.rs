//! The end of a node's TLS certificate in its reports.

use sorcha_runtime::tls::{
    Tls,
    testing::{Ca, Leaf, mount},
};
use tokio::sync::watch;

use super::*;
use crate::report::content::Difference;

#[tokio::test(start_paused = true)]
async fn it_is_there_from_the_first_report_on_and_follows_the_files() {
    let (folder, ca, mut config) = (tempfile::tempdir().unwrap(), Ca::new("ca"), config("edge-0"));
    let until = |not_after| ca.issue(&Leaf { not_after, ..Leaf::default() });
    let [certificate, key, authority] = mount(folder.path(), &until(4_000_000_000), &[&ca]);
    (config.tls.certificate_file, config.tls.key_file) = (Some(certificate), Some(key));
    config.tls.ca_file = Some(authority);
    let (mut env, fake) = (env(), Fake::new());
    env.tls = Tls::load(&config.tls, Arc::clone(&env.clock), Metrics::disabled()).unwrap();
    let stage = watch::Sender::new(Stage::Opening { store_fault: None });
    let _reporter = Reporter::start(&config, Role::Peer, &env, stage.subscribe(), fake.clone());
    after(5).await;
    let ends = |fake: &Fake| {
        serde_json::to_value(match fake.last().unwrap() {
            Report::Peer(report) => report.certificate_not_after,
            Report::Central(report) => report.certificate_not_after,
        })
    };
    assert_eq!(ends(&fake).unwrap(), "2096-10-02T07:06:40Z");
    mount(folder.path(), &until(4_000_000_060), &[&ca]);
    env.tls.as_ref().unwrap().look();
    stage.send_replace(Stage::Opening { store_fault: Some("no server".into()) });
    after(5).await;
    assert_eq!(ends(&fake).unwrap(), "2096-10-02T07:07:40Z");
}

#[test]
fn a_node_on_plain_text_has_none_and_a_new_one_is_worth_a_report() {
    let plain = Report::Peer(PeerReport::default());
    assert_eq!(plain.clone().with_certificate(None), plain);
    let secured = plain.clone().with_certificate(Some(START));
    assert_eq!(secured.change_since(&plain), Difference::Transition);
}
