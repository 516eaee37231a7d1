"""Rendered charts: helm, a reader that is as strict as the API server, and what makes an object valid beyond its schema."""
import ipaddress
import os
import pathlib
import re
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
HELM = os.environ.get("HELM", "helm")
NAMESPACE = "sorcha-system"
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_KEY = re.compile(r"(%s/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?" % SUBDOMAIN.pattern)
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
ENVIRONMENT = re.compile(r"[-._A-Za-z][-._A-Za-z0-9]*")
IMAGE = re.compile(r"[A-Za-z0-9\[][-A-Za-z0-9._:/\[\]]*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})?")
# The API server's limit on an object's annotations together.
ANNOTATIONS_LIMIT = 256 * 1024


def helm(*args):
    return subprocess.run([HELM, *args], cwd=ROOT, capture_output=True, text=True)


class Strict(yaml.SafeLoader):
    """Refuses a key twice, and takes for numbers what Kubernetes' own YAML does and Python's does not, and text for no date."""


def _mapping(loader, node):
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    if len(keys) != len(set(map(str, keys))):
        raise yaml.YAMLError(f"a key twice: {sorted(map(str, keys))}{node.start_mark}")
    return loader.construct_mapping(node, deep=True)


Strict.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0].rsplit(":", 1)[1] not in ("timestamp", "value", "merge")]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Strict.add_constructor("tag:yaml.org,2002:map", _mapping)
Strict.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"), list("-+0123456789.")
)


def load(text):
    return [manifest for manifest in yaml.load_all(text, Loader=Strict) if manifest]


def render(*args, chart="charts/sorcha", release="sorcha", namespace=NAMESPACE):
    """The manifests of a chart, or an AssertionError with helm's message."""
    done = helm("template", release, str(chart), "--namespace", namespace, *args)
    assert done.returncode == 0, done.stderr
    return load(done.stdout)


def faults(manifest):
    """What the API server would refuse in an object that its schema takes."""
    kind, metadata = manifest["kind"], manifest["metadata"]
    where = f"{kind} {metadata.get('name')!r}"
    name = {"Service": SERVICE, "Pod": LABEL}.get(kind, SUBDOMAIN)
    # What a definition says of other objects' fields is no such field.
    parts = {"metadata": metadata} if kind == "CustomResourceDefinition" else manifest
    return [f"{where}: {fault}" for fault in [*_name(name, "metadata.name", metadata.get("name")), *_walk("", parts)]]


def _name(pattern, path, value):
    if not isinstance(value, str) or not pattern.fullmatch(value) or len(value) > (500 if pattern is IMAGE else 253):
        yield f"{path} is {value!r}"


def _labels(path, labels):
    for key, value in labels.items():
        if not isinstance(key, str) or not LABEL_KEY.fullmatch(key):
            yield f"{path} has the key {key!r}"
        if not isinstance(value, str) or not LABEL_VALUE.fullmatch(value):
            yield f"{path}.{key} is {value!r}"


def _annotations(path, annotations):
    if sum(len(str(text).encode()) for pair in annotations.items() for text in pair) > ANNOTATIONS_LIMIT:
        yield f"{path} is too large"
    for key, value in annotations.items():
        if not isinstance(key, str) or not LABEL_KEY.fullmatch(key) or not isinstance(value, str):
            yield f"{path}.{key} is {value!r}"


def _texts(path, values):
    for value in values:
        if not isinstance(value, str) or not value:
            yield f"{path} has {value!r}"


def _network(path, value):
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        yield f"{path} is {value!r}"


NAMES = {"namespace": LABEL, "topologyKey": LABEL_KEY, "image": IMAGE}
NAMES.update(dict.fromkeys(("serviceAccountName", "secretName", "priorityClassName", "className"), SUBDOMAIN))


def _walk(path, value):
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _walk(f"{path}[{index}]", inner)
        return
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        here = f"{path}.{key}" if path else str(key)
        if key in ("labels", "matchLabels", "nodeSelector") and isinstance(inner, dict):
            yield from _labels(here, inner)
        elif key == "annotations" and path.endswith("metadata"):
            yield from _annotations(here, inner)
        elif key in ("args", "command", "resourceNames", "matchNames"):
            yield from _texts(here, inner)
        elif key in ("env", "imagePullSecrets", "containers"):
            pattern = {"env": ENVIRONMENT, "containers": LABEL}.get(key, SUBDOMAIN)
            for item in inner:
                yield from _name(pattern, f"{here}.name", item.get("name"))
            yield from _walk(here, inner)
        elif key == "cidr":
            yield from _network(here, inner)
        elif key in NAMES:
            yield from _name(NAMES[key], here, inner)
        else:
            yield from _walk(here, inner)
