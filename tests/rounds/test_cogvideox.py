"""A whole run of a CogVideoX, as small on disk as possible, by the same loop."""

from pathlib import Path

import pytest
import torch

from dualipo.config import Generator
from dualipo.generator import backbone
from dualipo.generator.sample import sample
from dualipo.rounds.run import model_folder
from dualipo.store import tensors
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness
from tests.rounds.stopped import Stopped, stopped

COGVIDEOX = (
    "align.rank=2",
    "rounds=1",
    "generator.latents_dtype=bfloat16",
    "generator.keep_latents=true",
    "generator.clip_qp=12",
)
POINTS = ("reference.safetensors.after_rename", "checkpoint.after_rename")


@pytest.fixture(scope="module")
def cogvideox(models_folder: Path, memory: Path) -> Harness:
    """Run one round with a refresh: two alignments from the same start."""
    overrides = [*harnesses.cogvideox(models_folder), *COGVIDEOX]
    folder = memory / "cogvideox-runs"
    return harnesses.prepare(models_folder, folder, *overrides, wanted="refreshed", first_seed=2)


def test_latents_are_stored_in_half_precision(cogvideox: Harness) -> None:
    files = [*(cogvideox.path / "latents").rglob("*.safetensors")]
    stored = [tensor for path in files for tensor in tensors.load(path).values()]
    kept = [tensor for tensor in stored if tensor.dim() == 4]
    assert kept and {latent.dtype for latent in kept} == {torch.bfloat16}


def test_the_one_that_ships_samples_clips() -> None:
    folder = model_folder("embedded-cogvideox", "generator")
    shipped = backbone.load(folder, max_sequence_length=32)
    settings = Generator(num_inference_steps=2, guidance_scale=4.0)
    sampled = sample(shipped, captions=["a ball"], seeds=[0], settings=settings)
    assert sampled.faults == [None]


@pytest.fixture(scope="module")
def alignment(cogvideox: Harness, tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """Halt a run at two points of its last alignment."""
    hits = {cogvideox.point(name, -1) for name in POINTS}
    return stopped(cogvideox, tmp_path_factory.mktemp("alignment"), hits)


@pytest.mark.parametrize("name", POINTS)
def test_fault_06_a_killed_alignment_is_equal(alignment: Stopped, name: str) -> None:
    hit = alignment.harness.point(name, -1)
    assert alignment.killed_at(hit) == alignment.harness.clean
