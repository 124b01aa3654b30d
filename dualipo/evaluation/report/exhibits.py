"""What the report shows rather than counts: the gallery, and pairs with the critic's own words.

Captions and words are whatever a model or a user wrote. They are handed to the template as text,
which escapes them. `address` turns a clip's sha256 into what a page's video loads: the report
embeds it, the dashboard names a path; None is a clip that cannot be shown.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dualipo.evaluation.report.charts import percent
from dualipo.evaluation.run_history import RunHistory
from dualipo.events import GalleryEvent, WordsEvent
from dualipo.records import Candidate, Dimension, Vote, pairs_by_id
from dualipo.store import tables
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
    """Two clips of one caption and what the critic said of them; `certainty` is a phrase."""

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
    stages = (history.base, *history.rounds)
    shown = [(one.label, event) for one in stages if (event := one.event(GalleryEvent))]
    captions = shown[0][1].captions if shown else []
    columns = [dict(zip(event.captions, event.clips, strict=False)) for _, event in shown]
    rows = [
        (caption, [_at(address, of_round.get(caption)) for of_round in columns])
        for caption in dict.fromkeys(captions)
    ]
    return Gallery([label for label, _ in shown], rows)


def judged_pairs(
    history: RunHistory, address: Address, *, most: int = MAX_PAIRS
) -> list[JudgedPair]:
    """Pairs of the newest round that recorded some."""
    rounds = [(one.label, event) for one in history.rounds if (event := one.event(WordsEvent))]
    spoken = [(label, event.pairs) for label, event in rounds if event.pairs]
    if not spoken:
        return []
    label, pairs = spoken[-1]
    return [
        JudgedPair(
            round=label,
            caption=pair.caption,
            clip_a=address(pair.clip_a),
            clip_b=address(pair.clip_b),
            dimension=pair.dimension,
            verdict=pair.verdict,
            answer=_ANSWERS.get(pair.verdict, "no verdict"),
            certainty=f"certainty {percent(pair.certainty)}",
            reasonings=pair.reasonings[:MAX_REASONINGS],
        )
        for pair in pairs[:most]
    ]


def votes_so_far(
    run_path: Path, round: int, address: Address, *, most: int = MAX_PAIRS
) -> list[JudgedPair]:
    """The newest votes of a round whose preferences are not built yet, as they come."""
    folder = run_path / "rounds" / f"{round:03d}"
    shards = sorted(folder.glob("attempt-*/confirm/votes-*.parquet"))
    if not shards:
        return []
    asked: dict[tuple[str, Dimension], list[Vote]] = {}
    for vote in tables.read_records(shards[-1], record_type=Vote):
        asked.setdefault((vote.item, vote.dimension), []).append(vote)
    pairs = pairs_by_id(_of_round(run_path, round))
    found: list[JudgedPair] = []
    for (item, dimension), votes in asked.items():
        if item in pairs and len(found) < most:
            found.append(_voted(round, pairs[item], dimension, votes, address))
    return found


def _voted(
    round: int,
    pair: tuple[Candidate, Candidate],
    dimension: Dimension,
    votes: Sequence[Vote],
    address: Address,
) -> JudgedPair:
    answer, num = Counter(str(vote.outcome) for vote in votes).most_common(1)[0]
    verdict = answer if 2 * num > len(votes) else "split"
    return JudgedPair(
        round=f"round {round}, so far",
        caption=pair[0].caption,
        clip_a=address(pair[0].clip),
        clip_b=address(pair[1].clip),
        dimension=dimension,
        verdict=verdict,
        answer=_ANSWERS.get(verdict, "no majority"),
        certainty=f"{num} of {len(votes)} votes",
        reasonings=[vote.reasoning for vote in votes if vote.reasoning][:MAX_REASONINGS],
    )


def candidates(run_path: Path, round: int, address: Address, *, num_prompts: int = 3) -> Gallery:
    """The clips of a round that its preferences are chosen from, of its first prompts."""
    made = [c for c in _of_round(run_path, round) if c.candidate_id.startswith("candidates-")]
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


def _of_round(run_path: Path, round: int) -> list[Candidate]:
    if not (run_path / "ledger.sqlite").is_file():
        return []
    ledger = Ledger(run_path / "ledger.sqlite", read_only=True)
    try:
        return ledger.candidates(round)
    finally:
        ledger.close()


def _at(address: Address, sha256: str | None) -> str | None:
    return address(sha256) if sha256 else None
