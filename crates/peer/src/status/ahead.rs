//! A replica that is ahead of its central node's register.

use sorcha_register::names::Version;

use super::PeerStatus;

/// Heartbeats in a row that name an older version than is held, until the central node is supposed to have lost it.
const LONG_BEHIND: u32 = 3;

/// How a replica is known to be ahead of its central node's register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// The central node has read its store and says so.
    Told,
    /// The central node does not compare, and goes on answering with an older version.
    Supposed,
}

/// What a central node says about a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It is ahead of the register, and that is certain.
    Ahead,
    /// It is not.
    NotAhead,
    /// Nothing.
    Untold,
}

impl PeerStatus {
    /// Takes in how a central node that is at a version compares what is held with its register. One that does not compare is
    /// supposed to have lost what is held once its last heartbeats all ended before that: its tail may be late.
    pub const fn compare(&mut self, central: Version, held: Version, told: Comparison) {
        let is_behind = central.get() < held.get();
        self.behind_beats = if is_behind { self.behind_beats.saturating_add(1) } else { 0 };
        self.ahead = match told {
            Comparison::Ahead => Some(Ahead::Told),
            // One that ends before what is held and says that both are equal contradicts itself.
            _ if is_behind && self.ahead.is_none() && self.behind_beats >= LONG_BEHIND => {
                Some(Ahead::Supposed)
            }
            _ if is_behind => self.ahead,
            _ => None,
        };
    }

    /// By how many versions the replica is ahead of its central node's register, where it is told or supposed to be.
    #[must_use]
    pub const fn ahead_by(&self, held: Version) -> Option<i64> {
        let by = held.get() - self.central_version.get();
        if self.ahead.is_some() { Some(if by < 1 { 1 } else { by }) } else { None }
    }

    /// That the replica is ahead, for people.
    #[must_use]
    pub fn ahead_in_words(&self, held: Version) -> Option<String> {
        let by = self.ahead_by(held)?;
        let central = self.central_node_id.as_deref().unwrap_or("its central node");
        let end = self.central_version;
        Some(match self.ahead? {
            Ahead::Told => format!(
                "this replica is ahead of {central} by {by} versions: what it holds up to version {held} is not in \
                 that register any more, which ends at version {end}"
            ),
            Ahead::Supposed => format!(
                "this replica is ahead of {central} by {by} versions: {central} has answered {LONG_BEHIND} heartbeats \
                 or more with version {end}, so that it can't read its store, or has lost what is held up to \
                 version {held}"
            ),
        })
    }

    /// Versions behind the central node, negative for those that it is ahead.
    #[must_use]
    pub const fn signed_lag(&self, held: Version) -> i64 {
        match self.ahead_by(held) {
            Some(by) => -by,
            None => self.lag(held),
        }
    }
}
