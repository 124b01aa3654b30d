"""Three simulated annotators, who see with noise, overlook faults, and say why they judge so.

Each is a pure function of (annotator, seed, clip, caption, dimension): a clip is perceived once,
as a score and as a view, and grade, verdict and reason follow from that one perception. So a
verdict never contradicts the grades, and swapping A and B swaps the verdict. Their labels carry
`source = "simulated"` (METHOD.md section 2; ARCHITECTURE.md, "the world is honest").
"""

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from dualipo.records import Dimension, Grade, Pair, Point, Prompt, Verdict
from dualipo.seeds import derive
from dualipo.world.clips import FRAME_SIZE
from dualipo.world.descriptions import describe
from dualipo.world.measurement import Measurement, SeenFigure
from dualipo.world.oracle import asked_scene, combine, parts
from dualipo.world.scenes import Scene
from dualipo.world.views import View, view_of_measurement


@dataclass(frozen=True, slots=True)
class Annotator:
    """An annotator's errors.

    `noise` is the standard deviation of a perceived score. `careless` is the chance of looking
    at a dimension without seeing anything wrong, `blind` the chance of missing one kind of fault
    (a defect's name, or "size" or "background"), `mirrors` that of confusing left and right.
    A clip perceived at `good` is Good, under `normal` Bad; a smaller gap than `tie` is a tie.
    """

    name: str
    noise: float
    careless: float
    blind: tuple[tuple[str, float], ...]
    mirrors: float
    good: float
    normal: float
    tie: float


ANNOTATORS = (
    Annotator("ada", 0.05, 0.04, (("flicker", 0.6), ("pulse", 0.6)), 0.0, 0.75, 0.45, 0.08),
    Annotator("ben", 0.04, 0.05, (("size", 0.6), ("background", 0.5)), 0.0, 0.65, 0.4, 0.1),
    Annotator("eve", 0.06, 0.08, (("freeze", 0.3),), 0.2, 0.8, 0.5, 0.06),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A clip that is shown to an annotator: its content hash, and what can be seen in it."""

    video: str
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class Perception:
    """An annotator's opinion of one clip in one dimension."""

    score: float
    grade: Grade
    reason: str


def label_point(
    annotator: Annotator, *, seed: int, prompt: Prompt, clip: Shown, dimension: Dimension
) -> Point:
    """Grade one clip: Good, Normal or Bad, with the reason."""
    seen = perceive(annotator, seed=seed, prompt=prompt, clip=clip, dimension=dimension)
    return Point(
        point_id=_identity(annotator, seed, prompt, clip.video, dimension),
        prompt_id=prompt.prompt_id,
        prompt=prompt.caption,
        video=clip.video,
        dimension=dimension,
        grade=seen.grade,
        source="simulated",
        annotator_or_critic_version=annotator.name,
        rationale=seen.reason,
    )


def label_pair(
    annotator: Annotator,
    *,
    seed: int,
    prompt: Prompt,
    clip_a: Shown,
    clip_b: Shown,
    dimension: Dimension,
) -> Pair:
    """Compare two clips of one caption: A, B or tie, with grades and reasons for both."""
    a, b = (
        perceive(annotator, seed=seed, prompt=prompt, clip=clip, dimension=dimension)
        for clip in (clip_a, clip_b)
    )
    return Pair(
        pair_id=_identity(annotator, seed, prompt, clip_a.video, clip_b.video, dimension),
        prompt_id=prompt.prompt_id,
        prompt=prompt.caption,
        video_a=clip_a.video,
        video_b=clip_b.video,
        dimension=dimension,
        verdict=_verdict(annotator, a, b),
        source="simulated",
        annotator_or_critic_version=annotator.name,
        rationale=f"A: {a.reason} B: {b.reason}",
        reason_a=a.reason,
        reason_b=b.reason,
        grade_a=a.grade,
        grade_b=b.grade,
    )


def perceive(
    annotator: Annotator, *, seed: int, prompt: Prompt, clip: Shown, dimension: Dimension
) -> Perception:
    """Look at one dimension of a clip; return the perceived score, its grade, and the reason."""
    rng = np.random.default_rng(
        derive("annotator", annotator.name, seed, prompt.prompt_id, clip.video, dimension)
    )
    asked, measurement = asked_scene(prompt.caption), clip.measurement
    if rng.random() < annotator.mirrors:
        measurement = _mirror(measurement)
    missed = {kind for kind, chance in annotator.blind if rng.random() < chance}
    careless = rng.random() < annotator.careless
    true_parts = parts(measurement, asked, dimension)
    noticed = {n: 1.0 if careless or n in missed else value for n, value in true_parts.items()}
    score = combine(noticed) + rng.normal(0.0, annotator.noise)
    score = float(np.clip(score, 0.0, 1.0))
    view = view_of_measurement(measurement)
    view = _as_asked(asked) if careless and view.figures else _without(view, missed, asked)
    reason = describe(view, dimension, asked=asked, parts=noticed)
    return Perception(score, _grade(annotator, score), reason)


def _mirror(measurement: Measurement) -> Measurement:
    """Return the measurement that somebody makes who confuses left and right."""
    flip_2, edge_2 = np.asarray([-1.0, 1.0]), np.asarray([FRAME_SIZE - 1.0, 0.0])

    def mirrored(figure: SeenFigure) -> SeenFigure:
        return replace(figure, centre_F2=edge_2 + figure.centre_F2 * flip_2)

    return replace(measurement, figures=tuple(mirrored(figure) for figure in measurement.figures))


def _as_asked(asked: Scene) -> View:
    """Return the view of somebody who notices no difference from the caption."""
    return View(asked.figures, asked.background, asked.motion, asked.relation)


def _without(view: View, missed: set[str], asked: Scene) -> View:
    """Return the view with what the annotator overlooks as the caption asks for it."""
    if "background" in missed:
        view = replace(view, background=asked.background)
    if "size" in missed and len(view.figures) == len(asked.figures) == 1:
        view = replace(view, figures=(replace(view.figures[0], size=asked.figures[0].size),))
    return view


def _grade(annotator: Annotator, score: float) -> Grade:
    if score >= annotator.good:
        return "good"
    return "normal" if score >= annotator.normal else "bad"


def _verdict(annotator: Annotator, a: Perception, b: Perception) -> Verdict:
    if a.grade == b.grade and abs(a.score - b.score) < annotator.tie:
        return "tie"
    return "a" if a.score > b.score else "b"


def _identity(annotator: Annotator, seed: int, prompt: Prompt, *rest: str) -> str:
    name = "\0".join((annotator.name, str(seed), prompt.prompt_id, *rest))
    return hashlib.sha256(name.encode()).hexdigest()[:16]
