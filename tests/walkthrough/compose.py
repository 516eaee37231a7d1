"""compose.yaml: read as `docker compose` reads it, compared with the settings and the image, and started as processes."""
import json
import os
import re
import socket
import subprocess
import time

from .pages import Wrong
from .tools import ROOT

PROGRAM = "/usr/local/bin/sorcha-node"
DATA = "/var/lib/sorcha"
# How long the network may take to come up.
PATIENCE = 60


def services(compose):
    """The services by name, with anchors, defaults and short forms resolved."""
    done = subprocess.run([compose, "-format", "json", "compose.yaml"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise Wrong(f"compose.yaml: {done.stderr.strip()}")
    return json.loads(done.stdout)["services"]


def addresses(found):
    return {name: f"127.0.1.{number}" for number, name in enumerate(found, 1)}


def check(found):
    """What can be wrong with the file without starting anything."""
    rows = re.findall(r"^\| (`.*?`) \|", (ROOT / "docs/configuration.md").read_text(), re.M)
    settings = {setting for row in rows for setting in re.findall(r"`([a-z_.]+)`", row)}
    image, dockerfile = set(), (ROOT / "Dockerfile").read_text()
    for name, service in found.items():
        if name == "mongodb":
            continue
        image.add(service["image"])
        for variable in service["environment"]:
            if variable.removeprefix("SORCHA_").lower().replace("__", ".") not in settings:
                raise Wrong(f"compose.yaml: {name}: {variable} is no setting of docs/configuration.md")
        volumes = [volume["target"] for volume in service["volumes"]]
        if service["command"][0] != PROGRAM or service["environment"].get("SORCHA_STORE__DATA_DIR") != DATA or volumes != [DATA]:
            raise Wrong(f"compose.yaml: {name}: a node is {PROGRAM}, with its data in {DATA} on a volume")
    if len(image) != 1 or f"docker build -t {min(image)} ." not in dockerfile:
        raise Wrong(f"compose.yaml: the image {image} is not the one that the Dockerfile is for")
    if f"mkdir -p /image{DATA}" not in dockerfile:
        raise Wrong(f"the Dockerfile's image has no {DATA}")


class Network:
    """Each service as a process with an address of its own. What differs from a container: where it listens, and where its files are."""

    def __init__(self, found, folder, environment):
        self.found, self.folder, self.environment = found, folder, environment
        self.at, self.processes = addresses(found), {}
        (folder / "publishers").write_text("me: 0123456789abcdef0123456789abcdef\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes.values():
            process.kill()
            process.wait()

    def local(self, name, text):
        """A value or an argument of a service, as it is here."""
        text = text.replace(PROGRAM, "sorcha-node").replace("http://127.0.0.1:", f"http://{self.at[name]}:")
        return text.replace("/run/secrets", str(self.folder)).replace(DATA, str(self.folder / name))

    def start(self, name):
        service, address = self.found[name], self.at[name]
        environment = {key: self.local(name, value) for key, value in (service.get("environment") or {}).items()}
        environment["SORCHA_LISTEN__HTTP"] = f"{address}:8080"
        if "central" in service["command"]:
            environment["SORCHA_LISTEN__GRPC"] = f"{address}:5000"
        command = [self.local(name, word) for word in service["command"]]
        if name == "mongodb":
            (self.folder / "db").mkdir()
            command = [str(ROOT / "tests/mongo/serve"), "--host", address, "--port", "27017", "--file", str(self.folder / "db/data")]
        log = open(self.folder / f"{name}.log", "w")
        self.processes[name] = subprocess.Popen(command, env={**self.environment, **environment}, stdout=log, stderr=log)

    def healthy(self, name):
        """What the service's healthcheck says."""
        if name == "mongodb":
            with socket.socket() as it:
                return it.connect_ex((self.at[name], 27017)) == 0
        kind, *command = self.found[name]["healthcheck"]["test"]
        if kind != "CMD":
            raise Wrong(f"compose.yaml: {name}: the image has no shell for a healthcheck of the kind {kind}")
        return not subprocess.run([self.local(name, word) for word in command], env=self.environment, capture_output=True).returncode

    def up(self):
        """In the order of depends_on."""
        left, deadline = dict(self.found), time.monotonic() + PATIENCE
        while left:
            name = next(name for name, service in left.items() if not set(service.get("depends_on") or {}) & set(left))
            del left[name]
            self.start(name)
            while not self.healthy(name):
                if self.processes[name].poll() is not None or time.monotonic() > deadline:
                    raise Wrong(f"compose.yaml: {name} is not healthy:\n{(self.folder / f'{name}.log').read_text()[-2000:]}")
                time.sleep(0.1)

    def replicates(self):
        """A publication at n0 is on every node, with one digest."""
        url, tokens = f"http://{self.at['n0']}:8080", self.folder / "publishers"
        publish = ["sorcha-node", "publish", str(ROOT / "blueprints/insurance-claim-v1.json"), "--url", url, "--token-file", str(tokens)]
        done = subprocess.run(publish, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise Wrong(f"compose.yaml: nothing can be published: {done.stdout}{done.stderr}")
        nodes, deadline = [name for name in self.found if name != "mongodb"], time.monotonic() + PATIENCE
        while len(held := {self.register(name) for name in nodes}) > 1 or min(held)[0] < 2:
            if time.monotonic() > deadline:
                raise Wrong(f"compose.yaml: the registers differ: {held}")
            time.sleep(0.1)
        return len(nodes)

    def register(self, name):
        done = subprocess.run(["curl", "-fsS", f"http://{self.at[name]}:8080/api/system-register"], capture_output=True, text=True, check=True)
        register = json.loads(done.stdout)
        return register["currentVersion"], register["digest"]

    def down(self):
        """As `docker compose down`: each ends by itself within its grace period."""
        for name in sorted(self.processes):
            self.processes[name].terminate()
        for name, process in self.processes.items():
            if process.wait(30) and name != "mongodb":
                raise Wrong(f"compose.yaml: {name} ends with {process.returncode}")


def run(compose, folder, environment, hosts):
    """What was done, or nothing if only the file was read. `hosts`: whether names have been given addresses."""
    found = services(compose)
    check(found)
    if not hosts:
        return None
    with Network(found, folder, {**environment, "PATH": os.environ["PATH"]}) as network:
        network.up()
        nodes = network.replicates()
        network.down()
    return f"{len(found)} services started, {nodes} nodes hold what was published"
