"""Tests that strangers' layouts come as far as a warm start, by `dualipo import` alone."""

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from dualipo.cli.main import main
from dualipo.config import SeedLabels
from dualipo.preferences import label_set
from dualipo.preferences.contradictions import usable
from dualipo.preferences.seed_size import require_enough
from dualipo.records import DIMENSIONS
from tests.video_files import write_clip

NAMES = [f"{number}.mp4" for number in range(6)]
# Each clip wins over each other one, about a caption of its own, so that neither side always wins.
PAIRS = list(itertools.permutations(NAMES, 2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for shade, name in enumerate(NAMES):
        write_clip(tmp_path / "clips" / name, np.full((3, 16, 16, 3), 40 * shade, np.uint8), 8)
    return tmp_path


def run(*words: object) -> None:
    assert main(["import", *map(str, words), "--source", "human"]) == 0


def require_warm_start(folder: Path) -> None:
    labels = usable(label_set.read(folder / "labels")).labels
    require_enough(labels.pairs, labels.points, settings=SeedLabels())
    assert len(labels.pairs) == len(DIMENSIONS) * len(PAIRS)


def test_a_videofolder(folder: Path) -> None:
    rows = [
        {
            "chosen_file_name": winner,
            "rejected_file_name": loser,
            "text": f"A disc, {winner} {loser}.",
            "dimension": dimension,
        }
        for dimension in DIMENSIONS
        for winner, loser in PAIRS
    ]
    table = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "clips" / "metadata.jsonl").write_text(table)
    run("videofolder", folder / "clips", "--output", folder / "labels")
    require_warm_start(folder)


def test_a_mapped_csv(folder: Path) -> None:
    with open(folder / "votes.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("words", "left", "right", "vote", "about"))
        for dimension in DIMENSIONS:
            for number, (left, right) in enumerate(PAIRS):
                vote = ("first", "second")[number % 2]
                caption = f"A disc, {left} {right}."
                writer.writerow((caption, f"clips/{left}", f"clips/{right}", vote, dimension))
    columns = "caption=words,a=left,b=right,verdict=vote,dimension=about"
    run("table", folder / "votes.csv", "--map", columns, "--output", folder / "labels")
    require_warm_start(folder)


def test_a_table_of_winners_and_losers(folder: Path) -> None:
    rows = [
        {
            "prompt": f"A disc, {winner} {loser}.",
            "chosen_video_path": f"clips/{winner}",
            "rejected_video_path": f"clips/{loser}",
        }
        for winner, loser in PAIRS
    ]
    (folder / "pairs.json").write_text(json.dumps(rows))
    for dimension in DIMENSIONS:
        words = ("--dimension", dimension, "--output", folder / "labels")
        run("chosen-rejected", folder / "pairs.json", *words)
    require_warm_start(folder)
