mod signature;

use std::{
    io::{self, Read},
    sync::Arc,
};

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::{
    entry::SealedEntry,
    testing::{entry, genesis},
};

const NOW: Timestamp = Timestamp::from_millis(1_750_000_000_000);

fn version(number: i64) -> Version {
    Version::new("version", number).unwrap()
}

fn deprecated(id: &str, number: i64) -> Arc<SealedEntry> {
    let mut entry = entry(id, number);
    entry.is_active = false;
    entry.seal()
}

/// Versions 1 (a), 2 (superseded), 3 (c), 4 (b, deprecated).
fn view() -> RegisterView {
    let entries = vec![entry("a", 1).seal(), entry("b", 2).seal(), entry("c", 3).seal(), deprecated("b", 4)];
    RegisterView::with_entries(Some(Arc::new(genesis(1))), entries, Version::ZERO)
}

fn write(
    out: impl io::Write,
    view: &RegisterView,
    scope: Scope,
    created_by: &str,
    now: Timestamp,
) -> Result<(), WriteError> {
    let mut writer = Writer::new(out, &Header::of(view, scope, created_by, now)?, None)?;
    view.iter()
        .filter(|sealed| scope.holds(sealed.entry().is_active))
        .try_for_each(|sealed| writer.entry(sealed))?;
    writer.finish().map(drop)
}

fn bundle(scope: Scope) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, &view(), scope, "n0.sorcha.dev", NOW).unwrap();
    bytes
}

fn refusal(bytes: &[u8]) -> (u64, Problem) {
    match read(bytes) {
        Err(ReadError::Refused { offset, problem }) => (offset, problem),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// Puts the right hash at the end of a changed bundle.
fn rehash(bytes: &mut [u8]) {
    let end = bytes.len() - 32;
    let hash = Sha256::digest(&bytes[..end]);
    bytes[end..].copy_from_slice(&hash);
}

/// Offset of the head version.
fn head_offset() -> usize {
    16 + 4 + 1 + 4 + genesis(1).bytes().len()
}

/// A bundle of these entries, written without the writer's checks.
fn forged(header: &Header, entries: &[Arc<SealedEntry>]) -> Vec<u8> {
    let empty = RegisterView::new(Some(Arc::new(header.genesis.clone())));
    let mut bytes = Vec::new();
    write(&mut bytes, &empty, header.scope, &header.created_by, NOW).unwrap();
    bytes.truncate(bytes.len() - 36);
    let head = head_offset();
    bytes[head..head + 8].copy_from_slice(&header.head.get().to_be_bytes());
    bytes[head + 8..head + 40].copy_from_slice(header.digest.as_bytes());
    bytes[head + 40..head + 48].copy_from_slice(&header.count.to_be_bytes());
    for sealed in entries {
        bytes.extend_from_slice(&u32::try_from(sealed.length()).unwrap().to_be_bytes());
        bytes.extend_from_slice(&sealed.checked().unwrap());
    }
    bytes.extend_from_slice(&[0; 36]);
    rehash(&mut bytes);
    bytes
}

fn header(scope: Scope, count: u64) -> Header {
    Header { count, ..Header::of(&view(), scope, "n0", NOW).unwrap() }
}

#[test]
fn what_was_written_is_read_back() {
    for (scope, ids) in [(Scope::Whole, &["a", "c", "b"][..]), (Scope::ActiveOnly, &["a", "c"])] {
        let read = read(&bundle(scope)[..]).unwrap();
        assert_eq!(read.header, Header::of(&view(), scope, "n0.sorcha.dev", NOW).unwrap());
        let found: Vec<_> = read.entries.iter().map(|sealed| sealed.entry().blueprint_id.as_str()).collect();
        assert_eq!(found, ids);
        assert_eq!(read.header.digest, view().digest());
        assert!(read.entries.iter().all(|sealed| view().iter().any(|held| held == sealed)));
    }
}

#[test]
fn an_empty_register_has_a_bundle() {
    let empty = RegisterView::new(Some(Arc::new(genesis(1))));
    let mut bytes = Vec::new();
    write(&mut bytes, &empty, Scope::Whole, "", NOW).unwrap();
    let read = read(&bytes[..]).unwrap();
    assert_eq!((read.entries.len(), read.header.head), (0, Version::ZERO));
}

#[test]
fn a_register_without_genesis_has_none() {
    let anonymous = RegisterView::with_entries(None, vec![entry("a", 1).seal()], Version::ZERO);
    let error = write(Vec::new(), &anonymous, Scope::Whole, "n0", NOW).unwrap_err();
    assert!(matches!(error, WriteError::Refused(Problem::NoGenesis)));
}

#[test]
fn every_flipped_bit_is_refused() {
    let good = bundle(Scope::Whole);
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&bytes[..]).is_err(), "bit {bit} flipped unnoticed");
    }
}

#[test]
fn every_truncation_is_refused_where_it_ends() {
    let good = bundle(Scope::Whole);
    for length in 0..good.len() {
        let (offset, problem) = refusal(&good[..length]);
        let cut_off = matches!(problem, Problem::CutOff(_)) && offset == length as u64;
        assert!(
            cut_off || (length < MAGIC.len() && matches!(problem, Problem::Magic)),
            "{length}: {offset} {problem}"
        );
    }
}

#[test]
fn anything_after_the_end_is_refused() {
    let mut bytes = bundle(Scope::Whole);
    let length = bytes.len() as u64;
    bytes.push(b'\n');
    assert!(matches!(refusal(&bytes), (offset, Problem::Trailing) if offset == length));
}

#[test]
fn each_part_of_the_header_is_checked_where_it_lies() {
    let good = bundle(Scope::Whole);
    let head = head_offset();
    let changed = |offset: usize, new: &[u8]| {
        let mut bytes = good.clone();
        bytes[offset..offset + new.len()].copy_from_slice(new);
        rehash(&mut bytes);
        refusal(&bytes)
    };
    assert!(matches!(changed(3, b"!"), (0, Problem::Magic)));
    assert!(matches!(changed(16, &3u32.to_be_bytes()), (16, Problem::FormatVersion(3))));
    assert!(matches!(changed(20, &[2]), (20, Problem::Scope(2))));
    assert!(matches!(changed(21, &u32::MAX.to_be_bytes()), (21, Problem::TooLong { .. })));
    assert!(matches!(changed(30, b"!"), (21, Problem::Genesis(_))));
    let at = head as u64;
    assert!(matches!(changed(head, &(-1i64).to_be_bytes()), (offset, Problem::Field(_)) if offset == at));
    assert!(
        matches!(changed(head, &i64::MAX.to_be_bytes()), (offset, Problem::Digest { .. }) if offset == at + 8)
    );
    assert!(
        matches!(changed(head, &5i64.to_be_bytes()), (offset, Problem::Digest { .. }) if offset == at + 8)
    );
    assert!(matches!(changed(head + 8, &[0; 32]), (offset, Problem::Digest { .. }) if offset == at + 8));
    assert!(matches!(changed(head + 40, &2u64.to_be_bytes()), (_, Problem::Count { stated: 2, .. })));
    assert!(matches!(changed(head + 40, &u64::MAX.to_be_bytes()), (_, Problem::Count { actual: 3, .. })));
    assert!(
        matches!(changed(head + 56, &u32::MAX.to_be_bytes()), (offset, Problem::TooLong { .. }) if offset == at + 56)
    );
    assert!(matches!(changed(head + 60, b"\xff"), (offset, Problem::NotText) if offset == at + 56));
    assert!(matches!(
        changed(head + 60 + 13, &u32::MAX.to_be_bytes()),
        (_, Problem::TooLong { what: "an entry", .. })
    ));
}

#[test]
fn the_order_of_entries_is_checked() {
    let (a, b, c) = (entry("a", 1).seal(), entry("b", 2).seal(), entry("c", 3).seal());
    let look =
        |scope, count, entries: &[Arc<SealedEntry>]| refusal(&forged(&header(scope, count), entries)).1;
    let descending = look(Scope::Whole, 2, &[b.clone(), a.clone()]);
    assert_eq!(descending.to_string(), "entry 2 has version 1; it must be above 2 and at most 4");
    assert!(matches!(look(Scope::Whole, 2, &[a.clone(), a.clone()]), Problem::Order { number: 2, .. }));
    assert!(matches!(look(Scope::Whole, 1, &[entry("e", 5).seal()]), Problem::Order { .. }));
    let twice = look(Scope::Whole, 2, &[b.clone(), deprecated("b", 4)]);
    assert_eq!(twice.to_string(), "entry 2 is blueprint b for the second time");
    assert!(matches!(look(Scope::ActiveOnly, 1, &[deprecated("b", 4)]), Problem::Inactive { number: 1 }));
    assert!(matches!(look(Scope::Whole, 1, std::slice::from_ref(&a)), Problem::Digest { .. }));
    assert!(read(&forged(&header(Scope::ActiveOnly, 2), &[a, c])[..]).is_ok());
}

#[test]
fn an_entry_must_be_valid_and_in_our_encoding() {
    let good = bundle(Scope::ActiveOnly);
    let start = head_offset() + 60 + 13;
    let mut damaged = good.clone();
    damaged[start + 10] ^= 0x20;
    let (offset, problem) = refusal(&damaged);
    assert_eq!(offset, start as u64);
    assert!(matches!(problem, Problem::Entry { number: 1, .. }), "{problem}");

    // The same entry with an unknown field behind it.
    let length = u32::from_be_bytes(good[start..start + 4].try_into().unwrap());
    let mut foreign = good.clone();
    foreign.splice(start + 4 + length as usize..start + 4 + length as usize, [0xfa, 0x3e, 0x01, b'x']);
    foreign[start..start + 4].copy_from_slice(&(length + 4).to_be_bytes());
    rehash(&mut foreign);
    assert!(matches!(refusal(&foreign), (_, Problem::Encoding { number: 1 })));
}

#[test]
fn a_writer_refuses_what_a_reader_would() {
    let header = header(Scope::ActiveOnly, 1);
    let mut writer = Writer::new(Vec::new(), &header, None).unwrap();
    assert!(matches!(writer.entry(&deprecated("b", 4)), Err(WriteError::Refused(Problem::Inactive { .. }))));
    assert!(matches!(writer.finish(), Err(WriteError::Refused(Problem::Count { stated: 1, actual: 0 }))));
    for created_by in ["n".repeat(65), "é".repeat(65)] {
        let long = Header { created_by, ..header.clone() };
        assert!(matches!(Writer::new(Vec::new(), &long, None), Err(WriteError::Refused(Problem::Field(_)))));
    }
}

#[test]
fn a_failing_disk_is_not_a_damaged_bundle() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is on fire"))
        }
    }
    let good = bundle(Scope::Whole);
    let error = read((&good[..100]).chain(Failing)).unwrap_err();
    assert_eq!(error.to_string(), "read the bundle at byte 100: the disk is on fire");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(read(&bytes[..]).is_err());
        let after_magic = [&MAGIC[..], &UNSIGNED.to_be_bytes(), &bytes].concat();
        prop_assert!(read(&after_magic[..]).is_err());
    }

    #[test]
    fn arbitrary_changes_under_a_right_hash_never_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let mut bytes = bundle(Scope::Whole);
        for (index, value) in changes {
            let at = index.index(bytes.len() - 32);
            bytes[at] = value;
        }
        rehash(&mut bytes);
        drop(read(&bytes[..]));
    }

    #[test]
    fn registers_of_any_shape_round_trip(states in proptest::collection::vec((0u8..6, any::<bool>()), 0..40)) {
        let entries = states.iter().zip(1..).map(|((id, is_active), number)| {
            let mut entry = entry(&format!("b{id}"), number);
            entry.is_active = *is_active;
            entry.seal()
        });
        let view = RegisterView::with_entries(Some(Arc::new(genesis(2))), entries.collect(), Version::ZERO);
        for scope in [Scope::Whole, Scope::ActiveOnly] {
            let mut bytes = Vec::new();
            write(&mut bytes, &view, scope, "n0", NOW).unwrap();
            let read = read(&bytes[..]).unwrap();
            prop_assert_eq!(read.header.digest, view.digest());
            prop_assert_eq!(read.header.head, view.head());
            prop_assert_eq!(read.entries.len() as u64, read.header.count);
        }
    }
}

#[test]
fn versions_are_as_in_the_register() {
    let read = read(&bundle(Scope::Whole)[..]).unwrap();
    assert_eq!(
        read.entries.iter().map(|sealed| sealed.entry().version).collect::<Vec<_>>(),
        [1, 3, 4].map(version)
    );
}
