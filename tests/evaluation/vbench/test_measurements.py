"""A suite's score as a measurement: what is alarming about it, and what a prompt adds to it."""

from dataclasses import replace

from dualipo.evaluation.vbench import measurements
from dualipo.event_parts import SuiteDimension
from dualipo.suite_events import SuiteDimensionEvent, SuiteEvent


def _dimension(name: str, raw: float | None, why: str | None = None) -> SuiteDimension:
    return SuiteDimension(dimension=name, raw=raw, num_scored=2, num_planned=2, failed=[], why=why)


BASE = SuiteEvent(
    source="vbench",
    version="base",
    total=50.0,
    quality=None,
    semantic=50.0,
    dimensions=[_dimension("color", 0.5)],
    prompts_hash="ab" * 32,
    num_prompts=2,
    sampled_with={},
    scored_with={"vbench": "0.1.5", "torch": "2.4.1", "device": "cuda"},
)


def test_other_packages_than_those_of_the_first_score_are_told() -> None:
    other = {"vbench": "0.1.5", "torch": "2.6.0", "device": "cuda", "decord": "0.6"}
    now = replace(BASE, version="g000.0", scored_with=other)
    [alarm] = measurements.as_measured(now, {}, [], first=BASE).alarms
    assert "decord 0.6 (decord absent for base), torch 2.6.0 (torch 2.4.1 for base)" in alarm
    same = replace(now, scored_with=BASE.scored_with)
    assert measurements.as_measured(same, {}, [], first=BASE).alarms == []
    assert measurements.as_measured(BASE, {}, []).alarms == []


def test_dimensions_that_are_missing_for_one_reason_are_told_together() -> None:
    names = ("color", "scene", "human_action")
    gaps = [_dimension(name, None, "no weights.") for name in names[:2]]
    event = replace(BASE, total=None, dimensions=[*gaps, _dimension(names[2], None, "it hung.")])
    measured = measurements.as_measured(event, {}, [])
    told = "no total, as dimensions are missing: color, scene: no weights; human_action: it hung"
    assert measured.measurements[0].why == told
    assert measured.alarms == [f"VBench of base: {told}"]


def test_a_prompt_whose_clip_color_leaves_out_adds_nothing_and_a_failing_one_adds_zero() -> None:
    score = replace(_dimension("color", 0.25), failed=["b-0.mp4"], left_out=["c-0.mp4"])
    event = SuiteDimensionEvent(score=score, by_clip={"a-0.mp4": 0.5})
    planned = ["a-0.mp4", "b-0.mp4", "c-0.mp4"]
    values = measurements.values([event], planned=lambda name: planned, is_complete=True)
    assert values["color"] == {"a": [0.5], "b": [0.0]}
    assert sum(number for [number] in values["total"].values()) / 2 == 100 * 0.25
