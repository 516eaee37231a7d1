"""A machine of its own for each part of the test, as far as Linux gives one: its loopback ports, process ids and /etc/hosts."""
import os
import shutil
import socket
import subprocess
import sys

UNSHARE = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
# What the pages use.
PORTS = [5000, 5001, 5002, 8080, 8081, 8082, 8090, 8091, 8092, 27017]


def is_given():
    """Whether this machine gives one: root on Linux."""
    if os.geteuid() or not (shutil.which("unshare") and shutil.which("ip")):
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0


def taken():
    """The ports of the pages that somebody has."""
    found = []
    for port in PORTS:
        with socket.socket() as it:
            it.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                it.bind(("127.0.0.1", port))
            except OSError:
                found.append(port)
    return found


def start(arguments, own):
    """This program again, in a machine of its own. With the process ends all that it has started."""
    command = [*(UNSHARE if own else []), sys.executable, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def settle(hosts, folder):
    """Inside: brings the loopback up, and gives names addresses."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    file = folder / "hosts"
    file.write_text("127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in hosts.items()))
    subprocess.run(["mount", "--bind", file, "/etc/hosts"], check=True)
