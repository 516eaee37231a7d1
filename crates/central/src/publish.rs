//! Publications: validated, stored durably, then handed to the log at once (ADR 5, 28 and 29).

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use sorcha_register::{
    canonical::{Document, InvalidDocument},
    names::{BlueprintId, InvalidField, check_visible},
};
use sorcha_runtime::{parsing::off_the_runtime, spans, traces};
use sorcha_store::{Draft, Publication, StateChange, StoreError};
use tracing::{Instrument as _, Span};

use super::CentralNode;

/// How long a publisher's answer waits for the entry to be in the local log too.
const LOCAL_LOG_WAIT: Duration = Duration::from_secs(2);

/// A publication as a publisher asks for it.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Key of the new entry.
    pub blueprint_id: String,
    /// The document, any JSON form.
    pub document: Bytes,
    /// Who publishes.
    pub published_by: String,
    /// Extra pairs.
    pub metadata: BTreeMap<String, String>,
}

/// Why a publication is refused.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A field breaks its limit.
    #[error(transparent)]
    Field(#[from] InvalidField),
    /// The document is not acceptable.
    #[error(transparent)]
    Document(#[from] InvalidDocument),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CentralNode {
    /// Publishes a blueprint. The answer means durable: fsynced, or acknowledged by a majority.
    ///
    /// # Errors
    /// [`PublishError`]; nothing is stored then, but for [`StoreError::Unavailable`], which leaves it open.
    pub async fn publish(&self, submission: Submission) -> Result<Publication, PublishError> {
        let span = spans::publish(&submission.blueprint_id, &submission.published_by);
        self.traced(span, self.publish_in_span(submission)).await
    }

    async fn publish_in_span(&self, submission: Submission) -> Result<Publication, PublishError> {
        let text = submission.document;
        let document = off_the_runtime(text.len(), move || Document::canonicalize(&text)).await;
        let prepared = document.map_err(PublishError::from).and_then(|document| {
            let draft = Draft {
                blueprint_id: BlueprintId::new(&submission.blueprint_id)?,
                document,
                published_at: self.env.clock.now(),
                published_by: submission.published_by,
                transaction_id: self.transaction_id(),
                metadata: submission.metadata,
                trace_parent: traces::current_trace_parent(),
            };
            draft.validate()?;
            check_visible("published_by", &draft.published_by)?;
            draft.metadata.keys().try_for_each(|key| check_visible("metadata", key))?;
            self.is_uncontradicted().map(|()| draft)
        });
        let result = match prepared {
            Ok(draft) => self.log.store().publish(draft).await.map_err(PublishError::from),
            Err(error) => Err(error),
        };
        self.published("publish", &submission.blueprint_id, result).await
    }

    /// Deprecates or reactivates a blueprint, at a new version.
    ///
    /// # Errors
    /// [`PublishError`] as for [`CentralNode::publish`].
    pub async fn set_active(&self, blueprint_id: &str, is_active: bool) -> Result<Publication, PublishError> {
        let span = spans::set_active(blueprint_id, is_active);
        self.traced(span, self.set_active_in_span(blueprint_id, is_active)).await
    }

    async fn set_active_in_span(
        &self,
        blueprint_id: &str,
        is_active: bool,
    ) -> Result<Publication, PublishError> {
        let change = BlueprintId::new(blueprint_id).map(|blueprint_id| StateChange {
            blueprint_id,
            is_active,
            transaction_id: self.transaction_id(),
            trace_parent: traces::current_trace_parent(),
        });
        let change = change.map_err(PublishError::from);
        let result = match change.and_then(|change| self.is_uncontradicted().map(|()| change)) {
            Ok(change) => self.log.store().set_active(change).await.map_err(PublishError::from),
            Err(error) => Err(error),
        };
        self.published(if is_active { "reactivate" } else { "deprecate" }, blueprint_id, result).await
    }

    /// What follows entries that are not served could not be served either.
    fn is_uncontradicted(&self) -> Result<(), PublishError> {
        match self.log.refused() {
            Some(contradiction) => Err(StoreError::Damaged(contradiction.to_string()).into()),
            None => Ok(()),
        }
    }

    /// Runs the work in its span, whose context the entry takes along to the peers.
    async fn traced(
        &self,
        span: Span,
        work: impl Future<Output = Result<Publication, PublishError>>,
    ) -> Result<Publication, PublishError> {
        let started = self.env.clock.monotonic();
        let result = work.instrument(span.clone()).await;
        if let Ok(publication) = &result {
            span.record("version", publication.entry.entry().version.get());
        }
        spans::finish(&span, self.env.clock.monotonic().since(started), &result);
        result
    }

    fn transaction_id(&self) -> String {
        uuid::Builder::from_unix_timestamp_millis(
            self.env.clock.now().as_millis().unsigned_abs(),
            &random_tail(self.env.random.bits()),
        )
        .into_uuid()
        .to_string()
    }

    async fn published(
        &self,
        action: &'static str,
        blueprint_id: &str,
        result: Result<Publication, PublishError>,
    ) -> Result<Publication, PublishError> {
        match &result {
            Ok(publication) => {
                self.log.note_reachable(Ok(()));
                let entry = publication.entry.entry();
                let outcome = if publication.changed { "stored" } else { "unchanged" };
                self.env.metrics.publication(outcome);
                tracing::info!(
                    action,
                    outcome,
                    blueprint_id,
                    version = entry.version.get(),
                    published_by = entry.published_by(),
                    transaction_id = entry.transaction_id(),
                    "publication"
                );
                self.log.wake();
                // The entry is durable; a slow tail only delays its push.
                drop(tokio::time::timeout(LOCAL_LOG_WAIT, self.log.wait_for(entry.version)).await);
            }
            Err(error) => {
                if let PublishError::Store(store) = error {
                    self.log.note_reachable(Err(store));
                }
                self.env.metrics.publication("refused");
                tracing::warn!(action, blueprint_id, %error, "publication refused");
            }
        }
        result
    }
}

fn random_tail(bits: u128) -> [u8; 10] {
    let mut tail = [0; 10];
    tail.copy_from_slice(&bits.to_be_bytes()[..10]);
    tail
}
