"""Places where a test can end the process, on each side of every commit (FAULTS.md, harness).

`DUALIPO_FAIL` holds one instruction: `kill@17` ends the process with SIGKILL at the 17th hit,
`enospc@N` and `eio@N` raise the operating system's error there, and `count@PATH` appends each hit's
name to PATH. While it is unset, a hit costs one comparison.
"""

import errno
import os
import signal

_mode, _, _argument = os.environ.get("DUALIPO_FAIL", "").partition("@")
_num_hits = 0
_ERRNO = {"enospc": errno.ENOSPC, "eio": errno.EIO}


def arm(instruction: str) -> None:
    """Replace the instruction and count from 0 again, for runs that the kill harness forks."""
    global _mode, _argument, _num_hits
    _mode, _, _argument = instruction.partition("@")
    _num_hits = 0


def hit(name: str) -> None:
    """Mark the place `name` as reached."""
    global _num_hits
    if not _mode:
        return
    _num_hits += 1
    if _mode == "count":
        with open(_argument, "a") as names:
            names.write(name + "\n")
    elif _num_hits == int(_argument):
        if _mode == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(_ERRNO[_mode], os.strerror(_ERRNO[_mode]), name)
