"""A judge that only has numbers, asked and read as the others are: the baselines.

A reward model says how good each clip is, and nothing else. Its verdict on a pair is drawn from
Bradley and Terry's model with ties (`losses.bradley_terry`), its grade of a clip from
softmax(r, 0, -r) over Good, Normal and Bad, so that the expected score (METHOD.md 3.4) grows with
the reward. The grammar is spoken without evidence: votes, confirmation and forced choice read it
as they read reasoning; where there is no number it does not speak. Leaves out hints, which only a
critic in words can follow.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from dualipo.critic import reasoning
from dualipo.critic.learning import losses
from dualipo.critic.models import decode
from dualipo.critic.vlm import Choice, Query, ReasoningPath
from dualipo.records import GRADES, Dimension, Verdict

UNKNOWN = ReasoningPath("", (), 0.0, truncated=True)
VERDICTS: tuple[Verdict, ...] = ("a", "tie", "b")  # as `losses.bradley_terry` orders them


class Rewards(Protocol):
    """How good clips are: about 0 on average, about 1 apart."""

    def rewards(self, queries: Sequence[Query]) -> list[list[float]]:
        """A number for each clip of each query, in the query's dimension; NaN if there is none."""
        ...

    def tie_width(self, dimension: Dimension) -> float:
        """How near two rewards are that people call a tie; 0 where that is not known."""
        ...

    def hash(self) -> str:
        """Names the model."""
        ...


class RewardCritic:
    """Rewards as a judge; implements `vlm.Vlm`."""

    def __init__(self, source: Rewards) -> None:
        self.source = source

    def hash(self) -> str:
        """The model's own."""
        return self.source.hash()

    def sample(
        self,
        queries: Sequence[Query],
        *,
        num_paths: int,
        temperature: float,
        seeds: Sequence[Sequence[int]],
        max_new_tokens: int,
        choice: Choice | None = None,
    ) -> list[list[ReasoningPath]]:
        """`num_paths` labels a query, each by its own seed; temperature 0 takes the likeliest."""
        return [
            [_path(query, label_log_probs, temperature, seed, choice) for seed in row]
            for query, label_log_probs, row in zip(
                queries, self._labels(queries), seeds, strict=True
            )
        ]

    def choice_log_probs(
        self, queries: Sequence[Query], prefixes: Sequence[str], choices: Sequence[str]
    ) -> Tensor:
        """Log-probabilities [B, C] of the labels, whatever the answer so far."""
        return torch.tensor([[row[name] for name in choices] for row in self._labels(queries)])

    def _labels(self, queries: Sequence[Query]) -> list[dict[str, float]]:
        """Log-probability of every label that may answer a query, by its name in the grammar."""
        found = self.source.rewards(queries)
        return [
            self._of_pair(query.dimension, *rewards)
            if query.kind == "pair"
            else _of_point(*rewards)
            for query, rewards in zip(queries, found, strict=True)
        ]

    def _of_pair(self, dimension: Dimension, reward_a: float, reward_b: float) -> dict[str, float]:
        width = torch.tensor(self.source.tie_width(dimension), dtype=torch.float64)
        margin = torch.tensor(reward_a - reward_b, dtype=torch.float64)
        log_probs_V = losses.bradley_terry(margin, tie_width_B=width).tolist()
        names = (reasoning.NAMES[verdict] for verdict in VERDICTS)
        return dict(zip(names, log_probs_V, strict=True))


def _of_point(reward: float) -> dict[str, float]:
    logits = torch.tensor([reward, 0.0, -reward], dtype=torch.float64)
    return dict(zip(GRADES, logits.log_softmax(0).tolist(), strict=True))


def _path(
    query: Query, log_probs: dict[str, float], temperature: float, seed: int, choice: Choice | None
) -> ReasoningPath:
    if any(math.isnan(log_prob) for log_prob in log_probs.values()):
        return UNKNOWN
    label = _draw(log_probs, temperature, seed)
    chosen = {name: log_probs[name] for name in choice.options} if choice else {}
    return ReasoningPath(
        reasoning.render_bare(query.kind, label), (), log_probs[label], False, chosen
    )


def _draw(log_probs: dict[str, float], temperature: float, seed: int) -> str:
    """By inverting the cumulative distribution, as `decode` draws tokens."""
    labels = list(log_probs)
    if temperature == 0:
        return max(labels, key=log_probs.__getitem__)
    logits = torch.tensor(list(log_probs.values()), dtype=torch.float64) / temperature
    cumulative = logits.softmax(0).cumsum(0)
    point = decode.uniforms([seed], max_new_tokens=1)[0] * cumulative[-1]
    return labels[min(int(torch.searchsorted(cumulative, point, right=True)), len(labels) - 1)]
