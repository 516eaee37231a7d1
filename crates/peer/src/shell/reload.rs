//! Files that may change while the peer runs, such as those of a mounted ConfigMap: the central nodes, and the token
//! that asks for a full sync.

use std::{collections::BTreeMap, path::Path};

use sorcha_config::{CentralNodeAddress, read_central_nodes};

use super::{Shell, ids, ordered};
use crate::{machine::event::Event, resync::read_token, session::Request, status::StatusEvent};

impl Shell {
    pub(super) fn has_files(&self) -> bool {
        self.central_nodes.file.is_some() || self.resync_file.is_some()
    }

    pub(super) fn look_at_files(&mut self) {
        self.reload_central_nodes();
        self.look_for_resync();
    }

    /// Asks for a full sync when the file holds a token that was not done yet. The replication task of this session or
    /// of a later one does it, and tries again until it succeeds.
    fn look_for_resync(&mut self) {
        let Some(watch) = &mut self.resync_file else { return };
        if !watch.has_changed() {
            return;
        }
        let token = match read_token(watch.path()) {
            Ok(token) => token,
            Err(error) => {
                let file = watch.path().display();
                return tracing::error!(%file, error, "sync.force_resync_file not read; nothing changes");
            }
        };
        if self.node.resync.want(token.clone()) {
            tracing::info!(token, "full sync asked for by sync.force_resync_file");
            self.request(Request::Resync);
        }
    }

    /// Reads the file of central nodes if it has changed. One that is not there (yet) or is bad changes nothing; that
    /// is logged once and stands in the status.
    fn reload_central_nodes(&mut self) {
        let Some(watch) = &mut self.central_nodes.file else { return };
        if !watch.has_changed() {
            return;
        }
        let (file, is_missing) = (watch.path().to_owned(), watch.is_missing());
        let known = self.central_nodes.addresses.len();
        let read = if is_missing {
            let fault = format!("{} does not exist", file.display());
            if known == 0 {
                tracing::info!(file = %file.display(), "waiting for the file of central nodes");
            } else {
                tracing::warn!(file = %file.display(), known, "the file of central nodes is gone; keeping the ones known");
            }
            Err(fault)
        } else {
            let read = read_central_nodes(&file).and_then(|addresses| {
                addresses.iter().try_for_each(|address| self.node.config.tls.check_ca_of(address))?;
                Ok(addresses)
            });
            read.map_err(|error| {
                tracing::error!(%error, known, "central nodes not read; keeping the ones known");
                error.to_string()
            })
        };
        let fault = match &read {
            Ok(addresses) if addresses.is_empty() => Some(format!("{} lists none", file.display())),
            Ok(_) => None,
            Err(fault) => Some(fault.clone()),
        };
        self.node.note(StatusEvent::ListRead(fault));
        if let Ok(addresses) = read {
            self.relist(&ordered(addresses), &file);
        }
    }

    fn relist(&mut self, addresses: &[CentralNodeAddress], file: &Path) {
        if addresses.is_empty() {
            tracing::warn!(file = %file.display(), "the file lists no central nodes; waiting until it does");
        }
        let known: BTreeMap<_, _> = addresses.iter().map(|a| (a.id().to_owned(), a.clone())).collect();
        if known == self.central_nodes.addresses {
            return;
        }
        tracing::info!(central_nodes = addresses.len(), file = %file.display(), "central nodes changed");
        self.central_nodes.addresses = known;
        self.node.note(StatusEvent::Listed(addresses.to_vec()));
        self.handle(Event::CentralNodesChanged(ids(addresses)));
    }
}
