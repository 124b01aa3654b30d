"""Two gloo processes that share the weights train as one does (FSDP2, ARCHITECTURE.md)."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from dualipo.config import Align
from dualipo.errors import CheckpointError
from dualipo.generator import backbone
from dualipo.generator.align import align
from dualipo.generator.preference_sets import PointSet, PreferenceSet, RealClips
from dualipo.store import tensors
from dualipo.training import loop, ranks
from tests import two_ranks
from tests.generator import test_align, test_objectives

SETTINGS: dict[str, Any] = {
    **test_align.SETTINGS,
    "max_train_steps": 4,
    "real_batch_size": 4,
    "learning_rate": 1e-4,
    "checkpointing_steps": 2,
    "ratio_every": 3,
}
LORA: dict[str, Any] = {"rank": 4, "learning_rate": 3e-4, "gradient_checkpointing": True}
preferences, real, points = test_align.preferences, test_align.real, test_objectives.points


def train(
    folder: Path,
    job: dict[str, Any],
    work: Path,
    changes: dict[str, Any],
    *,
    killed_at: int = -1,
    logged: list[loop.Metrics] | None = None,
) -> list[loop.Metrics]:
    logged = [] if logged is None else logged

    def on_step(step: int, metrics: loop.Metrics) -> None:
        logged.append(metrics)
        if step == killed_at:
            raise KeyboardInterrupt

    model = backbone.load(folder, max_sequence_length=8, device=ranks.loading_device())
    settings = Align(**SETTINGS | changes)
    align(model, **job, settings=settings, folder=work, seed=11, on_step=on_step)
    return logged


def in_two(folder: Path, act: Callable[[], Any]) -> Any:
    """Return what the first of two processes returned."""
    folder.mkdir()

    def keep(rank: int) -> None:
        logged = act()
        if rank == 0:
            (folder / "logged.json").write_text(json.dumps(logged))

    two_ranks.act_in_two(keep, folder)
    return json.loads((folder / "logged.json").read_text())


def require_equal(single: list[loop.Metrics], double: list[loop.Metrics], work: Path) -> None:
    """Require losses within 1e-4 and weights within 1e-5 of each other."""
    for alone, shared in zip(single, double, strict=True):
        assert shared["loss"] == pytest.approx(alone["loss"], rel=1e-4)
        assert shared["grad_norm"] == pytest.approx(alone["grad_norm"], rel=1e-3)
        for name in ("lambda_1", "lambda_2", "z_std"):
            assert shared[name] == pytest.approx(alone[name], rel=1e-3, abs=1e-4)
        assert alone.keys() == shared.keys()
    assert single[-1]["z_std"] > 1e-2
    weights = [
        tensors.load(work / name / "transformer" / "diffusion_pytorch_model.safetensors")
        for name in ("one", "two")
    ]
    assert weights[0].keys() == weights[1].keys()
    for name, alone_ in weights[0].items():
        torch.testing.assert_close(weights[1][name], alone_, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, LORA], ids=["full", "lora"])
def test_two_processes_train_pairs_as_one_does(
    changes: dict[str, Any],
    pipeline_folder: Path,
    preferences: PreferenceSet,
    real: RealClips,
    tmp_path: Path,
) -> None:
    job = {"preferences": preferences, "real": real}
    act = functools.partial(train, pipeline_folder, job, changes=changes)
    single = act(work=tmp_path / "one")
    double = in_two(tmp_path / "pairs", functools.partial(act, work=tmp_path / "two"))
    require_equal(single, double, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, LORA], ids=["full", "lora"])
def test_fault_46_a_training_goes_on_with_another_number_of_processes(
    changes: dict[str, Any], pipeline_folder: Path, preferences: PreferenceSet, tmp_path: Path
) -> None:
    """Train a step with two processes, one with one, and the rest with two: as one alone does."""
    job = {"preferences": preferences, "real": None}
    changes = changes | {"real_nll_ratio": 0.0, "checkpointing_steps": 1}
    act = functools.partial(train, pipeline_folder, job, changes=changes)
    single, work = act(work=tmp_path / "one"), tmp_path / "two"

    def killed(at: int) -> list[loop.Metrics]:
        logged: list[loop.Metrics] = []
        with pytest.raises(KeyboardInterrupt):
            act(work=work, killed_at=at, logged=logged)
        return logged

    steps = in_two(tmp_path / "first", functools.partial(killed, 1))[:1]
    steps += killed(2)[:1]
    steps += in_two(tmp_path / "rest", functools.partial(act, work=work))
    require_equal(single, steps, tmp_path)


@pytest.mark.slow
def test_fault_12_two_processes_resume_what_they_saved_unless_it_is_damaged(
    pipeline_folder: Path, preferences: PreferenceSet, tmp_path: Path
) -> None:
    """Kill a training after step 3 of 4: it goes on from step 2 to the same weights, bit for bit.

    A flipped bit is found.
    """
    job = {"preferences": preferences, "real": None}
    act = functools.partial(
        train, pipeline_folder, job, changes={"real_nll_ratio": 0.0, "checkpoints_total_limit": 1}
    )

    def killed_and_resumed() -> list[str]:
        hashes = []
        act(work=tmp_path / "clean")
        with pytest.raises(KeyboardInterrupt):
            act(work=tmp_path / "killed", killed_at=2)
        steps = act(work=tmp_path / "killed")
        for name in ("clean", "killed"):
            hashes.append(backbone_hash(pipeline_folder, tmp_path / name))
        damaged = tmp_path / "killed" / "checkpoints" / "step-000004" / "__0_0.distcp"
        if dist.get_rank() == 0:
            content = bytearray(damaged.read_bytes())
            content[len(content) // 2] ^= 1
            damaged.write_bytes(content)
        dist.barrier()
        with pytest.raises(CheckpointError, match="every checkpoint is damaged"):
            act(work=tmp_path / "killed")
        return [*hashes, str(len(steps))]

    clean, resumed, num_steps = in_two(tmp_path / "resumed", killed_and_resumed)
    assert clean == resumed and num_steps == "2"
    assert not (tmp_path / "killed" / "checkpoints" / "step-000004").exists()


def backbone_hash(folder: Path, work: Path) -> str:
    transformer = work / "transformer"
    return backbone.load(folder, max_sequence_length=8, transformer_folder=transformer).hash()


@pytest.mark.slow
def test_two_processes_train_points_as_one_does(
    cog_folder: Path, points: PointSet, tmp_path: Path
) -> None:
    """z0 is the whole batch's, whichever rank and micro batch a clip is in."""
    job = {"preferences": points, "real": None}
    changes = {
        "loss_type": "kto",
        "beta_kto": 100.0,
        "real_nll_ratio": 0.0,
        "gradient_accumulation_steps": 2,
    }
    act = functools.partial(train, cog_folder, job, changes=changes)
    single = act(work=tmp_path / "one")
    double = in_two(tmp_path / "points", functools.partial(act, work=tmp_path / "two"))
    z0s = [[metrics["z0"] for metrics in logged] for logged in (single, double)]
    assert z0s[1] == pytest.approx(z0s[0], rel=1e-4, abs=1e-6), "a mean of small differences"
    require_equal(single, double, tmp_path)
