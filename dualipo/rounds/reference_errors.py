"""The reference's errors (METHOD.md 4.2), measured by workers before this process aligns.

    preferences -> units of whole batches -> errors_N of each -> errors_PS by side

A unit's batches are those of one process, and so are its bits. Nothing is committed: a run that was
killed measures again. Left out: an alignment by several processes, whose ranks measure together,
and several alignments that share a reference's errors.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dualipo.generator import align as alignment
from dualipo.generator import holdout, reference
from dualipo.generator.preference_sets import SETS, Preferences
from dualipo.generator.reference import Place
from dualipo.rounds.bench import Bench
from dualipo.rounds.run import Run
from dualipo.store import atomic
from dualipo.workers.job import Work

BATCHES = 8  # of a training step, in one unit
ITEMS = "reference-items.json"  # the preferences with the places of their tensors, for the workers


@dataclass(frozen=True)
class Part:
    """Places to measure by a version; `index` is the part's number, and a file has the items."""

    index: int
    version: str
    items_path: Path
    places: tuple[Place, ...]
    seed: int


def measured(
    run: Run, version: str, preferences: Preferences, *, folder: Path, seed: int
) -> dict[str, dict[str, Tensor]]:
    """Return a version's errors_PS by side, for each file of errors that an alignment lacks.

    Without workers there are none: the alignment measures by itself.
    """
    if run.is_inline:
        return {}
    trained, held = holdout.split(preferences, settings=run.config.align, seed=seed)
    sets = {alignment.REFERENCE: trained, alignment.HELD_REFERENCE: held}
    return {
        name: _of_set(run, version, own, folder=folder, seed=seed)
        for name, own in sets.items()
        if own is not None and not (folder / name).exists()
    }


def _of_set(
    run: Run, version: str, preferences: Preferences, *, folder: Path, seed: int
) -> dict[str, Tensor]:
    path = (folder / ITEMS).absolute()
    atomic.make_folder(folder)
    atomic.write_json(path, preferences.as_places())
    rows: dict[int, dict[str, np.ndarray]] = {}
    for done in run.spread(
        measure_part, _works(run, version, preferences, path, seed), generator=version
    ):
        rows[done.work.content.index] = done.row
    path.unlink()
    errors = {
        side: torch.from_numpy(np.concatenate([rows[index][side] for index in sorted(rows)]))
        for side in preferences.sides
    }
    return reference.in_slots(errors, preferences)


def _works(
    run: Run, version: str, preferences: Preferences, path: Path, seed: int
) -> Iterator[Work]:
    places = reference.all_places(preferences, run.config.align)
    size = BATCHES * run.config.align.train_batch_size
    for index, start in enumerate(range(0, len(places), size)):
        own = tuple(places[start : start + size])
        ids = tuple(dict.fromkeys(preferences.ids[item] for item, _ in own))
        part = Part(index, version, path, own, seed)
        yield Work(f"reference errors {index}", ids, part)


def measure_part(bench: Bench, part: Part) -> dict[str, np.ndarray]:
    """Measure the errors_N of a part's places by side.

    They are no tensors: torch sends one between processes as shared memory of the process that made
    it.
    """
    settings = bench.config.align
    items = SETS[settings.loss_type].from_places(atomic.read_json(part.items_path))
    errors = reference.measure_places(
        bench.generator(part.version),
        part.places,
        preferences=items,
        settings=settings,
        seed=part.seed,
    )
    return {side: errors_N.numpy() for side, errors_N in errors.items()}
