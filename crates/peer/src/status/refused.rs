//! Central nodes whose register contradicts the replica: each stands for itself.

use std::{fmt, time::Duration};

use sorcha_register::{clock::Timestamp, succession::Contradiction};

use super::PeerStatus;

/// How long the refusal of a central node that this peer has not met again is told of, once another one is replicated from.
const REFUSAL_STANDS: Duration = Duration::from_secs(3600);

/// A register that this peer takes nothing of.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Central node that serves it.
    pub central_node_id: String,
    /// When that was found last.
    pub at: Timestamp,
    /// What it contradicts.
    pub contradiction: Contradiction,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { central_node_id, contradiction, .. } = self;
        write!(
            f,
            "the register of {central_node_id} contradicts this replica, and nothing of it is taken: {contradiction}"
        )
    }
}

impl PeerStatus {
    /// Notes that nothing of a central node's register is taken.
    pub(super) fn refuse(&mut self, refused: Refused) {
        self.refusals.retain(|known| known.central_node_id != refused.central_node_id);
        self.refusals.push(refused);
        self.refused = self.refusals.last().cloned();
    }

    /// Whether nothing of a central node's register is taken.
    #[must_use]
    pub fn refuses(&self, central: &str) -> bool {
        self.refusals.iter().any(|refused| refused.central_node_id == central)
    }

    /// Notes that a central node's register continues what is held; whether it did not before. What others serve is another
    /// matter: it stands until they are met again, or for an hour.
    pub(super) fn settle(&mut self, central: &str, now: Timestamp) -> bool {
        let was_refused = self.refuses(central);
        self.forget_refusals(|refused| {
            refused.central_node_id == central || now >= refused.at.plus(REFUSAL_STANDS)
        });
        was_refused
    }

    /// Forgets refusals, as of central nodes that are not configured any more.
    pub(super) fn forget_refusals(&mut self, is_over: impl Fn(&Refused) -> bool) {
        self.refusals.retain(|refused| !is_over(refused));
        self.refused = self.refusals.last().cloned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sorcha_register::names::Lineage;

    const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn refused(central: &str, at: Timestamp) -> Refused {
        let held = Lineage::from_slice(&[7; 32]).unwrap();
        Refused { central_node_id: central.into(), at, contradiction: Contradiction::NoLineage { held } }
    }

    fn told_of(status: &PeerStatus) -> Option<&str> {
        status.refused.as_ref().map(|refused| refused.central_node_id.as_str())
    }

    #[test]
    fn an_honest_central_node_says_nothing_about_one_that_lies() {
        let mut status = PeerStatus::new(START, &[]);
        status.refuse(refused("liar", START));
        assert!(!status.settle("honest", START));
        assert_eq!((told_of(&status), status.refuses("liar")), (Some("liar"), true));
        status.refuse(refused("second", START));
        assert_eq!(told_of(&status), Some("second"), "the newest");
        assert!(status.settle("second", START));
        assert_eq!(told_of(&status), Some("liar"), "the other one is still there");
        assert!(status.settle("liar", START));
        assert_eq!(told_of(&status), None);
    }

    #[test]
    fn a_refusal_ends_with_its_central_nodes_place_in_the_list_or_after_an_hour() {
        let mut status = PeerStatus::new(START, &[]);
        status.refuse(refused("liar", START));
        let minutes = |minutes: u64| START.plus(Duration::from_secs(60 * minutes));
        status.refuse(refused("liar", minutes(30)));
        status.settle("honest", minutes(89));
        assert_eq!(told_of(&status), Some("liar"), "it was met again after half an hour");
        status.settle("honest", minutes(90));
        assert_eq!(told_of(&status), None);
        status.refuse(refused("liar", START));
        status.forget_refusals(|refused| refused.central_node_id == "liar");
        assert_eq!(told_of(&status), None);
    }
}
