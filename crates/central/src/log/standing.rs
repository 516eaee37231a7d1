//! Health of the store: whether it answers, holds the register, and continues the view. Each change is logged once.

use sorcha_register::{names::Version, succession::Contradiction};
use sorcha_store::{Exchange, StoreError};

use super::RegisterLog;

impl RegisterLog {
    /// Notes the outcome of a read or write.
    pub fn note_reachable(&self, result: Result<(), &StoreError>) {
        self.note_exchange(result);
        let outage = match result {
            Err(StoreError::Unavailable(why)) => Some(why.clone()),
            _ => None,
        };
        let noted = |known: &mut Option<String>| {
            let changed = known.is_some() != outage.is_some();
            *known = outage;
            changed
        };
        if self.outage.send_if_modified(noted) {
            match result {
                Err(error @ StoreError::Unavailable(_)) => {
                    tracing::error!(%error, "store not reachable; serving peers from the local log")
                }
                _ => tracing::info!("store reachable again"),
            }
        }
    }

    fn note_exchange(&self, result: Result<(), &StoreError>) {
        let found = match result {
            Ok(()) => None,
            Err(StoreError::Exchanged(exchange)) => Some(exchange.clone()),
            // Other errors say nothing about the register.
            Err(_) => return,
        };
        let noted = |known: &mut Option<Exchange>| std::mem::replace(known, found.clone()) != found;
        if !self.exchange.send_if_modified(noted) {
            return;
        }
        match found {
            Some(exchange) => {
                let (reason, lineage) =
                    (exchange.reason(), self.view().lineage().map(tracing::field::display));
                tracing::error!(reason, lineage, %exchange, "the register's database was exchanged; serving peers from the local log");
            }
            None => tracing::info!("the database holds the register again"),
        }
    }

    /// Notes whether the newest entries of the store may follow the view.
    pub(super) fn note_refused(&self, found: Option<Contradiction>) {
        let noted = |known: &mut Option<Contradiction>| {
            let changed = *known != found;
            known.clone_from(&found);
            changed
        };
        if !self.refused.send_if_modified(noted) {
            return;
        }
        let Some(contradiction) = found else {
            return tracing::info!("the store continues what this node serves again");
        };
        tracing::error!(
            reason = contradiction.label(),
            version = contradiction.version().map(Version::get),
            blueprint_id = contradiction.blueprint_id().map(tracing::field::display),
            "integrity fault: the store contradicts what this node serves; the node does not serve that: {contradiction}"
        );
        if let Some(metrics) = self.metrics.get() {
            metrics.register_refused(contradiction.label());
        }
    }
}
