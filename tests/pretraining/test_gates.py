"""Tests that every generator among the weights is measured and named on the card."""

import shutil
from pathlib import Path

import pytest

from dualipo.config import Generator
from dualipo.pretraining import card, gates, settings
from dualipo.rounds.run import EMBEDDED, model_folder


@pytest.mark.slow
def test_every_generator_is_measured_and_the_larger_must_be_better(tmp_path: Path, monkeypatch):
    small = settings.VARIANTS["small"].folder
    large = settings.VARIANTS["large"].folder
    (tmp_path / small).symlink_to(model_folder(EMBEDDED, "generator"))
    shutil.copytree(tmp_path / small, tmp_path / large)  # as good as the small one: not better
    (tmp_path / "generator-cogvideox").mkdir()  # begun, not finished
    monkeypatch.setattr(gates, "NUM_CLIPS", 2)
    brief = Generator(num_inference_steps=2, guidance_scale=1.0, sample_batch_size=8)
    measured = gates.measure_all(tmp_path, sampling=brief, num_prompts=2)
    assert list(measured) == [small, large]
    assert measured[large]["base"] == measured[small]["base"]
    assert measured[large]["passed"]["better than small"] is False
    assert "better than small" not in measured[small]["passed"]
    written = card.weights_card(measured)
    assert "`generator-large/`, 3.3M parameters in its transformer:" in written
    assert (
        "Its base beyond the small one's: +0.000\n(+0.000 to +0.000; above 0: **no**)." in written
    )
    assert "| large generator | 4500 | 48 | Muon | 0.003 |" in written
    assert "cogvideox" not in written.lower()
