"""The life of one rank of a shared training: `python -m MODULE JOB` under torchrun.

Every rank loads the models that the job names, takes its share of each batch, and trains with the
others (ranks.py). Rank 0 prints the steps and writes the result. `torchrun` is the driver's side;
it draws the exchange between the two.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from dualipo.errors import DualipoError
from dualipo.store import atomic
from dualipo.training.torchrun import DRIVER, RESULT

OnStep = Callable[[int, Mapping[str, float]], None]
Train = Callable[[dict[str, Any], OnStep], dict[str, Any]]


def main(job_path: Path, train: Train) -> int:
    """Do this rank's part of the job by `train`, and return the process's exit code.

    `train` gets the job as JSON values and returns its result as such. torchrun starts the rank,
    and the driver starts torchrun again when one has died.
    """
    if not _is_alive(int(os.environ[DRIVER])):
        return 0  # whoever resumes the run starts ranks of its own
    job = atomic.read_json(job_path)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        timeout=timedelta(seconds=job["peer_timeout"]),
    )
    try:
        result = train(job, _report)
    except DualipoError as error:
        print(f"dualipo: rank {dist.get_rank()}: {error}", file=sys.stderr)
        return error.exit_code
    if dist.get_rank() == 0:
        atomic.write_json(job_path.with_name(RESULT), result)
    dist.destroy_process_group()
    return 0


def _report(step: int, metrics: Mapping[str, float]) -> None:
    """Print a line for a step, on rank 0."""
    if dist.get_rank() == 0:
        print(json.dumps({"step": step, "metrics": metrics}), flush=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
