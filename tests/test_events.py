"""An event is always stored as the same bytes; what a version does not know is told."""

import json
import re
from typing import Any

import pytest

from dualipo import event_names, events
from dualipo.errors import DataError
from dualipo.event_json import to_json
from dualipo.event_names import EVENTS, in_words
from dualipo.event_parts import Refinement, Signals
from dualipo.events import (
    AlignEvent,
    ClockEvent,
    Event,
    MonitorEvent,
    PreferEvent,
    RefreshEvent,
    RewriteEvent,
    WordsEvent,
)

REFINEMENT = Refinement(
    num_judged=15,
    num_kept=0,
    dropped={"tie": 15},
    mean_pce=None,
    holdout_before=0.625,
    holdout_after=None,
)


def read(name: str, value: Any) -> tuple[Event | None, set[str]]:
    unknown: set[str] = set()
    return event_names.read(name, value, subject="ledger.sqlite", unknown=unknown), unknown


@pytest.mark.parametrize(
    ("event", "name", "stored"),
    [
        (
            RefreshEvent(outcome="not needed", why=[], critic_version="warm"),
            "refresh",
            {"outcome": "not needed", "why": [], "critic_version": "warm"},
        ),
        (
            RefreshEvent(
                outcome="empty", why=["stale"], critic_version="warm", refinement=REFINEMENT
            ),
            "refresh",
            {
                "outcome": "empty",
                "why": ["stale"],
                "critic_version": "warm",
                "num_judged": 15,
                "num_kept": 0,
                "dropped": {"tie": 15},
                "mean_pce": None,
                "holdout_before": 0.625,
                "holdout_after": None,
            },
        ),
        (
            AlignEvent(num_steps=4, generator_version="g000.0", critic_version="warm", z_std=0.5),
            "align",
            {
                "num_steps": 4,
                "generator_version": "g000.0",
                "critic_version": "warm",
                "z_std": 0.5,
            },
        ),
        (RewriteEvent(fates={"rewritten": 3}), "rewrite", {"rewritten": 3}),
        (WordsEvent(pairs=[]), "words", []),
        (
            ClockEvent(stage="sample.test", seconds=1.5, peak_mb=640.0),
            "clock.sample.test",
            {"seconds": 1.5, "peak_mb": 640.0},
        ),
    ],
)
def test_an_event_has_one_stored_form_and_is_read_back(
    event: Event, name: str, stored: Any
) -> None:
    assert event_names.name_of(event) == name
    assert to_json(event) == stored
    assert read(name, json.loads(json.dumps(stored))) == (event, set())


def test_signals_stand_among_the_fields_of_the_monitors_event() -> None:
    event = MonitorEvent(signals=Signals(win_rate=0.6), triggers=[], stop=["x"], winner_gap=None)
    stored = to_json(event)
    assert stored["win_rate"] == 0.6 and stored["stop"] == ["x"] and "signals" not in stored
    assert read("monitor", stored) == (event, set())


def test_a_class_is_named_after_its_event() -> None:
    for name, kind in EVENTS.items():
        words = re.findall("[A-Z][a-z]+", kind.__name__.removesuffix("Event"))
        assert "_".join(words).lower() == name and kind.__name__.endswith("Event")


def test_an_unknown_field_or_event_is_told_and_stops_nothing() -> None:
    stored = {"num_prompts": 8, "kept": 3, "dropped": {}, "certainty": [], "mean_vote_share": 0.5}
    event, unknown = read("prefer", stored | {"num_maybes": 2})
    assert isinstance(event, PreferEvent) and event.kept == 3 and event.of is None
    assert unknown == {"prefer.num_maybes"}
    assert read("applause", {"loud": True}) == (None, {"applause"})
    assert "applause, prefer.num_maybes" in in_words({"prefer.num_maybes", "applause"})


def test_a_missing_field_takes_its_default_or_is_named() -> None:
    votes = {"num_votes": 3, "abstain_rate": 0.0, "position_bias": None}
    event, unknown = read("confirm", votes)
    assert event == events.ConfirmEvent(**votes) and not unknown
    with pytest.raises(DataError, match=r"ledger\.sqlite: the event align has no num_steps"):
        read("align", {"generator_version": "g000.0", "critic_version": "warm"})
