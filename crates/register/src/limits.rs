//! The contract's field limits (protocol sections 3 and 6.10). They are part of the protocol, not settings:
//! a node with others could not talk to its peers.

/// Longest `peer_id`, characters.
pub(crate) const PEER_ID_CHARS: usize = 64;
/// Longest node id, characters.
pub const NODE_ID_CHARS: usize = 64;
/// Longest blueprint id, characters.
pub const BLUEPRINT_ID_CHARS: usize = 255;
/// Longest `published_by`, characters.
pub const PUBLISHED_BY_CHARS: usize = 255;
/// Longest peer address, characters.
pub const ADDRESS_CHARS: usize = 255;
/// Longest host name, characters.
pub const HOSTNAME_CHARS: usize = 255;
/// Longest text in a heartbeat acknowledgement, characters.
pub const ACK_MESSAGE_CHARS: usize = 500;
/// Longest session id that a peer takes, characters (ours: the contract names no limit).
pub const SESSION_ID_CHARS: usize = 255;
/// Largest blueprint document, bytes of canonical JSON.
pub const DOCUMENT_BYTES: usize = 16 * 1024 * 1024;
/// Largest body of a publication, bytes: a document of twice the limit, which canonical form may shrink, and its envelope.
pub const BODY_BYTES: usize = 2 * DOCUMENT_BYTES + 64 * 1024;
/// Largest metadata map: bytes of all keys and values together (protocol D28).
pub const METADATA_BYTES: usize = 4096;
/// Largest summary in a push notice, bytes.
pub(crate) const SUMMARY_BYTES: usize = 4096;
/// Largest filters of a push stream, bytes: those of all values, and [`FILTER_VALUE_BYTES`] for each (ours: the contract names no
/// limit).
pub const FILTER_BYTES: usize = 16 * 1024;
/// Bytes that a filter's value counts beside its text.
pub const FILTER_VALUE_BYTES: usize = 32;
/// Longest publication transaction id, characters (ours: the contract names no limit).
pub const TRANSACTION_ID_CHARS: usize = 255;
/// Longest W3C `traceparent`, characters.
pub const TRACE_PARENT_CHARS: usize = 55;
/// Versions that a restore skips, so that no lost publication's number is assigned again: the number of publications after the
/// bundle is unknown. At a hundred a second these are a hundred days; a gap costs nothing.
pub const RESTORE_GAP: u32 = 1_000_000_000;
/// Greatest difference between a heartbeat's timestamp and the receiver's clock, milliseconds (protocol D6).
pub const CLOCK_SKEW_MILLIS: i64 = 60_000;
