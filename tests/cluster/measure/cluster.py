"""The cluster that measures run on, and what they count there."""
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[3]
CLUSTER = str(ROOT / "tests" / "cluster" / "cluster")


def run(command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def kubectl(*args, **options):
    return run([CLUSTER, "kubectl", *args], **options)


def apply(items):
    """Makes objects."""
    kubectl("apply", "--server-side", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def build(profile, *packages):
    """Builds programs and tells where they are."""
    command = ["cargo", "build", "--locked", *(word for package in packages for word in ("-p", package))]
    subprocess.run(command + (["--release"] if profile == "release" else []), cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / ("release" if profile == "release" else "debug")


# The controller waits for the definition of each.
PLURALS = ("sorchapeers", "sorchacentralnodes", "sorchablueprints")


class Cluster:
    """An API server with etcd and controller manager, no kubelet; up within the block, with the definitions."""

    def __enter__(self):
        os.environ["SORCHA_CLUSTER"] = "bench"
        run([CLUSTER, "up", "--no-kubelet"])
        os.environ["KUBECONFIG"] = run([CLUSTER, "kubeconfig"]).strip()
        crds = [ROOT / "crds" / f"{plural}.yaml" for plural in PLURALS]
        kubectl("apply", "--server-side", *(word for crd in crds for word in ("-f", str(crd))))
        kubectl("wait", "--for=condition=Established", *(f"crd/{plural}.sorcha.dev" for plural in PLURALS))
        return self

    def __exit__(self, *_):
        run([CLUSTER, "down"])

    @property
    def audit_log(self):
        return pathlib.Path(os.environ["KUBECONFIG"]).parent / "audit.log"
