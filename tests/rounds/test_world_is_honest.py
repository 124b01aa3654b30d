"""The oracle reports to people: nothing that a run decides changes with what it says."""

import random
from pathlib import Path
from typing import Any

import pytest

from dualipo.records import DIMENSIONS
from dualipo.rounds import sources
from dualipo.store.ledger import Unit
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness

FOR_PEOPLE = ("scores", "critic_accuracy", "warm_start")


def test_a_lying_oracle_changes_no_decision(
    reverting: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    lies = random.Random(7)
    monkeypatch.setattr(
        sources,
        "oracle_scores",
        lambda asked, *, clips: [{d: lies.random() for d in DIMENSIONS} for _ in asked],
    )
    with harnesses.elsewhere(reverting) as path:
        assert harnesses.ended(reverting.recipe(path)) == 0, harnesses.log(path)
        lied, clean = harnesses.state(path), reverting.clean
        assert lied.pop("ledger") != clean.pop("ledger")  # the report shows the lies
        assert lied == clean  # preferences, votes, weights and signals
        assert decisions(path) == decisions(reverting.path)


def decisions(path: Path) -> list[tuple[Unit, str, Any]]:
    with harnesses.ledger_of(path) as ledger:
        return [
            (unit, name, value)
            for unit, name, value in ledger.events()
            if name not in FOR_PEOPLE and not name.startswith("clock.")
        ]
