"""One rank of a shared alignment: `python -m dualipo.generator.alignment_rank JOB` under torchrun.

`training/rank_process.py` has what the ranks of all trainings do; `shared_alignment` is the
driver's side.
"""

import sys
from pathlib import Path
from typing import Any

import torch

from dualipo.config import Align
from dualipo.generator import backbone, preference_sets
from dualipo.generator.align import align, measure_reference
from dualipo.generator.preference_sets import RealClips
from dualipo.generator.shared_alignment import Job
from dualipo.training import rank_process
from dualipo.training.rank_process import OnStep
from dualipo.training.ranks import loading_device


def train(values: dict[str, Any], on_step: OnStep) -> dict[str, Any]:
    """Train this rank's share of the job, and return the alignment's result as JSON values."""
    job = Job(**values)
    settings = Align(**job.settings)
    arguments: dict[str, Any] = {
        "preferences": preference_sets.SETS[settings.loss_type].from_places(job.preferences),
        "settings": settings,
        "folder": Path(job.folder),
        "seed": job.seed,
        "reference_folder": Path(job.reference_folder) if job.reference_folder else None,
    }
    reference_hash = measure_reference(_load(job, None), **arguments) if job.from_base else None
    aligned = align(
        _load(job, job.transformer),
        real=RealClips.from_places(job.real) if job.real else None,
        reference_hash=reference_hash,
        on_step=on_step,
        **arguments,
    )
    return aligned.as_json()


def _load(job: Job, transformer: str | None) -> backbone.Backbone:
    return backbone.load(
        Path(job.generator),
        max_sequence_length=job.max_sequence_length,
        dtype=getattr(torch, job.torch_dtype),
        device=loading_device(),
        transformer_folder=Path(transformer) if transformer else None,
    )


if __name__ == "__main__":
    sys.exit(rank_process.main(Path(sys.argv[1]), train))
