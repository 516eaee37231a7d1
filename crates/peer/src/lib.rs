//! The peer role: one session with one central node, a verified replica, reads that always get an answer.
//!
//! [`machine`] decides on the connection, and `shell` does: it turns the machine's effects into calls and their results into
//! events. What holds after every step, `invariants` says. `replication` decides on the pulls and pushes of a session in the
//! same way, and `session` does. Each has its transitions in `tests/table.txt`. What people see is a fold of events, too:
//! [`status::PeerStatus`]. Nothing of a central node is taken that contradicts what is held, and nothing is acknowledged before
//! it is stored.
//!
//! Deliberately absent: any listener for other nodes (nothing ever dials a peer), talk between peers, the central role, the HTTP
//! API. Begin with [`PeerNode`], `machine::step`, [`replica::Replica`], [`status::PeerStatus`], [`dial::Dialer`].

pub mod dial;
pub mod failover;
pub(crate) mod invariants;
pub mod machine;
pub mod replica;
pub mod resync;
mod replication;
mod session;
mod shell;
pub mod status;

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use sorcha_config::Config;
use sorcha_register::{
    clock::{Moment, Timestamp},
    names::PeerId,
};
use sorcha_runtime::env::Env;
use sorcha_store::StoreError;
use tokio::sync::{mpsc, oneshot, watch};

use self::{
    dial::Dialer,
    replica::Replica,
    resync::Resync,
    status::{PeerStatus, StatusEvent},
};

/// A peer; shared by its shell and its HTTP API.
pub struct PeerNode {
    /// Its settings.
    pub config: Arc<Config>,
    /// Its surroundings.
    pub env: Env,
    /// Its identity.
    pub id: PeerId,
    /// Its copy of the register.
    pub replica: Replica,
    /// Full syncs on request.
    resync: Resync,
    /// Central nodes left because none answered when the push stream was to be opened.
    push_moves: AtomicU32,
    dialer: Arc<dyn Dialer>,
    started: Moment,
    status: watch::Sender<PeerStatus>,
    commands: mpsc::Sender<Command>,
    inbox: std::sync::Mutex<Option<mpsc::Receiver<Command>>>,
}

/// What a user asks of a running peer.
#[derive(Debug)]
pub enum Command {
    /// Leave the session, if any, and connect again from the first central node on.
    Reconnect,
    /// Pull now; answers with the number of entries moved, or why not.
    Sync {
        /// Fetch everything anew.
        full: bool,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<usize, String>>,
    },
    /// Open the push stream now if it is closed.
    Subscribe,
}

/// A clock that is adjusted goes back by less.
const CLOCK_JITTER_MILLIS: i64 = 2000;
/// Commands that wait for the shell.
const COMMANDS: usize = 16;

impl PeerNode {
    /// A peer over a loaded replica. It does nothing until [`PeerNode::run`].
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        env: Env,
        id: PeerId,
        replica: Replica,
        dialer: Arc<dyn Dialer>,
    ) -> Arc<Self> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        for finding in replica.findings() {
            tracing::error!(%finding, "replica integrity failure; it will be fetched again");
        }
        env.metrics.findings(replica.findings().len());
        env.metrics.version(replica.head().get());
        let takes_requests = config.sync.force_resync_file.is_some();
        let resync = if takes_requests { Resync::load(&config.store.data_dir) } else { Resync::default() };
        let mut status = PeerStatus::new(env.clock.now(), &[]);
        status.force_resync = resync.done();
        let node = Arc::new(Self {
            started: env.clock.moment(),
            status: watch::Sender::new(status),
            inbox: std::sync::Mutex::new(Some(inbox)),
            config,
            env,
            id,
            replica,
            resync,
            push_moves: AtomicU32::new(0),
            dialer,
            commands,
        });
        if let Some(fault) = node.clock_fault() {
            tracing::warn!(fault, "this machine's clock");
        }
        node
    }

    /// Connects, replicates and fails over until `shutdown`; then leaves its session and makes the replica durable.
    ///
    /// # Errors
    /// [`StoreError`] when the replica can't be made durable at the end.
    pub async fn run(self: &Arc<Self>, shutdown: impl Future<Output = ()>) -> Result<(), StoreError> {
        let inbox = self.inbox.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        match inbox {
            Some(inbox) => tokio::select! {
                () = shell::run(Arc::clone(self), inbox, shutdown) => {}
                never = self.env.watch_files() => match never {},
            },
            // A second run of the same peer has nothing to do.
            None => shutdown.await,
        }
        self.replica.flush().await
    }

    /// The newest snapshot.
    #[must_use]
    pub fn status(&self) -> PeerStatus {
        self.status.borrow().clone()
    }

    /// Follows the snapshot.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<PeerStatus> {
        self.status.subscribe()
    }

    /// Time since start.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.env.clock.monotonic().since(self.started.monotonic)
    }

    /// Time since an instant that was stored. What was stored before this process began is as old as it was then and as long as
    /// it runs, however the clock is set meanwhile. None where the instant is later than now: a clock was wrong then, or is now.
    #[must_use]
    pub fn age_of(&self, at: Timestamp) -> Option<Duration> {
        let before_start = self.started.wall.millis_since(at);
        if before_start >= 0 {
            return Some(Duration::from_millis(before_start.unsigned_abs()).saturating_add(self.uptime()));
        }
        let millis = self.env.clock.now().millis_since(at);
        (millis > -CLOCK_JITTER_MILLIS).then(|| Duration::from_millis(millis.max(0).unsigned_abs()))
    }

    /// Why the replica's age is not known, though it was synced before this process began.
    #[must_use]
    pub fn clock_fault(&self) -> Option<String> {
        let at = self.replica.state().checkpoint.as_ref()?.last_sync_time;
        let is_unknown = self.status.borrow().fresh_as_of.is_none() && self.age_of(at).is_none();
        is_unknown.then(|| {
            format!(
                "the replica was synced at {at}, which is later than now: a clock was set back, or was wrong before; its age is not \
                 known until a central node is heard"
            )
        })
    }

    /// Notes that the full sync that a token asked for is stored.
    async fn resynced(&self, token: String) {
        if let Err(error) = self.replica.flush().await {
            return tracing::warn!(%error, token, "forced full sync not durable; it will be repeated");
        }
        self.resync.complete(token.clone()).await;
        self.note(StatusEvent::Resynced(token));
    }

    /// Changes the snapshot, as nothing else does.
    fn note(&self, event: StatusEvent) {
        let is_measured = matches!(event, StatusEvent::Replication(_));
        self.status.send_modify(|status| status.on(event));
        if is_measured {
            self.env.metrics.replicating(self.status.borrow().replication_trouble().is_none());
        }
    }

    /// Hands a command to the running shell; false when none runs.
    pub async fn command(&self, command: Command) -> bool {
        self.commands.send(command).await.is_ok()
    }

    /// Plays the shell's part: changes the snapshot.
    #[cfg(feature = "testing")]
    pub fn change_status(&self, change: impl FnOnce(&mut PeerStatus)) {
        self.status.send_modify(change);
    }

    /// Plays the shell's part: takes the commands.
    #[cfg(feature = "testing")]
    pub fn take_commands(&self) -> Option<mpsc::Receiver<Command>> {
        self.inbox.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}
