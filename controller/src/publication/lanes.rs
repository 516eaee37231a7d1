//! Turns: a namespace whose central nodes are slow holds up its own blueprints, and not all the controller's.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Looks at registers of one namespace at once, a quarter of those of all.
const LANES: usize = 4;

/// Looks under way, by namespace.
#[derive(Debug, Default)]
pub struct Lanes(Mutex<HashMap<String, usize>>);

/// One look; it is over when this is dropped.
#[derive(Debug)]
pub(crate) struct Lane<'a> {
    lanes: &'a Lanes,
    namespace: String,
}

impl Lanes {
    /// Begins a look, if the namespace has not too many.
    #[must_use]
    pub(crate) fn enter(&self, namespace: &str) -> Option<Lane<'_>> {
        let mut busy = self.busy();
        let count = busy.entry(namespace.to_owned()).or_default();
        (*count < LANES).then(|| {
            *count += 1;
            Lane { lanes: self, namespace: namespace.to_owned() }
        })
    }

    /// Whether a namespace has as many looks as it may.
    #[must_use]
    pub(crate) fn are_full(&self, namespace: &str) -> bool {
        self.busy().get(namespace).is_some_and(|count| *count >= LANES)
    }

    fn busy(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        let mut busy = self.lanes.busy();
        if let Some(count) = busy.get_mut(&self.namespace) {
            *count -= 1;
            if *count == 0 {
                busy.remove(&self.namespace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_only_so_many() {
        let lanes = Lanes::default();
        let mut held: Vec<_> = (0..LANES).map(|_| lanes.enter("slow").expect("a lane")).collect();
        assert!(lanes.enter("slow").is_none());
        let other = lanes.enter("other");
        assert!(other.is_some(), "others go on");
        held.pop();
        assert!(lanes.enter("slow").is_some());
        drop((held, other));
        assert!(lanes.busy().is_empty(), "namespaces are forgotten");
    }
}
