"""Strangers' layouts come from a download to a trained warm start, by `dualipo import` alone.

Each layout is made by code as its makers lay it out. The run that follows is a whole one with tiny
models and no rounds: its critic is trained on those labels.
"""

import csv
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dualipo.cli.main import main
from dualipo.config import SeedLabels
from dualipo.events import SeedEvent
from dualipo.preferences import label_set
from dualipo.preferences.contradictions import usable
from dualipo.preferences.seed_size import require_enough
from dualipo.records import DIMENSIONS
from tests.rounds import harness as harnesses
from tests.video_files import write_clip

NAMES = [f"{number}.mp4" for number in range(6)]
# Each clip wins over each other one, about a caption of its own, so that neither side always wins.
PAIRS = list(itertools.permutations(NAMES, 2))
Import = Callable[[Path], None]
# No program judges clips of captions of a user's own.
OWN = ("rounds=0", "prompts.source=file", "monitor.num_audit_labels=0", "align.real_nll_ratio=0")
# Enough questions and paths that some of the coin flips are right and some are wrong.
DPO = (
    "warm_start_dpo.num_paths=6",
    "warm_start_dpo.max_questions=12",
    "seed_labels.holdout_share=0.2",
)
CAPTIONS = ("a cat runs", "a dog sits", "an owl turns", "a fox digs")


def videofolder(folder: Path) -> None:
    """Lay out clips in folders of their own, with a table beside them; import it."""
    rows = [
        {
            "chosen_file_name": f"clips/{winner}",
            "rejected_file_name": f"clips/{loser}",
            "text": f"A disc, {winner} {loser}.",
            "dimension": dimension,
        }
        for dimension in DIMENSIONS
        for winner, loser in PAIRS
    ]
    table = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(table)
    bring_in(folder, "videofolder", folder)


def mapped_csv(folder: Path) -> None:
    """Lay out a table of votes under names that only its maker knows; import it by a map."""
    with open(folder / "votes.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("words", "left", "right", "vote", "about"))
        for dimension in DIMENSIONS:
            for number, (left, right) in enumerate(PAIRS):
                vote = ("first", "second")[number % 2]
                caption = f"A disc, {left} {right}."
                writer.writerow((caption, f"clips/{left}", f"clips/{right}", vote, dimension))
    columns = "caption=words,a=left,b=right,verdict=vote,dimension=about"
    bring_in(folder, "table", folder / "votes.csv", "--map", columns)


def winners_and_losers(folder: Path) -> None:
    """Lay out a table of chosen and rejected clips; import it for each dimension."""
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
        bring_in(folder, "chosen-rejected", folder / "pairs.json", "--dimension", dimension)


def bring_in(folder: Path, *words: object) -> None:
    output = ("--output", folder / "labels")
    assert main(["import", *map(str, (*words, *output)), "--source", "human"]) == 0


every_layout = pytest.mark.parametrize("bring", [videofolder, mapped_csv, winners_and_losers])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for shade, name in enumerate(NAMES):
        write_clip(tmp_path / "clips" / name, np.full((3, 16, 16, 3), 40 * shade, np.uint8), 8)
    return tmp_path


@every_layout
def test_the_labels_suffice_for_a_warm_start(folder: Path, bring: Import) -> None:
    bring(folder)
    labels = usable(label_set.read(folder / "labels")).labels
    require_enough(labels.pairs, labels.points, settings=SeedLabels())
    assert len(labels.pairs) == len(DIMENSIONS) * len(PAIRS)


@pytest.mark.slow
@every_layout
def test_a_critic_is_warmed_by_them(
    folder: Path, bring: Import, models_folder: Path, memory: Path
) -> None:
    bring(folder)
    (folder / "captions.txt").write_text("\n".join(CAPTIONS))
    path = memory / f"stranger-{bring.__name__}"
    settings = harnesses.recipe(
        models_folder, path, *OWN, *DPO,
        f"prompts.path={folder / 'captions.txt'}", f"seed_labels.path={folder / 'labels'}",
    )  # fmt: skip
    assert harnesses.ended(settings) == 0, harnesses.log(path)
    (event,) = harnesses.events(path, SeedEvent)
    assert (event.num_pairs, event.sources) == (90, {"human": 90})
    with harnesses.ledger_of(path) as ledger:
        hashes = {ledger.version("critic", name).sha256 for name in ("sft", "warm")}
    assert len(hashes) == 2, "both trainings changed the critic"
