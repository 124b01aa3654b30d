"""Defines formats: the columns of a row, and how a row becomes labels.

A row yields labels whose clips have not been looked for yet (`Judged`), and the parts of it that
are left out by a rule (`Dropped`, for example VideoAlign's `invalid`). A row that does not hold
what its format promises raises `Unfit`: it is refused, never guessed at (fault 39).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

from dualipo.records import (
    DIMENSIONS,
    OVERALL,
    Grade,
    LabelledDimension,
    Pair,
    Point,
    Source,
    Verdict,
)
from dualipo.store.row_files import Row, Unfit

Choice = TypeVar("Choice")

MAX_COUNT = 2**31 - 1  # of votes, rounds and counters
CAPTIONS = ("prompt", "caption", "text")  # the usual names of a caption's column


@dataclass(frozen=True)
class Dropped:
    """A part of a row that a rule leaves out, and why."""

    reason: str


@dataclass(frozen=True)
class Unused:
    """The name of a part of a row that says nothing that a label holds."""

    name: str


@dataclass(frozen=True)
class Footage:
    """The source of a clip: the first of `paths` that exists, else `frames`, else `image`.

    `frames` are image files, one for each frame, in the first of `frame_folders` that holds the
    first one; `image` is the content of an image file. The clip must have the hash `sha256` where
    the label names one.
    """

    paths: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    frame_folders: tuple[str, ...] = ("",)
    image: bytes = b""
    sha256: str = ""


@dataclass(frozen=True)
class Judged:
    """A label that has no ids of its clips and its prompt yet.

    `sides_known` is False where a file names a winner and a loser, but no A and B.
    """

    record: Pair | Point
    clip_a: Footage
    clip_b: Footage | None = None
    sides_known: bool = True


@dataclass(frozen=True)
class Settings:
    """A user's word on labels whose file is silent: who judged, which dimension, which columns.

    `columns` names the file's column for a name of the format (`--map`), and `words` the verdict
    or grade that a word of the file means (`--words`).
    """

    source: Source | None = None
    annotator: str = ""
    dimension: LabelledDimension = "overall"
    dimensions: tuple[str, ...] = DIMENSIONS
    columns: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)

    @property
    def dimension_words(self) -> dict[str, LabelledDimension]:
        """The words that name a dimension."""
        return {name: name for name in (*self.dimensions, OVERALL)}


@dataclass(frozen=True)
class Voice:
    """The judge of a row."""

    source: Source
    annotator: str


@dataclass(frozen=True)
class Format:
    """A data set's format; `source` is None where its files do not say who labelled them.

    A row needs every column of `required`, and one of each group in `alternatives`. Columns in
    `not_kept` belong to the format, but say nothing that a label holds.
    """

    judge: Callable[[Row, Settings], Iterable[Judged | Dropped | Unused]]
    required: tuple[str, ...] = ()
    alternatives: tuple[tuple[str, ...], ...] = ()
    optional: tuple[str, ...] = ()
    not_kept: tuple[str, ...] = ()
    source: Source | None = "human"
    says_source: bool = False  # rows may name their source, so it is not asked for before
    rows: Callable[[Path], Iterator[tuple[int, Row | Unfit]]] | None = None
    tables: Callable[[Path], list[Path]] | None = None  # the files in a folder that the user names
    check: Callable[[Path, Settings], None] | None = None  # raises before the first row is read
    one_judgement: bool = True  # a row judges one dimension, which the user may name
    images: bool = False
    takes_words: bool = False  # the user may say what a verdict's or a grade's words mean
    maps: tuple[str, ...] = ()  # the names of `--map` where `judge` reads `Settings.columns`

    @property
    def used(self) -> frozenset[str]:
        """The columns that a label is made from."""
        return frozenset((*self.required, *sum(self.alternatives, ()), *self.optional, *COMMON))


# Any file may have these columns. Our exports do, so that a program's label is never taken for a
# person's.
COMMON = ("source", "annotator")


def voice(row: Row, settings: Settings, *, source: Source | None = None) -> Voice:
    """Return who judged: the row's own columns come first, then the format, then the user."""
    own = choice(row, "source", {s: s for s in get_args(Source)}, default=None)
    settled: Any = own or source or settings.source
    if settled is None:
        raise Unfit("The row does not say who judged. Give --source human, simulated or critic.")
    return Voice(settled, optional_text(row, "annotator") or settings.annotator)


def pair(
    caption: str,
    clip_a: Footage,
    clip_b: Footage,
    *,
    dimension: LabelledDimension,
    verdict: Verdict,
    voice: Voice,
    sides_known: bool = True,
    **fields: Any,
) -> Judged:
    """Make a pairwise label; `fields` are further fields of a Pair."""
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
        **fields,
    )
    return Judged(record, clip_a, clip_b, sides_known)


def point(
    caption: str,
    clip: Footage,
    *,
    dimension: LabelledDimension,
    grade: Grade,
    voice: Voice,
    **fields: Any,
) -> Judged:
    """Make a pointwise label; `fields` are further fields of a Point."""
    record = Point(
        point_id="",
        prompt_id="",
        prompt=caption,
        video="",
        dimension=dimension,
        grade=grade,
        source=voice.source,
        annotator_or_critic_version=voice.annotator,
        **fields,
    )
    return Judged(record, clip)


def text(row: Row, name: str) -> str:
    """Read a column that must hold text."""
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Unfit(f"`{name}` is {shown(value)}, not a text.")
    return value


def caption_of(row: Row) -> str:
    """Read the caption from the first of its usual columns that holds one."""
    return text(row, next((name for name in CAPTIONS if row.get(name)), CAPTIONS[0]))


def dimension_of(row: Row, settings: Settings) -> LabelledDimension:
    """Return the dimension that the row names, or else the user's."""
    try:
        return choice(row, "dimension", settings.dimension_words, default=settings.dimension)
    except Unfit as unknown:
        raise Unfit(f"{unknown} --questions names a file with dimensions of your own.") from None


def is_empty(value: Any) -> bool:
    """Tell whether a cell says nothing: null, an empty text, or the NaN that pandas puts there."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def optional_text(row: Row, name: str) -> str:
    """Read a column's text, also where it is a number; return "" where it is empty."""
    value = row.get(name)
    if is_empty(value):
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Unfit(f"`{name}` is {shown(value)}, not a text.")
    return str(value).strip()


def choice(
    row: Row, name: str, meanings: Mapping[str, Choice], *, default: Any = Ellipsis
) -> Choice:
    """Read a column's word and return its meaning; raise Unfit where the word is unknown.

    An empty column means `default`; without one it is unfit.
    """
    value = row.get(name)
    if is_empty(value):
        if default is not Ellipsis:
            return default  # type: ignore[no-any-return]
        raise Unfit(f"`{name}` is empty.")
    word = str(value).strip() if isinstance(value, str | bool | int | float) else ""
    if word not in meanings:
        raise Unfit(f"`{name}` is {shown(value)}, none of {', '.join(meanings)}.")
    return meanings[word]


def number(row: Row, name: str) -> float:
    """Read a finite number, also one that is written as text."""
    value = row.get(name)
    try:
        parsed = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        parsed = math.nan
    # Python reads 1_000 as 1000, where nobody knows what is meant.
    if isinstance(value, bool) or not math.isfinite(parsed) or "_" in str(value):
        raise Unfit(f"`{name}` is {shown(value)}, not a number.")
    return parsed


def count(row: Row, name: str) -> int:
    """Read a whole number, from -1, which stands for none, to MAX_COUNT."""
    value = number(row, name)
    if not value.is_integer() or not -1 <= value <= MAX_COUNT:
        raise Unfit(f"`{name}` is {shown(row[name])}, not a whole number from -1 to {MAX_COUNT}.")
    return int(value)


def share(row: Row, name: str) -> float:
    """Read a weight between 0 and 1; return 1 where the file gives none."""
    if is_empty(row.get(name)):
        return 1.0
    value = number(row, name)
    if not 0.0 <= value <= 1.0 and not math.isclose(value, 1.0):
        raise Unfit(f"`{name}` is {value}, not between 0 and 1.")
    return min(value, 1.0)


def shown(value: Any) -> str:
    """Spell a value for a message; a long one is cut."""
    try:
        spelled = repr(value)
    except (ValueError, RecursionError):  # an integer of too many digits, or a great depth
        return f"a {type(value).__name__} that is too large to show"
    return spelled if len(spelled) <= 60 else f"{spelled[:57]}..."
