"""An idle network: what its statuses cost the API server.

One central node and so many peers run as processes of this machine and report into the statuses of real resources, as
pods do; their pods exist in the API server and are said to run, since no kubelet is there to run them.
"""
import collections
import json
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

from .cluster import apply, kubectl
from .controller import Controller

# Where the peers' probes would be; nothing asks there.
HTTP_BASE = 31000
STATUS = re.compile(r"^/apis/sorcha\.dev/v1alpha1/namespaces/default/(\w+)/(\w+)/status\?(.*)")


def measure(programs, cluster, peers, minutes):
    """Raw numbers."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sorcha-idle-"))
    apply([central_node(), peer_resource(peers)])
    controller = Controller(programs, folder)
    nodes = Nodes(programs, folder)
    try:
        wait_for(peers + 1, "pods", lambda: pods())
        for pod in pods():
            say_it_runs(pod)
        grpc = free_port()
        nodes.central(grpc)
        for ordinal in range(peers):
            nodes.peer(ordinal, grpc)
        wait_for(1, "edge to be synced", lambda: synced(peers))
        print(f"  {peers} peers are connected and synced; settling", flush=True)
        time.sleep(150)
        position = cluster.audit_log.stat().st_size
        print(f"  counting for {minutes} minutes", flush=True)
        time.sleep(minutes * 60)
        counts = writes(cluster.audit_log, position)
        if synced(peers) != [True]:
            sys.exit("bench: the network did not stay synced while it was counted")
    finally:
        nodes.stop()
        controller.stop()
    by_nodes = sum(n for who, n in counts.items() if who.startswith("sorcha-node"))
    total = sum(counts.values())
    per_peer = [n / minutes for who, n in counts.items() if who.startswith("sorcha-node.edge-")]
    return {
        "peers": peers, "minutes": minutes, "status_writes": total, "by_nodes": by_nodes, "by_controller": total - by_nodes,
        "writes_per_minute": total / minutes, "writes_per_peer_and_minute": total / minutes / peers,
        "busiest_peer_per_minute": max(per_peer, default=0),
    }


def rows(report):
    """For the table: what, how much, against what."""
    return [
        ("peers, all connected and synced", f"{report['peers']}", ""),
        ("status writes a minute, nodes and controller", f"{report['writes_per_minute']:.1f}", ""),
        ("a peer and minute", f"{report['writes_per_peer_and_minute']:.2f}", "goal at most 1"),
        ("of these the controller's", f"{report['by_controller'] / report['minutes']:.1f} a minute", ""),
        ("busiest peer", f"{report['busiest_peer_per_minute']:.2f} a minute", ""),
    ]


def writes(log, position):
    """Writes to statuses since a position of the audit log, by field manager."""
    counts = collections.Counter()
    with open(log) as file:
        file.seek(position)
        for line in file:
            event = json.loads(line)
            match = STATUS.match(event.get("requestURI", ""))
            if match and event["verb"] in ("patch", "update"):
                manager = re.search(r"fieldManager=([^&]*)", match[3])
                counts[manager[1] if manager else "unknown"] += 1
    return counts


def central_node():
    return {
        "apiVersion": "sorcha.dev/v1alpha1", "kind": "SorchaCentralNode", "metadata": {"name": "n0", "namespace": "default"},
        "spec": {"store": {"embedded": {}}},
    }


def peer_resource(replicas):
    return {
        "apiVersion": "sorcha.dev/v1alpha1", "kind": "SorchaPeer", "metadata": {"name": "edge", "namespace": "default"},
        "spec": {"replicas": replicas},
    }


def pods():
    listed = json.loads(kubectl("get", "pods", "-l", "app.kubernetes.io/managed-by=sorcha-controller", "-o", "json"))
    return [pod["metadata"]["name"] for pod in listed["items"]]


def say_it_runs(pod):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    status = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
        "containerStatuses": [{
            "name": "node", "ready": True, "restartCount": 0, "image": "", "imageID": "", "state": {"running": {"startedAt": now}},
        }],
    }
    kubectl("patch", "pod", pod, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


def synced(peers):
    edge = json.loads(kubectl("get", "sp", "edge", "-o", "json"))["status"]
    conditions = {c["type"]: c["status"] for c in edge.get("conditions", [])}
    good = all(conditions.get(type_) == "True" for type_ in ("Ready", "Connected", "Synced"))
    return [True] if good and len(edge.get("nodes", [])) == peers else []


def wait_for(number, what, look, at_most=300):
    started = time.monotonic()
    while len(look()) < number:
        if time.monotonic() - started > at_most:
            sys.exit(f"bench: waited {at_most} s for {what} in vain")
        time.sleep(1)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Nodes:
    """Processes of sorcha-node."""

    def __init__(self, programs, folder):
        self.program, self.folder, self.running = programs / "sorcha-node", folder, []
        self.log = open(folder / "nodes.log", "a")

    def start(self, role, name, resource, *flags):
        settings = self.folder / f"{name}.toml"
        settings.write_text(f'[report]\nresource = "{resource}"\npod = "{name}"\nnamespace = "default"\n')
        command = [self.program, role, "--config", settings, "--data-dir", self.folder / name, *flags]
        self.running.append(subprocess.Popen(command, stdout=self.log, stderr=self.log))

    def central(self, grpc):
        flags = ["--node-id", "n0", "--hostname", "n0.sorcha.dev", "--listen-grpc", f"127.0.0.1:{grpc}"]
        self.start("central", "n0-0", "sorchacentralnodes/n0", *flags, "--listen-http", f"127.0.0.1:{HTTP_BASE}")

    def peer(self, ordinal, grpc):
        name = f"edge-{ordinal}"
        http = f"127.0.0.1:{HTTP_BASE + 1 + ordinal}"
        flags = ["--node-id", name, "--central-node", f"n0=127.0.0.1:{grpc}", "--listen-http", http]
        self.start("peer", name, "sorchapeers/edge", *flags)

    def stop(self):
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
        self.log.close()
