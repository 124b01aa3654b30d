"""What a source of labelled pairs returns, and how right its pairs are by fresh labels."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dualipo.critic.asks import Clips
from dualipo.critic.learning.damages import Damaged
from dualipo.records import Pair, Verdict
from dualipo.rounds import world_sources
from dualipo.rounds.questions import PairQuestion
from dualipo.rounds.run import Run


@dataclass(frozen=True)
class Found:
    """The pairs of a source; `damaged` says what those of their clips are that have no file."""

    pairs: list[Pair] = field(default_factory=list)
    damaged: dict[str, Damaged] = field(default_factory=dict)


@dataclass(frozen=True)
class Precision:
    """How many pairs were labelled A or B, and how many of these labels agree with the source."""

    num_labelled: int
    num_right: int

    @property
    def share(self) -> float | None:
        """The share that is right; None where nothing was labelled."""
        return self.num_right / self.num_labelled if self.num_labelled else None


def precision(
    run: Run, asked: Sequence[tuple[PairQuestion, Verdict]], *, clips: Clips, name: str
) -> Precision:
    """Ask the annotators about some of a source's pairs, as many as an audit has labels.

    Only the embedded world has annotators that can be asked at any time: elsewhere nothing is
    labelled. Ties say nothing.
    """
    num = run.config.monitor.num_audit_labels
    if run.config.prompts.source != "world" or not num or not asked:
        return Precision(0, 0)
    step = max(1, len(asked) // num)
    chosen = asked[::step][:num]
    labels = world_sources.label_pairs(
        [question for question, _ in chosen], clips=clips, seed=run.seed("precision", name)
    )
    decided = [
        label.verdict == verdict
        for label, (_, verdict) in zip(labels, chosen, strict=True)
        if label.verdict in ("a", "b")
    ]
    return Precision(len(decided), sum(decided))
