"""One rank of a shared alignment: `python -m dualipo.generator.alignment_rank JOB` under torchrun.

Every rank loads the models that the job names, takes its share of each batch, and trains with the
others (training/ranks.py). Rank 0 prints the steps and writes the result. `shared_alignment`
is the driver's side; it draws the exchange between the two.
"""

import json
import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from dualipo.config import Align
from dualipo.errors import DualipoError
from dualipo.generator import backbone, preference_sets
from dualipo.generator.align import AlignResult, align, measure_reference
from dualipo.generator.preference_sets import RealClips
from dualipo.generator.shared_alignment import DRIVER, RESULT, Job
from dualipo.store import atomic
from dualipo.training.ranks import loading_device


def main(job_path: Path) -> int:
    """Do this rank's part of the job, and return the process's exit code.

    torchrun starts it, and the driver starts torchrun again when a rank has died.
    """
    if not _is_alive(int(os.environ[DRIVER])):
        return 0  # whoever resumes the run starts ranks of its own
    job = Job(**atomic.read_json(job_path))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        timeout=timedelta(seconds=job.peer_timeout),
    )
    try:
        result = train(job)
    except DualipoError as error:
        print(f"dualipo: rank {dist.get_rank()}: {error}", file=sys.stderr)
        return error.exit_code
    if dist.get_rank() == 0:
        atomic.write_json(Path(job.folder) / RESULT, result.as_json())
    dist.destroy_process_group()
    return 0


def train(job: Job) -> AlignResult:
    """Train this rank's share of the job; rank 0 prints a line for each step."""

    def on_step(step: int, metrics: Mapping[str, float]) -> None:
        if dist.get_rank() == 0:
            print(json.dumps({"step": step, "metrics": metrics}), flush=True)

    settings = Align(**job.settings)
    arguments: dict[str, Any] = {
        "preferences": preference_sets.SETS[settings.loss_type].from_places(job.preferences),
        "settings": settings,
        "folder": Path(job.folder),
        "seed": job.seed,
        "reference_folder": Path(job.reference_folder) if job.reference_folder else None,
    }
    reference_hash = measure_reference(_load(job, None), **arguments) if job.from_base else None
    return align(
        _load(job, job.transformer),
        real=RealClips.from_places(job.real) if job.real else None,
        reference_hash=reference_hash,
        on_step=on_step,
        **arguments,
    )


def _load(job: Job, transformer: str | None) -> backbone.Backbone:
    return backbone.load(
        Path(job.generator),
        max_sequence_length=job.max_sequence_length,
        dtype=getattr(torch, job.torch_dtype),
        device=loading_device(),
        transformer_folder=Path(transformer) if transformer else None,
    )


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
