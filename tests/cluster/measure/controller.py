"""A controller under measurement."""
import os
import signal
import subprocess
import time
import urllib.request

METRICS = "127.0.0.1:18099"


class Controller:
    def __init__(self, programs, folder):
        self.log = open(folder / "controller.log", "a")
        self.process = subprocess.Popen(
            [programs / "sorcha-controller", "run", "--leader-elect=false", "--listen", METRICS],
            stdout=self.log, stderr=self.log,
        )

    def calls(self):
        """Calls by verb and resource, watches aside."""
        text = urllib.request.urlopen(f"http://{METRICS}/metrics", timeout=10).read().decode()
        calls = {}
        for line in text.splitlines():
            if line.startswith("sorcha_controller_api_calls_total"):
                labels, value = line.rsplit(" ", 1)
                calls[labels.split("{")[1].rstrip("}")] = int(float(value))
        return calls

    def until_quiet(self, seconds=15, at_most=600):
        """Calls, once it has made none for a while."""
        calls, since, started = self.calls(), time.monotonic(), time.monotonic()
        while time.monotonic() - since < seconds and time.monotonic() - started < at_most:
            time.sleep(1)
            now = self.calls()
            if now != calls:
                calls, since = now, time.monotonic()
        return calls

    def memory(self, field):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith(field):
                return int(line.split()[1]) / 1024
        return 0

    def cpu_seconds(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)
        self.log.close()
