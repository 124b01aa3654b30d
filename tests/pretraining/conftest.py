"""A small pool of drawn clips, for the tests of the critic's pretraining."""

from pathlib import Path

import pytest

from dualipo.cli import weights
from dualipo.pretraining import settings
from dualipo.pretraining.clip_pool import DRAWN, ClipPool

GENERATOR = weights.FOLDER / "generator"


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> ClipPool:
    """Return a pool of 16 prompts with four drawn clips each."""
    work: Path = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as few:
        few.setattr(settings, "PROMPTS_PER_CLIP_SHARD", 8)
        return ClipPool(GENERATOR, work, kinds=(DRAWN,), shards_per_kind=2)


@pytest.fixture(autouse=True)
def few_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw from the eight prompts that the pool's shards hold."""
    monkeypatch.setattr(settings, "PROMPTS_PER_CLIP_SHARD", 8)
