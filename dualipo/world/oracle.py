"""Scores a clip against its caption from pixels: the world's stand-in for "what is really so".

METHOD.md section 2 names the three dimensions. The oracle reports to people and feeds the
simulated annotators; no training, trigger, stop or selection reads it (ARCHITECTURE.md). Its
definition was fixed by a-priori tests on clean, spoiled and wrongly captioned clips only.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from dualipo.errors import DataError
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
    Motion,
    Scene,
    Thing,
)

WRONG_ATTRIBUTE = 0.35  # what one wholly wrong attribute of the caption leaves of consistency
FAULT = 0.15  # what one grave fault leaves of faithfulness or motion


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
            "measure it. Use prompts.source = \"world\", or another evaluation."
        )
    return scene


def score_measurement(measurement: Measurement, scene: Scene) -> OracleScore:
    """Score what was seen against what was asked."""
    return OracleScore(
        consistency=_consistency(measurement, scene),
        faithfulness=_faithfulness(measurement),
        motion=_motion(measurement, scene.motion),
    )


def _ramp(value: float | np.floating, bad: float, good: float) -> float:
    """0 at `bad`, 1 at `good`, linear between them."""
    return float(np.clip((value - bad) / (good - bad), 0.0, 1.0))


def _product(parts: list[float], *, floor: float) -> float:
    return float(np.prod([floor + (1 - floor) * part for part in parts]))


# Consistency: does the clip show the caption's things?


def _consistency(measurement: Measurement, scene: Scene) -> float:
    apart = float(np.linalg.norm(measurement.background_3 - BACKGROUNDS[scene.background]))
    number = 1.0 - min(1.0, abs(len(measurement.things) - len(scene.things)))
    matched = _match(measurement.things, scene.things)
    parts = [_ramp(apart, 85.0, 25.0), number]
    parts += [_colour(seen, asked) for seen, asked in zip(matched, scene.things, strict=True)]
    parts += [_shape(seen, asked) for seen, asked in zip(matched, scene.things, strict=True)]
    if scene.relation is None:
        parts.append(_size(matched[0], scene.things[0]))
    else:
        parts.append(_relation(matched, RELATIONS[scene.relation]))
    return _product(parts, floor=WRONG_ATTRIBUTE)


def _match(things: tuple[ThingSeen, ...], asked: tuple[Thing, ...]) -> tuple[ThingSeen | None, ...]:
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


def _faithfulness(measurement: Measurement) -> float:
    if not measurement.things:
        return 0.0
    whole = _ramp(measurement.stray, 0.4, 0.1)
    return min(
        _product([whole, *keeps(thing).values()], floor=FAULT) for thing in measurement.things
    )


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


def _motion(measurement: Measurement, asked: Motion) -> float:
    moving = [thing for thing in measurement.things if len(thing.path.step_S)]
    return min(
        (_product(_motion_parts(thing, asked), floor=FAULT) for thing in moving), default=0.0
    )


def _motion_parts(thing: ThingSeen, asked: Motion) -> list[float]:
    path = thing.path
    straight, bounce = float(np.linalg.norm(path.straight_2)), float(np.linalg.norm(path.bounce_2))
    smooth = _ramp(path.residual, 1.2, 0.35)
    if asked.kind == "rest" or asked.direction is None:
        return [smooth, _ramp(max(straight, bounce), 4.0, 1.2)]
    along_2 = np.asarray(DIRECTIONS[asked.direction], float)
    if asked.kind == "bounce":
        towards = abs(float(path.bounce_2 @ along_2)) / max(bounce, 1e-6)
        moves = [_within(bounce, BOUNCE_TRAVEL), _ramp(straight, 6.0, 2.0)]
        slowest = 2 * BOUNCE_TRAVEL[0]
    else:
        assert asked.speed is not None
        towards = float(path.straight_2 @ along_2) / max(straight, 1e-6)
        moves = [_within(straight, TRAVEL[asked.speed]), _ramp(bounce, 6.0, 2.0)]
        slowest = TRAVEL[asked.speed][0]
    moving = _ramp((path.step_S < 0.35 * slowest / (len(thing.seen_F) - 1)).mean(), 0.5, 0.15)
    return [smooth, _ramp(towards, 0.5, 0.9), *moves, moving]


def _within(travelled: float, asked: tuple[float, float]) -> float:
    """1 inside the asked range and 15 % around it, 0 from 3 pixels further."""
    low, high = 0.85 * asked[0], 1.15 * asked[1]
    return _ramp(max(low - travelled, travelled - high, 0.0), 3.0, 0.0)
