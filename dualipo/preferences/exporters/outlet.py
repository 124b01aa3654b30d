"""Holds the folder that an export fills: clips, tables, and counts of what was lost.

A format names the fields of a label that it keeps. All other fields that say something are counted
as not kept; a label that the format cannot express is counted as dropped, with the reason.
"""

import csv
import io
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from dualipo.errors import MediaError
from dualipo.records import Pair, Point
from dualipo.store import atomic
from dualipo.store.clips import ClipStore
from dualipo.store.playable import playable_mp4

CLIPS = "clips"
# An import makes these fields anew from those that are kept, so they are not lost.
DERIVED = {"prompt_id", "schema_version"}


class Outlet:
    """The target of one export; its folder has a temporary name until everything is written.

    With `is_playable` clips are written as `playable.py` makes them, else as they are stored; with
    `link` they are hard links.
    """

    def __init__(
        self, folder: Path, store: ClipStore, *, link: bool = False, is_playable: bool = False
    ) -> None:
        self.folder = folder
        self.store = store
        self.link = link
        self.is_playable = is_playable
        self.num_rows = 0
        self.dropped: Counter[str] = Counter()
        self.not_kept: Counter[str] = Counter()

    def clip(self, sha256: str, *, below: str = "", name: str = "") -> str:
        """Put a clip beside the table in the folder `below`; return its path from there.

        Its name is the hash of the stored clip, also where it is encoded anew.
        """
        name = name or f"{CLIPS}/{sha256[:2]}/{sha256}.mp4"
        target, source = self.folder / below / name, self.store.path(sha256)
        if target.exists():
            return name
        if not source.is_file():
            raise MediaError(
                f"{source}: this clip is missing. Restore it, or make the labels again."
            )
        if atomic.sha256_file(source) != sha256:
            raise MediaError(f"{source}: its content does not match its name. Restore the file.")
        content = playable_mp4(source) if self.is_playable else None
        with atomic.storage_errors(target, num_bytes=len(content or b"") or source.stat().st_size):
            target.parent.mkdir(parents=True, exist_ok=True)
            if content is not None:
                target.write_bytes(content)
            elif not self.link:
                shutil.copyfile(source, target)
            else:
                atomic.link(source, target)
        return name

    def drop(self, reason: str) -> None:
        """Count a label that this format cannot express."""
        self.dropped[reason] += 1

    def keep(self, label: Pair | Point, kept: Iterable[str]) -> None:
        """Count a label as written, and its fields that are not in `kept` as lost."""
        self.num_rows += 1
        for field in fields(label):
            blank = field.default if field.default is not MISSING else ""
            if field.name not in {*kept, *DERIVED} and getattr(label, field.name) != blank:
                self.not_kept[field.name] += 1

    def write_json_lines(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write one JSON object a line; write no file where there is no row."""
        lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows]
        if lines:
            self._write(name, "".join(lines))

    def write_json(self, name: str, value: Any) -> None:
        """Write one JSON value."""
        self._write(name, json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n")

    def write_csv(
        self, name: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]
    ) -> None:
        """Write a CSV table with a header."""
        sink = io.StringIO(newline="")
        writer = csv.DictWriter(sink, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self._write(name, sink.getvalue())

    def write_text(self, name: str, text: str) -> None:
        """Write a text file."""
        self._write(name, text)

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        with atomic.storage_errors(path, num_bytes=len(text)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")

    def text(self) -> str:
        """Return the counts as a few lines of text."""
        lines = [f"  written: {self.num_rows} labels"]
        for title, counts in (("dropped", self.dropped), ("not kept", self.not_kept)):
            if counts:
                listed = ", ".join(f"{name} ({num})" for name, num in sorted(counts.items()))
                lines.append(f"  {title} (labels): {listed}")
        return "\n".join(lines)
