"""The records that events hold (`events`): accuracies, signals, checks, and what a refresh used."""

from dataclasses import dataclass
from typing import Literal

from dualipo.event_json import Omitted
from dualipo.records import Dimension, Order, Verdict


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """A critic on pairs that the oracle orders, for people only.

    `num_correct_forced` counts a pair without a lean as a half. In free form an abstention is
    wrong.
    """

    forced_choice: float | None
    free_form: float | None
    num: int
    num_correct_forced: float
    abstain_rate: float
    by_dimension: dict[Dimension, float | None]


@dataclass(frozen=True, kw_only=True)
class CategoryScore:
    """The critic's mean expected score of a category's clips, over clips and dimensions."""

    num_prompts: int
    mean: float | None


@dataclass(frozen=True, kw_only=True)
class CaptionTrial:
    """Items judged again under a neutral caption, and those of them with a verdict that turned.

    `num_verdicts` counts the verdicts that have a leading answer under both captions.
    """

    tried: list[str]
    turned: list[str]
    num_verdicts: int
    num_turned: int


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """How many things were left out for one reason, and the first of them."""

    num: int
    examples: list[str]


@dataclass(frozen=True, kw_only=True)
class CheckRow:
    """One self-check: `number` must be at least, or else at most, `threshold`."""

    name: str
    number: float | None
    threshold: float
    at_least: bool
    what: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Pairs whose certainty lies between `low` and `high`, and how often the critic was right."""

    low: float
    high: float
    num: int
    mean_probability: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Words:
    """A judged pair with some of the critic's reasoning about it.

    `votes` counts its answers; a reasoning has its `orders`: in "ba" its A was clip B. Both are
    None in runs of older versions.
    """

    caption: str
    clip_a: str
    clip_b: str
    dimension: Dimension
    question: str
    verdict: Verdict
    certainty: float
    reasonings: list[str]
    votes: Omitted[dict[str, int] | None] = None
    orders: Omitted[list[Order] | None] = None


@dataclass(frozen=True, slots=True)
class Signals:
    """What one round was measured by; None where it was not measured.

    Accuracies and shares lie in [0, 1]. `win_rate` is the critic's, new generator against the
    round before on monitor prompts, of which `num_win_rate_prompts` had an answer.
    `winner_gap_trend` is the winner gap's slope over the round's
    steps (`evaluation.signals.trend`). `dynamics_drop` is the fall of the clips' dynamic degree
    against the base, as a share of the base's; 0 where none is shown.
    """

    holdout_accuracy: float | None = None
    audit_accuracy: float | None = None
    win_rate: float | None = None
    mean_vote_share: float | None = None
    implicit_accuracy: float | None = None
    winner_gap_trend: float | None = None
    evaluation_total: float | None = None
    num_win_rate_prompts: Omitted[int | None] = None
    dynamics_drop: Omitted[float | None] = None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number about a generator version: its own, or its change `against` another version.

    `low` and `high` are the ends of a 95 % interval over `num_prompts` prompts. `value` is None
    where nothing could be measured, which is never a zero; `why` then says the reason.
    """

    name: str
    value: float | None
    num_prompts: int
    low: Omitted[float | None] = None
    high: Omitted[float | None] = None
    dimension: Omitted[str | None] = None
    against: Omitted[str | None] = None
    why: Omitted[str | None] = None


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The comparison of a refreshed critic with the one before it, on which the refresh decided.

    `labels` says whose clips were labelled: the present generator's ("audit") or the base's ("held
    out"). Accuracies are shares of 1, `loss` is in nats a label. The ends are those of the
    difference, after less before, in which the gate believes. `detectable` is the fall of accuracy
    that these labels show in four of five cases, `margin` the one that they should show.
    """

    verdict: Literal["better", "no difference", "worse"]
    labels: Literal["audit", "held out"]
    num_labels: int
    num_prompts: int
    accuracy_before: float
    accuracy_after: float
    accuracy_low: float
    accuracy_high: float
    loss: float
    loss_low: float
    loss_high: float
    detectable: float
    margin: float


@dataclass(frozen=True, kw_only=True)
class SuiteDimension:
    """A suite's raw score of a version in one dimension, over all clips that were planned for it.

    `failed` names clips without a result, each of which counts as zero, and `left_out` those that
    color does not count. `raw` is None where the dimension could not be scored at all; `why` then
    says the reason.
    """

    dimension: str
    raw: float | None
    num_scored: int
    num_planned: int
    failed: list[str]
    why: Omitted[str | None] = None
    left_out: Omitted[list[str] | None] = None


@dataclass(frozen=True, kw_only=True)
class SourceCount:
    """The pairs that a source gave to a refresh, and how right they are by some fresh labels.

    `num_labelled` counts labels for A or B; `precision` is the share that agrees, None without any.
    """

    name: str
    num_pairs: int
    num_labelled: int
    precision: float | None


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """What SRPO used and made; `holdout_after` is None where nothing was trained.

    `dropped` counts judgements by why they were not used, `newly_failed` names the self-checks
    that the old critic passed and the new one does not. `gate` is None where nothing was trained,
    or where there are labels of too few prompts to compare by. `best_step` counts the steps of the
    weights where held-out labels chose among checkpoints.
    """

    num_judged: int
    num_kept: int
    dropped: dict[str, int]
    mean_pce: float | None
    holdout_before: float | None
    holdout_after: float | None
    newly_failed: Omitted[list[str] | None] = None
    gate: Omitted[Gate | None] = None
    sources: Omitted[list[SourceCount] | None] = None
    best_step: Omitted[int | None] = None
