"""One alignment by several processes, as the driver of a run hands it to them.

The job names stored tensors by their places, so that none is copied; each rank reads what its share
of a batch needs. `alignment_rank` is the ranks' side, and `training/torchrun.py` starts them.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dualipo.config import Config
from dualipo.generator.align import AlignResult
from dualipo.generator.preference_sets import Preferences, RealClips
from dualipo.training import torchrun
from dualipo.training.torchrun import OnStep, Team


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


def run(job: Job, *, team: Team, on_step: OnStep) -> AlignResult:
    """Have the ranks train, report their steps, and return what they trained."""
    values = torchrun.run(
        "dualipo.generator.alignment_rank",
        asdict(job),
        team=team,
        folder=Path(job.folder),
        on_step=on_step,
    )
    return AlignResult.from_json(values)
