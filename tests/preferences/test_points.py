"""Tests which clips become desirable and undesirable by METHOD.md 4.3, and which are dropped."""

import pytest

from dualipo.preferences.build import Contest
from dualipo.preferences.points import Opinion, build_extremes, build_points, opinions
from dualipo.records import DIMENSIONS, Dimension, Grade, Prompt, Vote


def grades(*of_dimensions: Grade | None, share: float = 1.0) -> dict[Dimension, Opinion]:
    return {d: Opinion(g, share) for d, g in zip(DIMENSIONS, of_dimensions, strict=True)}


def votes(*outcomes: str) -> list[Vote]:
    return [
        Vote("x", "motion", "ab", draw, outcome, 0.0, "")  # type: ignore[arg-type]
        for draw, outcome in enumerate(outcomes)
    ]


@pytest.mark.parametrize(
    ("outcomes", "grade", "share"),
    [
        (("good", "good", "bad"), "good", 2 / 3),
        (("good", "bad"), None, 1 / 2),
        (("normal", "abstain", "abstain"), "normal", 1 / 3),
        (("abstain", "abstain"), None, 0.0),
    ],
)
def test_a_grade_is_the_strict_majority_of_all_paths(
    outcomes: tuple[str, ...], grade: Grade | None, share: float
) -> None:
    opinion = opinions(votes(*outcomes))["x"]["motion"]
    assert opinion == Opinion(grade, pytest.approx(share))


def test_good_everywhere_is_desirable_bad_anywhere_is_not_and_the_rest_is_counted() -> None:
    built = build_points(
        {
            "best": grades("good", "good", "good", share=0.75),
            "one bad": grades("good", "bad", "good"),
            "bad and unread": grades("bad", None, "good"),
            "mixed": grades("good", "normal", "good"),
            "two grades lead": grades("good", None, "good", share=0.5),
            "unread": grades("good", None, "good", share=0.0),
            "nothing": {},
        }
    )
    kept = {label.candidate_id: (label.desirable, label.certainty) for label in built.kept}
    assert kept == {"best": (True, 0.75), "one bad": (False, 1.0), "bad and unread": (False, 1.0)}
    assert built.dropped == {"neither": 1, "tie": 1, "unreadable": 2}
    assert len(built.kept) + sum(built.dropped.values()) == 7


def test_fault_38_a_clip_whose_grade_turned_under_a_neutral_caption_is_dropped() -> None:
    graded = {"best": grades("good", "good", "good"), "mixed": grades("good", "normal", "good")}
    built = build_points(graded, turned={"best", "mixed"})
    assert not built.kept and built.dropped == {"turned by its caption": 1, "neither": 1}


def test_extremes_label_the_ends_of_wide_prompts_only() -> None:
    graded = {f"{k}{n}": grades("good", "normal", "bad") for k in "wlm" for n in range(4)}
    contests = [
        Contest(
            Prompt(f"p{n}", ""),
            f"w{n}",
            f"l{n}",
            dict.fromkeys(DIMENSIONS, 0.5 + n / 10),
            dict.fromkeys(DIMENSIONS, 0.2),
        )
        for n in range(4)
    ]
    turned = build_extremes(contests, graded, margin_percentile=0.0, turned={"w1"})
    assert {label.candidate_id[1] for label in turned.kept} == {"0", "2", "3"}
    assert turned.dropped == {"turned by its caption": 2, "neither": 4}
    built = build_extremes(contests, graded, margin_percentile=25.0)
    assert {label.candidate_id for label in built.kept if label.desirable} == {"w1", "w2", "w3"}
    assert {label.candidate_id for label in built.kept if not label.desirable} == {"l1", "l2", "l3"}
    assert built.dropped == {"thin margin": 2, "neither": 4}
