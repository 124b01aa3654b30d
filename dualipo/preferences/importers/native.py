"""Reads the native record (FORMATS.md): a label set, a run's label tables, or JSON Lines.

A clip lies under `clips/` of the root, is named by its hash, and must still hash to it. A row of an
older schema is migrated, and a row of a newer one is refused (fault 40).
"""

from collections.abc import Iterator

from dualipo.errors import DataError
from dualipo.preferences import label_set
from dualipo.preferences.importers.row import Footage, Judged, Row, Settings, Unfit
from dualipo.records import Pair
from dualipo.store import tables

# The columns that a table of points (`records.Point`) and a label set name differently.
POINT_NAMES = {"point_id": "pair_id", "video": "video_a", "grade": "grade_a"}
DEFAULTS: Row = {
    "certainty": 1.0,
    "order": "ab",
    "rationale": "",
    "round": -1,
    "counter": 0,
    "reason_a": "",
    "reason_b": "",
    **dict.fromkeys(("votes_a", "votes_b", "votes_tie", "votes_abstain"), 0),
    **dict.fromkeys(("video_b", "verdict", "grade_a", "grade_b")),
}
REQUIRED = ("prompt", "prompt_id", "dimension", "source", "annotator_or_critic_version")
OPTIONAL = tuple((tables.columns_of(Pair).keys() | POINT_NAMES.keys()) - {*REQUIRED})


def judge(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield the row's one label, with its own id."""
    renamed = {POINT_NAMES.get(name, name): value for name, value in row.items()}
    filled = DEFAULTS | renamed
    try:
        record = label_set.from_row(filled, subject="the row")
    except (DataError, TypeError) as unfit:
        raise Unfit(str(unfit)) from None
    if isinstance(record, Pair):
        yield Judged(record, _clip(record.video_a), _clip(record.video_b))
    else:
        yield Judged(record, _clip(record.video))


def _clip(sha256: str) -> Footage:
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise Unfit(f"{sha256[:70]!r} is not a clip's sha256.")
    return Footage((f"{label_set.CLIPS}/{sha256[:2]}/{sha256}.mp4",), sha256=sha256)
