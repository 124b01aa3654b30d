"""Reads any CSV, JSON, JSON Lines or parquet file by a map of its columns.

`--map caption=text,a=left_clip,b=right_clip,verdict=vote` names the columns. A row is a pair with
a verdict (`a`, `b`, `verdict`), a pair whose winner is known (`winner`, `loser`), or a clip with a
grade (`video`, `grade`). Without a map that makes one of these, the import is refused with a map
that the header suggests. `--words first=a,second=b` says what the file's words mean.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from dualipo.errors import ConfigError
from dualipo.preferences.importers.pair_formats import won
from dualipo.preferences.importers.row import (
    Footage,
    Judged,
    Row,
    Settings,
    dimension_of,
    optional_text,
    pair,
    point,
    share,
    text,
    voice,
)
from dualipo.preferences.importers.words import GRADES, VERDICTS, meaning
from dualipo.store import row_files

# What a row may be, and the names that it needs.
KINDS = (("caption", "a", "b", "verdict"), ("caption", "winner", "loser"))
POINT = ("caption", "video", "grade")
OPTIONAL = ("dimension", "certainty", "reason")
NAMES = tuple(dict.fromkeys((*sum((*KINDS, POINT), ()), *OPTIONAL)))
NUM_ROWS_LOOKED_AT = 20

# Words of column names by what such columns mostly hold; the first that fits is suggested.
_HINTS = {
    "winner": ("chosen", "winner", "win", "preferred", "better"),
    "loser": ("rejected", "loser", "lose", "dispreferred", "worse"),
    "verdict": ("verdict", "preference", "vote", "choice", "answer", "winner", "label"),
    "a": ("a", "1", "left", "first", "0"),
    "b": ("b", "2", "right", "second", "1"),
    "grade": ("grade", "label", "rating", "quality", "score"),
    "video": ("video", "clip", "path", "file"),
    "caption": ("prompt", "caption", "text", "description"),
}
_IS_CLIP = re.compile(r"\.(mp4|webm|mkv|mov|avi|png|jpe?g|webp)$", re.I)


def judge(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield the row's pair or its grade, whichever the mapped columns hold."""
    caption = text(row, "caption")
    dimension = dimension_of(row, settings)
    fields: Row = {"rationale": optional_text(row, "reason")}
    fields["certainty"] = share(row, "certainty")
    if "winner" in row:
        clips = {"winner": text(row, "winner"), "loser": text(row, "loser")}
        yield won(row, settings, caption, dimension=dimension, **clips, **fields)
    elif "a" in row:
        clip_a, clip_b = Footage((text(row, "a"),)), Footage((text(row, "b"),))
        verdict = meaning(row, "verdict", VERDICTS, settings.words)
        speaker = voice(row, settings)
        yield pair(
            caption, clip_a, clip_b, dimension=dimension, verdict=verdict, voice=speaker, **fields
        )
    else:
        yield point(
            caption,
            Footage((text(row, "video"),)),
            dimension=dimension,
            grade=meaning(row, "grade", GRADES, settings.words),
            voice=voice(row, settings),
            **fields,
        )


def require_map(path: Path, settings: Settings) -> None:
    """Raise ConfigError, with a suggestion from the header, where the map makes no label."""
    if any(settings.columns.keys() >= {*kind} for kind in (*KINDS, POINT)):
        return
    header, suggested = suggested_map(path)
    known = "; or ".join(", ".join(kind) for kind in (*KINDS, POINT))
    fact = f"{path}: its columns are {', '.join(header) or 'none'}. Say which are {known}"
    if suggested:
        fact += f", for example with --map {suggested}"
    raise ConfigError(f"{fact}.")


def suggested_map(path: Path) -> tuple[list[str], str]:
    """Return a file's columns, and a map for `--map` that its first rows suggest; "" for none."""
    rows = [
        row
        for _, row in itertools.islice(row_files.rows(path), NUM_ROWS_LOOKED_AT)
        if isinstance(row, dict)
    ]
    header = list(dict.fromkeys(str(name) for row in rows for name in row))
    return header, ",".join(f"{name}={column}" for name, column in suggest(header, rows).items())


def suggest(header: Sequence[str], rows: Sequence[Row]) -> dict[str, str]:
    """Return a map for one kind of row, guessed from the names and the values of columns."""
    clips = [
        name
        for name in header
        if rows and all(_IS_CLIP.search(str(row.get(name) or "")) for row in rows)
    ]
    rest = [name for name in header if name not in clips]
    for kind in (KINDS[1], KINDS[0], POINT):
        column_of: dict[str, str] = {}
        for name in sorted(kind, key=list(_HINTS).index):
            columns = clips if name in ("winner", "loser", "a", "b", "video") else rest
            free = [each for each in columns if each not in column_of.values()]
            column = _fitting(name, free) or _saying(name, free, rows)
            if column is not None:
                column_of[name] = column
        if column_of.keys() == {*kind}:
            more = [n for n in OPTIONAL if n in header and n not in column_of.values()]
            return {name: column_of[name] for name in kind} | {name: name for name in more}
    return {}


def _saying(name: str, columns: Sequence[str], rows: Sequence[Row]) -> str | None:
    """Return the first column whose values are all words for a verdict, or for a grade."""
    known = {"verdict": {*VERDICTS}, "grade": {*GRADES}}.get(name, set())
    for column in columns:
        words = {str(row.get(column) or "").strip().lower() for row in rows} - {""}
        if words and words <= known:
            return column
    return None


def _fitting(name: str, columns: Sequence[str]) -> str | None:
    for hint in _HINTS[name]:
        for column in columns:
            parts = re.split(r"[^a-z0-9]+|(?<=[a-z])(?=[0-9])", column.lower())
            if hint in parts:
                return column
    return None
