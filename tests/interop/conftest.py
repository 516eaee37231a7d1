"""Fixtures: the node under test from the environment, channels, peers that leave afterwards, and a publisher.

    SORCHA_GRPC   host:port of the central node's gRPC listener, cleartext HTTP/2
    SORCHA_HTTP   base URL of its HTTP listener, for publishing
    SORCHA_TOKEN  bearer token for HTTP writes

The stubs are generated when `client` (and through it `stubs`) is imported.
"""

import os
from types import SimpleNamespace

import grpc
import pytest

from client import CHANNEL_OPTIONS, DEADLINE, Peer, Publisher

VARIABLES = {
    "SORCHA_GRPC": "the central node's gRPC address, e.g. 127.0.0.1:5000",
    "SORCHA_HTTP": "the central node's HTTP base URL, e.g. http://127.0.0.1:8080",
    "SORCHA_TOKEN": "the bearer token that may publish",
}


def pytest_configure(config):
    missing = [f"  {name}: {meaning}" for name, meaning in VARIABLES.items() if not os.environ.get(name)]
    if missing and not config.option.collectonly:
        lines = "\n".join(missing)
        raise pytest.UsageError(f"the interop suite needs a running central node; not set in the environment:\n{lines}")


@pytest.fixture(scope="session")
def settings():
    return SimpleNamespace(
        grpc=os.environ["SORCHA_GRPC"], http=os.environ["SORCHA_HTTP"], token=os.environ["SORCHA_TOKEN"]
    )


def open_channel(address):
    channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
    try:
        grpc.channel_ready_future(channel).result(timeout=DEADLINE)
    except grpc.FutureTimeoutError:
        channel.close()
        pytest.exit(f"no central node answers gRPC at SORCHA_GRPC={address} within {DEADLINE} s", returncode=1)
    return channel


@pytest.fixture(scope="session")
def channel(settings):
    """The connection that most tests share."""
    with open_channel(settings.grpc) as channel:
        yield channel


@pytest.fixture
def new_channel(settings):
    """Opens channels that are TCP connections of their own."""
    opened = []

    def open_one():
        opened.append(open_channel(settings.grpc))
        return opened[-1]

    yield open_one
    for channel in opened:
        channel.close()


@pytest.fixture
def new_peer(channel):
    """Makes peers that are not connected yet; those which connect leave at the end of the test."""
    peers = []

    def make_one(**options):
        peers.append(Peer(options.pop("channel", channel), **options))
        return peers[-1]

    yield make_one
    for peer in peers:
        peer.clean_up()


@pytest.fixture
def peer(new_peer):
    """A connected peer with a fresh identity."""
    peer = new_peer()
    peer.connect()
    return peer


@pytest.fixture(scope="module")
def resident(channel):
    """A connected peer that lends its session to requests which must be refused for another reason."""
    peer = Peer(channel)
    peer.connect()
    yield peer
    peer.clean_up()


@pytest.fixture(scope="session")
def node_version(channel):
    """Reads the register version at the node."""
    observer = Peer(channel)
    return lambda: observer.node_status().current_system_register_version


@pytest.fixture(scope="session")
def publisher(settings, node_version):
    return Publisher(settings.http, settings.token, node_version)
