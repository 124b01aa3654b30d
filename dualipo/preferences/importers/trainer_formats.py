"""Reads what trainers of generators read: tables of winners and losers, and Flow-Factory's JSONL.

Flow-Factory's offline record of version 2 has an `input` (prompt, and media that condition it), a
`supervision` (`preference` with `chosen` and `rejected`, or `demonstration` with a `target`), and
`metadata`, which no model is given. Our export writes source, annotator and dimension there.
"""

from collections.abc import Iterator
from typing import Any

from dualipo.preferences.importers.pair_formats import won
from dualipo.preferences.importers.row import (
    Dropped,
    Judged,
    Row,
    Settings,
    Unfit,
    caption_of,
    dimension_of,
    shown,
    text,
)


def chosen_rejected(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield the clip at `chosen_video_path` over the one at `rejected_video_path`."""
    caption = caption_of(row)
    winner, loser = text(row, "chosen_video_path"), text(row, "rejected_video_path")
    yield won(row, settings, caption, winner=winner, loser=loser)


def flow_factory(row: Row, settings: Settings) -> Iterator[Judged | Dropped]:
    """Yield `chosen` over `rejected`; leave out what is no preference about text to video."""
    if row["schema_version"] != 2:
        raise Unfit(f"`schema_version` is {shown(row['schema_version'])}, not 2.")
    asked, supervision = row["input"], row["supervision"]
    if not isinstance(asked, dict) or not isinstance(supervision, dict):
        raise Unfit("`input` or `supervision` is not an object of named values.")
    if supervision.get("type") != "preference":
        yield Dropped(f"its supervision is a {str(supervision.get('type'))[:40]}, not a preference")
    elif asked.get("media"):
        yield Dropped("made from an image or a clip, not from text alone")
    else:
        metadata = row.get("metadata") if isinstance(row.get("metadata"), dict) else {}
        assert metadata is not None
        dimension = dimension_of(metadata, settings)
        clips = {
            "winner": _only_clip(supervision, "chosen"),
            "loser": _only_clip(supervision, "rejected"),
        }
        yield won(metadata, settings, text(asked, "prompt"), dimension=dimension, **clips)


def _only_clip(supervision: Row, name: str) -> str:
    candidate: Any = supervision.get(name)
    media = candidate.get("media") if isinstance(candidate, dict) else None
    paths = [
        each.get("path")
        for each in (media if isinstance(media, list) else ())
        if isinstance(each, dict) and each.get("type") in ("video", "image")
    ]
    if len(paths) != 1:
        raise Unfit(f"`supervision.{name}` has {len(paths)} videos, not one.")
    return text({name: paths[0]}, name)
