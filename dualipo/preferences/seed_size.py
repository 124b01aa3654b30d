"""Checks whether labels are enough for a warm start (METHOD.md 3.3, fault 67)."""

from collections import Counter
from collections.abc import Sequence

from dualipo.config import SeedLabels
from dualipo.errors import DataError
from dualipo.records import DIMENSIONS, Pair, Point


def require_enough(
    pairs: Sequence[Pair],
    points: Sequence[Point],
    *,
    settings: SeedLabels,
    dimensions: Sequence[str] = DIMENSIONS,
) -> None:
    """Refuse a seed that is too small or one-sided in a dimension (fault 67)."""
    counts: Counter[tuple[str, str]] = Counter((p.dimension, p.verdict) for p in pairs)
    counts.update((p.dimension, p.grade) for p in points)
    needed: list[tuple[str, str]] = [(d, v) for d in dimensions for v in ("a", "b") if pairs]
    needed += [(d, g) for d in dimensions for g in ("good", "bad") if points]
    short = [place for place in needed if counts[place] < settings.min_per_verdict]
    if short or not (pairs or points):
        table = (
            ", ".join(f"{d} {v}: {counts[d, v]}" for d, v in needed)
            or f"no label about {', '.join(dimensions)}"
        )
        raise DataError(
            f"human seed: too small or one-sided ({table}); each of these needs "
            f"{settings.min_per_verdict}. Label more clips, or lower seed_labels.min_per_verdict."
        )
