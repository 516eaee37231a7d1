use super::*;
use crate::contract::{checkpoint, version};
use sorcha_register::{
    testing::{entry, genesis},
    view::RegisterView,
};

fn position() -> Position {
    let view = RegisterView::with_entries(None, vec![entry("a", 1).seal()], version(4));
    let checkpoint = Checkpoint { adopt: Some(genesis(1).lineage()), ..checkpoint(4) };
    Position { checkpoint, seal: Some(view.seal()) }
}

fn flips(good: &RawDocument) -> impl Iterator<Item = RawDocumentBuf> {
    (0..good.as_bytes().len() * 8).filter_map(|bit| {
        let mut bytes = good.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        RawDocumentBuf::from_bytes(bytes).ok()
    })
}

#[test]
fn a_position_comes_back_and_no_flipped_bit_goes_unnoticed() {
    for position in [
        position(),
        Position { seal: None, ..position() },
        Position { checkpoint: checkpoint(0), ..position() },
    ] {
        let good = encode_position(&position);
        assert_eq!(decode_position(&good), Some(position));
        assert!(flips(&good).all(|bad| decode_position(&bad).is_none()));
    }
}

#[test]
fn what_was_restored_comes_back_and_no_flipped_bit_goes_unnoticed() {
    let restored = Restored { version: version(1_000_000_004), entries: 3 };
    let good = encode_restored(&restored);
    assert_eq!(decode_restored(&good), Some(restored));
    assert!(flips(&good).all(|bad| decode_restored(&bad).is_none()));
}

#[test]
fn a_genesis_comes_back_and_no_flipped_bit_goes_unnoticed() {
    let good = encode_genesis(&genesis(1)).unwrap();
    assert_eq!(decode_genesis(&good).unwrap(), genesis(1));
    let administrators =
        good.get_document("record").unwrap().get_document("record").unwrap().get_document("controlRecord");
    assert!(administrators.unwrap().get_array("administrators").is_ok(), "people can read it");
    assert!(flips(&good).step_by(7).all(|bad| decode_genesis(&bad).is_err()));
}

#[test]
fn a_replacement_comes_back_and_no_flipped_bit_goes_unnoticed() {
    for replacement in [
        Replacement {
            genesis: Some(genesis(1)),
            position: Some(position()),
            restored: None,
            head: version(4),
        },
        Replacement {
            genesis: Some(genesis(1)),
            position: None,
            restored: Some(Restored { version: version(9), entries: 3 }),
            head: version(9),
        },
        Replacement { genesis: None, position: None, restored: None, head: Version::ZERO },
    ] {
        let good = encode_replacement(&replacement).unwrap();
        assert_eq!(decode_replacement(&good).unwrap(), replacement);
        assert!(flips(&good).step_by(3).all(|bad| decode_replacement(&bad).is_err()));
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_documents_are_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        // The length and the end that every document has; what lies between may be anything.
        let length = i32::try_from(bytes.len() + 5).unwrap().to_le_bytes();
        let document = [&length[..], &bytes, &[0]].concat();
        if let Ok(raw) = RawDocumentBuf::from_bytes(document) {
            proptest::prop_assert!(decode_position(&raw).is_none() && decode_restored(&raw).is_none());
            proptest::prop_assert!(decode_genesis(&raw).is_err() && decode_replacement(&raw).is_err());
            proptest::prop_assert!(crate::mongo::entry_codec::decode(&raw).is_err());
        }
    }
}
