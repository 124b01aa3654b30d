"""Tests that simulated annotators are fairly accurate, differ, and never contradict themselves."""

from dataclasses import dataclass

import numpy as np
import pytest

from dualipo.records import DIMENSIONS, GRADES, Pair, Prompt
from dualipo.world.annotators import ANNOTATORS, Annotator, Shown, label_pair, label_point
from dualipo.world.captions import speak
from dualipo.world.clips import render
from dualipo.world.descriptions import KEEPS, MATCHES
from dualipo.world.measurement import measure
from dualipo.world.oracle import OracleScore, score_measurement
from dualipo.world.scenes import DEFECTS, Scene, alter, draw_defect, draw_scene

pytestmark = pytest.mark.slow

FAULTLESS = (MATCHES, KEEPS)


@dataclass(frozen=True)
class Item:
    prompt: Prompt
    clips: tuple[Shown, Shown]
    scores: tuple[OracleScore, OracleScore]


def _clip(asked: Scene, rng: np.random.Generator) -> np.ndarray:
    """Render a clip as a mediocre generator would: often spoiled, sometimes of another scene."""
    shown = alter(rng, asked) if rng.random() < 0.25 else asked
    defect = draw_defect(rng, shown, kinds=DEFECTS) if rng.random() < 0.5 else None
    return render(shown, rng, defect=defect)


def _item(seed: int) -> Item:
    rng = np.random.default_rng(seed)
    asked = draw_scene(rng)
    prompt = Prompt(str(seed), speak(asked, rng))
    measured = [measure(_clip(asked, rng)) for _ in range(2)]
    first, second = (Shown(f"{seed}-{n}", measurement) for n, measurement in enumerate(measured))
    score_a, score_b = (score_measurement(measurement, asked) for measurement in measured)
    return Item(prompt, (first, second), (score_a, score_b))


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return [_item(seed) for seed in range(200)]


def _label(annotator: Annotator, item: Item, dimension: str, *, seed: int = 0) -> Pair:
    a, b = item.clips
    return label_pair(
        annotator, seed=seed, prompt=item.prompt, clip_a=a, clip_b=b, dimension=dimension
    )


@pytest.fixture(scope="module")
def labels(items) -> dict[str, list[Pair]]:
    return {
        annotator.name: [_label(annotator, item, d) for item in items for d in DIMENSIONS]
        for annotator in ANNOTATORS
    }


@pytest.mark.parametrize("annotator", ANNOTATORS, ids=lambda annotator: annotator.name)
def test_accuracy_where_the_oracle_sees_a_gap(annotator, items, labels):
    right = []
    for n, label in enumerate(labels[annotator.name]):
        score_a, score_b = (getattr(score, label.dimension) for score in items[n // 3].scores)
        if abs(score_a - score_b) >= 0.1:
            right.append(label.verdict == ("a" if score_a > score_b else "b"))
    assert len(right) > 150
    assert 0.8 <= np.mean(right) <= 0.95


def test_annotators_differ(labels):
    ada, ben, eve = ([label.verdict for label in labels[a.name]] for a in ANNOTATORS)
    for first, second in ((ada, ben), (ben, eve), (ada, eve)):
        assert 0.6 < np.mean([a == b for a, b in zip(first, second, strict=True)]) < 0.97


@pytest.mark.parametrize("annotator", ANNOTATORS, ids=lambda annotator: annotator.name)
def test_verdicts_never_contradict_grades(annotator, labels):
    for label in labels[annotator.name]:
        better = GRADES.index(label.grade_b) - GRADES.index(label.grade_a)
        assert better == 0 or label.verdict == ("a" if better > 0 else "b")


@pytest.mark.parametrize("annotator", ANNOTATORS, ids=lambda annotator: annotator.name)
def test_reasons_mostly_agree_with_grades(annotator, labels):
    agree = []
    for label in labels[annotator.name]:
        faultless = any(words in label.reason_a for words in FAULTLESS)
        agree.append(faultless == (label.grade_a == "good"))
    assert np.mean(agree) > 0.9


def test_labels_are_deterministic_antisymmetric_and_marked_simulated(items):
    swapped = {"a": "b", "b": "a", "tie": "tie"}
    for item in items[:40]:
        for annotator in ANNOTATORS:
            label = _label(annotator, item, "consistency")
            assert label == _label(annotator, item, "consistency")
            turned = Item(item.prompt, item.clips[::-1], item.scores[::-1])
            back = _label(annotator, turned, "consistency")
            assert swapped[label.verdict] == back.verdict and label.reason_a == back.reason_b
            assert label.source == "simulated"
            assert label.annotator_or_critic_version == annotator.name
            assert label.rationale == f"A: {label.reason_a} B: {label.reason_b}"
            point = label_point(
                annotator, seed=0, prompt=item.prompt, clip=item.clips[0], dimension="consistency"
            )
            assert (point.grade, point.rationale) == (label.grade_a, label.reason_a)
    ids = {_label(a, item, d).pair_id for a in ANNOTATORS for item in items for d in DIMENSIONS}
    assert len(ids) == len(ANNOTATORS) * len(items) * len(DIMENSIONS)


def test_another_seed_is_another_sitting(items):
    ada = ANNOTATORS[0]
    now, later = ([_label(ada, i, "faithfulness", seed=s).verdict for i in items] for s in (0, 1))
    assert 0.7 < np.mean([a == b for a, b in zip(now, later, strict=True)]) < 1.0
