"""The questions that an audit by people waits for, between the run and the label page.

The run writes RUN/audits/ROUND-ATTEMPT.json and ends; `dualipo label RUN --audit ROUND` asks them.
The answers have a book of their own, so that no export and no seed ever takes them for labels to
learn from.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from dualipo.errors import DataError
from dualipo.store import atomic
from dualipo.store.labels import LabelItem

BOOK = "audit-labels.sqlite"
_FOLDER = "audits"


def write(run_path: Path, round: int, attempt: int, items: Sequence[LabelItem]) -> None:
    """Publish the questions of an attempt; another generator's questions are replaced."""
    path = run_path / _FOLDER / f"{round:03d}-{attempt}.json"
    atomic.write_json(path, {"items": [asdict(item) for item in items]})


def read(run_path: Path, round: int) -> list[LabelItem]:
    """Read the questions of a round's last attempt."""
    paths = sorted((run_path / _FOLDER).glob(f"{round:03d}-*.json"))
    if not paths:
        raise DataError(
            f"{run_path}: round {round} asks people nothing. A run whose monitor.audit is "
            '"people" writes its questions when it stops and waits for them.'
        )
    return [LabelItem(**item) for item in atomic.read_json(paths[-1])["items"]]
