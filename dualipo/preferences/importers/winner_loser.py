"""Reads the plainest layout of preferences: `winner/` and `loser/`, with clips of the same names.

    winner/cat.mp4  loser/cat.mp4  winner/cat.txt

A caption is a text file of the clip's name beside the winner, beside the loser, in `captions/`, or
in the folder itself; else `captions.csv`, `.json`, `.jsonl` or `.parquet` lists it, with the
columns `name` and a caption. `_winner` and `_loser` at the end of a name do not count.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from dualipo.errors import DataError
from dualipo.preferences.importers.folders import CLIP_SUFFIXES
from dualipo.preferences.importers.row import CAPTIONS, Row
from dualipo.store import row_files
from dualipo.store.row_files import Unfit

SIDES = ("winner", "loser")
TABLES = tuple(f"captions{suffix}" for suffix in (".csv", ".jsonl", ".json", ".parquet"))


def is_one(folder: Path) -> bool:
    """Tell whether a folder has this layout."""
    return all((folder / side).is_dir() for side in SIDES)


def tables(folder: Path) -> list[Path]:
    """Return the folder itself, whose clips are the rows."""
    if not is_one(folder):
        raise DataError(f"{folder}: it has no winner/ and loser/. Name a folder that has both.")
    return [folder]


def rows(folder: Path) -> Iterator[tuple[int, Row | Unfit]]:
    """Yield a row for each winner: its caption, its clip, and the loser of the same name."""
    winners, losers = (_clips(folder / side) for side in SIDES)
    listed = _listed(folder)
    for line, name in enumerate(sorted(winners.keys() | losers.keys()), 1):
        if name not in winners or name not in losers:
            side = SIDES[name not in losers]
            yield line, Unfit(f"{name}: {side}/ holds no clip of that name. Add it.")
            continue
        caption = _beside(folder, name, winners[name], losers[name]) or listed.get(name, "")
        if not caption:
            yield line, Unfit(f"{name}: no caption. Put it in {SIDES[0]}/{name}.txt.")
            continue
        clips = {"chosen": str(winners[name]), "rejected": str(losers[name])}
        yield line, {"prompt": caption, **clips}


def identity(folder: Path) -> str:
    """Hash the names and sizes of a folder's files, which say whether it is the same."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listed = "\n".join(f"{path.relative_to(folder)} {path.stat().st_size}" for path in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def _clips(side: Path) -> dict[str, Path]:
    """Return a side's clips by the name that both sides share."""
    clips = (path for path in sorted(side.rglob("*")) if path.suffix.lower() in CLIP_SUFFIXES)
    return {_name(path.relative_to(side).with_suffix("").as_posix()): path for path in clips}


def _name(name: str) -> str:
    for side in SIDES:
        name = name.removesuffix(f"_{side}")
    return name


def _beside(folder: Path, name: str, winner: Path, loser: Path) -> str:
    """Read the first text file that is there."""
    places = (winner.with_suffix(".txt"), loser.with_suffix(".txt"))
    for path in (*places, folder / "captions" / f"{name}.txt", folder / f"{name}.txt"):
        if path.is_file():
            return " ".join(path.read_text(encoding="utf-8-sig").split())
    return ""


def _listed(folder: Path) -> dict[str, str]:
    """Read the table of captions, if there is one."""
    path = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    captions = {}
    for _, row in row_files.whole_rows(path) if path else ():
        caption = next((row[column] for column in CAPTIONS if row.get(column)), "")
        captions[_name(Path(str(row.get("name", ""))).with_suffix("").as_posix())] = str(caption)
    return captions
