"""Tests which pairs become preferences: each rule of METHOD.md 3.4 keeps, drops and counts."""

import itertools
from dataclasses import replace

import pytest

from dualipo.preferences import build
from dualipo.preferences.build import Confirmation, Contest, Scores
from dualipo.records import DIMENSIONS, Prompt, Verdict

PROMPT = Prompt("p", "a red ball")
RULES = {"least_share": 0.75, "dimension_slack": 0.1}


def even(score: float) -> Scores:
    return dict.fromkeys(DIMENSIONS, score)


def contest(
    number: int = 0, *, top: float = 0.9, bottom: float = 0.2, **top_scores: float
) -> Contest:
    scores = {**even(top), **top_scores}
    return Contest(Prompt(f"p{number}", "a ball"), f"w{number}", f"l{number}", scores, even(bottom))


def votes(*verdicts: Verdict, share: float = 1.0, certainty: float = 1.0) -> Confirmation:
    return Confirmation(
        dict(zip(DIMENSIONS, verdicts, strict=True)),
        dict.fromkeys(DIMENSIONS, share),
        dict.fromkeys(DIMENSIONS, certainty),
    )


def test_the_best_meets_the_worst() -> None:
    scores = {"x": even(0.5), "best": even(0.9), "worst": even(0.1), "y": even(0.4)}
    chosen = build.choose_contest(PROMPT, scores)
    assert isinstance(chosen, Contest)
    assert (chosen.contest_id, chosen.margin) == ("best:worst", pytest.approx(0.8))


def test_the_choice_does_not_depend_on_the_candidates_order() -> None:
    scores = {"a": even(0.9), "b": even(0.9), "c": even(0.1), "d": even(0.1)}
    orders = [dict(order) for order in itertools.permutations(scores.items())]
    assert len({build.choose_contest(PROMPT, order).contest_id for order in orders}) == 1  # type: ignore[union-attr]


def test_a_candidate_that_could_not_be_read_takes_no_part() -> None:
    scores: dict[str, Scores] = {"a": even(0.5), "b": even(0.4), "unread": {"motion": 0.99}}
    chosen = build.choose_contest(PROMPT, scores)
    assert isinstance(chosen, Contest) and chosen.contest_id == "a:b"
    del scores["b"]
    assert build.choose_contest(PROMPT, scores) == "unreadable"


def test_fault_24_equal_scores_are_no_contrast() -> None:
    assert build.choose_contest(PROMPT, {str(n): even(0.5) for n in range(8)}) == "no contrast"


@pytest.mark.parametrize(
    ("verdicts", "reason"),
    [
        (("a", "a", "a"), None),
        (("a", "tie", "abstain"), None),
        (("a", "a", "b"), "dimension conflict"),
        (("a", "b", "tie"), "not confirmed"),
        (("b", "b", "b"), "not confirmed"),
        (("tie", "tie", "tie"), "tie"),
        (("tie", "tie", "abstain"), "tie"),
        (("abstain", "abstain", "abstain"), "unreadable"),
    ],
)
def test_fault_29_votes_confirm_or_the_prompt_is_dropped(
    verdicts: tuple[Verdict, ...], reason: str | None
) -> None:
    assert build.objection(contest(), votes(*verdicts), **RULES) == reason


def test_fault_30_a_pair_survives_only_with_a_sure_dimension() -> None:
    won = votes("a", "a", "a", share=0.5)  # all that a critic of the first clip can give
    assert build.objection(contest(), won, **RULES) == "uncertain"
    assert (
        build.objection(contest(), replace(won, shares={**won.shares, "motion": 0.75}), **RULES)
        is None
    )
    assert build.objection(contest(), won, **{**RULES, "least_share": 0.0}) is None
    lost = replace(
        votes("a", "a", "b"), shares={d: 1.0 if d == "motion" else 0.5 for d in DIMENSIONS}
    )
    assert build.objection(contest(), lost, **RULES) == "dimension conflict"


def test_a_winner_may_be_worse_in_a_dimension_by_the_slack_only() -> None:
    confirmed = votes("a", "a", "tie")
    for motion, reason in ((0.15, None), (0.05, "dimension conflict")):
        chosen = contest(bottom=0.2, motion=motion)
        assert build.objection(chosen, confirmed, **RULES) == reason


def test_the_thinnest_margins_of_what_is_confirmed_go() -> None:
    contests = [contest(n, top=0.3 + 0.05 * n) for n in range(10)]
    refused = contest(99, top=0.21)  # it does not count among those of which a part goes
    confirmations = {c.contest_id: votes("a", "a", "a") for c in contests}
    confirmations[refused.contest_id] = votes("b", "b", "b")
    built = build.build_pairs([refused, *contests], confirmations, **RULES, margin_percentile=20)
    assert [kept.contest for kept in built.kept] == contests[2:]
    assert built.dropped == {"thin margin": 2, "not confirmed": 1}


def test_fault_38_a_confirmed_contest_that_its_caption_turned_is_dropped_before_the_margins() -> (
    None
):
    contests = [contest(n, top=0.3 + 0.05 * n) for n in range(5)]
    confirmations = {c.contest_id: votes("a", "a", "a") for c in contests}
    turned = {contests[0].contest_id}
    built = build.build_pairs(contests, confirmations, **RULES, margin_percentile=25, turned=turned)
    assert [kept.contest for kept in built.kept] == contests[2:]
    assert built.dropped == {"turned by its caption": 1, "thin margin": 1}


def test_every_prompt_is_kept_or_counted_whatever_the_percentile() -> None:
    verdicts = itertools.product(("a", "b", "tie", "abstain"), repeat=3)
    confirmations = {f"w{n}:l{n}": votes(*each) for n, each in enumerate(verdicts)}
    contests = [contest(n, top=0.3 + n / 100) for n in range(len(confirmations))]
    for percentile in (0, 20, 50, 99):
        built = build.build_pairs(contests, confirmations, **RULES, margin_percentile=percentile)
        assert len(built.kept) + sum(built.dropped.values()) == len(contests)
        assert built.kept


def test_certainty_is_that_of_the_dimensions_won() -> None:
    confirmation = Confirmation(
        dict(zip(DIMENSIONS, ("a", "tie", "a"), strict=True)),
        dict.fromkeys(DIMENSIONS, 1.0),
        dict(zip(DIMENSIONS, (1.0, 0.0, 0.5), strict=True)),
    )
    built = build.build_pairs([contest()], {"w0:l0": confirmation}, **RULES, margin_percentile=20)
    assert [kept.certainty for kept in built.kept] == [0.75]


def test_nothing_confirmed_makes_nothing() -> None:
    built = build.build_pairs([], {}, **RULES, margin_percentile=20)
    assert built == build.BuiltPairs((), {})
