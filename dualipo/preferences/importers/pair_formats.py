"""Reads data sets that compare two clips: VideoAlign, VideoDPO, HPDv3, Pick-a-Pic.

FORMATS.md lists their columns. Where a file names only a winner and a loser, `load.py` settles
which of them is A: if A always won, a critic would learn the side instead of the clip.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dualipo import text_files
from dualipo.errors import DataError
from dualipo.preferences.importers.row import (
    MAX_COUNT,
    Dropped,
    Footage,
    Judged,
    Row,
    Settings,
    Unfit,
    choice,
    number,
    pair,
    share,
    shown,
    text,
    voice,
)
from dualipo.records import LabelledDimension, Verdict
from dualipo.store import row_files

# Visual quality judges single frames, so it is our faithfulness; motion and text are as named.
VIDEOALIGN: dict[str, LabelledDimension] = {
    "VQ": "faithfulness",
    "MQ": "motion",
    "TA": "consistency",
    "Overall": "overall",
}
VIDEOALIGN_WORDS: dict[str, Verdict | None] = {"A": "a", "B": "b", "same": "tie", "invalid": None}


def won(
    row: Row,
    settings: Settings,
    caption: str,
    *,
    winner: str,
    loser: str,
    dimension: LabelledDimension | None = None,
    **fields: Any,
) -> Judged:
    """Make the label of a row that names a winner and a loser; `fields` are further ones of it."""
    return pair(
        caption,
        Footage((winner,)),
        Footage((loser,)),
        dimension=dimension or settings.dimension,
        verdict="a",
        voice=voice(row, settings),
        sides_known=False,
        **fields,
    )


def videoalign(row: Row, settings: Settings) -> Iterator[Judged | Dropped]:
    """Yield a pair for each of the columns `VQ`, `MQ`, `TA`, and the bench's `Overall`."""
    for column, dimension in VIDEOALIGN.items():
        if column == "Overall" and row.get(column) in (None, ""):
            continue
        verdict = choice(row, column, VIDEOALIGN_WORDS)
        if verdict is None:
            yield Dropped(f"{column} is `invalid`")
            continue
        yield pair(
            text(row, "prompt"),
            Footage((text(row, "path_A"),)),
            Footage((text(row, "path_B"),)),
            dimension=dimension,
            verdict=verdict,
            voice=voice(row, settings),
        )


def videodpo_rows(path: Path) -> row_files.Lines:
    """Yield the rows of `pair.json`, each index replaced by its path in `metadata.json`."""
    metadata_path = path.with_name("metadata.json")
    if not metadata_path.is_file():
        raise DataError(
            f"{metadata_path}: this file is missing. Put VideoDPO's metadata.json beside its pairs."
        )
    clips = text_files.read_json(metadata_path)
    for line, row in row_files.rows(path):
        yield line, row if isinstance(row, Unfit) else _joined(row, clips)


def _joined(row: Row, clips: Any) -> Row | Unfit:
    joined = dict(row)
    for name in ("video1", "video2"):
        index = row.get(name)
        if isinstance(index, bool) or not isinstance(index, int):
            return Unfit(f"`{name}` is {shown(index)}, not an index into metadata.json.")
        try:
            if index < 0:
                raise IndexError
            joined[name] = clips[index]["basic"]["clip_path"]
        except (IndexError, KeyError, TypeError):
            return Unfit(
                f"`{name}` is {shown(index)}, but metadata.json has no basic.clip_path there."
            )
    return joined


def videodpo(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield `video1` over `video2`, whatever `label` says: the origin's reader never looks at it.

    `score` is no certainty. It is the frequency of the pair's score gap, and the origin's trainer
    gives rare pairs a larger weight: (0.72 / score) to the power `dupbeta`.
    """
    captions = row["frame_caption"]
    first = captions[0] if isinstance(captions, list) and captions else captions
    caption = text({"frame_caption": first}, "frame_caption")
    winner, loser = text(row, "video1"), text(row, "video2")
    yield won(row, settings, caption, winner=winner, loser=loser)


def hpdv3(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield `path1` over `path2`, with its votes in `choice_dist` and its `confidence`."""
    votes = row.get("choice_dist") or [0, 0]
    if not (isinstance(votes, list) and len(votes) == 2 and all(_is_count(v) for v in votes)):
        raise Unfit(f"`choice_dist` is {shown(votes)}, not two counts.")
    yield won(
        row,
        settings,
        text(row, "prompt"),
        winner=text(row, "path1"),
        loser=text(row, "path2"),
        certainty=share(row, "confidence"),
        votes_a=int(votes[0]),
        votes_b=int(votes[1]),
    )


def pick_a_pic(row: Row, settings: Settings) -> Iterator[Judged | Dropped]:
    """Yield a pair of images; `label_0` is 1 where image 0 won, 0 where it lost, 0.5 for a tie."""
    if row.get("has_label") is False:
        yield Dropped("has_label is false")
        return
    meaning: dict[float, Verdict] = {1.0: "a", 0.0: "b", 0.5: "tie"}
    label = number(row, "label_0")
    if label not in meaning:
        raise Unfit(f"`label_0` is {label}, none of 1, 0, 0.5.")
    user = {"annotator": row.get("annotator") or row.get("user_id")}
    yield pair(
        text(row, "caption"),
        _picture(row, "jpg_0"),
        _picture(row, "jpg_1"),
        dimension=settings.dimension,
        verdict=meaning[label],
        voice=voice(row | user, settings),
    )


def _picture(row: Row, name: str) -> Footage:
    """Read an image: bytes, a dict of bytes as `datasets` makes it, or a path."""
    value = row[name]
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes) and value:
        return Footage(image=value)
    return Footage((text({name: value}, name),))


def _is_count(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value <= MAX_COUNT
