"""Tiny models and clean runs, made once a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    with harnesses.memory_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def models_folder(memory: Path) -> Path:
    return harnesses.make_models(memory / "models")


@pytest.fixture(scope="session")
def harness(memory: Path, models_folder: Path) -> Harness:
    """Run two rounds, the first with a refresh."""
    return harnesses.prepare(models_folder, memory / "refreshed", wanted="refreshed")


@pytest.fixture(scope="session")
def keeping(memory: Path, models_folder: Path) -> Harness:
    """Run the same, but keep the latents of rounds that are over."""
    kept = "generator.keep_latents=true"
    return harnesses.prepare(models_folder, memory / "keeping", kept, wanted="refreshed")


@pytest.fixture(scope="session")
def reverting(memory: Path, models_folder: Path) -> Harness:
    """Run one round whose refresh is reverted."""
    return harnesses.prepare(
        models_folder, memory / "reverted", *harnesses.REVERTED, wanted="reverted"
    )
