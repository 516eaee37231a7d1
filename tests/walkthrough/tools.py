"""The programs that the pages use: those of this repository as they were built, others from the machine or the cache folder."""
import fcntl
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("SORCHA_CACHE") or pathlib.Path.home() / ".cache/sorcha").resolve()
# Their versions are part of the folder's name: another one is built beside, not over.
GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl", "v1.9.3"
# The parser and the schema that `docker compose` is made of.
COMPOSE = "github.com/compose-spec/compose-go/v2/cmd", "v2.9.0"

# What stands in for the program of this name.
MONGOD = """#!/usr/bin/env bash
# The tests' server of the MongoDB protocol, which takes its port alone.
while (($#)); do case $1 in --port) port=$2 ;; --dbpath) file=$2/data ;; esac; shift; done
exec {root}/tests/mongo/serve --port "$port" --file "$file"
"""


class Missing(Exception):
    """A program that is not there: what, and the remedy."""


def built():
    """The folder of the repository's programs. None is built here: a test that only reads takes no minutes of a machine unasked."""
    folder = pathlib.Path(os.environ.get("SORCHA_BIN") or ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug").resolve()
    if not (folder / "sorcha-node").exists():
        raise Missing(f"there is no {folder}/sorcha-node. Remedy: cargo build -p sorcha-node")
    return folder


def go_tool(module):
    """A program of a Go module, built once."""
    package, version = module
    name = pathlib.PurePath(package).name
    folder = CACHE / f"{pathlib.PurePath(package).parts[2]}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / name).exists():
            install(folder, package, version)
    return folder / name


def install(folder, package, version):
    if not shutil.which("go"):
        raise Missing(f"{package} can't be built: go is not installed. Remedy: install Go 1.24 or newer")
    print(f"building {package} {version}", flush=True)
    # A file that is there is whole: it is moved to its place.
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-trimpath", "GOWORK": "off", "GOBIN": str(folder / "new")}
    done = subprocess.run(["go", "install", "-buildvcs=false", "-ldflags", "-s -w", f"{package}@{version}"], cwd=folder, env=environment,
                          capture_output=True, text=True)
    if done.returncode:
        raise Missing(f"{package} can't be built: {done.stderr.strip()[-300:]}. Remedy: see that Go reaches a module proxy")
    name = pathlib.PurePath(package).name
    (folder / "new" / name).rename(folder / name)


def mongod(shims):
    """The machine's own, or else what stands in for it."""
    if shutil.which("mongod"):
        return
    if not (shutil.which("java") and shutil.which("mvn")):
        raise Missing("there is no mongod, nor java and mvn. Remedy: install MongoDB, or a JDK 17 and Maven")
    subprocess.run([ROOT / "tests/mongo/fetch"], check=True, stdout=subprocess.DEVNULL)
    shim(shims, "mongod", MONGOD.format(root=ROOT))


def shim(folder, name, text):
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def collect(shims):
    """Puts what the pages need into one folder; answers which programs are missing, and why."""
    missing = {}
    for program in ("curl", "jq"):
        if not shutil.which(program):
            raise Missing(f"{program} is not installed. Remedy: install it")
    for program, get in (("grpcurl", lambda: (shims / "grpcurl").symlink_to(go_tool(GRPCURL))), ("mongod", lambda: mongod(shims)),
                         ("compose", lambda: (shims / "compose").symlink_to(go_tool(COMPOSE)))):
        try:
            get()
        except Missing as why:
            missing[program] = str(why)
    return missing
