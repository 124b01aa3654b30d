"""Reward models as judges, the baselines: numbers alone, asked and read as the others are.

A reward model says how good each clip is, and nothing else. Its verdict on a pair is drawn from
Bradley and Terry's model with ties (`losses.bradley_terry`), its grade of a clip from
softmax(r, 0, -r) over Good, Normal and Bad, so that the expected score (METHOD.md 3.4) grows with
the reward. Answers follow the grammar without evidence, so that votes, confirmation and forced
choice read them as they read reasoning. Where there is no number, the answer is empty and abstains.
Leaves out hints, which only a critic in words can follow.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from dualipo.critic import reasoning
from dualipo.critic.learning import losses
from dualipo.critic.models import decode
from dualipo.critic.vlm import Query, ReasoningPath, Sampling
from dualipo.records import GRADES, Dimension, Verdict

NEVER = -1e3  # a log-probability that is finite, so that two of them compare as equal
UNKNOWN = ReasoningPath("", (), 0.0, truncated=True)
VERDICTS: tuple[Verdict, ...] = ("a", "tie", "b")  # as `losses.bradley_terry` orders them


class Rewards(Protocol):
    """A model of how good clips are: its rewards are about 0 on average and about 1 apart."""

    def rewards(self, queries: Sequence[Query]) -> list[list[float]]:
        """Return the reward of each query's clips in the query's dimension; NaN if unknown."""
        ...

    def tie_width(self, dimension: Dimension) -> float:
        """Return the margin below which people call a tie; 0 where it is not known."""
        ...

    def hash(self) -> str:
        """Return a hash that names the model."""
        ...


class RewardCritic:
    """A judge whose answers are drawn from rewards; implements `vlm.Vlm`."""

    def __init__(self, source: Rewards) -> None:
        self.source = source

    def hash(self) -> str:
        """Return the reward model's own hash."""
        return self.source.hash()

    def sample(self, queries: Sequence[Query], sampling: Sampling) -> list[list[ReasoningPath]]:
        """Draw labels for each query, each by its own seed; see `vlm.Vlm`."""
        labels = self._labels(queries)
        return [
            [_path(query, log_probs, seed, sampling) for seed in row]
            for query, log_probs, row in zip(queries, labels, sampling.seeds, strict=True)
        ]

    def choice_log_probs(
        self, queries: Sequence[Query], prefixes: Sequence[str], choices: Sequence[str]
    ) -> Tensor:
        """Return the labels' log-probabilities [B, C], whatever the response so far."""
        return torch.tensor([[row[name] for name in choices] for row in self._labels(queries)])

    def _labels(self, queries: Sequence[Query]) -> list[dict[str, float]]:
        """Return each query's labels, as the grammar spells them, with their log-probabilities."""
        return [
            self._pair_labels(query.dimension, *rewards)
            if query.kind == "pair"
            else _point_labels(*rewards)
            for query, rewards in zip(queries, self.source.rewards(queries), strict=True)
        ]

    def _pair_labels(
        self, dimension: Dimension, reward_a: float, reward_b: float
    ) -> dict[str, float]:
        names = (reasoning.NAMES[verdict] for verdict in VERDICTS)
        known_width = self.source.tie_width(dimension)
        if reward_a == reward_b and not known_width:  # the model's only tie
            return dict(zip(names, (NEVER, 0.0, NEVER), strict=True))
        width = torch.tensor(known_width, dtype=torch.float64)
        margin = torch.tensor(reward_a - reward_b, dtype=torch.float64)
        log_probs_V = losses.bradley_terry(margin, tie_width_B=width).tolist()
        return dict(zip(names, log_probs_V, strict=True))


def _point_labels(reward: float) -> dict[str, float]:
    logits = torch.tensor([reward, 0.0, -reward], dtype=torch.float64)
    return dict(zip(GRADES, logits.log_softmax(0).tolist(), strict=True))


def _path(
    query: Query, log_probs: dict[str, float], seed: int, sampling: Sampling
) -> ReasoningPath:
    if any(math.isnan(log_prob) for log_prob in log_probs.values()):
        return UNKNOWN
    label = _draw(log_probs, sampling.temperature, seed)
    options = sampling.choice.options if sampling.choice else ()
    chosen = {name: log_probs[name] for name in options}
    return ReasoningPath(
        reasoning.render_bare(query.kind, label), (), log_probs[label], False, chosen
    )


def _draw(log_probs: dict[str, float], temperature: float, seed: int) -> str:
    """Draw a label by inverting the cumulative distribution, as `decode` draws tokens."""
    labels = list(log_probs)
    if temperature == 0:
        return max(labels, key=log_probs.__getitem__)
    logits = torch.tensor(list(log_probs.values()), dtype=torch.float64) / temperature
    cumulative = logits.softmax(0).cumsum(0)
    point = decode.uniforms([seed], max_new_tokens=1)[0] * cumulative[-1]
    return labels[min(int(torch.searchsorted(cumulative, point, right=True)), len(labels) - 1)]
