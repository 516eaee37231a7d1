//! Central nodes from a file that may change while the peer runs, such as a mounted ConfigMap.

use std::collections::BTreeMap;

use super::{Shell, ids, ordered};
use crate::{
    config::{CentralNodeAddress, read_central_nodes},
    peer::{machine::event::Event, status::CentralNodeInfo},
};

impl Shell {
    /// Reads the file of central nodes again if it has changed; a bad file changes nothing and is logged.
    pub(super) fn reload_central_nodes(&mut self) {
        let Some(file) = self.central_nodes.file.clone() else { return };
        let modified = std::fs::metadata(&file).and_then(|metadata| metadata.modified()).ok();
        if modified.is_some() && modified == self.central_nodes.modified {
            return;
        }
        self.central_nodes.modified = modified;
        let addresses = match read_central_nodes(&file) {
            Ok(addresses) => ordered(addresses),
            Err(error) => return tracing::error!(%error, "central nodes not read; keeping the ones known"),
        };
        let known: BTreeMap<_, _> = addresses.iter().map(|a| (a.id().to_owned(), a.clone())).collect();
        if known == self.central_nodes.addresses {
            return;
        }
        tracing::info!(central_nodes = addresses.len(), file = %file.display(), "central nodes changed");
        self.central_nodes.addresses = known;
        self.node.status.send_modify(|status| {
            let before = std::mem::take(&mut status.central_nodes);
            let kept =
                |address: &CentralNodeAddress| before.iter().find(|info| info.address == *address).cloned();
            status.central_nodes = addresses
                .iter()
                .map(|a| kept(a).unwrap_or_else(|| CentralNodeInfo::new(a.clone())))
                .collect();
        });
        self.handle(Event::CentralNodesChanged(ids(&addresses)));
    }
}
