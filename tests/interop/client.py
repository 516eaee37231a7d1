"""A peer and a publisher, as small as the tests allow. Every wait in here ends after DEADLINE seconds at the latest."""

import contextlib
import json
import queue
import threading
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass

import grpc

from stubs import (
    connection_pb2,
    connection_pb2_grpc,
    heartbeat_pb2,
    heartbeat_pb2_grpc,
    sync_pb2,
    sync_pb2_grpc,
)

DEADLINE = 10.0
STREAM_LIFETIME = 40.0  # a stream left open by mistake ends by itself; no test waits for this
MAX_MESSAGE_BYTES = 20 * 1024 * 1024

CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.use_local_subchannel_pool", 1),  # else two channels of one process share one connection
    ("grpc.enable_http_proxy", 0),
]


def now_ms():
    return time.time_ns() // 1_000_000


def fresh_peer_id():
    """An identity whose rate-limit buckets nobody has touched."""
    return f"interop-{uuid.uuid4().hex}"


def fresh_blueprint_id():
    return f"interop-blueprint-{uuid.uuid4().hex[:16]}"


def eventually(probe, what, within=DEADLINE):
    """Repeats `probe` until it returns something true, and returns that."""
    give_up = time.monotonic() + within
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < give_up, f"{what}: not within {within} s"
        time.sleep(0.02)


# ---- rate limits ----


def retry_hint(refusal):
    """The (key, value) of the trailing metadata that tells when to try again, or None."""
    for key, value in refusal.trailing_metadata() or ():
        names_a_retry = "retry" in key
        carries_retry_info = key == "grpc-status-details-bin" and b"google.rpc.RetryInfo" in value
        if names_a_retry or carries_retry_info:
            return key, value
    return None


def retry_delay(refusal, default=1.0):
    """Seconds to wait according to the hint; `default` where it has no plain number."""
    hint = retry_hint(refusal)
    if hint is None:
        return default
    key, value = hint
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    try:
        number = float(text.removesuffix("s"))
    except ValueError:
        return default
    return number / 1000 if key.endswith("ms") else number


def obeying_limits(call):
    """Repeats a call refused for want of tokens, after the hinted delay: the node has one bucket for all connects, too."""
    give_up = time.monotonic() + DEADLINE
    while True:
        try:
            return call()
        except grpc.RpcError as refusal:
            delay = retry_delay(refusal)
            out_of_time = time.monotonic() + delay > give_up
            if refusal.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED or out_of_time:
                raise
            time.sleep(delay)


# ---- streams ----


class Inbox:
    """The messages of a response stream, read in the background so that a test can wait with a deadline."""

    _END = object()

    def __init__(self, call):
        self._call = call
        self._messages = queue.Queue()
        self._accepted = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with contextlib.suppress(grpc.RpcError):
            self._call.initial_metadata()
            self._accepted.set()
            for message in self._call:
                self._messages.put(message)
        self._accepted.set()
        self._messages.put(self._END)

    def await_accepted(self, within=2.0):
        """Waits for the response headers. A server may hold them back until its first message, so a miss is no failure."""
        self._accepted.wait(within)
        return self

    def next(self, within=DEADLINE):
        """The next message; raises the stream's RpcError when it ends with one."""
        try:
            message = self._messages.get(timeout=within)
        except queue.Empty:
            raise AssertionError(f"no message within {within} s") from None
        if message is not self._END:
            return message
        self._messages.put(self._END)
        if self._call.code() is not grpc.StatusCode.OK:
            raise self._call
        raise AssertionError("the stream ended OK where a message was due")

    def take(self, count):
        return [self.next() for _ in range(count)]

    def assert_silent(self, seconds):
        try:
            message = self._messages.get(timeout=seconds)
        except queue.Empty:
            return
        raise AssertionError(f"nothing was due, but got: {'the end' if message is self._END else message}")

    def await_end(self, within=DEADLINE):
        """Reads until the stream ends; returns its status code."""
        give_up = time.monotonic() + within
        while True:
            try:
                message = self._messages.get(timeout=max(0.0, give_up - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"the stream did not end within {within} s") from None
            if message is self._END:
                self._messages.put(self._END)
                return self._call.code()

    def cancel(self):
        self._call.cancel()


class HeartbeatStream(Inbox):
    """An open MonitorHeartbeat call."""

    def __init__(self, stub, metadata):
        self._requests = queue.Queue()
        requests = iter(self._requests.get, self._END)
        super().__init__(stub.MonitorHeartbeat(requests, timeout=STREAM_LIFETIME, metadata=metadata))

    def send(self, message):
        self._requests.put(message)

    def finish_sending(self):
        self._requests.put(self._END)

    def cancel(self):
        self.finish_sending()
        super().cancel()


# ---- the peer ----


class Peer:
    """One identity on one channel. Methods send a correct request unless told otherwise by keyword."""

    def __init__(self, channel, peer_id=None, session_id="", metadata=()):
        self.peer_id = fresh_peer_id() if peer_id is None else peer_id
        self.session_id = session_id
        self.metadata = metadata
        self.sequence = 0
        self._streams = []
        self._connection = connection_pb2_grpc.CentralNodeConnectionStub(channel)
        self._heartbeat = heartbeat_pb2_grpc.HeartbeatStub(channel)
        self._sync = sync_pb2_grpc.SystemRegisterSyncStub(channel)

    def _options(self):
        return {"timeout": DEADLINE, "metadata": self.metadata}

    # CentralNodeConnection

    def connect_request(self, **fields):
        defaults = {
            "peer_id": self.peer_id,
            "peer_info": default_peer_info(),
            "connection_time": now_ms(),
        }
        return connection_pb2.ConnectRequest(**{**defaults, **fields})

    def connect_once(self, **fields):
        """One attempt, whatever comes of it."""
        response = self._connection.ConnectToCentralNode(self.connect_request(**fields), **self._options())
        self.session_id = response.session_id
        return response

    def connect(self, **fields):
        return obeying_limits(lambda: self.connect_once(**fields))

    def leave(self, **fields):
        defaults = {
            "peer_id": self.peer_id,
            "session_id": self.session_id,
            "reason": connection_pb2.DISCONNECT_REASON_SHUTDOWN,
            "disconnect_time": now_ms(),
        }
        request = connection_pb2.DisconnectRequest(**{**defaults, **fields})
        return self._connection.DisconnectFromCentralNode(request, **self._options())

    def node_status(self, **fields):
        request = connection_pb2.StatusRequest(**{"peer_id": self.peer_id, **fields})
        return self._connection.GetCentralNodeStatus(request, **self._options())

    # Heartbeat

    def heartbeat_message(self, **fields):
        self.sequence += 1
        defaults = {
            "peer_id": self.peer_id,
            "timestamp": now_ms(),
            "sequence_number": self.sequence,
            "session_id": self.session_id,
            "node_type": "Peer",
        }
        return heartbeat_pb2.HeartbeatMessage(**{**defaults, **fields})

    def beat(self, **fields):
        return self._heartbeat.SendHeartbeat(self.heartbeat_message(**fields), **self._options())

    def open_heartbeat_stream(self):
        return self._keep(HeartbeatStream(self._heartbeat, self.metadata))

    def heartbeat_status(self, **fields):
        request = heartbeat_pb2.HeartbeatStatusRequest(**{"peer_id": self.peer_id, **fields})
        return self._heartbeat.GetHeartbeatStatus(request, **self._options())

    # SystemRegisterSync

    def sync_request(self, **fields):
        defaults = {"peer_id": self.peer_id, "session_id": self.session_id, "request_time": now_ms()}
        return sync_pb2.SyncRequest(**{**defaults, **fields})

    def full_sync(self, **fields):
        request = self.sync_request(**{"full_sync": True, **fields})
        return list(self._sync.FullSync(request, **self._options()))

    def incremental_sync(self, after, **fields):
        request = self.sync_request(**{"last_known_version": after, **fields})
        return list(self._sync.IncrementalSync(request, **self._options()))

    def subscribe(self, **fields):
        """Opens a push stream; `filters` may be given as a SubscriptionFilters message."""
        defaults = {"peer_id": self.peer_id, "session_id": self.session_id, "subscribe_time": now_ms()}
        request = sync_pb2.SubscriptionRequest(**{**defaults, **fields})
        call = self._sync.SubscribeToPushNotifications(request, timeout=STREAM_LIFETIME, metadata=self.metadata)
        return self._keep(Inbox(call)).await_accepted()

    def checkpoint(self, **fields):
        request = sync_pb2.CheckpointRequest(**{"peer_id": self.peer_id, **fields})
        return self._sync.GetSyncCheckpoint(request, **self._options())

    # end of a test

    def _keep(self, stream):
        self._streams.append(stream)
        return stream

    def clean_up(self):
        for stream in self._streams:
            stream.cancel()
        if self.session_id:
            with contextlib.suppress(grpc.RpcError, ValueError):  # ValueError: its channel is closed already
                self.leave()


def default_peer_info(**fields):
    defaults = {
        "address": "127.0.0.1:5000",
        "port": 5000,
        "node_type": "Peer",
        "supported_protocols": ["v1"],
        "capabilities": connection_pb2.PeerCapabilities(
            supports_push_notifications=True,
            supports_incremental_sync=True,
            max_blueprint_size=16 * 1024 * 1024,
            is_nat_restricted=True,
        ),
    }
    return connection_pb2.PeerInfo(**{**defaults, **fields})


# ---- the publisher ----


@dataclass(frozen=True)
class Publication:
    blueprint_id: str
    document: dict
    metadata: dict
    version: int
    transaction_id: str


class Publisher:
    """Publishes and deprecates over HTTP, since the wire has no RPC for it; returns once the node's log has the result."""

    def __init__(self, base_url, token, node_version):
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._node_version = node_version

    def publish(self, blueprint_id=None, metadata=None, payload="null"):
        """`payload` is JSON text that goes into the blueprint as it stands."""
        blueprint_id = blueprint_id or fresh_blueprint_id()
        blueprint = blueprint_text(blueprint_id, payload)
        body = f'{{"blueprintId":{json.dumps(blueprint_id)},"blueprint":{blueprint}'
        if metadata is not None:
            body += f',"metadata":{json.dumps(metadata)}'
        status, answer = self.post("/api/system-register/publish", body.encode() + b"}")
        assert status == 201, f"publishing {blueprint_id}: HTTP {status} {answer}"
        assert answer["blueprintId"] == blueprint_id
        self._await_version(answer["version"])
        return Publication(blueprint_id, json.loads(blueprint), metadata or {}, answer["version"], answer["transactionId"])

    def deprecate(self, publication):
        """Returns the version that the deprecation took."""
        before = self._node_version()
        status, answer = self.post(f"/api/system-register/blueprints/{publication.blueprint_id}/deprecate", b"")
        assert status == 200, f"deprecating {publication.blueprint_id}: HTTP {status} {answer}"
        return self._await_version(before + 1)

    def _await_version(self, version):
        def reached():
            current = self._node_version()
            return current if current >= version else None

        return eventually(reached, f"the node at version {version}")

    def post(self, path, body, token=None):
        """(status, decoded answer); `token` "" sends none."""
        headers = {"Content-Type": "application/json"}
        token = self._token if token is None else token
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self._base_url + path, data=body, headers=headers, method="POST")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=DEADLINE) as response:
                return response.status, _decoded(response.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, _decoded(refusal.read())


def _decoded(body):
    try:
        return json.loads(body)
    except ValueError:
        return body


def blueprint_text(blueprint_id, payload):
    """JSON text with the keys of the seed blueprint, plus `payload`."""
    blueprint = {
        "@context": "https://sorcha.dev/blueprints/v1",
        "id": blueprint_id,
        "name": "Interop blueprint",
        "version": "1.0.0",
        "description": "Made by the interop suite",
        "actions": [{"id": "act"}],
    }
    return json.dumps(blueprint)[:-1] + f', "payload": {payload}}}'


# ---- bytes that the generated code would not send ----

_LENGTH_DELIMITED = 2


def _varint(number):
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def bytes_field(number, value):
    """The encoding of one length-delimited field."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(value)) + value


def unknown_fields():
    """A varint and a string under numbers that no version of the protocol uses, the second being the highest there is."""
    return _varint(20_000 << 3) + _varint(7) + bytes_field((1 << 29) - 1, b"from the future")


def raw_unary(channel, method, request_bytes, response_type):
    """Sends bytes as they are to a unary method, named `Service/Method`."""
    call = channel.unary_unary(
        f"/sorcha.peer.v1.{method}", request_serializer=bytes, response_deserializer=response_type.FromString
    )
    return call(request_bytes, timeout=DEADLINE)


def raw_server_stream(channel, method, request_bytes, response_type):
    """Sends bytes as they are to a server-streaming method; returns all messages."""
    call = channel.unary_stream(
        f"/sorcha.peer.v1.{method}", request_serializer=bytes, response_deserializer=response_type.FromString
    )
    return list(call(request_bytes, timeout=DEADLINE))
