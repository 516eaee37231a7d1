//! Recovery of a journal at start. Pure: bytes in, a register and its findings out.

use std::sync::Arc;

use bytes::Bytes;
use sorcha_register::{
    integrity::{self, Examination, Fault, Finding, Record},
    lineage::Genesis,
    names::{Leaf, Version},
    view::RegisterView,
};

use super::{
    super::{Checkpoint, Loaded},
    file::{Content, HEADER},
    frame::{Chain, Frame, START, parse},
};

/// The register of a journal, and the end at which it goes on.
pub(super) struct Recovered {
    pub(super) loaded: Loaded,
    pub(super) end: u64,
    pub(super) chain: Chain,
}

/// Verifies everything up to the last whole transaction.
pub(super) fn recover(content: &Content) -> Recovered {
    let mut reading = Reading::new();
    reading.read(&content.bytes, content.durable);
    let Reading { records, genesis, checkpoint, mut findings, end, chain } = reading;
    if end < content.durable {
        let why = format!("the journal from byte {end} on, of which {} bytes were on disk", content.durable);
        findings.push(Finding::whole(Fault::Damaged(why)));
    } else if end < content.bytes.len() {
        let bytes = content.bytes.len() - end;
        tracing::warn!(bytes, "the end of the journal was not written whole; what it held is fetched again");
    }
    let Examination { entries, findings: found } = integrity::examine(&records);
    findings.extend(found);
    let genesis = genesis.and_then(|bytes| match Genesis::verify(bytes) {
        Ok(genesis) => Some(Arc::new(genesis)),
        Err(error) => {
            findings.push(Finding::whole(Fault::Genesis(error.to_string())));
            None
        }
    });
    let head = checkpoint.as_ref().map_or(Version::ZERO, |checkpoint: &Checkpoint| checkpoint.version);
    let view = RegisterView::with_entries(genesis, entries, head);
    Recovered { loaded: Loaded { view, checkpoint, findings }, end: end as u64, chain }
}

/// The register of the frames read so far.
struct Reading {
    records: Vec<Record>,
    genesis: Option<Bytes>,
    checkpoint: Option<Checkpoint>,
    findings: Vec<Finding>,
    /// End of the last whole transaction, and the chain there.
    end: usize,
    chain: Chain,
}

impl Reading {
    const fn new() -> Self {
        Self {
            records: Vec::new(),
            genesis: None,
            checkpoint: None,
            findings: Vec::new(),
            end: HEADER,
            chain: START,
        }
    }

    fn read(&mut self, bytes: &Bytes, durable: usize) {
        let (mut at, mut chain) = (HEADER, START);
        let mut whole = 0;
        while let Some(frame) = parse(bytes, at, &chain) {
            (at, chain) = (frame.next, frame.chain);
            let known = self.records.len();
            self.take_entries(&frame, bytes);
            // A power cut may leave any part of a write without fsync, such as the beginning of a frame without its data.
            if at > durable && !integrity::examine(&self.records[known..]).findings.is_empty() {
                break;
            }
            if !frame.meta.open {
                (self.end, self.chain, whole) = (at, chain, self.records.len());
                self.take_rest(frame);
            }
        }
        self.records.truncate(whole);
    }

    fn take_entries(&mut self, frame: &Frame, bytes: &Bytes) {
        // A reference count for each frame: threads that check entries would contend for a common one.
        let mut data = Bytes::from_owner(bytes.slice(frame.data..frame.next));
        for meta in &frame.meta.entries {
            let length = usize::try_from(meta.length).ok().filter(|length| *length <= data.len());
            let (Ok(version), Some(length)) = (Version::new("version", meta.version), length) else {
                let why = "a frame of the journal does not describe its own entries".to_owned();
                return self.findings.push(Finding::whole(Fault::Damaged(why)));
            };
            let (encoded, leaf) = (data.split_to(length), Leaf::from_slice(&meta.leaf));
            self.records.push(Record { version, encoded, leaf });
        }
    }

    fn take_rest(&mut self, frame: Frame) {
        if let Some(genesis) = frame.meta.genesis {
            self.genesis = Some(genesis.into());
        }
        match frame.meta.checkpoint.map(|json| serde_json::from_slice(&json)) {
            Some(Ok(checkpoint)) => self.checkpoint = Some(checkpoint),
            Some(Err(error)) => {
                self.findings.push(Finding::whole(Fault::Damaged(format!("the sync checkpoint: {error}"))));
            }
            None => {}
        }
    }
}
