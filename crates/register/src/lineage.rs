//! Genesis and lineage: the signed first record of a register, and its hash, which identifies the register's history (ADR 26,
//! protocol section 6.8, U14).

use std::fmt;

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sorcha_proto::REGISTER_ID;

use super::names::Lineage;
use crate::clock::Timestamp;

/// What an administrator of the register may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Permission {
    /// Add an administrator.
    Add,
    /// Remove an administrator.
    Remove,
    /// Change the control record.
    ModifyControl,
    /// Record transactions in the register.
    Record,
}

/// One administrator in a control record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Administrator {
    /// `system` for the central node that created the register.
    pub identity: String,
    /// Hex Ed25519 public key.
    pub public_key: String,
    /// Permissions.
    pub permissions: Vec<Permission>,
    /// Start, Unix milliseconds.
    pub granted_at: Timestamp,
}

/// The administrators of the register; the genesis holds version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlRecord {
    /// Counts changes of the control record, from 1.
    pub version: u32,
    /// At least one, always.
    pub administrators: Vec<Administrator>,
}

/// A step in the register's own creation workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkflowStep {
    /// What happened.
    pub action: String,
    /// When, Unix milliseconds.
    pub at: Timestamp,
    /// The actor.
    pub by: String,
}

/// The content of the first, immutable record of a register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GenesisRecord {
    /// Always the reserved register id.
    pub register_id: String,
    /// Human name of the register.
    pub name: String,
    /// Why it exists.
    pub purpose: String,
    /// Creation instant, Unix milliseconds.
    pub created_at: Timestamp,
    /// Node id of the creator.
    pub created_by: String,
    /// The initial control record.
    pub control_record: ControlRecord,
    /// Its creation, step by step.
    pub workflow_history: Vec<WorkflowStep>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedRecord {
    record: GenesisRecord,
    /// Hex Ed25519 signature over the canonical JSON of `record` by the first administrator.
    signature: String,
}

/// Why bytes are not the genesis of a register.
#[derive(Debug, thiserror::Error)]
pub enum InvalidGenesis {
    /// Not the JSON of a signed genesis record.
    #[error("the genesis record is not readable: {0}")]
    Syntax(#[source] serde_json::Error),
    /// Readable, but not the canonical bytes that were signed.
    #[error("the genesis record is not in canonical form")]
    NotCanonical,
    /// It describes another register.
    #[error("the genesis record names register {0:?}; expected {REGISTER_ID}")]
    Register(String),
    /// The control record has no administrator, or an invalid key.
    #[error("the control record {0}")]
    Control(&'static str),
    /// The signature is not the first administrator's over this record.
    #[error("the genesis record's Ed25519 signature does not verify")]
    Signature,
}

/// A verified genesis: the record, its exact signed bytes, and the lineage that they hash to.
#[derive(Clone, PartialEq, Eq)]
pub struct Genesis {
    record: GenesisRecord,
    bytes: Bytes,
    lineage: Lineage,
}

impl fmt::Debug for Genesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Genesis({} by {})", self.lineage.short(), self.record.created_by)
    }
}

impl Genesis {
    /// Makes and signs the genesis of a new register, with the system as its administrator.
    ///
    /// # Errors
    /// [`InvalidGenesis::Syntax`] if the record can't be written as JSON (it can).
    pub fn create(creator: &str, key: &SigningKey, now: Timestamp) -> Result<Self, InvalidGenesis> {
        let record = GenesisRecord {
            register_id: REGISTER_ID.to_owned(),
            name: "Sorcha System Register".to_owned(),
            purpose: "Holds the published blueprints of the network".to_owned(),
            created_at: now,
            created_by: creator.to_owned(),
            control_record: ControlRecord {
                version: 1,
                administrators: vec![Administrator {
                    identity: "system".to_owned(),
                    public_key: hex::encode(key.verifying_key().as_bytes()),
                    permissions: vec![
                        Permission::Add,
                        Permission::Remove,
                        Permission::ModifyControl,
                        Permission::Record,
                    ],
                    granted_at: now,
                }],
            },
            workflow_history: vec![WorkflowStep {
                action: "create-register".to_owned(),
                at: now,
                by: creator.to_owned(),
            }],
        };
        let signature = hex::encode(key.sign(&canonical(&record)?).to_bytes());
        let bytes = canonical(&SignedRecord { record, signature })?;
        Self::verify(bytes.into())
    }

    /// Reads and verifies genesis bytes from a store, a peer or a bundle.
    ///
    /// # Errors
    /// [`InvalidGenesis`] when any byte differs from what was signed.
    pub fn verify(bytes: Bytes) -> Result<Self, InvalidGenesis> {
        let signed: SignedRecord = serde_json::from_slice(&bytes).map_err(InvalidGenesis::Syntax)?;
        if canonical(&signed)? != bytes {
            return Err(InvalidGenesis::NotCanonical);
        }
        let record = signed.record;
        if record.register_id != REGISTER_ID {
            return Err(InvalidGenesis::Register(record.register_id));
        }
        let first = record
            .control_record
            .administrators
            .first()
            .ok_or(InvalidGenesis::Control("names no administrator"))?;
        let key =
            public_key(&first.public_key).ok_or(InvalidGenesis::Control("holds an invalid public key"))?;
        let signature = signature(&signed.signature).ok_or(InvalidGenesis::Signature)?;
        key.verify_strict(&canonical(&record)?, &signature).map_err(|_| InvalidGenesis::Signature)?;
        let lineage = Lineage::from_bytes(Sha256::digest(&bytes).into());
        Ok(Self { record, bytes, lineage })
    }

    /// What was signed.
    #[must_use]
    pub const fn record(&self) -> &GenesisRecord {
        &self.record
    }

    /// The exact bytes: canonical JSON of record and signature.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether this is the key that signed it.
    #[must_use]
    pub fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        self.key().is_some_and(|own| own == *key)
    }

    /// Whether the key that signed it also made this signature.
    #[must_use]
    pub(crate) fn has_signed(&self, message: &[u8], signature: &Signature) -> bool {
        self.key().is_some_and(|key| key.verify_strict(message, signature).is_ok())
    }

    fn key(&self) -> Option<VerifyingKey> {
        public_key(&self.record.control_record.administrators.first()?.public_key)
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub const fn lineage(&self) -> Lineage {
        self.lineage
    }
}

fn canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, InvalidGenesis> {
    serde_json_canonicalizer::to_vec(value).map_err(InvalidGenesis::Syntax)
}

fn public_key(hex_digits: &str) -> Option<VerifyingKey> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(hex_digits, &mut bytes).ok()?;
    VerifyingKey::from_bytes(&bytes).ok()
}

/// Lower-case digits only: one signature must not have two spellings, which would be two lineages.
fn signature(hex_digits: &str) -> Option<Signature> {
    let mut bytes = [0; 64];
    hex::decode_to_slice(hex_digits, &mut bytes).ok()?;
    (hex::encode(bytes) == hex_digits).then(|| Signature::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::genesis;

    #[test]
    fn another_key_is_another_lineage() {
        assert_ne!(genesis(1).lineage(), genesis(2).lineage());
        assert_eq!(genesis(1), Genesis::verify(genesis(1).bytes().clone()).unwrap());
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let good = genesis(1);
        for bit in 0..good.bytes().len() * 8 {
            let mut bytes = good.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Genesis::verify(bytes.into()).is_err(), "bit {bit} flipped unnoticed");
        }
    }

    #[test]
    fn white_space_is_refused() {
        let mut bytes = genesis(1).bytes().to_vec();
        bytes.push(b' ');
        assert!(matches!(Genesis::verify(bytes.into()), Err(InvalidGenesis::NotCanonical)));
    }
}
