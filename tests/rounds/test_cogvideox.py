"""A whole run of the embedded CogVideoX, as small on disk as possible, by the same loop."""

from pathlib import Path

import pytest
import torch

from dualipo.store import tensors
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness

COGVIDEOX = (
    "generator.pretrained_model_name_or_path=embedded-cogvideox",
    "generator.max_sequence_length=32",
    "align.rank=2",
    "rounds=1",
    "generator.latents_dtype=bfloat16",
    "generator.keep_latents=true",
    "generator.clip_qp=12",
)


@pytest.fixture(scope="module")
def cogvideox(models_folder: Path, memory: Path) -> Harness:
    """Run one round with a refresh: two alignments from the same start."""
    return harnesses.prepare(models_folder, memory / "cogvideox", *COGVIDEOX, wanted="refreshed")


def test_latents_are_stored_in_half_precision(cogvideox: Harness) -> None:
    files = [*(cogvideox.path / "latents").rglob("*.safetensors")]
    stored = [tensor for path in files for tensor in tensors.load(path).values()]
    kept = [tensor for tensor in stored if tensor.dim() == 4]
    assert kept and {latent.dtype for latent in kept} == {torch.bfloat16}


@pytest.mark.parametrize("part", ["reference.safetensors", "checkpoint"])
def test_fault_06_a_killed_alignment_is_equal(cogvideox: Harness, part: str) -> None:
    point = f"{part}.after_rename"
    assert cogvideox.killed_at(cogvideox.point(point, -1)) == cogvideox.clean
