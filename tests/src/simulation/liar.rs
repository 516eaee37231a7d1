//! Central nodes that lie: each stands as a front before a real one, passes everything on, and while it lies puts what a
//! `forgery` says in the place of the answers.
//!
//! A lie is always one that a peer can see through: it contradicts what that peer holds, or what is sent contradicts the
//! digest that is stated for it. So the front looks up what the peer that asks really holds.

mod forgery;
mod front;
mod lie;
mod push;
mod services;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sorcha_central::CentralNode;
use sorcha_peer::PeerNode;
use sorcha_register::{names::Version, view::RegisterView};
use tokio::sync::watch;

use self::forgery::Forgery;
pub use self::lie::{Lie, Part, Tale};
use super::{
    history::{History, What},
    plan::{Fault, Planned},
};

/// A lie that is told now.
#[derive(Debug)]
struct Telling {
    tale: Tale,
    /// The register as it was some changes ago.
    past: RegisterView,
}

type Told = Option<Arc<Telling>>;

/// The central nodes of a run that lie at some time; cheap to clone.
#[derive(Clone)]
pub struct Liars {
    history: History,
    tellings: Arc<BTreeMap<u8, watch::Sender<Told>>>,
    peers: Arc<Mutex<BTreeMap<u8, Arc<PeerNode>>>>,
}

impl Liars {
    /// Those that a plan makes lie.
    #[must_use]
    pub fn of(plan: &[Planned], history: &History) -> Self {
        let central = |planned: &Planned| match planned.fault {
            Fault::Lies(central, _) => Some((central, watch::Sender::new(None))),
            _ => None,
        };
        let tellings = Arc::new(plan.iter().filter_map(central).collect());
        Self { history: history.clone(), tellings, peers: Arc::default() }
    }

    /// The record of the run.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Whether any central node lies in the run.
    #[must_use]
    pub fn lie(&self) -> bool {
        !self.tellings.is_empty()
    }

    /// The front of a central node, if it lies at some time.
    pub(super) fn front(&self, central: u8, node: &Arc<CentralNode>) -> Option<front::Front> {
        let liar = Liar { liars: self.clone(), central, node: Arc::clone(node) };
        self.tellings.contains_key(&central).then_some(front::Front::new(liar))
    }

    /// A peer's process has started; until the next one does, this is what it holds.
    pub fn meet(&self, peer: u8, node: &Arc<PeerNode>) {
        self.peers().insert(peer, Arc::clone(node));
    }

    /// From now on a central node tells this, or the truth.
    pub fn tell(&self, central: u8, tale: Option<Tale>) {
        let Some(telling) = self.tellings.get(&central) else { return };
        let current = telling.borrow().as_ref().map(|telling| telling.tale);
        if current != tale {
            telling.send_replace(
                tale.map(|tale| Arc::new(Telling { past: self.past(tale.changes_lost()), tale })),
            );
        }
    }

    /// The register as it was so many changes ago.
    fn past(&self, changes: usize) -> RegisterView {
        let mut stored = self.history.stored();
        stored.truncate(stored.len().saturating_sub(changes));
        RegisterView::with_entries(None, stored, Version::ZERO)
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<u8, Arc<PeerNode>>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One central node that lies at some time.
#[derive(Clone)]
struct Liar {
    liars: Liars,
    central: u8,
    node: Arc<CentralNode>,
}

impl Liar {
    fn tellings(&self) -> Option<watch::Receiver<Told>> {
        self.liars.tellings.get(&self.central).map(watch::Sender::subscribe)
    }

    /// What is told to a peer now in the place of the truth.
    fn forge(&self, peer: u8) -> Option<Forgery> {
        let telling = self.liars.tellings.get(&self.central)?.borrow().clone()?;
        let held = self.liars.peers().get(&peer)?.replica.state();
        forgery::forge(telling.tale, &self.node.log.view(), &telling.past, &held)
    }

    fn record(&self, peer: u8, call: &'static str, must_show: bool) {
        self.liars.history.record(What::Lied { central: self.central, peer, call, must_show });
    }
}
