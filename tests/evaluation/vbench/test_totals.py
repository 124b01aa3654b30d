"""VBench's totals: the poster's rows, published rows of sixteen dimensions, and refused gaps."""

import math
import random
from pathlib import Path
from statistics import fmean

import pytest

from dualipo.errors import DataError
from dualipo.evaluation.vbench import result_files, totals
from dualipo.evaluation.vbench.totals import DIMENSIONS

# Total, Quality, Semantic of the Dual-IPO poster (METHOD.md section 2).
POSTER = [
    (80.91, 82.18, 75.83),
    (81.69, 82.87, 77.01),
    (82.42, 83.53, 77.97),
    (82.74, 83.92, 78.00),
    (82.01, 82.72, 79.17),
    (86.57, 87.00, 84.84),
    (84.26, 85.30, 80.09),
    (88.32, 87.83, 90.25),
]
# Rows of VBench's public leaderboard: Total, Quality, Semantic, then the raw scores in percent in
# the order of DIMENSIONS.
PUBLISHED = dict(
    row.split(maxsplit=1)
    for row in """
ModelScope 75.75 78.05 66.54 89.87 95.29 98.28 95.79 66.39 52.06 58.57 82.25 38.98 92.40 81.72 33.68 39.26 23.39 25.37 25.67
LaVie 77.08 78.78 70.31 91.41 97.47 98.30 96.38 49.72 54.94 61.90 91.82 33.32 96.80 86.39 34.09 52.69 23.56 25.93 26.41
VideoCrafter-2.0 80.44 82.20 73.42 96.85 98.22 98.41 97.73 42.50 63.13 67.22 92.55 40.66 95.00 92.92 35.86 55.29 25.13 25.84 28.23
CogVideoX-5B 81.61 82.75 77.04 96.23 96.52 98.66 96.92 70.97 61.98 62.90 85.23 62.11 99.40 82.81 66.35 53.20 24.91 25.38 27.59
Kling 81.85 83.39 75.68 98.33 97.60 99.30 99.40 46.94 61.21 65.62 87.24 68.05 93.40 89.90 73.03 50.86 19.62 24.17 26.42
""".strip().splitlines()  # noqa: E501
)
# A printed number is within half a unit of its last digit; so are the printed parts.
HALF_A_DIGIT = 0.005


def test_the_posters_totals_follow_from_their_quality_and_semantic() -> None:
    for total, quality, semantic in POSTER:
        assert abs(totals.combine(quality, semantic) - total) <= 2 * HALF_A_DIGIT


@pytest.mark.parametrize("model", PUBLISHED)
def test_published_totals_follow_from_their_sixteen_dimensions(model: str) -> None:
    numbers = [float(number) for number in PUBLISHED[model].split()]
    printed, percent = numbers[:3], numbers[3:]
    raw = {name: x / 100 for name, x in zip(DIMENSIONS, percent, strict=True)}
    ours = totals.totals(raw)
    for number, expected in zip((ours.total, ours.quality, ours.semantic), printed, strict=True):
        assert number is not None
        assert abs(number - expected) <= 1.5 * HALF_A_DIGIT


def test_nothing_is_clipped() -> None:
    assert totals.normalised("motion_smoothness", 1.0) > 100
    assert totals.normalised("subject_consistency", 0.0) < 0


@pytest.mark.parametrize("bad", [None, math.nan])
def test_fault_60_a_missing_dimension_is_refused_by_name(bad: float | None) -> None:
    raw = dict.fromkeys(DIMENSIONS, 0.5)
    del raw["scene"]
    if bad is not None:
        raw["scene"] = bad
    raw.pop("color")
    with pytest.raises(DataError, match=r"2 of 16 .*\(color, scene\)"):
        totals.totals(raw)


def test_a_subset_has_a_total_by_the_same_weights() -> None:
    raw = {"dynamic_degree": 1.0, "imaging_quality": 0.4, "human_action": 0.8}
    ours = totals.totals(raw, tuple(raw))
    assert ours.quality == pytest.approx(100 * (0.5 * 1.0 + 0.4) / 1.5)
    assert ours.total == pytest.approx(0.8 * 60.0 + 0.2 * 80.0)
    only = totals.totals(raw, ("imaging_quality",))
    assert (only.total, only.semantic) == (pytest.approx(40.0), None)


def test_a_file_of_the_real_package_is_read_as_it_was_written() -> None:
    """VBench 0.1.5 wrote it about clips of a run; docs/vbench.md has the command."""
    [score] = result_files.read_folder(Path(__file__).parent).values()
    assert (score.dimension, score.num_scored) == ("temporal_flickering", 75)
    assert score.raw == pytest.approx(fmean(score.by_clip.values()), abs=1e-12)
    assert f"{totals.normalised(score.dimension, score.raw):.2f}" == "91.72"


def test_the_numbers_of_prompts_have_the_total_as_their_mean() -> None:
    rng = random.Random(0)
    prompts = {  # each dimension has prompts of its own, and shares some with others
        "subject_consistency": ["a", "b", "c"],
        "dynamic_degree": ["a", "b"],
        "overall_consistency": ["d", "c", "e", "f"],
    }
    results = {name: {p: rng.random() for p in own} for name, own in prompts.items()}
    raw = {name: fmean(own.values()) for name, own in results.items()}
    expected = totals.totals(raw, tuple(raw)).total
    assert fmean(totals.by_prompt(results).values()) == pytest.approx(expected)
