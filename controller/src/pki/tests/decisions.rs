//! Each decision by itself.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{DAY, POLICY, at, authority, leaf, names, wanted};
use crate::pki::{
    BACKDATE,
    authority::{Authority, Held, Phase, RotationStep, step},
    finding::judge,
    issue,
    leaf::{Decision, Leaf, WantedLeaf, Why, decide, due},
    x509::{self, CertificateFault},
};

fn decided(held: &Leaf, wanted: &WantedLeaf, authority: &Authority, seconds: u64) -> Decision {
    decide(Some(&Ok(held.clone())), wanted, authority, at(seconds))
}

#[test]
fn a_certificate_says_who_its_holder_is_and_is_accepted() {
    let authority = authority(at(0));
    let made = leaf("edge", &authority, at(0));
    let certificate = &made.pair.certificate;
    assert_eq!(certificate.names, names("edge"));
    assert_eq!(certificate.issuer, authority.newest.certificate.subject);
    assert!(!certificate.is_ca && authority.newest.certificate.is_ca);
    let roots = x509::read(made.trust.as_bytes()).expect("a bundle");
    let chain = std::slice::from_ref(certificate);
    assert_eq!(x509::check_chain(chain, &roots, at(0)), Ok(()));
    assert!(x509::check_chain(chain, &roots, at(31 * DAY)).is_err(), "it has ended");
    let other = super::authority(at(0));
    assert!(x509::check_chain(chain, &other.trusted(), at(0)).is_err(), "another authority");
    assert!(x509::check_key(chain, made.pair.key.pem().as_bytes()).is_ok());
    assert!(x509::check_key(chain, other.newest.key.pem().as_bytes()).is_err(), "another key");
    assert_eq!(format!("{:?}", made.pair.key), "Key", "a key shows nothing of itself");
}

#[test]
fn a_certificate_is_kept_until_it_is_due() {
    let authority = authority(at(0));
    let made = leaf("edge", &authority, at(0));
    let due = due(&made.pair.certificate, &names("edge"));
    let (from, to) = (at(18 * DAY), at(20 * DAY));
    assert!(from <= due && due <= to, "{due}");
    assert_eq!(decided(&made, &wanted("edge"), &authority, DAY), Decision::Keep(due));
    assert_eq!(decided(&made, &wanted("edge"), &authority, 20 * DAY), Decision::Issue(Why::Due));
    assert_eq!(decided(&made, &wanted("edge"), &authority, 40 * DAY), Decision::Issue(Why::Due), "ended");
}

#[test]
fn what_does_not_fit_is_made_anew() {
    let authority = authority(at(0));
    let made = leaf("edge", &authority, at(0));
    assert_eq!(decide(None, &wanted("edge"), &authority, at(1)), Decision::Issue(Why::Missing));
    let damaged = Err(CertificateFault("tls.crt: not PEM".to_owned()));
    let decision = decide(Some(&damaged), &wanted("edge"), &authority, at(1));
    assert_eq!(decision, Decision::Issue(Why::Damaged("tls.crt: not PEM".to_owned())));
    assert_eq!(decided(&made, &wanted("other"), &authority, 1), Decision::Issue(Why::Names));
    let asked = WantedLeaf { token: Some("now".to_owned()), ..wanted("edge") };
    assert_eq!(decided(&made, &asked, &authority, 1), Decision::Issue(Why::Asked));
    let done = Leaf { token: Some("now".to_owned()), ..made.clone() };
    assert!(matches!(decided(&done, &asked, &authority, 1), Decision::Keep(_)), "once");
    let stranger = super::authority(at(0));
    assert_eq!(decided(&made, &wanted("edge"), &stranger, 1), Decision::Issue(Why::Authority));
}

#[test]
fn trust_is_written_anew_without_a_new_certificate() {
    let authority = authority(at(0));
    let made = leaf("edge", &authority, at(0));
    let changed = Leaf { trust: "nonsense".to_owned(), ..made.clone() };
    assert_eq!(decided(&changed, &wanted("edge"), &authority, 1), Decision::Trust);
    let further = WantedLeaf { further: super::authority(at(0)).trusted(), ..wanted("edge") };
    assert_eq!(decided(&made, &further, &authority, 1), Decision::Trust);
    for written in [None, Some(at(DAY))] {
        let odd = Leaf { written, ..made.clone() };
        assert_eq!(decided(&odd, &wanted("edge"), &authority, 1), Decision::Trust, "{written:?}");
    }
}

fn held(leaf: &Leaf) -> Held {
    Held {
        name: "edge".to_owned(),
        trust: Some(leaf.trust.clone()),
        issuer: Some(leaf.pair.certificate.issuer.clone()),
        written: leaf.written,
    }
}

fn none() -> std::collections::BTreeSet<String> {
    std::collections::BTreeSet::new()
}

#[test]
fn authorities_follow_each_other_in_three_steps() {
    let first = authority(at(0));
    let old = leaf("edge", &first, at(0));
    let next = |authority: &Authority, leaf: &Leaf, seconds| {
        step(authority, &[held(leaf)], &none(), &POLICY, at(seconds))
    };
    assert!(matches!(next(&first, &old, DAY), RotationStep::Wait(Some(_), None)));
    let begins = 244 * DAY;
    assert_eq!(next(&first, &old, begins), RotationStep::Begin, "two thirds are over");
    let asked = step(&first, &[], &["now".to_owned()].into(), &POLICY, at(1));
    assert_eq!(asked, RotationStep::Begin, "somebody asks");

    let newest = issue::authority(super::NETWORK, POLICY.ca_lifetime, at(begins)).expect("an authority");
    let both = first.distributing(newest, &["now".to_owned()].into());
    assert_eq!(both.signer(at(begins)), first.newest, "the old one signs on");
    assert!(
        matches!(next(&both, &old, begins + 600), RotationStep::Wait(None, Some(_))),
        "edge does not trust it"
    );
    let told = Leaf { trust: wanted("edge").trust(&both), written: Some(at(begins + 10)), ..old };
    assert!(
        matches!(next(&both, &told, begins + 310), RotationStep::Wait(Some(when), _) if when == at(begins + 311))
    );
    let RotationStep::Write(signing, _) = next(&both, &told, begins + 311) else { panic!("it should sign") };
    assert_eq!((signing.phase, &signing.previous_key), (Phase::Replacing, &None));

    assert!(
        matches!(next(&signing, &told, begins + 900), RotationStep::Wait(None, Some(_))),
        "an old certificate"
    );
    let renewed = leaf("edge", &signing, at(begins + 900));
    assert!(matches!(next(&signing, &renewed, begins + 1200), RotationStep::Wait(Some(_), _)));
    let RotationStep::Write(alone, _) = next(&signing, &renewed, begins + 1201) else {
        panic!("it should be alone")
    };
    assert_eq!((alone.phase, alone.previous.len()), (Phase::Stable, 0));
    let again = step(&alone, &[], &["now".to_owned()].into(), &POLICY, at(begins + 1300));
    assert!(matches!(again, RotationStep::Wait(..)), "a request is done once");
}

#[test]
fn a_secret_that_is_missing_holds_a_change_up() {
    let first = authority(at(0));
    let newest = issue::authority(super::NETWORK, POLICY.ca_lifetime, at(0)).expect("an authority");
    let both = first.distributing(newest, &none());
    let missing = Held { name: "edge".to_owned(), trust: None, issuer: None, written: None };
    let waits = step(&both, &[missing], &none(), &POLICY, at(DAY));
    assert!(matches!(waits, RotationStep::Wait(None, Some(why)) if why.contains("edge")));
}

#[test]
fn an_old_authority_lives_as_long_as_certificates_outside() {
    let first = Authority { outside_until: Some(at(90 * DAY)), ..authority(at(0)) };
    let newest = issue::authority(super::NETWORK, POLICY.ca_lifetime, at(0)).expect("an authority");
    let both = first.distributing(newest, &none());
    let RotationStep::Write(signing, _) = step(&both, &[], &none(), &POLICY, at(DAY)) else {
        panic!("it should sign")
    };
    assert_eq!(step_kind(&signing, 89 * DAY), "wait");
    assert_eq!(step_kind(&signing, 90 * DAY), "write");
}

fn step_kind(authority: &Authority, seconds: u64) -> &'static str {
    match step(authority, &[], &none(), &POLICY, at(seconds)) {
        RotationStep::Wait(..) => "wait",
        RotationStep::Begin => "begin",
        RotationStep::Write(..) => "write",
    }
}

#[test]
fn after_a_lost_authority_certificates_are_kept_until_all_know_the_new_one() {
    let lost = authority(at(0));
    let made = leaf("edge", &lost, at(0));
    let newest = issue::authority(super::NETWORK, POLICY.ca_lifetime, at(DAY)).expect("an authority");
    let after = Authority::after_loss(newest, lost.trusted(), none());
    assert_eq!(decided(&made, &wanted("edge"), &after, DAY), Decision::Trust);
    let told = Leaf { trust: wanted("edge").trust(&after), written: Some(at(DAY)), ..made };
    assert!(
        matches!(decided(&told, &wanted("edge"), &after, 25 * DAY), Decision::Keep(_)),
        "due, but accepted"
    );
    assert_eq!(decided(&told, &wanted("edge"), &after, 31 * DAY), Decision::Issue(Why::Due), "ended");
    let new = leaf("late", &after, at(DAY + 1));
    assert_eq!(new.pair.certificate.issuer, after.newest.certificate.subject, "nobody else can sign");
}

fn judged(leaf: &Leaf, uses: &[(&str, Option<&Time>)], seconds: u64) -> (String, &'static str, String) {
    let held = Ok(leaf.clone());
    let name = Some("edge-tls");
    let finding = judge(Some(&held), name, BACKDATE, uses, None, at(seconds)).finding;
    (finding.status.as_str().to_owned(), finding.reason, finding.message)
}

#[test]
fn the_condition_follows_the_certificate() {
    let made = leaf("edge", &authority(at(0)), at(0));
    let tell = |seconds| {
        let (status, reason, _) = judged(&made, &[], seconds);
        (status, reason)
    };
    assert_eq!(tell(DAY), ("True".to_owned(), "Issued"));
    assert_eq!(tell(21 * DAY), ("True".to_owned(), "Issued"), "it is being renewed");
    assert_eq!(tell(26 * DAY), ("True".to_owned(), "ExpiringSoon"));
    assert_eq!(tell(30 * DAY), ("False".to_owned(), "Expired"));
    let ended = Time(at(DAY));
    let (status, reason, message) = judged(&made, &[("edge-0", None), ("edge-1", Some(&ended))], DAY);
    assert_eq!((status.as_str(), reason), ("False", "Expired"));
    assert!(message.contains("edge-1 still uses"), "{message}");
}

#[test]
fn the_condition_tells_what_is_missing() {
    let tell = |held: Option<&Result<Leaf, CertificateFault>>, name: Option<&str>| {
        let found = judge(held, name, Duration::ZERO, &[], None, at(0));
        (found.finding.status.as_str(), found.finding.reason, found.certificate.is_some())
    };
    assert_eq!(tell(None, None), ("False", "PlainText", false));
    assert_eq!(tell(None, Some("a")), ("False", "WaitingForCertificate", false));
    let damaged = Err(CertificateFault("tls.key: no".to_owned()));
    assert_eq!(tell(Some(&damaged), Some("a")), ("False", "CertificateUnusable", false));
}
