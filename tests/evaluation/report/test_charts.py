"""Charts put marks where the numbers say, and escape every word."""

import re

from dualipo.evaluation.report.charts import (
    Frame,
    Point,
    Series,
    bin_counts,
    histogram,
    line_chart,
    stacked_bars,
    ticks,
)


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0.48, 0.73) == [0.5, 0.55, 0.6, 0.65, 0.7]
    assert ticks(-3, 103) == [0, 25, 50, 75, 100]
    assert ticks(2, 2) == [2]


def test_a_larger_value_stands_higher_and_further_right() -> None:
    frame = Frame(200, 100, (0, 10), (0, 1))
    assert frame.x(0) == frame.left and frame.x(10) == 200 - frame.right
    assert frame.y(1) == frame.top and frame.y(0) == 100 - frame.bottom
    assert Frame(200, 100, (1, 1), (2, 2)).x(1) > 0, "one point is no division by zero"


def test_a_point_carries_its_number_and_interval() -> None:
    points = [Point(0, 0.5, 0.4, 0.6), Point(1, 0.7)]
    svg = line_chart([Series("total", points)], title="t", x_labels=["base", "round 0"])
    assert "<title>total: 0.500 (95 % 0.400 to 0.600)</title>" in svg
    assert "<title>total: 0.700</title>" in svg and ">round 0</text>" in svg


def test_bars_are_as_long_as_their_counts_and_bins_hold_everything() -> None:
    svg = stacked_bars([("round 0", [("kept", 30, 1), ("tie", 10, 2)])], title="t")
    kept, tie = (float(width) for width in re.findall(r'width="([\d.]+)" height="22"', svg))
    assert abs((kept + 1) / (tie + 1) - 3) < 0.01
    values = [0.5, 0.74, 0.75, 1.0]
    assert bin_counts(values, bounds=(0.5, 1.0), num_bins=2) == [2, 2]
    assert "2 between 0.75 and 1.00" in histogram(values, title="t", bounds=(0.5, 1.0), num_bins=2)


def test_names_cannot_become_markup() -> None:
    hostile = '<b onload="x">&'
    for svg in (
        line_chart([Series(hostile, [Point(0, 1)])], title=hostile, x_labels=[hostile]),
        stacked_bars([(hostile, [(hostile, 3, 1)])], title=hostile),
        histogram([0.5], title=hostile, bounds=(0, 1)),
    ):
        assert "<b" not in svg and "&lt;b onload=" in svg
