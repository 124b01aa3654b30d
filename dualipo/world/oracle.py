"""Scores a clip against its caption from pixels: the world's stand-in for "what is really so".

METHOD.md section 2 names the three dimensions. The oracle reports to people and feeds the
simulated annotators; no training, trigger, stop or selection reads it (ARCHITECTURE.md). Its
definition was fixed by a-priori tests on clean, spoiled and wrongly captioned clips only.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from dualipo.errors import DataError
from dualipo.records import DIMENSIONS, Dimension
from dualipo.world.captions import read
from dualipo.world.measurement import Measurement, ThingSeen, measure
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
    Motion,
    Scene,
    Thing,
)


@dataclass(frozen=True, slots=True)
class OracleScore:
    """One clip's scores, each in [0, 1]."""

    consistency: float
    faithfulness: float
    motion: float

    @property
    def total(self) -> float:
        """Mean of the three."""
        return (self.consistency + self.faithfulness + self.motion) / 3


def score(frames_FHW3: np.ndarray, caption: str) -> OracleScore:
    """Measure a clip, uint8 [F, 32, 32, 3], and score it against its caption."""
    return score_measurement(measure(frames_FHW3), asked_scene(caption))


def asked_scene(caption: str) -> Scene:
    """The scene a caption asks for; DataError where the grammar cannot read it."""
    scene = read(caption)
    if scene is None:
        raise DataError(
            f"caption {caption[:80]!r}: not in the embedded world's grammar, so the oracle cannot "
            'measure it. Use prompts.source = "world", or another evaluation.'
        )
    return scene


def score_measurement(measurement: Measurement, scene: Scene) -> OracleScore:
    """Score what was seen against what was asked."""
    return OracleScore(*(combine(parts(measurement, scene, d)) for d in DIMENSIONS))


def parts(measurement: Measurement, scene: Scene, dimension: Dimension) -> dict[str, float]:
    """The soft parts of one dimension, each in [0, 1], by name; none where nothing was seen.

    The names of faithfulness are the defects', a part of several things is the worst thing's.
    """
    if dimension == "consistency":
        return _consistency(measurement, scene)
    if dimension == "faithfulness":
        of_things = [keeps(thing) for thing in measurement.things]
        stray = {"stray": _ramp(measurement.stray, 0.4, 0.1)} if of_things else {}
        return stray | _worst(of_things)
    moving = [thing for thing in measurement.things if len(thing.path.step_S)]
    return _worst([_moves(thing, scene.motion) for thing in moving])


def combine(parts: dict[str, float]) -> float:
    """One score from the parts: half their mean, half the worst of them.

    A single grave fault costs more than half, and a clip with several still tells more from less.
    """
    if not parts:
        return 0.0
    values = list(parts.values())
    return float(0.5 * np.mean(values) + 0.5 * min(values))


def _worst(of_things: list[dict[str, float]]) -> dict[str, float]:
    names = of_things[0] if of_things else ()
    return {name: min(each[name] for each in of_things) for name in names}


def _ramp(value: float | np.floating, bad: float, good: float) -> float:
    """0 at `bad`, 1 at `good`, linear between them."""
    return float(np.clip((value - bad) / (good - bad), 0.0, 1.0))


# Consistency: does the clip show the caption's things?


def _consistency(measurement: Measurement, scene: Scene) -> dict[str, float]:
    number = 1.0 - min(1.0, abs(len(measurement.things) - len(scene.things)))
    matched = match(measurement.things, scene.things)
    background = _background(measurement.background_3, scene.background)
    found = {"background": background, "number": number}
    for index, (seen, asked) in enumerate(zip(matched, scene.things, strict=True)):
        found[f"colour {index}"] = _colour(seen, asked)
        found[f"shape {index}"] = _shape(seen, asked)
    if scene.relation is None:
        found["size"] = _size(matched[0], scene.things[0])
    else:
        found["relation"] = _relation(matched, RELATIONS[scene.relation])
    return found


def _background(seen_3: np.ndarray, asked: Background) -> float:
    """Near the asked background, and nearer to it than to any other."""
    apart = {name: float(np.linalg.norm(seen_3 - colour)) for name, colour in BACKGROUNDS.items()}
    other = min(distance for name, distance in apart.items() if name != asked)
    return min(_ramp(other / (other + apart[asked]), 0.35, 0.65), _ramp(apart[asked], 100.0, 40.0))


def match(things: tuple[ThingSeen, ...], asked: tuple[Thing, ...]) -> tuple[ThingSeen | None, ...]:
    """Choose which thing seen stands for which thing asked, None where there are too few."""
    options = [*things[:4], *[None] * len(asked)]

    def agreement(chosen: tuple[ThingSeen | None, ...]) -> float:
        return sum(
            2 * _colour(seen, thing) + _shape(seen, thing) + 0.1 * (seen is not None)
            for seen, thing in zip(chosen, asked, strict=True)
        )

    return max(permutations(options, len(asked)), key=agreement)


def _colour(seen: ThingSeen | None, asked: Thing) -> float:
    if seen is None:
        return 0.0
    share_F = seen.colour_F6[seen.seen_F, tuple(COLOURS).index(asked.colour)]
    return _ramp(share_F.mean(), 0.1, 0.9)


def _shape(seen: ThingSeen | None, asked: Thing) -> float:
    if seen is None:
        return 0.0
    return _ramp(seen.shape_F3[seen.seen_F, SHAPES.index(asked.shape)].mean(), 0.05, 0.9)


def _size(seen: ThingSeen | None, asked: Thing) -> float:
    return _ramp(abs(np.log(seen.radius / SIZES[asked.size])), 0.4, 0.18) if seen else 0.0


def _relation(matched: tuple[ThingSeen | None, ...], axis: tuple[int, int]) -> float:
    first, second = matched
    if first is None or second is None:
        return 0.0
    first_2, second_2 = (each.centre_F2[each.seen_F].mean(axis=0) for each in (first, second))
    apart_2 = first_2 - second_2
    return _ramp(apart_2 @ np.asarray(axis) / max(float(np.linalg.norm(apart_2)), 1e-6), 0.5, 0.9)


# Faithfulness: is each thing solid, sharp, and the same thing in every frame?


def keeps(thing: ThingSeen) -> dict[str, float]:
    """What a thing keeps over the frames, by the defect that would break it: each in [0, 1]."""
    seen_F = thing.seen_F
    opacity_F = thing.opacity_F
    return {
        "morph": _ramp(_largest_change(thing.shape_F3[seen_F]), 0.7, 0.2),
        "recolour": _ramp(_largest_change(thing.colour_F6[seen_F]), 0.6, 0.15),
        "pulse": _ramp(np.log(thing.radius_F[seen_F]).std(), 0.16, 0.06),
        "flicker": _ramp(np.abs(np.diff(opacity_F)).mean(), 0.35, 0.15),
        "vanish": float(seen_F.mean() ** 3),
        "smear": _sharpness(thing),
    }


def _sharpness(thing: ThingSeen) -> float:
    """The worst of: opaque, crisp at the edge, of some shape at all."""
    opaque = _ramp(np.quantile(thing.opacity_F[thing.seen_F], 0.75), 0.4, 0.85)
    crisp = _ramp(np.median(thing.softness_F[thing.seen_F]), 4.0, 2.4)
    formed = _ramp(thing.overlap_F[thing.seen_F].mean(), 0.7, 0.85)
    return min(opaque, crisp, formed)


def _largest_change(share_FK: np.ndarray) -> float:
    """Largest total variation between the mean before and the mean after a moment."""
    changes = [
        0.5 * float(np.abs(share_FK[:f].mean(axis=0) - share_FK[f:].mean(axis=0)).sum())
        for f in range(1, len(share_FK))
    ]
    return max(changes, default=0.0)


# Motion: smooth, never frozen, at the asked speed in the asked direction?


def _moves(thing: ThingSeen, asked: Motion) -> dict[str, float]:
    path = thing.path
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
    still = (path.step_S < 0.35 * slowest / (len(thing.seen_F) - 1)).mean()
    way = _ramp(towards, 0.5, 0.9)
    return smooth | {"way": way, "travel": travel, "kind": kind, "freeze": _ramp(still, 0.5, 0.15)}


def _within(travelled: float, asked: tuple[float, float]) -> float:
    """1 inside the asked range and 15 % around it, 0 from 3 pixels further."""
    low, high = 0.85 * asked[0], 1.15 * asked[1]
    return _ramp(max(low - travelled, travelled - high, 0.0), 3.0, 0.0)
