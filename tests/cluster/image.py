#!/usr/bin/env python3
"""Makes an image archive, as `docker save` makes them, of one folder: the same folder, the same bytes."""

import argparse
import hashlib
import io
import json
import os
import platform
import tarfile
import tempfile

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entrypoint", type=json.loads, help="a JSON list")
    parser.add_argument("--cmd", type=json.loads, help="a JSON list")
    parser.add_argument("--user", help="UID:GID")
    parser.add_argument("folder", help="what becomes the image's root folder; owners and times are not kept")
    parser.add_argument("reference", help="NAME:TAG")
    parser.add_argument("archive", help="the file to write")
    return parser.parse_args()


def plain(entry):
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def add_folder(tar, folder, name=""):
    """Entries in the order of their names, unlike TarFile.add's on some file systems."""
    for child in sorted(os.listdir(folder)):
        path = os.path.join(folder, child)
        inner = f"{name}{child}"
        tar.add(path, arcname=inner, recursive=False, filter=plain)
        if os.path.isdir(path) and not os.path.islink(path):
            add_folder(tar, path, inner + "/")


def digest_of(file):
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    return digest


def config_of(options, layer_digest):
    run = {"Env": [PATH], "User": options.user, "Entrypoint": options.entrypoint, "Cmd": options.cmd}
    return json.dumps(
        {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": {key: value for key, value in run.items() if value},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        }
    ).encode()


def add_file(tar, name, file, size):
    entry = tarfile.TarInfo(name)
    entry.size = size
    tar.addfile(entry, file)


def add_bytes(tar, name, content):
    add_file(tar, name, io.BytesIO(content), len(content))


def main():
    options = arguments()
    part = options.archive + ".part"
    with tempfile.TemporaryFile(dir=os.path.dirname(os.path.abspath(part))) as layer:
        with tarfile.open(fileobj=layer, mode="w") as tar:
            add_folder(tar, options.folder)
        size = layer.tell()
        config = config_of(options, digest_of(layer))
        name = hashlib.sha256(config).hexdigest() + ".json"
        manifest = [{"Config": name, "RepoTags": [options.reference], "Layers": ["layer.tar"]}]
        with tarfile.open(part, "w") as tar:
            add_bytes(tar, name, config)
            add_file(tar, "layer.tar", layer, size)
            add_bytes(tar, "manifest.json", json.dumps(manifest).encode())
    os.replace(part, options.archive)


if __name__ == "__main__":
    main()
