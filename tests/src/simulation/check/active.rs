//! Which faults are active at a point of the record.

use crate::simulation::{history::What, plan::Fault};

/// The faults that have begun and are not over.
#[derive(Debug, Default)]
pub(super) struct Active(Vec<Fault>);

impl Active {
    /// Takes in what happened next.
    pub(super) fn see(&mut self, what: &What) {
        let What::Fault { fault, begins } = what else { return };
        if *begins {
            self.0.push(fault.clone());
        } else if let Some(at) = self.0.iter().position(|other| other == fault) {
            self.0.remove(at);
        }
    }

    pub(super) fn any(&self, holds: impl Fn(&Fault) -> bool) -> bool {
        self.0.iter().any(holds)
    }
}
