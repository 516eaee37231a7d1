"""Many SorchaPeer resources at once: until each has its nine objects and a status, and a second pass.

The physical limit in the same run: the time that `kubectl create` takes for as many ConfigMaps with as many parallel clients
as the controller reconciles at once.
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from .cluster import CLUSTER, kubectl
from .controller import Controller

OWNED = {
    "serviceaccounts": "api/v1", "configmaps": "api/v1", "secrets": "api/v1", "services": "api/v1",
    "roles": "apis/rbac.authorization.k8s.io/v1", "rolebindings": "apis/rbac.authorization.k8s.io/v1",
    "networkpolicies": "apis/networking.k8s.io/v1", "poddisruptionbudgets": "apis/policy/v1",
    "statefulsets": "apis/apps/v1",
}
SELECTOR = "labelSelector=app.kubernetes.io/managed-by%3Dsorcha-controller,app.kubernetes.io/component%3Dpeer"


def measure(programs, peers):
    """Raw numbers."""
    limit = parallel_creates(peers, config_map, "limit")
    print(f"{peers} ConfigMaps by 16 clients: {limit:.1f} s", flush=True)
    made = parallel_creates(peers, peer, "peer")
    print(f"{peers} SorchaPeers made: {made:.1f} s", flush=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sorcha-bench-"))
    controller = Controller(programs, folder)
    started = time.monotonic()
    seconds = until_done(peers, started)
    # The controller-manager still makes pods, which the status tells; a second pass is one after all that.
    calls = controller.until_quiet()
    rss, cpu = controller.memory("VmHWM"), controller.cpu_seconds()
    controller.stop()
    again = Controller(programs, folder)
    time.sleep(20)
    second = again.until_quiet()
    rss_again = again.memory("VmHWM")
    again.stop()
    writes = sum(n for labels, n in second.items() if 'verb="get"' not in labels)
    return {
        "peers": peers,
        "limit_seconds_configmaps": limit, "limit_seconds_nine_objects": limit * 10,
        "seconds_until_reconciled": seconds, "calls": calls, "calls_per_resource": sum(calls.values()) / peers,
        "controller_cpu_seconds": cpu, "controller_peak_rss_mib": rss, "second_pass_peak_rss_mib": rss_again,
        "second_pass_calls": second, "second_pass_writes": writes,
    }


def until_done(peers, started):
    while True:
        with_status = count("apis/sorcha.dev/v1alpha1/sorchapeers", has_status)
        print(f"  {time.monotonic() - started:5.1f} s: {with_status} of {peers} have a status", flush=True)
        if with_status == peers:
            # Two Services each.
            owned = {kind: count(f"{path}/{kind}?{SELECTOR}") for kind, path in OWNED.items()}
            if all(n >= peers * (2 if kind == "services" else 1) for kind, n in owned.items()):
                return time.monotonic() - started
        time.sleep(1)
        if time.monotonic() - started > 600:
            sys.exit("bench: not reconciled within 600 s")


def count(path, test=None):
    """Number of objects at a path of the API that pass a test, read page by page."""
    total, more = 0, ""
    while True:
        join = "&" if "?" in path else "?"
        page = json.loads(kubectl("get", "--raw", f"/{path}{join}limit=500{more}"))
        total += sum(1 for item in page["items"] if test is None or test(item))
        more = page["metadata"].get("continue", "")
        if not more:
            return total
        more = f"&continue={more}"


def has_status(item):
    conditions = item.get("status", {}).get("conditions", [])
    return item.get("status", {}).get("observedGeneration") == item["metadata"]["generation"] and conditions


def parallel_creates(number, make, name, clients=16):
    """Seconds for 16 kubectl processes to create the objects."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"sorcha-bench-{name}-"))
    files = []
    for client in range(clients):
        items = [make(i) for i in range(client, number, clients)]
        if items:
            files.append(folder / f"{client}.json")
            files[-1].write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    started = time.monotonic()
    running = [
        subprocess.Popen([CLUSTER, "kubectl", "create", "-f", str(file)], stdout=subprocess.DEVNULL) for file in files
    ]
    if any([process.wait() for process in running]):
        sys.exit(f"bench: kubectl create of {name} failed")
    return time.monotonic() - started


def config_map(i):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"limit-{i}", "namespace": "default"}, "data": {"a": "b"}}


def peer(i):
    return {
        "apiVersion": "sorcha.dev/v1alpha1", "kind": "SorchaPeer",
        "metadata": {"name": f"peer-{i}", "namespace": "default"}, "spec": {"replicas": 1},
    }


def rows(report):
    """For the table: what, how much, against what."""
    return [
        ("resources", f"{report['peers']}", ""),
        ("until each has its objects and a status", f"{report['seconds_until_reconciled']:.1f} s", "goal 60 s for 1,000"),
        ("one object a resource by 16 kubectl, same run", f"{report['limit_seconds_configmaps']:.1f} s", ""),
        ("API calls a resource", f"{report['calls_per_resource']:.1f}", "goal 25"),
        ("controller CPU", f"{report['controller_cpu_seconds']:.1f} s", ""),
        ("controller peak RSS", f"{report['controller_peak_rss_mib']:.0f} MiB", "goal 100 MB"),
        ("writes of a second pass", f"{report['second_pass_writes']}", "goal 0"),
        ("peak RSS of a second pass", f"{report['second_pass_peak_rss_mib']:.0f} MiB", ""),
    ]
