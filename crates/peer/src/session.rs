//! One session with one central node: the calls that make it, and the tasks that live in it.

pub(super) mod connect;
mod faults;
mod heartbeat;
mod pace;
mod pull;
mod pulling;
mod push;
mod pushing;
mod refusal;
mod standstill;
mod told;
mod ways;

use std::{sync::Arc, time::Duration};

use sorcha_proto::{raw::system_register_sync_client::SystemRegisterSyncClient, v1};
use sorcha_register::lineage::Genesis;
use sorcha_runtime::supervise;
use tokio::sync::{mpsc, watch};
use tonic::transport::Channel;

pub(super) use self::pulling::Request;
use self::{
    pace::{Metered, Received},
    told::ANSWER_BYTES,
    ways::Ways,
};
use super::{
    PeerNode,
    dial::Life,
    machine::{
        effect::{DisconnectReason, SyncPlan},
        event::{Event, Loss},
    },
    replica::Provenance,
};

/// A call that breaks with its connection tells more about why: it has this long.
const CALLS_TELL: Duration = Duration::from_millis(250);
/// How long a goodbye may take; it is best effort.
const GOODBYE: Duration = Duration::from_secs(2);
/// A heartbeat interval is doubled up to this many times the normal one (REDUCE_FREQUENCY).
const SLOWEST: u32 = 4;

/// A session as its tasks see it; cheap to clone.
#[derive(Clone)]
pub(super) struct LiveSession {
    node: Arc<PeerNode>,
    epoch: u64,
    /// The configured id of the central node.
    central: String,
    id: String,
    channel: Channel,
    /// Of its connection.
    life: Life,
    genesis: Option<Arc<Genesis>>,
    /// It answered with the lineage, version and digest of what is held.
    is_level: bool,
    rhythm: Rhythm,
    events: mpsc::Sender<Event>,
    /// Of all pulls.
    received: Received,
}

/// The heartbeat's times, as the central node asked for them.
#[derive(Clone, Copy, Debug)]
struct Rhythm {
    interval: Duration,
    timeout: Duration,
}

/// A running session: dropping it ends its tasks.
pub(super) struct Running {
    session: LiveSession,
    slowdown: watch::Sender<u32>,
    requests: mpsc::Sender<Request>,
    ways: Arc<Ways>,
    tasks: tokio::task::JoinSet<()>,
}

/// Requests that wait for the pulls.
const REQUESTS: usize = 8;

impl LiveSession {
    /// Starts heartbeats and replication: pulls and pushes are tasks of their own, so that neither waits for a central node
    /// in the other's place.
    pub(super) fn start(self, plan: SyncPlan) -> Running {
        let slowdown = watch::Sender::new(1);
        let (requests, inbox) = mpsc::channel(REQUESTS);
        let ways = Ways::new(&self, plan);
        let mut tasks = tokio::task::JoinSet::new();
        let (session, pace) = (self.clone(), slowdown.subscribe());
        tasks.spawn(async move {
            let env = session.node.env.clone();
            supervise::forever("heartbeat", &env, || heartbeat::run(session.clone(), pace.clone())).await;
        });
        tasks.spawn(self.clone().watch_connection());
        tasks.spawn(pulling::run(self.clone(), Arc::clone(&ways), inbox));
        tasks.spawn(pushing::run(self.clone(), Arc::clone(&ways)));
        Running { session: self, slowdown, requests, ways, tasks }
    }

    /// Tells the central node that this peer leaves; waits a moment for the answer and ignores it.
    pub(super) async fn say_goodbye(self, reason: DisconnectReason) {
        let mut client = v1::central_node_connection_client::CentralNodeConnectionClient::new(self.channel)
            .max_decoding_message_size(ANSWER_BYTES);
        let request = v1::DisconnectRequest {
            peer_id: self.node.id.to_string(),
            session_id: self.id,
            reason: reason as i32,
            disconnect_time: self.node.env.clock.now().as_millis(),
        };
        match tokio::time::timeout(GOODBYE, client.disconnect_from_central_node(request)).await {
            Ok(Ok(_)) => tracing::debug!(central_node_id = self.central, "left the session"),
            Ok(Err(status)) => tracing::debug!(central_node_id = self.central, %status, "goodbye not heard"),
            Err(_elapsed) => tracing::debug!(central_node_id = self.central, "goodbye not answered"),
        }
    }

    /// Tells when the connection is gone. A push stream breaks with it; a session that has none would notice with the next
    /// heartbeat only.
    async fn watch_connection(self) {
        self.life.over().await;
        tokio::time::sleep(CALLS_TELL).await;
        let (epoch, loss) = (self.epoch, Loss::Closed);
        self.tell(Event::ConnectionLost { epoch, loss }).await;
    }

    fn sync_client(&self) -> SystemRegisterSyncClient<Channel> {
        SystemRegisterSyncClient::new(self.channel.clone())
            .max_decoding_message_size(self.node.config.limits.max_message_bytes)
    }

    fn metered_client(&self) -> SystemRegisterSyncClient<Metered> {
        let metered = Metered { channel: self.channel.clone(), received: self.received.clone() };
        SystemRegisterSyncClient::new(metered)
            .max_decoding_message_size(self.node.config.limits.max_message_bytes)
    }

    fn provenance(&self) -> Provenance {
        let at = self.node.env.clock.now();
        Provenance {
            central_node_id: self.central.clone(),
            at,
            next_due: at.plus(self.node.config.sync.interval),
        }
    }

    /// Hands an event to the machine; after the shell has gone nobody listens, and nobody needs to.
    async fn tell(&self, event: Event) {
        drop(self.events.send(event).await);
    }
}

impl Running {
    /// The session's identity.
    pub(super) const fn epoch(&self) -> u64 {
        self.session.epoch
    }

    /// The session, for its goodbye.
    pub(super) fn session(&self) -> LiveSession {
        self.session.clone()
    }

    /// Has the push stream opened now if it is closed.
    pub(super) fn subscribe(&self) {
        self.ways.subscribe();
    }

    /// Asks for a pull; a full inbox means that there is enough to do already.
    pub(super) fn request(&self, request: Request) {
        if let Err(mpsc::error::TrySendError::Full(request) | mpsc::error::TrySendError::Closed(request)) =
            self.requests.try_send(request)
        {
            request.refuse("a sync is under way");
        }
    }

    /// Doubles the heartbeat's interval, up to a bound.
    pub(super) fn slow_down(&self) {
        self.slowdown.send_modify(|factor| *factor = (*factor * 2).min(SLOWEST));
    }

    /// Returns to the normal interval.
    pub(super) fn speed_up(&self) {
        self.slowdown.send_replace(1);
    }

    /// Ends the tasks now.
    pub(super) fn stop(mut self) {
        self.tasks.abort_all();
    }
}
