"""An alignment by several processes: the driver writes a job, torchrun starts the ranks, the first
rank's lines come back as steps.

The ledger stays the driver's. A job names tensors by their places, so that nothing is copied; each
rank reads what its share of a batch needs. A rank that dies takes the others along, and torchrun
starts all of them again from the last checkpoint. Leaves out several machines: torchrun's
own options for them would stand in `_command`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from dualipo import interrupt
from dualipo.config import Align, Config
from dualipo.errors import ConfigError, DualipoError, StageError
from dualipo.generator import backbone
from dualipo.generator.align import AlignResult, align, measure_reference
from dualipo.generator.preference_sets import PointSet, PreferenceSet, RealClips
from dualipo.store import atomic
from dualipo.store.stored import Place, StoredList, StoredTable
from dualipo.training.ranks import loading_device

MAX_RESTARTS = 3
_DRIVER = "DUALIPO_DRIVER"  # its process, without which the ranks end

OnStep = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Job:
    """All that the ranks need, as plain values."""

    generator: str
    transformer: str | None
    from_base: bool  # the reference is the pipeline's own transformer, not the start
    max_sequence_length: int
    torch_dtype: str
    settings: dict[str, Any]
    folder: str
    seed: int
    ids: list[str]
    caption_keys: list[str]
    sides: dict[str, list[Place]]
    texts: dict[str, Place]
    desirable: list[bool] | None
    certainties: list[float] | None
    real: dict[str, list[Place]] | None


def job_of(
    preferences: PreferenceSet | PointSet,
    *,
    folders: tuple[Path, Path | None],
    from_base: bool,
    settings: Config,
    folder: Path,
    seed: int,
    real: RealClips | None,
) -> Job:
    """What an alignment of this process would be told, with places instead of tensors."""
    transformer = folders[1]
    assert isinstance(preferences.texts, StoredTable)
    return Job(
        generator=str(folders[0]),
        transformer=str(transformer) if transformer else None,
        from_base=from_base,
        max_sequence_length=settings.generator.max_sequence_length,
        torch_dtype=settings.generator.torch_dtype,
        settings=settings.align.model_dump(),
        folder=str(folder),
        seed=seed,
        ids=list(preferences.ids),
        caption_keys=list(preferences.caption_keys),
        sides={side: getattr(preferences, side).places for side in preferences.sides},
        texts=dict(preferences.texts.places),
        desirable=list(preferences.desirable) if isinstance(preferences, PointSet) else None,
        certainties=list(preferences.certainties) if preferences.certainties else None,
        real=_real_places(real) if real else None,
    )


def _real_places(real: RealClips) -> dict[str, list[Place]]:
    assert isinstance(real.latents, StoredList) and isinstance(real.texts, StoredList)
    return {"latents": list(real.latents.places), "texts": list(real.texts.places)}


def run(job: Job, *, on_step: OnStep) -> AlignResult:
    """Start the ranks and wait for what they made."""
    num_devices = torch.cuda.device_count()
    if 0 < num_devices < job.settings["num_processes"]:
        raise ConfigError(
            f"align.num_processes is {job.settings['num_processes']}, this machine has "
            f"{num_devices} devices. Set it to {num_devices} or fewer."
        )
    folder = Path(job.folder)
    job_path, result_path = folder / "job.json", folder / "result.json"
    result_path.unlink(missing_ok=True)
    atomic.write_json(job_path, asdict(job))
    with ExitStack() as stack:
        ranks = subprocess.Popen(
            _command(job.settings["num_processes"], job_path),
            stdout=subprocess.PIPE,
            text=True,
            env={"OMP_NUM_THREADS": "1", **os.environ, _DRIVER: str(os.getpid())},
            start_new_session=True,  # a Ctrl-C is the driver's affair
        )
        stack.callback(ranks.wait)
        stack.callback(ranks.terminate)
        assert ranks.stdout is not None
        for line in ranks.stdout:
            _report(line, on_step)
            interrupt.check()
        code = ranks.wait()
    interrupt.check()
    if code or not result_path.exists():
        raise StageError(
            f"{folder}: the processes of the alignment ended with code {code} (their messages are "
            "above). Repeat the command to go on from the last checkpoint."
        )
    made = atomic.read_json(result_path)
    job_path.unlink()
    result_path.unlink()
    return AlignResult(**made | {"transformer_folder": Path(made["transformer_folder"])})


def _command(num_processes: int, job_path: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *("--nproc-per-node", str(num_processes), "--max-restarts", str(MAX_RESTARTS)),
        *("-m", "dualipo.generator.ranked", str(job_path)),
    ]


def _report(line: str, on_step: OnStep) -> None:
    """A line of JSON is a step; anything else is a library's, and is passed on."""
    try:
        step = json.loads(line)
    except json.JSONDecodeError:
        step = None
    if isinstance(step, dict) and step.keys() == {"step", "metrics"}:
        on_step(step["step"], step["metrics"])
    else:
        print(line, end="", file=sys.stderr)


def train(job: Job) -> AlignResult:
    """What every rank does; the first one's steps are printed."""

    def on_step(step: int, metrics: Mapping[str, float]) -> None:
        if dist.get_rank() == 0:
            print(json.dumps({"step": step, "metrics": metrics}), flush=True)

    told: dict[str, Any] = {
        "preferences": _preferences(job),
        "settings": Align(**job.settings),
        "folder": Path(job.folder),
        "seed": job.seed,
    }
    reference_hash = measure_reference(_load(job, None), **told) if job.from_base else None
    return align(
        _load(job, job.transformer),
        real=_real(job),
        reference_hash=reference_hash,
        on_step=on_step,
        **told,
    )


def _load(job: Job, transformer: str | None) -> backbone.Backbone:
    return backbone.load(
        Path(job.generator),
        max_sequence_length=job.max_sequence_length,
        dtype=getattr(torch, job.torch_dtype),
        device=loading_device(),
        transformer_folder=Path(transformer) if transformer else None,
    )


def _preferences(job: Job) -> PreferenceSet | PointSet:
    sides = {side: StoredList(places) for side, places in job.sides.items()}
    texts, certainties = StoredTable(job.texts), job.certainties
    if job.desirable is None:
        return PreferenceSet(
            job.ids, job.caption_keys, **sides, texts=texts, certainties=certainties
        )
    return PointSet(
        job.ids,
        job.caption_keys,
        **sides,
        desirable=job.desirable,
        texts=texts,
        certainties=certainties,
    )


def _real(job: Job) -> RealClips | None:
    if job.real is None:
        return None
    return RealClips(**{name: StoredList(places) for name, places in job.real.items()})


def main(job_path: Path) -> int:
    """One rank, as torchrun starts it, or starts it again."""
    if not _is_alive(int(os.environ[_DRIVER])):
        return 0  # whoever resumes the run starts ranks of its own
    job = Job(**atomic.read_json(job_path))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        result = train(job)
    except DualipoError as error:
        print(f"dualipo: rank {dist.get_rank()}: {error}", file=sys.stderr)
        return error.exit_code
    if dist.get_rank() == 0:
        made = asdict(result) | {"transformer_folder": str(result.transformer_folder)}
        atomic.write_json(Path(job.folder) / "result.json", made)
    dist.destroy_process_group()
    return 0


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
