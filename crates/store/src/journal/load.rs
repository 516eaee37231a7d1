//! Recovery of a journal at start: the file is read once, piece by piece, and every entry is checked on all cores.

use std::sync::Arc;

use bytes::Bytes;
use sorcha_register::{
    integrity::{Fault, Finding, Record},
    lineage::Genesis,
    names::{Leaf, Version},
    view::RegisterView,
};

use super::{
    super::{Checkpoint, Loaded, StoreError},
    checking::{Checking, Placed},
    file::{Content, HEADER},
    frame::{Chain, Frame, START, parse},
    window::Window,
};

/// The register of a journal, and the end at which it goes on.
pub(super) struct Recovered {
    pub(super) loaded: Loaded,
    pub(super) end: u64,
    pub(super) chain: Chain,
}

/// Verifies everything up to the last whole transaction.
pub(super) fn recover(content: &Content<'_>) -> Result<Recovered, StoreError> {
    let mut window = Window::over(content);
    let (reading, examination) = Checking::run(&window.source(), content.length, |checking| {
        let mut reading = Reading::of(checking);
        reading.read(&mut window, content.durable);
        reading.ended()
    });
    window.failure()?;
    let Read { genesis, checkpoint, mut findings, end, chain } = reading;
    if end < content.durable {
        let why = format!("the journal from byte {end} on, of which {} bytes were on disk", content.durable);
        findings.push(Finding::whole(Fault::Damaged(why)));
    } else if end < content.length {
        let bytes = content.length - end;
        tracing::warn!(bytes, "the end of the journal was not written whole; what it held is fetched again");
    }
    findings.extend(examination.findings);
    let genesis = genesis.and_then(|bytes| match Genesis::verify(bytes) {
        Ok(genesis) => Some(Arc::new(genesis)),
        Err(error) => {
            findings.push(Finding::whole(Fault::Genesis(error.to_string())));
            None
        }
    });
    let head = checkpoint.as_ref().map_or(Version::ZERO, |checkpoint: &Checkpoint| checkpoint.version);
    let view = RegisterView::with_entries(genesis, examination.entries, head);
    Ok(Recovered { loaded: Loaded { view, checkpoint, findings }, end, chain })
}

/// What was read beside the entries.
struct Read {
    genesis: Option<Bytes>,
    checkpoint: Option<Checkpoint>,
    findings: Vec<Finding>,
    /// End of the last whole transaction, and the chain there.
    end: u64,
    chain: Chain,
}

/// The register of the frames read so far.
struct Reading<'c, 's> {
    checking: &'c mut Checking<'s>,
    read: Read,
}

impl<'c, 's> Reading<'c, 's> {
    fn of(checking: &'c mut Checking<'s>) -> Self {
        let read =
            Read { genesis: None, checkpoint: None, findings: Vec::new(), end: HEADER as u64, chain: START };
        Self { checking, read }
    }

    fn ended(self) -> Read {
        self.read
    }

    fn read(&mut self, window: &mut Window<'_>, durable: u64) {
        let (mut at, mut chain) = (HEADER as u64, START);
        let mut whole = 0;
        while let Some(frame) = parse(window.length(), |at, length| window.get(at, length), at, &chain) {
            (at, chain) = (frame.next, frame.chain);
            // A power cut may leave any part of a write without fsync, such as the beginning of a frame without its data.
            if !self.take_entries(&frame, window, at > durable) {
                break;
            }
            if !frame.meta.open {
                (self.read.end, self.read.chain, whole) = (at, chain, self.checking.len());
                self.take_rest(frame);
            }
        }
        self.checking.truncate(whole);
    }

    /// Has the entries of a frame checked: one by one, since all of them may be larger than memory. `now`: returns whether all
    /// are sound.
    fn take_entries(&mut self, frame: &Frame, window: &mut Window<'_>, now: bool) -> bool {
        let (mut at, mut is_sound) = (frame.data, true);
        for meta in &frame.meta.entries {
            let length = usize::try_from(meta.length).ok().filter(|_| meta.length <= frame.next - at);
            let (Ok(version), Some(length)) = (Version::new("version", meta.version), length) else {
                let why = "a frame of the journal does not describe its own entries".to_owned();
                self.read.findings.push(Finding::whole(Fault::Damaged(why)));
                break;
            };
            // The window remembers why it can't read.
            let Some(encoded) = window.get(at, length) else { break };
            let record = Record { version, encoded, leaf: Leaf::from_slice(&meta.leaf) };
            let placed = Placed { record, offset: at };
            if now {
                is_sound &= self.checking.take_now(placed);
            } else {
                self.checking.take(placed);
            }
            at += meta.length;
        }
        is_sound
    }

    fn take_rest(&mut self, frame: Frame) {
        if let Some(genesis) = frame.meta.genesis {
            self.read.genesis = Some(genesis.into());
        }
        match frame.meta.checkpoint.map(|json| serde_json::from_slice(&json)) {
            Some(Ok(checkpoint)) => self.read.checkpoint = Some(checkpoint),
            Some(Err(error)) => {
                let why = format!("the sync checkpoint: {error}");
                self.read.findings.push(Finding::whole(Fault::Damaged(why)));
            }
            None => {}
        }
    }
}
