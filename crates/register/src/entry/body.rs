//! Where the bytes of a sealed entry are: in memory, in a store's file, or both.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use super::{Encoded, Source};

/// The encoding, at one of both places at least.
#[derive(Debug)]
pub(super) struct Body(Mutex<Places>);

#[derive(Debug)]
struct Places {
    recent: Option<Arc<Recent>>,
    stored: Option<Stored>,
}

/// An encoding in memory.
#[derive(Debug)]
pub(super) struct Recent {
    encoded: Bytes,
    /// The preview of the document; computed on demand.
    pub(super) preview: OnceLock<Bytes>,
}

#[derive(Debug)]
struct Stored {
    source: Arc<dyn Source>,
    offset: u64,
}

impl Body {
    pub(super) fn of(encoded: Bytes) -> Self {
        let recent = Some(Arc::new(Recent { encoded, preview: OnceLock::new() }));
        Self(Mutex::new(Places { recent, stored: None }))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stored_at(&self, source: Arc<dyn Source>, offset: u64) {
        self.places().stored = Some(Stored { source, offset });
    }

    /// Forgets what is in memory, if it is stored.
    pub(super) fn evict(&self) {
        let mut places = self.places();
        if places.stored.is_some() {
            places.recent = None;
        }
    }

    pub(super) fn is_stored(&self) -> bool {
        self.places().stored.is_some()
    }

    /// What is in memory.
    pub(super) fn recent(&self) -> Option<Arc<Recent>> {
        self.places().recent.clone()
    }

    /// The encoding, which has this length.
    pub(super) fn encoded(&self, length: usize) -> Encoded {
        let places = self.places();
        match (&places.recent, &places.stored) {
            (Some(recent), _) => Encoded::Held(recent.encoded.clone()),
            (None, Some(Stored { source, offset })) => {
                Encoded::Stored { source: Arc::clone(source), range: *offset..offset + length as u64 }
            }
            (None, None) => Encoded::Held(Bytes::new()),
        }
    }
}
