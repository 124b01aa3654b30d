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
    """Two rounds, the first with a refresh."""
    return harnesses.prepare(models_folder, memory / "refreshed", wanted="refreshed")


@pytest.fixture(scope="session")
def keeping(memory: Path, models_folder: Path) -> Harness:
    """The same, of which the latents of rounds that are over stay."""
    kept = "generator.keep_latents=true"
    return harnesses.prepare(models_folder, memory / "keeping", kept, wanted="refreshed")


@pytest.fixture(scope="session")
def reverting(memory: Path, models_folder: Path) -> Harness:
    """One round, whose refresh is undone."""
    return harnesses.prepare(
        models_folder, memory / "reverted", *harnesses.REVERTED, wanted="reverted"
    )
