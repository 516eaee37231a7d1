"""One bash that is given a page's blocks, one after the other, as a reader's terminal is."""
import os
import pathlib
import select
import signal
import subprocess

from .pages import Wrong, difference

# The longest that a block may take.
PATIENCE = 60
# A reader sees that a command has failed; the test ends there and says which.
STRICT = r"""set -E -o pipefail; trap 's=$?; echo "failed with $s: $BASH_COMMAND" >&2; exit $s' ERR
"""


class Shell:
    """Ended with all that its blocks have started."""

    def __init__(self, folder, environment):
        self.folder = pathlib.Path(folder)
        self.blocks = 0
        self.bash = subprocess.Popen(["bash"], cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, start_new_session=True)
        self.say(STRICT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # The group has the process id of its leader, which is not reaped before.
        os.killpg(self.bash.pid, signal.SIGKILL)
        self.bash.wait()

    def say(self, line):
        self.bash.stdin.write(line.encode())
        self.bash.stdin.flush()

    def run(self, block, logs):
        """Runs a block, and fails with what it printed if it does not do what the page says."""
        self.blocks += 1
        commands, printed = logs / f"block-{self.blocks}.sh", logs / f"block-{self.blocks}.out"
        commands.write_text(block.text)
        self.say(f"source '{commands}' >'{printed}' 2>&1 </dev/null; echo done\n")
        ended = self.wait()
        output = printed.read_text(errors="replace")
        if ended != "done":
            raise Wrong(f"{block.where}: {ended}\n{block.text}--- printed:\n{output}")
        if block.shows is not None and (differs := difference(block.shows, output)):
            raise Wrong(f"{block.where}: it prints something else than the page shows\n{differs}")
        return output

    def wait(self):
        ready, _, _ = select.select([self.bash.stdout], [], [], PATIENCE)
        if not ready:
            return f"it has not ended after {PATIENCE} s"
        line = os.read(self.bash.stdout.fileno(), 4096).decode(errors="replace").strip()
        return line or "a command failed"
