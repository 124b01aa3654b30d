"""Contests: each prompt's best and worst candidate by expected score, which meet.

METHOD.md 3.4. A prompt whose candidates cannot be told apart makes no contest, and is counted.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from dualipo.config import WORLD, Questions
from dualipo.critic.asks import Item
from dualipo.preferences import build
from dualipo.preferences.build import Contest, DropReason
from dualipo.records import Candidate, Dimension, Prompt

ExpectedScores = Mapping[tuple[str, Dimension], float]  # by candidate and dimension


@dataclass(frozen=True)
class Contests:
    """An attempt's contests, and how many prompts make none, by reason."""

    chosen: list[Contest]
    dropped: Counter[DropReason]


def choose(
    candidates: Sequence[Candidate],
    expected: ExpectedScores,
    *,
    questions: Questions = WORLD,
    bad_clips: Collection[str] = (),
) -> Contests:
    """Choose each prompt's contest by the expected scores of the candidates with a good clip."""
    chosen: list[Contest] = []
    dropped: Counter[DropReason] = Counter()
    captions = {c.prompt_id: c.caption for c in candidates}
    intact = [candidate for candidate in candidates if candidate.clip not in bad_clips]
    clip_of = {c.candidate_id: c.clip for c in intact}
    by_prompt = _by_prompt(intact, expected)
    for prompt_id, num in Counter(c.prompt_id for c in candidates).items():
        scores = by_prompt.get(prompt_id, {})
        if len(scores) < min(2, num):
            dropped[build.BAD_CLIPS] += 1
            continue
        choice = build.choose_contest(
            Prompt(prompt_id, captions[prompt_id]),
            scores,
            num_dimensions=len(questions.names),
            weights=questions.weights,
        )
        if not isinstance(choice, Contest):
            dropped[choice] += 1
        elif clip_of[choice.top] == clip_of[choice.bottom]:
            dropped["no contrast"] += 1  # two paths about one clip may score it differently
        else:
            chosen.append(choice)
    return Contests(chosen, dropped)


def items_of(
    contests: Contests, candidates: Sequence[Candidate], questions: Questions
) -> list[Item]:
    """Return what the critic is shown of each contest: the best as A, the worst as B."""
    clip_of = {c.candidate_id: c.clip for c in candidates}
    return [
        Item(c.contest_id, c.prompt.caption, (clip_of[c.top], clip_of[c.bottom]), questions.names)
        for c in contests.chosen
    ]


def _by_prompt(
    candidates: Sequence[Candidate], expected: ExpectedScores
) -> dict[str, dict[str, dict[Dimension, float]]]:
    """Return the expected scores by prompt, candidate and dimension."""
    scores: dict[str, dict[str, dict[Dimension, float]]] = {}
    for candidate in candidates:
        scores.setdefault(candidate.prompt_id, {})[candidate.candidate_id] = {}
    prompt_of = {c.candidate_id: c.prompt_id for c in candidates}
    for (candidate_id, dimension), score in expected.items():
        if candidate_id in prompt_of:
            scores[prompt_of[candidate_id]][candidate_id][dimension] = score
    return scores
