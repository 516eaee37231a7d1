"""Does a running central node speak `sorcha.peer.v1`? Judged by a client made from the tables of docs/spec/protocol.md alone.

"Protocol section 6.3", "protocol D5" and "protocol U3" are places on that page. What the original sources leave open is
not asked for: there a test accepts each reading and says so.

Rate limits shape the tests: each uses fresh identities, at most two full syncs and about eight heartbeats per identity.
"""

import hashlib
import json
import math
import re
import time
from contextlib import contextmanager

import grpc
import pytest
from google.protobuf.unknown_fields import UnknownFieldSet

import client
from client import (
    DEADLINE,
    Peer,
    bytes_field,
    default_peer_info,
    eventually,
    fresh_blueprint_id,
    fresh_peer_id,
    now_ms,
    raw_server_stream,
    raw_unary,
    retry_delay,
    retry_hint,
    unknown_fields,
)
from stubs import connection_pb2, health_pb2, health_pb2_grpc, heartbeat_pb2, sync_pb2

INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
ALREADY_EXISTS = grpc.StatusCode.ALREADY_EXISTS
PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED
RESOURCE_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
INTERNAL = grpc.StatusCode.INTERNAL

NONE = heartbeat_pb2.RECOMMENDED_ACTION_NONE
SYNC = heartbeat_pb2.RECOMMENDED_ACTION_SYNC
REDUCE_FREQUENCY = heartbeat_pb2.RECOMMENDED_ACTION_REDUCE_FREQUENCY
RECONNECT = heartbeat_pb2.RECOMMENDED_ACTION_RECONNECT

PUBLISHED = sync_pb2.NOTIFICATION_TYPE_BLUEPRINT_PUBLISHED
DEPRECATED = sync_pb2.NOTIFICATION_TYPE_BLUEPRINT_DEPRECATED

REGISTER_ID = "00000000-0000-0000-0000-000000000000"
SEED_ID = "register-creation-v1"
SYNC_PERIOD_MS = 300_000
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
FIRST_ADDED_FIELD = 100  # ADR 24: whatever the project adds has a number from here up
UNKNOWN_ENUM_VALUE = 99


# ---- assertions ----


@contextmanager
def refused(*codes):
    """The block must end in a gRPC refusal with one of `codes`; yields pytest's record of it."""
    with pytest.raises(grpc.RpcError) as caught:
        yield caught
    refusal = caught.value
    assert refusal.code() in codes, f"{refusal.code()}: {refusal.details()}"


def outcome(call):
    """The status code that a call ends with."""
    try:
        call()
    except grpc.RpcError as refusal:
        return refusal.code()
    return grpc.StatusCode.OK


def assert_recent(instant_ms):
    assert abs(now_ms() - instant_ms) < 5_000, f"{instant_ms} is not the present in milliseconds"


def assert_checksum_covers(checksum, document_bytes):
    assert checksum == "sha256:" + hashlib.sha256(document_bytes).hexdigest()


def assert_entry_is_sound(entry):
    assert re.fullmatch(r"[a-zA-Z0-9\-_]{1,255}", entry.blueprint_id)
    assert entry.register_id == REGISTER_ID
    assert entry.version >= 1
    assert entry.published_at > 1_000_000_000_000, "seconds instead of milliseconds?"
    assert 1 <= len(entry.published_by) <= 255
    assert isinstance(json.loads(entry.blueprint_document), dict)
    assert_checksum_covers(entry.checksum, entry.blueprint_document)


def assert_ascending(versions):
    assert versions == sorted(set(versions)), "versions must strictly rise"


def assert_is_full(entries):
    """What a full sync sends: the active entries from the seed on, in strictly ascending order."""
    assert (entries[0].blueprint_id, entries[0].version) == (SEED_ID, 1)
    assert_ascending([entry.version for entry in entries])
    assert all(entry.is_active for entry in entries), "a full sync carries active entries only"


def assert_counts_from_one(notices):
    assert [notice.sequence_number for notice in notices] == list(range(1, len(notices) + 1))


def only(entries, blueprint_id):
    found = [entry for entry in entries if entry.blueprint_id == blueprint_id]
    assert len(found) == 1, f"{blueprint_id} came {len(found)} times"
    return found[0]


def ids(items):
    return [item.blueprint_id for item in items]


def filters(**fields):
    return sync_pb2.SubscriptionFilters(**fields)


# ---- the stubs themselves ----


def test_stubs_have_the_contract_s_shape():
    """Protocol section 1: 3 services, 10 RPCs, 23 messages, 7 enums, all in package sorcha.peer.v1."""
    files = [module.DESCRIPTOR for module in (connection_pb2, heartbeat_pb2, sync_pb2)]
    services = [service for file in files for service in file.services_by_name.values()]
    assert {file.package for file in files} == {"sorcha.peer.v1"}
    assert len(services) == 3
    assert sum(len(service.methods) for service in services) == 10
    assert sum(len(file.message_types_by_name) for file in files) == 23
    assert sum(len(file.enum_types_by_name) for file in files) == 7


# ---- connect and disconnect ----


def test_connect_answers_with_session_and_operating_parameters(new_peer, node_version):
    """Protocol section 3.1 ConnectionResponse, ConnectionConfig: session, node id, interval 30, config 30/5/true/3."""
    response = new_peer().connect()
    assert response.success
    assert response.session_id
    assert 1 <= len(response.central_node_id) <= 64
    assert response.current_system_register_version == node_version() >= 1
    assert_recent(response.connected_at)
    assert response.heartbeat_interval_seconds == 30
    assert response.config == connection_pb2.ConnectionConfig(
        heartbeat_timeout_seconds=30,
        periodic_sync_interval_minutes=5,
        push_notifications_enabled=True,
        max_concurrent_syncs=3,
    )


@pytest.mark.parametrize(
    "peer_info",
    [
        pytest.param(connection_pb2.PeerInfo(node_type="Peer"), id="only node_type"),
        pytest.param(default_peer_info(address="a" * 255), id="address of 255 chars"),
        pytest.param(default_peer_info(port=1), id="port 1"),
        pytest.param(default_peer_info(port=65535), id="port 65535"),
        pytest.param(default_peer_info(supported_protocols=["v1", "v2", "x"]), id="unknown protocol labels"),
    ],
)
def test_connect_accepts_peer_info_within_its_limits(new_peer, peer_info):
    """Protocol section 3.1 PeerInfo; protocol D24: address and port may be absent."""
    assert new_peer().connect(peer_info=peer_info).success


def test_connect_accepts_an_identity_of_64_characters(new_peer):
    """Protocol section 3.1 ConnectRequest.peer_id: 1-64 chars of letters, digits, '-' and '_'."""
    assert new_peer(peer_id=fresh_peer_id().ljust(62, "x") + "_Z").connect().success


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        pytest.param({"last_known_version": -1}, INVALID_ARGUMENT, id="version -1"),
        pytest.param({"last_known_version": INT64_MIN}, INVALID_ARGUMENT, id="version int64 minimum"),
        pytest.param({"peer_info": default_peer_info(address="a" * 256)}, INVALID_ARGUMENT, id="address of 256 chars"),
        pytest.param({"peer_info": default_peer_info(port=-1)}, INVALID_ARGUMENT, id="port -1"),
        pytest.param({"peer_info": default_peer_info(port=65536)}, INVALID_ARGUMENT, id="port 65536"),
        pytest.param({"peer_info": default_peer_info(port=70000)}, INVALID_ARGUMENT, id="port 70000"),
        pytest.param({"peer_info": default_peer_info(node_type="Alien")}, INVALID_ARGUMENT, id="node_type Alien"),
        pytest.param({"peer_info": default_peer_info(node_type="Central")}, FAILED_PRECONDITION, id="node_type Central"),
    ],
)
def test_connect_refuses_what_is_outside_the_limits(new_peer, resident, fields, code):
    """Protocol section 5, D3: INVALID_ARGUMENT; protocol section 6.1: FAILED_PRECONDITION for a central node. No session."""
    newcomer = new_peer()
    with refused(code) as caught:
        newcomer.connect(**fields)
    assert caught.value.details(), "the reason is to be named"
    assert not resident.node_status(peer_id=newcomer.peer_id, include_peer_list=True).connected_peers


def test_disconnect_ends_the_session(peer):
    """Protocol section 3.1 DisconnectionResponse, protocol section 6.1 peer stop: the session is unknown afterwards."""
    response = peer.leave()
    assert response.success
    assert_recent(response.disconnected_at)
    with refused(NOT_FOUND):
        peer.incremental_sync(after=1)
    with refused(NOT_FOUND, FAILED_PRECONDITION):  # an ended session, or a peer that is not connected: both are true
        peer.beat()


def test_disconnect_ends_the_push_stream(peer):
    """Protocol section 6.1 peer stop: the node ends the peer's push streams. With which code is not said, but it is no fault."""
    notices = peer.subscribe()
    peer.leave()
    assert notices.await_end() not in (INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED)


def test_peer_that_left_may_come_back(peer):
    """Protocol section 6.2 failover steps: disconnect, then connect; the new session is another one."""
    first_session = peer.session_id
    peer.leave()
    assert peer.connect().session_id != first_session


def test_connecting_twice_from_two_live_channels_is_refused(peer, new_peer, new_channel):
    """Protocol section 5, D5, ADR 34: ALREADY_EXISTS, and the session that is there stays whole."""
    second = new_peer(channel=new_channel(), peer_id=peer.peer_id)
    with refused(ALREADY_EXISTS):
        second.connect()
    assert peer.beat().success


def test_identity_is_free_again_once_its_channel_is_dead(new_peer, new_channel):
    """ADR 34: a new session replaces the old one when the old one is dead; here its TCP connection is closed."""
    old_channel = new_channel()
    old = new_peer(channel=old_channel)
    first_session = old.connect().session_id
    old_channel.close()
    successor = new_peer(peer_id=old.peer_id)

    def let_in():
        code = outcome(successor.connect_once)
        if code is grpc.StatusCode.OK:
            return True
        assert code in (ALREADY_EXISTS, RESOURCE_EXHAUSTED), code
        time.sleep(1.1)  # one connect a second is allowed
        return False

    eventually(let_in, "a connect of the same identity accepted")
    assert successor.session_id != first_session


# ---- heartbeat ----


def test_heartbeat_of_an_up_to_date_peer_is_acknowledged(peer, node_version):
    """Protocol section 3.2 HeartbeatAcknowledgement; protocol section 6.3 lag: nothing to do when the versions are equal."""
    version = node_version()
    acknowledgement = peer.beat(last_sync_version=version)
    assert acknowledgement.success
    assert_recent(acknowledgement.timestamp)
    assert acknowledgement.central_node_id == peer.node_status().node_id
    assert acknowledgement.current_system_register_version == version
    assert len(acknowledgement.message) <= 500
    assert acknowledgement.recommended_action == NONE
    assert 0 <= acknowledgement.server_latency_ms < 5_000


def test_heartbeat_of_a_lagging_peer_is_told_to_sync(peer):
    """Protocol section 6.3 lag: node version > last_sync_version gives SYNC."""
    acknowledgement = peer.beat(last_sync_version=0)
    assert acknowledgement.success
    assert acknowledgement.recommended_action == SYNC


@pytest.mark.parametrize("skew_seconds", [-55, 55])
def test_heartbeat_accepts_a_clock_within_a_minute(peer, skew_seconds):
    """Protocol section 3.2 HeartbeatMessage.timestamp, protocol section 6.3 skew: within 60 s either way."""
    assert peer.beat(timestamp=now_ms() + skew_seconds * 1000).success


@pytest.mark.parametrize(
    "metrics",
    [
        pytest.param({}, id="all zero"),
        pytest.param({"cpu_usage_percent": 100.0, "disk_usage_percent": 100.0}, id="percentages at 100"),
        pytest.param({"memory_usage_mb": 12.5, "blueprint_count": 1, "is_syncing": True, "uptime_seconds": 9}, id="usual"),
    ],
)
def test_heartbeat_accepts_metrics_within_their_limits(peer, metrics):
    """Protocol section 3.2 HealthMetrics: percentages 0-100."""
    assert peer.beat(metrics=heartbeat_pb2.HealthMetrics(**metrics)).success


def bad_percentage(**fields):
    return {"metrics": heartbeat_pb2.HealthMetrics(**fields)}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(lambda: {"timestamp": now_ms() - 61_000}, id="61 s slow"),
        pytest.param(lambda: {"timestamp": now_ms() + 61_000}, id="61 s fast"),
        pytest.param(lambda: {"timestamp": 0}, id="no timestamp"),
        pytest.param(lambda: {"timestamp": now_ms() // 1000}, id="timestamp in seconds"),
        pytest.param(lambda: {"timestamp": INT64_MIN}, id="timestamp int64 minimum"),
        pytest.param(lambda: {"timestamp": INT64_MAX}, id="timestamp int64 maximum"),
        pytest.param(lambda: {"last_sync_version": -1}, id="version -1"),
        pytest.param(lambda: bad_percentage(cpu_usage_percent=101), id="cpu 101 %"),
        pytest.param(lambda: bad_percentage(cpu_usage_percent=-1), id="cpu -1 %"),
        pytest.param(lambda: bad_percentage(cpu_usage_percent=math.nan), id="cpu NaN"),
        pytest.param(lambda: bad_percentage(disk_usage_percent=101), id="disk 101 %"),
    ],
)
def test_heartbeat_refuses_what_is_outside_the_limits(peer, fields):
    """Protocol section 5, D6: INVALID_ARGUMENT for a skew over 60 s, a negative version, a percentage outside 0-100."""
    with refused(INVALID_ARGUMENT):
        peer.beat(**fields())


def test_heartbeat_before_connecting_is_refused(new_peer):
    """Protocol section 5, ADR 34: heartbeat from a peer that is not connected gives FAILED_PRECONDITION."""
    with refused(FAILED_PRECONDITION):
        new_peer().beat()


def test_heartbeat_stream_acknowledges_each_message(peer, node_version):
    """Protocol section 6.3 unary or stream: one ack per message, in order, with the action for that message's version."""
    version = node_version()
    stream = peer.open_heartbeat_stream()
    for held, action in [(version, NONE), (0, SYNC), (version, NONE)]:
        stream.send(peer.heartbeat_message(last_sync_version=held))
        acknowledgement = stream.next()
        assert acknowledgement.success
        assert acknowledgement.current_system_register_version == version
        assert acknowledgement.recommended_action == action
        assert_recent(acknowledgement.timestamp)


def test_heartbeat_stream_keeps_order_and_ends_with_the_client(peer, node_version):
    """Protocol section 6.3 unary or stream: acks in order also when the messages come at once; then the call ends OK."""
    version = node_version()
    held = [version, 0, 0, version, 0]
    stream = peer.open_heartbeat_stream()
    for last_sync_version in held:
        stream.send(peer.heartbeat_message(last_sync_version=last_sync_version))
    stream.finish_sending()
    actions = [acknowledgement.recommended_action for acknowledgement in stream.take(len(held))]
    assert actions == [NONE if last_sync_version == version else SYNC for last_sync_version in held]
    assert stream.await_end() is grpc.StatusCode.OK


@pytest.mark.parametrize("session_id", ["", "no-such-session"])
def test_heartbeat_stream_of_an_unconnected_peer_lives_on(new_peer, session_id):
    """Protocol section 5, ADR 34: the ack says RECONNECT with success=false; after a connect the same stream goes on."""
    peer = new_peer()
    stream = peer.open_heartbeat_stream()
    stream.send(peer.heartbeat_message(session_id=session_id))
    acknowledgement = stream.next()
    assert not acknowledgement.success
    assert acknowledgement.recommended_action == RECONNECT

    peer.connect()
    stream.send(peer.heartbeat_message())
    assert stream.next().success


BAD_STREAM_MESSAGES = [
    pytest.param(lambda: {"peer_id": ""}, id="empty peer_id"),
    pytest.param(lambda: {"peer_id": "x" * 65}, id="peer_id of 65 chars"),
    pytest.param(lambda: {"peer_id": "not allowed"}, id="peer_id outside the pattern"),
    pytest.param(lambda: {"timestamp": now_ms() - 61_000}, id="61 s slow"),
    pytest.param(lambda: {"timestamp": now_ms() + 61_000}, id="61 s fast"),
    pytest.param(lambda: {"last_sync_version": -1}, id="version -1"),
    pytest.param(lambda: bad_percentage(cpu_usage_percent=101), id="cpu 101 %"),
]


@pytest.mark.parametrize("fields", BAD_STREAM_MESSAGES)
def test_heartbeat_stream_refuses_what_is_outside_the_limits(peer, fields):
    """Protocol section 5: INVALID_ARGUMENT or its in-band form, an ack with success=false; for the stream both are stated."""
    stream = peer.open_heartbeat_stream()
    stream.send(peer.heartbeat_message(**fields()))
    try:
        acknowledgement = stream.next()
    except grpc.RpcError as refusal:
        assert refusal.code() is INVALID_ARGUMENT, refusal.details()
    else:
        assert not acknowledgement.success


def test_heartbeat_status_of_a_healthy_peer(peer, node_version):
    """Protocol section 3.2 HeartbeatStatus: one heartbeat came, none was missed, the lag is node version minus the peer's."""
    version = node_version()
    peer.beat(last_sync_version=version - 1)
    status = peer.heartbeat_status()
    assert (status.peer_id, status.session_id) == (peer.peer_id, peer.session_id)
    assert_recent(status.last_heartbeat_time)
    assert status.is_healthy
    assert status.health_status == heartbeat_pb2.HEARTBEAT_HEALTH_STATUS_HEALTHY
    assert (status.missed_heartbeats, status.total_heartbeats_missed) == (0, 0)
    assert status.total_heartbeats_received == 1
    assert status.average_latency_ms >= 0
    assert status.last_known_sync_version == version - 1
    assert status.version_lag == 1


def test_heartbeat_status_counts_both_kinds_of_heartbeat(peer):
    """Protocol section 3.2 HeartbeatStatus.total_heartbeats_received: received in this session, by call or by stream."""
    peer.beat()
    stream = peer.open_heartbeat_stream()
    stream.send(peer.heartbeat_message())
    stream.next()
    assert peer.heartbeat_status(session_id=peer.session_id).total_heartbeats_received == 2


def test_heartbeat_status_before_the_first_heartbeat(peer):
    """Protocol section 3.2 HeartbeatStatus.last_heartbeat_time: 0 before the first."""
    status = peer.heartbeat_status()
    assert status.last_heartbeat_time == 0
    assert status.total_heartbeats_received == 0


def test_heartbeat_status_of_a_peer_that_left(peer):
    """Protocol section 4 HeartbeatHealthStatus: DISCONNECTED after leaving explicitly."""
    peer.beat()
    peer.leave()
    status = peer.heartbeat_status()
    assert status.health_status == heartbeat_pb2.HEARTBEAT_HEALTH_STATUS_DISCONNECTED
    assert not status.is_healthy


def test_heartbeat_status_of_an_unknown_peer(new_peer):
    """Protocol D27: NOT_FOUND for a peer that the node has never seen. (An empty peer_id is among the bad identities below.)"""
    with refused(NOT_FOUND):
        new_peer().heartbeat_status()


# ---- identities and sessions, on every RPC ----

CALLS_WITH_PEER_ID = {
    "ConnectToCentralNode": lambda peer: peer.connect(),
    "DisconnectFromCentralNode": lambda peer: peer.leave(),
    "GetCentralNodeStatus": lambda peer: peer.node_status(include_peer_list=True),
    "SendHeartbeat": lambda peer: peer.beat(),
    "GetHeartbeatStatus": lambda peer: peer.heartbeat_status(),
    "FullSync": lambda peer: peer.full_sync(),
    "IncrementalSync": lambda peer: peer.incremental_sync(after=1),
    "SubscribeToPushNotifications": lambda peer: peer.subscribe().next(within=2),
    "GetSyncCheckpoint": lambda peer: peer.checkpoint(),
}  # MonitorHeartbeat, the tenth, is under BAD_STREAM_MESSAGES

BAD_PEER_IDS = {
    "empty": "",
    "65 chars": "x" * 65,
    "space": "not allowed",
    "dot": "not.allowed",
    "not ASCII": "pëer",
    "line end": "peer\n",
}


def bad_identity_cases():
    for method, call in CALLS_WITH_PEER_ID.items():
        for name, bad_id in BAD_PEER_IDS.items():
            may_be_empty = method == "GetCentralNodeStatus"  # protocol D25: empty means no filter
            if bad_id or not may_be_empty:
                yield pytest.param(call, bad_id, id=f"{method}-{name}")


@pytest.mark.parametrize(("call", "bad_id"), list(bad_identity_cases()))
def test_bad_identity_is_refused(new_peer, resident, call, bad_id):
    """Protocol section 5: peer_id empty, over 64 chars or outside the pattern gives INVALID_ARGUMENT."""
    impostor = new_peer(peer_id=bad_id, session_id=resident.session_id)
    with refused(INVALID_ARGUMENT):
        call(impostor)


CALLS_WITH_SESSION = {
    "DisconnectFromCentralNode": lambda peer, session: peer.leave(session_id=session),
    "SendHeartbeat": lambda peer, session: peer.beat(session_id=session),
    "FullSync": lambda peer, session: peer.full_sync(session_id=session),
    "IncrementalSync": lambda peer, session: peer.incremental_sync(after=1, session_id=session),
    "SubscribeToPushNotifications": lambda peer, session: peer.subscribe(session_id=session).next(within=2),
}


@pytest.mark.parametrize("call", CALLS_WITH_SESSION.values(), ids=CALLS_WITH_SESSION)
def test_unknown_session_is_refused(peer, call):
    """Protocol section 5, D4: a session that the node does not know gives NOT_FOUND."""
    with refused(NOT_FOUND):
        call(peer, "no-such-session")


@pytest.mark.parametrize("call", CALLS_WITH_SESSION.values(), ids=CALLS_WITH_SESSION)
def test_session_of_another_peer_is_refused(peer, resident, call):
    """Protocol U3: the code is open; not known to this peer (NOT_FOUND) and not authorised (PERMISSION_DENIED) are accepted."""
    with refused(NOT_FOUND, PERMISSION_DENIED):
        call(peer, resident.session_id)
    assert resident.beat().success, "the other peer's session must be untouched"


@pytest.mark.parametrize("method", ["FullSync", "IncrementalSync", "SubscribeToPushNotifications"])
def test_unconnected_peer_without_session_is_refused(new_peer, method):
    """Protocol D4: a session is required. Whether an empty one is unknown or not connected is open: both codes are accepted."""
    with refused(NOT_FOUND, FAILED_PRECONDITION):
        CALLS_WITH_SESSION[method](new_peer(), "")


# ---- full sync ----


def test_full_sync_sends_the_register(peer, publisher):
    """Protocol sections 3.3, 6.5 FullSync: all active entries in ascending version, each with register id and checksum."""
    published = publisher.publish(metadata={"category": "interop", "author": "suite"})
    entries = peer.full_sync()
    assert_is_full(entries)
    for entry in entries:
        assert_entry_is_sound(entry)
    entry = only(entries, published.blueprint_id)
    assert entry.version == published.version
    assert json.loads(entry.blueprint_document) == published.document
    assert dict(entry.metadata) == published.metadata
    assert entry.publication_transaction_id in ("", published.transaction_id)
    assert_recent(entry.published_at)


def test_full_sync_starts_with_the_seed(peer):
    """Protocol section 6.8 seed: register-creation-v1 at version 1, by system, with its document keys, actions and metadata."""
    seed = peer.full_sync(max_blueprints=1)[0]
    assert (seed.blueprint_id, seed.version, seed.published_by, seed.is_active) == (SEED_ID, 1, "system", True)
    assert dict(seed.metadata) == {"category": "register", "type": "creation", "isDefault": "true"}
    document = json.loads(seed.blueprint_document)
    assert set(document) >= {"@context", "id", "name", "version", "description", "actions"}
    assert "https://sorcha.dev/blueprints/v1" in json.dumps(document["@context"])
    assert (document["id"], document["version"]) == (SEED_ID, "1.0.0")
    actions = json.dumps(document["actions"])
    assert len(document["actions"]) == 3
    assert all(name in actions for name in ("validate-request", "create-register", "publish-transaction"))


def test_full_sync_leaves_deprecated_entries_out(peer, publisher):
    """Protocol section 6.5 FullSync, protocol D12: active entries only."""
    kept, dropped = publisher.publish(), publisher.publish()
    publisher.deprecate(dropped)
    entries = peer.full_sync()
    assert_is_full(entries)
    assert kept.blueprint_id in ids(entries)
    assert dropped.blueprint_id not in ids(entries)


def test_full_sync_disregards_the_version_held(peer, node_version):
    """Protocol section 3.3 SyncRequest.full_sync: send everything, disregard field 2."""
    assert_is_full(peer.full_sync(last_known_version=node_version()))


def test_full_sync_obeys_the_cap(peer, publisher):
    """Protocol section 6.5 max_blueprints: lowest versions first, then stop."""
    publisher.publish()
    assert [entry.version for entry in peer.full_sync(max_blueprints=1)] == [1]


@pytest.mark.parametrize("version", [-1, INT64_MIN])
@pytest.mark.parametrize("method", ["FullSync", "IncrementalSync"])
def test_sync_refuses_a_negative_version(peer, method, version):
    """Protocol section 5, D12: version out of range gives INVALID_ARGUMENT."""
    with refused(INVALID_ARGUMENT):
        if method == "FullSync":
            peer.full_sync(full_sync=False, last_known_version=version)
        else:
            peer.incremental_sync(after=version)


# ---- incremental sync ----


def test_incremental_sync_sends_what_is_newer(peer, publisher):
    """Protocol section 6.5 IncrementalSync: every entry with version strictly greater, ascending."""
    held, *newer = [publisher.publish() for _ in range(3)]
    entries = peer.incremental_sync(after=held.version)
    for entry in entries:
        assert_entry_is_sound(entry)
    assert ids(entries) == [publication.blueprint_id for publication in newer]
    assert [entry.version for entry in entries] == [publication.version for publication in newer]


def test_incremental_sync_with_nothing_newer_is_empty(peer, node_version):
    """Protocol section 6.5 IncrementalSync: nothing newer gives an empty stream, OK, at once."""
    began = time.monotonic()
    assert peer.incremental_sync(after=node_version()) == []
    assert time.monotonic() - began < 2


def test_incremental_sync_from_beyond_the_newest_sends_nothing(peer, node_version):
    """Protocol U4, ADR 41: an empty OK stream, or a refusal as an integrity fault; never entries, never an unforeseen fault."""
    try:
        assert peer.incremental_sync(after=node_version() + 1_000_000) == []
    except grpc.RpcError as refusal:
        assert refusal.code() in (INVALID_ARGUMENT, FAILED_PRECONDITION), refusal.details()


def test_incremental_sync_carries_deprecations(peer, publisher):
    """Protocol section 6.5, D12, ADR 28: inactive entries included, and a deprecation takes a new version."""
    publication = publisher.publish()
    publisher.deprecate(publication)
    entry = only(peer.incremental_sync(after=publication.version), publication.blueprint_id)
    assert_entry_is_sound(entry)
    assert not entry.is_active
    assert entry.version > publication.version
    assert json.loads(entry.blueprint_document) == publication.document


def test_incremental_sync_is_capped_and_resumed(peer, publisher):
    """Protocol section 6.5 max_blueprints: lowest versions first, then stop; resume from the last version received."""
    held, *newer = [publisher.publish() for _ in range(4)]
    first = peer.incremental_sync(after=held.version, max_blueprints=2)
    rest = peer.incremental_sync(after=first[-1].version, max_blueprints=2)
    assert [len(first), len(rest)] == [2, 1]
    assert ids(first + rest) == [publication.blueprint_id for publication in newer]


def test_incremental_sync_with_a_negative_cap(peer, publisher):
    """Protocol U5: open; no cap (the reference) or INVALID_ARGUMENT."""
    held, *newer = [publisher.publish() for _ in range(3)]
    try:
        entries = peer.incremental_sync(after=held.version, max_blueprints=-1)
    except grpc.RpcError as refusal:
        assert refusal.code() is INVALID_ARGUMENT, refusal.details()
    else:
        assert ids(entries) == [publication.blueprint_id for publication in newer]


@pytest.mark.parametrize("forced", [False, True], ids=["version 0", "full_sync over a version"])
def test_incremental_sync_can_be_full(peer, publisher, node_version, forced):
    """Protocol sections 3.3, 6.5, D12: version 0 gives the full sync, and so does full_sync=true whatever the version."""
    kept, dropped = publisher.publish(), publisher.publish()
    publisher.deprecate(dropped)
    held = node_version() if forced else 0
    entries = peer.incremental_sync(after=held, full_sync=forced)
    assert_is_full(entries)
    assert kept.blueprint_id in ids(entries)
    assert dropped.blueprint_id not in ids(entries)


def test_document_travels_as_canonical_json(peer, publisher):
    """Protocol D10, ADR 29: RFC 8785 bytes. The payload is the sample of that RFC's section 3.2.2."""
    payload = (
        r'{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],'
        r'"string":"\u20ac$\u000F\u000aA' "'" r'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}'
    )
    canonical = (
        r'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        r'"string":"€$\u000f\nA' "'" r'B\"\\\\\"/"}'
    )
    publication = publisher.publish(payload=payload)
    (entry,) = peer.incremental_sync(after=publication.version - 1)
    document = entry.blueprint_document.decode()
    assert f'"payload":{canonical}' in document
    assert list(json.loads(document)) == sorted(publication.document), "keys in order"
    assert_checksum_covers(entry.checksum, entry.blueprint_document)


# ---- push ----


def test_push_announces_publications(peer, publisher):
    """Protocol section 3.3 BlueprintNotification, protocol section 6.6, protocol D29: a notice for each, sequence from 1 without gaps."""
    notices = peer.subscribe()
    published = [publisher.publish() for _ in range(3)]
    received = notices.take(3)
    entries = peer.incremental_sync(after=published[0].version - 1)
    assert_counts_from_one(received)
    for notice, publication, entry in zip(received, published, entries, strict=True):
        assert notice.type == PUBLISHED
        assert (notice.blueprint_id, notice.version) == (publication.blueprint_id, publication.version)
        assert (notice.published_at, notice.published_by) == (entry.published_at, entry.published_by)
        assert notice.checksum == entry.checksum
        assert len(notice.blueprint_summary) <= 4096


def test_push_announces_deprecations(peer, publisher):
    """Protocol section 4 NotificationType, protocol D20: DEPRECATED, with the new version."""
    notices = peer.subscribe()
    publication = publisher.publish()
    publisher.deprecate(publication)
    received = notices.take(2)
    assert_counts_from_one(received)
    assert [notice.type for notice in received] == [PUBLISHED, DEPRECATED]
    assert ids(received) == [publication.blueprint_id] * 2
    assert received[1].version > publication.version


def test_push_reaches_every_subscriber(new_peer, publisher):
    """Protocol section 6.6 when: to all subscribers."""
    inboxes = []
    for _ in range(3):
        subscriber = new_peer()
        subscriber.connect()
        inboxes.append(subscriber.subscribe())
    publication = publisher.publish()
    for inbox in inboxes:
        notice = inbox.next()
        assert (notice.blueprint_id, notice.sequence_number) == (publication.blueprint_id, 1)


def test_push_with_empty_filters_sends_everything(peer, publisher):
    """Protocol section 3.3 SubscriptionFilters: each empty filter means all."""
    notices = peer.subscribe(filters=filters())
    publication = publisher.publish()
    assert ids(notices.take(1)) == [publication.blueprint_id]


def test_push_filters_by_blueprint(peer, publisher):
    """Protocol section 3.3 SubscriptionFilters.blueprint_ids; protocol D29: no gap for what was filtered out."""
    wanted = [fresh_blueprint_id(), fresh_blueprint_id()]
    notices = peer.subscribe(filters=filters(blueprint_ids=wanted))
    for blueprint_id in (None, wanted[0], None, wanted[1]):
        publisher.publish(blueprint_id)
    received = notices.take(2)
    assert ids(received) == wanted
    assert_counts_from_one(received)


def test_push_filters_by_publisher(peer, new_peer, publisher):
    """Protocol section 3.3 SubscriptionFilters.publisher_ids."""
    sample = publisher.publish()
    (entry,) = peer.incremental_sync(after=sample.version - 1)
    notices = peer.subscribe(filters=filters(publisher_ids=["nobody-at-all", entry.published_by]))
    other = new_peer()
    other.connect()
    silence = other.subscribe(filters=filters(publisher_ids=["nobody-at-all"]))
    publication = publisher.publish()
    assert ids(notices.take(1)) == [publication.blueprint_id]
    silence.assert_silent(0.5)


def test_push_filters_by_kind(peer, new_peer, publisher):
    """Protocol section 3.3 SubscriptionFilters.notification_types."""
    other = new_peer()
    other.connect()
    publications = peer.subscribe(filters=filters(notification_types=[PUBLISHED]))
    deprecations = other.subscribe(filters=filters(notification_types=[DEPRECATED]))
    first = publisher.publish()
    publisher.deprecate(first)
    second = publisher.publish()
    publisher.deprecate(second)
    for inbox, kind in [(publications, PUBLISHED), (deprecations, DEPRECATED)]:
        received = inbox.take(2)
        assert ids(received) == [first.blueprint_id, second.blueprint_id]
        assert {notice.type for notice in received} == {kind}
        assert_counts_from_one(received)


def test_push_filters_by_metadata(peer, publisher):
    """Protocol section 3.3 SubscriptionFilters.metadata_filters: entry metadata must match. (Several keys: protocol U6.)"""
    category = fresh_blueprint_id()
    notices = peer.subscribe(filters=filters(metadata_filters={"category": category}))
    publisher.publish()
    publisher.publish(metadata={"category": "another"})
    wanted = publisher.publish(metadata={"category": category, "author": "suite"})
    received = notices.take(1)
    assert ids(received) == [wanted.blueprint_id]
    assert_counts_from_one(received)


def test_second_subscription_of_a_session_is_refused(peer, publisher):
    """Protocol section 6.6 double subscription, protocol D31: ALREADY_EXISTS, and the first subscriber stays."""
    notices = peer.subscribe()
    with refused(ALREADY_EXISTS):
        peer.subscribe().next()
    publication = publisher.publish()
    assert ids(notices.take(1)) == [publication.blueprint_id]


def test_dropped_subscription_can_be_opened_again(peer, publisher):
    """Protocol section 6.6 failure: the peer opens the stream again; protocol D29: the new subscription counts from 1."""
    first = peer.subscribe()
    publisher.publish()
    first.take(1)
    first.cancel()

    def open_again():
        inbox = peer.subscribe()
        publication = publisher.publish()
        try:
            return inbox.next(), publication
        except grpc.RpcError as refusal:
            assert refusal.code() is ALREADY_EXISTS, refusal.details()
            return None

    notice, publication = eventually(open_again, "a second subscription after the first was cancelled")
    assert (notice.blueprint_id, notice.sequence_number) == (publication.blueprint_id, 1)


# ---- checkpoint ----


def await_checkpoint(peer, version):
    def reached():
        checkpoint = peer.checkpoint()
        return checkpoint if checkpoint.current_version == version else None

    return eventually(reached, f"the node's view of the checkpoint at {version}")


def test_checkpoint_follows_a_finished_full_sync(peer, publisher):
    """Protocol section 3.3 SyncCheckpoint, protocol D13: the peer's position as the node knows it; next due 300000 ms later."""
    publisher.publish()  # so that the newest entry is an active one
    entries = peer.full_sync()
    checkpoint = await_checkpoint(peer, entries[-1].version)
    assert checkpoint.peer_id == peer.peer_id
    assert checkpoint.central_node_id == peer.node_status().node_id
    assert_recent(checkpoint.last_sync_time)
    assert checkpoint.next_sync_due == checkpoint.last_sync_time + SYNC_PERIOD_MS
    assert checkpoint.status == sync_pb2.CHECKPOINT_STATUS_UP_TO_DATE
    # Entries in the replica: the active ones that were sent, or every one up to that version.
    assert len(entries) <= checkpoint.total_blueprints <= entries[-1].version


def test_checkpoint_follows_a_finished_incremental_sync(peer, publisher):
    """Protocol D13: finished streams move it."""
    held, newest = publisher.publish(), publisher.publish()
    peer.incremental_sync(after=held.version)
    checkpoint = await_checkpoint(peer, newest.version)
    assert checkpoint.next_sync_due == checkpoint.last_sync_time + SYNC_PERIOD_MS


def test_checkpoint_follows_heartbeats(peer, publisher):
    """Protocol D13: heartbeats move it; protocol section 4 CheckpointStatus tells whether the peer lags."""
    newest = publisher.publish()
    peer.beat(last_sync_version=newest.version - 1)
    assert await_checkpoint(peer, newest.version - 1).status == sync_pb2.CHECKPOINT_STATUS_BEHIND
    peer.beat(last_sync_version=newest.version)
    assert await_checkpoint(peer, newest.version).status == sync_pb2.CHECKPOINT_STATUS_UP_TO_DATE


def test_checkpoint_never_falls(peer, node_version):
    """Protocol section 3.3 SyncCheckpoint.current_version: never falls."""
    version = node_version()
    peer.beat(last_sync_version=version)
    await_checkpoint(peer, version)
    peer.beat(last_sync_version=version - 1)
    assert peer.checkpoint(session_id=peer.session_id).current_version == version


def test_checkpoint_of_an_unknown_peer_claims_nothing(new_peer):
    """Protocol D13: the code is open; NOT_FOUND, or an answer that does not claim any position."""
    try:
        checkpoint = new_peer().checkpoint()
    except grpc.RpcError as refusal:
        assert refusal.code() is NOT_FOUND, refusal.details()
    else:
        assert checkpoint.current_version == 0
        assert checkpoint.status != sync_pb2.CHECKPOINT_STATUS_UP_TO_DATE


# ---- node status ----


def test_node_status_describes_the_node(peer, publisher):
    """Protocol section 3.1 CentralNodeStatus; without include_peer_list there is no peer list."""
    publication = publisher.publish()
    status = peer.node_status()
    assert 1 <= len(status.node_id) <= 64
    assert status.health == connection_pb2.NODE_HEALTH_HEALTHY
    assert status.current_system_register_version == publication.version
    assert 1 <= status.total_blueprints <= publication.version
    assert status.active_peer_count >= 1
    assert_recent(status.last_blueprint_published_at)
    assert status.uptime_seconds >= 0
    assert not status.connected_peers


def test_node_status_lists_the_sessions(peer, new_peer):
    """Protocol section 3.1 ConnectedPeerInfo; protocol D25: an empty peer_id filters nothing."""
    other = new_peer()
    other.connect()
    status = peer.node_status(peer_id="", include_peer_list=True)
    sessions = {info.peer_id: info.session_id for info in status.connected_peers}
    assert sessions.items() >= {peer.peer_id: peer.session_id, other.peer_id: other.session_id}.items()
    assert status.active_peer_count == len(status.connected_peers)


def test_session_ids_are_told_on_their_own_connection_only(peer, new_peer, new_channel):
    """Who knows a session's id can speak for it where connections prove nothing: another connection is told none."""
    stranger = new_peer(channel=new_channel())
    told = [
        stranger.node_status(peer_id="", include_peer_list=True),
        stranger.node_status(peer_id=peer.peer_id, include_peer_list=True),
        stranger.heartbeat_status(peer_id=peer.peer_id),
    ]
    assert told[1].connected_peers[0].peer_id == told[2].peer_id == peer.peer_id
    assert all(peer.session_id not in str(answer) for answer in told)
    assert peer.heartbeat_status().session_id == peer.session_id
    assert peer.beat().success, "the session is its owner's still"


def test_node_status_shows_only_the_peer_asked_about(peer, new_peer):
    """Protocol D25: peer_id filters the list, and nothing else."""
    new_peer().connect()
    status = peer.node_status(include_peer_list=True)
    assert [info.peer_id for info in status.connected_peers] == [peer.peer_id]
    assert status.active_peer_count >= 2
    assert not peer.node_status(peer_id=fresh_peer_id(), include_peer_list=True).connected_peers


def test_node_status_follows_a_session(peer):
    """Protocol section 3.1 ConnectedPeerInfo: the newest heartbeat starts at connect time; a peer that left is gone."""

    def listed():
        return list(peer.node_status(include_peer_list=True).connected_peers)

    (info,) = listed()
    assert_recent(info.connected_at)
    assert info.last_heartbeat_at == info.connected_at
    assert info.last_sync_version == 0
    assert info.status == connection_pb2.PEER_CONNECTION_STATUS_CONNECTED

    time.sleep(0.01)
    peer.beat(last_sync_version=1)
    (info,) = listed()
    assert info.last_heartbeat_at > info.connected_at
    assert info.last_sync_version == 1

    peer.leave()
    assert listed() == []


# ---- rate limits ----


def test_connects_of_one_identity_are_limited(new_peer, new_channel):
    """Protocol section 6.10, ADR 36: 1 connect/s with a burst of 3, per identity and not per connection, with a retry hint."""
    peer_id = fresh_peer_id()
    doors = [new_peer(channel=new_channel(), peer_id=peer_id) for _ in range(2)]
    refusals = {}
    for attempt in range(5):
        try:
            doors[attempt % 2].connect_once()
        except grpc.RpcError as refusal:
            refusals[attempt] = refusal
    codes = {attempt: refusal.code() for attempt, refusal in refusals.items()}
    limited = [attempt for attempt, code in codes.items() if code is RESOURCE_EXHAUSTED]
    assert 0 not in codes, "the first attempt is to be accepted"
    assert set(codes.values()) <= {ALREADY_EXISTS, RESOURCE_EXHAUSTED}, codes
    assert limited and limited[0] in (3, 4), f"limited at {limited}, counted from 0"

    refusal = refusals[limited[-1]]
    assert retry_hint(refusal), f"no retry hint in {refusal.trailing_metadata()}"
    time.sleep(min(retry_delay(refusal), 3) + 0.1)
    assert outcome(doors[0].connect_once) in (grpc.StatusCode.OK, ALREADY_EXISTS)


def test_full_syncs_of_one_identity_are_limited(peer, node_version):
    """Protocol section 6.10, ADR 36: 1 full sync/min with a burst of 2 and a retry hint; incremental ones not counted."""
    peer.full_sync(max_blueprints=1)
    peer.full_sync(max_blueprints=1)
    with refused(RESOURCE_EXHAUSTED) as caught:
        peer.full_sync(max_blueprints=1)
    assert retry_hint(caught.value), f"no retry hint in {caught.value.trailing_metadata()}"
    for _ in range(3):
        assert peer.incremental_sync(after=node_version()) == []


def test_heartbeats_of_one_identity_are_limited(peer):
    """Protocol section 5, ADR 36: a flood gives RESOURCE_EXHAUSTED or the ack REDUCE_FREQUENCY, but two in a row do not."""

    def limited():
        try:
            return peer.beat().recommended_action == REDUCE_FREQUENCY
        except grpc.RpcError as refusal:
            assert refusal.code() is RESOURCE_EXHAUSTED, refusal.details()
            assert retry_hint(refusal), f"no retry hint in {refusal.trailing_metadata()}"
            return True

    accepted = next((sent for sent in range(200) if limited()), None)
    assert accepted is not None, "200 heartbeats at once met no limit"
    assert accepted >= 2


# ---- what must not hurt ----


def test_call_metadata_does_not_hurt(new_peer, settings, node_version):
    """Protocol section 1 call metadata: peer-id and authorization may come with any call."""
    peer_id = fresh_peer_id()
    metadata = (("peer-id", peer_id), ("authorization", f"Bearer {settings.token}"))
    peer = new_peer(peer_id=peer_id, metadata=metadata)
    assert peer.connect().success
    assert peer.beat().success
    assert peer.incremental_sync(after=node_version()) == []
    assert peer.heartbeat_status().is_healthy
    stream = peer.open_heartbeat_stream()
    stream.send(peer.heartbeat_message())
    assert stream.next().success
    assert peer.leave().success


def test_unknown_disconnect_reason_does_not_hurt(peer):
    """Protocol section 1 enums: open; receivers must survive unknown values."""
    assert peer.leave(reason=UNKNOWN_ENUM_VALUE).success


def test_unknown_notification_type_in_a_filter_does_not_hurt(peer, publisher):
    """Protocol section 1 enums: an unknown value beside a known one, in the one packed field, leaves the known one working."""
    notices = peer.subscribe(filters=filters(notification_types=[UNKNOWN_ENUM_VALUE, PUBLISHED]))
    publication = publisher.publish()
    assert ids(notices.take(1)) == [publication.blueprint_id]


def test_unknown_fields_in_a_connect_do_not_hurt(new_peer, channel):
    """Protocol section 1 syntax proto3: fields of a later version are skipped, at the top and inside peer_info."""
    peer = new_peer()
    request = peer.connect_request().SerializeToString() + unknown_fields() + bytes_field(2, unknown_fields())
    method = "CentralNodeConnection/ConnectToCentralNode"
    response = client.obeying_limits(lambda: raw_unary(channel, method, request, connection_pb2.ConnectionResponse))
    peer.session_id = response.session_id
    assert response.success
    assert peer.beat().success


def test_unknown_fields_in_other_requests_do_not_hurt(peer, channel, publisher):
    """Protocol section 1 syntax proto3: likewise in a heartbeat and in a sync request."""
    heartbeat = peer.heartbeat_message().SerializeToString() + unknown_fields()
    assert raw_unary(channel, "Heartbeat/SendHeartbeat", heartbeat, heartbeat_pb2.HeartbeatAcknowledgement).success

    publication = publisher.publish()
    request = peer.sync_request(last_known_version=publication.version - 1).SerializeToString() + unknown_fields()
    entries = raw_server_stream(channel, "SystemRegisterSync/IncrementalSync", request, sync_pb2.SystemRegisterEntry)
    assert ids(entries) == [publication.blueprint_id]


@pytest.mark.parametrize(
    "request_bytes",
    [pytest.param(b"\x0a\x7fshort", id="cut off"), pytest.param(bytes_field(1, b"\xff\xfe"), id="peer_id not UTF-8")],
)
def test_malformed_message_is_refused_and_harms_nothing(channel, resident, request_bytes):
    """Protocol section 5: bytes that are no message give INVALID_ARGUMENT, or INTERNAL as gRPC libraries do; the node goes on."""
    with refused(INVALID_ARGUMENT, INTERNAL):
        raw_unary(
            channel, "CentralNodeConnection/ConnectToCentralNode", request_bytes, connection_pb2.ConnectionResponse
        )
    assert resident.node_status().health == connection_pb2.NODE_HEALTH_HEALTHY


def test_answers_add_no_field_below_100(new_peer, publisher):
    """Protocol sections 3.1-3.3, ADR 24: fields beyond the contract's have numbers from 100 up, so nobody else's are taken."""
    peer = new_peer()
    response = peer.connect()
    notices = peer.subscribe()
    publication = publisher.publish()
    answers = [
        response,
        response.config,
        peer.node_status(include_peer_list=True),
        *peer.node_status(include_peer_list=True).connected_peers,
        peer.beat(),
        peer.heartbeat_status(),
        *peer.incremental_sync(after=publication.version - 1),
        notices.next(),
        peer.checkpoint(),
        peer.leave(),
    ]
    for answer in answers:
        added = [field.field_number for field in UnknownFieldSet(answer)]
        assert all(number >= FIRST_ADDED_FIELD for number in added), (answer.DESCRIPTOR.name, added)


# ---- around the protocol ----


def test_publishing_needs_the_token(publisher):
    """Protocol section 8 POST /api/system-register/publish: 401 without a token, or with another one."""
    blueprint_id = fresh_blueprint_id()
    body = json.dumps({"blueprintId": blueprint_id, "blueprint": {"id": blueprint_id}}).encode()
    for token in ("", "not-the-token"):
        status, _ = publisher.post("/api/system-register/publish", body, token=token)
        assert status == 401


def test_standard_health_service_says_serving(channel):
    """Protocol section 1 extra services: grpc.health.v1.Health, asked about the server as a whole."""
    health = health_pb2_grpc.HealthStub(channel)
    answer = health.Check(health_pb2.HealthCheckRequest(service=""), timeout=DEADLINE)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_document_of_five_megabytes_arrives_whole(peer, publisher):
    """Protocol sections 3.3, U7: documents up to 16 MB, so above gRPC's usual 4 MB; the notice stays at 4 KB or less."""
    notices = peer.subscribe()
    publication = publisher.publish(payload=json.dumps("five megabytes " * (5 * 1024 * 1024 // 15 + 1)))
    (entry,) = peer.incremental_sync(after=publication.version - 1)
    assert len(entry.blueprint_document) > 5 * 1024 * 1024
    assert json.loads(entry.blueprint_document) == publication.document
    assert_checksum_covers(entry.checksum, entry.blueprint_document)
    notice = notices.next()
    assert notice.checksum == entry.checksum
    assert len(notice.blueprint_summary) <= 4096
    publisher.deprecate(publication)  # spares later full syncs of the same node the five megabytes
