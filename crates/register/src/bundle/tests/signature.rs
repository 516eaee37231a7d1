//! The signature at a bundle's end.

use ed25519_dalek::{Signer as _, SigningKey};

use super::*;

fn signed(key: &SigningKey) -> Vec<u8> {
    let (view, mut bytes) = (view(), Vec::new());
    let header = Header::of(&view, Scope::Whole, "n0.sorcha.dev", NOW).unwrap();
    let mut writer = Writer::new(&mut bytes, &header, Some(key)).unwrap();
    view.iter().for_each(|sealed| writer.entry(sealed).unwrap());
    writer.finish().unwrap();
    bytes
}

#[test]
fn only_the_genesis_key_signs() {
    let (creator, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
    let bytes = signed(&creator);
    assert!(read(&bytes[..]).unwrap().is_signed);
    assert!(!read(&signed(&other)[..]).unwrap().is_signed, "another key's signature would prove nothing");
    assert_eq!(signed(&other), bundle(Scope::Whole), "and is left out");

    // A change that keeps the hash right, a signature by another key, and one that is cut off.
    let mut changed = bytes.clone();
    let end = bytes.len() - 64;
    changed[end - 40] ^= 1;
    assert!(read(&changed[..]).is_err());
    let mut forged = bytes[..end].to_vec();
    forged.extend_from_slice(&other.sign(&signed_bytes(&bytes[end - 32..end])).to_bytes());
    assert!(matches!(refusal(&forged), (offset, Problem::Signature) if offset == end as u64));
    assert!(matches!(refusal(&bytes[..bytes.len() - 1]).1, Problem::CutOff("the signature at the end")));
    // An unsigned bundle that claims to be signed, and the other way round.
    let mut claims = bundle(Scope::Whole);
    claims[19] = 2;
    rehash(&mut claims);
    assert!(matches!(refusal(&claims).1, Problem::CutOff("the signature at the end")));
    let mut denies = bytes[..end].to_vec();
    denies[19] = 1;
    rehash(&mut denies);
    assert!(!read(&denies[..]).unwrap().is_signed);
}
