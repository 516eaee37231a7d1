//! Frames of a journal, each bound to all before it by a hash chain. Pure: bytes in, bytes out.
//!
//! ```text
//! frame = length of meta (u32, little endian) | length of data (u64) | SHA-256 | meta (protobuf) | data
//! ```
//! The hash covers the hash before it, both lengths and the meta. The data are encoded entries; the leaf in the meta covers
//! each, so that no byte is hashed twice. A frame may leave its transaction open: then it counts only once a later frame ends
//! the transaction.

use bytes::Bytes;
use prost::Message;
use sha2::{Digest as _, Sha256};
use sorcha_register::entry::SealedEntry;

use super::super::{Checkpoint, StoreError};

/// Hash over all frames up to one.
pub(super) type Chain = [u8; 32];
/// The chain before the first frame.
pub(super) const START: Chain = [0; 32];

const PREFIX: usize = 4 + 8 + 32;
/// Largest meta, bytes: a frame has at most a few thousand entries.
const MAX_META: usize = 64 * 1024 * 1024;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Meta {
    /// The genesis record, if it is new.
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(super) genesis: Option<Vec<u8>>,
    /// The checkpoint as JSON, if it is new.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) checkpoint: Option<Vec<u8>>,
    /// The entries of the data, in their order.
    #[prost(message, repeated, tag = "3")]
    pub(super) entries: Vec<EntryMeta>,
    /// The transaction goes on in the next frame.
    #[prost(bool, tag = "4")]
    pub(super) open: bool,
}

/// An entry of the data.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EntryMeta {
    #[prost(int64, tag = "1")]
    pub(super) version: i64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) leaf: Bytes,
    #[prost(uint64, tag = "3")]
    pub(super) length: u64,
}

impl EntryMeta {
    pub(super) fn of(sealed: &SealedEntry) -> Self {
        Self {
            version: sealed.entry().version.get(),
            leaf: Bytes::copy_from_slice(sealed.leaf().as_bytes()),
            length: sealed.length() as u64,
        }
    }
}

pub(super) fn encode_checkpoint(checkpoint: &Checkpoint) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(checkpoint).map_err(|error| StoreError::Internal(error.to_string()))
}

fn hash(before: &Chain, lengths: &[u8], meta: &[u8]) -> Chain {
    let mut hasher = Sha256::new();
    hasher.update(before);
    hasher.update(lengths);
    hasher.update(meta);
    hasher.finalize().into()
}

/// A frame up to its data, and the chain after it.
pub(super) fn encode(before: &Chain, meta: &Meta) -> (Vec<u8>, Chain) {
    let data: u64 = meta.entries.iter().map(|entry| entry.length).sum();
    let body = meta.encode_to_vec();
    let mut bytes = Vec::with_capacity(PREFIX + body.len());
    bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&data.to_le_bytes());
    let chain = hash(before, &bytes, &body);
    bytes.extend_from_slice(&chain);
    bytes.extend_from_slice(&body);
    (bytes, chain)
}

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) meta: Meta,
    /// Offset of its data.
    pub(super) data: u64,
    /// Offset of the next frame.
    pub(super) next: u64,
    pub(super) chain: Chain,
}

/// Reads the frame at an offset of a file of this length; `None` where there is no whole frame that continues the chain.
/// `read` gives bytes at an offset, if they are there.
pub(super) fn parse(
    length: u64,
    mut read: impl FnMut(u64, usize) -> Option<Bytes>,
    at: u64,
    before: &Chain,
) -> Option<Frame> {
    let prefix = read(at, PREFIX)?;
    let (lengths, stated) = prefix.split_at_checked(PREFIX - 32)?;
    let (meta, data) = lengths.split_at_checked(4)?;
    let meta = u32::from_le_bytes(meta.try_into().ok()?) as usize;
    let data = u64::from_le_bytes(data.try_into().ok()?);
    let body = read(at + PREFIX as u64, Some(meta).filter(|meta| *meta <= MAX_META)?)?;
    let chain = hash(before, lengths, &body);
    if chain.as_slice() != stated {
        return None;
    }
    let start = at + (PREFIX + meta) as u64;
    let next = start.checked_add(data).filter(|next| *next <= length)?;
    Some(Frame { meta: Meta::decode(body).ok()?, data: start, next, chain })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sorcha_register::testing::entry;

    fn parse(bytes: &[u8], at: u64, before: &Chain) -> Option<Frame> {
        let read = |at: u64, length: usize| {
            let at = usize::try_from(at).unwrap();
            bytes.get(at..at.checked_add(length)?).map(Bytes::copy_from_slice)
        };
        super::parse(bytes.len() as u64, read, at, before)
    }

    fn two_frames() -> (Vec<u8>, usize) {
        let entries = [entry("a", 1).seal(), entry("b", 2).seal()];
        let entry_metas = entries.iter().map(|e| EntryMeta::of(e)).collect();
        let meta = Meta { entries: entry_metas, open: true, ..Meta::default() };
        let (mut bytes, chain) = encode(&START, &meta);
        entries.iter().for_each(|sealed| bytes.extend_from_slice(&sealed.checked().unwrap()));
        let second = bytes.len();
        bytes.extend(encode(&chain, &Meta { checkpoint: Some(vec![7]), ..Meta::default() }).0);
        (bytes, second)
    }

    #[test]
    fn frames_come_back_in_order_and_no_other_way() {
        let (bytes, second) = two_frames();
        let first = parse(&bytes, 0, &START).unwrap();
        assert_eq!((first.meta.entries.len(), first.meta.open, first.next), (2, true, second as u64));
        let last = parse(&bytes, second as u64, &first.chain).unwrap();
        assert_eq!(last.next, bytes.len() as u64);
        assert_eq!((last.meta.checkpoint, last.meta.open), (Some(vec![7]), false));
        assert!(
            parse(&bytes, second as u64, &START).is_none(),
            "a frame does not follow another one than its own"
        );
        assert!(parse(&bytes, bytes.len() as u64, &last.chain).is_none());
    }

    #[test]
    fn a_frame_that_is_cut_off_or_changed_is_none() {
        let (bytes, second) = two_frames();
        for end in 0..second {
            assert!(parse(&bytes[..end], 0, &START).is_none(), "cut at {end}");
        }
        let data = usize::try_from(parse(&bytes, 0, &START).unwrap().data).unwrap();
        for bit in 0..data * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&bad, 0, &START).is_none(), "bit {bit} flipped unnoticed");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), at in 0u64..400) {
            drop(parse(&bytes, at, &START));
        }
    }
}
