"""Reads layouts in which clips lie in folders: Hugging Face's videofolder, and SimpleTuner's pairs.

A *videofolder* has `metadata.csv`, `metadata.jsonl` or `metadata.parquet` beside its clips; paths
in the columns `file_name` and `*_file_name` start there. `datasets` makes a column `chosen` of
`chosen_file_name`. Our own exports are such folders and come back whole.

*SimpleTuner* trains its Flow-DPO on two folders: a data set of preferred clips, and one of rejected
clips under the same relative names, which its `conditioning_type` "reference_strict" and
`source_dataset_id` pair with the first. FILE is its JSON list of data sets.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from dualipo import records, text_files
from dualipo.errors import DataError
from dualipo.preferences.importers.pair_formats import won
from dualipo.preferences.importers.row import (
    Footage,
    Judged,
    Row,
    Settings,
    Unfit,
    caption_of,
    choice,
    count,
    dimension_of,
    is_empty,
    optional_text,
    pair,
    point,
    share,
    text,
    voice,
)
from dualipo.preferences.importers.words import GRADES, VERDICTS, meaning
from dualipo.records import LabelledDimension
from dualipo.store import row_files

TABLES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
SIDES = (("a", "b"), ("video_a", "video_b"), ("video1", "video2"))
FILE_NAMES = tuple(f"{name}_file_name" for pair_of in SIDES for name in pair_of)
# The further fields of a label that our export writes, by kind.
NUMBERS = ("votes_a", "votes_b", "votes_tie", "votes_abstain", "round", "counter")
TEXTS = ("rationale", "reason_a", "reason_b")
WORDS: dict[str, dict[str, str]] = {
    **{name: {grade: grade for grade in records.GRADES} for name in ("grade_a", "grade_b")},
    "order": {order: order for order in get_args(records.Order)},
}
KEPT = (*TEXTS, *WORDS, "certainty", *NUMBERS)
CLIP_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif"),
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp"),
)


def tables(folder: Path) -> list[Path]:
    """Return the tables of a videofolder, or of the configurations below it."""
    beside = [folder / name for name in TABLES if (folder / name).is_file()]
    below = [path for name in TABLES for path in sorted(folder.glob(f"*/{name}"))]
    if not (beside or below):
        raise DataError(f"{folder}: no {' or '.join(TABLES)} is in it. Name a videofolder.")
    return beside or below


def videofolder_rows(path: Path) -> row_files.Lines:
    """Yield the rows with their clips' paths made absolute, as they start at the table."""
    folder = path.parent.resolve()
    for line, row in row_files.rows(path):
        if not isinstance(row, Unfit):
            row = {
                name: str(folder / value)
                if name.endswith("file_name") and isinstance(value, str) and value
                else value
                for name, value in row.items()
            }
        yield line, row


def videofolder(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield a pair (chosen over rejected, or A and B with a verdict), or a clip's grade."""
    caption = caption_of(row)
    dimension = dimension_of(row, settings)
    fields = _fields(row)
    if row.get("chosen_file_name"):
        yield _chosen(row, settings, caption, dimension, fields)
    elif sides := next((each for each in SIDES if row.get(f"{each[0]}_file_name")), None):
        clip_a, clip_b = (Footage((text(row, f"{name}_file_name"),)) for name in sides)
        verdict = meaning(row, "verdict", VERDICTS, settings.words)
        speaker = voice(row, settings)
        yield pair(
            caption, clip_a, clip_b, dimension=dimension, verdict=verdict, voice=speaker, **fields
        )
    else:
        name = "grade" if row.get("grade") not in (None, "") else "label"
        yield point(
            caption,
            Footage((text(row, "file_name"),)),
            dimension=dimension,
            grade=meaning(row, name, GRADES, settings.words),
            voice=voice(row, settings),
            **{name: value for name, value in fields.items() if name in POINT_FIELDS},
        )


POINT_FIELDS = ("rationale", "certainty", "round", "counter")


def _chosen(
    row: Row, settings: Settings, caption: str, dimension: LabelledDimension, fields: Row
) -> Judged:
    """Make a pair of a winner and a loser; our export says in `verdict` which side won."""
    winner, loser = text(row, "chosen_file_name"), text(row, "rejected_file_name")
    verdict = choice(row, "verdict", {"a": "a", "b": "b"}, default=None)
    clip_a, clip_b = (loser, winner) if verdict == "b" else (winner, loser)
    return pair(
        caption,
        Footage((clip_a,)),
        Footage((clip_b,)),
        dimension=dimension,
        verdict="b" if verdict == "b" else "a",
        voice=voice(row, settings),
        sides_known=verdict is not None,
        **fields,
    )


def _fields(row: Row) -> Row:
    """Return the further fields of a label that a row of our export has."""
    said = [name for name in KEPT if not is_empty(row.get(name))]
    fields: Row = {name: optional_text(row, name) for name in said if name in TEXTS}
    fields |= {name: count(row, name) for name in said if name in NUMBERS}
    fields |= {name: choice(row, name, WORDS[name]) for name in said if name in WORDS}
    return fields | {"certainty": share(row, "certainty")}


def simpletuner_rows(path: Path) -> row_files.Lines:
    """Yield a row for each clip that stands under one name in both folders."""
    listed = text_files.read_json(path, shape=list)
    if not all(isinstance(each, dict) for each in listed):
        raise DataError(f"{path}: it is no list of data sets. Name SimpleTuner's JSON of them.")
    by_id = {str(each.get("id")): each for each in listed}
    line = 0
    for rejected in listed:
        if rejected.get("conditioning_type") == "reference_strict":
            preferred = by_id.get(str(rejected.get("source_dataset_id"))) or _paired(
                listed, rejected
            )
            for row in _pairs_of(path, preferred, rejected):
                line += 1
                yield line, row
    if not line:
        raise DataError(
            f"{path}: no data set with the conditioning_type reference_strict holds a clip. "
            "SimpleTuner pairs rejected clips with preferred ones that way."
        )


def _paired(listed: list[Any], rejected: Row) -> Row:
    named = [
        each
        for each in listed
        if isinstance(each.get("conditioning_data"), list)
        and rejected.get("id") in each["conditioning_data"]
    ]
    return named[0] if named else {}


def _pairs_of(path: Path, preferred: Row, rejected: Row) -> Iterator[Row | Unfit]:
    winners, losers = (_folder(path, each) for each in (preferred, rejected))
    for winner in sorted(
        each for each in winners.rglob("*") if each.suffix.lower() in CLIP_SUFFIXES
    ):
        loser = losers / winner.relative_to(winners)
        if not loser.is_file():
            yield Unfit(f"{winner.name}: {losers} holds no rejected clip of that name.")
            continue
        try:
            caption = _caption(winner, preferred)
        except DataError as unreadable:
            yield Unfit(str(unreadable))
            continue
        yield {"prompt": caption, "chosen": str(winner), "rejected": str(loser)}


def _folder(path: Path, listed: Row) -> Path:
    name = listed.get("instance_data_dir")
    if not isinstance(name, str):
        raise DataError(f"{path}: a data set of a pair has no instance_data_dir. Add it.")
    try:
        folder = (path.parent / name).resolve()
    except (OSError, ValueError, RuntimeError) as refusal:
        fact = text_files.os_fact(refusal)
        raise DataError(f"{path}: {name[:60]!r} cannot be a folder ({fact}). Correct it.") from None
    if not folder.is_dir() or folder == Path(folder.anchor):
        raise DataError(f"{path}: {name[:60]!r} is no folder of clips. Correct instance_data_dir.")
    return folder


def _caption(clip: Path, listed: Row) -> str:
    """Read a clip's caption by the data set's `caption_strategy`; of several lines the first."""
    strategy = listed.get("caption_strategy", "textfile")
    if strategy == "filename":
        return clip.stem.replace("_", " ")
    if strategy == "instanceprompt" or listed.get("only_instance_prompt"):
        return optional_text(listed, "instance_prompt")
    beside = clip.with_suffix(".txt")
    if strategy != "textfile" or not beside.is_file():
        return ""
    return text_files.read_text(beside).strip().partition("\n")[0].strip()


def simpletuner(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield the preferred clip over the rejected one."""
    winner, loser = row["chosen"], row["rejected"]
    if not row["prompt"]:
        raise Unfit(f"{Path(winner).name}: it has no caption in a text file beside it.")
    yield won(row, settings, row["prompt"], winner=winner, loser=loser)
