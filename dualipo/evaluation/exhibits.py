"""What the report shows rather than counts: the gallery, and pairs with the critic's own words.

Captions and words are whatever a model or a user wrote. They are handed to the template as text,
which escapes them. `address` turns a clip's sha256 into what a page's video loads: the report
embeds it, the dashboard names a path; None is a clip that cannot be shown.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualipo.evaluation.charts import percent
from dualipo.evaluation.history import RunHistory
from dualipo.records import Candidate
from dualipo.store.ledger import Ledger

Address = Callable[[str], str | None]

MAX_PAIRS = 4
MAX_REASONINGS = 3
_ANSWERS = {"a": "A is better", "b": "B is better", "tie": "a tie", "abstain": "no verdict"}


@dataclass(frozen=True)
class Gallery:
    """`rows` are (caption, one clip for each column), a clip being an address or None."""

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


def gallery(history: RunHistory, address: Address) -> Gallery:
    """The same prompts and seeds from base and every round."""
    shown = [one for one in (history.base, *history.rounds) if one.events.get("gallery")]
    captions = shown[0].events["gallery"]["captions"] if shown else []
    columns = [dict(_clips_by_caption(one.events["gallery"])) for one in shown]
    rows = [
        (caption, [_at(address, of_round.get(caption)) for of_round in columns])
        for caption in dict.fromkeys(captions)
    ]
    return Gallery([one.label for one in shown], rows)


def judged_pairs(
    history: RunHistory, address: Address, *, most: int = MAX_PAIRS
) -> list[JudgedPair]:
    """Pairs of the newest round that recorded some."""
    spoken = [one for one in history.rounds if one.events.get("words")]
    if not spoken:
        return []
    newest = spoken[-1]
    return [
        JudgedPair(
            round=newest.label,
            caption=pair["caption"],
            clip_a=address(pair["clip_a"]),
            clip_b=address(pair["clip_b"]),
            dimension=pair["dimension"],
            verdict=pair["verdict"],
            answer=_ANSWERS.get(pair["verdict"], "no verdict"),
            certainty=percent(pair["certainty"]),
            reasonings=pair["reasonings"][:MAX_REASONINGS],
        )
        for pair in newest.events["words"][:most]
    ]


def candidates(run_path: Path, round: int, address: Address, *, num_prompts: int = 3) -> Gallery:
    """The clips of a round that its preferences are chosen from, of its first prompts."""
    if not (run_path / "ledger.sqlite").is_file():
        return Gallery([], [])
    ledger = Ledger(run_path / "ledger.sqlite", read_only=True)
    try:
        made = [c for c in ledger.candidates(round) if c.candidate_id.startswith("candidates-")]
    finally:
        ledger.close()
    by_prompt: dict[str, dict[int, Candidate]] = {}
    for candidate in made:
        by_prompt.setdefault(candidate.prompt_id, {})[candidate.index] = candidate
    columns = sorted({candidate.index for candidate in made})
    shown = list(by_prompt.values())[:num_prompts]
    rows = [
        (
            next(iter(of_prompt.values())).caption,
            [_at(address, of_prompt[n].clip if n in of_prompt else None) for n in columns],
        )
        for of_prompt in shown
    ]
    return Gallery([str(n + 1) for n in columns], rows)


def _clips_by_caption(event: dict[str, Any]) -> list[tuple[str, str]]:
    return list(zip(event["captions"], event["clips"], strict=False))


def _at(address: Address, sha256: str | None) -> str | None:
    return address(sha256) if sha256 else None
