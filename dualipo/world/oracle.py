"""The oracle scores a clip against its caption from pixels: the embedded world's ground truth.

METHOD.md section 2 names the three dimensions. The oracle reports to people and feeds the
simulated annotators; no training, trigger, stop or selection reads it (ARCHITECTURE.md). Its
definition was fixed beforehand, by tests on clean, spoiled and wrongly captioned clips only.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from dualipo.errors import DataError
from dualipo.records import DIMENSIONS, Dimension
from dualipo.world.captions import read
from dualipo.world.measurement import Measurement, SeenFigure, measure
from dualipo.world.scenes import (
    BACKGROUNDS,
    BOUNCE_TRAVEL,
    COLOURS,
    DIRECTIONS,
    RELATIONS,
    SHAPES,
    SIZES,
    TRAVEL,
    Background,
    Figure,
    Motion,
    Scene,
)


@dataclass(frozen=True, slots=True)
class OracleScore:
    """One clip's scores, each in [0, 1]."""

    consistency: float
    faithfulness: float
    motion: float

    @property
    def total(self) -> float:
        """The mean of the three scores."""
        return (self.consistency + self.faithfulness + self.motion) / 3


def score(frames_FHW3: np.ndarray, caption: str) -> OracleScore:
    """Measure a clip, uint8 [F, 32, 32, 3], and score it against its caption."""
    return score_measurement(measure(frames_FHW3), asked_scene(caption))


def asked_scene(caption: str) -> Scene:
    """Return the scene that a caption asks for; raise DataError where it is not of the grammar."""
    scene = read(caption)
    if scene is None:
        raise DataError(
            f"caption {caption[:80]!r}: it is not in the embedded world's grammar, so the oracle "
            'cannot score it. Set prompts.source = "world", or choose another evaluation.'
        )
    return scene


def score_measurement(measurement: Measurement, scene: Scene) -> OracleScore:
    """Score a measured clip against the scene that was asked for."""
    return OracleScore(*(combine(parts(measurement, scene, d)) for d in DIMENSIONS))


def parts(measurement: Measurement, scene: Scene, dimension: Dimension) -> dict[str, float]:
    """Return the parts of one dimension's score by name, each in [0, 1]; empty where none is seen.

    Parts of faithfulness are named after the defects. Of several figures the worst one counts.
    """
    if dimension == "consistency":
        return _consistency(measurement, scene)
    if dimension == "faithfulness":
        of_figures = [faithfulness_parts(figure) for figure in measurement.figures]
        stray = {"stray": _ramp(measurement.stray, 0.4, 0.1)} if of_figures else {}
        return stray | _worst(of_figures)
    moving = [figure for figure in measurement.figures if len(figure.path.step_S)]
    return _worst([_motion_parts(figure, scene.motion) for figure in moving])


def combine(parts: dict[str, float]) -> float:
    """Combine the parts into one score: half their mean, half the worst of them.

    A single grave fault costs more than half, and a clip with several still tells more from less.
    """
    if not parts:
        return 0.0
    values = list(parts.values())
    return float(0.5 * np.mean(values) + 0.5 * min(values))


def _worst(of_figures: list[dict[str, float]]) -> dict[str, float]:
    names = of_figures[0] if of_figures else ()
    return {name: min(each[name] for each in of_figures) for name in names}


def _ramp(value: float | np.floating, bad: float, good: float) -> float:
    """Return 0 at `bad`, 1 at `good`, linear between them."""
    return float(np.clip((value - bad) / (good - bad), 0.0, 1.0))


# Consistency: does the clip show the caption's figures?


def _consistency(measurement: Measurement, scene: Scene) -> dict[str, float]:
    number = 1.0 - min(1.0, abs(len(measurement.figures) - len(scene.figures)))
    matched = match(measurement.figures, scene.figures)
    background = _background(measurement.background_3, scene.background)
    scores = {"background": background, "number": number}
    for index, (seen, asked) in enumerate(zip(matched, scene.figures, strict=True)):
        scores[f"colour {index}"] = _colour(seen, asked)
        scores[f"shape {index}"] = _shape(seen, asked)
    if scene.relation is None:
        scores["size"] = _size(matched[0], scene.figures[0])
    else:
        scores["relation"] = _relation(matched, RELATIONS[scene.relation])
    return scores


def _background(seen_3: np.ndarray, asked: Background) -> float:
    """Score how near the background is to the asked one, also in comparison with the others."""
    apart = {name: float(np.linalg.norm(seen_3 - colour)) for name, colour in BACKGROUNDS.items()}
    other = min(distance for name, distance in apart.items() if name != asked)
    return min(_ramp(other / (other + apart[asked]), 0.35, 0.65), _ramp(apart[asked], 100.0, 40.0))


def match(
    figures: tuple[SeenFigure, ...], asked: tuple[Figure, ...]
) -> tuple[SeenFigure | None, ...]:
    """Assign a seen figure to each asked one; None where there are too few."""
    options = [*figures[:4], *[None] * len(asked)]

    def agreement(chosen: tuple[SeenFigure | None, ...]) -> float:
        return sum(
            2 * _colour(seen, figure) + _shape(seen, figure) + 0.1 * (seen is not None)
            for seen, figure in zip(chosen, asked, strict=True)
        )

    return max(permutations(options, len(asked)), key=agreement)


def _colour(seen: SeenFigure | None, asked: Figure) -> float:
    if seen is None:
        return 0.0
    share_F = seen.colour_F6[seen.seen_F, tuple(COLOURS).index(asked.colour)]
    return _ramp(share_F.mean(), 0.1, 0.9)


def _shape(seen: SeenFigure | None, asked: Figure) -> float:
    if seen is None:
        return 0.0
    return _ramp(seen.shape_F3[seen.seen_F, SHAPES.index(asked.shape)].mean(), 0.05, 0.9)


def _size(seen: SeenFigure | None, asked: Figure) -> float:
    return _ramp(abs(np.log(seen.radius / SIZES[asked.size])), 0.4, 0.18) if seen else 0.0


def _relation(matched: tuple[SeenFigure | None, ...], axis: tuple[int, int]) -> float:
    first, second = matched
    if first is None or second is None:
        return 0.0
    first_2, second_2 = (each.centre_F2[each.seen_F].mean(axis=0) for each in (first, second))
    apart_2 = first_2 - second_2
    return _ramp(apart_2 @ np.asarray(axis) / max(float(np.linalg.norm(apart_2)), 1e-6), 0.5, 0.9)


# Faithfulness: is each figure solid, sharp, and the same figure in every frame?


def faithfulness_parts(figure: SeenFigure) -> dict[str, float]:
    """Score how well a figure keeps each property, named by the defect that would break it."""
    seen_F = figure.seen_F
    opacity_F = figure.opacity_F
    return {
        "morph": _ramp(_largest_change(figure.shape_F3[seen_F]), 0.7, 0.2),
        "recolour": _ramp(_largest_change(figure.colour_F6[seen_F]), 0.6, 0.15),
        "pulse": _ramp(np.log(figure.radius_F[seen_F]).std(), 0.16, 0.06),
        "flicker": _ramp(np.abs(np.diff(opacity_F)).mean(), 0.35, 0.15),
        "vanish": float(seen_F.mean() ** 3),
        "smear": _sharpness(figure),
    }


def _sharpness(figure: SeenFigure) -> float:
    """Return the worst of three: opaque, crisp at the edge, like any shape at all."""
    opaque = _ramp(np.quantile(figure.opacity_F[figure.seen_F], 0.75), 0.4, 0.85)
    crisp = _ramp(np.median(figure.softness_F[figure.seen_F]), 4.0, 2.4)
    formed = _ramp(figure.overlap_F[figure.seen_F].mean(), 0.7, 0.85)
    return min(opaque, crisp, formed)


def _largest_change(share_FK: np.ndarray) -> float:
    """Return the largest total variation between the means before and after any frame."""
    changes = [
        0.5 * float(np.abs(share_FK[:f].mean(axis=0) - share_FK[f:].mean(axis=0)).sum())
        for f in range(1, len(share_FK))
    ]
    return max(changes, default=0.0)


# Motion: smooth, never frozen, at the asked speed in the asked direction?


def _motion_parts(figure: SeenFigure, asked: Motion) -> dict[str, float]:
    path = figure.path
    straight = float(np.linalg.norm(path.straight_2))
    bounce = float(np.linalg.norm(path.bounce_2))
    smooth = {"jitter": _ramp(path.residual, 1.2, 0.35)}
    if asked.kind == "rest" or asked.direction is None:
        return smooth | {"rest": _ramp(max(straight, bounce), 4.0, 1.2)}
    along_2 = np.asarray(DIRECTIONS[asked.direction], float)
    if asked.kind == "bounce":
        towards = abs(float(path.bounce_2 @ along_2)) / max(bounce, 1e-6)
        travel, slowest = _within(bounce, BOUNCE_TRAVEL), 2 * BOUNCE_TRAVEL[0]
        kind = _ramp(straight, 6.0, 2.0)
    else:
        assert asked.speed is not None
        towards = float(path.straight_2 @ along_2) / max(straight, 1e-6)
        travel, slowest = _within(straight, TRAVEL[asked.speed]), TRAVEL[asked.speed][0]
        kind = _ramp(bounce, 6.0, 2.0)
    still = (path.step_S < 0.35 * slowest / (len(figure.seen_F) - 1)).mean()
    way = _ramp(towards, 0.5, 0.9)
    return smooth | {"way": way, "travel": travel, "kind": kind, "freeze": _ramp(still, 0.5, 0.15)}


def _within(travelled: float, asked: tuple[float, float]) -> float:
    """Return 1 inside the asked range and 15 % around it, 0 from 3 pixels further."""
    low, high = 0.85 * asked[0], 1.15 * asked[1]
    return _ramp(max(low - travelled, travelled - high, 0.0), 3.0, 0.0)
