"""Asking the critic: pointwise scores of all candidates, pairwise votes on the chosen (METHOD.md
3.1, 3.4).

Functions of (critic, items, seeds) without state: the caller passes fixed units of items, so that
a unit that is redone makes the same batches and the same votes. A path that cannot be read is
asked again with new draws, at most `max_reasks` times, and then abstains (faults 27, 28). The
checks that stop a stage are over all its votes: `require_readable`, `require_opinion`.
"""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dualipo.config import Critic
from dualipo.critic import reasoning, voting
from dualipo.critic.asks import Ask, Clips, Item, SeedOf, asks_about, load_queries
from dualipo.critic.vlm import Query, ReasoningPath, Vlm
from dualipo.errors import StageError
from dualipo.records import GRADE_SCORES, GRADES, Dimension, Vote

MIN_VOTES = 32  # fewer say nothing about a critic's habits
NEUTRAL_CAPTION = "a video"


@dataclass(frozen=True)
class _Draw:
    """One planned path: `draw` names it among the paths of its ask."""

    ask: Ask
    draw: int


def score(
    vlm: Vlm, items: Sequence[Item], *, clips: Clips, settings: Critic, seed_of: SeedOf
) -> list[Vote]:
    """`num_score_paths` pointwise votes an item and dimension, with each path's expected score."""
    return vote_on(
        vlm,
        asks_about(items),
        clips=clips,
        num_paths=settings.num_score_paths,
        settings=settings,
        seed_of=seed_of,
    )


def confirm(
    vlm: Vlm, items: Sequence[Item], *, clips: Clips, settings: Critic, seed_of: SeedOf
) -> list[Vote]:
    """`num_votes` pairwise votes an item and dimension, half of them with A and B swapped.

    With `early_stop`, first as many as a kept verdict needs, then the rest where they can matter.
    """
    asks, each = asks_about(items), settings.num_votes // 2
    bench = _Bench(vlm, clips, settings, seed_of)
    if not settings.early_stop:
        return _votes(bench, asks, range(each))
    shares = (settings.keep_vote_share, settings.confirm_vote_share)
    first = math.ceil(max(shares) * each)
    votes = _votes(bench, asks, range(first))
    open_places = {
        place
        for place, group in voting.grouped(votes).items()
        if not voting.settled(group, num_planned=2 * each, least_shares=shares)
    }
    unsettled = [ask for ask in asks if (ask.item_id, ask.dimension) in open_places]
    return votes + _votes(bench, unsettled, range(first, each))


def vote_on(
    vlm: Vlm,
    asks: Sequence[Ask],
    *,
    clips: Clips,
    num_paths: int,
    settings: Critic,
    seed_of: SeedOf,
) -> list[Vote]:
    """Every planned vote exactly once, ask by ask and draw by draw."""
    return _votes(_Bench(vlm, clips, settings, seed_of), asks, range(num_paths))


def caption_flips(
    vlm: Vlm,
    items: Sequence[Item],
    votes: Sequence[Vote],
    *,
    clips: Clips,
    settings: Critic,
    seed_of: SeedOf,
) -> list[str]:
    """Items, pairs or single clips, of which the caption turns what is said (fault 38).

    They are judged again under a neutral caption on the dimensions that need none; `votes` are
    those under the real caption. Where either has no one answer in front, nothing turned.
    """
    neutral = [
        replace(item, caption=NEUTRAL_CAPTION, dimensions=("faithfulness", "motion"))
        for item in items
    ]
    ask = score if len(items[0].clip_hashes) == 1 else confirm
    before = _in_front(votes)
    after = _in_front(ask(vlm, neutral, clips=clips, settings=settings, seed_of=seed_of))
    turned = {
        item for (item, d), answer in after.items() if before.get((item, d), answer) != answer
    }
    return [item.item_id for item in items if item.item_id in turned]


def _in_front(votes: Sequence[Vote]) -> dict[tuple[str, Dimension], str]:
    """The answer that alone has the most votes, by item and dimension."""
    found = {}
    for place, group in voting.grouped(votes).items():
        counts = Counter(one.outcome for one in group if one.outcome != "abstain").most_common(2)
        if counts and (len(counts) == 1 or counts[0][1] > counts[1][1]):
            found[place] = str(counts[0][0])
    return found


def expected_scores(votes: Sequence[Vote]) -> dict[tuple[str, Dimension], float]:
    """Mean over readable paths of sum p(label) * GRADE_SCORES; an unreadable item is absent."""
    scores: dict[tuple[str, Dimension], list[float]] = defaultdict(list)
    for one in votes:
        if one.outcome != "abstain" and one.score is not None:
            scores[one.item, one.dimension].append(one.score)
    return {place: math.fsum(some) / len(some) for place, some in scores.items()}


def abstain_rate(votes: Sequence[Vote]) -> float:
    """Part of the votes that could not be read, re-asks included."""
    return sum(one.outcome == "abstain" for one in votes) / len(votes) if votes else 0.0


def require_readable(votes: Sequence[Vote], *, settings: Critic) -> None:
    """Stop a stage whose critic does not speak the grammar (fault 27)."""
    rate = abstain_rate(votes)
    if rate > settings.max_abstain_rate:
        raise StageError(
            f"critic: {rate:.0%} of {len(votes)} paths could not be read, "
            f"critic.max_abstain_rate is {settings.max_abstain_rate:.0%}. Train the warm start "
            "longer, raise critic.max_new_tokens, or lower critic.temperature."
        )


def require_opinion(votes: Sequence[Vote], *, settings: Critic) -> None:
    """Stop a stage whose critic says one thing whatever it sees (fault 31)."""
    kinds = {
        "grade": [_with_score(one) for one in votes if one.outcome in GRADES],
        "answer": [as_shown(one) for one in votes if one.outcome in ("a", "b", "tie")],
    }
    for name, outcomes in kinds.items():
        counts = Counter(outcomes)
        if len(outcomes) < MIN_VOTES or voting.entropy(counts.values()) >= settings.min_entropy:
            continue
        constant, count = counts.most_common(1)[0]
        raise StageError(
            f"critic: {count} of {len(outcomes)} times its {name} is {constant!r}, whatever is "
            "shown. It has collapsed: go back to the previous critic, or train it on a seed "
            "with every label."
        )
    _require_both_places(votes, settings)


def _require_both_places(votes: Sequence[Vote], settings: Critic) -> None:
    """A pair is shown in both orders: who always prefers one place has looked at neither clip."""
    places = [as_shown(one) for one in votes if one.outcome in ("a", "b")]
    if len(places) < MIN_VOTES:
        return
    place, count = Counter(places).most_common(1)[0]
    if count > settings.max_position_share * len(places):
        raise StageError(
            f"critic: {count} of {len(places)} times it prefers the {place} of two clips, "
            f"critic.max_position_share is {settings.max_position_share:.0%}. Go back to the "
            "previous critic, or train the warm start longer."
        )


def _votes(bench: "_Bench", asks: Sequence[Ask], draws: range) -> list[Vote]:
    """These draws of every ask; what cannot be read is asked again."""
    planned = [[_Draw(ask, draw) for draw in draws] for ask in asks] if draws else []
    votes = bench.votes(planned, again=0)
    for again in range(1, bench.settings.max_reasks + 1):
        unread = [[place] for place, one in votes.items() if one.outcome == "abstain"]
        votes |= bench.votes(unread, again=again)
    return list(votes.values())


def _with_score(one: Vote) -> str:
    """A grade, told apart by its expected score: a critic of one grade may still rank."""
    return f"{one.outcome} ({one.score or 0:.1f})"


def as_shown(one: Vote) -> str:
    """The position that was preferred, before swapping back."""
    shown_first = "a" if one.order == "ab" else "b"
    return "tie" if one.outcome == "tie" else "first" if one.outcome == shown_first else "second"


@dataclass(frozen=True)
class _Bench:
    """A critic and how it is asked."""

    vlm: Vlm
    clips: Clips
    settings: Critic
    seed_of: SeedOf

    def votes(self, rows: Sequence[Sequence[_Draw]], *, again: int) -> dict[_Draw, Vote]:
        """Read the paths `rows[i][j]`: of one ask in a row, all rows equally long."""
        votes: dict[_Draw, Vote] = {}
        for batch in _batches(rows, self.settings.judge_batch_size):
            votes |= self._batch(batch, again)
        return votes

    def _batch(self, rows: Sequence[Sequence[_Draw]], again: int) -> dict[_Draw, Vote]:
        queries = load_queries([row[0].ask for row in rows], self.clips)
        drawn = self.vlm.sample(
            queries,
            num_paths=len(rows[0]),
            temperature=self.settings.temperature,
            seeds=[[self._seed(place, again) for place in row] for row in rows],
            max_new_tokens=self.settings.max_new_tokens,
            choice=reasoning.GRADE_CHOICE if queries[0].kind == "point" else None,
        )
        return {
            place: _vote(self.vlm, place, query, path)
            for row, query, paths in zip(rows, queries, drawn, strict=True)
            for place, path in zip(row, paths, strict=True)
        }

    def _seed(self, place: _Draw, again: int) -> int:
        ask = place.ask
        return self.seed_of(ask.item_id, ask.dimension, ask.order, place.draw, again)


def _batches(rows: Sequence[Sequence[_Draw]], max_paths: int) -> Iterator[list[Sequence[_Draw]]]:
    """At most `max_paths` at once; what is asked about one pair in one order stays together."""
    batch: list[Sequence[_Draw]] = []
    for _, group in itertools.groupby(rows, key=lambda row: (row[0].ask.item_id, row[0].ask.order)):
        together = list(group)
        if batch and sum(map(len, batch + together)) > max_paths:
            yield batch
            batch = []
        batch += together
    if batch:
        yield batch


def _vote(vlm: Vlm, place: _Draw, query: Query, path: ReasoningPath) -> Vote:
    """A grade whose score cannot be had is no judgement that can be ranked: it abstains."""
    ask = place.ask
    outcome = reasoning.parse(path.text, ask.kind, truncated=path.truncated).outcome
    readable_point = ask.kind == "point" and outcome != "abstain"
    score = _expected(vlm, query, path) if readable_point else None
    if readable_point and score is None:
        outcome = "abstain"
    return Vote(
        item=ask.item_id,
        dimension=ask.dimension,
        order=ask.order,
        draw=place.draw,
        outcome=reasoning.swap_verdict(outcome) if ask.order == "ba" else outcome,
        log_prob=path.log_prob,
        reasoning=path.text,
        score=score,
    )


def _expected(vlm: Vlm, query: Query, path: ReasoningPath) -> float | None:
    """Expected score of one path: sum over grades of p(grade) * GRADE_SCORES; None if unknown."""
    log_probs = path.choice_log_probs or _asked_choices(vlm, query, path)
    if any(math.isnan(log_prob) for log_prob in log_probs.values()):
        return None
    top = max(log_probs.values())
    weights = {grade: math.exp(log_probs[grade] - top) for grade in GRADES}
    total = math.fsum(weights.values())
    return math.fsum(GRADE_SCORES[grade] * weights[grade] for grade in GRADES) / total


def _asked_choices(vlm: Vlm, query: Query, path: ReasoningPath) -> dict[str, float]:
    """For models that do not report label probabilities while sampling; NaN without an answer."""
    tag = reasoning.GRADE_CHOICE.after
    prefix = path.text[: path.text.rindex(tag)] + tag
    log_probs_C = vlm.choice_log_probs([query], [prefix], GRADES)[0]
    return dict(zip(GRADES, log_probs_C.tolist(), strict=True))
