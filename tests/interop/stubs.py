"""Python modules made at import time from the .proto files beside this one, by way of a temporary folder.

The .proto files were written from the tables of docs/spec/protocol.md and nothing else, so nothing here can agree with the
central node by sharing its code.
"""

import importlib
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

PROTO_FOLDER = Path(__file__).parent / "proto"


def _compile_into(folder):
    files = sorted(path.name for path in PROTO_FOLDER.glob("*.proto"))
    options = [f"--proto_path={PROTO_FOLDER}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main(["protoc", *options, *files]) != 0:
        raise RuntimeError(f"protoc could not compile {files} of {PROTO_FOLDER}")


def _import_from(folder, names):
    """Imports the messages and the services of each file; the folder is not needed afterwards."""
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        return [importlib.import_module(name + suffix) for name in names for suffix in ("_pb2", "_pb2_grpc")]
    finally:
        sys.path.remove(folder)


with tempfile.TemporaryDirectory(prefix="sorcha-interop-") as _folder:
    _compile_into(_folder)
    (
        connection_pb2,
        connection_pb2_grpc,
        heartbeat_pb2,
        heartbeat_pb2_grpc,
        sync_pb2,
        sync_pb2_grpc,
        health_pb2,
        health_pb2_grpc,
    ) = _import_from(_folder, ["CentralNodeConnection", "Heartbeat", "SystemRegisterSync", "Health"])
