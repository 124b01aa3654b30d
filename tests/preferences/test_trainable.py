"""Labels as what a generator learns from: which questions have a clear answer, and which do not."""

from typing import Any

import pytest

from dualipo.errors import DataError
from dualipo.preferences import trainable
from dualipo.preferences.label_set import LabelSet
from dualipo.preferences.trainable import TrainedClip, TrainedPair
from dualipo.records import Pair, Point


def pair(number: int, verdict: Any, dimension: Any = "overall", clips: str = "ab") -> Pair:
    return Pair(
        pair_id=f"pair-{number}",
        prompt_id="p",
        prompt="a ball",
        video_a=clips[0],
        video_b=clips[1],
        dimension=dimension,
        verdict=verdict,
        source="human",
        annotator_or_critic_version="x",
        certainty=0.5 + 0.1 * number,
    )


def point(clip: str, grade: Any, dimension: Any) -> Point:
    name = f"{clip}-{dimension}"
    return Point(name, "p", "a ball", clip, dimension, grade, "human", "x")


def pairs_of(*pairs: Pair, **options: Any) -> tuple[list[TrainedPair], dict[str, int]]:
    read = trainable.read(LabelSet(pairs=pairs), loss_type="dpo", **options)
    return [item for item in read.items if isinstance(item, TrainedPair)], read.dropped


@pytest.mark.parametrize(
    ("labels", "winner", "reason"),
    [
        ([("a", "motion"), ("tie", "faithfulness")], "a", None),
        ([("b", "motion"), ("b", "consistency")], "b", None),
        ([("a", "motion"), ("b", "consistency")], None, "dimensions disagree"),
        ([("tie", "motion"), ("tie", "consistency")], None, "tie"),
        # What was said of the whole decides, whatever the dimensions say.
        ([("a", "motion"), ("b", "consistency"), ("b", "overall")], "b", None),
        ([("a", "motion"), ("tie", "overall")], None, "tie"),
        ([("abstain", "motion")], None, "abstained"),
    ],
)
def test_a_pair_is_used_where_one_clip_wins_and_loses_nothing(
    labels: list[tuple[Any, Any]], winner: str | None, reason: str | None
) -> None:
    kept, dropped = pairs_of(*(pair(n, *label) for n, label in enumerate(labels)))
    assert [item.winner for item in kept] == ([winner] if winner else [])
    assert dropped == ({reason: 1} if reason else {})
    for item in kept:
        assert {item.winner, item.loser} == {"a", "b"} and item.item_id == "pair-0"


def test_one_dimension_alone_can_be_asked_for() -> None:
    labels = pair(0, "a", "motion"), pair(1, "b", "consistency")
    kept, _ = pairs_of(*labels, dimension="consistency")
    assert [(item.winner, item.certainty) for item in kept] == [("b", pytest.approx(0.6))]


def test_grades_label_clips_as_in_a_round() -> None:
    grades = {
        "clip-1": [("good", "motion"), ("good", "faithfulness")],
        "clip-2": [("good", "motion"), ("bad", "faithfulness")],
        "clip-3": [("good", "motion"), ("normal", "faithfulness")],
        "clip-4": [("bad", "motion"), ("good", "overall")],
    }
    points = [point(clip, *grade) for clip, given in grades.items() for grade in given]
    read = trainable.read(LabelSet(points=tuple(points)), loss_type="kto")
    kept = {item.clip: item.desirable for item in read.items if isinstance(item, TrainedClip)}
    assert kept == {"clip-1": True, "clip-2": False, "clip-4": True}
    assert read.dropped == {"neither good nor bad": 1}


def test_kto_takes_the_sides_of_pairs_where_nothing_is_graded() -> None:
    pairs = pair(0, "a", clips="ab"), pair(1, "b", clips="cd"), pair(2, "a", clips="bd")
    read = trainable.read(LabelSet(pairs=pairs), loss_type="kto")
    kept = {item.clip: item.desirable for item in read.items if isinstance(item, TrainedClip)}
    # b lost to a and won against d; d won against c and lost to b.
    assert kept == {"a": True, "c": False}
    assert read.dropped == {"won one pair, lost another": 2}


def test_labels_of_a_dimension_of_ones_own_are_learned_from_alone() -> None:
    labels = LabelSet((pair(0, "a", "lighting"), pair(1, "b", "structure")), ())
    read = trainable.read(labels, loss_type="dpo", dimension="lighting")
    assert [item.winner for item in read.items] == ["a"]
    with pytest.raises(DataError, match="--only light: the labels are about lighting, structure"):
        trainable.read(labels, loss_type="dpo", dimension="light")
