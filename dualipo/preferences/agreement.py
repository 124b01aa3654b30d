"""How far people agree: Krippendorff's alpha over all annotators, Cohen's kappa between two, and
how each agrees with the gold answers and with what they said before.

Answers are numbers of an ordered scale (A 0, tie 1, B 2; Good 0, Normal 1, Bad 2) or plain names.
Alpha is 1 - observed / expected disagreement over the units that at least two annotators answered,
so missing answers need no filling in; the ordinal metric counts A against B worse than A against a
tie. Abstentions are no answers. None stands for "cannot be said" (nothing shared, or one answer
only): no number is invented.

Left out: intervals. A few dozen shared items are needed before alpha means much.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Literal

from dualipo.store.label_records import Given

Metric = Literal["nominal", "ordinal"]
Units = Mapping[str, Mapping[str, float]]  # unit -> annotator -> answer

SCALE = {"a": 0.0, "tie": 1.0, "b": 2.0, "good": 0.0, "normal": 1.0, "bad": 2.0}


@dataclass(frozen=True, slots=True)
class Annotator:
    """What the organiser sees of one annotator; a share of nothing is None."""

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
    """Alpha over units with at least two answers; None without any, or with one value only."""
    shared = [list(answers.values()) for answers in units.values() if len(answers) > 1]
    coincidences: Counter[tuple[float, float]] = Counter()
    for values in shared:
        for pair in permutations(values, 2):
            coincidences[pair] += 1 / (len(values) - 1)  # type: ignore[assignment]
    totals: Counter[float] = Counter()
    for (value, _), count in coincidences.items():
        totals[value] += count
    distance = _distance(totals, metric)
    expected = sum(totals[c] * totals[k] * distance(c, k) for c in totals for k in totals)
    if not expected:
        return None
    observed = sum(count * distance(c, k) for (c, k), count in coincidences.items())
    return 1 - (sum(totals.values()) - 1) * observed / expected


def cohen_kappa(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Kappa of two annotators' answers to the same items; None where chance explains everything."""
    if not pairs:
        return None
    agree = sum(one == other for one, other in pairs) / len(pairs)
    first, second = (Counter(side) for side in zip(*pairs, strict=True))
    chance = sum(first[value] * second[value] for value in first) / len(pairs) ** 2
    return (agree - chance) / (1 - chance) if chance < 1 else None


def units_of(given: Sequence[Given], dimension: str, kind: str) -> dict[str, dict[str, float]]:
    """Answers in one dimension by item and annotator; the first that an annotator gave counts."""
    units: dict[str, dict[str, float]] = {}
    for one in given:
        fits = one.dimension == dimension and one.kind == kind and not one.is_repeat
        if fits and one.outcome in SCALE:
            units.setdefault(one.item_id, {}).setdefault(one.annotator, SCALE[one.outcome])
    return units


def kappas(units: Units) -> dict[tuple[str, str], tuple[float | None, int]]:
    """Cohen's kappa and the number of shared items for every two annotators who share any."""
    names = sorted({name for answers in units.values() for name in answers})
    found = {}
    for one, other in combinations(names, 2):
        both = [(a[one], a[other]) for a in units.values() if one in a and other in a]
        if both:
            found[one, other] = (cohen_kappa(both), len(both))
    return found


def annotators(given: Sequence[Given]) -> list[Annotator]:
    """One row a person, by name."""
    names = sorted({one.annotator for one in given})
    return [_row(name, [one for one in given if one.annotator == name]) for name in names]


def _row(name: str, own: Sequence[Given]) -> Annotator:
    pairs = [one for one in own if one.kind == "pair"]
    decided = [one for one in pairs if one.outcome in ("a", "b")]
    repeats, checks = _repeats(own), [one for one in own if one.dimension in one.gold]
    seconds = sorted(one.seconds for one in own)
    return Annotator(
        name=name,
        num_answers=len(own),
        median_seconds=seconds[len(seconds) // 2] if seconds else None,
        share_first=_share([one.shown_outcome == "a" for one in decided]),
        share_tie=_share([one.outcome == "tie" for one in pairs]),
        share_abstain=_share([one.outcome == "abstain" for one in own]),
        with_self=_share(repeats),
        num_repeats=len(repeats),
        with_gold=_share([one.outcome == one.gold[one.dimension] for one in checks]),
        num_gold=len(checks),
    )


def _repeats(own: Sequence[Given]) -> list[bool]:
    first = {(one.item_id, one.dimension): one.outcome for one in own if not one.is_repeat}
    again = [one for one in own if one.is_repeat and (one.item_id, one.dimension) in first]
    return [one.outcome == first[one.item_id, one.dimension] for one in again]


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def _distance(totals: Mapping[float, float], metric: Metric) -> Callable[[float, float], float]:
    if metric == "nominal":
        return lambda one, other: float(one != other)
    ordered = sorted(totals)
    below, ranks = 0.0, {}
    for value in ordered:  # the middle of the places that a value's answers take
        ranks[value] = below + totals[value] / 2
        below += totals[value]
    return lambda one, other: (ranks[one] - ranks[other]) ** 2
