"""A judgement of an alignment's training in words, by METHOD.md 4.2.

`std(z)` should lie between 0.3 and 1 after 50 steps: under it hardly anything is learned, over it
the weights leave the reference. Implicit accuracy that is 100 % within a few steps on a few pairs
says that they are memorised. Winners that are fitted worse while the accuracy rises are
over-optimised. Leaves out what the clips look like; people and the oracle say that.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dualipo.evaluation.run_history import RoundHistory
from dualipo.events import PreferEvent

LEAST_SPREAD, MOST_SPREAD = 0.3, 1.0  # of z
CALIBRATED_AT = 50  # steps after which the spread is read
FEW_STEPS = 10  # within which an accuracy of 100 % is memory
_NUM_LAST = 10  # steps that a last value is the mean of

Row = Mapping[str, Any]


def sentences(settings: Mapping[str, Any], round_: RoundHistory) -> list[str]:
    """Judge the training of a round's last attempt; nothing is said of what was not logged."""
    rows = round_.metrics.get("align", [])
    if not rows:
        return []
    judged = [_spread(settings, rows), _memory(rows, round_.event(PreferEvent)), _winners(rows)]
    return [sentence for sentence in judged if sentence]


def _spread(settings: Mapping[str, Any], rows: Sequence[Row]) -> str:
    spreads = [float(row["z_std"]) for row in rows[:CALIBRATED_AT] if "z_std" in row]
    if not spreads:
        return ""
    spread = _mean(spreads[-_NUM_LAST:])
    when = f"after {len(spreads)} steps the spread of z is {spread:.2g}"
    key = f"align.beta_{settings.get('align.loss_type', 'dpo')}"
    if spread < LEAST_SPREAD:
        return (
            f"{when}, under {LEAST_SPREAD}: little was learned. Raise align.max_train_steps, "
            f"align.learning_rate or {key}."
        )
    if spread > MOST_SPREAD:
        return (
            f"{when}, over {MOST_SPREAD:g}: the preferences were learned by heart or pulled the "
            f"weights far. Lower align.max_train_steps, align.learning_rate or {key}."
        )
    return f"{when}, as it should be ({LEAST_SPREAD} to {MOST_SPREAD:g})."


def _memory(rows: Sequence[Row], prefer: PreferEvent | None) -> str:
    accuracies = [float(row.get("implicit_accuracy", 0.0)) for row in rows]
    first = next((n for n, x in enumerate(accuracies) if min(accuracies[n:]) == 1.0), None)
    if first is None or first >= FEW_STEPS or len(rows) <= first + 1:
        return ""
    kept = f" of {prefer.kept} preferences" if prefer else ""
    return (
        f"implicit accuracy is 100 % from step {first} on: the training set{kept} is memorised, "
        "and its accuracy says nothing. align.num_holdout measures it on others."
    )


def _winners(rows: Sequence[Row]) -> str:
    gaps = [float(row["winner_gap"]) for row in rows if "winner_gap" in row]
    accuracies = [float(row.get("implicit_accuracy", 0.0)) for row in rows]
    half = len(rows) // 2
    rises = half and _mean(accuracies[half:]) >= _mean(accuracies[:half])
    if not gaps or not rises or _mean(gaps[-_NUM_LAST:]) <= 0:
        return ""
    return (
        "winners are fitted worse than before the round while the accuracy rose, which is "
        "over-optimisation. Raise align.winner_nll_ratio, or train for fewer steps."
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
