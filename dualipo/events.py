"""What a unit of work reports: one frozen class for each event that a run's ledger can hold.

A stage commits events with its unit (`rounds/`); the report, the summary and the dashboard read
them (`evaluation/`). `event_names` maps the name under which an event is stored to its class. A
`ClockEvent` carries its stage in its name ("clock.align"). The stored form is `event_json`'s.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from dualipo.event_json import Inline, InName, Omitted, Whole
from dualipo.event_parts import (
    Accuracy,
    CaptionTrial,
    CategoryScore,
    CheckRow,
    LeftOut,
    Measurement,
    Refinement,
    ReliabilityBin,
    Signals,
    Words,
)
from dualipo.records import Dimension

Outcome = Literal["not needed", "off", "empty", "too few", "refreshed", "reverted"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """The base of all events; equal events are stored as equal bytes."""


@dataclass(frozen=True, kw_only=True)
class ClockEvent(Event):
    """The cost of a unit: seconds, the process' peak memory so far, and where a worker did it.

    `num_devices` were held all the while. No digest reads it.
    """

    stage: InName[str]
    seconds: float
    peak_mb: float
    device: Omitted[str | None] = None
    host: Omitted[str | None] = None
    num_devices: Omitted[int | None] = None


# Before round 0


@dataclass(frozen=True, kw_only=True)
class SeedEvent(Event):
    """The label set that was taken as the seed; `excluded` counts labels by why they were left."""

    num_pairs: int
    num_points: int
    sources: dict[str, int]
    excluded: dict[str, int]
    agreement: float | None


@dataclass(frozen=True, kw_only=True)
class RewriteEvent(Event):
    """Traces that a language model reworded, counted by what became of them."""

    fates: Whole[dict[str, int]]


@dataclass(frozen=True, kw_only=True)
class LeftOutEvent(Event):
    """What a unit dropped, folded or cut, by reason (`left_out.py`)."""

    kinds: Whole[dict[str, LeftOut]]


@dataclass(frozen=True, kw_only=True)
class WarmStartSftEvent(Event):
    """The critic's fine-tuning on the seed: how many traces it saw."""

    num_traces: int


@dataclass(frozen=True, kw_only=True)
class WarmStartDpoEvent(Event):
    """The critic's training on its own traces: how many pairs of them it saw."""

    num_pairs: int


@dataclass(frozen=True, kw_only=True)
class WarmStartEvent(Event):
    """The warm start's accuracy, stage by stage, beside that of each simulated annotator."""

    shipped: Accuracy
    sft: Accuracy
    warm: Accuracy
    annotators: dict[str, float | None]
    num_traces: int
    num_pairs: int


@dataclass(frozen=True, kw_only=True)
class ScoreScaleEvent(Event):
    """The mean and spread of a score file's scores, as the run keeps them from its first round."""

    middle: dict[Dimension, float]
    spread: dict[Dimension, float]


@dataclass(frozen=True, kw_only=True)
class EncodeRealEvent(Event):
    """The real clips that were encoded, and how many had to be skipped."""

    num: int
    num_skipped: int


@dataclass(frozen=True, kw_only=True)
class EncodeRealDrawnEvent(Event):
    """The rows of the clip table that a shard took, and those that it skipped with the reason."""

    used: list[int]
    skipped: list[tuple[int, str]]


@dataclass(frozen=True, kw_only=True)
class TuneEvent(Event):
    """The start of a tuning: the preferences that it learns from, and its validation prompts.

    `sources` counts labels by who made them; `items_hash` names the pairs or clips learned from.
    """

    preferences: str
    sources: dict[str, int]
    items_hash: str
    captions: list[str]


# A round's clips


@dataclass(frozen=True, kw_only=True)
class PromptsEvent(Event):
    """A round's prompts; `num_folded` counts duplicates, `screened` what was refused, by reason."""

    num: int
    num_folded: int
    screened: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class SampleUnitEvent(Event):
    """One unit of clips: how many were wanted and how many could be used."""

    wanted: int
    made: int


@dataclass(frozen=True, kw_only=True)
class SampleEvent(Event):
    """All clips of a round; a prompt with fewer than two usable clips is dropped."""

    num_clips: int
    num_rejected: int
    num_resampled: int
    num_prompts_dropped: int


@dataclass(frozen=True, kw_only=True)
class BadClipEvent(Event):
    """A clip of the run that is not read again: its file went missing, or cannot be read."""

    clip: str
    is_missing: bool


@dataclass(frozen=True, kw_only=True)
class SampledAgainEvent(Event):
    """A candidate whose clip went bad and was sampled once more; it may be unusable, too."""

    candidate_id: str
    is_usable: bool


# A round's judgements


@dataclass(frozen=True, kw_only=True)
class CriticCheckEvent(Event):
    """The self-checks of a critic version on held-out pairs; older runs do not say on how many."""

    critic_version: str
    passed: bool
    checks: list[CheckRow]
    reliability: list[ReliabilityBin]
    num_pairs: int | None = None


@dataclass(frozen=True, kw_only=True)
class ServedEvent(Event):
    """What a unit met at a served critic, for example unanswered questions, counted by kind."""

    troubles: Whole[dict[str, int]]


@dataclass(frozen=True, kw_only=True)
class CaptionsEvent(Event):
    """Items judged again under a neutral caption: those that seem to talk, and drawn ones.

    Both are None in runs of older versions, which kept other fields.
    """

    suspicious: CaptionTrial | None = None
    ordinary: CaptionTrial | None = None


@dataclass(frozen=True, kw_only=True)
class ScoreEvent(Event):
    """A round's pointwise votes; `num_short` counts clips with fewer frames than the critic needs.

    `position_bias` is None, as one clip has no position, and `categories` where captions have none.
    """

    num_votes: int
    abstain_rate: float
    position_bias: float | None
    num_short: int | None = None
    short_video: str | None = None
    categories: Omitted[dict[str, CategoryScore] | None] = None


@dataclass(frozen=True, kw_only=True)
class ConfirmEvent(Event):
    """A round's pairwise votes; the means run over contests and dimensions.

    `position_bias` is the share of readable votes for the clip shown first, less a half.
    """

    num_votes: int
    abstain_rate: float
    position_bias: float | None
    mean_vote_share: float | None = None
    mean_entropy: float | None = None
    mean_order_agreement: float | None = None


@dataclass(frozen=True, kw_only=True)
class PreferEvent(Event):
    """A round's preferences: how many prompts were kept, and how many dropped, by reason.

    With Diffusion-KTO the counts are of clips: `of` is "clips" and `num_prompts` counts clips.
    """

    num_prompts: int
    kept: int
    dropped: dict[str, int]
    certainty: list[float]
    mean_vote_share: float | None
    of: Omitted[str | None] = None
    num_desirable: Omitted[int | None] = None


@dataclass(frozen=True, kw_only=True)
class WordsEvent(Event):
    """A few judged pairs of a round, for the report."""

    pairs: Whole[list[Words]]


# A round's training and what it is measured by


@dataclass(frozen=True, kw_only=True)
class AlignEvent(Event):
    """An attempt's alignment: the generator it made, the critic it learnt from, its last numbers.

    A number is None where the last step had none, for example KTO's winner gap. `best_step` counts
    the steps of the weights where `align.patience` chose them; `holdout_accuracy` is then theirs.
    """

    num_steps: int
    generator_version: str
    critic_version: str
    implicit_accuracy: Omitted[float | None] = None
    winner_gap: Omitted[float | None] = None
    loser_gap: Omitted[float | None] = None
    z_std: Omitted[float | None] = None
    holdout_accuracy: Omitted[float | None] = None
    best_step: Omitted[int | None] = None


@dataclass(frozen=True, kw_only=True)
class CurveEvent(Event):
    """The part of an alignment's curve that triggers read, which `metrics.jsonl` might lose.

    `implicit_accuracy` is the mean of the last ten steps, `winner_gap_trend` a slope per step.
    """

    implicit_accuracy: float | None
    winner_gap_trend: float


@dataclass(frozen=True, kw_only=True)
class MonitorEvent(Event):
    """An attempt's signals, why they call for a refresh, and why they would end the run."""

    signals: Inline[Signals]
    triggers: list[str]
    stop: list[str]
    winner_gap: float | None


@dataclass(frozen=True, kw_only=True)
class HoldoutEvent(Event):
    """A critic version's accuracy on the seed's held-out labels; None where it answered none."""

    critic_version: str
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class RefreshEvent(Event):
    """How an attempt's refresh ended and why there was one; `critic_version` serves afterwards.

    "empty" had no certain judgement, and `refinement` is None for "not needed" and "off".
    """

    outcome: Outcome
    why: list[str]
    critic_version: str
    refinement: Inline[Refinement | None] = None


@dataclass(frozen=True, kw_only=True)
class MeasuredEvent(Event):
    """What one source measured of a generator version, with what is wrong in words (`alarms`).

    `source` is "pixels", "judge:NAME", "vbench", "people" or "oracle" (`evaluation/measured.py`).
    `by_prompt` holds each prompt's values by the measurement's name, for paired intervals.
    """

    source: str
    version: str
    measurements: list[Measurement]
    alarms: list[str]
    by_prompt: Omitted[dict[str, dict[str, list[float]]] | None] = None


@dataclass(frozen=True, kw_only=True)
class ScoresEvent(Event):
    """The oracle's scores of a version's test clips, a row for each clip, for people only."""

    prompt_ids: list[str]
    captions: list[str]
    parts: dict[Dimension, list[float]]
    total: list[float]


@dataclass(frozen=True, kw_only=True)
class GalleryEvent(Event):
    """The test clips that the report shows, with their captions."""

    captions: list[str]
    clips: list[str]


@dataclass(frozen=True, kw_only=True)
class CriticAccuracyEvent(Event):
    """The accuracy of the critic that judged a round, for people only."""

    critic_version: str
    accuracy: Inline[Accuracy]


@dataclass(frozen=True, kw_only=True)
class KeepBestEvent(Event):
    """The earlier round whose generator serves and is gone on from; -1 stands for the base."""

    round: int
    generator_version: str


@dataclass(frozen=True, kw_only=True)
class EndedEvent(Event):
    """The reason why a run ended in a round that could not go on; the last generator serves."""

    why: str


@dataclass(frozen=True, kw_only=True)
class SettingsEvent(Event):
    """Settings that were changed on resume, by key, and the round from which they hold."""

    from_round: int
    before: dict[str, Any]
    now: dict[str, Any]


Recorded = TypeVar("Recorded", bound=Event)
