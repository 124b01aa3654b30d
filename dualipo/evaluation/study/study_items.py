"""The questions of a study: every two generators' clips of the same prompt and seed.

Clips come from a run (its test or monitor set, whose seeds are the same for every version), from
several runs that have prompts in common, or from a manifest of JSON lines: `{"generator", "prompt",
"seed", "video"}`, with the video's path inside the manifest's folder. Clips of a manifest are
encoded anew, all in one lossless format, so that neither a container nor its metadata tells who
made them.

Left out: cutting clips to one length or size. Generators are shown as they are used.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from dualipo import text_files
from dualipo.errors import DataError
from dualipo.records import Candidate
from dualipo.seeds import derive
from dualipo.store.clips import ClipStore, read_shown
from dualipo.store.labels import LabelItem
from dualipo.store.run_reader import RunReader
from dualipo.store.run_tables import set_of

FIELDS = {"generator": str, "prompt": str, "seed": int, "video": str}
SETS = ("test", "monitor")  # the sets of clips that every version of a run has


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip of one generator; `clip` is its sha256."""

    generator: str
    prompt_id: str
    caption: str
    seed: int
    clip: str


def of_run(run_path: Path, generators: Sequence[str], *, name: str = SETS[0]) -> list[Clip]:
    """Return the run's test or monitor clips by these generator versions."""
    return [
        Clip(c.generator_version, c.prompt_id, c.caption, c.seed, c.clip)
        for c in _candidates(run_path, generators, name)
    ]


def of_runs(
    generators: Sequence[tuple[Path, str]], store: ClipStore, *, name: str = SETS[0]
) -> list[Clip]:
    """Copy clips of several runs into a store, and return them.

    A generator is a run and a version, and called "RUN:VERSION". Clips of one prompt and number
    are compared: only runs of one seed made them from the same noise.
    """
    clips: list[Clip] = []
    for run_path, version in generators:
        source = ClipStore(run_path / "clips")
        for c in _candidates(run_path, [version], name):
            store.add(source.path(c.clip), sha256=c.clip)
            clips.append(Clip(f"{run_path}:{version}", c.prompt_id, c.caption, c.index, c.clip))
    return clips


def _candidates(run_path: Path, generators: Sequence[str], name: str) -> list[Candidate]:
    """Return a set's clips by these versions; refuse a version that has none."""
    candidates = RunReader(run_path).candidates()
    clips = [candidate for candidate in candidates if set_of(candidate) == name]
    versions = sorted({candidate.generator_version for candidate in clips})
    if missing := sorted(set(generators) - set(versions)):
        raise DataError(
            f"{run_path}: no {name} clips by {', '.join(missing)}. There are "
            f"{', '.join(versions) or 'none'}; prompts.num_{name}_prompts says how many are made."
        )
    return [candidate for candidate in clips if candidate.generator_version in generators]


def of_manifest(manifest: Path, store: ClipStore) -> list[Clip]:
    """Read and store the clip of every line; a line that does not fit is a DataError (fault 39)."""
    if not manifest.is_file():
        raise DataError(f"{manifest}: no such file. Give JSON lines: {', '.join(FIELDS)}.")
    rows = [_row(manifest, number, row) for number, row in text_files.json_lines(manifest)]
    return [_stored(row, path, store) for row, path in rows]


def items(clips: Iterable[Clip], *, num_prompts: int | None, seed: int) -> list[LabelItem]:
    """Return a question for every two generators on each prompt and seed that all of them have.

    Two equal clips make no question.
    """
    generators: set[str] = set()
    places: dict[tuple[str, int], dict[str, Clip]] = {}
    for clip in clips:
        generators.add(clip.generator)
        places.setdefault((clip.prompt_id, clip.seed), {})[clip.generator] = clip
    whole = {place: clips_of for place, clips_of in places.items() if clips_of.keys() == generators}
    if len(generators) < 2 or not whole:
        raise DataError(
            f"{len(generators)} generators, {len(whole)} prompts and seeds that all of them have. "
            "A study needs two generators and the same prompts and seeds of each."
        )
    order = sorted({prompt for prompt, _ in whole}, key=lambda name: derive(seed, "study", name))
    chosen = set(order[:num_prompts])
    pairs = list(_pairs(whole, chosen))
    if not pairs:
        raise DataError(
            f"{', '.join(sorted(generators))}: their clips of {len(chosen)} prompts are the same, "
            "so there is nothing to compare. Name other generators."
        )
    return pairs


def _pairs(whole: dict[tuple[str, int], dict[str, Clip]], chosen: set[str]) -> Iterator[LabelItem]:
    for (prompt_id, _), clips_of in sorted(whole.items()):
        for first, second in combinations(sorted(clips_of), 2):
            a, b = clips_of[first], clips_of[second]
            if prompt_id in chosen and a.clip != b.clip:
                yield LabelItem.of_pair(prompt_id, a.caption, {a.clip: first, b.clip: second})


def _row(manifest: Path, number: int, row: Any) -> tuple[dict[str, Any], Path]:
    where = f"{manifest}:{number}"
    if not isinstance(row, dict):
        fact = row if isinstance(row, text_files.Unreadable) else "The line holds no object."
        raise DataError(f"{where}: {fact} Mend or drop that line.")
    wrong = [name for name, kind in FIELDS.items() if not isinstance(row.get(name), kind)]
    if wrong:
        raise DataError(f"{where}: {', '.join(wrong)} missing or of another type. Mend that line.")
    root = manifest.parent.resolve()
    path = (root / row["video"]).resolve()
    if not path.is_relative_to(root):
        raise DataError(f"{where}: {row['video']} lies outside {root}. Move the clips beside it.")
    return row, path


def _stored(row: dict[str, Any], path: Path, store: ClipStore) -> Clip:
    shown = read_shown(path)
    clip = store.put(shown.frames_FHWC, shown.fps)
    prompt_id = hashlib.sha256(row["prompt"].encode()).hexdigest()[:16]
    return Clip(row["generator"], prompt_id, row["prompt"], row["seed"], clip)
