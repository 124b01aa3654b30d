"""The critic's votes: pointwise scores of all candidates, pairwise votes on the chosen ones.

`score` and `confirm` are functions of (critic, items, seeds) without state (METHOD.md 3.1, 3.4).
The caller passes fixed units of items, so that a unit that is redone makes the same batches and the
same votes. A path that cannot be read is drawn again with new seeds, at most `max_reasks` times,
and then abstains (faults 27, 28). `vote_counts.py` looks at all votes of a stage and may stop it.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dualipo.config import Critic
from dualipo.critic import reasoning, tolerant, voting
from dualipo.critic.asks import Ask, Clips, Item, SeedOf, asks_about, load_queries
from dualipo.critic.vlm import Choice, Query, ReasoningPath, Sampling, Vlm
from dualipo.records import GRADES, Dimension, Grade, Order, Vote

NEUTRAL_CAPTION = "a video"


@dataclass(frozen=True)
class _Draw:
    """A planned path; `draw` is its number among the paths of its question."""

    ask: Ask
    draw: int

    @property
    def key(self) -> tuple[str, Dimension, Order, int]:
        """The place of its vote among all votes."""
        return self.ask.item_id, self.ask.dimension, self.ask.order, self.draw


@dataclass(frozen=True)
class Earlier:
    """The votes that are taken as they are, and how often the others were asked for already."""

    votes: Sequence[Vote] = ()
    num_times: int = 0


ASKED_NOTHING = Earlier()


def score(
    vlm: Vlm,
    items: Sequence[Item],
    *,
    clips: Clips,
    settings: Critic,
    seed_of: SeedOf,
    earlier: Earlier = ASKED_NOTHING,
) -> list[Vote]:
    """Draw `num_score_paths` pointwise votes per item and dimension, each with its score."""
    asker = _Asker(vlm, clips, settings, seed_of, earlier)
    return _votes(asker, asks_about(items), range(settings.num_score_paths))


def confirm(
    vlm: Vlm,
    items: Sequence[Item],
    *,
    earlier: Earlier = ASKED_NOTHING,
    settings: Critic,
    clips: Clips,
    seed_of: SeedOf,
) -> list[Vote]:
    """Draw `num_votes` pairwise votes per item and dimension, half of them with A and B swapped.

    With `early_stop` the first votes are as many as a kept verdict needs; the rest is drawn only
    where it can still change the judgement.
    """
    asks, num_each_order = asks_about(items), settings.num_votes // 2
    asker = _Asker(vlm, clips, settings, seed_of, earlier)
    if not settings.early_stop:
        return _votes(asker, asks, range(num_each_order))
    shares = (settings.keep_vote_share, settings.confirm_vote_share)
    num_first = math.ceil(max(shares) * num_each_order)
    votes = _votes(asker, asks, range(num_first))
    open_places = {
        place
        for place, group in voting.grouped(votes).items()
        if not voting.settled(group, num_planned=2 * num_each_order, least_shares=shares)
    }
    unsettled = [ask for ask in asks if (ask.item_id, ask.dimension) in open_places]
    return votes + _votes(asker, unsettled, range(num_first, num_each_order))


def turned_by_caption(
    vlm: Vlm,
    items: Sequence[Item],
    votes: Sequence[Vote],
    *,
    clips: Clips,
    settings: Critic,
    seed_of: SeedOf,
) -> dict[tuple[str, Dimension], bool]:
    """Return for each verdict whether the caption changes it (fault 38), by item and dimension.

    `votes` are those under the real caption. The items (pairs or single clips) are judged again
    under a neutral caption, on the dimensions that need none. A verdict is absent where the votes
    have no single leader under one of the captions.
    """
    free = settings.questions.captionless()
    neutral = [replace(item, caption=NEUTRAL_CAPTION, dimensions=free) for item in items]
    ask = score if len(items[0].clip_hashes) == 1 else confirm
    before = _leading_answers(votes)
    after = _leading_answers(ask(vlm, neutral, clips=clips, settings=settings, seed_of=seed_of))
    return {place: before[place] != answer for place, answer in after.items() if place in before}


def _leading_answers(votes: Sequence[Vote]) -> dict[tuple[str, Dimension], str]:
    """Return the answer with the most votes by item and dimension; equal leaders are left out."""
    leading = {}
    for place, group in voting.grouped(votes).items():
        counts = voting.masses(group).most_common(2)
        if counts and (len(counts) == 1 or counts[0][1] > counts[1][1]):
            leading[place] = counts[0][0]
    return leading


def expected_scores(votes: Sequence[Vote]) -> dict[tuple[str, Dimension], float]:
    """Average the paths' expected scores by item and dimension; unreadable items are absent."""
    scores: dict[tuple[str, Dimension], list[float]] = defaultdict(list)
    for vote in votes:
        if vote.outcome != "abstain" and vote.score is not None:
            scores[vote.item, vote.dimension].append(vote.score)
    return {place: math.fsum(values) / len(values) for place, values in scores.items()}


def abstain_rate(votes: Sequence[Vote]) -> float:
    """Return the share of votes that could not be read even after re-asking."""
    return sum(vote.outcome == "abstain" for vote in votes) / len(votes) if votes else 0.0


def _votes(asker: "_Asker", asks: Sequence[Ask], draws: range) -> list[Vote]:
    """Draw the numbered paths of every question, and draw unreadable ones again."""
    planned = [[_Draw(ask, draw) for draw in draws] for ask in asks] if draws else []
    first_time = asker.earlier.num_times * (asker.settings.max_reasks + 1)
    votes = asker.with_earlier(planned, again=first_time)
    for again in range(first_time + 1, first_time + asker.settings.max_reasks + 1):
        unread = [[place] for place, vote in votes.items() if vote.outcome == "abstain"]
        votes |= asker.votes(unread, again=again)
    return list(votes.values())


@dataclass(frozen=True)
class _Asker:
    """A critic together with everything that is needed to ask it."""

    vlm: Vlm
    clips: Clips
    settings: Critic
    seed_of: SeedOf
    earlier: Earlier = ASKED_NOTHING

    def with_earlier(self, planned: Sequence[Sequence[_Draw]], *, again: int) -> dict[_Draw, Vote]:
        """Return a vote for every planned path, and ask only for those that there are none of."""
        known = {(v.item, v.dimension, v.order, v.draw): v for v in self.earlier.votes}
        votes = {place: known[place.key] for row in planned for place in row if place.key in known}
        whole = [row for row in planned if votes.keys().isdisjoint(row)]
        parts = [[place] for row in planned for place in row if place not in votes]
        votes |= self.votes(whole, again=again)
        votes |= self.votes([row for row in parts if row[0] not in votes], again=again)
        return {place: votes[place] for row in planned for place in row}

    def votes(self, rows: Sequence[Sequence[_Draw]], *, again: int) -> dict[_Draw, Vote]:
        """Draw and read paths; a row holds one question's, and all rows are equally long."""
        votes: dict[_Draw, Vote] = {}
        for batch in _batches(rows, self.settings.judge_batch_size):
            votes |= self._batch(batch, again)
        return votes

    def _batch(self, rows: Sequence[Sequence[_Draw]], again: int) -> dict[_Draw, Vote]:
        queries = load_queries([row[0].ask for row in rows], self.clips)
        drawn = self.vlm.sample(
            queries,
            Sampling(
                seeds=[[self._seed(place, again) for place in row] for row in rows],
                temperature=self.settings.temperature,
                max_new_tokens=self.settings.max_new_tokens,
                choice=_choice(queries[0], self.settings),
            ),
        )
        return {
            place: _vote(self.vlm, place, query, path, self.settings)
            for row, query, paths in zip(rows, queries, drawn, strict=True)
            for place, path in zip(row, paths, strict=True)
        }

    def _seed(self, place: _Draw, again: int) -> int:
        ask = place.ask
        return self.seed_of(ask.item_id, ask.dimension, ask.order, place.draw, again)


def _batches(rows: Sequence[Sequence[_Draw]], max_paths: int) -> Iterator[list[Sequence[_Draw]]]:
    """Yield batches of at most `max_paths` paths.

    Questions about one pair in one order stay together, because they share a prefill; a batch with
    a single such group may be larger.
    """
    batch: list[Sequence[_Draw]] = []
    for _, group in itertools.groupby(rows, key=lambda row: (row[0].ask.item_id, row[0].ask.order)):
        same_clips = list(group)
        if batch and sum(map(len, batch + same_clips)) > max_paths:
            yield batch
            batch = []
        batch += same_clips
    if batch:
        yield batch


def _vote(vlm: Vlm, place: _Draw, query: Query, path: ReasoningPath, settings: Critic) -> Vote:
    """Read a path as a vote.

    A grade whose expected score is unknown cannot be ranked, so such a vote abstains. A verdict
    whose probabilities are unknown counts as if it had been certain.
    """
    ask = place.ask
    outcome = _read(query, path, settings).outcome
    score, log_probs = None, {}
    if outcome != "abstain":
        log_probs = _label_log_probs(vlm, query, path, outcome, settings)
    if ask.kind == "point" and outcome != "abstain":
        score = _expected(log_probs, outcome, settings.questions.scores(ask.dimension))
        outcome = "abstain" if score is None else outcome
    return Vote(
        item=ask.item_id,
        dimension=ask.dimension,
        order=ask.order,
        draw=place.draw,
        outcome=reasoning.swap_verdict(outcome) if ask.order == "ba" else outcome,
        log_prob=path.log_prob,
        reasoning=path.text,
        score=score,
        probabilities=_probabilities(log_probs, ask) if settings.votes == "soft" else None,
    )


def _read(query: Query, path: ReasoningPath, settings: Critic) -> reasoning.Parsed:
    """Read an answer with the reader that `critic.reader` names."""
    if not settings.is_read_tolerantly:
        return reasoning.parse(path.text, query.kind, truncated=path.truncated)
    questions = settings.questions
    return tolerant.read(
        path.text,
        query.kind,
        caption=reasoning.shown(query.caption),
        prompts=(reasoning.question_of(query, questions), questions.form(query.kind)),
        example=questions.example(query.kind),
        dimension=query.dimension,
        others=[name for name in questions.names if name != query.dimension],
        truncated=path.truncated,
    )


def _choice(query: Query, settings: Critic) -> Choice | None:
    """Return the labels whose probabilities a vote needs: of grades always, of verdicts if soft."""
    if query.kind == "point":
        return reasoning.GRADE_CHOICE
    return reasoning.VERDICT_CHOICE if settings.votes == "soft" else None


def _label_log_probs(
    vlm: Vlm, query: Query, path: ReasoningPath, outcome: str, settings: Critic
) -> dict[str, float]:
    """Return the log-probability of every label in the place of a path's label.

    It is empty for hard votes on pairs, and for a label outside the grammar's tag, which has no
    place to be weighed at: a tag in a thought or an echo holds another label than the answer. Some
    models report none while sampling: they are asked at the path's end, and the values are NaN
    where there is no answer.
    """
    choice = _choice(query, settings)
    if choice is None or _tagged(path.text, choice).lower() != outcome:
        return {}
    if path.choice_log_probs:
        return path.choice_log_probs
    prefix = path.text[: path.text.rindex(choice.after)] + choice.after
    log_probs_C = vlm.choice_log_probs([query], [prefix], choice.options)[0]
    return dict(zip(choice.options, log_probs_C.tolist(), strict=True))


def _tagged(text: str, choice: Choice) -> str:
    """Return what stands in the grammar's only tag; empty where there is no tag, or several."""
    return (
        text.partition(choice.after)[2].partition("<")[0] if text.count(choice.after) == 1 else ""
    )


def _expected(
    log_probs: dict[str, float], outcome: str, scores: Mapping[Grade, float]
) -> float | None:
    """Return a path's expected score, the sum of p(grade) * scores[grade]; None if unknown.

    Without a place to weigh the grades at, the score of the path's own grade counts.
    """
    if not log_probs:
        return next(score for grade, score in scores.items() if grade == outcome)
    weights, total = _odds(log_probs)
    if math.isnan(total):
        return None
    return math.fsum(scores[grade] * weights[grade] for grade in GRADES) / total


def _probabilities(log_probs: dict[str, float], ask: Ask) -> tuple[float, ...] | None:
    """Return the labels' probabilities in terms of the item's own A and B; None if unknown."""
    weights, total = _odds(log_probs)
    if not weights or math.isnan(total):
        return None
    labels = [weights[name] / total for name in log_probs]
    if ask.order == "ba":
        labels[:2] = labels[1::-1]
    return tuple(labels)


def _odds(log_probs: dict[str, float]) -> tuple[dict[str, float], float]:
    """Return exp(log p) of each label, relative to the likeliest, and their sum; NaN if unknown."""
    if not log_probs or any(math.isnan(log_prob) for log_prob in log_probs.values()):
        return {}, math.nan
    top = max(log_probs.values())
    weights = {name: math.exp(log_prob - top) for name, log_prob in log_probs.items()}
    return weights, math.fsum(weights.values())
