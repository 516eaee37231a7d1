//! Replaces the present register by one that was written beside it.

use mongodb::bson::doc;

use super::{
    database::{Database, Entries},
    errors::{Failure, Outcome},
};

impl Database {
    /// Replaces the present register by the incoming one: in one step, or on servers without that in idempotent steps that lose
    /// nothing. Without an incoming register it was done before.
    pub(super) async fn swap_in(&self) -> Outcome<()> {
        match self.rename(&self.incoming, &self.entries, true).await {
            Ok(()) => Ok(()),
            Err(Failure::Retry(error)) => Err(Failure::Retry(error)),
            // Servers report a missing collection with different codes: check the state.
            Err(other) => {
                if self.has(&self.incoming).await? {
                    self.swap_in_steps(other).await
                } else {
                    self.bounded(self.replaced.drop()).await
                }
            }
        }
    }

    async fn swap_in_steps(&self, refused: Failure) -> Outcome<()> {
        let is_moved = self.has(&self.replaced).await?;
        if self.has(&self.entries).await? {
            if is_moved {
                // Left by an earlier replacement that was interrupted.
                self.bounded(self.replaced.drop()).await?;
            }
            if let Err(failure) = self.rename(&self.entries, &self.replaced, false).await {
                return Err(if matches!(failure, Failure::Retry(_)) { failure } else { refused });
            }
        }
        if let Err(failure) = self.rename(&self.incoming, &self.entries, false).await {
            if !matches!(failure, Failure::Retry(_)) {
                self.rename(&self.replaced, &self.entries, false).await?;
            }
            return Err(failure);
        }
        self.bounded(self.replaced.drop()).await
    }

    async fn rename(&self, from: &Entries, to: &Entries, drop_target: bool) -> Outcome<()> {
        let mut command = doc! {
            "renameCollection": from.namespace().to_string(),
            "to": to.namespace().to_string(),
        };
        if drop_target {
            command.insert("dropTarget", true);
        }
        command.insert("writeConcern", doc! { "w": "majority", "j": true });
        self.bounded(self.client.database("admin").run_command(command)).await.map(|_| ())
    }

    async fn has(&self, collection: &Entries) -> Outcome<bool> {
        let database = self.client.database(&collection.namespace().db);
        let names =
            self.bounded(database.list_collection_names().filter(doc! { "name": collection.name() })).await?;
        Ok(names.iter().any(|name| name == collection.name()))
    }
}
