"""An alignment under torchrun: the driver hands over places and gets steps and weights back."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dualipo.config import Config, resolve
from dualipo.errors import ConfigError
from dualipo.generator import backbone, shared_alignment
from dualipo.generator.align import AlignResult
from dualipo.generator.preference_sets import PreferenceSet, RealClips
from dualipo.store import tensors
from dualipo.store.stored import StoredList, StoredTable
from dualipo.training import torchrun
from dualipo.training.torchrun import Team
from tests.generator.conftest import make_pipeline

ALIGN: dict[str, Any] = {
    "num_processes": 2,
    "max_train_steps": 3,
    "train_batch_size": 2,
    "learning_rate": 1e-3,
    "lr_warmup_steps": 0,
    "num_slots": 1,
    "real_batch_size": 2,
    "checkpointing_steps": 1,
    "num_holdout": 1,
    "holdout_every": 1,
    "patience": 2,
}


def described(
    folder: Path, *, transformer: Path | None = None, work: str = "generator", **align: Any
) -> shared_alignment.Job:
    """Describe an alignment of the pipeline `folder / "wan"` on two pairs and three real clips."""
    file = folder / "unit.safetensors"
    kept = {"w": torch.ones(4, 3, 4, 4), "l": -torch.ones(4, 3, 4, 4), "t": torch.ones(8, 32)}
    tensors.save(file, kept, metadata={})
    places = {name: (str(file), name) for name in kept}
    preferences = PreferenceSet(
        ids=["a", "b"],
        caption_keys=["ball", "cube"],
        texts=StoredTable({"ball": places["t"], "cube": places["t"]}),
        winners=StoredList([places["w"]] * 2),
        losers=StoredList([places["l"]] * 2),
    )
    settings = {"align": ALIGN | align, "generator": {"max_sequence_length": 8}}
    job = shared_alignment.describe(
        preferences,
        folders=(folder / "wan", transformer),
        from_base=transformer is not None,
        settings=Config.model_validate(settings),
        folder=folder / work,
        seed=3,
        real=RealClips(StoredList([places["l"]] * 3), StoredList([places["t"]] * 3)),
    )
    return replace(job, peer_timeout=60.0)


@contextlib.contextmanager
def joined(team: Team) -> Iterator[None]:
    """Let a second machine, which is this one, wait for the training, if it is on two."""
    is_going_on = threading.Event()
    is_going_on.set()
    num_starts: list[int] = []

    def wait() -> None:
        goes_on = is_going_on.is_set
        num_starts.append(torchrun.join(team.call_path, node_rank=1, goes_on=goes_on))

    other = threading.Thread(target=wait)
    other.start()
    yield
    is_going_on.clear()
    other.join()
    assert num_starts == [team.num_nodes - 1]
    assert not team.call_path.exists()


@dataclass(frozen=True)
class Trained:
    """What an alignment published, and what it said of its steps."""

    folder: Path
    result: AlignResult
    steps: dict[int, dict[str, float]]


def trained(folder: Path, job: shared_alignment.Job, *, num_nodes: int = 1) -> Trained:
    """Train by two processes on so many machines."""
    steps: dict[int, dict[str, float]] = {}
    team = Team("align", 2, num_nodes, folder / torchrun.CALL)
    with joined(team):
        result = shared_alignment.run(job, team=team, on_step=steps.__setitem__)
    return Trained(folder, result, steps)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Train from the start on one machine, and count the failpoints that are passed."""
    folder = tmp_path_factory.mktemp("clean")
    make_pipeline().save_pretrained(folder / "wan")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUALIPO_FAIL", f"count@{folder / 'passed'}")
        return trained(folder, described(folder))


@pytest.mark.slow
def test_torchrun_trains_what_the_driver_names(clean: Trained) -> None:
    require_published(clean)
    assert clean.steps[0]["dpo"] == pytest.approx(0.6931, abs=1e-3)


@pytest.mark.slow
def test_torchrun_trains_from_another_version_on_two_machines(tmp_path: Path) -> None:
    make_pipeline().save_pretrained(tmp_path / "wan")
    start = backbone.load(tmp_path / "wan", max_sequence_length=8)
    torch.nn.init.ones_(start.module.proj_out.weight)
    start.save(tmp_path / "transformer")
    job = described(tmp_path, transformer=tmp_path / "transformer")
    of_two = trained(tmp_path, job, num_nodes=2)
    require_published(of_two)
    assert of_two.steps[0]["dpo"] != pytest.approx(0.6931, abs=1e-3)


def require_published(made: Trained) -> None:
    """Require all steps, their measurements, and a version that loads as it was trained."""
    result, wan = made.result, made.folder / "wan"
    base = backbone.load(wan, max_sequence_length=8)
    assert made.steps[0]["real_nll"] > 0
    assert len(made.steps) == result.num_steps == ALIGN["max_train_steps"]
    assert result.best_step in (1, 2, 3)
    assert all("holdout_accuracy" in metrics for metrics in made.steps.values())
    assert result.reference_hash == base.hash() != result.generator_hash
    version = backbone.load(
        wan, max_sequence_length=8, transformer_folder=result.transformer_folder
    )
    assert version.hash() == result.generator_hash
    left = sorted(path.name for path in (made.folder / "generator").iterdir())
    assert left == [
        *("checkpoints", "reference-holdout.safetensors", "reference.safetensors", "transformer")
    ]


@pytest.mark.slow
def test_fault_44_a_rank_that_dies_is_started_again_and_the_weights_are_the_same(
    clean: Trained, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Kill a rank amid the alignment: all start again, from the last checkpoint."""
    names = (clean.folder / "passed").read_text().split()
    # The rank that publishes passes all of these; the other one none.
    saved = [hit for hit, name in enumerate(names, start=1) if name == "checkpoint.after_rename"]
    monkeypatch.setenv("DUALIPO_FAIL", f"kill@{saved[1]}")
    steps: list[int] = []
    killed = shared_alignment.run(
        described(clean.folder, work="killed"),
        team=Team("align", 2, 1, clean.folder / torchrun.CALL),
        on_step=lambda n, _: steps.append(n),
    )
    assert killed.generator_hash == clean.result.generator_hash
    assert steps == [0, 1, 2]  # none is done twice: the second one was saved when the rank died
    assert "All start again, 1 of 3 times" in capfd.readouterr().err


def test_unequal_shares_and_other_optimizers_are_refused() -> None:
    for change, reason in (
        ({"train_batch_size": 3}, r"align\.train_batch_size to a multiple of 2"),
        ({"optimizer": "muon"}, r"does not work with align\.optimizer = \"muon\""),
    ):
        with pytest.raises(ConfigError, match=reason):
            resolve({"align": ALIGN | change}, subject="recipe")


def test_more_processes_than_devices_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    torchrun.require_devices(Team("align", 2, 2, tmp_path))
    with pytest.raises(ConfigError, match="has 1 devices"):
        torchrun.require_devices(Team("critic", 4, 2, tmp_path))
