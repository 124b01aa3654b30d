"""What the critic needs of a vision-language model, and what it gets back (METHOD.md section 3).

`judge`, `forced_choice` and the tests' scripted critics know only these names; `vila.py` is the
implementation that ships. Leaves out everything about prompts: a query says what is asked, the
model's own adapter decides how to write it down.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from torch import Tensor, nn

from dualipo.records import Dimension, Verdict

Kind = Literal["pair", "point"]
Response = str | tuple[int, ...]  # text, or the token ids of a sampled path (end of sequence incl.)


@dataclass(frozen=True, eq=False)
class Query:
    """One question about one clip ("point") or two ("pair"); a clip is uint8 [F, H, W, 3].

    `hint` asks for a given verdict (SRPO's losers), `question` replaces the standard one.
    """

    kind: Kind
    caption: str
    dimension: Dimension
    clips: tuple[np.ndarray, ...]
    clip_hashes: tuple[str, ...]
    hint: Verdict | None = None
    question: str | None = None

    def __post_init__(self) -> None:
        assert len(self.clips) == len(self.clip_hashes) == (2 if self.kind == "pair" else 1)


@dataclass(frozen=True)
class Choice:
    """Labels that may follow `after` in a path; read at that place, each by its first token."""

    after: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class ReasoningPath:
    """One sampled reasoning path.

    `log_prob` is untempered and sums over `token_ids`, which hold the end of sequence unless the
    path was truncated. `choice_log_probs` is empty if the place was not reached.
    """

    text: str
    token_ids: tuple[int, ...]
    log_prob: float
    truncated: bool
    choice_log_probs: dict[str, float] = field(default_factory=dict)


class Vlm(Protocol):
    """A judge that can be asked."""

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
        """`num_paths` paths a query; a path's draws depend on its own seed only. 0 is greedy."""
        ...

    def choice_log_probs(
        self, queries: Sequence[Query], prefixes: Sequence[str], choices: Sequence[str]
    ) -> Tensor:
        """Log-probabilities [B, C] of each choice following the response so far.

        A row of NaN says that there is no answer (a server may fail).
        """
        ...


class TrainableVlm(Vlm, Protocol):
    """A judge that can also be trained."""

    @property
    def module(self) -> nn.Module:
        """All weights."""
        ...

    def log_probs(
        self, queries: Sequence[Query], responses: Sequence[Response]
    ) -> tuple[Tensor, Tensor]:
        """Differentiable sum of log-probabilities [B] over response tokens, and their number."""
        ...

    def learning(self) -> AbstractContextManager[None]:
        """Within it the weights change: what was seen with them before is forgotten."""
        ...
