"""The names under which a ledger stores events, and how a stored event is read by its name."""

from typing import Any

from dualipo.event_json import Reader
from dualipo.events import (
    AlignEvent,
    BadClipEvent,
    CaptionsEvent,
    ClockEvent,
    ConfirmEvent,
    CriticAccuracyEvent,
    CriticCheckEvent,
    CurveEvent,
    EncodeRealDrawnEvent,
    EncodeRealEvent,
    EndedEvent,
    Event,
    GalleryEvent,
    HoldoutEvent,
    KeepBestEvent,
    LeftOutEvent,
    MeasuredEvent,
    MonitorEvent,
    PreferEvent,
    PromptsEvent,
    RefreshEvent,
    RewriteEvent,
    SampledAgainEvent,
    SampleEvent,
    SampleUnitEvent,
    ScoreEvent,
    ScoreScaleEvent,
    ScoresEvent,
    SeedEvent,
    ServedEvent,
    SettingsEvent,
    TuneEvent,
    WarmStartDpoEvent,
    WarmStartEvent,
    WarmStartSftEvent,
    WordsEvent,
)
from dualipo.served_events import ServingEvent, UsageEvent
from dualipo.suite_events import SuiteDimensionEvent, SuiteEvent

EVENTS: dict[str, type[Event]] = {
    "seed": SeedEvent,
    "rewrite": RewriteEvent,
    "warm_start_sft": WarmStartSftEvent,
    "warm_start_dpo": WarmStartDpoEvent,
    "warm_start": WarmStartEvent,
    "score_scale": ScoreScaleEvent,
    "encode_real": EncodeRealEvent,
    "encode_real_drawn": EncodeRealDrawnEvent,
    "left_out": LeftOutEvent,
    "prompts": PromptsEvent,
    "sample_unit": SampleUnitEvent,
    "sample": SampleEvent,
    "bad_clip": BadClipEvent,
    "sampled_again": SampledAgainEvent,
    "critic_check": CriticCheckEvent,
    "served": ServedEvent,
    "usage": UsageEvent,
    "serving": ServingEvent,
    "captions": CaptionsEvent,
    "score": ScoreEvent,
    "confirm": ConfirmEvent,
    "tune": TuneEvent,
    "prefer": PreferEvent,
    "words": WordsEvent,
    "align": AlignEvent,
    "curve": CurveEvent,
    "measured": MeasuredEvent,
    "suite_dimension": SuiteDimensionEvent,
    "suite": SuiteEvent,
    "monitor": MonitorEvent,
    "holdout": HoldoutEvent,
    "refresh": RefreshEvent,
    "scores": ScoresEvent,
    "gallery": GalleryEvent,
    "critic_accuracy": CriticAccuracyEvent,
    "keep_best": KeepBestEvent,
    "ended": EndedEvent,
    "settings": SettingsEvent,
}
_CLOCK = "clock."
# What nearly every unit of a stage commits for itself: a large run has hundreds of thousands.
OF_UNITS = ("sample_unit", "served", "usage", "serving")
_NAMES = {kind: name for name, kind in EVENTS.items()}


def name_of(event: Event) -> str:
    """Return the name under which an event is stored."""
    return _CLOCK + event.stage if isinstance(event, ClockEvent) else _NAMES[type(event)]


def range_of(kind: type[Event]) -> tuple[str, str]:
    """Return the first and the last name under which events of a kind are stored."""
    if kind is ClockEvent:
        return _CLOCK, "clock/"  # "/" follows "."
    return _NAMES[kind], _NAMES[kind]


def clocked_stage(name: str) -> str:
    """Return the stage that the clock stored under this name belongs to."""
    return name.removeprefix(_CLOCK)


def read(name: str, value: Any, *, subject: str, unknown: set[str]) -> Event | None:
    """Return a stored event; None, and its name among the `unknown`, where no class has its name.

    Keys that no field has are added to `unknown` as "event.key"; `subject` names the ledger.
    """
    reader = Reader(subject, unknown)
    if name.startswith(_CLOCK):
        stage = clocked_stage(name)
        return reader.record(ClockEvent, value, name=name, in_name={"stage": stage})
    if name in EVENTS:
        return reader.record(EVENTS[name], value, name=name, in_name={})
    unknown.add(name)
    return None


def in_words(unknown: set[str]) -> str:
    """Return the sentence that tells people which events and fields were passed by."""
    names = ", ".join(sorted(unknown))
    return (
        f"Not shown, as this version of dualipo does not know it: {names}. Another version wrote "
        "it into the ledger; read the run with that one to see it."
    )
