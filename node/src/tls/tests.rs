//! Files that change while a node runs, and time that passes.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicI64, Ordering},
};

use super::{
    testing::{Ca, Leaf, Pair, mount},
    *,
};
use crate::clock::{Monotonic, Timestamp};

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
