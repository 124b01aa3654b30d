"""A measurement on items that are not trained on, which may end a training early.

    every `every` steps: measure; remember the best measurement and the weights at that step
    no gain in `patience` measurements in a row: stop, and take the best weights

With a patience of 0 the measurements are only logged, no weights are remembered, and the training
ends with its last step. The best weights are part of a checkpoint, so a training that was killed
and resumed stops at the same step with the same weights. Leaves out a smallest gain: the measured
score decides, and a score is a tuple, so that an equal accuracy is decided by the loss.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

Metrics = dict[str, float]


class Watch(Protocol):
    """A measurement that is repeated while a model is trained; it must draw nothing from torch."""

    @property
    def every(self) -> int:
        """Return the number of steps from one measurement to the next."""
        ...

    @property
    def patience(self) -> int:
        """Return the number of measurements without a gain that end the training; 0 is never."""
        ...

    def measure(self) -> Metrics:
        """Measure the model as it stands; every rank calls it."""
        ...

    def score(self, measured: Metrics) -> tuple[float, ...]:
        """Return what decides which of two measurements is better: the larger score."""
        ...


@dataclass
class Best:
    """The best measurement so far, and how many have followed it without a gain."""

    step: int | None = None  # the number of steps that had been taken
    score: tuple[float, ...] = ()
    num_since: int = 0
    measured: Metrics = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """Return all but the weights as plain values, for a checkpoint."""
        return {
            "step": self.step,
            "score": list(self.score),
            "num_since": self.num_since,
            "measured": self.measured,
        }

    def load(self, state: dict[str, Any], weights: dict[str, Tensor]) -> None:
        """Put back what `state` returned, and the weights."""
        self.step, self.num_since = state["step"], state["num_since"]
        self.score, self.measured = tuple(state["score"]), state["measured"]
        self.weights = weights


def is_over(best: Best, watch: Watch | None) -> bool:
    """Tell whether the training has lost its patience."""
    return watch is not None and 0 < watch.patience <= best.num_since


def observe(best: Best, watch: Watch, *, step: int, weights: dict[str, Tensor]) -> Metrics:
    """Measure after `step` steps; remember the weights where they are the best so far."""
    measured = watch.measure()
    score = watch.score(measured)
    if best.step is None or score > best.score:
        kept = {name: weight.detach().clone() for name, weight in weights.items()}
        best.load(
            {"step": step, "score": score, "num_since": 0, "measured": measured},
            kept if watch.patience else {},
        )
    else:
        best.num_since += 1
    return measured
