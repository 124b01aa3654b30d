"""What a format is: the columns it reads, and how one row becomes labels.

A row yields labels whose clips are not found yet, or says which part of it is left out by rule
(`Dropped`: VideoAlign's `invalid`). A row that does not hold what its format promises raises
`Unfit`: it is refused, never guessed at (fault 39).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from dualipo.records import Dimension, Grade, Pair, Point, Source, Verdict

Row = dict[str, Any]
AnyDimension = Dimension | Literal["overall"]
Choice = TypeVar("Choice")


class Unfit(ValueError):
    """A row that cannot be read as its format says."""


@dataclass(frozen=True)
class Dropped:
    """A part of a row that is left out by rule, and why."""

    reason: str


@dataclass(frozen=True)
class Footage:
    """Where a clip's pictures are: the first of `paths` that exists, else `frames`, else `image`.

    `frames` are image files, one a frame; `image` is the content of one. `sha256` is what the
    file must hash to, where the label says so.
    """

    paths: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    image: bytes = b""
    sha256: str = ""


@dataclass(frozen=True)
class Judged:
    """A label but for the ids of its clips and its prompt.

    `sides_known` is False where a file names a winner and a loser and no A and B.
    """

    record: Pair | Point
    clip_a: Footage
    clip_b: Footage | None = None
    sides_known: bool = True


@dataclass(frozen=True)
class Settings:
    """What a user says of labels whose file does not: whose they are, and of which dimension."""

    source: Source | None = None
    annotator: str = ""
    dimension: AnyDimension = "overall"


@dataclass(frozen=True)
class Voice:
    """Who judged a row."""

    source: Source
    annotator: str


@dataclass(frozen=True)
class Format:
    """One data set's format. `source` is None where its files do not say who labelled them."""

    what: str
    judge: Callable[[Row, Settings], Iterable[Judged | Dropped]]
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    not_kept: tuple[str, ...] = ()
    source: Source | None = "human"
    rows: Callable[[Path], Iterator[tuple[int, Row | Unfit]]] | None = None
    one_judgement: bool = True  # a row says one thing, so that a user may say about what
    images: bool = False


# Any file may have these: our own exports do, so that a program's label stays a program's.
COMMON = ("source", "annotator")


def voice(row: Row, settings: Settings, *, source: Source | None = None) -> Voice:
    """Who judged: the row's own columns first, then what the format knows, then the user."""
    named = choice(row, "source", {s: s for s in ("human", "simulated", "critic")}, default=None)
    found: Any = named or source or settings.source
    assert found is not None, "the import settles a source before it reads"
    return Voice(found, optional_text(row, "annotator") or settings.annotator)


def pair(
    caption: str,
    clip_a: Footage,
    clip_b: Footage,
    *,
    dimension: AnyDimension,
    verdict: Verdict,
    voice: Voice,
    sides_known: bool = True,
    **rest: Any,
) -> Judged:
    """A pairwise label; `rest` are further fields of a Pair."""
    record = Pair(
        pair_id="",
        prompt_id="",
        prompt=caption,
        video_a="",
        video_b="",
        dimension=dimension,
        verdict=verdict,
        source=voice.source,
        annotator_or_critic_version=voice.annotator,
        **rest,
    )
    return Judged(record, clip_a, clip_b, sides_known)


def point(
    caption: str,
    clip: Footage,
    *,
    dimension: AnyDimension,
    grade: Grade,
    voice: Voice,
    rationale: str = "",
) -> Judged:
    """A pointwise label."""
    record = Point(
        point_id="",
        prompt_id="",
        prompt=caption,
        video="",
        dimension=dimension,
        grade=grade,
        source=voice.source,
        annotator_or_critic_version=voice.annotator,
        rationale=rationale,
    )
    return Judged(record, clip)


def text(row: Row, name: str) -> str:
    """A column that holds text, and not none."""
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Unfit(f"`{name}` is {_shown(value)}, not a text")
    return value


def optional_text(row: Row, name: str) -> str:
    """A column's text, or an empty one."""
    value = row.get(name)
    return "" if value is None else str(value).strip()


def choice(
    row: Row, name: str, meanings: Mapping[str, Choice], *, default: Any = Ellipsis
) -> Choice:
    """What a column's word means; an unknown word is unfit, and so is none without a default."""
    value = row.get(name)
    if value is None or value == "":
        if default is not Ellipsis:
            return default  # type: ignore[no-any-return]
        raise Unfit(f"`{name}` is empty")
    word = str(value).strip()
    if word not in meanings:
        raise Unfit(f"`{name}` is {_shown(value)}, none of {', '.join(meanings)}")
    return meanings[word]


def number(row: Row, name: str) -> float:
    """A finite number, also one spelled as text."""
    value = row.get(name)
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        found = math.nan
    if isinstance(value, bool) or not math.isfinite(found):
        raise Unfit(f"`{name}` is {_shown(value)}, not a number")
    return found


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
