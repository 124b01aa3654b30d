"""Describes a clip in words: simulated annotators and the critic share this small vocabulary.

`describe` states facts about one dimension (METHOD.md section 2), in at most about twenty words
and two or three paraphrases: what is shown, what differs from the caption, what goes wrong. It
never states a preference or a grade.
"""

from dataclasses import replace
from itertools import permutations

import numpy as np

from dualipo.records import Dimension
from dualipo.world.captions import AXIS_WORDS
from dualipo.world.scenes import DefectKind, Figure, Motion, Relation, Scene, pick
from dualipo.world.views import View

NOTHING = ("no clear object is visible.", "nothing clear is visible.")
MATCHES = ("all matches.", "everything is as asked.")
DIFFERS = ("{what} differs.", "{what} is not as asked.")
DIFFER = ("{what} differ.", "{what} are not as asked.")
KEEPS = ("it keeps its shape, colour and size.", "its shape, colour and size stay the same.")
BOTH_KEEP = (
    "both keep their shape, colour and size.",
    "their shape, colour and size stay the same.",
)
FAULTS: dict[DefectKind, tuple[str, ...]] = {
    "morph": ("the shape changes{change}.", "{subject} changes its shape{change}."),
    "recolour": ("the colour changes{change}.", "{subject} changes its colour{change}."),
    "pulse": ("the size pulses.", "the size grows and shrinks."),
    "flicker": ("{subject} flickers.", "{subject} fades in and out."),
    "vanish": ("{subject} vanishes.", "{subject} disappears."),
    "smear": ("{subject} is smeared.", "{subject} is blurred and smeared."),
    "jitter": ("{subject} jitters.", "{subject} trembles."),
    "freeze": ("{subject} freezes.", "{subject} moves, then stands frozen."),
}
FAITHFULNESS_FAULTS: tuple[DefectKind, ...] = (
    "vanish", "flicker", "smear", "morph", "recolour", "pulse",
)  # fmt: skip
MAX_FAULTS = 3
SPEED_WORDS = {"slow": "slowly", "fast": "fast"}
OPPOSITE: dict[Relation, Relation] = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
}


def describe(view: View, dimension: Dimension, *, asked: Scene, rng: np.random.Generator) -> str:
    """Describe one dimension of a view in words, against the scene that the caption asks for."""
    if not view.figures:
        return pick(rng, NOTHING)
    if dimension == "consistency":
        return _describe_consistency(in_asked_order(view, asked), asked, rng)
    if dimension == "faithfulness":
        return _describe_faithfulness(view, rng)
    return _describe_motion(view, asked, rng)


def in_asked_order(view: View, asked: Scene) -> View:
    """Reorder the view's figures as the caption names them, as far as they can be told apart."""
    seen = view.figures[:4]

    def agreement(order: tuple[int, ...]) -> int:
        return sum(_alike(seen[i], figure) for i, figure in zip(order, asked.figures, strict=False))

    order = max(permutations(range(len(seen))), key=agreement)
    swapped = view.relation is not None and order == (1, 0)
    relation = OPPOSITE[view.relation] if swapped and view.relation else view.relation
    return replace(view, figures=tuple(seen[i] for i in order), relation=relation)


def _alike(seen: Figure, asked: Figure) -> int:
    return 2 * (seen.colour == asked.colour) + (seen.shape == asked.shape)


def differences(view: View, asked: Scene) -> list[str]:
    """List the caption's attributes that the view does not show; its figures are in asked order."""
    matches = list(zip(view.figures, asked.figures, strict=False))
    if len(view.figures) == 1:
        nearest = max(asked.figures, key=lambda figure: _alike(view.figures[0], figure))
        matches = [(view.figures[0], nearest)]
    differs = {
        "number": len(view.figures) != len(asked.figures),
        "colour": any(seen.colour != figure.colour for seen, figure in matches),
        "shape": any(seen.shape != figure.shape for seen, figure in matches),
        "size": asked.relation is None and matches[0][0].size != matches[0][1].size,
        "relation": len(view.figures) == 2 and view.relation != (asked.relation or view.relation),
        "background": view.background != asked.background,
    }
    return [attribute for attribute, is_different in differs.items() if is_different]


def _describe_consistency(view: View, asked: Scene, rng: np.random.Generator) -> str:
    shown = f"{_name(view)} on {view.background}."
    wrong = [f"the {attribute}" for attribute in differences(view, asked)]
    if not wrong:
        return f"{shown} {pick(rng, MATCHES)}"
    if len(wrong) == 1:
        return f"{shown} {pick(rng, DIFFERS).format(what=wrong[0])}"
    listed = f"{', '.join(wrong[:-1])} and {wrong[-1]}"
    return f"{shown} {pick(rng, DIFFER).format(what=listed)}"


def _name(view: View) -> str:
    if len(view.figures) > 2:
        return "several things"
    if len(view.figures) == 1:
        figure = view.figures[0]
        return f"a {figure.size} {_noun(figure)}"
    return f"a {_noun(view.figures[0])} {view.relation} a {_noun(view.figures[1])}"


def _noun(figure: Figure) -> str:
    return f"{figure.colour} {figure.shape}"


def _describe_faithfulness(view: View, rng: np.random.Generator) -> str:
    faults = [kind for kind in FAITHFULNESS_FAULTS if kind in view.faults][:MAX_FAULTS]
    if not faults:
        return pick(rng, KEEPS if len(view.figures) == 1 else BOTH_KEEP)
    # Only a single fault names its values before and after, so that the text stays short.
    return " ".join(_fault(kind, view, rng, in_full=len(faults) == 1) for kind in faults)


def _fault(kind: DefectKind, view: View, rng: np.random.Generator, *, in_full: bool) -> str:
    change = {"morph": view.shape_change, "recolour": view.colour_change}.get(kind)
    from_to = f" from {change[0]} to {change[1]}" if change and in_full else ""
    subject = "it" if len(view.figures) == 1 else "one"
    return pick(rng, FAULTS[kind]).format(change=from_to, subject=subject)


def _describe_motion(view: View, asked: Scene, rng: np.random.Generator) -> str:
    if "freeze" in view.faults:  # a frozen figure shows neither its speed nor its turn
        return _fault("freeze", view, rng, in_full=True)
    assert view.motion is not None
    smoothly = "jitter" not in view.faults
    shown = _speak(view.motion, smoothly=smoothly, many=len(view.figures) > 1)
    wanted = _wanted(view.motion, asked.motion)
    said = f"{shown}, the caption asks for {wanted}." if wanted else f"{shown}, as asked."
    return said if smoothly else f"{_fault('jitter', view, rng, in_full=True)} {said}"


def _speak(motion: Motion, *, smoothly: bool, many: bool) -> str:
    who, s = ("they", "") if many else ("it", "s")
    if motion.kind == "rest" or motion.direction is None:
        return f"{who} stay{s} still"
    if motion.kind == "bounce":
        return f"{who} bounce{s} {AXIS_WORDS[motion.direction]}" + " smoothly" * smoothly
    assert motion.speed is not None
    how = SPEED_WORDS[motion.speed] + " and smoothly" * smoothly
    return f"{who} move{s} {motion.direction} {how}"


def _wanted(shown: Motion, asked: Motion) -> str:
    """Name what the caption asks for where the shown motion differs; else return ""."""
    if asked.kind == "rest" or asked.direction is None:
        return "" if shown.kind == "rest" else "rest"
    if asked.kind == "bounce":
        return "" if shown == asked else f"a bounce {AXIS_WORDS[asked.direction]}"
    assert asked.speed is not None
    if shown.kind != "move":
        return f"{asked.direction}, {SPEED_WORDS[asked.speed]}"
    way = asked.direction if shown.direction != asked.direction else ""
    speed = SPEED_WORDS[asked.speed] if shown.speed != asked.speed else ""
    return ", ".join(filter(None, (way, speed)))
