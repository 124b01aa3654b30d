"""What the report shows rather than counts: the gallery, and pairs with the critic's own words.

Captions and words are whatever a model or a user wrote. They are handed to the template as text,
which escapes them; a clip is embedded, never linked.
"""

from dataclasses import dataclass
from typing import Any

from dualipo.evaluation.charts import percent
from dualipo.evaluation.embed import data_uri
from dualipo.evaluation.history import RunHistory
from dualipo.store.clips import ClipStore

MAX_PAIRS = 4
MAX_REASONINGS = 3
_ANSWERS = {"a": "A is better", "b": "B is better", "tie": "a tie", "abstain": "no verdict"}


@dataclass(frozen=True)
class Gallery:
    """`rows` are (caption, one clip for each column), a clip being a data URI or None."""

    columns: list[str]
    rows: list[tuple[str, list[str | None]]]


@dataclass(frozen=True)
class JudgedPair:
    """Two clips of one caption and what the critic said of them."""

    round: str
    caption: str
    clip_a: str | None
    clip_b: str | None
    dimension: str
    verdict: str
    answer: str
    certainty: str
    reasonings: list[str]


def gallery(history: RunHistory, clips: ClipStore) -> Gallery:
    """The same prompts and seeds from base and every round."""
    shown = [one for one in (history.base, *history.rounds) if one.events.get("gallery")]
    captions = shown[0].events["gallery"]["captions"] if shown else []
    columns = [dict(_clips_by_caption(one.events["gallery"])) for one in shown]
    rows = [
        (caption, [_embed(clips, of_round.get(caption)) for of_round in columns])
        for caption in dict.fromkeys(captions)
    ]
    return Gallery([one.label for one in shown], rows)


def judged_pairs(history: RunHistory, clips: ClipStore) -> list[JudgedPair]:
    """Pairs of the newest round that recorded some."""
    spoken = [one for one in history.rounds if one.events.get("words")]
    if not spoken:
        return []
    newest = spoken[-1]
    return [
        JudgedPair(
            round=newest.label,
            caption=pair["caption"],
            clip_a=data_uri(clips, pair["clip_a"]),
            clip_b=data_uri(clips, pair["clip_b"]),
            dimension=pair["dimension"],
            verdict=pair["verdict"],
            answer=_ANSWERS.get(pair["verdict"], "no verdict"),
            certainty=percent(pair["certainty"]),
            reasonings=pair["reasonings"][:MAX_REASONINGS],
        )
        for pair in newest.events["words"][:MAX_PAIRS]
    ]


def _clips_by_caption(event: dict[str, Any]) -> list[tuple[str, str]]:
    return list(zip(event["captions"], event["clips"], strict=False))


def _embed(clips: ClipStore, sha256: str | None) -> str | None:
    return data_uri(clips, sha256) if sha256 else None
