"""The records that flow between stages, and the words the field uses for them.

Every record is a frozen dataclass of plain values, so that it goes unchanged into the ledger
(SQLite), a parquet table or JSON. `preferences/` turns records into the formats of other projects,
and no other module spells them a second way.

Source: METHOD.md section 2 (dimensions, label formats) and the native record of FORMATS.md.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import permutations
from typing import Literal

SCHEMA_VERSION = 1

# A dimension's name. A run's own are those of its questions (`critic.questions`); these are the
# paper's, which the embedded world's annotators and oracle know.
Dimension = str
DIMENSIONS: tuple[Dimension, ...] = ("consistency", "faithfulness", "motion")
# What a label may be about. The critic is never asked "overall".
OVERALL = "overall"
LabelledDimension = str
LABELLED_DIMENSIONS: tuple[LabelledDimension, ...] = (*DIMENSIONS, OVERALL)
DIMENSION_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")

Verdict = Literal["a", "b", "tie", "abstain"]
VERDICTS: tuple[Verdict, ...] = ("a", "b", "tie")
Grade = Literal["good", "normal", "bad"]
GRADES: tuple[Grade, ...] = ("good", "normal", "bad")
Source = Literal["human", "simulated", "critic"]
Order = Literal["ab", "ba"]

# LiFT's map from grade to score (METHOD.md 3.4).
GRADE_SCORES: dict[Grade, float] = {"good": 0.9, "normal": 0.2, "bad": 0.05}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A caption to make clips for; `multiplicity` is how often the list of captions had it.

    `category` is "" where the list has no categories.
    """

    prompt_id: str
    caption: str
    multiplicity: int = 1
    category: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One sampled clip of a prompt: `clip` is its sha256, `draw` counts resamples (fault 19)."""

    candidate_id: str
    prompt_id: str
    caption: str
    index: int
    draw: int
    seed: int
    clip: str
    generator_version: str
    round: int


@dataclass(frozen=True, slots=True)
class Vote:
    """The outcome of one reasoning path.

    `item` names what was judged: a candidate's id, or a `pair_id`. `outcome` is a
    grade, or a verdict in terms of the item's own A and B: it is already swapped back where `order`
    is "ba". It is "abstain" where the path could not be read. `log_prob` is the sum over the path's
    tokens. A soft vote holds the `probabilities` of all labels in the verdict's place, in the order
    of VERDICTS or GRADES and in terms of the item's own A and B.
    """

    item: str
    dimension: Dimension
    order: Order
    draw: int
    outcome: Verdict | Grade
    log_prob: float
    reasoning: str
    score: float | None = None
    probabilities: tuple[float, ...] | None = field(default=None, metadata={"optional": True})

    @property
    def weights(self) -> dict[str, float]:
        """Return how much the vote counts for each label: its probability, or 1 for the outcome.

        An abstention counts for none.
        """
        if self.outcome == "abstain":
            return {}
        if self.probabilities is None:
            return {self.outcome: 1.0}
        labels = GRADES if self.outcome in GRADES else VERDICTS
        return dict(zip(labels, self.probabilities, strict=True))


@dataclass(frozen=True, slots=True)
class Pair:
    """A pairwise preference between two clips of one caption (the native record of FORMATS.md)."""

    pair_id: str
    prompt_id: str
    prompt: str
    video_a: str
    video_b: str
    dimension: LabelledDimension
    verdict: Verdict
    source: Source
    annotator_or_critic_version: str
    rationale: str = ""
    reason_a: str = ""
    reason_b: str = ""
    grade_a: Grade | None = None
    grade_b: Grade | None = None
    certainty: float = 1.0
    votes_a: int = 0
    votes_b: int = 0
    votes_tie: int = 0
    votes_abstain: int = 0
    order: Order = "ab"
    round: int = -1
    counter: int = 0
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Point:
    """A pointwise label: Good, Normal or Bad for one clip in one dimension, with a written reason.

    The dimension "overall" comes from data sets that grade a clip as a whole, and from labels for
    KTO, which are Good where the clip is desirable and else Bad. The critic is never asked for it.
    """

    point_id: str
    prompt_id: str
    prompt: str
    video: str
    dimension: LabelledDimension
    grade: Grade
    source: Source
    annotator_or_critic_version: str
    rationale: str = ""
    certainty: float = 1.0
    round: int = -1
    counter: int = 0
    schema_version: int = SCHEMA_VERSION


def pair_id(first_id: str, second_id: str) -> str:
    """Return the id of two candidates as a pair. It is only compared, never taken apart again."""
    return f"{first_id}:{second_id}"


def pairs_by_id(candidates: Iterable[Candidate]) -> dict[str, tuple[Candidate, Candidate]]:
    """Return all ordered pairs of two candidates of one prompt, by their `pair_id`."""
    by_prompt: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_prompt.setdefault(candidate.prompt_id, []).append(candidate)
    return {
        pair_id(first.candidate_id, second.candidate_id): (first, second)
        for group in by_prompt.values()
        for first, second in permutations(group, 2)
    }
