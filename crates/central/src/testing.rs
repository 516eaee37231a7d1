//! A central node for the tests of this crate.

use std::sync::Arc;

use sorcha_config::Config;
use sorcha_register::{clock::Timestamp, view::RegisterView};
use sorcha_runtime::{
    clock::VirtualClock,
    env::{Env, Random},
    metrics::Metrics,
    supervise::Tasks,
};
use sorcha_store::journal::{JournalStore, Options};

use super::{CentralNode, log::RegisterLog};

/// One with default settings and an empty register, under virtual time.
pub(super) fn node(metrics: Metrics) -> Arc<CentralNode> {
    let clock = Arc::new(VirtualClock::new(Timestamp::from_millis(0), 0));
    let env = Env { clock, random: Random::seeded(1), metrics, tls: None, tasks: Tasks::default() };
    let store = JournalStore::in_memory(Options { inline: true, ..Options::default() }).unwrap();
    let log = RegisterLog::new(Arc::new(store), RegisterView::new(None));
    CentralNode::new(Arc::new(Config::default().with_identity("n0.sorcha.dev")), env, log, Vec::new())
}
