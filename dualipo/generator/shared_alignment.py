"""One alignment by several processes of this machine, as the driver of a run starts it.

    driver                                torchrun's processes (alignment_rank.py)
    write job.json, start torchrun   ->   read job.json, load the models, train together
    report each step                 <-   rank 0 prints one JSON line a step
    read result.json, return it      <-   rank 0 publishes the weights and writes result.json

The job names stored tensors by their places, so that none is copied; each rank reads what its share
of a batch needs. Only the driver writes the ledger. A rank that dies takes the others along, and
torchrun starts all of them again from the last checkpoint. Leaves out several machines: torchrun's
own options for them would stand in `_command`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dualipo import interrupt
from dualipo.config import Config
from dualipo.errors import ConfigError, StageError
from dualipo.generator.align import AlignResult
from dualipo.generator.preference_sets import Preferences, RealClips
from dualipo.store import atomic

MAX_RESTARTS = 3
DRIVER = "DUALIPO_DRIVER"  # the variable that names the driver's process to the ranks
RESULT = "result.json"
_JOB = "job.json"

OnStep = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Job:
    """All that the ranks need to know, as JSON values."""

    generator: str
    transformer: str | None
    from_base: bool  # the reference is the pipeline's own transformer, not the start
    max_sequence_length: int
    torch_dtype: str
    settings: dict[str, Any]
    folder: str
    seed: int
    preferences: dict[str, Any]
    real: dict[str, Any] | None
    reference_folder: str | None = None
    peer_timeout: float = 600.0  # seconds for which a rank waits for another one


def describe(
    preferences: Preferences,
    *,
    folders: tuple[Path, Path | None],
    from_base: bool,
    settings: Config,
    folder: Path,
    seed: int,
    real: RealClips | None,
    reference_folder: Path | None = None,
) -> Job:
    """Describe an alignment as a job for ranks.

    `folders` are the pipeline and, if the start is a trained version, its transformer.
    """
    pipeline, transformer = folders
    return Job(
        generator=str(pipeline),
        transformer=str(transformer) if transformer else None,
        from_base=from_base,
        max_sequence_length=settings.generator.max_sequence_length,
        torch_dtype=settings.generator.torch_dtype,
        settings=settings.align.model_dump(),
        folder=str(folder),
        seed=seed,
        preferences=preferences.as_places(),
        real=real.as_places() if real else None,
        reference_folder=str(reference_folder) if reference_folder else None,
    )


def run(job: Job, *, on_step: OnStep) -> AlignResult:
    """Start the ranks, report their steps, and return what they trained."""
    num_processes = job.settings["num_processes"]
    require_devices(num_processes)
    folder = Path(job.folder)
    job_path, result_path = folder / _JOB, folder / RESULT
    result_path.unlink(missing_ok=True)
    atomic.write_json(job_path, asdict(job))
    for start in range(MAX_RESTARTS + 1):
        if start:
            told = f"{folder}: a rank ended with an error (see above). All start again, "
            print(f"{told}{start} of {MAX_RESTARTS} times.", file=sys.stderr)
        code = _wait_for_ranks(_command(num_processes, job_path), on_step)
        interrupt.check()
        if not code:
            break
    if code or not result_path.exists():
        raise StageError(
            f"{folder}: the processes of the alignment ended with code {code} (their messages are "
            "above). Repeat the command to go on from the last checkpoint."
        )
    result = AlignResult.from_json(atomic.read_json(result_path))
    job_path.unlink()
    result_path.unlink()
    return result


def require_devices(num_processes: int) -> None:
    """Raise ConfigError where the machine has devices, but fewer than processes."""
    num_devices = torch.cuda.device_count()
    if 0 < num_devices < num_processes:
        raise ConfigError(
            f"align.num_processes is {num_processes}, this machine has {num_devices} devices. Set "
            f"it to {num_devices} or fewer."
        )


def _wait_for_ranks(command: list[str], on_step: OnStep) -> int:
    """Run torchrun to its end and return its exit code; an interrupt ends it."""
    with ExitStack() as stack:
        torchrun = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env={"OMP_NUM_THREADS": "1", **os.environ, DRIVER: str(os.getpid())},
            start_new_session=True,  # a Ctrl-C is the driver's affair
        )
        stack.callback(torchrun.wait)
        stack.callback(torchrun.terminate)
        assert torchrun.stdout is not None
        for line in torchrun.stdout:
            _report(line, on_step)
            interrupt.check()
        return torchrun.wait()


def _command(num_processes: int, job_path: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        # Ranks that torchrun itself starts again share its store, and gloo may wait there for ever.
        *("--nproc-per-node", str(num_processes), "--max-restarts", "0"),
        *("-m", "dualipo.generator.alignment_rank", str(job_path)),
    ]


def _report(line: str, on_step: OnStep) -> None:
    """Hand a step's line to `on_step`, and pass any other line on: a library printed it."""
    try:
        step = json.loads(line)
    except json.JSONDecodeError:
        step = None
    if isinstance(step, dict) and step.keys() == {"step", "metrics"}:
        on_step(step["step"], step["metrics"])
    else:
        print(line, end="", file=sys.stderr)
