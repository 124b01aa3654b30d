"""Counts the answers that a critic gave in a stage, and stops a stage by them (faults 27, 31).

The votes of a stage are taken one by one, as there may be millions of them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dualipo.config import Critic
from dualipo.config.critic import LEARNING
from dualipo.critic import voting
from dualipo.errors import StageError
from dualipo.records import GRADES, Vote

MIN_VOTES = 32  # fewer say nothing about a critic's habits
NUM_EXAMPLES = 3  # unreadable answers that an error shows
_LEARN_EVERY_LABEL = "Go back to the previous critic, or train it on a seed with every label."
_LEARN_LONGER = "Go back to the previous critic, or train the warm start longer."
ASKING_AGAIN = (
    " `dualipo resume RUN --retry-abstained` asks for these answers again and keeps the others."
)


@dataclass(frozen=True)
class VoteCounts:
    """The number of times that a stage's critic gave each answer, over any number of votes.

    `grades` are counted with their expected score: a critic that knows one grade may still rank.
    `places` are the preferred clips of pairs as they were shown: "first", "second" or "tie".
    """

    num: int
    num_unread: int
    grades: Counter[str]
    places: Counter[str]

    @property
    def abstain_rate(self) -> float:
        """The share of votes that could not be read even after re-asking."""
        return self.num_unread / self.num if self.num else 0.0

    @property
    def position_bias(self) -> float | None:
        """The share of decided votes for the clip shown first, less a half; None without any."""
        num_decided = self.places["first"] + self.places["second"]
        return self.places["first"] / num_decided - 0.5 if num_decided else None


def counted(votes: Iterable[Vote]) -> VoteCounts:
    """Count votes, taking them one by one."""
    num = num_unread = 0
    grades: Counter[str] = Counter()
    places: Counter[str] = Counter()
    for vote in votes:
        num += 1
        if vote.outcome == "abstain":
            num_unread += 1
        elif vote.outcome in GRADES:
            grades[f"{vote.outcome} ({vote.score or 0:.1f})"] += 1
        else:
            places[as_shown(vote)] += 1
    return VoteCounts(num, num_unread, grades, places)


def unread(votes: Iterable[Vote]) -> Iterator[str]:
    """Yield the words of the answers that could not be read."""
    return (vote.reasoning for vote in votes if vote.outcome == "abstain")


def require_readable(counts: VoteCounts, *, settings: Critic, answers: Iterable[str]) -> None:
    """Stop a stage whose critic cannot be read; show some of its unreadable `answers` (fault 27).

    They are taken only if the stage is stopped.
    """
    if counts.abstain_rate > settings.max_abstain_rate:
        again = ASKING_AGAIN if settings.backend == "server" else ""
        raise StageError(
            f"critic: {counts.abstain_rate:.0%} of {counts.num} paths could not be read, "
            f"critic.max_abstain_rate is {settings.max_abstain_rate:.0%}. {remedy(settings)}{again}"
            f"{examples(answers)}"
        )


def remedy(settings: Critic) -> str:
    """Say what can be done about unreadable answers of this kind of critic."""
    both = "raise critic.max_new_tokens, or lower critic.temperature."
    if settings.backend == "server":
        return f"Serve a model that follows instructions better, {both}"
    if settings.backend in LEARNING:
        is_told = settings.is_read_tolerantly
        return (
            f"{'Take a model that follows instructions better, or train' if is_told else 'Train'} "
            "the warm start longer (`dualipo resume RUN --redo warm-start` with a larger "
            f"warm_start_sft.max_train_steps, in round 0), {both}"
        )
    return "See that its scores are numbers."


def examples(answers: Iterable[str]) -> str:
    """Return some of the answers that could not be read, in lines that follow an error's text."""
    distinct: dict[str, None] = {}
    for text in answers:
        if text:
            distinct[text] = None
        if len(distinct) == NUM_EXAMPLES:
            break
    shown = [repr(text if len(text) <= 200 else f"{text[:197]}...") for text in distinct]
    return "".join(f"\n  an answer: {each}" for each in shown)


def require_opinion(counts: VoteCounts, *, settings: Critic) -> None:
    """Stop a stage whose critic gives one answer whatever it sees (fault 31)."""
    for name, answers in {"grade": counts.grades, "answer": counts.places}.items():
        num = answers.total()
        if num < MIN_VOTES or voting.entropy(answers.values()) >= settings.min_entropy:
            continue
        constant, count = answers.most_common(1)[0]
        raise StageError(
            f"critic: {count} of {num} times its {name} is {constant!r}, whatever is "
            f"shown. It has collapsed. {_remedy_of_habit(settings, _LEARN_EVERY_LABEL)}"
        )
    _require_both_places(counts, settings)


def _require_both_places(counts: VoteCounts, settings: Critic) -> None:
    """Stop a stage whose critic prefers the first, or the second, clip of nearly every pair.

    Pairs are shown in both orders, so such a critic has looked at neither clip.
    """
    places = {place: counts.places[place] for place in ("first", "second")}
    num = sum(places.values())
    if num < MIN_VOTES:
        return
    place = max(places, key=lambda each: places[each])
    if places[place] > settings.max_position_share * num:
        raise StageError(
            f"critic: {places[place]} of {num} times it prefers the {place} of two clips, "
            f"critic.max_position_share is {settings.max_position_share:.0%}. "
            f"{_remedy_of_habit(settings, _LEARN_LONGER)}"
        )


def _remedy_of_habit(settings: Critic, of_learner: str) -> str:
    """Say what can be done about a critic of this kind that answers without looking."""
    if settings.backend in LEARNING:
        return of_learner
    if settings.backend == "server":
        return (
            "Serve another model, let this one see more (raise critic.max_frames or "
            "critic.max_pixels), or ask it other questions (critic.questions)."
        )
    if settings.backend == "reward_head":
        return "Train it on labels of every kind (seed_labels), in a new run."
    return "See that its scores tell the clips apart."


def as_shown(vote: Vote) -> str:
    """Return the position that was preferred as the clips were shown: first, second or tie."""
    shown_first = "a" if vote.order == "ab" else "b"
    return "tie" if vote.outcome == "tie" else "first" if vote.outcome == shown_first else "second"
