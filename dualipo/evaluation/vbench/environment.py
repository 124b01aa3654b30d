"""VBench's own Python environment: what it can do, and one bounded child process for a dimension.

VBench 0.1.5 wants numpy < 2 and an old transformers, so it never shares this environment. A child
is started as a list of words, without a shell (fault 52), isolated from our own import paths, in a
session of its own, with its output in a log file. Past its time limit, or when a signal stops this
process, the whole group is killed. Only the JSON that it wrote is read.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualipo import interrupt, text_files
from dualipo.errors import ConfigError, StageError
from dualipo.evaluation.vbench.result_files import SUFFIX
from dualipo.evaluation.vbench.totals import DIMENSIONS
from dualipo.store import atomic

PROGRAM = Path(__file__).with_name("in_vbench.py")
CHECK_SECONDS = 600
_LOOK_EVERY = 0.2  # seconds
_TAIL = 1000  # characters of a failed child's log that the error shows
# What would make the other Python import our packages instead of its own.
_OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "DUALIPO_FAIL")


@dataclass(frozen=True)
class Environment:
    """A checked environment: its Python, versions, device, and dimensions it cannot import."""

    python: Path
    versions: Mapping[str, str]
    device: str
    prompts_path: Path
    unavailable: Mapping[str, str]


class ChildFailed(StageError):
    """A child process of VBench that failed or ran out of time; its log says why."""


def check(python: Path, work: Path) -> Environment:
    """Ask an environment what it can do; `work` is a folder for its log and its answer."""
    require_program(python)
    request = {"task": "check", "dimensions": DIMENSIONS}
    answer = _ask(python, request, work / "check", seconds=CHECK_SECONDS)
    return Environment(
        python=python,
        versions=answer["versions"],
        device=answer["device"],
        prompts_path=Path(answer["prompts"]),
        unavailable=answer["unavailable"],
    )


def require_program(python: Path) -> None:
    """Raise a ConfigError where a path is no program."""
    if not os.access(python, os.X_OK) or python.is_dir():
        raise ConfigError(
            f"{python}: it is no program that can be run. Give the Python of the environment in "
            "which vbench is installed, e.g. /envs/vbench/bin/python."
        )


def score(
    environment: Environment,
    dimension: str,
    *,
    videos: Path,
    prompts: Path,
    output: Path,
    seconds: float,
) -> Path:
    """Score one dimension of the clips in `videos`; return the result file that VBench wrote."""
    if why := environment.unavailable.get(dimension):
        raise ChildFailed(
            f"{dimension}: {environment.python} cannot import it ({why}). Install what is missing "
            "there, or leave the dimension out."
        )
    result = output / f"{dimension}{SUFFIX}"
    result.unlink(missing_ok=True)  # an old one would pass for this child's
    request = {
        "task": "score",
        "dimension": dimension,
        "videos": str(videos.absolute()),
        "prompts": str(prompts.absolute()),
        "output": str(output.absolute()),
        "name": dimension,
    }
    _ask(environment.python, request, output / dimension, seconds=seconds)
    if not result.is_file():
        raise ChildFailed(f"{result}: VBench ended well, but did not write it. See the log there.")
    return result


def _ask(python: Path, request: Mapping[str, Any], stem: Path, *, seconds: float) -> dict[str, Any]:
    """Run the program on a request and return its answer; all files begin with `stem`."""
    atomic.make_folder(stem.parent)
    request_path, answer_path, log_path = (
        stem.with_name(f"{stem.name}.{end}") for end in ("request.json", "answer.json", "log")
    )
    answer_path.unlink(missing_ok=True)
    atomic.write_json(request_path, {**request, "answer": str(answer_path.absolute())})
    command = [str(python.absolute()), "-I", str(PROGRAM), str(request_path.absolute())]
    _run(command, log_path, seconds=seconds, subject=stem.name)
    remedy = f"See {log_path}."
    answer: dict[str, Any] = text_files.read_json(
        answer_path, remedy=remedy, error=ChildFailed, shape=dict
    )
    return answer


def _run(command: list[str], log_path: Path, *, seconds: float, subject: str) -> None:
    """Run a command to its end, with its output in a log; raise ChildFailed where it fails."""
    with open(log_path, "wb") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=log_path.parent,
            env={name: value for name, value in os.environ.items() if name not in _OURS},
            start_new_session=True,
        )
        try:
            is_over = _wait(child, seconds)
        finally:
            _kill_group(child)
    if not is_over:
        raise ChildFailed(
            f"vbench {subject}: it took longer than {seconds:g} s and was stopped. Raise the time "
            f"limit; {log_path} has its output."
        )
    if child.returncode:
        raise ChildFailed(
            f"vbench {subject}: it failed with code {child.returncode}. {log_path} has its output, "
            f"which ends:\n{_tail(log_path)}"
        )


def _wait(child: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Return True when the child ended in time; a signal to this process raises Interrupted."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        interrupt.check()
        try:
            child.wait(timeout=_LOOK_EVERY)
        except subprocess.TimeoutExpired:
            continue
        return True
    return False


def _kill_group(child: "subprocess.Popen[bytes]") -> None:
    """End the child and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _tail(log_path: Path) -> str:
    text = log_path.read_bytes().decode(errors="replace")
    return text[-_TAIL:].strip()
