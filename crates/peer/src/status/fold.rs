//! How each event changes the snapshot.

use std::time::Duration;

use super::{
    HeartbeatEvent, PeerStatus, PullEvent, PushEvent, Refused, ReplicationEvent, Shown, StatusEvent,
    central_node::{CentralNodeInfo, CentralNodeState},
};

impl PeerStatus {
    /// The snapshot after an event.
    pub(crate) fn on(&mut self, event: StatusEvent) {
        match event {
            StatusEvent::Shown(shown) => self.show(shown),
            StatusEvent::Transition(at, what) => self.push_transition(at, what),
            StatusEvent::FailedOver => self.failovers += 1,
            StatusEvent::RefusesPeer(why) => self.configuration_fault = Some(why),
            StatusEvent::Listed(addresses) => self.relist(addresses),
            StatusEvent::ListRead(fault) => self.central_nodes_fault = fault,
            StatusEvent::Dial(central, event) => self.on_dial(&central, event),
            StatusEvent::DialAbandoned => self.disconnect(|info| info.state == CentralNodeState::Connecting),
            StatusEvent::SessionClosed => self.close_session(),
            StatusEvent::Heartbeat(event) => self.on_heartbeat(event),
            StatusEvent::Heard { central, held, equal, at } => {
                self.hear_of(central.max(self.central_version), held, equal, at);
            }
            StatusEvent::Pull(event) => self.on_pull(event),
            StatusEvent::Push(event) => self.on_push(event),
            StatusEvent::Replication(event) => self.on_replication(event),
            StatusEvent::Refused(refused) => self.refused(refused),
            StatusEvent::Continues { central, at } => {
                if self.settle(&central, at) {
                    self.push_transition(at, format!("the register of {central} continues this replica"));
                }
            }
            StatusEvent::Resynced(token) => {
                self.force_resync = Some(token);
                // They were about what was held before.
                self.forget_refusals(|_| true);
            }
            StatusEvent::StoreSeen(fault) => self.store_fault = fault,
        }
    }

    fn show(&mut self, shown: Shown) {
        let Shown { state, changed, at, session, isolated_since, split_brain } = shown;
        self.state = state;
        if changed {
            self.since = at;
            self.push_transition(at, state.to_string());
        }
        let (central, id) = session.unzip();
        if self.session_id != id {
            self.connected_at = id.is_some().then_some(at);
        }
        (self.central_node_id, self.session_id) = (central, id);
        (self.isolated_since, self.split_brain) = (isolated_since, split_brain);
    }

    fn close_session(&mut self) {
        (self.subscribed_at, self.syncing, self.ahead) = (None, false, None);
        (self.heartbeat.missed, self.behind_beats) = (0, 0);
        self.disconnect(CentralNodeInfo::is_active);
    }

    fn on_heartbeat(&mut self, event: HeartbeatEvent) {
        match event {
            HeartbeatEvent::Sent(at) => self.heartbeat.send(at),
            HeartbeatEvent::Acknowledged { at, round_trip, said } => {
                self.heartbeat.acknowledge(at.wall, round_trip);
                if let Some(said) = said {
                    self.hear_of(said.central, said.held, said.equal, at);
                    self.compare(said.central, said.sent, said.told);
                }
            }
            HeartbeatEvent::Missed(why) => self.heartbeat.miss(&why),
        }
    }

    fn on_pull(&mut self, event: PullEvent) {
        self.syncing = matches!(event, PullEvent::Began);
        match event {
            PullEvent::Began => {}
            PullEvent::Ended(mut record) => {
                record.id = self.syncs.front().map_or(1, |newest| newest.id + 1);
                self.push_sync(record);
            }
            PullEvent::Died(why) => self.last_sync_error = Some(why),
        }
    }

    fn on_push(&mut self, event: PushEvent) {
        match event {
            PushEvent::Opened(at) => (self.subscribed_at, self.push_fault) = (Some(at), None),
            PushEvent::Closed => self.subscribed_at = None,
            PushEvent::Stalled(why) => self.push_fault = Some(why),
            PushEvent::Died(why) => (self.subscribed_at, self.push_fault) = (None, Some(why)),
            PushEvent::Failed(why) => (self.subscribed_at, self.last_sync_error) = (None, Some(why)),
            PushEvent::Recovered => self.last_sync_error = None,
            PushEvent::Stored { published, head, at } => {
                for published in published {
                    let millis = at.wall.millis_since(published).max(0).unsigned_abs();
                    self.push_latency(Duration::from_millis(millis));
                }
                self.hear_of(self.central_version.max(head), head, true, at);
            }
        }
    }

    fn on_replication(&mut self, event: ReplicationEvent) {
        match event {
            ReplicationEvent::Works => self.replication_fault = None,
            ReplicationEvent::Fails(why) => self.replication_fault = Some(why),
            ReplicationEvent::StandsStill(fault) => self.standstill = fault,
        }
    }

    fn refused(&mut self, refused: Refused) {
        self.push_transition(refused.at, refused.to_string());
        if let Some(info) = self.central_node(&refused.central_node_id) {
            info.fail(refused.contradiction.to_string());
        }
        self.refuse(refused);
    }
}
