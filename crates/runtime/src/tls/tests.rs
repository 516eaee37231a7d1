//! Files that change while a node runs, and time that passes.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicI64, Ordering},
};

use sorcha_register::clock::{Monotonic, Timestamp};

use super::{
    testing::{Ca, Leaf, Pair, mount},
    *,
};

const DAY: i64 = 24 * 3600;

/// A clock set by hand, seconds.
#[derive(Default)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed) * 1000)
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::default()
    }
}

impl Hand {
    fn at(seconds: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(seconds)))
    }

    fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::Relaxed);
    }
}

fn config(folder: &Path, pair: &Pair, cas: &[&Ca]) -> config::Tls {
    let [certificate, key, ca] = mount(folder, pair, cas);
    config::Tls {
        certificate_file: Some(certificate),
        key_file: Some(key),
        ca_file: Some(ca),
        ..config::Tls::default()
    }
}

fn load(config: &config::Tls, clock: &Arc<Hand>) -> Arc<Tls> {
    Tls::load(config, Arc::clone(clock) as Arc<dyn Clock>, Metrics::disabled()).unwrap().unwrap()
}

fn ending(days: i64) -> Leaf {
    Leaf { not_before: 0, not_after: days * DAY, ..Leaf::default() }
}

#[test]
fn without_files_there_is_no_tls() {
    let clock: Arc<dyn Clock> = Hand::at(0);
    assert!(Tls::load(&config::Tls::default(), clock, Metrics::disabled()).unwrap().is_none());
}

#[test]
fn new_files_are_taken_and_bad_ones_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new("ca");
    let tls = load(&config(folder.path(), &ca.issue(&ending(100)), &[&ca]), &Hand::at(DAY));
    let first = tls.server();
    tls.look();
    assert!(Arc::ptr_eq(&first, &tls.server()), "nothing has changed");

    let mut bad = ca.issue(&ending(200));
    bad.key = ca.issue(&ending(200)).key;
    mount(folder.path(), &bad, &[&ca]);
    tls.look();
    assert!(Arc::ptr_eq(&first, &tls.server()));
    let trouble = tls.status().trouble().unwrap();
    assert!(trouble.contains("not in use") && trouble.contains("tls.key_file"), "{trouble}");
    assert_eq!(tls.status().validity.not_after, Timestamp::from_millis(100 * DAY * 1000));

    mount(folder.path(), &ca.issue(&ending(300)), &[&ca]);
    tls.look();
    assert!(!Arc::ptr_eq(&first, &tls.server()));
    assert_eq!(tls.status().trouble(), None);
    assert_eq!(tls.status().validity.not_after, Timestamp::from_millis(300 * DAY * 1000));
}

#[test]
fn files_written_one_after_the_other_are_taken_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new("ca");
    let config = config(folder.path(), &ca.issue(&ending(100)), &[&ca]);
    let tls = load(&config, &Hand::at(DAY));
    let new = ca.issue(&ending(300));
    let (certificate, key) = (config.certificate_file.unwrap(), config.key_file.unwrap());
    fs::remove_file(&certificate).unwrap();
    fs::write(&certificate, &new.certificate).unwrap();
    tls.look();
    assert!(tls.status().fault.is_some());
    fs::remove_file(&key).unwrap();
    fs::write(&key, &new.key).unwrap();
    tls.look();
    assert_eq!(tls.status().fault, None);
    assert_eq!(tls.status().validity.not_after, Timestamp::from_millis(300 * DAY * 1000));
}

#[test]
fn a_certificate_grows_old_and_an_old_one_is_still_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new("ca");
    let (config, clock) = (config(folder.path(), &ca.issue(&ending(100)), &[&ca]), Hand::at(DAY));
    let tls = load(&config, &clock);
    let mut ages = Vec::new();
    for day in [90, 94, 99, 101] {
        clock.set(day * DAY);
        tls.look();
        ages.push(tls.status().age);
    }
    assert_eq!(ages, [Age::Valid, Age::EndsSoon, Age::EndsSoon, Age::Expired]);
    assert!(tls.status().trouble().unwrap().contains("expired at 1970-04-11"));
    assert_eq!(load(&config, &clock).status().age, Age::Expired);
    assert_eq!(load(&config, &Hand::at(-1)).status().age, Age::NotYetValid);
}

/// The subjects of the CAs that a server asks its clients for.
fn believed(tls: &Tls) -> usize {
    tls.current.load().material.believed()
}

#[test]
fn a_ca_that_is_gone_from_its_file_is_not_believed_though_the_new_certificate_is_bad() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let config = config(folder.path(), &old.issue(&ending(100)), &[&old, &new]);
    let tls = load(&config, &Hand::at(DAY));
    let first = tls.server();
    assert_eq!(believed(&tls), 2);
    let mut bad = new.issue(&ending(200));
    bad.key = new.issue(&ending(200)).key;

    mount(folder.path(), &bad, &[&new]);
    tls.look();
    assert_eq!(believed(&tls), 1);
    assert!(!Arc::ptr_eq(&first, &tls.server()), "the next connection is judged by the new list");
    assert_eq!(
        tls.status().validity.not_after,
        Timestamp::from_millis(100 * DAY * 1000),
        "the identity stays"
    );
    let trouble = tls.status().trouble().unwrap();
    assert!(trouble.contains("CAs believed: 1"), "{trouble}");

    // One that comes back with a bad certificate is believed again, and good files end the trouble.
    mount(folder.path(), &bad, &[&old, &new]);
    tls.look();
    assert_eq!(believed(&tls), 2);
    mount(folder.path(), &new.issue(&ending(300)), &[&new]);
    tls.look();
    assert_eq!((believed(&tls), tls.status().trouble()), (1, None));
}

#[test]
fn of_a_file_of_cas_counts_what_can_be_used_and_without_one_nobody_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Ca::new("first"), Ca::new("second"));
    let config = config(folder.path(), &first.issue(&ending(100)), &[&first, &second]);
    let tls = load(&config, &Hand::at(DAY));
    let file = config.ca_file.clone().unwrap();
    let whole = fs::read_to_string(&file).unwrap();
    let one = whole[..whole.len() / 2]
        .rfind("-----BEGIN")
        .map_or(&whole[..], |_| &whole[..whole.find("-----END").unwrap() + 30]);
    fs::remove_file(&file).unwrap();
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (content, expected) in [
        (Some(one.to_owned()), 1),
        (Some(format!("{one}\n{garbage}")), 1),
        (Some(format!("\u{feff}{whole}")), 2),
        (Some(garbage.to_owned()), 0),
        (Some(whole.clone()), 2),
        (Some(String::new()), 0),
        (None, 0),
        (Some(whole.clone()), 2),
    ] {
        match &content {
            Some(content) => fs::write(&file, content).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        tls.look();
        assert_eq!(believed(&tls), expected, "{content:?}");
    }
    assert_eq!(tls.status().trouble(), None);
}
