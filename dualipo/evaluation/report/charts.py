"""Small charts as inline SVG, drawn from numbers by a few lines of arithmetic.

Colours and strokes are CSS classes (`report.css`), so that one drawing serves dark and light mode;
every mark carries its exact number as a tooltip. All text is escaped, since names and labels may
come from a run's files. Coordinates are pixels of the view box, y downwards.

Left out: log scales, dates, anything that needs a script.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

NUM_TONES = 6  # classes tone-1 .. tone-6 in report.css

Format = Callable[[float], str]


@dataclass(frozen=True)
class Point:
    """A value at `x`; `low` and `high` are the ends of its interval, where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """Points joined by a line, in one of the page's tones; a faint one lies behind another."""

    name: str
    points: Sequence[Point]
    tone: int = 1
    is_faint: bool = False
    has_labels: bool = False


@dataclass(frozen=True)
class Frame:
    """The area of a plot in pixels, and the ranges of its values."""

    width: int
    height: int
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    left: int = 46
    right: int = 14
    top: int = 16
    bottom: int = 28

    def x(self, value: float) -> float:
        """Return the pixel of a value on the horizontal axis."""
        low, high = self.x_range
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.left + share * (self.width - self.left - self.right), 1)

    def y(self, value: float) -> float:
        """Return the pixel of a value on the vertical axis."""
        low, high = self.y_range
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.height - self.bottom - share * (self.height - self.top - self.bottom), 1)


def three_decimals(value: float) -> str:
    """Write a score with three decimals."""
    return f"{value:.3f}"


def percent(value: float) -> str:
    """Write a share or an accuracy in percent."""
    return f"{100 * value:.1f} %"


def short(value: float) -> str:
    """Write a number with three significant digits, for axes and losses."""
    return f"{value:.3g}"


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_labels: Sequence[str] | None = None,
    marks: Sequence[tuple[float, str]] = (),
    reference: float | None = None,
    y_range: tuple[float, float] | None = None,
    value_format: Format = three_decimals,
    axis_format: Format = short,
    width: int = 480,
    height: int = 220,
) -> Markup:
    """Draw lines over numbers, or over the categories `x_labels`.

    `marks` are vertical lines with a label; `reference` is a dashed level. Draw a series with a gap
    as two series of the same name.
    """
    points = [point for line in series for point in line.points]
    levels = [] if reference is None else [reference]
    frame = Frame(
        width,
        height,
        x_range=(-0.4, len(x_labels) - 0.6) if x_labels else _extent([p.x for p in points]),
        y_range=y_range or _padded([*_heights(points), *levels]),
        top=30 if marks else 16,
    )
    parts = [_y_axis(frame, axis_format), _x_axis(frame, x_labels)]
    parts += [_mark(frame, at, label) for at, label in marks]
    if reference is not None:
        parts.append(_level(frame, reference, "reference"))
    parts += [_series(frame, line, value_format) for line in series]
    return _svg(frame, title, parts)


def stacked_bars(
    bars: Sequence[tuple[str, Sequence[tuple[str, int, int]]]],
    *,
    title: str,
    width: int = 980,
    left: int = 76,
) -> Markup:
    """Draw horizontal bars of (name, count, tone) segments, all to one scale."""
    total = max([sum(count for _, count, _ in parts) for _, parts in bars] + [1])
    frame = Frame(width, 30 * len(bars) + 30, (0, total), (0, 1), left=left, top=0)
    drawn = [_x_axis(frame, None)]
    for row, (label, segments) in enumerate(bars):
        y, x = 4 + 30 * row, 0
        drawn.append(_text(frame.left - 10, y + 15, label, "axis end"))
        for name, count, tone in segments:
            drawn.append(_segment(frame, x, count, y, name, tone))
            x += count
    return _svg(frame, title, drawn)


def histogram(
    values: Sequence[float],
    *,
    title: str,
    bounds: tuple[float, float],
    num_bins: int = 10,
    most: int | None = None,
    tone: int = 1,
    width: int = 300,
    height: int = 150,
) -> Markup:
    """Draw counts in equal bins over `bounds`; `most` is the count at the top of the chart."""
    counts = bin_counts(values, bounds=bounds, num_bins=num_bins)
    frame = Frame(width, height, bounds, (0, most or max([*counts, 1])), left=34)
    step = (bounds[1] - bounds[0]) / num_bins
    drawn = [_y_axis(frame, short), _x_axis(frame, None)]
    for index, count in enumerate(counts):
        low = bounds[0] + index * step
        x, y = frame.x(low), frame.y(count)
        tip = f"{count} between {low:.2f} and {low + step:.2f}"
        drawn.append(
            Markup(
                '<rect class="bar tone-{}" x="{}" y="{}" width="{}" height="{}">{}</rect>'
            ).format(
                tone, x + 1, y, round(frame.x(low + step) - x - 2, 1), frame.y(0) - y, _tip(tip)
            )
        )
    return _svg(frame, title, drawn)


def bin_counts(values: Sequence[float], *, bounds: tuple[float, float], num_bins: int) -> list[int]:
    """Count the values in each bin; the last bin includes its upper end."""
    counts = [0] * num_bins
    for value in values:
        share = (value - bounds[0]) / (bounds[1] - bounds[0])
        counts[min(max(int(share * num_bins), 0), num_bins - 1)] += 1
    return counts


def ticks(low: float, high: float, *, at_most: int = 5) -> list[float]:
    """Return round numbers within [low, high]."""
    if not high > low:
        return [low]
    rough = (high - low) / at_most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _extent(values: Sequence[float]) -> tuple[float, float]:
    return (min(values), max(values)) if values else (0.0, 1.0)


def _heights(points: Sequence[Point]) -> list[float]:
    ends = [(point.y, point.low, point.high) for point in points]
    return [value for triple in ends for value in triple if value is not None]


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = _extent(values)
    pad = 0.08 * (high - low) or 0.05 * abs(high) or 0.05
    return low - pad, high + pad


def _y_axis(frame: Frame, axis_format: Format) -> Markup:
    drawn = Markup("")
    for value in ticks(*frame.y_range, at_most=4):
        drawn += _level(frame, value, "grid")
        drawn += _text(frame.left - 8, frame.y(value) + 4, axis_format(value), "axis end")
    return drawn


def _x_axis(frame: Frame, labels: Sequence[str] | None) -> Markup:
    named = enumerate(labels) if labels else ((at, short(at)) for at in ticks(*frame.x_range))
    drawn = Markup("")
    for at, label in named:
        drawn += _text(frame.x(at), frame.height - 8, label, "axis middle")
    return drawn


def _level(frame: Frame, value: float, css: str) -> Markup:
    y = frame.y(value)
    return _line((frame.left, y), (frame.width - frame.right, y), css)


def _mark(frame: Frame, at: float, label: str) -> Markup:
    x = frame.x(at)
    line = _line((x, frame.top - 6), (x, frame.height - frame.bottom), "mark")
    return line + _text(x, frame.top - 12, label, "note middle")


def _series(frame: Frame, series: Series, value_format: Format) -> Markup:
    css = f"tone-{series.tone}" + (" faint" if series.is_faint else "")
    path = " ".join(f"{frame.x(point.x)},{frame.y(point.y)}" for point in series.points)
    drawn = Markup('<polyline class="line {}" points="{}"/>').format(css, path)
    is_curve = len(series.points) > 20  # dots on every step would hide the line
    for point in [] if is_curve or series.is_faint else series.points:
        drawn += _dot(frame, point, series, value_format)
    return drawn


def _dot(frame: Frame, point: Point, series: Series, value_format: Format) -> Markup:
    x, y = frame.x(point.x), frame.y(point.y)
    tip, drawn = f"{series.name}: {value_format(point.y)}", Markup("")
    if point.low is not None and point.high is not None:
        tip += f" (95 % {value_format(point.low)} to {value_format(point.high)})"
        top, bottom = frame.y(point.high), frame.y(point.low)
        drawn += _line((x, top), (x, bottom), f"whisker tone-{series.tone}")
        for end in (top, bottom):
            drawn += _line((x - 4, end), (x + 4, end), f"whisker tone-{series.tone}")
    drawn += Markup('<circle class="dot tone-{}" cx="{}" cy="{}" r="4">{}</circle>').format(
        series.tone, x, y, _tip(tip)
    )
    if series.has_labels:
        above = y if point.high is None else frame.y(point.high)
        drawn += _text(x, above - 8, value_format(point.y), "value middle")
    return drawn


def _segment(frame: Frame, start: int, count: int, y: float, name: str, tone: int) -> Markup:
    x, end = frame.x(start), frame.x(start + count)
    width = round(max(end - x - 1, 0), 1)
    rect = Markup('<rect class="bar tone-{}" x="{}" y="{}" width="{}" height="22">{}</rect>')
    drawn = rect.format(tone, x, y, width, _tip(f"{name}: {count}"))
    if width > 8 * len(str(count)) + 6:
        drawn += _text(x + width / 2, y + 15, str(count), "inside middle")
    return drawn


def _line(start: tuple[float, float], end: tuple[float, float], css: str) -> Markup:
    line = Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>')
    return line.format(css, *start, *end)


def _text(x: float, y: float, text: str, css: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(css, round(x, 1), y, text)


def _tip(text: str) -> Markup:
    return Markup("<title>{}</title>").format(text)


def _svg(frame: Frame, title: str, parts: Sequence[Markup]) -> Markup:
    svg = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    return svg.format(frame.width, frame.height, title, Markup("").join(parts))
