"""Tests the check of a seed's size (fault 67)."""

import pytest

from dualipo.config import SeedLabels
from dualipo.errors import DataError
from dualipo.preferences.seed_size import require_enough
from dualipo.records import DIMENSIONS
from tests.preferences.conftest import pair, point


def test_fault_67_a_small_or_one_sided_seed_is_refused_with_its_counts() -> None:
    settings = SeedLabels(min_per_verdict=2)
    pairs = [pair(i, v, dimension=d) for i in range(2) for v in "ab" for d in DIMENSIONS]
    points = [
        point(i, g, dimension=d) for i in range(2) for g in ("good", "bad") for d in DIMENSIONS
    ]
    require_enough(pairs, points, settings=settings)
    require_enough(pairs, [], settings=settings)
    with pytest.raises(DataError, match="motion b: 0"):
        one_sided = [p for p in pairs if (p.dimension, p.verdict) != ("motion", "b")]
        require_enough(one_sided, points, settings=settings)
    with pytest.raises(DataError, match="faithfulness good: 1"):
        require_enough(pairs, points[:2] + points[3:5], settings=settings)
    with pytest.raises(DataError, match="no label about consistency"):
        require_enough([], [], settings=settings)
