"""Measures how far people agree: with one another, with gold answers, and with themselves.

Krippendorff's alpha is taken over all annotators, Cohen's kappa over every two. Answers are numbers
of an ordered scale (A 0, tie 1, B 2; Good 0, Normal 1, Bad 2); abstentions are no answers. Alpha is
1 - observed / expected disagreement over the units that at least two annotators answered, so
missing answers need no filling in; the ordinal metric counts A against B as worse than A against a
tie. Both are None where they are undefined: nothing is shared, or all answers are the same.

Why own code: the package `krippendorff` is under the GPL, which an Apache project cannot build on,
and scikit-learn's kappa would bring scipy to a labelling page for five lines. The tests compare
both with these functions on random answers.

Left out: intervals. A few dozen shared items are needed before alpha means much.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Literal

from dualipo.store.label_records import StandingAnswer

Metric = Literal["nominal", "ordinal"]
Units = Mapping[str, Mapping[str, float]]  # unit -> annotator -> answer

SCALE = {"a": 0.0, "tie": 1.0, "b": 2.0, "good": 0.0, "normal": 1.0, "bad": 2.0}


@dataclass(frozen=True, slots=True)
class Annotator:
    """One annotator's row on the organiser's page; a share of no answers is None."""

    name: str
    num_answers: int
    median_seconds: float | None
    share_first: float | None
    share_tie: float | None
    share_abstain: float | None
    with_self: float | None
    num_repeats: int
    with_gold: float | None
    num_gold: int


def krippendorff_alpha(units: Units, *, metric: Metric = "nominal") -> float | None:
    """Return alpha over the units with at least two answers; None where it is undefined."""
    shared = [list(answers.values()) for answers in units.values() if len(answers) > 1]
    coincidences: Counter[tuple[float, float]] = Counter()
    for values in shared:
        for pair in permutations(values, 2):
            coincidences[pair] += 1 / (len(values) - 1)  # type: ignore[assignment]
    totals: Counter[float] = Counter()
    for (value, _), count in coincidences.items():
        totals[value] += count
    distance = _distance(totals, metric)
    expected = sum(totals[a] * totals[b] * distance(a, b) for a in totals for b in totals)
    if not expected:
        return None
    observed = sum(count * distance(a, b) for (a, b), count in coincidences.items())
    return 1 - (sum(totals.values()) - 1) * observed / expected


def cohen_kappa(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return kappa of two annotators' answers to the same items; None where it is undefined."""
    if not pairs:
        return None
    agreed = sum(a == b for a, b in pairs) / len(pairs)
    counts_a, counts_b = (Counter(side) for side in zip(*pairs, strict=True))
    chance = sum(counts_a[value] * counts_b[value] for value in counts_a) / len(pairs) ** 2
    return (agreed - chance) / (1 - chance) if chance < 1 else None


def units_of(
    answers: Sequence[StandingAnswer], dimension: str, kind: str
) -> dict[str, dict[str, float]]:
    """Return one dimension's answers by item and annotator; an annotator's first one counts."""
    units: dict[str, dict[str, float]] = {}
    for answer in answers:
        fits = answer.dimension == dimension and answer.kind == kind and not answer.is_repeat
        if fits and answer.outcome in SCALE:
            by_annotator = units.setdefault(answer.item_id, {})
            by_annotator.setdefault(answer.annotator, SCALE[answer.outcome])
    return units


def kappas(units: Units) -> dict[tuple[str, str], tuple[float | None, int]]:
    """Return kappa and the number of shared items for every two annotators who share any."""
    names = sorted({name for by_annotator in units.values() for name in by_annotator})
    by_names = {}
    for first, second in combinations(names, 2):
        pairs = [(u[first], u[second]) for u in units.values() if first in u and second in u]
        if pairs:
            by_names[first, second] = (cohen_kappa(pairs), len(pairs))
    return by_names


def annotators(answers: Sequence[StandingAnswer]) -> list[Annotator]:
    """Summarise each annotator's answers in a row, ordered by name."""
    names = sorted({answer.annotator for answer in answers})
    return [_row(name, [a for a in answers if a.annotator == name]) for name in names]


def _row(name: str, answers: Sequence[StandingAnswer]) -> Annotator:
    pairs = [answer for answer in answers if answer.kind == "pair"]
    decided = [answer for answer in pairs if answer.outcome in ("a", "b")]
    repeats = _repeats(answers)
    checks = [answer for answer in answers if answer.dimension in answer.gold]
    seconds = sorted(answer.seconds for answer in answers)
    return Annotator(
        name=name,
        num_answers=len(answers),
        median_seconds=seconds[len(seconds) // 2] if seconds else None,
        share_first=_share([answer.shown_outcome == "a" for answer in decided]),
        share_tie=_share([answer.outcome == "tie" for answer in pairs]),
        share_abstain=_share([answer.outcome == "abstain" for answer in answers]),
        with_self=_share(repeats),
        num_repeats=len(repeats),
        with_gold=_share([answer.outcome == answer.gold[answer.dimension] for answer in checks]),
        num_gold=len(checks),
    )


def _repeats(answers: Sequence[StandingAnswer]) -> list[bool]:
    """Tell for each repeated question whether the annotator answered as before."""
    first = {(a.item_id, a.dimension): a.outcome for a in answers if not a.is_repeat}
    repeats = [a for a in answers if a.is_repeat and (a.item_id, a.dimension) in first]
    return [answer.outcome == first[answer.item_id, answer.dimension] for answer in repeats]


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def _distance(totals: Mapping[float, float], metric: Metric) -> Callable[[float, float], float]:
    if metric == "nominal":
        return lambda a, b: float(a != b)
    ordered = sorted(totals)
    below, ranks = 0.0, {}
    for value in ordered:  # a value's rank is the mean rank of all answers that have it
        ranks[value] = below + totals[value] / 2
        below += totals[value]
    return lambda a, b: (ranks[a] - ranks[b]) ** 2
