"""Reads data sets in which people ranked several images of a caption: HPDv2 and ImageRewardDB.

    HPDv2, train     `human_preference`: 1 for the better of two images in `file_path`
    HPDv2, test      `rank` of each image in `image_path`; the smallest is the best
    ImageRewardDB    a row for each image, with `prompt_id`, `image_path` and `rank` (1 is best)

Every two images of a caption with different ranks become a pair; equal ranks are ties.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dualipo.preferences.importers.row import (
    Footage,
    Judged,
    Row,
    Settings,
    Unfit,
    number,
    pair,
    shown,
    text,
    voice,
)
from dualipo.records import Verdict
from dualipo.store import row_files

PATHS = ("file_path", "image_path")


def imagereward_rows(path: Path) -> row_files.Lines:
    """Yield a row for each caption, with its images and ranks in the order of the file."""
    captions: dict[Any, tuple[int, Row]] = {}
    for line, row in row_files.rows(path):
        if isinstance(row, Unfit) or not isinstance(row.get("prompt_id"), str | int):
            yield (
                line,
                row if isinstance(row, Unfit) else Unfit("`prompt_id` is no name or number."),
            )
            continue
        empty = {name: value for name, value in row.items() if name not in ("image_path", "rank")}
        _, group = captions.setdefault(
            row["prompt_id"], (line, empty | {"image_path": [], "rank": []})
        )
        group["image_path"].append(row.get("image_path"))
        group["rank"].append(row.get("rank"))
    yield from captions.values()


def judge(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield a pair for every two images of the row."""
    paths: Any = next((row[name] for name in PATHS if row.get(name)), None)
    if row.get("human_preference") is not None:
        ranks: Any = [-each for each in _numbers(row, "human_preference")]
    else:
        ranks = _numbers(row, "rank")
    if not isinstance(paths, list) or len(paths) != len(ranks) or len(paths) < 2:
        raise Unfit("The row has not one rank for each of at least two images.")
    for (path_a, rank_a), (path_b, rank_b) in itertools.combinations(
        zip(paths, ranks, strict=True), 2
    ):
        verdict: Verdict = "tie" if rank_a == rank_b else "a" if rank_a < rank_b else "b"
        yield pair(
            text(row, "prompt"),
            Footage((text({"image_path": path_a}, "image_path"),)),
            Footage((text({"image_path": path_b}, "image_path"),)),
            dimension=settings.dimension,
            verdict=verdict,
            voice=voice(row, settings),
        )


def _numbers(row: Row, name: str) -> list[float]:
    values = row.get(name)
    if not isinstance(values, list) or any(isinstance(each, str) for each in values):
        raise Unfit(f"`{name}` is {shown(values)}, not a list of numbers.")
    return [number({name: each}, name) for each in values]
