"""Whole runs on a device other than the CPU, where there is no GPU (tests/pretend.py)."""

import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from dualipo.config import Config
from dualipo.events import EndedEvent
from dualipo.progress import PlainProgress
from dualipo.rounds import loop
from dualipo.rounds.run import Run
from tests import pretend
from tests.rounds import harness as harnesses

MAX_SEEDS = 12
PREFERRED_NOTHING = 7
RUNS = {  # the generator, the first seed to try, by which something is preferred, and overrides
    "wan in half precision": (
        "generator",
        4,
        (
            "generator.torch_dtype=bfloat16",
            "critic.torch_dtype=bfloat16",
            "critic.rank=4",
            "align.mixed_precision=bf16",
            "align.optimizer=muon",
            "align.rank=2",
        ),
    ),
    "cogvideox by kto": (
        "cogvideox",
        2,
        (
            "generator.max_sequence_length=8",
            "generator.guidance_scale=4",
            "generator.step_cache=0.1",
            "align.loss_type=kto",
            "align.kto_labels=extremes",
            "align.gradient_checkpointing=true",
            "align.certainty_weights=true",
            "refresh.update_critic=false",
        ),
    ),
}


class OnTheDevice(Run):
    """A run whose models are on the device."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.device = pretend.NAME


def run_on_the_device(settings: Config) -> None:
    """Run on the pretended device; end with a code of its own where nothing was preferred."""
    with mock.patch.object(loop, "Run", OnTheDevice):
        path = loop.run(settings, progress=PlainProgress())
    if harnesses.events(path, EndedEvent):
        sys.exit(PREFERRED_NOTHING)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_never_mixes_devices(
    models_folder: Path, memory: Path, tmp_path: Path, name: str
) -> None:
    generator, first_seed, own = RUNS[name]
    named = f"generator.pretrained_model_name_or_path={models_folder / generator}"
    overrides = ("rounds=1", named, *own)
    for seed in range(first_seed, MAX_SEEDS):
        path = memory / tmp_path.name / f"{seed}"
        settings = harnesses.recipe(models_folder, path, *overrides, f"seed={seed}")
        code = pretend.ended(run_on_the_device, settings)
        if code != PREFERRED_NOTHING:
            break
    assert code == 0
