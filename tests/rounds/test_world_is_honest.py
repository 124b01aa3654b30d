"""The oracle reports to people: nothing that a run decides changes with what it says."""

import random
from pathlib import Path

import pytest

from dualipo.events import ClockEvent, CriticAccuracyEvent, Event, ScoresEvent, WarmStartEvent
from dualipo.records import DIMENSIONS
from dualipo.rounds import world_sources
from dualipo.store.ledger import Unit
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness

FOR_PEOPLE = (ScoresEvent, CriticAccuracyEvent, WarmStartEvent)


def test_a_lying_oracle_changes_no_decision(
    reverting: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    lies = random.Random(7)
    monkeypatch.setattr(
        world_sources,
        "oracle_scores",
        lambda asked, *, clips: [{d: lies.random() for d in DIMENSIONS} for _ in asked],
    )
    with harnesses.elsewhere(reverting) as path:
        assert harnesses.ended(reverting.recipe(path)) == 0, harnesses.log(path)
        lied, clean = harnesses.state(path), reverting.clean
        assert lied.pop("ledger") != clean.pop("ledger")  # the report shows the lies
        assert lied == clean  # preferences, votes, weights and signals
        assert decisions(path) == decisions(reverting.path)


def decisions(path: Path) -> list[tuple[Unit, Event]]:
    with harnesses.ledger_of(path) as ledger:
        return [
            (unit, event)
            for unit, event in ledger.events()
            if not isinstance(event, (*FOR_PEOPLE, ClockEvent))
        ]
