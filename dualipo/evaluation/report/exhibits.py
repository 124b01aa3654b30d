"""The exhibits of a page: clips of the same prompts side by side, and judged pairs.

Captions and reasoning are whatever a model or a user wrote. They are handed to the template as
text, which escapes them. `address` turns a clip's hash into what a page's video loads: the report
embeds the clip, the dashboard names a path; None is a clip that cannot be shown.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dualipo.evaluation.report.charts import percent
from dualipo.evaluation.run_history import RunHistory
from dualipo.event_parts import Words
from dualipo.events import GalleryEvent, WordsEvent
from dualipo.records import Candidate, Dimension, Order, Vote, pairs_by_id
from dualipo.store import tables
from dualipo.store.run_reader import RunReader
from dualipo.store.run_tables import set_of

Address = Callable[[str], str | None]

CANDIDATES = "candidates"  # the set of clips that preferences are chosen from
VOTES = "confirm"  # the stage that votes on pairs of them
MAX_PAIRS = 4
MAX_REASONINGS = 3
_SHOWN: dict[Order | None, str] = {
    "ab": "Shown in this order:",
    "ba": "Shown in exchanged order, so its A is clip B here:",
    None: "",  # an older dualipo did not record it
}
_ANSWERS = {"a": "A is better", "b": "B is better", "tie": "a tie", "abstain": "no verdict"}


@dataclass(frozen=True)
class Gallery:
    """Clips in a table: each row is a caption with one clip for each column, an address or None."""

    columns: list[str]
    rows: list[tuple[str, list[str | None]]]


@dataclass(frozen=True)
class JudgedPair:
    """Two clips of one caption and what the critic said of them; `certainty` is a phrase.

    Each quote has a note that says in which order its clips were shown.
    """

    round: str
    caption: str
    clip_a: str | None
    clip_b: str | None
    dimension: str
    verdict: str
    answer: str
    certainty: str
    quotes: list[tuple[str, str]]


def gallery(history: RunHistory, address: Address) -> Gallery:
    """Return clips of the same prompts and seeds, from base and from every round."""
    rounds = [(round_.label, round_.event(GalleryEvent)) for round_ in history.all_rounds]
    shown = [(label, event) for label, event in rounds if event]
    captions = shown[0][1].captions if shown else []
    columns = [dict(zip(event.captions, event.clips, strict=False)) for _, event in shown]
    rows = [
        (caption, [_at(address, column.get(caption)) for column in columns])
        for caption in dict.fromkeys(captions)
    ]
    return Gallery([label for label, _ in shown], rows)


def judged_pairs(
    history: RunHistory, address: Address, *, most: int = MAX_PAIRS
) -> list[JudgedPair]:
    """Return the judged pairs of the newest round that recorded any."""
    events = [(round_.label, round_.event(WordsEvent)) for round_ in history.rounds]
    recorded = [(label, event.pairs) for label, event in events if event and event.pairs]
    if not recorded:
        return []
    label, pairs = recorded[-1]
    return [
        JudgedPair(
            round=label,
            caption=pair.caption,
            clip_a=address(pair.clip_a),
            clip_b=address(pair.clip_b),
            dimension=pair.dimension,
            verdict=pair.verdict,
            answer=_ANSWERS.get(pair.verdict, "no verdict"),
            certainty=_tally(pair.votes) + f"certainty {percent(pair.certainty)}",
            quotes=_quotes(pair),
        )
        for pair in pairs[:most]
    ]


def votes_so_far(
    run: RunReader, round: int, address: Address, *, most: int = MAX_PAIRS
) -> list[JudgedPair]:
    """Return the newest votes of a round whose preferences are not built yet."""
    by_question: dict[tuple[str, Dimension], list[Vote]] = {}
    for vote in _newest_votes(run, round):
        by_question.setdefault((vote.item, vote.dimension), []).append(vote)
    pairs = pairs_by_id(_candidates(run, round))
    judged: list[JudgedPair] = []
    for (item, dimension), votes in by_question.items():
        if item in pairs and len(judged) < most:
            judged.append(_voted(round, pairs[item], dimension, votes, address))
    return judged


def _newest_votes(run: RunReader, round: int) -> list[Vote]:
    if not run.has_ledger:
        return []
    files = [name for unit, name in run.vote_files() if (unit.round, unit.stage) == (round, VOTES)]
    return tables.read_records(run.path / files[-1], record_type=Vote) if files else []


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
        quotes=[(_SHOWN[vote.order], vote.reasoning) for vote in votes if vote.reasoning][
            :MAX_REASONINGS
        ],
    )


def _quotes(pair: Words) -> list[tuple[str, str]]:
    orders: Sequence[Order | None] = pair.orders or [None] * len(pair.reasonings)
    quotes = zip(orders, pair.reasonings, strict=False)
    return [(_SHOWN[order], words) for order, words in quotes][:MAX_REASONINGS]


def _tally(votes: Mapping[str, int] | None) -> str:
    """Write the votes as "3 for A, 2 for B, 1 tie, "; nothing where they were not recorded."""
    if not votes:
        return ""
    names = {"a": "for A", "b": "for B", "tie": "for a tie", "abstain": "unreadable"}
    return "".join(f"{votes[key]} {name}, " for key, name in names.items() if votes.get(key))


def candidates(run: RunReader, round: int, address: Address, *, num_prompts: int = 3) -> Gallery:
    """Return the candidates of a round's first prompts; its preferences are chosen from them."""
    own = [candidate for candidate in _candidates(run, round) if set_of(candidate) == CANDIDATES]
    by_prompt: dict[str, dict[int, Candidate]] = {}
    for candidate in own:
        by_prompt.setdefault(candidate.prompt_id, {})[candidate.index] = candidate
    columns = sorted({candidate.index for candidate in own})
    shown = list(by_prompt.values())[:num_prompts]
    rows = [
        (
            next(iter(by_index.values())).caption,
            [_at(address, by_index[n].clip if n in by_index else None) for n in columns],
        )
        for by_index in shown
    ]
    return Gallery([str(n + 1) for n in columns], rows)


def _candidates(run: RunReader, round: int) -> list[Candidate]:
    return run.candidates(round) if run.has_ledger else []


def _at(address: Address, clip_hash: str | None) -> str | None:
    return address(clip_hash) if clip_hash else None
