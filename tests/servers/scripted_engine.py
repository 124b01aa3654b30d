"""A scripted engine as a process: `scripted_engine.py PORT MODEL [FOLDER]`.

It serves any folder by the script of `loopback.sure`. With a FOLDER for notes, the first engine
that is asked for its tenth vote kills itself in the middle of its answer.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers import loopback

DIES_AT = 10


def say(body: dict[str, Any], count: int) -> dict[str, Any]:
    """Answer as `loopback.sure` does, and be killed once."""
    if "seed" in body and len(sys.argv) > 3:
        votes.append(count)
        if len(votes) == DIES_AT and is_first():
            os.kill(os.getpid(), signal.SIGKILL)
    return loopback.sure(body, count)


def is_first() -> bool:
    """Leave a note that an engine died; tell whether it is the first."""
    try:
        (Path(sys.argv[3]) / "killed").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


if __name__ == "__main__":
    votes: list[int] = []
    loopback.serve_for_ever(say, port=int(sys.argv[1]), models=[sys.argv[2]])
