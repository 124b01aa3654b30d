"""A whole run upon the embedded CogVideoX: the same loop, the other family."""

from pathlib import Path

import pytest

from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness

COGVIDEOX = (
    "generator.pretrained_model_name_or_path=embedded-cogvideox",
    "generator.max_sequence_length=32",
    "align.rank=2",
    "rounds=1",
)


@pytest.fixture(scope="module")
def cogvideox(models_folder: Path, memory: Path) -> Harness:
    """One round, with a refresh, and so two alignments from the same start."""
    return harnesses.prepare(models_folder, memory / "cogvideox", *COGVIDEOX, wanted="refreshed")


@pytest.mark.parametrize("part", ["reference.safetensors", "checkpoint"])
def test_fault_06_a_killed_alignment_is_equal(cogvideox: Harness, part: str) -> None:
    point = f"{part}.after_rename"
    assert cogvideox.killed_at(cogvideox.point(point, -1)) == cogvideox.clean
