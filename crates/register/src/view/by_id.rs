//! An entry as the member of a set that is searched by blueprint.

use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
    sync::Arc,
};

use crate::{entry::SealedEntry, names::BlueprintId};

/// An entry that equals every state of its blueprint.
#[derive(Clone, Debug)]
pub(super) struct ById(pub(super) Arc<SealedEntry>);

impl Borrow<BlueprintId> for ById {
    fn borrow(&self) -> &BlueprintId {
        &self.0.entry().blueprint_id
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.entry().blueprint_id == other.0.entry().blueprint_id
    }
}

impl Eq for ById {}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.entry().blueprint_id.hash(state);
    }
}
