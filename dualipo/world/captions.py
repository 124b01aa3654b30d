"""Speaks a scene in words, by a small grammar with paraphrases, and reads the words back.

`speak` draws one of the paraphrases; `read` is its inverse on every caption the grammar can make
and returns None for any other text, so the oracle can say that it cannot measure a caption.
"""

import re

import numpy as np

from dualipo.world.scenes import (
    BACKGROUNDS,
    COLOURS,
    RELATIONS,
    SHAPES,
    Figure,
    Motion,
    Relation,
    Scene,
    pick,
)

SIZE_WORDS = {"small": ("small", "little"), "big": ("big", "large")}
SPEED_WORDS = {"slow": ("slowly", "gently"), "fast": ("quickly", "fast")}
VERBS = ("moves", "glides", "travels")
PAIR_VERBS = ("moving", "gliding", "travelling")
REST_WORDS = ("stays still", "is at rest", "does not move")
PAIR_REST_WORDS = ("staying still", "at rest", "not moving")
AXIS_WORDS = {"left": "left and right", "up": "up and down"}
DIRECTION_WORDS = {
    "left": ("left", "to the left"),
    "right": ("right", "to the right"),
    "up": ("up", "upwards"),
    "down": ("down", "downwards"),
}
FRAMES = (
    "{figure} {motion} on a {background} background",
    "on a {background} background, {figure} {motion}",
    "{background} background: {figure} {motion}",
)


def speak(scene: Scene, rng: np.random.Generator) -> str:
    """Return one of the scene's captions."""
    if scene.relation is None:
        figure = scene.figures[0]
        noun = f"a {pick(rng, SIZE_WORDS[figure.size])} {figure.colour} {figure.shape}"
        motion = _speak_motion(scene.motion, rng, VERBS, REST_WORDS)
    else:
        first, second = (f"a {figure.colour} {figure.shape}" for figure in scene.figures)
        noun = f"{first} {scene.relation} {second},"
        motion = "both " + _speak_motion(scene.motion, rng, PAIR_VERBS, PAIR_REST_WORDS)
    return pick(rng, FRAMES).format(figure=noun, motion=motion, background=scene.background)


def _speak_motion(
    motion: Motion, rng: np.random.Generator, verbs: tuple[str, ...], rest_words: tuple[str, ...]
) -> str:
    if motion.kind == "rest" or motion.direction is None:
        return pick(rng, rest_words)
    if motion.kind == "bounce":
        return f"bounces {AXIS_WORDS[motion.direction]}"
    assert motion.speed is not None
    way = pick(rng, DIRECTION_WORDS[motion.direction])
    speed = pick(rng, SPEED_WORDS[motion.speed])
    if rng.random() < 0.5:
        return f"{pick(rng, verbs)} {speed} {way}"
    return f"{pick(rng, verbs)} {way} {speed}"


_WORD = re.compile(r"[a-z]+")
_SIZE_OF = {word: size for size, words in SIZE_WORDS.items() for word in words}
_SPEED_OF = {word: speed for speed, words in SPEED_WORDS.items() for word in words}
_WAY_OF = {
    "left": "left",
    "right": "right",
    "up": "up",
    "upwards": "up",
    "down": "down",
    "downwards": "down",
}


def read(caption: str) -> Scene | None:
    """Return the scene that a caption of the grammar asks for, or None."""
    words = _WORD.findall(caption)
    text = " ".join(words)
    colours = [word for word in words if word in COLOURS]
    shapes = [word for word in words if word in SHAPES]
    backgrounds = [word for word in words if word in BACKGROUNDS]
    if len(colours) != len(shapes) or not 1 <= len(colours) <= 2 or len(backgrounds) != 1:
        return None
    relation = _read_relation(text) if len(colours) == 2 else None
    sizes = [_SIZE_OF[word] for word in words if word in _SIZE_OF] or ["small"]
    spoken = text.replace(relation or "\0", "", 1)
    motion = _read_motion(spoken)
    if motion is None or (len(colours) == 2) != (relation is not None):
        return None
    figures = tuple(
        Figure(colour, shape, sizes[0])  # type: ignore[arg-type]
        for colour, shape in zip(colours, shapes, strict=True)
    )
    return Scene(figures, motion, backgrounds[0], relation)


def _read_relation(text: str) -> Relation | None:
    relations = [relation for relation in RELATIONS if relation in text]
    return relations[0] if len(relations) == 1 else None


def _read_motion(text: str) -> Motion | None:
    if "bounces" in text:
        axes = [way for way, words in AXIS_WORDS.items() if words in text]
        return Motion("bounce", axes[0]) if len(axes) == 1 else None  # type: ignore[arg-type]
    if any(words in text for words in (*REST_WORDS, *PAIR_REST_WORDS)):
        return Motion("rest")
    words = text.split()
    ways = [_WAY_OF[word] for word in words if word in _WAY_OF]
    speeds = [_SPEED_OF[word] for word in words if word in _SPEED_OF]
    if len(ways) != 1 or len(speeds) != 1:
        return None
    return Motion("move", ways[0], speeds[0])  # type: ignore[arg-type]
