"""Whole runs on a device other than the CPU, where there is no GPU (tests/pretend.py)."""

from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from dualipo.config import Config
from dualipo.progress import PlainProgress
from dualipo.rounds import loop
from dualipo.rounds.run import Run
from tests import pretend
from tests.rounds import harness as harnesses

MAX_SEEDS = 12
RUNS = {
    "wan in half precision": (
        "generator.torch_dtype=bfloat16",
        "critic.torch_dtype=bfloat16",
        "align.mixed_precision=bf16",
        "align.optimizer=muon",
        "align.rank=2",
    ),
    "cogvideox by kto": (
        "generator.pretrained_model_name_or_path=embedded-cogvideox",
        "generator.max_sequence_length=32",
        "generator.guidance_scale=4",
        "generator.step_cache=0.1",
        "align.loss_type=kto",
        "align.kto_labels=extremes",
        "align.gradient_checkpointing=true",
        "align.certainty_weights=true",
        "refresh.update_critic=false",
    ),
}


def ended_on_the_device(settings: Config) -> int:
    """Run in a child whose models are on the device."""
    made = Run.__init__

    def on_the_device(run: Run, *args: Any, **kwargs: Any) -> None:
        made(run, *args, **kwargs)
        run.device = pretend.NAME

    def body() -> None:
        with mock.patch.object(Run, "__init__", on_the_device), pretend.entered():
            loop.run(settings, progress=PlainProgress())

    return harnesses.in_child(body, path=Path(settings.output_dir))


@pytest.mark.parametrize("overrides", RUNS.values(), ids=RUNS.keys())
def test_a_run_never_mixes_devices(
    models_folder: Path, memory: Path, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    """A critic that flips coins may prefer nothing, and end its run: then with another seed."""
    for seed in range(MAX_SEEDS):
        path = memory / tmp_path.name / f"{seed}"
        chosen = ("rounds=1", *overrides, f"seed={seed}")
        code = ended_on_the_device(harnesses.recipe(models_folder, path, *chosen))
        if "dualipo.errors" not in harnesses.log(path):
            break
    assert code == 0, harnesses.log(path)
