"""The protocol between the judge and the model that answers it (METHOD.md section 3).

`judge`, `forced_choice` and the tests' scripted critics know only these names. `models/` holds the
implementations; `vila.py` is the one that ships. Leaves out everything about prompts: a query says
what is asked, and each model decides how to write it down.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from torch import Tensor, nn

from dualipo.records import Dimension

Kind = Literal["pair", "point"]
# A text, or the token ids of a sampled path with its end of sequence.
Response = str | tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Query:
    """A question about one clip ("point") or two ("pair"); a clip is uint8 [F, H, W, 3].

    `question` replaces the standard one.
    """

    kind: Kind
    caption: str
    dimension: Dimension
    clips: tuple[np.ndarray, ...]
    clip_hashes: tuple[str, ...]
    question: str | None = None

    def __post_init__(self) -> None:
        assert len(self.clips) == len(self.clip_hashes) == (2 if self.kind == "pair" else 1)


@dataclass(frozen=True)
class Choice:
    """The labels that may follow the text `after` in a path, each read by its first token."""

    after: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Sampling:
    """The way in which paths are drawn: `seeds[i][j]` is the seed of path j of query i.

    Every query has the same number of paths. Temperature 0 always takes the likeliest token. With a
    `choice`, a path also says how likely each label was in its place.
    """

    seeds: Sequence[Sequence[int]]
    temperature: float
    max_new_tokens: int
    choice: Choice | None = None

    def __post_init__(self) -> None:
        assert len({len(row) for row in self.seeds}) == 1, "as many paths for each query"

    @property
    def num_paths(self) -> int:
        """The number of paths of each query."""
        return len(self.seeds[0])


@dataclass(frozen=True)
class ReasoningPath:
    """A sampled reasoning path: evidence, grades and a verdict as text.

    `log_prob` is untempered and sums over `token_ids`, which hold the end of sequence unless the
    path was truncated. `choice_log_probs` holds the log-probability of each label of the `Choice`
    that was asked for; it is empty if the path never reached `Choice.after`.
    """

    text: str
    token_ids: tuple[int, ...]
    log_prob: float
    truncated: bool
    choice_log_probs: dict[str, float] = field(default_factory=dict)


class Vlm(Protocol):
    """A model that can be asked for judgements."""

    def sample(self, queries: Sequence[Query], sampling: Sampling) -> list[list[ReasoningPath]]:
        """Draw reasoning paths for each query; a path's draws depend on its own seed alone."""
        ...

    def choice_log_probs(
        self, queries: Sequence[Query], prefixes: Sequence[str], choices: Sequence[str]
    ) -> Tensor:
        """Return the log-probability [B, C] of each choice after the response so far.

        A row of NaN means that there is no answer: a server may fail.
        """
        ...


class TrainableVlm(Vlm, Protocol):
    """A model that can be asked for judgements and trained."""

    @property
    def module(self) -> nn.Module:
        """The module with all weights."""
        ...

    def log_probs(
        self, queries: Sequence[Query], responses: Sequence[Response]
    ) -> tuple[Tensor, Tensor]:
        """Sum log pi(response | query) over a response's tokens; return sums [B], lengths [B].

        The sum is differentiable. A text is scored with its end of sequence, token ids as they are.
        """
        ...

    def log_probs_of_each(
        self, queries: Sequence[Query], responses: Sequence[Sequence[Response]]
    ) -> Tensor:
        """Return the same sums [B, P] for P responses of each query, without a gradient.

        A query's prompt is run once for all its responses, of which each query has equally many.
        """
        ...

    def learning(self) -> AbstractContextManager[None]:
        """Return a context in which the weights may change; remembered clips are forgotten."""
        ...
