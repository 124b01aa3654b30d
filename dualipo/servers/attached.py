"""One server's process, which ends with the run: `python -m dualipo.servers.attached FD ...`.

    run      holds one end of a pipe, and so keeps the server
    here     starts the command as a group of its own, and waits for both

When the run ends, however it dies, the pipe closes, and the whole group is ended: an engine has
processes of its own. When the command ends, this process ends with its exit code.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

GRACE = 10.0  # seconds between asking a group to end and ending it


def main(descriptor: int, command: list[str]) -> int:
    """Run the command until it ends, or until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the run's affair
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_end_with_run, args=(descriptor, server), daemon=True).start()
    code = server.wait()
    _signal(server.pid, signal.SIGKILL)  # what it has started does not outlive it
    return code if code >= 0 else 128 - code


def _end_with_run(descriptor: int, server: "subprocess.Popen[bytes]") -> None:
    os.read(descriptor, 1)  # returns when the run is gone or lets go
    _signal(server.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        server.wait(GRACE)
    _signal(server.pid, signal.SIGKILL)


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
