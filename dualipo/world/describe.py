"""The words in which people and the critic describe a clip: one small vocabulary for both.

`describe` states facts about one dimension (METHOD.md section 2), in at most about twenty words
and two or three paraphrases: what is shown, what differs from the caption, what goes wrong. It
never states a preference or a grade.
"""

from dataclasses import replace
from itertools import permutations

import numpy as np

from dualipo.records import Dimension
from dualipo.world.captions import AXIS_WORDS
from dualipo.world.scenes import DefectKind, Motion, Relation, Scene, Thing
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
    "morph": ("the shape changes{change}.", "{one} changes its shape{change}."),
    "recolour": ("the colour changes{change}.", "{one} changes its colour{change}."),
    "pulse": ("the size pulses.", "the size grows and shrinks."),
    "flicker": ("{one} flickers.", "{one} fades in and out."),
    "vanish": ("{one} vanishes.", "{one} disappears."),
    "smear": ("{one} is smeared.", "{one} is blurred and smeared."),
    "jitter": ("{one} jitters.", "{one} trembles."),
    "freeze": ("{one} freezes.", "{one} moves, then stands frozen."),
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
    """Say in words what is seen of one dimension, against the scene that the caption asks for."""
    if not view.things:
        return _one(rng, NOTHING)
    if dimension == "consistency":
        return _describe_consistency(in_asked_order(view, asked), asked, rng)
    if dimension == "faithfulness":
        return _describe_faithfulness(view, rng)
    return _describe_motion(view, asked, rng)


def in_asked_order(view: View, asked: Scene) -> View:
    """The view with its things in the caption's order, as far as they can be told apart."""
    seen = view.things[:4]

    def agreement(order: tuple[int, ...]) -> int:
        return sum(_alike(seen[i], thing) for i, thing in zip(order, asked.things, strict=False))

    order = max(permutations(range(len(seen))), key=agreement)
    swapped = view.relation is not None and order == (1, 0)
    relation = OPPOSITE[view.relation] if swapped and view.relation else view.relation
    return replace(view, things=tuple(seen[i] for i in order), relation=relation)


def _alike(seen: Thing, asked: Thing) -> int:
    return 2 * (seen.colour == asked.colour) + (seen.shape == asked.shape)


def differences(view: View, asked: Scene) -> list[str]:
    """The attributes of the caption that the view, in the asked order, does not show."""
    both = list(zip(view.things, asked.things, strict=False))
    if len(view.things) == 1:
        both = [(view.things[0], max(asked.things, key=lambda t: _alike(view.things[0], t)))]
    differs = {
        "number": len(view.things) != len(asked.things),
        "colour": any(seen.colour != thing.colour for seen, thing in both),
        "shape": any(seen.shape != thing.shape for seen, thing in both),
        "size": asked.relation is None and both[0][0].size != both[0][1].size,
        "relation": len(view.things) == 2 and view.relation != (asked.relation or view.relation),
        "background": view.background != asked.background,
    }
    return [attribute for attribute, so in differs.items() if so]


def _describe_consistency(view: View, asked: Scene, rng: np.random.Generator) -> str:
    shown = f"{_name(view)} on {view.background}."
    wrong = [f"the {attribute}" for attribute in differences(view, asked)]
    if not wrong:
        return f"{shown} {_one(rng, MATCHES)}"
    if len(wrong) == 1:
        return f"{shown} {_one(rng, DIFFERS).format(what=wrong[0])}"
    listed = f"{', '.join(wrong[:-1])} and {wrong[-1]}"
    return f"{shown} {_one(rng, DIFFER).format(what=listed)}"


def _name(view: View) -> str:
    if len(view.things) > 2:
        return "several things"
    if len(view.things) == 1:
        thing = view.things[0]
        return f"a {thing.size} {_noun(thing)}"
    return f"a {_noun(view.things[0])} {view.relation} a {_noun(view.things[1])}"


def _noun(thing: Thing) -> str:
    return f"{thing.colour} {thing.shape}"


def _describe_faithfulness(view: View, rng: np.random.Generator) -> str:
    faults = [kind for kind in FAITHFULNESS_FAULTS if kind in view.faults][:MAX_FAULTS]
    if not faults:
        return _one(rng, KEEPS if len(view.things) == 1 else BOTH_KEEP)
    # From what to what is told where it is the only fault: the text stays short.
    return " ".join(_fault(kind, view, rng, in_full=len(faults) == 1) for kind in faults)


def _fault(kind: DefectKind, view: View, rng: np.random.Generator, *, in_full: bool) -> str:
    change = {"morph": view.shape_change, "recolour": view.colour_change}.get(kind)
    told = f" from {change[0]} to {change[1]}" if change and in_full else ""
    one = "it" if len(view.things) == 1 else "one"
    return _one(rng, FAULTS[kind]).format(change=told, one=one)


def _describe_motion(view: View, asked: Scene, rng: np.random.Generator) -> str:
    if "freeze" in view.faults:  # then neither speed nor turn can be told
        return _fault("freeze", view, rng, in_full=True)
    assert view.motion is not None
    smoothly = "jitter" not in view.faults
    shown = _speak(view.motion, smoothly=smoothly, many=len(view.things) > 1)
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
    """What the caption asks for where the shown motion differs from it, else nothing."""
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


def _one(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]
