//! A push stream with a lie in it: what the node behind pushes goes on, and what contradicts the peer's replica comes once.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, stream};
use sorcha_proto::EncodedEntry;
use tokio::sync::watch;
use tonic::{Status, Streaming};

use super::{Liar, Telling, Told};

struct Pushed {
    liar: Liar,
    peer: u8,
    real: Streaming<EncodedEntry>,
    tellings: watch::Receiver<Told>,
    /// The last one that was told on this stream.
    told: Told,
    has_ended: bool,
}

/// The stream, and the lies that are told while it is open.
pub(super) fn with_lies(
    liar: Liar,
    peer: u8,
    real: Streaming<EncodedEntry>,
) -> Pin<Box<dyn Stream<Item = Result<EncodedEntry, Status>> + Send>> {
    let Some(tellings) = liar.tellings() else { return Box::pin(real) };
    let pushed = Pushed { liar, peer, real, tellings, told: None, has_ended: false };
    Box::pin(stream::unfold(pushed, |mut pushed| async {
        let next = pushed.next().await?;
        Some((next, pushed))
    }))
}

impl Pushed {
    async fn next(&mut self) -> Option<Result<EncodedEntry, Status>> {
        loop {
            if self.has_ended {
                return None;
            }
            if let Some(lie) = self.lie() {
                return Some(Ok(lie));
            }
            tokio::select! {
                biased;
                Ok(()) = self.tellings.changed() => {}
                real = self.real.message() => {
                    self.has_ended = !matches!(real, Ok(Some(_)));
                    return real.transpose();
                }
            }
        }
    }

    /// What is told now, if it was not on this stream.
    fn lie(&mut self) -> Option<EncodedEntry> {
        let telling = self.tellings.borrow_and_update().clone()?;
        let is_told = |told: &Arc<Telling>| Arc::ptr_eq(told, &telling);
        if !telling.tale.pushed || self.told.as_ref().is_some_and(is_told) {
            return None;
        }
        let entry = self.liar.forge(self.peer)?.pushed?;
        self.told = Some(telling);
        self.liar.record(self.peer, "push", true);
        Some(EncodedEntry(entry.checked().unwrap()))
    }
}
